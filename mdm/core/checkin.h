/* Check-in messages: a table from MessageType to what it does. Internal to mdm/core. */
#ifndef TD_CORE_CHECKIN_H
#define TD_CORE_CHECKIN_H

#include "mdm/core/core_int.h"

/* One message, parsed; `body` is its raw form. Fills reply (empty for most). Errors as
 * core_checkin. */
TD_NODISCARD enum td_err core_checkin_run(struct core *c, const struct core_ident *id,
                                          const struct core_msg *m, struct span body,
                                          struct arena *a, struct buf *reply, struct errinfo *ei);

#endif
