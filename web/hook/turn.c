#include "web/hook/turn.h"

enum { DUE, OLDEST, CLAIM, TARGET, EVENTS, DELIVERED, DONE, FAILED, END, RECOVER, STMT_MAX };

static const struct store_stmt stmts[STMT_MAX] = {
    /* who waits longest comes first */
    [DUE] = {"hook.due",
             "SELECT s.id FROM webhook_states s JOIN webhooks w ON w.id = s.id WHERE w.enabled = 1 "
             "AND s.next_at <= ?1 AND s.lease_until <= ?1 AND EXISTS (SELECT 1 FROM outbox_queue q "
             "WHERE q.sink = s.id) ORDER BY s.next_at, s.id LIMIT ?2",
             "ii", "t"},
    [OLDEST] = {"hook.oldest_of_all",
                "SELECT (SELECT q.at FROM outbox_queue q WHERE q.sink = w.id ORDER BY q.seq LIMIT "
                "1) AS at FROM webhooks w WHERE w.enabled = 1",
                "", "I"},
    [CLAIM] = {"hook.claim",
               "UPDATE webhook_states SET lease = ?2, lease_until = ?3 WHERE id = ?1 AND "
               "lease_until <= ?4 AND next_at <= ?4",
               "ttii", ""},
    [TARGET] = {"hook.target",
                "SELECT w.url, w.secret, s.tries FROM webhooks w JOIN webhook_states s ON s.id = "
                "w.id WHERE w.id = ?1 AND w.enabled = 1 AND s.lease = ?2",
                "tt", "tbi"},
    [EVENTS] = {"hook.events",
                "SELECT o.id, o.type, o.txn, o.actor, o.device, o.certificate, o.data, o.at FROM "
                "outbox_queue q JOIN outbox o ON o.id = q.event WHERE q.sink = ?1 ORDER BY q.seq "
                "LIMIT ?2",
                "ti", "ttttttti"},
    [DELIVERED] = {"hook.delivered", "DELETE FROM outbox_queue WHERE event = ?1 AND sink = ?2",
                   "tt", ""},
    [DONE] = {"hook.done",
              "UPDATE webhook_states SET lease_until = ?3, tries = 0, failing_since = 0, "
              "last_success_at = ?4, delivered = delivered + 1 WHERE id = ?1 AND lease = ?2",
              "ttii", ""},
    [FAILED] = {"hook.failed",
                "UPDATE webhook_states SET lease = '', lease_until = 0, next_at = ?3, tries = "
                "tries + 1, failing_since = CASE WHEN failing_since = 0 THEN ?4 ELSE "
                "failing_since END, last_error_at = ?4, last_error = ?5, dropped = dropped + ?6 "
                "WHERE id = ?1 AND lease = ?2",
                "ttiiti", ""},
    [END] =
        {"hook.end",
         "UPDATE webhook_states SET lease = '', lease_until = 0, next_at = ?3 WHERE id = ?1 AND "
         "lease = ?2",
         "tti", ""},
    [RECOVER] = {"hook.recover",
                 "UPDATE webhook_states SET lease = '', lease_until = 0 WHERE lease_until > 0", "",
                 ""},
};

const struct store_stmts hook_turn_stmts = {stmts, STMT_MAX};

/* --- looking --------------------------------------------------------------------------------- */

struct due_job {
    int64_t now;
    struct hook_due *ret;
};

static enum td_err due_ids(struct tx *tx, struct due_job *j, struct errinfo *ei)
{
    struct cur c;
    enum td_err e;
    TD_TRY(tx_query(tx, &stmts[DUE], SV_LIST(SV_INT(j->now), SV_INT(HOOK_ENDPOINTS_MAX)), &c, ei));
    while ((e = cur_next(&c, ei)) == TD_OK) {
        struct span id = cur_span(&c, 0);
        if (id.n == 0 || id.n >= RNG_ID_SIZE || j->ret->n == HOOK_ENDPOINTS_MAX)
            continue;
        memcpy(j->ret->ids[j->ret->n], id.p, id.n);
        j->ret->ids[j->ret->n++][id.n] = 0;
    }
    return e == TD_NOTFOUND ? TD_OK : e;
}

static enum td_err due_fn(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct due_job *j = ctx;
    struct cur c;
    enum td_err e;
    *j->ret = (struct hook_due){0};
    TD_TRY(due_ids(tx, j, ei));
    TD_TRY(tx_query(tx, &stmts[OLDEST], NULL, 0, &c, ei));
    while ((e = cur_next(&c, ei)) == TD_OK) {
        int64_t at = cur_is_null(&c, 0) ? 0 : cur_int(&c, 0);
        if (at && (!j->ret->oldest_at || at < j->ret->oldest_at))
            j->ret->oldest_at = at;
    }
    return e == TD_NOTFOUND ? TD_OK : e;
}

enum td_err hook_turn_due(struct store *s, int64_t now, struct hook_due *ret, struct errinfo *ei)
{
    struct due_job j = {now, ret};
    return store_read(s, due_fn, &j, ei);
}

/* --- a turn ---------------------------------------------------------------------------------- */

struct turn_job {
    const struct hook_turn *t;
    const char *event;
    const struct hook_failure *f;
    int64_t now;
    bool ours;
};

static enum td_err claim_fn(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct turn_job *j = ctx;
    int64_t n = 0;
    TD_TRY(tx_exec(tx, &stmts[CLAIM],
                   SV_LIST(SV_TEXT(j->t->id), SV_TEXT(j->t->lease), SV_INT(j->now + j->t->keep),
                           SV_INT(j->now)),
                   &n, ei));
    j->ours = n == 1;
    return TD_OK;
}

