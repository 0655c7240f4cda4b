/* What is deleted once it is old enough: a table of cleaners, one step at a time. */
#ifndef TD_WEB_SERVER_CLEANERS_H
#define TD_WEB_SERVER_CLEANERS_H

#include "mdm/base/metrics.h"
#include "mdm/store/sweep.h"
#include "web/server/settings.h"

#define CLEAN_STEP_MAX 500 /* rows of one kind in one transaction */

struct cleaner {
    const char *name;  /* in the log and the metric */
    const char *table; /* that it keeps from growing */
    size_t keep;       /* offset in struct settings of its retention, seconds */
    size_t no_less;    /* of a setting that the retention is never below; 0: none */
    enum metric metric;
    enum td_err (*step)(struct tx *tx, struct sweep *s, struct errinfo *ei);
};

extern const struct cleaner cleaners[];
extern const size_t ncleaners;

/* What `now` makes old enough. */
int64_t cleaner_before(const struct cleaner *c, const struct settings *conf, int64_t now);

/* One step in a transaction of its own (sweep.h). On error *s is as it was. */
TD_NODISCARD enum td_err cleaner_step(const struct cleaner *c, struct store *store, struct sweep *s,
                                      struct errinfo *ei);

#endif
