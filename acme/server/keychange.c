#include "acme/server/keychange.h"

#include "acme/server/account.h"
#include "acme/server/call.h"
#include "acme/server/problem.h"
#include "acme/server/stmts.h"
#include "acme/server/url.h"
#include "mdm/base/log.h"

struct change {
    struct acme_call *c;
    struct jwk fresh;
    bool conflict;
    const char *holder; /* id of the account that has the new key already */
    struct acme_account acct;
};

static enum td_err malformed(struct errinfo *ei, const char *reason, const char *what)
{
    return acme_refuse(ei, TD_INVAL, "malformed", reason, "%s", what);
}

/* The inner payload names the account and its present key, so that neither signature can be taken
 * for another account's change. */
static enum td_err check_payload(const struct change *h, const struct jws *inner,
                                 struct errinfo *ei)
{
    struct json *p;
    struct jwk old;
    const char *account;
    enum td_err e = json_parse(inner->payload, h->c->arena, &p, NULL);
    if (e == TD_NOMEM)
        return err_set(ei, e, "key change");
    if (e != TD_OK || json_get_str(p, "account", &account) != TD_OK)
        return malformed(ei, "inner-payload", "the inner payload has no account");
    if (strcmp(account, h->c->jws.kid) != 0)
        return malformed(ei, "inner-account", "the inner payload names another account");
    e = jwk_parse(json_member(p, "oldKey"), h->c->arena, &old, NULL);
    if (e == TD_NOMEM || e == TD_INTERNAL)
        return err_set(ei, e, "key change");
    if (e != TD_OK || memcmp(old.thumbprint, h->c->thumbprint, sizeof old.thumbprint) != 0)
        return malformed(ei, "inner-old-key", "oldKey is not the account's key");
    return TD_OK;
}

/* The steps of section 7.3.5, behind those of every request. */
static enum td_err read_inner(struct change *h, struct errinfo *ei)
{
    struct acme_call *c = h->c;
    struct jws inner;
    struct errinfo why = {0};
    TD_TRY(jws_parse(c->jws.payload, JWS_NEW_KEY, c->arena, &inner, ei));
    TD_TRY(jwk_parse(inner.jwk, c->arena, &h->fresh, ei));
    enum td_err e = jws_verify(&inner, h->fresh.key, &why);
    if (e == TD_NOMEM || e == TD_INTERNAL)
        return err_set(ei, e, "key change");
    if (e != TD_OK)
        return malformed(ei, "inner-signature", "the new key's signature does not hold");
    if (strcmp(inner.url, c->jws.url) != 0)
        return malformed(ei, "inner-url", "the inner url is not the outer one");
    return check_payload(h, &inner, ei);
}

static enum td_err taken(struct tx *tx, struct change *h, struct errinfo *ei)
{
    struct acme_account other = {0};
    enum td_err e = acme_account_by_key(tx, h->fresh.thumbprint, h->c->arena, &other, ei);
    if (e != TD_OK)
        return e;
    h->conflict = true;
    h->holder = other.id;
    return acme_refuse(ei, TD_CONFLICT, "malformed", "key-in-use",
                       "the new key is an account's already");
}

static enum td_err job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct change *h = ctx;
    const struct acme_call *c = h->c;
    int64_t n = 0;
    h->conflict = false;
    h->holder = NULL;
    TD_TRY(acme_account_check(tx, c, &h->acct, ei));
    enum td_err e = taken(tx, h, ei);
    if (e != TD_NOTFOUND)
        return e;
    TD_TRY(tx_exec(tx, ACME_SQL(ACCOUNT_KEY),
                   SV_LIST(SV_TEXT(c->account_id), SV_BLOB(SPAN_ARR(c->thumbprint)),
                           SV_BLOB(SPAN_ARR(h->fresh.thumbprint)), SV_TEXT(h->fresh.canonical)),
                   &n, ei));
    return n == 1 ? TD_OK : err_set(ei, TD_BUSY, "two key changes at once");
}

enum td_err acme_key_change(const struct req *r, struct resp *resp, struct errinfo *ei)
{
    struct acme_call c;
    struct change h = {.c = &c};
    TD_TRY(acme_call_kid(r, resp, &c, ei));
    TD_TRY(read_inner(&h, ei));
    enum td_err e = store_write(c.acme->conf.store, job, &h, ei);
    if (h.conflict && h.holder && e == TD_CONFLICT)
        TD_TRY(acme_reply_url(&c, "Location", acme_url(c.acme, c.arena, "/acme/acct/%s", h.holder),
                              ei));
    if (e != TD_OK)
        return e;
    keycache_put(c.acme->keys, span_str(c.account_id), h.fresh.key, h.fresh.thumbprint);
    log_ev(LOG_INFO, "acme.key_changed", KV("account", c.account_id));
    return acme_account_reply(&c, 200, &h.acct, ei);
}
