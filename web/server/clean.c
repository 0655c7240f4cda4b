#include "web/server/clean.h"

#include <pthread.h>

#include "mdm/base/log.h"
#include "mdm/store/attempts.h"

#define PERIOD 60             /* seconds between rounds */
#define STEP 500              /* rows of one kind in one transaction */
#define ACME_MAX (100 * STEP) /* rows of one kind in one round: anybody can make them */

struct clean {
    struct clean_conf conf;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stop;
};

static enum td_err attempts_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct clean *c = ctx;
    return attempt_clean(tx, clock_now(c->conf.clock) - c->conf.keep_attempts, STEP, ei);
}

static enum td_err invitations_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct clean *c = ctx;
    return enroll_clean(tx, clock_now(c->conf.clock), STEP, ei);
}

static void report(const char *what, enum td_err e, const struct errinfo *ei)
{
    if (e != TD_OK)
        log_ev(LOG_WARN, "clean.failed", KV("what", what), KV("error", err_msg(ei, e)));
}

static void round_once(struct clean *c)
{
    struct errinfo ei = {0};
    report("acme", acme_clean(c->conf.acme, ACME_MAX, &ei), &ei);
    report("commands",
           core_clean(c->conf.core, clock_now(c->conf.clock) - c->conf.keep_commands, STEP, &ei),
           &ei);
    report("attempts", store_write(c->conf.store, attempts_job, c, &ei), &ei);
    report("invitations", store_write(c->conf.store, invitations_job, c, &ei), &ei);
}

static void *run(void *arg)
{
    struct clean *c = arg;
    pthread_mutex_lock(&c->lock);
    while (!c->stop) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += PERIOD;
        while (!c->stop && pthread_cond_timedwait(&c->wake, &c->lock, &until) == 0)
            ;
        if (c->stop)
            break;
        pthread_mutex_unlock(&c->lock);
        round_once(c);
        pthread_mutex_lock(&c->lock);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

enum td_err clean_start(const struct clean_conf *conf, struct clean **ret, struct errinfo *ei)
{
    struct clean *c = calloc(1, sizeof *c);
    if (!c)
        return err_set(ei, TD_NOMEM, "cannot start the housekeeper");
    c->conf = *conf;
    pthread_mutex_init(&c->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c->wake, &attr);
    pthread_condattr_destroy(&attr);
    int rc = pthread_create(&c->thread, NULL, run, c);
    if (rc != 0) {
        free(c);
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
    pthread_cond_destroy(&c->wake);
    pthread_mutex_destroy(&c->lock);
    free(c);
}
