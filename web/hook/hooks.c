#include "web/hook/hooks.h"

#include <stdio.h>

#include "mdm/base/clock.h"
#include "mdm/base/str.h"
#include "mdm/store/audit.h"
#include "web/hook/turn.h"

enum {
    COUNT,
    ADD,
    ADD_STATE,
    PUT,
    SECRET,
    SEALED,
    SEALED_TWO,
    DROP,
    DROP_STATE,
    WANT,
    WANT_NOT,
    GET,
    LIST,
    QUEUE,
    OLDEST,
    GONE,
    RESET,
    EVERY,
    PAGE,
    SEAL,
    STMT_MAX
};

/* The length of one secret sealed: a longer value has two. */
#define ONE (HOOK_SECRET + SEAL_OVERHEAD)
_Static_assert(ONE == 69, "the statements have the number");

#define COLUMNS                                                                                    \
    "SELECT w.id, w.name, w.url, w.types, w.enabled, w.rev, w.created_by, w.created_at, "          \
    "w.updated_at, s.next_at, s.failing_since, s.last_success_at, s.last_error_at, s.last_error, " \
    "s.delivered, s.dropped, CASE WHEN length(w.secret) > 69 THEN w.secret END FROM webhooks w "   \
    "JOIN webhook_states s ON s.id = w.id WHERE "
#define COLUMN_TYPES "ttttiitiiiiiitiiB"

static const struct store_stmt stmts[STMT_MAX] = {
    [COUNT] = {"hook.count", "SELECT COUNT(*) FROM webhooks", "", "i"},
    [ADD] = {"hook.add",
             "INSERT INTO webhooks (id, name, url, types, enabled, secret, rev, created_by, "
             "created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7, ?8, ?8)",
             "ttttibti", ""},
    [ADD_STATE] = {"hook.add_state",
                   "INSERT INTO webhook_states (id, lease, lease_until, next_at, tries, "
                   "failing_since, last_success_at, last_error_at, last_error, delivered, dropped) "
                   "VALUES (?1, '', 0, 0, 0, 0, 0, 0, '', 0, 0)",
                   "t", ""},
    [PUT] = {"hook.put",
             "UPDATE webhooks SET name = ?2, url = ?3, types = ?4, enabled = ?5, rev = rev + 1, "
             "updated_at = ?6 WHERE id = ?1 AND (?7 < 0 OR rev = ?7)",
             "ttttiii", ""},
    [SECRET] = {"hook.secret",
                "UPDATE webhooks SET secret = ?2, rev = rev + 1, updated_at = ?3 WHERE id = ?1 AND "
                "secret = ?4",
                "tbib", ""},
    [SEALED] = {"hook.sealed", "SELECT secret FROM webhooks WHERE id = ?1", "t", "b"},
    [SEALED_TWO] = {"hook.sealed_two",
                    "SELECT id, secret FROM webhooks WHERE length(secret) > 69 ORDER BY id LIMIT "
                    "?1",
                    "i", "tb"},
    [DROP] = {"hook.delete", "DELETE FROM webhooks WHERE id = ?1", "t", ""},
    [DROP_STATE] = {"hook.delete_state", "DELETE FROM webhook_states WHERE id = ?1", "t", ""},
    [WANT] = {"hook.want",
              "INSERT INTO outbox_types (type, sink) VALUES (?1, ?2) ON CONFLICT DO NOTHING", "tt",
              ""},
    [WANT_NOT] = {"hook.want_not", "DELETE FROM outbox_types WHERE sink = ?1", "t", ""},
    [GET] = {"hook.get", COLUMNS "w.id = ?1", "t", COLUMN_TYPES},
    [LIST] = {"hook.list", COLUMNS "w.id > ?1 ORDER BY w.id LIMIT ?2", "ti", COLUMN_TYPES},
    [QUEUE] = {"hook.queue",
               "SELECT COUNT(*) FROM (SELECT 1 FROM outbox_queue WHERE sink = ?1 ORDER BY seq "
               "LIMIT ?2) q",
               "ti", "i"},
    [OLDEST] = {"hook.oldest", "SELECT at FROM outbox_queue WHERE sink = ?1 ORDER BY seq LIMIT 1",
                "t", "i"},
    [GONE] = {"hook.gone",
              "UPDATE webhooks SET enabled = 0, rev = rev + 1, updated_at = ?3 WHERE id = ?1 AND "
              "url = ?2 AND enabled = 1",
              "tti", ""},
    /* what is under way loses its lease; what failed at the old address is due at once */
    [RESET] = {"hook.reset",
               "UPDATE webhook_states SET lease = '', lease_until = 0, next_at = 0, tries = 0 "
               "WHERE id = ?1",
               "t", ""},
    [EVERY] = {"hook.every", "SELECT id FROM webhooks WHERE types = '' AND enabled = 1", "", "t"},
    [PAGE] = {"hook.seal_page",
              "SELECT id, secret FROM webhooks WHERE id > ?1 ORDER BY id LIMIT ?2", "ti", "tb"},
    [SEAL] = {"hook.seal", "UPDATE webhooks SET secret = ?3 WHERE id = ?1 AND secret = ?2", "tbb",
              ""},
};

