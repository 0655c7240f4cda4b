/* A bounded queue of jobs run by a fixed set of threads. */
#ifndef TD_BASE_WORK_H
#define TD_BASE_WORK_H

#include "mdm/base/err.h"

struct work;

/* Starts `threads` workers named `name` over a queue of at most `depth` waiting jobs. */
TD_NODISCARD enum td_err work_start(const char *name, unsigned threads, unsigned depth,
                                    struct work **ret, struct errinfo *ei);

/* Queues fn(arg); it runs exactly once. TD_BUSY when the queue is full or the pool is stopping:
 * fn is not called then. Any thread. */
TD_NODISCARD enum td_err work_submit(struct work *w, void (*fn)(void *arg), void *arg);

/* Takes no more jobs, runs those queued, joins the threads and frees. NULL is fine. */
void work_stop(struct work *w);

#endif
