/* Latencies in a log-linear histogram (3% wide buckets) and failures by cause. Any thread. */
#ifndef TD_SIM_STATS_H
#define TD_SIM_STATS_H

#include "mdm/base/err.h"
#include "mdm/wire/json.h"

#include <pthread.h>
#include <stdatomic.h>

enum { STATS_SUB = 32, STATS_BUCKETS = STATS_SUB * 28 };

struct stats_hist {
    _Atomic uint64_t n, sum, max;
    _Atomic uint64_t bucket[STATS_BUCKETS];
};

/* Records a duration in microseconds. */
void stats_add(struct stats_hist *h, uint64_t us);

/* The duration that the share q (0..1) of the records does not exceed, in microseconds: the
 * bucket's upper end, at most the maximum. 0 without records. */
uint64_t stats_pct(const struct stats_hist *h, double q);

/* Microseconds of a clock that never goes back. */
uint64_t stats_now_us(void);

/* CPU seconds this process has used. */
double stats_cpu_s(void);

enum { STATS_CAUSES = 64 };

struct stats_causes {
    pthread_mutex_t lock;
    struct {
        char text[256];
        uint64_t n;
    } row[STATS_CAUSES]; /* further causes count as "other" in the last row */
    size_t nrows;
};

void stats_causes_init(struct stats_causes *c);
void stats_cause(struct stats_causes *c, const char *text);

/* "p50 .. p90 .. p99 .. max" in milliseconds as members of an open JSON object. */
void stats_hist_json(struct json_w *w, const char *key, const struct stats_hist *h);

/* The same as one line of text on f: "  name  n=..  p50=..". */
void stats_hist_print(FILE *f, const char *name, const struct stats_hist *h);

void stats_causes_json(struct json_w *w, const char *key, struct stats_causes *c);
void stats_causes_print(FILE *f, struct stats_causes *c);

#endif
