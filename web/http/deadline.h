/* Deadlines of connections, for what the HTTP library's idle timeout does not see: a peer that
 * sends or takes one byte now and then. One thread looks at all of them twice a second. */
#ifndef TD_WEB_HTTP_DEADLINE_H
#define TD_WEB_HTTP_DEADLINE_H

#include <stdatomic.h>

#include "mdm/base/clock.h"

struct deadlines;

/* Embedded in the owner's struct. */
struct deadline {
    struct deadline *prev, *next;
    atomic_int state;
    atomic_llong due_ms;
    int kind; /* the owner's, as armed */
};

/* Runs on the watching thread, never together with deadline_disarm or deadline_remove of the same
 * item; must not block. */
typedef void (*deadline_fn)(struct deadline *d);

TD_NODISCARD enum td_err deadlines_start(const struct clock *clock, deadline_fn fn,
                                         struct deadlines **ret, struct errinfo *ei);
/* All items must have been removed. NULL is fine. */
void deadlines_stop(struct deadlines *l);

void deadline_add(struct deadlines *l, struct deadline *d);
void deadline_remove(struct deadlines *l, struct deadline *d);

/* (Re-)arms for a moment of clock_mono; false when it has fired already: it stays fired. By the
 * owner's thread only. */
bool deadline_arm(struct deadline *d, int kind, int64_t due_ms);

/* False when it has fired. Waits while it is firing. */
bool deadline_disarm(struct deadline *d);

#endif
