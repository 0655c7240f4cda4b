#include "mdm/core/pump.h"

#include "mdm/base/log.h"
#include "mdm/base/metrics.h"

enum {
    PERIOD_MS = 2000, /* rows of other nodes, of core_leave and with a later time are found so */
    BATCH = 128,
    LEASE = 120,        /* s; longer than a batch takes */
    BACKOFF_FIRST = 5,  /* s, doubled for each failed batch in a row */
    BACKOFF_DOUBLE = 7, /* times at most: 640 s */
    ARENA_MAX = 1 << 20
};

struct want {
    const char *id, *topic, *magic;
    struct span token;
    int64_t requested_at, leased_at; /* leased_at: what marks our claim in the row */
    int64_t retry_at;                /* 0: the row goes */
    bool pushable, tried;
};

struct batch {
    int64_t now;
    struct arena *a;
    struct want wants[BATCH];
    size_t n;
};

static enum td_err due_row(const struct cur *cur, struct batch *b, struct want *w,
                           struct errinfo *ei)
{
    *w = (struct want){.requested_at = cur_int(cur, 1), .leased_at = b->now + LEASE};
    struct span state = cur_span(cur, 2);
    w->id = cur_dup(cur, 0, b->a);
    if (!w->id || strlen(w->id) > CORE_ID_MAX)
        return err_set(ei, TD_NOMEM, "no memory for the pushes");
    w->pushable = (span_eq_str(state, "enrolled") || span_eq_str(state, "leaving")) &&
                  !cur_is_null(cur, 3) && !cur_is_null(cur, 4) && !cur_is_null(cur, 5);
    if (!w->pushable)
        return TD_OK;
    w->topic = cur_dup(cur, 3, b->a);
    w->magic = cur_dup(cur, 4, b->a);
    w->token = cur_span_dup(cur, 5, b->a);
    return w->topic && w->magic && w->token.p ? TD_OK : err_set(ei, TD_NOMEM, "no memory");
}

/* Claims the rows that are due: one transaction reads them and moves them ahead by the lease. A
 * request made after this one moves the row back, so that it is sent again. */
static enum td_err claim_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct batch *b = ctx;
    struct cur cur;
    enum td_err e;
    b->n = 0;
    arena_free(b->a);
    TD_TRY(tx_query(tx, CORE_SQL(PUSH_DUE), SV_LIST(SV_INT(b->now), SV_INT(BATCH)), &cur, ei));
    while ((e = cur_next(&cur, ei)) == TD_OK && b->n < BATCH) {
        e = due_row(&cur, b, &b->wants[b->n], ei);
        if (e != TD_OK)
            break;
        b->n++;
    }
    if (e != TD_NOTFOUND)
        cur_end(&cur);
    if (e != TD_NOTFOUND && e != TD_OK)
        return e;
    for (size_t i = 0; i < b->n; i++) {
        const struct want *w = &b->wants[i];
        TD_TRY(tx_exec(tx, CORE_SQL(PUSH_MOVE),
                       SV_LIST(SV_TEXT(w->id), SV_INT(w->requested_at), SV_INT(w->leased_at)), NULL,
                       ei));
    }
    return TD_OK;
}

static enum td_err settle_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct batch *b = ctx;
    for (size_t i = 0; i < b->n; i++) {
        const struct want *w = &b->wants[i];
        if (!w->tried)
            continue;
        if (w->retry_at)
            TD_TRY(tx_exec(tx, CORE_SQL(PUSH_MOVE),
                           SV_LIST(SV_TEXT(w->id), SV_INT(w->leased_at), SV_INT(w->retry_at)), NULL,
                           ei));
        else
            TD_TRY(tx_exec(tx, CORE_SQL(PUSH_DONE), SV_LIST(SV_TEXT(w->id), SV_INT(w->leased_at)),
                           NULL, ei));
    }
    return TD_OK;
}

