#include "tests/sim/stats.h"

#include <sys/resource.h>

/* Values under STATS_SUB have a bucket each; above, 32 buckets for each power of two. */
static size_t bucket_of(uint64_t v)
{
    if (v < STATS_SUB)
        return (size_t)v;
    unsigned top = 63U - (unsigned)__builtin_clzll(v);
    size_t i = (size_t)(top - 4) * STATS_SUB + (size_t)((v >> (top - 5)) & (STATS_SUB - 1));
    return i < STATS_BUCKETS ? i : STATS_BUCKETS - 1;
}

/* The largest value of a bucket. */
static uint64_t bucket_end(size_t i)
{
    if (i < STATS_SUB)
        return i;
    unsigned top = (unsigned)(i / STATS_SUB) + 4;
    uint64_t step = 1ULL << (top - 5);
    return (STATS_SUB + (i % STATS_SUB)) * step + step - 1;
}

void stats_add(struct stats_hist *h, uint64_t us)
{
    atomic_fetch_add(&h->n, 1);
    atomic_fetch_add(&h->sum, us);
    atomic_fetch_add(&h->bucket[bucket_of(us)], 1);
    uint64_t max = atomic_load(&h->max);
    while (us > max && !atomic_compare_exchange_weak(&h->max, &max, us))
        ;
}

uint64_t stats_pct(const struct stats_hist *h, double q)
{
    uint64_t n = atomic_load(&h->n), seen = 0, max = atomic_load(&h->max);
    uint64_t want = (uint64_t)(q * (double)n);
    if (n == 0)
        return 0;
    if ((double)want < q * (double)n || want == 0)
        want++;
    for (size_t i = 0; i < STATS_BUCKETS; i++) {
        seen += atomic_load(&h->bucket[i]);
        if (seen >= want)
            return bucket_end(i) < max ? bucket_end(i) : max;
    }
    return max;
}

uint64_t stats_now_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000U + (uint64_t)ts.tv_nsec / 1000U;
}

static double seconds(struct timeval tv)
{
    return (double)tv.tv_sec + (double)tv.tv_usec / 1e6;
}

double stats_cpu_s(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return seconds(u.ru_utime) + seconds(u.ru_stime);
}

void stats_causes_init(struct stats_causes *c)
{
    *c = (struct stats_causes){.nrows = 0};
    pthread_mutex_init(&c->lock, NULL);
}

void stats_cause(struct stats_causes *c, const char *text)
{
    char cut[sizeof(c->row[0].text)];
    snprintf(cut, sizeof(cut), "%s", text);
    pthread_mutex_lock(&c->lock);
    size_t i = 0;
    while (i < c->nrows && strcmp(c->row[i].text, cut) != 0)
        i++;
    if (i == c->nrows && c->nrows < STATS_CAUSES) {
        memcpy(c->row[i].text, c->nrows == STATS_CAUSES - 1 ? "other" : cut,
               c->nrows == STATS_CAUSES - 1 ? sizeof("other") : sizeof(cut));
        c->nrows++;
    } else if (i == c->nrows) {
        i = STATS_CAUSES - 1;
    }
    c->row[i].n++;
    pthread_mutex_unlock(&c->lock);
}

static double ms(uint64_t us)
{
    return (double)us / 1000.0;
}

static void kv_ms(struct json_w *w, const char *key, uint64_t us)
{
    char v[32];
    snprintf(v, sizeof(v), "%.3f", ms(us));
    json_kv_raw(w, key, span_str(v));
}

void stats_hist_json(struct json_w *w, const char *key, const struct stats_hist *h)
{
    uint64_t n = atomic_load(&h->n);
    json_open_key(w, key);
    json_kv_int(w, "count", (int64_t)n);
    kv_ms(w, "mean_ms", n ? atomic_load(&h->sum) / n : 0);
    kv_ms(w, "p50_ms", stats_pct(h, 0.50));
    kv_ms(w, "p90_ms", stats_pct(h, 0.90));
    kv_ms(w, "p99_ms", stats_pct(h, 0.99));
    kv_ms(w, "max_ms", atomic_load(&h->max));
    json_close(w);
}

void stats_hist_print(FILE *f, const char *name, const struct stats_hist *h)
{
    fprintf(f, "  %-12s n=%-7llu p50=%-9.2f p90=%-9.2f p99=%-9.2f max=%.2f ms\n", name,
            (unsigned long long)atomic_load(&h->n), ms(stats_pct(h, 0.50)), ms(stats_pct(h, 0.90)),
            ms(stats_pct(h, 0.99)), ms(atomic_load(&h->max)));
}

void stats_causes_json(struct json_w *w, const char *key, struct stats_causes *c)
{
    pthread_mutex_lock(&c->lock);
    json_array_key(w, key);
    for (size_t i = 0; i < c->nrows; i++) {
        json_open(w);
        json_kv_str(w, "cause", c->row[i].text);
        json_kv_int(w, "count", (int64_t)c->row[i].n);
        json_close(w);
    }
    json_array_end(w);
    pthread_mutex_unlock(&c->lock);
}

void stats_causes_print(FILE *f, struct stats_causes *c)
{
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < c->nrows; i++)
        fprintf(f, "  %6llu  %s\n", (unsigned long long)c->row[i].n, c->row[i].text);
    pthread_mutex_unlock(&c->lock);
}
