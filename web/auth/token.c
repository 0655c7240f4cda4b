#include "web/auth/token.h"

#include "mdm/crypt/digest.h"
#include "mdm/store/audit.h"

enum { ST_FIND, ST_ADD, ST_DELETE, ST_COUNT, ST_LIST, ST_PAGE, ST_CLEAN };

static const struct store_stmt stmts[] = {
    [ST_FIND] = {"token.find",
                 "SELECT id, name, scopes, expires_at FROM api_tokens WHERE hash = ?1", "b",
                 "tttI"},
    [ST_ADD] = {"token.add",
                "INSERT INTO api_tokens (id, hash, name, scopes, created_at, expires_at)"
                " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                "tbttiI", ""},
    [ST_DELETE] = {"token.delete", "DELETE FROM api_tokens WHERE id = ?1", "t", ""},
    [ST_COUNT] = {"token.count", "SELECT count(*) FROM api_tokens", "", "i"},
    [ST_LIST] = {"token.list",
                 "SELECT id, name, scopes, created_at, expires_at FROM api_tokens"
                 " WHERE id > ?1 ORDER BY id LIMIT ?2",
                 "ti", "tttiI"},
    [ST_PAGE] = {"token.page", SWEEP_PAGE("api_tokens", "expires_at", "id"), SWEEP_PAGE_IN("t"),
                 SWEEP_PAGE_OUT("t")},
    [ST_CLEAN] = {"token.clean", SWEEP_DROP("api_tokens", "expires_at", "id"), SWEEP_DROP_IN("t"),
                  ""},
};
const struct store_stmts token_stmts = {stmts, TD_NITEMS(stmts)};

/* Every scope a token may carry; a route's scope is one of these too. */
static const char *const known_scopes[] = {
    "admin",         "inventory:read", "inventory:write",   "devices:read",
    "commands:read", "commands:write", "invitations",       "tokens",
    "audit:read",    "metrics:read",   "certificates:read", "certificates:write",
    "eab",           "webhooks",       "posture:read",      "posture:write",
    "facts:write",
};

bool token_has_scope(const char *scopes, struct span scope)
{
    while (scopes && *scopes) {
        size_t n = strcspn(scopes, " ");
        if (span_eq(span_of(scopes, n), scope))
            return true;
        scopes += n + (scopes[n] == ' ');
    }
    return false;
}

static enum td_err check_scopes(const char *scopes, struct errinfo *ei)
{
    if (!scopes[0])
        return err_set(ei, TD_INVAL, "a token needs at least one scope");
    for (const char *p = scopes; *p;) {
        size_t n = strcspn(p, " "), i = 0;
        while (i < TD_NITEMS(known_scopes) && !span_eq_str(span_of(p, n), known_scopes[i]))
            i++;
        if (i == TD_NITEMS(known_scopes))
            return err_set(ei, TD_INVAL, "no such scope: '%.*s'", n < 40 ? (int)n : 40, p);
        p += n + (p[n] == ' ');
    }
    return TD_OK;
}

struct create_job {
    const char *id, *name, *scopes, *actor;
    int64_t now, expires;
    uint8_t hash[SHA256_SIZE];
};

static enum td_err create_tx(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct create_job *j = ctx;
    TD_TRY(tx_exec(tx, &stmts[ST_ADD],
                   SV_LIST(SV_TEXT(j->id), SV_BLOB(SPAN_ARR(j->hash)), SV_TEXT(j->name),
                           SV_TEXT(j->scopes), SV_INT(j->now),
                           j->expires ? SV_INT(j->expires) : SV_NULL),
                   NULL, ei));
    return audit_add(tx, j->now, j->id, j->actor, "token.create", j->id, j->scopes, ei);
}

enum td_err token_create(struct store *s, const struct clock *clock, struct rng *rng,
                         const char *name, const char *scopes, int64_t ttl, const char *actor,
                         char ret_id[static RNG_ID_SIZE], char ret_text[static TOKEN_TEXT_SIZE],
                         struct errinfo *ei)
{
    TD_TRY(check_scopes(scopes, ei));
    if (!name[0] || strlen(name) > 200)
        return err_set(ei, TD_INVAL, "a token needs a name of at most 200 bytes");
    int64_t now = clock_now(clock);
    struct create_job j = {.id = ret_id,
                           .name = name,
                           .scopes = scopes,
                           .actor = actor,
                           .now = now,
                           .expires = ttl ? now + ttl : 0};
    rng_id(rng, ret_id);
    static const char prefix[] = {'t', 'd', '_'};
    memcpy(ret_text, prefix, sizeof prefix);
    rng_token(rng, ret_text + 3);
    digest_sha256(span_str(ret_text), j.hash);
    return store_write(s, create_tx, &j, ei);
}

struct delete_job {
    const char *id, *actor;
    int64_t now;
};

static enum td_err delete_tx(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct delete_job *j = ctx;
    int64_t changes = 0;
    TD_TRY(tx_exec(tx, &stmts[ST_DELETE], SV_LIST(SV_TEXT(j->id)), &changes, ei));
    if (changes == 0)
        return err_set(ei, TD_NOTFOUND, "no such token");
    return audit_add(tx, j->now, j->id, j->actor, "token.delete", j->id, "", ei);
}

enum td_err token_delete(struct store *s, const struct clock *clock, const char *id,
                         const char *actor, struct errinfo *ei)
{
    struct delete_job j = {id, actor, clock_now(clock)};
    return store_write(s, delete_tx, &j, ei);
}

enum td_err token_count(struct tx *tx, int64_t *ret, struct errinfo *ei)
{
    struct cur c;
    TD_TRY(tx_row(tx, &stmts[ST_COUNT], NULL, 0, &c, ei));
    *ret = cur_int(&c, 0);
    cur_end(&c);
    return TD_OK;
}

enum td_err token_list(struct tx *tx, const char *after, size_t max, struct arena *a,
                       struct token **ret, size_t *ret_n, struct errinfo *ei)
{
    struct token *list = arena_alloc(a, max * sizeof *list);
    if (!list)
        return TD_NOMEM;
    size_t n = 0;
    struct cur c;
    enum td_err e;
    TD_TRY(tx_query(tx, &stmts[ST_LIST], SV_LIST(SV_TEXT(after), SV_INT(max)), &c, ei));
    while ((e = cur_next(&c, ei)) == TD_OK && n < max) {
        list[n] = (struct token){cur_dup(&c, 0, a), cur_dup(&c, 1, a), cur_dup(&c, 2, a),
                                 cur_int(&c, 3), cur_is_null(&c, 4) ? 0 : cur_int(&c, 4)};
        if (!list[n].id || !list[n].name || !list[n].scopes) {
            cur_end(&c);
            return TD_NOMEM;
        }
        n++;
    }
    if (e == TD_OK)
        cur_end(&c);
    else if (e != TD_NOTFOUND)
        return e;
    *ret = list;
    *ret_n = n;
    return TD_OK;
}

struct find_job {
    uint8_t hash[SHA256_SIZE];
    struct arena *a;
    const char *id, *name, *scopes;
    int64_t expires;
};

static enum td_err find_tx(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct find_job *j = ctx;
    struct cur c;
    TD_TRY(tx_row(tx, &stmts[ST_FIND], SV_LIST(SV_BLOB(SPAN_ARR(j->hash))), &c, ei));
    j->id = cur_dup(&c, 0, j->a);
    j->name = cur_dup(&c, 1, j->a);
    j->scopes = cur_dup(&c, 2, j->a);
    j->expires = cur_is_null(&c, 3) ? INT64_MAX : cur_int(&c, 3);
    cur_end(&c);
    return j->id && j->name && j->scopes ? TD_OK : TD_NOMEM;
}

enum td_err token_authorize(void *ctx, const struct route *r, struct req *req, struct errinfo *ei)
{
    const struct token_auth *auth = ctx;
    static const char scheme[] = "Bearer ";
    bool found;
    struct span h = req_header(req, "Authorization", &found);
    if (!found)
        return err_reason(ei, TD_UNAUTH, "token-missing",
                          "Authorization: Bearer td_... is missing");
    if (h.n != sizeof scheme - 1 + TOKEN_TEXT_SIZE - 1 ||
        strncasecmp((const char *)h.p, scheme, sizeof scheme - 1) != 0)
        return err_reason(ei, TD_UNAUTH, "token-unknown", "not a token of this server");
    struct find_job j = {.a = req->arena};
    digest_sha256(span_sub(h, sizeof scheme - 1, h.n), j.hash);
    enum td_err e = store_read(auth->store, find_tx, &j, ei);
    if (e == TD_NOTFOUND)
        return err_reason(ei, TD_UNAUTH, "token-unknown", "not a token of this server");
    TD_TRY(e);
    if (clock_now(auth->clock) >= j.expires)
        return err_reason(ei, TD_UNAUTH, "token-expired", "the token has expired");
    if (!token_has_scope(j.scopes, SPAN_LIT("admin")) &&
        !token_has_scope(j.scopes, span_str(r->scope)))
        return err_reason(ei, TD_FORBIDDEN, "scope-missing", "the token has no scope '%s'",
                          r->scope);
    req->principal = (struct req_principal){j.id, j.name, j.scopes};
    return TD_OK;
}

enum td_err token_clean(struct tx *tx, struct sweep *s, struct errinfo *ei)
{
    return sweep_step(tx, &stmts[ST_PAGE], &stmts[ST_CLEAN], s, ei);
}