const struct store_stmts hook_stmts = {stmts, STMT_MAX};

const struct sealed_column hook_column = {HOOK_PURPOSE, 0, &stmts[PAGE], &stmts[SEAL]};

enum td_err hook_type_check(struct span name, struct errinfo *ei)
{
    if (outbox_by_name(name) != OUTBOX_TYPES && !span_eq_str(name, outbox_name(OUTBOX_PING)))
        return TD_OK;
    return err_reason(ei, TD_INVAL, "webhook-event", "events: no event is called '%.*s'",
                      name.n < 40 ? (int)name.n : 40, (const char *)name.p);
}

/* --- changes --------------------------------------------------------------------------------- */

static enum td_err want_all(struct tx *tx, const char *id, struct errinfo *ei)
{
    for (unsigned t = 0; t < OUTBOX_TYPES; t++)
        if (t != OUTBOX_PING)
            TD_TRY(tx_exec(tx, &stmts[WANT],
                           SV_LIST(SV_TEXT(outbox_name((enum outbox_type)t)), SV_TEXT(id)), NULL,
                           ei));
    return TD_OK;
}

static enum td_err subscribe(struct tx *tx, const struct hook *h, struct errinfo *ei)
{
    struct span rest = span_str(h->types);
    TD_TRY(tx_exec(tx, &stmts[WANT_NOT], SV_LIST(SV_TEXT(h->id)), NULL, ei));
    if (!h->enabled)
        return TD_OK;
    if (rest.n == 0)
        return want_all(tx, h->id, ei);
    while (rest.n > 0) {
        struct span type = str_cut(&rest, ' ');
        TD_TRY(tx_exec(tx, &stmts[WANT], SV_LIST(SV_SPAN(type), SV_TEXT(h->id)), NULL, ei));
    }
    return TD_OK;
}

static enum td_err record(struct tx *tx, const struct hook_cause *c, const char *action,
                          const char *id, const char *detail, struct errinfo *ei)
{
    return audit_add(tx, c->now, c->txn, c->actor, action, id, detail, ei);
}

enum td_err hook_add(struct tx *tx, const struct hook *h, struct span sealed,
                     const struct hook_cause *c, struct errinfo *ei)
{
    struct cur cur;
    TD_TRY(tx_row(tx, &stmts[COUNT], NULL, 0, &cur, ei));
    bool full = cur_int(&cur, 0) >= HOOK_ENDPOINTS_MAX;
    cur_end(&cur);
    if (full)
        return err_reason(ei, TD_STATE, "webhook-limit", "there are %d webhooks already",
                          HOOK_ENDPOINTS_MAX);
    TD_TRY(tx_exec(tx, &stmts[ADD],
                   SV_LIST(SV_TEXT(h->id), SV_TEXT(h->name), SV_TEXT(h->url), SV_TEXT(h->types),
                           SV_INT(h->enabled), SV_BLOB(sealed), SV_TEXT(c->actor), SV_INT(c->now)),
                   NULL, ei));
    TD_TRY(tx_exec(tx, &stmts[ADD_STATE], SV_LIST(SV_TEXT(h->id)), NULL, ei));
    TD_TRY(subscribe(tx, h, ei));
    return record(tx, c, "webhook.create", h->id, h->url, ei);
}

