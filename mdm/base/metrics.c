#include "mdm/base/metrics.h"

#include <stdatomic.h>

enum kind { COUNTER, GAUGE, HISTOGRAM };

static const struct {
    const char *name, *help;
    enum kind kind;
} table[] = {
#define METRIC(id, n, k, h) [METRIC_##id] = {n, h, k},
#include "mdm/base/metrics.def"
#undef METRIC
};
_Static_assert(TD_NITEMS(table) == METRIC_MAX, "one row for each metric");

static const char *const kind_names[] = {
    [COUNTER] = "counter", [GAUGE] = "gauge", [HISTOGRAM] = "histogram"};

/* Upper bounds, inclusive; one more bucket takes what is longer. */
static const struct {
    int64_t us;
    const char *seconds;
} bounds[] = {
    {100, "0.0001"},  {250, "0.00025"}, {500, "0.0005"},  {1000, "0.001"},  {2500, "0.0025"},
    {5000, "0.005"},  {10000, "0.01"},  {25000, "0.025"}, {50000, "0.05"},  {100000, "0.1"},
    {250000, "0.25"}, {500000, "0.5"},  {1000000, "1"},   {2500000, "2.5"}, {5000000, "5"},
    {10000000, "10"}, {30000000, "30"},
};
#define BUCKETS (TD_NITEMS(bounds) + 1)

/* For a histogram the value is the sum in microseconds. */
static struct {
    _Atomic int64_t value;
    _Atomic int64_t buckets[BUCKETS];
} cells[METRIC_MAX];

static bool is(enum metric m, bool histogram)
{
    return (unsigned)m < METRIC_MAX && (table[m].kind == HISTOGRAM) == histogram;
}

void metrics_add(enum metric m, int64_t n)
{
    if (is(m, false))
        atomic_fetch_add_explicit(&cells[m].value, n, memory_order_relaxed);
}

void metrics_set(enum metric m, int64_t v)
{
    if (is(m, false))
        atomic_store_explicit(&cells[m].value, v, memory_order_relaxed);
}

int64_t metrics_get(enum metric m)
{
    if ((unsigned)m >= METRIC_MAX)
        return 0;
    if (!is(m, true))
        return atomic_load_explicit(&cells[m].value, memory_order_relaxed);
    int64_t n = 0;
    for (size_t i = 0; i < BUCKETS; i++)
        n += atomic_load_explicit(&cells[m].buckets[i], memory_order_relaxed);
    return n;
}

void metrics_observe(enum metric m, int64_t us)
{
    if (!is(m, true))
        return;
    if (us < 0)
        us = 0;
    size_t i = 0;
    while (i < TD_NITEMS(bounds) && us > bounds[i].us)
        i++;
    atomic_fetch_add_explicit(&cells[m].buckets[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&cells[m].value, us, memory_order_relaxed);
}

static void render_histogram(struct buf *b, size_t m)
{
    const char *name = table[m].name;
    long long n = 0;
    for (size_t i = 0; i < BUCKETS; i++) {
        n += (long long)atomic_load_explicit(&cells[m].buckets[i], memory_order_relaxed);
        buf_printf(b, "%s_bucket{le=\"%s\"} %lld\n", name,
                   i < TD_NITEMS(bounds) ? bounds[i].seconds : "+Inf", n);
    }
    long long us = (long long)atomic_load_explicit(&cells[m].value, memory_order_relaxed);
    buf_printf(b, "%s_sum %lld.%06lld\n%s_count %lld\n", name, us / 1000000, us % 1000000, name, n);
}

/* A name may carry labels, name{what="x"}: rows of one name stand together under one head. */
static void render_head(struct buf *b, size_t m)
{
    int n = (int)strcspn(table[m].name, "{");
    if (m > 0 && strncmp(table[m - 1].name, table[m].name, (size_t)n) == 0 &&
        table[m - 1].name[n] == '{')
        return;
    buf_printf(b, "# HELP %.*s %s\n# TYPE %.*s %s\n", n, table[m].name, table[m].help, n,
               table[m].name, kind_names[table[m].kind]);
}

enum td_err metrics_render(struct buf *b)
{
    for (size_t m = 0; m < METRIC_MAX; m++) {
        render_head(b, m);
        if (table[m].kind == HISTOGRAM)
            render_histogram(b, m);
        else
            buf_printf(b, "%s %lld\n", table[m].name,
                       (long long)atomic_load_explicit(&cells[m].value, memory_order_relaxed));
    }
    return b->err;
}
