/* What devices proved, as others ask for it. */
#ifndef TD_ACME_SERVER_EVIDENCE_H
#define TD_ACME_SERVER_EVIDENCE_H

#include "mdm/store/store.h"

/* The facts (attest_facts_json), in the arena. TD_NOTFOUND when there is no such evidence, or none
 * any more. */
TD_NODISCARD enum td_err acme_evidence_facts(struct tx *tx, const char *id, struct arena *a,
                                             const char **ret, struct errinfo *ei);

#endif
