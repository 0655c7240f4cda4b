/* A walk over a table by (time, key), a page at a time, for a cleaner that must keep some of the
 * rows it passes: it goes on behind them instead of looking at them again at each step. */
#ifndef TD_STORE_SWEEP_H
#define TD_STORE_SWEEP_H

#include "mdm/store/store.h"

#define SWEEP_KEY_MAX 128

/* Where the walk stands; zeroed: at the beginning. */
struct sweep {
    int64_t at;
    uint8_t key[SWEEP_KEY_MAX];
    size_t n;
};

/* page: in (before, at, key, max), out (time, key): the rows behind (at, key) and older than
 *       `before`, in that order.
 * drop: in (at, key, last_at, last_key): deletes what may go behind the first and up to the last.
 * The key is text or blob, as the letter in `out` says. */
struct sweep_sql {
    const struct store_stmt *page, *drop;
};

/* One step of at most `max` rows looked at; moves *pos. *ret_more: the page was full. The job may
 * run again: *pos must then be what it was. */
TD_NODISCARD enum td_err sweep_step(struct tx *tx, const struct sweep_sql *sql, int64_t before,
                                    size_t max, struct sweep *pos, int64_t *ret_gone,
                                    bool *ret_more, struct errinfo *ei);

#endif
