#include "mdm/base/work.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "mdm/base/log.h"

#define NAME_SIZE 16 /* what the kernel keeps of a thread's name */

struct job {
    void (*fn)(void *);
    void *arg;
};

struct work {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct job *ring;
    unsigned depth, first, n;
    bool stopping;
    char name[NAME_SIZE];
    unsigned nthreads;
    pthread_t threads[];
};

static void *worker(void *arg)
{
    struct work *w = arg;
    (void)pthread_setname_np(pthread_self(), w->name);
    pthread_mutex_lock(&w->lock);
    for (;;) {
        while (w->n == 0 && !w->stopping)
            pthread_cond_wait(&w->wake, &w->lock);
        if (w->n == 0)
            break;
        struct job job = w->ring[w->first];
        w->first = (w->first + 1) % w->depth;
        w->n--;
        pthread_mutex_unlock(&w->lock);
        job.fn(job.arg);
        log_request(""); /* the next job's lines are not this request's */
        pthread_mutex_lock(&w->lock);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* Workers take no signals: those belong to the thread that waits for them. */
static int start_thread(struct work *w)
{
    sigset_t all, kept;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &kept);
    int rc = pthread_create(&w->threads[w->nthreads], NULL, worker, w);
    pthread_sigmask(SIG_SETMASK, &kept, NULL);
    if (rc == 0)
        w->nthreads++;
    return rc;
}

enum td_err work_start(const char *name, unsigned threads, unsigned depth, struct work **ret,
                       struct errinfo *ei)
{
    if (threads == 0 || threads > 1024 || depth == 0)
        return err_set(ei, TD_INVAL, "a work queue needs 1 to 1024 threads and a depth");
    struct work *w = calloc(1, sizeof *w + threads * sizeof w->threads[0]);
    struct job *ring = calloc(depth, sizeof *ring);
    if (!w || !ring) {
        free(w);
        free(ring);
        return err_set(ei, TD_NOMEM, "no memory for the work queue %s", name);
    }
    w->ring = ring;
    w->depth = depth;
    snprintf(w->name, sizeof w->name, "%s", name);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, NULL);
    for (unsigned i = 0; i < threads; i++) {
        int rc = start_thread(w);
        if (rc != 0) {
            work_stop(w);
            return err_sys(ei, TD_NOMEM, rc, "cannot start a thread of %s", name);
        }
    }
    *ret = w;
    return TD_OK;
}

enum td_err work_submit(struct work *w, void (*fn)(void *arg), void *arg)
{
    pthread_mutex_lock(&w->lock);
    bool full = w->stopping || w->n == w->depth;
    if (!full) {
        w->ring[(w->first + w->n) % w->depth] = (struct job){fn, arg};
        w->n++;
    }
    pthread_mutex_unlock(&w->lock);
    /* not under the lock: the woken thread would run into it and sleep again */
    if (!full)
        pthread_cond_signal(&w->wake);
    return full ? TD_BUSY : TD_OK;
}

void work_stop(struct work *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_broadcast(&w->wake);
    pthread_mutex_unlock(&w->lock);
    for (unsigned i = 0; i < w->nthreads; i++)
        pthread_join(w->threads[i], NULL);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    free(w->ring);
    free(w);
}
