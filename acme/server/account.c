#include "acme/server/account.h"

#include "acme/server/call.h"
#include "acme/server/contact.h"
#include "acme/server/problem.h"
#include "acme/server/stmts.h"
#include "acme/server/url.h"

static enum td_err does_not_exist(struct errinfo *ei)
{
    return acme_refuse(ei, TD_NOTFOUND, "accountDoesNotExist", "account-unknown",
                       "no such account");
}

enum td_err acme_account_judge(const struct acme_call *c, struct span status,
                               struct span thumbprint, struct errinfo *ei)
{
    if (!span_eq_str(status, "valid"))
        return acme_refuse(ei, TD_FORBIDDEN, "unauthorized", "account-deactivated",
                           "the account is deactivated");
    if (!span_eq(thumbprint, SPAN_ARR(c->thumbprint)))
        return acme_refuse(ei, TD_FORBIDDEN, "unauthorized", "account-key-changed",
                           "the account has another key by now");
    return TD_OK;
}

/* --- rows ------------------------------------------------------------------------------------ */

enum { ID, JWK, THUMBPRINT, STATUS, CONTACT, TERMS, EAB_KEY, EAB_PROFILE };

static enum td_err read_row(const struct cur *row, struct arena *a, struct acme_account *ret,
                            struct errinfo *ei)
{
    struct acme_account t = {.id = cur_dup(row, ID, a),
                             .jwk = cur_dup(row, JWK, a),
                             .contact = cur_dup(row, CONTACT, a),
                             .eab_key = cur_dup(row, EAB_KEY, a),
                             .eab_profile = cur_dup(row, EAB_PROFILE, a),
                             .valid = span_eq_str(cur_span(row, STATUS), "valid"),
                             .terms_agreed = cur_int(row, TERMS) != 0};
    if (!t.id || !t.jwk || !t.contact || (!t.eab_key && !cur_is_null(row, EAB_KEY)))
        return err_set(ei, TD_NOMEM, "reading an account");
    if (cur_span(row, THUMBPRINT).n != sizeof t.thumbprint)
        return err_set(ei, TD_DB, "an account's thumbprint is damaged");
    memcpy(t.thumbprint, cur_span(row, THUMBPRINT).p, sizeof t.thumbprint);
    *ret = t;
    return TD_OK;
}

static enum td_err get(struct tx *tx, const struct store_stmt *st, struct sval key, struct arena *a,
                       struct acme_account *ret, struct errinfo *ei)
{
    struct cur row;
    enum td_err e = tx_row(tx, st, &key, 1, &row, ei);
    if (e == TD_NOTFOUND)
        return does_not_exist(ei);
    if (e != TD_OK)
        return e;
    e = read_row(&row, a, ret, ei);
    cur_end(&row);
    return e;
}

enum td_err acme_account_get(struct tx *tx, const char *id, struct arena *a,
                             struct acme_account *ret, struct errinfo *ei)
{
    return get(tx, ACME_SQL(ACCOUNT_GET), SV_TEXT(id), a, ret, ei);
}

enum td_err acme_account_by_key(struct tx *tx, const uint8_t thumbprint[static SHA256_SIZE],
                                struct arena *a, struct acme_account *ret, struct errinfo *ei)
{
    return get(tx, ACME_SQL(ACCOUNT_BY_KEY), SV_BLOB(span_of(thumbprint, SHA256_SIZE)), a, ret, ei);
}

enum td_err acme_account_check(struct tx *tx, const struct acme_call *c, struct acme_account *ret,
                               struct errinfo *ei)
{
    struct acme_account t = {0};
    TD_TRY(acme_account_get(tx, c->account_id, c->arena, &t, ei));
    TD_TRY(acme_account_judge(c, span_str(t.valid ? "valid" : "deactivated"),
                              SPAN_ARR(t.thumbprint), ei));
    if (ret)
        *ret = t;
    return TD_OK;
}

/* --- the key of an account ---------------------------------------------------------------- */

struct read_job {
    const struct acme_call *c;
    struct acme_account acct;
};

static enum td_err read_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct read_job *j = ctx;
    return acme_account_get(tx, j->c->account_id, j->c->arena, &j->acct, ei);
}

void acme_key_auto_free(struct acme_key *k)
{
    key_free(k->key);
}

