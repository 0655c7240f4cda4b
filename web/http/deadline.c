#include "web/http/deadline.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>

#define TICK_NS 500000000L

enum { OFF, ARMED, FIRING, FIRED };

struct deadlines {
    pthread_mutex_t lock; /* the list */
    pthread_cond_t wake;
    pthread_t thread;
    struct deadline head;
    const struct clock *clock;
    deadline_fn fn;
    bool stopping;
};

static void look(struct deadlines *l, struct deadline *d, int64_t now)
{
    int armed = ARMED;
    if (atomic_load(&d->due_ms) > now || !atomic_compare_exchange_strong(&d->state, &armed, FIRING))
        return;
    /* it may have been armed anew in between */
    if (atomic_load(&d->due_ms) > now) {
        atomic_store(&d->state, ARMED);
        return;
    }
    l->fn(d);
    atomic_store(&d->state, FIRED);
}

static void *watch(void *arg)
{
    struct deadlines *l = arg;
    (void)pthread_setname_np(pthread_self(), "http-deadline");
    pthread_mutex_lock(&l->lock);
    while (!l->stopping) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += TICK_NS;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        if (pthread_cond_timedwait(&l->wake, &l->lock, &until) != ETIMEDOUT)
            continue;
        int64_t now = clock_mono(l->clock);
        for (struct deadline *d = l->head.next; d != &l->head; d = d->next)
            look(l, d, now);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

enum td_err deadlines_start(const struct clock *clock, deadline_fn fn, struct deadlines **ret,
                            struct errinfo *ei)
{
    struct deadlines *l = calloc(1, sizeof *l);
    if (!l)
        return err_set(ei, TD_NOMEM, "no memory for the deadlines");
    l->clock = clock;
    l->fn = fn;
    l->head.next = l->head.prev = &l->head;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->wake, &attr);
    pthread_condattr_destroy(&attr);
    sigset_t all, kept;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &kept);
    int rc = pthread_create(&l->thread, NULL, watch, l);
    pthread_sigmask(SIG_SETMASK, &kept, NULL);
    if (rc != 0) {
        free(l);
        return err_sys(ei, TD_NOMEM, rc, "cannot start a thread");
    }
    *ret = l;
    return TD_OK;
}

void deadlines_stop(struct deadlines *l)
{
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    l->stopping = true;
    pthread_cond_signal(&l->wake);
    pthread_mutex_unlock(&l->lock);
    pthread_join(l->thread, NULL);
    pthread_cond_destroy(&l->wake);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

void deadline_add(struct deadlines *l, struct deadline *d)
{
    pthread_mutex_lock(&l->lock);
    atomic_store(&d->state, OFF);
    d->prev = l->head.prev;
    d->next = &l->head;
    d->prev->next = d;
    l->head.prev = d;
    pthread_mutex_unlock(&l->lock);
}

void deadline_remove(struct deadlines *l, struct deadline *d)
{
    pthread_mutex_lock(&l->lock);
    d->prev->next = d->next;
    d->next->prev = d->prev;
    pthread_mutex_unlock(&l->lock);
}

bool deadline_disarm(struct deadline *d)
{
    for (;;) {
        int armed = ARMED;
        if (atomic_compare_exchange_strong(&d->state, &armed, OFF) || armed == OFF)
            return true;
        if (armed == FIRED)
            return false;
        sched_yield();
    }
}

bool deadline_arm(struct deadline *d, int kind, int64_t due_ms)
{
    if (!deadline_disarm(d))
        return false;
    d->kind = kind;
    atomic_store(&d->due_ms, due_ms);
    atomic_store(&d->state, ARMED);
    return true;
}