/* False when the service did not take it. */
static bool push_one(struct core *c, struct want *w)
{
    struct errinfo ei = {0};
    w->tried = true;
    if (!w->pushable) /* MB-60: nothing before the first TokenUpdate */
        return true;
    struct push_target t = {
        .enrollment_id = w->id, .topic = w->topic, .push_magic = w->magic, .token = w->token};
    enum td_err e = c->conf.push.send(c->conf.push.ctx, &t, &ei);
    if (e == TD_OK) {
        metrics_add(METRIC_PUSHES, 1);
        return true;
    }
    if (e == TD_GONE) {
        /* The device may have lost the profile (MB-18); the enrolment stays until it says so. */
        log_ev(LOG_WARN, "push.gone", KV("enrollment", w->id), KV("error", err_msg(&ei, e)));
        return true;
    }
    unsigned doublings = c->pump_failures < BACKOFF_DOUBLE ? c->pump_failures : BACKOFF_DOUBLE;
    int64_t delay = (int64_t)BACKOFF_FIRST << doublings;
    if (ei.retry_after > delay)
        delay = ei.retry_after;
    w->retry_at = clock_now(c->conf.clock) + delay;
    log_ev(LOG_WARN, "push.failed", KV("enrollment", w->id), KV("error", err_msg(&ei, e)),
           KV_I64("retry_s", delay));
    return false;
}

static enum td_err recover_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const int64_t *now = ctx;
    return tx_exec(tx, CORE_SQL(PUSH_RECOVER), SV_LIST(SV_INT(*now)), NULL, ei);
}

static enum td_err peek_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct batch *b = ctx;
    struct cur cur;
    TD_TRY(tx_row(tx, CORE_SQL(PUSH_DUE), SV_LIST(SV_INT(b->now), SV_INT(1)), &cur, ei));
    cur_end(&cur);
    return TD_OK;
}

/* One batch; true when more may be due. */
static bool pump_batch(struct core *c, struct batch *b)
{
    struct errinfo ei = {0};
    enum td_err e = store_read(c->conf.store, peek_job, b, &ei);
    if (e == TD_OK)
        e = store_write(c->conf.store, claim_job, b, &ei);
    else if (e == TD_NOTFOUND)
        return false;
    if (e != TD_OK) {
        log_ev(LOG_ERROR, "push.claim_failed", KV("error", err_msg(&ei, e)));
        return false;
    }
    if (b->n == 0)
        return false;
    bool all = true;
    for (size_t i = 0; i < b->n && !tick_stopping(c->pump); i++)
        all &= push_one(c, &b->wants[i]);
    c->pump_failures = all ? 0 : c->pump_failures + 1;
    /* Not settled: the lease runs out and the push is sent once more, which is harmless. */
    e = store_write(c->conf.store, settle_job, b, &ei);
    if (e != TD_OK)
        log_ev(LOG_ERROR, "push.settle_failed", KV("error", err_msg(&ei, e)));
    return b->n == BATCH && !tick_stopping(c->pump);
}

static void pump(void *ctx)
{
    struct core *c = ctx;
    arena_auto a;
    arena_init(&a, ARENA_MAX);
    struct batch b = {.now = clock_now(c->conf.clock), .a = &a};
    /* Whom a process that ended had claimed is due again. Of other nodes' claims nobody knows
     * whether they live: theirs run out. */
    if (!c->pump_recovered && !store_shared(c->conf.store)) {
        struct errinfo ei = {0};
        enum td_err e = store_write(c->conf.store, recover_job, &b.now, &ei);
        if (e != TD_OK)
            log_ev(LOG_ERROR, "push.recover_failed", KV("error", err_msg(&ei, e)));
        c->pump_recovered = e == TD_OK;
    }
    while (pump_batch(c, &b))
        ;
}

enum td_err core_pump_start(struct core *c, struct errinfo *ei)
{
    return tick_start("td-push", PERIOD_MS, pump, c, &c->pump, ei);
}

void core_pump_kick(struct core *c)
{
    tick_kick(c->pump);
}

void core_pump_stop(struct core *c)
{
    tick_stop(c->pump);
    c->pump = NULL;
}
