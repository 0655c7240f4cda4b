#include "acme/server/account_new.h"

#include "acme/server/account.h"
#include "acme/server/call.h"
#include "acme/server/contact.h"
#include "acme/server/eab.h"
#include "acme/server/policy.h"
#include "acme/server/problem.h"
#include "acme/server/stmts.h"
#include "acme/server/url.h"

struct ask {
    struct acme_call *c;
    struct acme_policy policy;
    bool only_existing, agreed;
    const char *contact;
    struct acme_eab eab; /* verified; key_id NULL when the client sent none */
    char id[RNG_ID_SIZE];
    int64_t slot;
    bool created;
    struct acme_account acct;
};

static enum td_err eab_needed(struct errinfo *ei)
{
    return acme_refuse(ei, TD_FORBIDDEN, "externalAccountRequired", "eab-required",
                       "accounts for this certificate profile need an external account binding");
}

/* Section 7.3.4: an account that exists may be bound later. */
static enum td_err existing(struct tx *tx, struct ask *q, struct errinfo *ei)
{
    struct acme_account *t = &q->acct;
    TD_TRY(acme_account_judge(q->c, span_str(t->valid ? "valid" : "deactivated"),
                              SPAN_ARR(t->thumbprint), ei));
    if (t->eab_key)
        return TD_OK;
    if (!q->eab.key_id)
        return q->policy.eab_required && !q->only_existing ? eab_needed(ei) : TD_OK;
    TD_TRY(acme_eab_bind(tx, &q->eab, t->id, q->c->now, ei));
    return tx_exec(tx, ACME_SQL(ACCOUNT_BIND),
                   SV_LIST(SV_TEXT(t->id), SV_TEXT(q->eab.key_id), SV_INT(ACME_KEEP_EVER)), NULL,
                   ei);
}

static enum td_err create(struct tx *tx, struct ask *q, struct errinfo *ei)
{
    const struct acme_call *c = q->c;
    bool bound = q->eab.key_id != NULL;
    if (q->policy.eab_required && !bound)
        return eab_needed(ei);
    if (bound)
        TD_TRY(acme_eab_bind(tx, &q->eab, q->id, c->now, ei));
    else
        TD_TRY(tx_exec(tx, ACME_SQL(ACCOUNT_EVICT), SV_LIST(SV_INT(q->slot)), NULL, ei));
    q->acct = (struct acme_account){
        .id = q->id, .contact = q->contact, .valid = true, .terms_agreed = q->agreed};
    q->created = true;
    int64_t added = 0;
    TD_TRY(tx_exec(tx, ACME_SQL(ACCOUNT_ADD),
                   SV_LIST(SV_TEXT(q->id), SV_BLOB(SPAN_ARR(c->jwk.thumbprint)),
                           SV_TEXT(c->jwk.canonical), SV_TEXT(q->contact), SV_INT(q->agreed),
                           SV_TEXT0(q->eab.key_id), bound ? SV_NULL : SV_INT(q->slot),
                           SV_INT(bound ? ACME_KEEP_EVER : c->now), SV_INT(c->now)),
                   &added, ei));
    /* another node took the place, or made this very account, at the same time */
    return added == 1 ? TD_OK : err_set(ei, TD_BUSY, "two accounts at once");
}

static enum td_err job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct ask *q = ctx;
    q->created = false;
    enum td_err e = acme_account_by_key(tx, q->c->jwk.thumbprint, q->c->arena, &q->acct, ei);
    if (e == TD_OK)
        return existing(tx, q, ei);
    if (e != TD_NOTFOUND || q->only_existing)
        return e;
    return create(tx, q, ei);
}

/* A member that is a boolean when it is there. */
static enum td_err flag(const struct json *p, const char *name, bool *ret, struct errinfo *ei)
{
    enum td_err e = json_get_bool(p, name, ret);
    if (e == TD_OK || e == TD_NOTFOUND)
        return TD_OK;
    return acme_refuse(ei, TD_PARSE, "malformed", "payload-malformed", "%s is no boolean", name);
}

/* Section 7.3.3: who did not agree is told to what. */
static enum td_err terms(struct acme_call *c, struct errinfo *ei)
{
    const char *url = c->acme->conf.terms;
    TD_TRY(acme_reply_url(c, "Link", arena_printf(c->arena, "<%s>;rel=\"terms-of-service\"", url),
                          ei));
    return acme_refuse(ei, TD_FORBIDDEN, "userActionRequired", "terms-not-agreed",
                       "agree to the terms of service");
}

static enum td_err payload(struct ask *q, struct errinfo *ei)
{
    struct acme_call *c = q->c;
    struct json *p;
    TD_TRY(acme_call_json(c, &p, ei));
    TD_TRY(flag(p, "onlyReturnExisting", &q->only_existing, ei));
    TD_TRY(flag(p, "termsOfServiceAgreed", &q->agreed, ei));
    q->contact = "[]";
    if (q->only_existing)
        return TD_OK;
    TD_TRY(acme_contact_read(p, c->arena, &q->contact, ei));
    if (c->acme->conf.terms && c->acme->conf.terms[0] && !q->agreed)
        return terms(c, ei);
    const struct json *eab = json_member(p, "externalAccountBinding");
    return eab ? acme_eab_verify(c, eab, &q->eab, ei) : TD_OK;
}

/* The place of an account that has no order yet. */
static int64_t draw(const struct acme *a)
{
    uint64_t x;
    rng_fill(a->conf.rng, &x, sizeof x);
    return (int64_t)(x % (uint64_t)a->conf.idle_accounts);
}

enum td_err acme_new_account(const struct req *r, struct resp *resp, struct errinfo *ei)
{
    struct acme_call c;
    struct ask q = {.c = &c};
    TD_TRY(acme_call_jwk(r, resp, &c, ei));
    if (r->params[0].n)
        TD_TRY(acme_policy_get(c.acme, r->params[0], r->arena, &q.policy, ei));
    TD_TRY(payload(&q, ei));
    rng_id(c.acme->conf.rng, q.id);
    q.slot = draw(c.acme);
    TD_TRY(q.only_existing ? store_read(c.acme->conf.store, job, &q, ei)
                           : store_write(c.acme->conf.store, job, &q, ei));
    keycache_put(c.acme->keys, span_str(q.acct.id), c.jwk.key, c.jwk.thumbprint);
    return acme_account_reply(&c, q.created ? 201 : 200, &q.acct, ei);
}
