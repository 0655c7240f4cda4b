/* Counters and histograms of the process, shown at /metrics in Prometheus text form.
 * One row per metric in metrics.def: METRIC(id, name, kind, help); name{label="x"} stands behind
 * the others of that name. Lock-free. */
#ifndef TD_BASE_METRICS_H
#define TD_BASE_METRICS_H

#include "mdm/base/buf.h"

enum metric {
#define METRIC(id, name, kind, help) METRIC_##id,
#include "mdm/base/metrics.def"
#undef METRIC
    METRIC_MAX
};

void metrics_add(enum metric m, int64_t n);
/* For gauges. */
void metrics_set(enum metric m, int64_t v);
int64_t metrics_get(enum metric m);

/* Observes a duration in microseconds (kind HISTOGRAM). */
void metrics_observe(enum metric m, int64_t us);

/* Appends the whole exposition. */
enum td_err metrics_render(struct buf *b);

#endif
