/* The end of a certificate's record. */
#ifndef TD_ACME_CA_CLEAN_H
#define TD_ACME_CA_CLEAN_H

#include "mdm/store/sweep.h"

extern const struct store_stmts ca_clean_stmts;

/* A step of the cleaner, over notAfter: certificates that no enrolment holds go. OCSP answers
 * `unknown` for them from then on. */
TD_NODISCARD enum td_err ca_clean(struct tx *tx, struct sweep *s, struct errinfo *ei);

#endif
