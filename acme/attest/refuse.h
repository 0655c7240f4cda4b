/* One way to refuse an attestation. */
#ifndef TD_ACME_ATTEST_REFUSE_H
#define TD_ACME_ATTEST_REFUSE_H

#include "mdm/base/err.h"

/* Fills *ei (if not NULL) with TD_FORBIDDEN, the reason code (static lifetime), the ACME type
 * badAttestationStatement and the message; returns TD_FORBIDDEN. */
enum td_err attest_refuse(struct errinfo *ei, const char *reason, const char *fmt, ...)
    TD_PRINTF(3, 4);

#endif
