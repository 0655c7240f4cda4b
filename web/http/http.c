#include "web/http/http.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>

#include "mdm/base/log.h"
#include "web/http/mhd.h"

#define DRAIN_MS 10000
#define LAST_ANSWERS_MS 2000

struct http {
    struct http_shared sh;
    struct http_listener *listeners; /* copies; the strings stay the caller's */
    struct mhd **mhds;
    struct deadlines *deadlines;
};

/* NULL, or what is wrong with a listener. */
static const char *listener_fault(const struct http_listener *l, const struct http_hooks *hooks)
{
    if (!l->name || !l->address || l->kind == 0)
        return "it has no name, address or kind";
    if (l->proxy && strncmp(l->address, "unix:", 5) != 0)
        return "a proxy is believed on a unix socket alone";
    if (l->ask_client_cert && !l->tls)
        return "client certificates need TLS";
    if ((l->ask_client_cert || l->proxy) && !hooks->verify_peer)
        return "nobody verifies client certificates";
    return NULL;
}

static enum td_err check(const struct http_conf *c, struct errinfo *ei)
{
    const unsigned counts[] = {c->workers, c->queue, c->connections, c->idle_timeout,
                               c->body_timeout};
    bool complete = c->clock && c->rng && c->listeners && c->nlisteners > 0;
    for (size_t i = 0; i < TD_NITEMS(counts); i++)
        complete = complete && counts[i] > 0;
    if (!complete)
        return err_set(ei, TD_INVAL, "the HTTP configuration is not complete");
    for (size_t i = 0; i < c->nlisteners; i++) {
        const struct http_listener *l = &c->listeners[i];
        const char *fault = listener_fault(l, &c->hooks);
        if (fault)
            return err_set(ei, TD_INVAL, "listener %s: %s", l->name ? l->name : "?", fault);
    }
    return TD_OK;
}

static enum td_err start(struct http *h, struct errinfo *ei)
{
    struct http_conf *c = &h->sh.conf;
    TD_TRY(router_new(c->sets, c->nsets, &h->sh.router, ei));
    if (router_needs_token(h->sh.router) && !c->hooks.authorize)
        return err_set(ei, TD_INVAL, "a route needs a token and nobody checks tokens");
    TD_TRY(work_start("http", c->workers, c->queue, &h->sh.work, ei));
    TD_TRY(deadlines_start(c->clock, mhd_expired, &h->deadlines, ei));
    for (size_t i = 0; i < c->nlisteners; i++) {
        TD_TRY(mhd_open(&h->sh, &h->listeners[i], h->deadlines, &h->mhds[i], ei));
        log_ev(LOG_INFO, "http.listening", KV("listener", h->listeners[i].name),
               KV("address", h->listeners[i].address), KV_I64("port", mhd_port(h->mhds[i])),
               KV("tls", h->listeners[i].tls ? "yes" : "no"));
    }
    return TD_OK;
}

enum td_err http_start(const struct http_conf *conf, struct http **ret, struct errinfo *ei)
{
    TD_TRY(check(conf, ei));
    struct http *h = calloc(1, sizeof *h);
    if (!h)
        return err_set(ei, TD_NOMEM, "no memory for the listeners");
    h->sh.conf = *conf;
    pthread_mutex_init(&h->sh.lock, NULL);
    pthread_cond_init(&h->sh.idle, NULL);
    h->listeners = calloc(conf->nlisteners, sizeof *h->listeners);
    h->mhds = calloc(conf->nlisteners, sizeof(struct mhd *));
    if (!h->listeners || !h->mhds) {
        http_stop(h);
        return err_set(ei, TD_NOMEM, "no memory for the listeners");
    }
    memcpy(h->listeners, conf->listeners, conf->nlisteners * sizeof *h->listeners);
    h->sh.conf.listeners = h->listeners;
    enum td_err e = start(h, ei);
    if (e != TD_OK) {
        http_stop(h);
        return e;
    }
    *ret = h;
    return TD_OK;
}

unsigned http_port(const struct http *h, size_t listener)
{
    return listener < h->sh.conf.nlisteners ? mhd_port(h->mhds[listener]) : 0;
}

enum td_err http_reload(struct http *h, struct errinfo *ei)
{
    for (size_t i = 0; i < h->sh.conf.nlisteners; i++)
        TD_TRY(mhd_reload(h->mhds[i], ei));
    return TD_OK;
}

/* Until every request has its answer delivered, or the time is over. Real time: a drain must end
 * even where the injected clock stands. */
static void drain(struct http_shared *sh, int64_t ms)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ms / 1000;
    pthread_mutex_lock(&sh->lock);
    while (atomic_load(&sh->active) > 0 &&
           pthread_cond_timedwait(&sh->idle, &sh->lock, &until) != ETIMEDOUT)
        ;
    pthread_mutex_unlock(&sh->lock);
}

void http_stop(struct http *h)
{
    if (!h)
        return;
    size_t n = h->mhds ? h->sh.conf.nlisteners : 0;
    atomic_store(&h->sh.stopping, true);
    for (size_t i = 0; i < n; i++)
        if (h->mhds[i])
            mhd_quiesce(h->mhds[i]);
    drain(&h->sh, DRAIN_MS);
    if (atomic_load(&h->sh.active) > 0)
        log_ev(LOG_WARN, "http.drain_cut", KV_I64("requests", atomic_load(&h->sh.active)));
    atomic_store(&h->sh.closed, true);
    while (atomic_load(&h->sh.submitting) > 0)
        sched_yield();
    /* what is with a worker ends, is resumed and gets its answer; the library demands the resume */
    work_stop(h->sh.work);
    drain(&h->sh, LAST_ANSWERS_MS);
    for (size_t i = 0; i < n; i++)
        mhd_close(h->mhds[i]);
    deadlines_stop(h->deadlines);
    router_free(h->sh.router);
    pthread_cond_destroy(&h->sh.idle);
    pthread_mutex_destroy(&h->sh.lock);
    free(h->mhds);
    free(h->listeners);
    free(h);
}
