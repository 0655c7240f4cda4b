#include "acme/server/account.h"

#include "acme/server/call.h"
#include "acme/server/problem.h"
#include "acme/server/stmts.h"
#include "acme/server/url.h"

enum td_err acme_account_status(struct span status, struct errinfo *ei)
{
    if (span_eq_str(status, "valid"))
        return TD_OK;
    return acme_refuse(ei, TD_FORBIDDEN, "unauthorized", "account-deactivated",
                       "the account is deactivated");
}

static enum td_err does_not_exist(struct errinfo *ei)
{
    return acme_refuse(ei, TD_NOTFOUND, "accountDoesNotExist", "account-unknown",
                       "no such account");
}

enum td_err acme_account_check(struct tx *tx, const char *id, struct errinfo *ei)
{
    struct cur row;
    enum td_err e = tx_row(tx, ACME_SQL(ACCOUNT_GET), SV_LIST(SV_TEXT(id)), &row, ei);
    if (e == TD_NOTFOUND)
        return does_not_exist(ei);
    if (e != TD_OK)
        return e;
    e = acme_account_status(cur_span(&row, 1), ei);
    cur_end(&row);
    return e;
}

/* --- the key of an account ---------------------------------------------------------------- */

struct key_job {
    const struct acme_call *c;
    struct span jwk;
};

static enum td_err key_read(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct key_job *j = ctx;
    struct cur row;
    TD_TRY(tx_row(tx, ACME_SQL(ACCOUNT_GET), SV_LIST(SV_TEXT(j->c->account_id)), &row, ei));
    j->jwk = cur_span_dup(&row, 0, j->c->arena);
    cur_end(&row);
    return j->jwk.p ? TD_OK : TD_NOMEM;
}

enum td_err acme_account_key(const struct acme_call *c, struct key **ret, struct errinfo *ei)
{
    struct span id = span_str(c->account_id);
    *ret = keycache_get(c->acme->keys, id);
    if (*ret)
        return TD_OK;
    struct key_job j = {.c = c};
    struct json *v;
    struct jwk jwk;
    TD_TRY(store_read(c->acme->conf.store, key_read, &j, ei));
    TD_TRY(json_parse(j.jwk, c->arena, &v, ei));
    TD_TRY(jwk_parse(v, c->arena, &jwk, ei));
    keycache_put(c->acme->keys, id, jwk.key);
    *ret = key_ref(jwk.key);
    return TD_OK;
}

/* --- newAccount ------------------------------------------------------------------------------ */

struct new_job {
    struct acme_call *c;
    const char *id; /* of a new account */
    bool only_existing;
    bool created;
    const char *found; /* id of the account, in the arena */
};

static enum td_err new_find(struct tx *tx, struct new_job *j, struct errinfo *ei)
{
    struct cur row;
    struct span thumb = SPAN_ARR(j->c->jwk.thumbprint);
    enum td_err e = tx_row(tx, ACME_SQL(ACCOUNT_BY_KEY), SV_LIST(SV_BLOB(thumb)), &row, ei);
    if (e == TD_NOTFOUND)
        return does_not_exist(ei);
    if (e != TD_OK)
        return e;
    e = acme_account_status(cur_span(&row, 1), ei);
    if (e == TD_OK) {
        j->found = cur_dup(&row, 0, j->c->arena);
        e = j->found ? TD_OK : TD_NOMEM;
    }
    cur_end(&row);
    return e;
}

static enum td_err new_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct new_job *j = ctx;
    int64_t added = 0;
    j->created = false;
    j->found = NULL;
    if (!j->only_existing)
        TD_TRY(tx_exec(tx, ACME_SQL(ACCOUNT_ADD),
                       SV_LIST(SV_TEXT(j->id), SV_BLOB(SPAN_ARR(j->c->jwk.thumbprint)),
                               SV_TEXT(j->c->jwk.canonical), SV_INT(j->c->now)),
                       &added, ei));
    j->created = added == 1;
    if (j->created) {
        j->found = j->id;
        return TD_OK;
    }
    return new_find(tx, j, ei);
}

/* `orders` must be there, or Apple's client stops. */
static enum td_err reply_account(struct acme_call *c, int status, const char *id,
                                 const char *account_status, struct errinfo *ei)
{
    struct json_w w;
    const char *url = acme_url(c->acme, c->arena, "/acme/acct/%s", id);
    const char *orders = acme_url(c->acme, c->arena, "/acme/acct/%s/orders", id);
    if (!orders)
        return err_set(ei, TD_NOMEM, "answer");
    TD_TRY(acme_reply_url(c, "Location", url, ei));
    acme_reply(c, status, &w);
    json_open(&w);
    json_kv_str(&w, "status", account_status);
    json_kv_str(&w, "orders", orders);
    json_close(&w);
    return acme_reply_end(c, ei);
}

enum td_err acme_new_account(const struct req *r, struct resp *resp, struct errinfo *ei)
{
    struct acme_call c;
    struct json *p;
    char id[RNG_ID_SIZE];
    TD_TRY(acme_call_jwk(r, resp, &c, ei));
    TD_TRY(acme_call_json(&c, &p, ei));
    rng_id(c.acme->conf.rng, id);
    struct new_job j = {.c = &c, .id = id};
    enum td_err e = json_get_bool(p, "onlyReturnExisting", &j.only_existing);
    if (e != TD_OK && e != TD_NOTFOUND)
        return acme_refuse(ei, TD_PARSE, "malformed", "payload-malformed",
                           "onlyReturnExisting is no boolean");
    if (j.only_existing)
        TD_TRY(store_read(c.acme->conf.store, new_job, &j, ei));
    else
        TD_TRY(store_write(c.acme->conf.store, new_job, &j, ei));
    keycache_put(c.acme->keys, span_str(j.found), c.jwk.key);
    return reply_account(&c, j.created ? 201 : 200, j.found, "valid", ei);
}

/* --- account ---------------------------------------------------------------------------------- */

static enum td_err check_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    return acme_account_check(tx, ctx, ei);
}

static enum td_err deactivate_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct acme_call *c = ctx;
    TD_TRY(acme_account_check(tx, c->account_id, ei));
    return tx_exec(tx, ACME_SQL(ACCOUNT_DEACTIVATE), SV_LIST(SV_TEXT(c->account_id)), NULL, ei);
}

/* POST-as-GET, an update (contacts are not kept, so there is nothing to change), deactivation. */
enum td_err acme_account(const struct req *r, struct resp *resp, struct errinfo *ei)
{
    struct acme_call c;
    const char *id, *status = NULL;
    TD_TRY(acme_call_kid(r, resp, &c, ei));
    TD_TRY(acme_id_param(r, &id, ei));
    if (strcmp(id, c.account_id) != 0)
        return acme_not_found(ei);
    if (c.jws.payload.n) {
        struct json *p;
        TD_TRY(acme_call_json(&c, &p, ei));
        enum td_err e = json_get_str(p, "status", &status);
        if (e == TD_PARSE || (status && strcmp(status, "deactivated") != 0))
            return acme_refuse(ei, TD_PARSE, "malformed", "payload-malformed",
                               "an account's status can only become deactivated");
    }
    if (status) {
        TD_TRY(store_write(c.acme->conf.store, deactivate_job, &c, ei));
        return reply_account(&c, 200, id, "deactivated", ei);
    }
    char own[RNG_ID_SIZE];
    memcpy(own, c.account_id, sizeof own);
    TD_TRY(store_read(c.acme->conf.store, check_job, own, ei));
    return reply_account(&c, 200, id, "valid", ei);
}
