#include "web/server/renew.h"

#include <stdlib.h>

#include "acme/ca/census.h"
#include "acme/ca/renewal.h"
#include "mdm/base/log.h"
#include "mdm/base/metrics.h"
#include "mdm/base/tick.h"
#include "mdm/store/attempts.h"
#include "profiles/enroll/push.h"

#define STEP 50   /* certificates of one look into the database */
#define ROUNDS 20 /* looks, one after the other, while there is more */
#define ID_MARGIN 3600
#define CENSUS_STEP 1000
#define CENSUS_EVERY 5 /* periods between two counts of all certificates */

struct renew {
    struct renew_conf conf;
    struct tick *tick;
    unsigned turns; /* its thread's */
};

/* One certificate that is due. */
struct task {
    const struct renew_conf *conf;
    const struct ca_due *d;
    int64_t now, next;
    bool done; /* nothing is to be pushed */
    struct attempt refusal;
};

/* An access identity arrived when the device acknowledged the profile that brought it. */
static enum td_err arrived(struct tx *tx, const struct ca_due *d, struct arena *a, bool *ret,
                           struct errinfo *ei)
{
    *ret = false;
    if (!d->command)
        return TD_OK;
    bool successor = false;
    TD_TRY(ca_renewal_successor(tx, d, &successor, ei));
    if (!successor)
        return TD_OK;
    struct core_command c;
    enum td_err e = core_command_get(tx, d->device_serial, d->command, a, &c, ei);
    *ret = e == TD_OK && strcmp(c.state, "acknowledged") == 0;
    return e == TD_NOTFOUND ? TD_OK : e;
}

static enum td_err look_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct task *t = ctx;
    const struct ca_due *d = t->d;
    arena_auto a;
    arena_init(&a, 1 << 25);
    bool held = false, there = false;
    t->done = true;
    if (!d->good) /* revoked */
        return ca_renewal_done(tx, d, 0, ei);
    if (!d->access) {
        TD_TRY(core_identity_held(tx, d->sha256, &held, ei));
        if (!held)
            return ca_renewal_done(tx, d, 0, ei);
    } else {
        TD_TRY(arrived(tx, d, &a, &there, ei));
        int64_t end = t->now + t->conf->grace;
        if (there)
            return ca_renewal_done(tx, d, end < d->not_after ? end : d->not_after, ei);
    }
    t->done = false;
    return TD_OK;
}

/* The marker first, then the command, in one transaction (MB-29). */
static enum td_err claim(struct tx *tx, void *ctx, const char *uuid, struct errinfo *ei)
{
    const struct task *t = ctx;
    TD_TRY(ca_renewal_claim(tx, t->d, t->next, uuid, ei));
    return t->d->command ? core_command_cancel(tx, t->d->command, t->now, ei) : TD_OK;
}

/* Not now: later, with the reason where the administrator looks. */
static enum td_err postpone_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct task *t = ctx;
    TD_TRY(ca_renewal_claim(tx, t->d, t->next, NULL, ei));
    return attempt_add(tx, &t->refusal, ei);
}

static enum td_err unwanted_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct task *t = ctx;
    return ca_renewal_done(tx, t->d, 0, ei);
}

static void report(const struct ca_due *d, enum td_err e, const struct errinfo *ei)
{
    if (e == TD_OK || e == TD_AGAIN)
        return;
    metrics_add(METRIC_RENEWALS_FAILED, 1);
    log_ev(LOG_WARN, "renew.failed", KV("serial", d->device_serial), KV("profile", d->profile),
           KV("reason", ei->reason ? ei->reason : err_name(e)), KV("error", err_msg(ei, e)));
}

static void give_up_for_now(struct task *t, enum td_err e, const struct errinfo *why)
{
    struct errinfo ei = {0};
    bool unwanted = why->reason && strcmp(why->reason, "not-assigned") == 0;
    report(t->d, e, why);
    t->refusal = (struct attempt){.at = t->now,
                                  .serial = t->d->device_serial,
                                  .source = "renewal",
                                  .outcome = "refused",
                                  .reason = why->reason ? why->reason : "",
                                  .detail = err_msg(why, e),
                                  .order_id = "",
                                  .peer = ""};
    e = store_write(t->conf->store, unwanted ? unwanted_job : postpone_job, t, &ei);
    report(t->d, e, &ei);
}

/* TD_OK also when there was nothing to push; a fault of ours leaves the row as it is, due. */
static bool step(const struct renew_conf *conf, const struct ca_due *d)
{
    struct errinfo ei = {0};
    struct task t = {.conf = conf, .d = d, .now = clock_now(conf->clock)};
    t.next = t.now + ca_renewal_wait(conf->retry, d->tries);
    enum td_err e = store_write(conf->store, look_job, &t, &ei);
    if (e != TD_OK || t.done) {
        report(d, e, &ei);
        return false;
    }
    const struct enroll_renewal r = {.serial = d->device_serial,
                                     .profile = d->profile,
                                     .access = d->access,
                                     .renews = d->serial,
                                     .expires = t.next + ID_MARGIN,
                                     .claim = claim,
                                     .ctx = &t};
    e = enroll_renew(conf->enroll, conf->core, &r, &ei);
    if (e == TD_OK) {
        metrics_add(METRIC_RENEWALS_PUSHED, 1);
        log_ev(LOG_INFO, "renew.pushed", KV("serial", d->device_serial), KV("profile", d->profile),
               KV_I64("try", d->tries + 1));
        return true;
    }
    if (e == TD_FORBIDDEN || e == TD_NOTFOUND || e == TD_STATE)
        give_up_for_now(&t, e, &ei);
    else
        report(d, e, &ei);
    return false;
}