enum td_err acme_account_key(const struct acme_call *c, bool fresh, struct acme_key *ret,
                             struct errinfo *ei)
{
    struct span id = span_str(c->account_id);
    if (!fresh)
        ret->key = keycache_get(c->acme->keys, id, ret->thumbprint);
    ret->cached = ret->key != NULL;
    if (ret->cached)
        return TD_OK;
    struct read_job j = {.c = c};
    struct json *v;
    struct jwk jwk;
    TD_TRY(acme_call_read(c, read_job, &j, ei));
    TD_TRY(json_parse(span_str(j.acct.jwk), c->arena, &v, ei));
    TD_TRY(jwk_parse(v, c->arena, &jwk, ei));
    memcpy(ret->thumbprint, j.acct.thumbprint, sizeof ret->thumbprint);
    keycache_put(c->acme->keys, id, jwk.key, ret->thumbprint);
    ret->key = key_ref(jwk.key);
    return TD_OK;
}

/* --- answers --------------------------------------------------------------------------------- */

/* `orders` must be there, or Apple's client stops. */
enum td_err acme_account_reply(struct acme_call *c, int status, const struct acme_account *acct,
                               struct errinfo *ei)
{
    struct json_w w;
    const char *url = acme_url(c->acme, c->arena, "/acme/acct/%s", acct->id);
    const char *orders = acme_url(c->acme, c->arena, "/acme/acct/%s/orders", acct->id);
    if (!orders)
        return err_set(ei, TD_NOMEM, "answer");
    TD_TRY(acme_reply_url(c, "Location", url, ei));
    acme_reply(c, status, &w);
    json_open(&w);
    json_kv_str(&w, "status", acct->valid ? "valid" : "deactivated");
    if (strcmp(acct->contact, "[]") != 0)
        json_kv_raw(&w, "contact", span_str(acct->contact));
    if (acct->terms_agreed)
        json_kv_bool(&w, "termsOfServiceAgreed", true);
    json_kv_str(&w, "orders", orders);
    json_close(&w);
    return acme_reply_end(c, ei);
}

struct update {
    const struct acme_call *c;
    bool deactivate;
    const char *contact; /* NULL: leave as they are */
    struct acme_account acct;
};

static enum td_err update_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct update *u = ctx;
    TD_TRY(acme_account_check(tx, u->c, &u->acct, ei));
    if (u->contact) {
        TD_TRY(tx_exec(tx, ACME_SQL(ACCOUNT_CONTACT),
                       SV_LIST(SV_TEXT(u->c->account_id), SV_TEXT(u->contact)), NULL, ei));
        u->acct.contact = u->contact;
    }
    if (u->deactivate) {
        TD_TRY(tx_exec(tx, ACME_SQL(ACCOUNT_DEACTIVATE), SV_LIST(SV_TEXT(u->c->account_id)), NULL,
                       ei));
        u->acct.valid = false;
    }
    return TD_OK;
}

/* RFC 8555 section 7.3.2: contact may change, status only to deactivated; the rest is ignored. */
static enum td_err read_update(struct update *u, struct errinfo *ei)
{
    struct json *p;
    const char *status = NULL;
    TD_TRY(acme_call_json(u->c, &p, ei));
    enum td_err e = json_get_str(p, "status", &status);
    if (e == TD_PARSE || (status && strcmp(status, "deactivated") != 0))
        return acme_refuse(ei, TD_PARSE, "malformed", "payload-malformed",
                           "an account's status can only become deactivated");
    u->deactivate = status != NULL;
    return acme_contact_read(p, u->c->arena, &u->contact, ei);
}

enum td_err acme_account(const struct req *r, struct resp *resp, struct errinfo *ei)
{
    struct acme_call c;
    struct update u = {.c = &c};
    const char *id;
    TD_TRY(acme_call_kid(r, resp, &c, ei));
    TD_TRY(acme_id_param(r, &id, ei));
    if (strcmp(id, c.account_id) != 0)
        return acme_not_found(ei);
    if (c.jws.payload.n)
        TD_TRY(read_update(&u, ei));
    if (u.contact || u.deactivate)
        TD_TRY(store_write(c.acme->conf.store, update_job, &u, ei));
    else
        TD_TRY(store_read(c.acme->conf.store, update_job, &u, ei));
    return acme_account_reply(&c, 200, &u.acct, ei);
}
