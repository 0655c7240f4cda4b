/* The end of a certificate's record. */
#ifndef TD_ACME_CA_CLEAN_H
#define TD_ACME_CA_CLEAN_H

#include "mdm/store/sweep.h"

extern const struct store_stmts ca_clean_stmts;

/* One step of sweep.h over the certificates whose notAfter is before that time: those no enrolment
 * holds are deleted. OCSP answers `unknown` for them from then on. */
TD_NODISCARD enum td_err ca_clean(struct tx *tx, int64_t before, size_t max, struct sweep *pos,
                                  int64_t *ret_gone, bool *ret_more, struct errinfo *ei);

#endif