static enum td_err not_found(struct errinfo *ei)
{
    return err_set(ei, TD_NOTFOUND, "no such webhook");
}

static enum td_err exists(struct tx *tx, const char *id, bool *ret_enabled, struct errinfo *ei)
{
    struct cur cur;
    enum td_err e = tx_row(tx, &stmts[GET], SV_LIST(SV_TEXT(id)), &cur, ei);
    if (e != TD_OK)
        return e == TD_NOTFOUND ? not_found(ei) : e;
    *ret_enabled = cur_int(&cur, 4) != 0;
    cur_end(&cur);
    return TD_OK;
}

enum td_err hook_put(struct tx *tx, const struct hook *h, int64_t if_match,
                     const struct hook_cause *c, struct errinfo *ei)
{
    bool enabled = false;
    int64_t changes = 0;
    TD_TRY(exists(tx, h->id, &enabled, ei));
    TD_TRY(tx_exec(tx, &stmts[PUT],
                   SV_LIST(SV_TEXT(h->id), SV_TEXT(h->name), SV_TEXT(h->url), SV_TEXT(h->types),
                           SV_INT(h->enabled), SV_INT(c->now), SV_INT(if_match)),
                   &changes, ei));
    if (changes != 1) {
        enum td_err e =
            err_reason(ei, TD_CONFLICT, "rev-mismatch", "the webhook is not what the caller saw");
        if (ei)
            ei->http = 412;
        return e;
    }
    TD_TRY(tx_exec(tx, &stmts[RESET], SV_LIST(SV_TEXT(h->id)), NULL, ei));
    TD_TRY(subscribe(tx, h, ei));
    return record(tx, c, "webhook.update", h->id, h->url, ei);
}

enum td_err hook_sealed(struct tx *tx, const char *id, struct arena *a, struct span *ret,
                        struct errinfo *ei)
{
    struct cur c;
    enum td_err e = tx_row(tx, &stmts[SEALED], SV_LIST(SV_TEXT(id)), &c, ei);
    if (e != TD_OK)
        return e == TD_NOTFOUND ? not_found(ei) : e;
    *ret = cur_span_dup(&c, 0, a);
    cur_end(&c);
    return ret->p ? TD_OK : err_set(ei, TD_NOMEM, "no memory for a secret");
}

enum td_err hook_set_secret(struct tx *tx, const char *id, struct span was, struct span sealed,
                            int64_t until, const struct hook_cause *c, struct errinfo *ei)
{
    int64_t changes = 0;
    char detail[CLOCK_TEXT_SIZE + 32] = "", at[CLOCK_TEXT_SIZE];
    TD_TRY(tx_exec(tx, &stmts[SECRET],
                   SV_LIST(SV_TEXT(id), SV_BLOB(sealed), SV_INT(c->now), SV_BLOB(was)), &changes,
                   ei));
    if (changes != 1)
        return err_reason(ei, TD_CONFLICT, "rev-mismatch", "the secret changed meanwhile");
    TD_TRY(tx_exec(tx, &stmts[RESET], SV_LIST(SV_TEXT(id)), NULL, ei));
    if (until) {
        clock_text(until, at);
        snprintf(detail, sizeof detail, "the old one until %s", at);
    }
    return record(tx, c, "webhook.secret", id, detail, ei);
}

