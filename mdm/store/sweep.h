/* How old rows go: a walk over a table by (time, key), a page at a time, so that a step never reads
 * more than a page however large the table is and however many of the rows it passes must stay.
 *
 * Not DELETE ... WHERE key IN (SELECT ... LIMIT n): one of the engines may plan that, for any n,
 * as a walk over the whole table. */
#ifndef TD_STORE_SWEEP_H
#define TD_STORE_SWEEP_H

#include "mdm/store/store.h"

#define SWEEP_KEY_MAX 128

/* Where a walk stands; zeroed: at its beginning. */
struct sweep_pos {
    int64_t at;
    uint8_t key[SWEEP_KEY_MAX];
    size_t n;
};

struct sweep {
    int64_t now, before;  /* what is older than `before` may go */
    size_t max;           /* rows to look at in this step */
    struct sweep_pos pos; /* moved behind them */
    int64_t gone;         /* rows deleted, or ended */
    bool more;            /* the page was full: another step has work to do */
};

/* The SQL of a sweep, by names of the table, of its time (BIGINT) and of its key; an index is on
 * (time, key). What else must hold for a row to go may follow SWEEP_DROP: " AND ...". */
#define SWEEP_PAGE(table, time, key)                                                               \
    "SELECT " time ", " key " FROM " table " WHERE " time " < ?1 AND " time " >= ?2 AND (" time    \
    ", " key ") > (?2, ?3) ORDER BY " time ", " key " LIMIT ?4"
#define SWEEP_DROP(table, time, key)                                                               \
    "DELETE FROM " table " WHERE " time " >= ?1 AND " time " <= ?3 AND (" time ", " key            \
    ") > (?1, ?2) AND (" time ", " key ") <= (?3, ?4)"
/* Their letters for a key of kind k: "t", "i", "b". */
#define SWEEP_PAGE_IN(k) "ii" k "i"
#define SWEEP_PAGE_OUT(k) "i" k
#define SWEEP_DROP_IN(k) "i" k "i" k

/* One step: reads a page, deletes what may go of it. The job may run again: *s must then be what it
 * was. */
TD_NODISCARD enum td_err sweep_step(struct tx *tx, const struct store_stmt *page,
                                    const struct store_stmt *drop, struct sweep *s,
                                    struct errinfo *ei);

/* The first half alone, for a step that does something else with the page: *ret is where it ends,
 * s->more is set. TD_NOTFOUND: the page is empty. */
TD_NODISCARD enum td_err sweep_page(struct tx *tx, const struct store_stmt *page, struct sweep *s,
                                    struct sweep_pos *ret, struct errinfo *ei);
/* The key of a position as a parameter. */
struct sval sweep_key(const struct store_stmt *page, const struct sweep_pos *pos);

#endif
