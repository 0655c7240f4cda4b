#include <stdlib.h>

#include "mdm/base/log.h"
#include "mdm/posture/posture_int.h"

#define STEP 50   /* devices of one transaction */
#define ROUNDS 20 /* steps of one turn */

struct step {
    struct posture *p;
    struct arena *a;
    int64_t now;
    const char *due[STEP];
    size_t n;
    char txn[STEP][RNG_ID_SIZE];
    size_t from, to; /* which of them to judge */
};

/* Serials of a statement whose second parameter, if any, is `below`. */
static enum td_err take(struct tx *tx, struct step *s, const struct store_stmt *st, int64_t below,
                        struct errinfo *ei)
{
    const char **list;
    size_t n;
    const struct sval args[] = {SV_INT(STEP - s->n), SV_INT(below)};
    TD_TRY(posture_serials(tx, st, args, strlen(st->in), STEP - s->n, s->a, &list, &n, ei));
    for (size_t i = 0; i < n; i++)
        s->due[s->n++] = list[i];
    return TD_OK;
}

/* Those whose time has come, and those that older rules judged. */
static enum td_err due_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct step *s = ctx;
    struct cur c;
    s->n = 0;
    TD_TRY(take(tx, s, POSTURE_SQL(DUE), s->now, ei));
    TD_TRY(tx_row(tx, POSTURE_SQL(STATE), NULL, 0, &c, ei));
    int64_t rev = cur_int(&c, 0);
    cur_end(&c);
    return take(tx, s, POSTURE_SQL(STALE), rev, ei);
}

static enum td_err judge_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct step *s = ctx;
    for (size_t i = s->from; i < s->to; i++) {
        const struct posture_cause c = {s->due[i], s->now, s->txn[i]};
        arena_auto a;
        arena_init(&a, POSTURE_ARENA);
        struct posture_subject *one = arena_alloc(&a, sizeof *one);
        if (!one)
            return err_set(ei, TD_NOMEM, "no memory for a judgement");
        enum td_err e = posture_subject_load(tx, &c, &a, one, ei);
        if (e == TD_OK)
            e = posture_subject_judge(s->p, tx, one, true, ei);
        else if (e == TD_NOTFOUND) /* it left, and its row was written by a race */
            e = posture_forget(tx, c.serial, ei);
        TD_TRY(e);
    }
    return TD_OK;
}

/* All at once; should one of them fail, each alone, so that it is in nobody's way. */
static size_t judge(struct step *s, struct errinfo *ei)
{
    size_t done = 0;
    s->from = 0;
    s->to = s->n;
    enum td_err e = store_write(s->p->conf.store, judge_job, s, ei);
    if (e == TD_OK)
        return s->n;
    for (size_t i = 0; i < s->n; i++) {
        struct errinfo why = {0};
        s->from = i;
        s->to = i + 1;
        e = store_write(s->p->conf.store, judge_job, s, &why);
        done += e == TD_OK;
        if (e != TD_OK)
            log_ev(LOG_WARN, "posture.failed", KV("serial", s->due[i]),
                   KV("error", err_msg(&why, e)));
    }
    return done;
}

static enum td_err one_step(struct posture *p, size_t *ret_n, bool *ret_more, struct errinfo *ei)
{
    arena_auto a;
    arena_init(&a, POSTURE_ARENA);
    struct step *s = arena_alloc(&a, sizeof *s);
    if (!s)
        return err_set(ei, TD_NOMEM, "no memory for a sweep");
    *s = (struct step){.p = p, .a = &a, .now = clock_now(p->conf.clock)};
    TD_TRY(store_read(p->conf.store, due_job, s, ei));
    for (size_t i = 0; i < s->n; i++)
        rng_id(p->conf.rng, s->txn[i]);
    struct errinfo why = {0};
    size_t done = s->n ? judge(s, &why) : 0;
    *ret_n += done;
    *ret_more = done == STEP;
    return TD_OK;
}

/* --- attestations that came ------------------------------------------------------------------- */

static enum td_err came_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct step *s = ctx;
    s->n = 0;
    return take(tx, s, POSTURE_SQL(CAME), 0, ei);
}

