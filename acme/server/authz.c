#include "acme/server/authz.h"

#include "acme/server/call.h"
#include "acme/server/challenge.h"
#include "acme/server/problem.h"
#include "acme/server/url.h"

/* Exactly one challenge: with several, Apple's client can take the wrong one. */
static enum td_err reply(struct acme_call *c, const struct acme_order *o, struct errinfo *ei)
{
    struct json_w w;
    acme_reply(c, 200, &w);
    json_open(&w);
    json_kv_str(&w, "status", acme_status_name(acme_order_state(o, c->now).authz));
    json_kv_time(&w, "expires", o->expires_at);
    json_open_key(&w, "identifier");
    json_kv_str(&w, "type", o->id_type);
    json_kv_str(&w, "value", o->identifier);
    json_close(&w);
    json_array_key(&w, "challenges");
    TD_TRY(acme_challenge_json(c, o, &w, ei));
    json_array_end(&w);
    json_close(&w);
    return acme_reply_end(c, ei);
}

struct job {
    const struct acme_call *c;
    const char *id;
    struct acme_order o;
};

static enum td_err deactivate(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct job *j = ctx;
    TD_TRY(acme_order_get(tx, j->c, j->id, &j->o, ei));
    if (acme_order_move(tx, &j->o, ACME_EV_DEACTIVATED, ei) == TD_STATE)
        return acme_refuse(ei, TD_INVAL, "malformed", "authz-final",
                           "the authorization can no longer be deactivated");
    return TD_OK;
}

static enum td_err update(struct acme_call *c, struct job *j, struct errinfo *ei)
{
    struct json *p;
    const char *status;
    TD_TRY(acme_call_json(c, &p, ei));
    if (json_get_str(p, "status", &status) != TD_OK || strcmp(status, "deactivated") != 0)
        return acme_refuse(ei, TD_PARSE, "malformed", "payload-malformed",
                           "an authorization's status can only become deactivated");
    return store_write(c->acme->conf.store, deactivate, j, ei);
}

enum td_err acme_authz(const struct req *r, struct resp *resp, struct errinfo *ei)
{
    struct acme_call c;
    struct job j = {.c = &c};
    TD_TRY(acme_call_kid(r, resp, &c, ei));
    TD_TRY(acme_id_param(r, &j.id, ei));
    if (c.jws.payload.n && r->no_wait)
        return acme_call_again(&c);
    if (c.jws.payload.n)
        TD_TRY(update(&c, &j, ei));
    else
        TD_TRY(acme_order_read(&c, j.id, &j.o, ei));
    return reply(&c, &j.o, ei);
}
