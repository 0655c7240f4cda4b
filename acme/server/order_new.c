#include "acme/server/order_new.h"

#include "acme/ca/client_id.h"
#include "acme/server/account.h"
#include "acme/server/call.h"
#include "acme/server/ident.h"
#include "acme/server/limit.h"
#include "acme/server/order.h"
#include "acme/server/policy.h"
#include "acme/server/problem.h"
#include "acme/server/record.h"
#include "acme/server/replaces.h"
#include "acme/server/stmts.h"
#include "acme/server/url.h"
#include "mdm/base/log.h"
#include "mdm/base/metrics.h"

#define IDENTS_SHOWN 16 /* of an order with many, in the problem's subproblems */

static enum td_err bad_payload(struct errinfo *ei, const char *what)
{
    return acme_refuse(ei, TD_PARSE, "malformed", "payload-malformed", "%s", what);
}

/* --- the transaction -------------------------------------------------------------------------- */

struct ask {
    struct acme_call *c;
    struct acme_policy policy;
    struct acme_order o; /* id, profile, identifier, token, expires_at given */
    const char *client_id;
    bool ours;                /* refused for a fault of ours */
    const char *bound_serial; /* also filled when refused, if a device could be told */
    struct acme_subproblem *sub;
    size_t nsub;
};

/* Section 7.3.4: the profile decides whether an account has to be bound, and to which key. */
static enum td_err check_binding(const struct ask *q, const struct acme_account *t,
                                 struct errinfo *ei)
{
    if (q->policy.eab_required && !t->eab_key)
        return acme_refuse(ei, TD_FORBIDDEN, "externalAccountRequired", "eab-required",
                           "this certificate profile needs an external account binding");
    if (t->eab_profile && t->eab_profile[0] && strcmp(t->eab_profile, q->o.profile) != 0)
        return acme_refuse(ei, TD_FORBIDDEN, "unauthorized", "eab-profile",
                           "the account is bound for another certificate profile");
    return TD_OK;
}

/* The device behind the identifier, listed at this moment. */
static enum td_err claim(struct tx *tx, struct ask *q, struct errinfo *ei)
{
    const struct acme_call *c = q->c;
    struct client_id cid = {0};
    enum td_err e =
        client_id_claim(tx, q->client_id, q->o.profile, q->o.id, c->now, c->arena, &cid, ei);
    q->bound_serial = cid.serial;
    if (e != TD_OK && !cid.serial)
        return e;
    /* a device that left is told so, not that its identifier ended with it */
    struct errinfo unlisted = {0};
    enum td_err listed = acme_policy_allows(c->acme, tx, q->o.profile, cid.serial, NULL, &unlisted);
    if (listed != TD_OK && ei)
        *ei = unlisted;
    if (listed != TD_OK || e != TD_OK)
        return listed != TD_OK ? listed : e;
    q->o.serial = cid.serial;
    return TD_OK;
}

static enum td_err job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct ask *q = ctx;
    const struct acme_call *c = q->c;
    struct acme_account acct = {0};
    q->bound_serial = NULL;
    q->ours = false;
    TD_TRY(acme_account_check(tx, c, &acct, ei));
    TD_TRY(check_binding(q, &acct, ei));
    TD_TRY(acme_limit_account(tx, c, ei));
    TD_TRY(claim(tx, q, ei));
    TD_TRY(acme_limit_device(tx, c, q->o.serial, ei));
    TD_TRY(acme_replaces_check(tx, c, &q->o, ei));
    enum td_err e = ca_can_issue(c->acme->conf.ca, ei);
    q->ours = e != TD_OK;
    TD_TRY(e); /* before the device attests in vain */
    TD_TRY(tx_exec(tx, ACME_SQL(ACCOUNT_KEEP),
                   SV_LIST(SV_TEXT(c->account_id), SV_INT(q->o.expires_at)), NULL, ei));
    return tx_exec(tx, ACME_SQL(ORDER_ADD),
                   SV_LIST(SV_TEXT(q->o.id), SV_TEXT(c->account_id), SV_TEXT(q->o.profile),
                           SV_TEXT(q->o.id_type), SV_TEXT(q->o.identifier), SV_TEXT(q->o.serial),
                           SV_TEXT(q->o.token), SV_INT(c->now), SV_INT(q->o.expires_at),
                           SV_TEXT0(q->o.replaces)),
                   NULL, ei);
}

/* --- identifiers ------------------------------------------------------------------------------ */

