/* A thread that does one thing: when kicked, and at least once a period. */
#ifndef TD_BASE_TICK_H
#define TD_BASE_TICK_H

#include <stdbool.h>

#include "mdm/base/err.h"

struct tick;

typedef void (*tick_fn)(void *ctx);

/* Starts a thread that calls fn(ctx) at once, after each kick, and `period_ms` after the last call
 * otherwise. Owned: tick_stop. */
TD_NODISCARD enum td_err tick_start(const char *name, unsigned period_ms, tick_fn fn, void *ctx,
                                    struct tick **ret, struct errinfo *ei);

/* Asks for a call soon; kicks made meanwhile are one. NULL is fine. Any thread. */
void tick_kick(struct tick *t);

/* True once a stop was asked for: a long fn should end. Any thread. */
bool tick_stopping(struct tick *t);

/* Waits for the call under way, joins and frees. NULL is fine. */
void tick_stop(struct tick *t);

#endif