enum td_err hook_sealed_two(struct tx *tx, struct arena *a,
                            struct hook_sealed ret[static HOOK_ENDPOINTS_MAX], size_t *ret_n,
                            struct errinfo *ei)
{
    struct cur c;
    enum td_err e;
    *ret_n = 0;
    TD_TRY(tx_query(tx, &stmts[SEALED_TWO], SV_LIST(SV_INT(HOOK_ENDPOINTS_MAX)), &c, ei));
    while ((e = cur_next(&c, ei)) == TD_OK && *ret_n < HOOK_ENDPOINTS_MAX) {
        struct hook_sealed *h = &ret[(*ret_n)++];
        *h = (struct hook_sealed){cur_dup(&c, 0, a), cur_span_dup(&c, 1, a)};
        if (!h->id || !h->sealed.p)
            e = err_set(ei, TD_NOMEM, "no memory for secrets");
        if (e != TD_OK)
            break;
    }
    cur_end(&c);
    return e == TD_NOTFOUND ? TD_OK : e;
}

enum td_err hook_sealed_replace(struct tx *tx, const struct hook_sealed *was, struct span sealed,
                                struct errinfo *ei)
{
    return tx_exec(tx, &stmts[SEAL],
                   SV_LIST(SV_TEXT(was->id), SV_BLOB(was->sealed), SV_BLOB(sealed)), NULL, ei);
}

enum td_err hook_delete(struct tx *tx, const char *id, const struct hook_cause *c,
                        struct errinfo *ei)
{
    int64_t changes = 0;
    TD_TRY(tx_exec(tx, &stmts[DROP], SV_LIST(SV_TEXT(id)), &changes, ei));
    if (changes != 1)
        return not_found(ei);
    TD_TRY(tx_exec(tx, &stmts[DROP_STATE], SV_LIST(SV_TEXT(id)), NULL, ei));
    TD_TRY(tx_exec(tx, &stmts[WANT_NOT], SV_LIST(SV_TEXT(id)), NULL, ei));
    return record(tx, c, "webhook.delete", id, "", ei);
}

enum td_err hook_gone(struct tx *tx, const char *id, const char *url, const struct hook_cause *c,
                      struct errinfo *ei)
{
    int64_t changes = 0;
    TD_TRY(tx_exec(tx, &stmts[GONE], SV_LIST(SV_TEXT(id), SV_TEXT(url), SV_INT(c->now)), &changes,
                   ei));
    if (changes != 1)
        return TD_OK;
    TD_TRY(tx_exec(tx, &stmts[WANT_NOT], SV_LIST(SV_TEXT(id)), NULL, ei));
    return record(tx, c, "webhook.gone", id, url, ei);
}

enum td_err hook_ping(struct tx *tx, const char *id, const char *event, const struct hook_cause *c,
                      struct errinfo *ei)
{
    bool enabled = false;
    TD_TRY(exists(tx, id, &enabled, ei));
    if (!enabled)
        return err_reason(ei, TD_STATE, "webhook-disabled", "the webhook is disabled");
    const struct outbox_event ev = {.type = OUTBOX_PING,
                                    .at = c->now,
                                    .txn = c->txn,
                                    .actor = c->actor,
                                    .id = event,
                                    .data = {{"webhook", id}}};
    return outbox_add_to(tx, id, &ev, ei);
}

enum td_err hook_refresh(struct tx *tx, void *ctx, struct errinfo *ei)
{
    char ids[HOOK_ENDPOINTS_MAX][RNG_ID_SIZE];
    size_t n = 0;
    struct cur cur;
    enum td_err e;
    (void)ctx;
    TD_TRY(tx_query(tx, &stmts[EVERY], NULL, 0, &cur, ei));
    while ((e = cur_next(&cur, ei)) == TD_OK && n < HOOK_ENDPOINTS_MAX) {
        struct span id = span_sub(cur_span(&cur, 0), 0, RNG_ID_SIZE - 1);
        memset(ids[n], 0, RNG_ID_SIZE);
        if (id.n)
            memcpy(ids[n++], id.p, id.n);
    }
    cur_end(&cur);
    if (e != TD_OK && e != TD_NOTFOUND)
        return e;
    for (size_t i = 0; i < n; i++)
        TD_TRY(want_all(tx, ids[i], ei));
    return TD_OK;
}

