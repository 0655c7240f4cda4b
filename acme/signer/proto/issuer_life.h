/* Whether an issuing CA may issue at a moment, and for how long its statuses are signed behind its
 * end. */
#ifndef TD_ACME_SIGNER_PROTO_ISSUER_LIFE_H
#define TD_ACME_SIGNER_PROTO_ISSUER_LIFE_H

#include "mdm/crypt/x509.h"

/* OCSP answers and CRLs go on for so long: RFC 5280 section 3.3 wants revoked certificates on a CRL
 * behind their end, and none of them ends behind its CA. */
#define ISSUER_KEPT (30 * INT64_C(86400))

/* TD_OK from notBefore to notAfter; else TD_INVAL with reason "issuer-expired" or "issuer-early"
 * and words for the administrator. */
enum td_err issuer_life(const struct cert *issuing, int64_t now, struct errinfo *ei);

#endif