static enum td_err attestations(struct posture *p, struct errinfo *ei)
{
    arena_auto a;
    arena_init(&a, POSTURE_ARENA);
    struct step *s = arena_alloc(&a, sizeof *s);
    if (!s)
        return err_set(ei, TD_NOMEM, "no memory for a sweep");
    s->a = &a;
    TD_TRY(store_read(p->conf.store, came_job, s, ei));
    for (size_t i = 0; i < s->n; i++)
        posture_attested_one(p, s->due[i]);
    return TD_OK;
}

/* --- what was revoked comes back ------------------------------------------------------------- */

static enum td_err restore_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct step *s = ctx;
    s->n = 0;
    return take(tx, s, POSTURE_SQL(RESTORE), 0, ei);
}

static enum td_err restored_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    return tx_exec(tx, POSTURE_SQL(RESTORED), SV_LIST(SV_TEXT(ctx)), NULL, ei);
}

/* The push first: one that is repeated does no harm, one that is lost does. */
static enum td_err restore(struct posture *p, struct errinfo *ei)
{
    const struct posture_ops *ops = &p->conf.ops;
    arena_auto a;
    arena_init(&a, POSTURE_ARENA);
    struct step *s = arena_alloc(&a, sizeof *s);
    if (!s)
        return err_set(ei, TD_NOMEM, "no memory for a sweep");
    s->a = &a;
    TD_TRY(store_read(p->conf.store, restore_job, s, ei));
    for (size_t i = 0; i < s->n; i++) {
        struct errinfo why = {0};
        char serial[128];
        snprintf(serial, sizeof serial, "%s", s->due[i]);
        enum td_err e = ops->restore(ops->ctx, serial, &why);
        if (e == TD_OK)
            e = store_write(p->conf.store, restored_job, serial, &why);
        if (e != TD_OK)
            log_ev(LOG_WARN, "posture.restore_failed", KV("serial", serial),
                   KV("error", err_msg(&why, e)));
    }
    return TD_OK;
}

enum td_err posture_sweep(struct posture *p, size_t *ret_n, struct errinfo *ei)
{
    bool more = true;
    *ret_n = 0;
    if (p->conf.ops.attest)
        TD_TRY(attestations(p, ei));
    for (int i = 0; i < ROUNDS && more && !(p->tick && tick_stopping(p->tick)); i++)
        TD_TRY(one_step(p, ret_n, &more, ei));
    return restore(p, ei);
}

static void turn(void *ctx)
{
    struct posture *p = ctx;
    struct errinfo ei = {0};
    size_t n;
    if (!store_lead(p->conf.store, STORE_JOB_POSTURE)) /* another node does it */
        return;
    enum td_err e = posture_sweep(p, &n, &ei);
    if (e != TD_OK)
        log_ev(LOG_WARN, "posture.sweep_failed", KV("error", err_msg(&ei, e)));
    if (n && p->core)
        core_wake(p->core);
    if (n >= (size_t)STEP * ROUNDS)
        tick_kick(p->tick);
}

/* --- life ------------------------------------------------------------------------------------ */

enum td_err posture_open(const struct posture_conf *conf, struct posture **ret, struct errinfo *ei)
{
    struct posture *p = calloc(1, sizeof *p);
    if (!p)
        return err_set(ei, TD_NOMEM, "no memory for posture");
    p->conf = *conf;
    pthread_mutex_init(&p->lock, NULL);
    *ret = p;
    return TD_OK;
}

const struct posture_conf *posture_conf_of(const struct posture *p)
{
    return &p->conf;
}

enum td_err posture_start(struct posture *p, struct core *core, struct errinfo *ei)
{
    p->core = core;
    return tick_start("td-posture", p->conf.period_ms, turn, p, &p->tick, ei);
}

void posture_kick(struct posture *p)
{
    if (p->tick)
        tick_kick(p->tick);
}

void posture_stop(struct posture *p)
{
    if (!p)
        return;
    tick_stop(p->tick);
    p->tick = NULL;
}

void posture_close(struct posture *p)
{
    if (!p)
        return;
    posture_rules_drop(p, p->rules);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
