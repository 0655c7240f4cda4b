/* The push pump: takes wanted pushes from the outbox to the push service, until it took them.
 * Internal to mdm/core. */
#ifndef TD_CORE_PUMP_H
#define TD_CORE_PUMP_H

#include "mdm/core/core_int.h"

/* Starts the thread (c->pump); c->conf must be filled. What an earlier run left is sent first. */
TD_NODISCARD enum td_err core_pump_start(struct core *c, struct errinfo *ei);

/* Looks at the outbox soon. Any thread. */
void core_pump_kick(struct core *c);

void core_pump_stop(struct core *c);

#endif
