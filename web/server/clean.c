#include "web/server/clean.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "mdm/base/log.h"

#define PERIOD_MS 60000 /* between rounds */
#define STEPS_MAX 100   /* of one cleaner in one round: the others get their turn */
#define REST 9          /* times as long as a step took is rested behind it */
#define SUMMARY_MAX 4096

struct clean {
    struct clean_conf conf;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stop;
    struct sweep_pos *pos;
    struct clean_count *counts;
};

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* --- one round ------------------------------------------------------------------------------- */

static void failed(const struct cleaner *c, enum td_err e, const struct errinfo *ei)
{
    log_ev(LOG_WARN, "clean.failed", KV("what", c->name), KV("error", err_msg(ei, e)));
}

/* The steps of one cleaner; false when the round is to end. */
static bool run_cleaner(const struct clean_conf *conf, const struct cleaner *c,
                        struct sweep_pos *pos, struct clean_count *count,
                        bool (*pause)(void *ctx, int64_t us), void *ctx)
{
    int64_t now = clock_now(conf->clock);
    struct sweep s = {.now = now,
                      .before = cleaner_before(c, conf->settings, now),
                      .max = CLEAN_STEP_MAX,
                      .pos = *pos};
    *count = (struct clean_count){.more = true};
    while (count->more && count->steps < STEPS_MAX) {
        struct errinfo ei = {0};
        int64_t from = now_us();
        enum td_err e = cleaner_step(c, conf->store, &s, &ei);
        int64_t took = now_us() - from;
        count->steps++;
        if (e != TD_OK) {
            failed(c, e, &ei);
            count->more = false;
            count->failed = true;
            break;
        }
        metrics_observe(METRIC_CLEAN_STEP_TIME, took);
        metrics_add(c->metric, s.gone);
        count->rows += s.gone;
        count->more = s.more;
        if (pause && !pause(ctx, took * REST))
            return false;
    }
    *pos = count->more ? s.pos : (struct sweep_pos){0};
    return true;
}

void clean_round(const struct clean_conf *conf, struct sweep_pos *pos, struct clean_count *counts,
                 bool (*pause)(void *ctx, int64_t us), void *ctx)
{
    memset(counts, 0, ncleaners * sizeof *counts);
    for (size_t i = 0; i < ncleaners; i++)
        if (!run_cleaner(conf, &cleaners[i], &pos[i], &counts[i], pause, ctx))
            return;
}

/* --- the thread ------------------------------------------------------------------------------ */

/* Waits, or less when the housekeeper is to stop; false when it is. */
static bool rest(void *ctx, int64_t us)
{
    struct clean *c = ctx;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += us / 1000000;
    until.tv_nsec += (long)(us % 1000000) * 1000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_mutex_lock(&c->lock);
    while (!c->stop && pthread_cond_timedwait(&c->wake, &c->lock, &until) == 0)
        ;
    bool go_on = !c->stop;
    pthread_mutex_unlock(&c->lock);
    return go_on;
}

/* One line about what went; true when a cleaner has more to do. */
static bool report(const struct clean *c)
{
    bool more = false, any = false;
    buf_auto text;
    buf_init(&text, SUMMARY_MAX);
    for (size_t i = 0; i < ncleaners; i++) {
        more |= c->counts[i].more;
        if (!c->counts[i].rows)
            continue;
        buf_printf(&text, "%s%s %lld", any ? ", " : "", cleaners[i].name,
                   (long long)c->counts[i].rows);
        any = true;
    }
    if (any)
        log_ev(LOG_INFO, "clean.done", KV("rows", buf_cstr(&text)),
               KV("more", more ? "yes" : "no"));
    return more;
}

static void *run(void *arg)
{
    struct clean *c = arg;
    int64_t period = c->conf.period_ms ? c->conf.period_ms : PERIOD_MS;
    bool more = false;
    /* a round that ended at its bound is followed by the next one at once */
    while (rest(c, more ? 0 : period * 1000)) {
        more = false;
        if (!store_lead(c->conf.store, STORE_JOB_CLEAN)) /* another node cleans */
            continue;
        clean_round(&c->conf, c->pos, c->counts, rest, c);
        more = report(c);
    }
    return NULL;
}

static void clean_free(struct clean *c)
{
    pthread_cond_destroy(&c->wake);
    pthread_mutex_destroy(&c->lock);
    free(c->pos);
    free(c->counts);
    free(c);
}

enum td_err clean_start(const struct clean_conf *conf, struct clean **ret, struct errinfo *ei)
{
    struct clean *c = calloc(1, sizeof *c);
    if (!c)
        return err_set(ei, TD_NOMEM, "cannot start the housekeeper");
    c->conf = *conf;
    c->pos = calloc(ncleaners, sizeof *c->pos);
    c->counts = calloc(ncleaners, sizeof *c->counts);
    pthread_mutex_init(&c->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c->wake, &attr);
    pthread_condattr_destroy(&attr);
    int rc = c->pos && c->counts ? pthread_create(&c->thread, NULL, run, c) : ENOMEM;
    if (rc != 0) {
        clean_free(c);
        return err_sys(ei, TD_INTERNAL, rc, "cannot start the housekeeper");
    }
    *ret = c;
    return TD_OK;
}

void clean_stop(struct clean *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&c->lock);
    c->stop = true;
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
    pthread_join(c->thread, NULL);
    clean_free(c);
}
