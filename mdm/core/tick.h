/* A thread that does one thing: when kicked, and at least once a period. Internal to mdm/core. */
#ifndef TD_CORE_TICK_H
#define TD_CORE_TICK_H

#include <stdbool.h>

#include "mdm/base/err.h"

struct core_tick;

typedef void (*core_tick_fn)(void *ctx);

/* Starts a thread that calls fn(ctx) at once, after each kick, and `period_ms` after the last call
 * otherwise. Owned: core_tick_stop. */
TD_NODISCARD enum td_err core_tick_start(const char *name, unsigned period_ms, core_tick_fn fn,
                                         void *ctx, struct core_tick **ret, struct errinfo *ei);

/* Asks for a call soon; kicks made meanwhile are one. NULL is fine. Any thread. */
void core_tick_kick(struct core_tick *t);

/* True once a stop was asked for: a long fn should end. Any thread. */
bool core_tick_stopping(struct core_tick *t);

/* Waits for the call under way, joins and frees. NULL is fine. */
void core_tick_stop(struct core_tick *t);

#endif
