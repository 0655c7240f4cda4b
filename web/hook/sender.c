#include "web/hook/sender.h"

#include <pthread.h>
#include <stdlib.h>

#include "mdm/base/log.h"
#include "mdm/base/metrics.h"
#include "web/hook/secrets.h"
#include "web/hook/turn.h"

#define PERIOD 1        /* s between two looks of a node that has nothing to do */
#define FORGET_MS 10000 /* between two looks for secrets whose time is over */
#define LEASE_MORE 10   /* s of a lease beyond the longest request */
#define ARENA_MAX ((size_t)HOOK_TURN_EVENTS * HOOK_BODY_MAX)

struct hook_sender {
    struct hook_sender_conf conf;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    atomic_bool stop;
    bool watched;
    atomic_bool away;              /* the database, and the log has it */
    atomic_int_fast64_t forget_at; /* clock_mono in ms */
    pthread_t threads[HOOK_IN_FLIGHT_MAX];
    size_t n;
};

int64_t hook_wait(int64_t tries, int64_t retry_after, struct rng *rng)
{
    static const int64_t waits[] = {5, 30, 120, 300, 900, 1800, 3600};
    const int64_t longest = waits[TD_NITEMS(waits) - 1];
    int64_t wait = tries < 0 ? waits[0] : longest;
    uint32_t dice;
    if (tries >= 0 && tries < (int64_t)TD_NITEMS(waits))
        wait = waits[tries];
    if (retry_after > wait)
        wait = retry_after < longest ? retry_after : longest;
    rng_fill(rng, &dice, sizeof dice);
    return wait + (int64_t)(dice % (uint64_t)(wait / 5 + 1));
}

/* --- one event ------------------------------------------------------------------------------- */

struct delivery {
    const struct hook_sender_conf *conf;
    const atomic_bool *stop;
    struct hook_turn turn;
    struct hook_work work;
    struct hook_secrets secrets;
    struct hook_post *post;
};

static bool stopping(const struct delivery *d)
{
    return d->stop && atomic_load(d->stop);
}

static enum td_err send_one(struct delivery *d, const struct hook_event *ev,
                            struct hook_answer *ret, struct errinfo *ei)
{
    int64_t now = clock_now(d->conf->clock);
    char id[64], timestamp[48], signature[160];
    buf_auto body, mac;
    buf_init(&body, HOOK_BODY_MAX);
    buf_init(&mac, 128);
    TD_TRY(hook_body(ev, &body));
    TD_TRY(hook_sign(d->secrets.now, ev->id, now, buf_view(&body), &mac, ei));
    if (d->secrets.before.n && now < d->secrets.until) {
        buf_str(&mac, " ");
        TD_TRY(hook_sign(d->secrets.before, ev->id, now, buf_view(&body), &mac, ei));
    }
    snprintf(id, sizeof id, "Webhook-Id: %s", ev->id);
    snprintf(timestamp, sizeof timestamp, "Webhook-Timestamp: %lld", (long long)now);
    snprintf(signature, sizeof signature, "Webhook-Signature: %s", buf_cstr(&mac));
    const char *const headers[] = {"Content-Type: application/json", id, timestamp, signature};
    return hook_post_send(d->post, d->work.url, headers, TD_NITEMS(headers), buf_view(&body), ret,
                          ei);
}

static bool refuses_event(long status)
{
    return status == 400 || status == 413 || status == 415 || status == 422;
}

static void report(const struct delivery *d, const char *what, enum td_err e,
                   const struct errinfo *ei)
{
    if (e != TD_OK)
        log_ev(LOG_ERROR, what, KV("webhook", d->turn.id), KV("error", err_msg(ei, e)));
}