/* One certificate is for one device, so for one identifier. Each of the others is named, with its
 * own fault where it has one (section 6.7.1). */
static enum td_err too_many(struct ask *q, const struct json *ids, struct errinfo *ei)
{
    static const char one[] = "an order holds exactly one identifier";
    struct arena *a = q->c->arena;
    size_t n = json_size(ids) < IDENTS_SHOWN ? json_size(ids) : IDENTS_SHOWN;
    q->sub = arena_alloc(a, n * sizeof *q->sub);
    if (!q->sub)
        return err_set(ei, TD_NOMEM, "request");
    for (size_t i = 0; i < n; i++) {
        struct acme_ident id = {0};
        struct errinfo why = {0};
        enum td_err e = acme_ident_parse(json_element(ids, i), a, &id, &why);
        if (e == TD_NOMEM)
            return err_set(ei, e, "request");
        if (!id.type || !id.value || (e == TD_OK && i == 0))
            continue;
        q->sub[q->nsub++] =
            (struct acme_subproblem){.type = e == TD_OK ? "rejectedIdentifier" : why.acme,
                                     .detail = e == TD_OK ? one : arena_strdup(a, why.msg),
                                     .id_type = id.type,
                                     .id_value = id.value};
    }
    return acme_refuse(ei, TD_INVAL, "rejectedIdentifier", "identifier-count", one);
}

static enum td_err identifier(struct ask *q, const struct json *p, struct errinfo *ei)
{
    const struct json *ids = json_member(p, "identifiers");
    struct acme_ident id = {0};
    if (!ids || json_kind(ids) != JSON_K_ARRAY || json_size(ids) == 0)
        return bad_payload(ei, "identifiers is no filled array");
    if (json_size(ids) > 1)
        return too_many(q, ids, ei);
    TD_TRY(acme_ident_parse(json_element(ids, 0), q->c->arena, &id, ei));
    TD_TRY(acme_policy_names(&q->policy, id.type, id.value, ei));
    q->o.id_type = id.type;
    q->o.identifier = id.value;
    q->client_id = id.client_id;
    return TD_OK;
}

/* --- the request ------------------------------------------------------------------------------ */

/* The certificate's validity is the profile's: a request for another is refused, not ignored. */
static enum td_err payload(struct ask *q, struct errinfo *ei)
{
    struct json *p;
    TD_TRY(acme_call_json(q->c, &p, ei));
    if (json_member(p, "notBefore") || json_member(p, "notAfter"))
        return acme_refuse(ei, TD_INVAL, "malformed", "validity-requested",
                           "the certificate profile sets the validity: leave out notBefore and "
                           "notAfter");
    enum td_err e = json_get_str(p, "replaces", &q->o.replaces);
    if (e != TD_OK && e != TD_NOTFOUND)
        return bad_payload(ei, "replaces is no text");
    return identifier(q, p, ei);
}

enum td_err acme_new_order(const struct req *r, struct resp *resp, struct errinfo *ei)
{
    struct acme_call c;
    struct errinfo why = {0};
    char id[RNG_ID_SIZE], token[RNG_TOKEN_SIZE];
    TD_TRY(acme_call_kid(r, resp, &c, ei));
    struct ask q = {.c = &c};
    TD_TRY(acme_policy_get(c.acme, r->params[0], c.arena, &q.policy, ei));
    enum td_err e = payload(&q, &why);
    if (e != TD_OK && q.nsub)
        return acme_problem_answer(r, resp, e, &why, q.sub, q.nsub);
    if (e != TD_OK && ei)
        *ei = why;
    TD_TRY(e);
    rng_id(c.acme->conf.rng, id);
    rng_token(c.acme->conf.rng, token);
    q.o.id = id;
    q.o.token = token;
    q.o.profile = arena_dup(c.arena, r->params[0]);
    q.o.expires_at = c.now + c.acme->conf.order_ttl;
    if (!q.o.profile)
        return err_set(ei, TD_NOMEM, "request");
    e = store_write(c.acme->conf.store, job, &q, &why);
    if (e != TD_OK) {
        if (q.ours)
            e = acme_record_ours(&c, q.bound_serial, NULL, e, &why);
        if (ei)
            *ei = why;
        return acme_record_refusal(&c, q.bound_serial, NULL, e, &why);
    }
    metrics_add(METRIC_ACME_ORDERS, 1);
    log_ev(LOG_DEBUG, "acme.order", KV("order", id), KV("serial", q.o.serial));
    return acme_reply_order(&c, 201, &q.o, ei);
}
