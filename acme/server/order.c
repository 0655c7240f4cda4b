#include "acme/server/order.h"

#include "acme/ca/client_id.h"
#include "acme/server/account.h"
#include "acme/server/call.h"
#include "acme/server/problem.h"
#include "acme/server/record.h"
#include "acme/server/stmts.h"
#include "acme/server/url.h"
#include "mdm/base/log.h"
#include "mdm/base/metrics.h"

#define IDENTIFIER_TYPE "permanent-identifier"
#define IDENTIFIER_MAX 255

enum td_err acme_reply_order(struct acme_call *c, int status, const struct acme_order *o,
                             struct errinfo *ei)
{
    struct json_w w;
    struct acme_state s = acme_order_state(o, c->now);
    const char *url = acme_url(c->acme, c->arena, "/acme/order/%s", o->id);
    const char *authz = acme_url(c->acme, c->arena, "/acme/authz/%s", o->id);
    const char *finalize = acme_url(c->acme, c->arena, "/acme/order/%s/finalize", o->id);
    const char *cert = acme_url(c->acme, c->arena, "/acme/cert/%s", o->id);
    if (!authz || !finalize || !cert)
        return err_set(ei, TD_NOMEM, "answer");
    TD_TRY(acme_reply_url(c, "Location", url, ei));
    acme_reply(c, status, &w);
    json_open(&w);
    json_kv_str(&w, "status", acme_status_name(s.order));
    json_kv_time(&w, "expires", o->expires_at);
    json_array_key(&w, "identifiers");
    json_open(&w);
    json_kv_str(&w, "type", IDENTIFIER_TYPE);
    json_kv_str(&w, "value", o->identifier);
    json_close(&w);
    json_array_end(&w);
    json_array_key(&w, "authorizations");
    json_v_str(&w, authz);
    json_array_end(&w);
    json_kv_str(&w, "finalize", finalize);
    if (s.order == ACME_VALID)
        json_kv_str(&w, "certificate", cert);
    if (s.order == ACME_INVALID && o->error)
        json_kv_raw(&w, "error", span_str(o->error));
    json_close(&w);
    return acme_reply_end(c, ei);
}

/* --- newOrder --------------------------------------------------------------------------------- */

static enum td_err bad_payload(struct errinfo *ei, const char *what)
{
    return acme_refuse(ei, TD_PARSE, "malformed", "payload-malformed", "%s", what);
}

/* Exactly one permanent-identifier; its value has no '/' (device-attest section 3, no assigner). */
static enum td_err identifier(const struct json *p, const char **ret, struct errinfo *ei)
{
    const struct json *ids = json_member(p, "identifiers");
    const char *type, *value;
    if (!ids || json_kind(ids) != JSON_K_ARRAY || json_size(ids) == 0)
        return bad_payload(ei, "identifiers is no filled array");
    const struct json *id = json_element(ids, 0);
    if (json_get_str(id, "type", &type) != TD_OK || json_get_str(id, "value", &value) != TD_OK)
        return bad_payload(ei, "an identifier lacks type or value");
    if (json_size(ids) > 1)
        return acme_refuse(ei, TD_INVAL, "rejectedIdentifier", "identifier-count",
                           "an order holds exactly one identifier");
    if (strcmp(type, IDENTIFIER_TYPE) != 0)
        return acme_refuse(ei, TD_UNSUPPORTED, "unsupportedIdentifier", "identifier-type",
                           "the identifier's type is not " IDENTIFIER_TYPE);
    if (!value[0] || strlen(value) > IDENTIFIER_MAX || strchr(value, '/'))
        return bad_payload(ei, "the identifier's value is malformed");
    *ret = value;
    return TD_OK;
}

struct new_job {
    struct acme_call *c;
    struct acme_order o;      /* id, profile, identifier, token, expires_at given */
    const char *bound_serial; /* also filled when refused, if a device could be told */
};

static enum td_err new_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct new_job *j = ctx;
    const struct acme_call *c = j->c;
    struct client_id cid = {0};
    j->bound_serial = NULL;
    TD_TRY(acme_account_check(tx, c->account_id, ei));
    enum td_err e =
        client_id_claim(tx, j->o.identifier, j->o.profile, j->o.id, c->now, c->arena, &cid, ei);
    j->bound_serial = cid.serial;
    if (e != TD_OK && !cid.serial)
        return e;
    /* a device that left is told so, not that its identifier ended with it */
    struct errinfo unlisted = {0};
    enum td_err listed = acme_check_listed(c->acme, tx, cid.serial, &unlisted);
    if (listed != TD_OK && ei)
        *ei = unlisted;
    if (listed != TD_OK || e != TD_OK)
        return listed != TD_OK ? listed : e;
    j->o.serial = cid.serial;
    return tx_exec(tx, ACME_SQL(ORDER_ADD),
                   SV_LIST(SV_TEXT(j->o.id), SV_TEXT(c->account_id), SV_TEXT(j->o.profile),
                           SV_TEXT(j->o.identifier), SV_TEXT(cid.serial), SV_TEXT(j->o.token),
                           SV_INT(c->now), SV_INT(j->o.expires_at)),
                   NULL, ei);
}

/* The certificate's validity is the server's: a request for another is refused, not ignored. */
static enum td_err order_payload(const struct acme_call *c, const char **ret, struct errinfo *ei)
{
    struct json *p;
    TD_TRY(acme_call_json(c, &p, ei));
    if (json_member(p, "notBefore") || json_member(p, "notAfter"))
        return bad_payload(ei, "notBefore and notAfter are not supported");
    return identifier(p, ret, ei);
}

enum td_err acme_new_order(const struct req *r, struct resp *resp, struct errinfo *ei)
{
    struct acme_call c;
    struct errinfo why = {0};
    char id[RNG_ID_SIZE], token[RNG_TOKEN_SIZE];
    TD_TRY(acme_call_kid(r, resp, &c, ei));
    if (!acme_profile_known(r->params[0]))
        return acme_not_found(ei);
    struct new_job j = {.c = &c};
    TD_TRY(order_payload(&c, &j.o.identifier, ei));
    rng_id(c.acme->conf.rng, id);
    rng_token(c.acme->conf.rng, token);
    j.o.id = id;
    j.o.token = token;
    j.o.profile = arena_dup(c.arena, r->params[0]);
    j.o.expires_at = c.now + c.acme->conf.order_ttl;
    if (!j.o.profile)
        return err_set(ei, TD_NOMEM, "request");
    enum td_err e = store_write(c.acme->conf.store, new_job, &j, &why);
    if (e != TD_OK) {
        if (ei)
            *ei = why;
        return acme_record_refusal(&c, j.bound_serial, NULL, e, &why);
    }
    metrics_add(METRIC_ACME_ORDERS, 1);
    log_ev(LOG_DEBUG, "acme.order", KV("order", id), KV("serial", j.o.serial));
    return acme_reply_order(&c, 201, &j.o, ei);
}

/* --- order ------------------------------------------------------------------------------------ */

enum td_err acme_order(const struct req *r, struct resp *resp, struct errinfo *ei)
{
    struct acme_call c;
    struct acme_order o;
    const char *id;
    TD_TRY(acme_call_kid(r, resp, &c, ei));
    TD_TRY(acme_id_param(r, &id, ei));
    TD_TRY(acme_call_as_get(&c, ei));
    TD_TRY(acme_order_read(&c, id, &o, ei));
    return acme_reply_order(&c, 200, &o, ei);
}
