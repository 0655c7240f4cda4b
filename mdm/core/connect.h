/* The command loop: a report in, the next command out. Internal to mdm/core. */
#ifndef TD_CORE_CONNECT_H
#define TD_CORE_CONNECT_H

#include "mdm/core/core_int.h"

/* One report, parsed; `body` is its raw form. Fills reply with the next command, or nothing. Errors
 * as core_connect. */
TD_NODISCARD enum td_err core_connect_run(struct core *c, const struct core_ident *id,
                                          const struct core_report *r, struct span body,
                                          struct arena *a, struct buf *reply, struct errinfo *ei);

#endif
