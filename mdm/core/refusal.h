/* Why a device was refused, kept as attempts, and never more writes than a minute's ration.
 * Internal to mdm/core. */
#ifndef TD_CORE_REFUSAL_H
#define TD_CORE_REFUSAL_H

#include "mdm/core/core_int.h"

TD_NODISCARD enum td_err core_refusals_new(struct core_refusals **ret, struct errinfo *ei);
void core_refusals_free(struct core_refusals *r); /* NULL is fine */

/* Records that `source` ("checkin", "connect") answered a device with `e`, in a transaction of its
 * own. Only refusals count, not faults of ours; one a minute for each certificate, source and
 * reason (for unknown certificates: each reason), and a total ration. Any thread. */
void core_refused(struct core *c, const char *source, const struct core_ident *id, enum td_err e,
                  const struct errinfo *ei);

#endif
