/* The housekeeper: runs the cleaners (cleaners.h) in rounds, a step at a time, and pauses between
 * steps, so that it takes about a tenth of the writer at most. */
#ifndef TD_WEB_SERVER_CLEAN_H
#define TD_WEB_SERVER_CLEAN_H

#include "web/server/cleaners.h"

struct clean;

struct clean_conf {
    struct store *store;
    const struct settings *settings; /* borrowed */
    const struct clock *clock;
    int64_t period_ms; /* between rounds; 0: a minute */
};

/* Starts the thread; the first round is after the period. */
TD_NODISCARD enum td_err clean_start(const struct clean_conf *conf, struct clean **ret,
                                     struct errinfo *ei);
void clean_stop(struct clean *c); /* NULL is fine */

/* What one round did with one cleaner. */
struct clean_count {
    int64_t rows;
    size_t steps;
    bool more; /* the round's bound came before the end */
    bool failed;
};

/* One round of every cleaner on this thread: counts[i] is of cleaners[i], pos[i] where its sweep
 * goes on in the next round. `pause` (NULL: none) is told how long to wait between two steps and
 * says false when the round is to end. */
void clean_round(const struct clean_conf *conf, struct sweep_pos *pos, struct clean_count *counts,
                 bool (*pause)(void *ctx, int64_t us), void *ctx);

#endif
