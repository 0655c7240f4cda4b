/* The last look at a certificate before it is signed: RFC 5280 and the RFCs that belong to it, rule
 * by rule, over the very bytes that the signature would cover. x509_build runs it on everything, so
 * no path signs around it. Pure functions, any thread. */
#ifndef TD_CRYPT_X509_LINT_H
#define TD_CRYPT_X509_LINT_H

#include "mdm/crypt/x509.h"

/* Reads the DER of a TBSCertificate back and asks every rule. issuer NULL: it signs itself.
 * TD_INVAL, reason "lint": the message begins with the name of the first rule that is broken and
 * names its clause. */
TD_NODISCARD enum td_err x509_lint(struct span tbs, const struct cert *issuer, struct errinfo *ei);

/* The same; a key whose bytes are those of `known` is not read anew to see whether it is one, which
 * is most of the cost. NULL for none. */
TD_NODISCARD enum td_err x509_lint_known(struct span tbs, const struct cert *issuer,
                                         const struct key *known, struct errinfo *ei);

/* The rules by number, for documentation and tests; NULL behind the last. */
const char *x509_lint_rule(size_t i, const char **ret_clause);

#endif
