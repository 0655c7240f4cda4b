#include "mdm/base/tick.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct tick {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    pthread_t thread;
    tick_fn fn;
    void *ctx;
    unsigned period_ms;
    bool kicked, stop;
};

/* Waits for a kick, a stop or the period; true to go on. The monotonic clock: a step of the wall
 * clock must not stop the pushes. */
static bool tick_wait(struct tick *t)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += t->period_ms / 1000;
    until.tv_nsec += (long)(t->period_ms % 1000) * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    pthread_mutex_lock(&t->mutex);
    int timed_out = 0;
    while (!t->kicked && !t->stop && !timed_out)
        timed_out = pthread_cond_timedwait(&t->cond, &t->mutex, &until);
    t->kicked = false;
    bool go_on = !t->stop;
    pthread_mutex_unlock(&t->mutex);
    return go_on;
}

static void *run(void *arg)
{
    struct tick *t = arg;
    do
        t->fn(t->ctx);
    while (tick_wait(t));
    return NULL;
}

enum td_err tick_start(const char *name, unsigned period_ms, tick_fn fn, void *ctx,
                       struct tick **ret, struct errinfo *ei)
{
    struct tick *t = calloc(1, sizeof *t);
    if (!t)
        return err_set(ei, TD_NOMEM, "no memory for thread %s", name);
    t->fn = fn;
    t->ctx = ctx;
    t->period_ms = period_ms;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&t->mutex, NULL);
    pthread_cond_init(&t->cond, &attr);
    pthread_condattr_destroy(&attr);
    *ret = t; /* before the thread runs: its fn may look at it */
    int err = pthread_create(&t->thread, NULL, run, t);
    if (err) {
        *ret = NULL;
        pthread_cond_destroy(&t->cond);
        pthread_mutex_destroy(&t->mutex);
        free(t);
        return err_sys(ei, TD_BUSY, err, "cannot start thread %s", name);
    }
    pthread_setname_np(t->thread, name);
    return TD_OK;
}

void tick_kick(struct tick *t)
{
    if (!t)
        return;
    pthread_mutex_lock(&t->mutex);
    t->kicked = true;
    pthread_cond_signal(&t->cond);
    pthread_mutex_unlock(&t->mutex);
}

bool tick_stopping(struct tick *t)
{
    pthread_mutex_lock(&t->mutex);
    bool stop = t->stop;
    pthread_mutex_unlock(&t->mutex);
    return stop;
}

void tick_stop(struct tick *t)
{
    if (!t)
        return;
    pthread_mutex_lock(&t->mutex);
    t->stop = true;
    pthread_cond_signal(&t->cond);
    pthread_mutex_unlock(&t->mutex);
    pthread_join(t->thread, NULL);
    pthread_cond_destroy(&t->cond);
    pthread_mutex_destroy(&t->mutex);
    free(t);
}
