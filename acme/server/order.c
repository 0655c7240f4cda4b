#include "acme/server/order.h"

#include "acme/server/call.h"
#include "acme/server/url.h"

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
    json_kv_str(&w, "type", o->id_type);
    json_kv_str(&w, "value", o->identifier);
    json_close(&w);
    json_array_end(&w);
    json_array_key(&w, "authorizations");
    json_v_str(&w, authz);
    json_array_end(&w);
    json_kv_str(&w, "finalize", finalize);
    if (o->replaces)
        json_kv_str(&w, "replaces", o->replaces);
    if (s.order == ACME_VALID)
        json_kv_str(&w, "certificate", cert);
    if (s.order == ACME_INVALID && o->error)
        json_kv_raw(&w, "error", span_str(o->error));
    json_close(&w);
    return acme_reply_end(c, ei);
}

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
