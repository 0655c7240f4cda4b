#include "tests/sim/pool.h"

#include "tests/sim/stats.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

enum { STACK = 524288, NAP_US = 100000, PROGRESS_US = 200000 };

static volatile sig_atomic_t stop_flag;

static void on_stop(int sig)
{
    (void)sig;
    stop_flag = 1;
}

bool pool_stopped(void)
{
    return stop_flag != 0;
}

void pool_signals(void)
{
    struct sigaction stop = {.sa_handler = on_stop}, ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
}

static void nap(uint64_t us)
{
    struct timespec ts = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};
    nanosleep(&ts, NULL);
}

bool pool_sleep(uint64_t us)
{
    uint64_t end = stats_now_us() + us;
    while (!pool_stopped()) {
        uint64_t now = stats_now_us();
        if (now >= end)
            return true;
        nap(end - now < NAP_US ? end - now : NAP_US);
    }
    return false;
}

void pool_pause(uint64_t us)
{
    uint64_t end = stats_now_us() + us;
    for (uint64_t now = stats_now_us(); now < end; now = stats_now_us())
        nap(end - now);
}

struct worker {
    struct pool *p;
    unsigned id;
    pthread_t thread;
};

static bool over(const struct pool *p)
{
    return pool_stopped() || (p->until_us && stats_now_us() >= p->until_us);
}

static void *work(void *arg)
{
    struct worker *w = arg;
    struct pool *p = w->p;
    while (!over(p)) {
        size_t i = atomic_fetch_add(&p->next, 1);
        if (p->n && i >= p->n)
            break;
        if (p->rate) {
            uint64_t at = p->t0_us + i * 1000000U / (uint64_t)p->rate, now = stats_now_us();
            if (at > now && !pool_sleep(at - now))
                break;
        }
        if (!p->fn(p->ctx, i, w->id))
            atomic_fetch_add(&p->failed, 1);
        atomic_fetch_add(&p->done, 1);
    }
    return NULL;
}

static void progress(const struct pool *p, bool last)
{
    if (!p->verb || !isatty(2))
        return;
    uint64_t done = atomic_load(&p->done), failed = atomic_load(&p->failed);
    double s = (double)(stats_now_us() - p->t0_us) / 1e6;
    fprintf(stderr, "\r%s %llu", p->verb, (unsigned long long)(done - failed));
    if (p->n)
        fprintf(stderr, "/%zu", p->n);
    fprintf(stderr, ", failed %llu, %.1f/s   %s", (unsigned long long)failed,
            s > 0 ? (double)done / s : 0.0, last ? "\n" : "");
}

/* Shows progress until all items are done or the run is over. */
static void watch(struct pool *p)
{
    while (p->verb && isatty(2) && !over(p) && (!p->n || atomic_load(&p->done) < p->n)) {
        progress(p, false);
        pool_sleep(PROGRESS_US);
    }
}

enum td_err pool_run(struct pool *p, struct errinfo *ei)
{
    unsigned want = p->n && p->n < p->threads ? (unsigned)p->n : p->threads, got = 0;
    pthread_attr_t attr;
    struct worker *w = calloc(want ? want : 1, sizeof(*w));
    if (!w)
        return err_set(ei, TD_NOMEM, "no memory");
    p->t0_us = stats_now_us();
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK);
    for (; got < want; got++) {
        w[got] = (struct worker){.p = p, .id = got};
        if (pthread_create(&w[got].thread, &attr, work, &w[got]) != 0)
            break;
    }
    pthread_attr_destroy(&attr);
    watch(p);
    for (unsigned i = 0; i < got; i++)
        pthread_join(w[i].thread, NULL);
    free(w);
    progress(p, true);
    if (got == 0 && want)
        return err_sys(ei, TD_BUSY, errno, "starting threads");
    return TD_OK;
}
