/* What a CA directory holds, in lines for `testudo ca status`. Opens no key. */
#ifndef TD_ACME_SIGNER_REPORT_H
#define TD_ACME_SIGNER_REPORT_H

#include "mdm/base/buf.h"

/* One line each: "root", "issuing" (the active one first, then the others, also expired ones),
 * "pending" and "lifetimes", followed by name=value words; the last, subject, takes the rest of the
 * line. Times are seconds since 1970. TD_CRYPTO when a certificate is not of the root. */
TD_NODISCARD enum td_err report_status(const char *dir, struct buf *b, struct errinfo *ei);

/* The issuing CAs' certificates, the active one first, then the root's, in PEM. */
TD_NODISCARD enum td_err report_chain(const char *dir, struct buf *b, struct errinfo *ei);

#endif