/* --- views ----------------------------------------------------------------------------------- */

static enum td_err read_row(const struct cur *c, struct arena *a, struct hook *h,
                            struct errinfo *ei)
{
    *h = (struct hook){
        .id = cur_dup(c, 0, a),
        .name = cur_dup(c, 1, a),
        .url = cur_dup(c, 2, a),
        .types = cur_dup(c, 3, a),
        .enabled = cur_int(c, 4) != 0,
        .rev = cur_int(c, 5),
        .created_by = cur_dup(c, 6, a),
        .created_at = cur_int(c, 7),
        .updated_at = cur_int(c, 8),
        .next_at = cur_int(c, 9),
        .failing_since = cur_int(c, 10),
        .last_success_at = cur_int(c, 11),
        .last_error_at = cur_int(c, 12),
        .last_error = cur_dup(c, 13, a),
        .delivered = cur_int(c, 14),
        .dropped = cur_int(c, 15),
    };
    if (!cur_is_null(c, 16))
        h->two = cur_span_dup(c, 16, a);
    bool whole = (cur_is_null(c, 16) || h->two.p) && h->id && h->name && h->url && h->types &&
                 h->created_by && h->last_error;
    return whole ? TD_OK : err_set(ei, TD_NOMEM, "no memory for a webhook");
}

static enum td_err read_queue(struct tx *tx, struct hook *h, struct errinfo *ei)
{
    struct cur c;
    TD_TRY(tx_row(tx, &stmts[QUEUE], SV_LIST(SV_TEXT(h->id), SV_INT(HOOK_QUEUE_COUNTED)), &c, ei));
    h->queue = cur_int(&c, 0);
    cur_end(&c);
    enum td_err e = tx_row(tx, &stmts[OLDEST], SV_LIST(SV_TEXT(h->id)), &c, ei);
    if (e != TD_OK)
        return e == TD_NOTFOUND ? TD_OK : e;
    h->oldest_at = cur_int(&c, 0);
    cur_end(&c);
    return TD_OK;
}

enum td_err hook_get(struct tx *tx, const char *id, struct arena *a, struct hook *ret,
                     struct errinfo *ei)
{
    struct cur c;
    enum td_err e = tx_row(tx, &stmts[GET], SV_LIST(SV_TEXT(id)), &c, ei);
    if (e != TD_OK)
        return e == TD_NOTFOUND ? not_found(ei) : e;
    e = read_row(&c, a, ret, ei);
    cur_end(&c);
    return e == TD_OK ? read_queue(tx, ret, ei) : e;
}

enum td_err hook_list(struct tx *tx, const char *after, size_t max, struct arena *a,
                      struct hook **ret, size_t *ret_n, struct errinfo *ei)
{
    size_t n = 0, cap = max < HOOK_ENDPOINTS_MAX ? max : HOOK_ENDPOINTS_MAX;
    struct hook *list = arena_alloc(a, (cap ? cap : 1) * sizeof *list);
    struct cur c;
    enum td_err e;
    if (!list)
        return err_set(ei, TD_NOMEM, "no memory for the webhooks");
    TD_TRY(tx_query(tx, &stmts[LIST], SV_LIST(SV_TEXT(after), SV_INT(cap)), &c, ei));
    while ((e = cur_next(&c, ei)) == TD_OK && n < cap) {
        e = read_row(&c, a, &list[n++], ei);
        if (e != TD_OK)
            break;
    }
    cur_end(&c);
    if (e != TD_OK && e != TD_NOTFOUND)
        return e;
    for (size_t i = 0; i < n; i++)
        TD_TRY(read_queue(tx, &list[i], ei));
    *ret = list;
    *ret_n = n;
    return TD_OK;
}