static void failed(struct delivery *d, const struct hook_event *ev, const struct hook_answer *a)
{
    int64_t now = clock_now(d->conf->clock);
    struct errinfo ei = {0};
    struct hook_failure f = {
        .event = ev ? ev->id : NULL,
        .error = a->error,
        .next_at = now + hook_wait(d->work.tries, a->retry_after, d->conf->rng),
        .gone = a->status == 410,
        .url = d->work.url ? d->work.url : "",
    };
    f.drop = ev && !f.gone &&
             ((refuses_event(a->status) && d->work.tries + 1 >= HOOK_REFUSALS) ||
              now - ev->at >= d->conf->give_up);
    metrics_add(METRIC_WEBHOOK_FAILURES, 1);
    metrics_add(METRIC_WEBHOOK_DROPPED, f.drop);
    log_ev(LOG_WARN,
           f.gone   ? "webhook.gone"
           : f.drop ? "webhook.dropped"
                    : "webhook.failed",
           KV("webhook", d->turn.id), KV("event", ev ? ev->id : ""), KV("error", a->error),
           KV_I64("try", d->work.tries + 1), KV_I64("retry_s", f.next_at - now));
    report(d, "webhook.settle_failed", hook_turn_failed(d->conf->store, &d->turn, &f, now, &ei),
           &ei);
}

/* --- one turn -------------------------------------------------------------------------------- */

/* A fault of ours: the turn ends, and comes again later. ev, when it was about one, is given up
 * when it is old, or those behind it would wait for ever. */
static void trouble(struct delivery *d, const struct hook_event *ev, enum td_err e,
                    const struct errinfo *ei)
{
    struct hook_answer a = {.error = "not sent: a fault of this server, see its log"};
    report(d, "webhook.trouble", e, ei);
    failed(d, ev, &a);
}

/* False: the turn is over, and settled. */
static bool one_event(struct delivery *d, const struct hook_event *ev, size_t *count)
{
    struct errinfo ei = {0};
    struct hook_answer a;
    bool ours = false;
    enum td_err e = send_one(d, ev, &a, &ei);
    if (e != TD_OK) {
        trouble(d, ev, e, &ei);
        return false;
    }
    if (stopping(d) && a.status == 0)
        return true;
    if (a.error[0]) {
        failed(d, ev, &a);
        return false;
    }
    d->work.tries = 0;
    ++*count;
    metrics_add(METRIC_WEBHOOK_DELIVERED, 1);
    e = hook_turn_done(d->conf->store, &d->turn, ev->id, clock_now(d->conf->clock), &ours, &ei);
    report(d, "webhook.settle_failed", e, &ei);
    return e == TD_OK && ours;
}

static void work_off(struct delivery *d, size_t *count)
{
    struct errinfo ei = {0};
    for (size_t i = 0; i < d->work.n && !stopping(d); i++)
        if (!one_event(d, &d->work.events[i], count))
            return;
    report(d, "webhook.settle_failed",
           hook_turn_end(d->conf->store, &d->turn, clock_now(d->conf->clock), &ei), &ei);
}

static enum td_err prepare(struct delivery *d, struct arena *a, struct errinfo *ei)
{
    const struct hook_sender_conf *conf = d->conf;
    const struct hook_post_conf post = {conf->timeout, conf->connect, conf->ca_file, d->stop};
    TD_TRY(hook_turn_read(conf->store, &d->turn, a, &d->work, ei));
    TD_TRY(hook_unseal(conf->seal, d->turn.id, d->work.sealed, &d->secrets, ei));
    return hook_post_open(&post, &d->post, ei);
}

/* True when the turn was ours and there was something to do: else the next look can wait. */
static bool take_turn(const struct hook_sender_conf *conf, const atomic_bool *stop, const char *id,
                      size_t *count)
{
    struct errinfo ei = {0};
    struct delivery d = {.conf = conf, .stop = stop};
    bool ours = false;
    snprintf(d.turn.id, sizeof d.turn.id, "%s", id);
    d.turn.keep = conf->timeout + LEASE_MORE;
    enum td_err e =
        hook_turn_begin(conf->store, &d.turn, clock_now(conf->clock), conf->rng, &ours, &ei);
    report(&d, "webhook.claim_failed", e, &ei);
    if (e != TD_OK || !ours)
        return false;
    arena_auto a;
    arena_init(&a, ARENA_MAX);
    e = prepare(&d, &a, &ei);
    if (e == TD_OK)
        work_off(&d, count);
    else if (e != TD_NOTFOUND)
        trouble(&d, NULL, e, &ei);
    hook_secrets_free(&d.secrets);
    hook_post_close(d.post);
    return d.work.n > 0;
}