enum td_err hook_turn_begin(struct store *s, struct hook_turn *t, int64_t now, struct rng *rng,
                            bool *ret, struct errinfo *ei)
{
    struct turn_job j = {.t = t, .now = now};
    rng_id(rng, t->lease);
    TD_TRY(store_write(s, claim_fn, &j, ei));
    *ret = j.ours;
    return TD_OK;
}

struct read_job {
    const struct hook_turn *t;
    struct arena *a;
    struct hook_work *ret;
};

static bool read_event(const struct cur *c, struct arena *a, struct hook_event *ev)
{
    const char **const text[] = {&ev->id,     &ev->type,        &ev->txn, &ev->actor,
                                 &ev->device, &ev->certificate, &ev->data};
    ev->at = cur_int(c, TD_NITEMS(text));
    for (int i = 0; i < (int)TD_NITEMS(text); i++)
        if (!(*text[i] = cur_dup(c, i, a)))
            return false;
    return true;
}

static enum td_err read_fn(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct read_job *j = ctx;
    struct hook_work *w = j->ret;
    struct cur c;
    *w = (struct hook_work){0};
    TD_TRY(tx_row(tx, &stmts[TARGET], SV_LIST(SV_TEXT(j->t->id), SV_TEXT(j->t->lease)), &c, ei));
    w->url = cur_dup(&c, 0, j->a);
    w->sealed = cur_span_dup(&c, 1, j->a);
    w->tries = cur_int(&c, 2);
    cur_end(&c);
    TD_TRY(
        tx_query(tx, &stmts[EVENTS], SV_LIST(SV_TEXT(j->t->id), SV_INT(HOOK_TURN_EVENTS)), &c, ei));
    enum td_err e;
    bool whole = w->url && w->sealed.p;
    while ((e = cur_next(&c, ei)) == TD_OK && whole && w->n < HOOK_TURN_EVENTS)
        whole = read_event(&c, j->a, &w->events[w->n++]);
    cur_end(&c);
    if (!whole)
        return err_set(ei, TD_NOMEM, "no memory for events");
    return e == TD_NOTFOUND ? TD_OK : e;
}

enum td_err hook_turn_read(struct store *s, const struct hook_turn *t, struct arena *a,
                           struct hook_work *ret, struct errinfo *ei)
{
    struct read_job j = {t, a, ret};
    return store_read(s, read_fn, &j, ei);
}

static enum td_err take_out(struct tx *tx, const struct turn_job *j, const char *event,
                            struct errinfo *ei)
{
    return tx_exec(tx, &stmts[DELIVERED], SV_LIST(SV_TEXT(event), SV_TEXT(j->t->id)), NULL, ei);
}

/* It was delivered, whosever turn it is now. */
static enum td_err done_fn(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct turn_job *j = ctx;
    int64_t n = 0;
    TD_TRY(take_out(tx, j, j->event, ei));
    TD_TRY(tx_exec(tx, &stmts[DONE],
                   SV_LIST(SV_TEXT(j->t->id), SV_TEXT(j->t->lease), SV_INT(j->now + j->t->keep),
                           SV_INT(j->now)),
                   &n, ei));
    j->ours = n == 1;
    return TD_OK;
}

enum td_err hook_turn_done(struct store *s, const struct hook_turn *t, const char *event,
                           int64_t now, bool *ret, struct errinfo *ei)
{
    struct turn_job j = {.t = t, .event = event, .now = now};
    TD_TRY(store_write(s, done_fn, &j, ei));
    *ret = j.ours;
    return TD_OK;
}

static enum td_err failed_fn(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct turn_job *j = ctx;
    const struct hook_failure *f = j->f;
    int64_t n = 0;
    TD_TRY(tx_exec(tx, &stmts[FAILED],
                   SV_LIST(SV_TEXT(j->t->id), SV_TEXT(j->t->lease), SV_INT(f->next_at),
                           SV_INT(j->now), SV_TEXT(f->error), SV_INT(f->drop)),
                   &n, ei));
    if (n != 1) /* whoever has the turn now tries for himself */
        return TD_OK;
    if (f->drop)
        TD_TRY(take_out(tx, j, f->event, ei));
    const struct hook_cause c = {j->now, "server", j->t->lease};
    return f->gone ? hook_gone(tx, j->t->id, f->url, &c, ei) : TD_OK;
}

enum td_err hook_turn_failed(struct store *s, const struct hook_turn *t,
                             const struct hook_failure *f, int64_t now, struct errinfo *ei)
{
    struct turn_job j = {.t = t, .f = f, .now = now};
    return store_write(s, failed_fn, &j, ei);
}

static enum td_err end_fn(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct turn_job *j = ctx;
    return tx_exec(tx, &stmts[END],
                   SV_LIST(SV_TEXT(j->t->id), SV_TEXT(j->t->lease), SV_INT(j->now)), NULL, ei);
}

enum td_err hook_turn_end(struct store *s, const struct hook_turn *t, int64_t now,
                          struct errinfo *ei)
{
    struct turn_job j = {.t = t, .now = now};
    return store_write(s, end_fn, &j, ei);
}

static enum td_err recover_fn(struct tx *tx, void *ctx, struct errinfo *ei)
{
    (void)ctx;
    return tx_exec(tx, &stmts[RECOVER], NULL, 0, NULL, ei);
}

enum td_err hook_turn_recover(struct store *s, struct errinfo *ei)
{
    return store_write(s, recover_fn, NULL, ei);
}
