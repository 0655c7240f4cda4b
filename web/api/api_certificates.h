/* A certificate as JSON, the same wherever one is listed. */
#ifndef TD_WEB_API_CERTIFICATES_H
#define TD_WEB_API_CERTIFICATES_H

#include "acme/ca/ca.h"
#include "mdm/wire/json.h"

/* One object, with or without the certificate itself. */
TD_NODISCARD enum td_err api_certificate_write(struct json_w *w, const struct ca_record *r,
                                               bool pem, struct errinfo *ei);

/* "held_by": who holds a certificate or a device (bits of enum ca_holder). */
void api_held_by(struct json_w *w, unsigned holders);

#endif
