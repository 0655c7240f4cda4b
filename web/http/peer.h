/* The client certificate that a trusted proxy hands on (RFC 9440). */
#ifndef TD_WEB_HTTP_PEER_H
#define TD_WEB_HTTP_PEER_H

#include "mdm/base/err.h"
#include "mdm/base/req.h"

/* The certificate of the one Client-Cert header, as a structured-field byte sequence
 * (":base64:", RFC 8941 section 3.3.5), decoded into the arena. Empty without the header. TD_PARSE
 * (reason "client-cert-header") when it stands twice or is malformed, TD_LIMIT over
 * LIMIT_X5C_CERT bytes. */
TD_NODISCARD enum td_err http_peer_header(const struct req_header *headers, size_t n,
                                          struct arena *a, struct span *ret, struct errinfo *ei);

#endif