/* Of the threads of a sender one, now and then. */
static void forget(const struct hook_sender_conf *conf, struct hook_sender *s)
{
    struct errinfo ei = {0};
    int64_t mono = clock_mono(&clock_system);
    int_fast64_t at = s ? atomic_load(&s->forget_at) : 0;
    if (s && (mono < at || !atomic_compare_exchange_strong(&s->forget_at, &at, mono + FORGET_MS)))
        return;
    enum td_err e = hook_forget(conf->store, conf->seal, conf->rng, clock_now(conf->clock), &ei);
    if (e != TD_OK)
        log_ev(LOG_WARN, "webhook.forget_failed", KV("error", err_msg(&ei, e)));
}

/* One look; true when a turn was taken. Before that another thread is woken, to look for more. */
static bool look(const struct hook_sender_conf *conf, struct hook_sender *s, size_t *count)
{
    const atomic_bool *stop = s ? &s->stop : NULL;
    struct errinfo ei = {0};
    struct hook_due due = {.n = 0};
    int64_t now = clock_now(conf->clock);
    enum td_err e = hook_turn_due(conf->store, now, &due, &ei);
    if (s && atomic_exchange(&s->away, e != TD_OK) && e != TD_OK)
        return false;
    if (e != TD_OK) {
        log_ev(LOG_WARN, "webhook.look_failed", KV("error", err_msg(&ei, e)));
        return false;
    }
    forget(conf, s);
    metrics_set(METRIC_WEBHOOK_AGE, due.oldest_at ? now - due.oldest_at : 0);
    if (s && due.n > 0)
        pthread_cond_signal(&s->wake);
    bool taken = false;
    for (size_t i = 0; i < due.n && !(stop && atomic_load(stop)) && !taken; i++)
        taken = take_turn(conf, stop, due.ids[i], count);
    return taken;
}

size_t hook_round(const struct hook_sender_conf *conf)
{
    size_t count = 0;
    (void)look(conf, NULL, &count);
    return count;
}

/* --- threads --------------------------------------------------------------------------------- */

/* Of the threads that have nothing to do one looks every second, the others sleep until they are
 * woken. */
static void rest(struct hook_sender *s)
{
    struct timespec until;
    if (s->watched) {
        pthread_cond_wait(&s->wake, &s->lock);
        return;
    }
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += PERIOD;
    s->watched = true;
    pthread_cond_timedwait(&s->wake, &s->lock, &until);
    s->watched = false;
}

static void *run(void *arg)
{
    struct hook_sender *s = arg;
    size_t count = 0;
    bool busy = false;
    pthread_mutex_lock(&s->lock);
    while (!atomic_load(&s->stop)) {
        if (!busy)
            rest(s);
        if (atomic_load(&s->stop))
            break;
        pthread_mutex_unlock(&s->lock);
        busy = look(&s->conf, s, &count);
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static void init_wake(struct hook_sender *s)
{
    pthread_condattr_t attr;
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wake, &attr);
    pthread_condattr_destroy(&attr);
}

enum td_err hook_sender_start(const struct hook_sender_conf *conf, struct hook_sender **ret,
                              struct errinfo *ei)
{
    TD_TRY(store_write(conf->store, hook_refresh, NULL, ei));
    if (!store_shared(conf->store))
        TD_TRY(hook_turn_recover(conf->store, ei));
    struct hook_sender *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(ei, TD_NOMEM, "cannot start the webhooks");
    s->conf = *conf;
    init_wake(s);
    while (s->n < (size_t)conf->in_flight && s->n < HOOK_IN_FLIGHT_MAX) {
        int rc = pthread_create(&s->threads[s->n], NULL, run, s);
        if (rc != 0) {
            hook_sender_stop(s);
            return err_sys(ei, TD_INTERNAL, rc, "cannot start the webhooks");
        }
        s->n++;
    }
    *ret = s;
    return TD_OK;
}

void hook_sender_stop(struct hook_sender *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    atomic_store(&s->stop, true);
    pthread_cond_broadcast(&s->wake);
    pthread_mutex_unlock(&s->lock);
    for (size_t i = 0; i < s->n; i++)
        pthread_join(s->threads[i], NULL);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