struct due {
    int64_t now;
    struct arena *a;
    struct ca_due list[STEP];
    size_t n;
};

static enum td_err due_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct due *q = ctx;
    return ca_renewal_due(tx, q->now, STEP, q->a, q->list, &q->n, ei);
}

struct retire {
    int64_t now, count;
};

static enum td_err retire_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct retire *q = ctx;
    return ca_renewal_retire(tx, q->now, STEP, &q->count, ei);
}

static void retire_some(const struct renew_conf *conf)
{
    struct errinfo ei = {0};
    struct retire q = {.now = clock_now(conf->clock)};
    enum td_err e = store_write(conf->store, retire_job, &q, &ei);
    if (e != TD_OK)
        log_ev(LOG_WARN, "renew.retire_failed", KV("error", err_msg(&ei, e)));
    metrics_add(METRIC_CERTS_REVOKED, e == TD_OK ? q.count : 0);
}

/* Devices that are told to renew what cannot be issued would come in vain, each several times. */
static bool can_issue(const struct renew_conf *conf)
{
    struct errinfo ei = {0};
    enum td_err e = ca_can_issue(conf->ca, &ei);
    if (e != TD_OK)
        log_ev(LOG_WARN, "renew.waits", KV("reason", ei.reason), KV("error", err_msg(&ei, e)));
    return e == TD_OK;
}

size_t renew_round(const struct renew_conf *conf)
{
    size_t pushed = 0;
    int rounds = can_issue(conf) ? ROUNDS : 0;
    for (int i = 0; i < rounds; i++) {
        struct errinfo ei = {0};
        arena_auto a;
        arena_init(&a, 1 << 20);
        struct due q = {.now = clock_now(conf->clock), .a = &a};
        enum td_err e = store_read(conf->store, due_job, &q, &ei);
        if (e != TD_OK) {
            log_ev(LOG_WARN, "renew.look_failed", KV("error", err_msg(&ei, e)));
            break;
        }
        size_t before = pushed;
        for (size_t k = 0; k < q.n; k++)
            pushed += step(conf, &q.list[k]);
        if (q.n < STEP || pushed == before) /* all seen, or nothing moves */
            break;
    }
    retire_some(conf);
    return pushed;
}

/* --- the count for /metrics ------------------------------------------------------------------ */

struct census_job {
    int64_t now;
    struct ca_census was, is; /* a job may run again: from where it began */
};

static enum td_err census_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct census_job *q = ctx;
    q->is = q->was;
    return ca_census_step(tx, q->now, CENSUS_STEP, &q->is, ei);
}

static void show(const struct ca_census *c)
{
    _Static_assert(METRIC_CERTS_GOOD_MANAGEMENT + CENSUS_STATES * CENSUS_PURPOSES - 1 ==
                       METRIC_CERTS_EXPIRED_ACCESS,
                   "the order of the rows is that of the count");
    for (unsigned s = 0; s < CENSUS_STATES; s++)
        for (unsigned p = 0; p < CENSUS_PURPOSES; p++)
            metrics_set((enum metric)(METRIC_CERTS_GOOD_MANAGEMENT + s * CENSUS_PURPOSES + p),
                        c->n[s][p]);
    metrics_set(METRIC_RENEWALS_DUE, c->due);
    metrics_set(METRIC_RENEWALS_WAITING, c->waiting);
}

static void census(struct renew *r)
{
    struct errinfo ei = {0};
    struct census_job q = {.now = clock_now(r->conf.clock)};
    enum td_err e = TD_OK;
    while (!q.was.done && e == TD_OK && !tick_stopping(r->tick)) {
        e = store_read(r->conf.store, census_job, &q, &ei);
        q.was = q.is;
    }
    if (e != TD_OK) /* the figures of before stay */
        log_ev(LOG_WARN, "renew.count_failed", KV("error", err_msg(&ei, e)));
    else if (q.was.done)
        show(&q.was);
}

/* --- the thread ------------------------------------------------------------------------------ */

static void turn(void *ctx)
{
    struct renew *r = ctx;
    struct errinfo ei = {0};
    enum td_err e = ca_profiles_refresh(r->conf.profiles, &ei);
    if (e != TD_OK)
        log_ev(LOG_WARN, "renew.profiles_failed", KV("error", err_msg(&ei, e)));
    renew_round(&r->conf);
    if (r->turns++ % CENSUS_EVERY == 0)
        census(r);
}

enum td_err renew_start(const struct renew_conf *conf, struct renew **ret, struct errinfo *ei)
{
    struct renew *r = calloc(1, sizeof *r);
    if (!r)
        return err_set(ei, TD_NOMEM, "cannot start the renewer");
    r->conf = *conf;
    enum td_err e = tick_start("td-renew", (unsigned)conf->period * 1000, turn, r, &r->tick, ei);
    if (e != TD_OK) {
        free(r);
        return e;
    }
    *ret = r;
    return TD_OK;
}

void renew_stop(struct renew *r)
{
    if (!r)
        return;
    tick_stop(r->tick);
    free(r);
}
