#include "acme/server/call.h"

#include <strings.h>

#include "acme/server/account.h"
#include "acme/server/problem.h"
#include "acme/server/url.h"

#define JOSE "application/jose+json"
#define ACCT "/acme/acct/"

static enum td_err check_type(const struct req *r, struct errinfo *ei)
{
    if (r->content_type.n == sizeof JOSE - 1 &&
        strncasecmp((const char *)r->content_type.p, JOSE, sizeof JOSE - 1) == 0)
        return TD_OK;
    return acme_refuse(ei, TD_MEDIA, "malformed", "content-type", "the content type is not " JOSE);
}

/* RFC 8555 section 6.4: the signed URL is ours, whatever a proxy made of Host. */
static enum td_err check_url(const struct acme_call *c, struct errinfo *ei)
{
    struct span u = span_str(c->jws.url), base = span_str(c->acme->conf.base_url);
    struct span path = c->req->path, query = c->req->query;
    bool same = span_starts(u, base);
    u = span_sub(u, base.n, u.n);
    same = same && span_starts(u, path);
    u = span_sub(u, path.n, u.n);
    if (query.n && u.n) {
        same = same && u.p[0] == '?';
        u = span_sub(u, 1, u.n);
    }
    if (!same || !span_eq(u, query))
        return acme_refuse(ei, TD_FORBIDDEN, "unauthorized", "url-mismatch",
                           "the signed url is not the one requested");
    return TD_OK;
}

static enum td_err check_nonce(const struct acme_call *c, struct errinfo *ei)
{
    const struct nonce_ops *n = c->acme->nonces;
    enum td_err e = n->take(n->ctx, span_str(c->jws.nonce), ei);
    if (e != TD_REPLAY)
        return e;
    return acme_refuse(ei, TD_REPLAY, "badNonce", "nonce-bad",
                       "the nonce is unknown, used or expired");
}

static enum td_err begin(const struct req *r, struct resp *resp, struct acme_call *c,
                         struct errinfo *ei)
{
    *c = (struct acme_call){.acme = r->ctx, .req = r, .resp = resp, .arena = r->arena};
    c->now = clock_now(c->acme->conf.clock);
    if (r->no_wait && !c->acme->nonces->give_back)
        return TD_AGAIN;
    acme_headers(r, resp);
    TD_TRY(check_type(r, ei));
    TD_TRY(jws_parse(r->body, JWS_REQUEST, r->arena, &c->jws, ei));
    TD_TRY(check_nonce(c, ei));
    return check_url(c, ei);
}

static enum td_err key_form(struct errinfo *ei, const char *wanted)
{
    return acme_refuse(ei, TD_INVAL, "malformed", "key-form", "this request is signed with %s",
                       wanted);
}

static enum td_err account_unknown(struct errinfo *ei)
{
    return acme_refuse(ei, TD_NOTFOUND, "accountDoesNotExist", "account-unknown",
                       "no such account");
}

/* kid is the account's URL, exactly. */
static enum td_err kid_id(const struct acme_call *c, struct span *ret, struct errinfo *ei)
{
    struct span kid = span_str(c->jws.kid), base = span_str(c->acme->conf.base_url);
    if (!span_starts(kid, base))
        return account_unknown(ei);
    kid = span_sub(kid, base.n, kid.n);
    if (!span_starts(kid, SPAN_LIT(ACCT)))
        return account_unknown(ei);
    kid = span_sub(kid, sizeof ACCT - 1, kid.n);
    if (!acme_id_valid(kid))
        return account_unknown(ei);
    *ret = kid;
    return TD_OK;
}

static enum td_err account_key(const struct acme_call *c, struct acme_key *ret, bool fresh,
                               struct errinfo *ei)
{
    enum td_err e = acme_account_key(c, fresh, ret, ei);
    return e == TD_NOTFOUND ? account_unknown(ei) : e;
}

/* A kept key may be the one before a key change on another node: before a signature is refused, the
 * database is asked for the key. */
static enum td_err verify_again(struct acme_call *c, const struct acme_key *old, enum td_err e,
                                struct errinfo *ei)
{
    acme_key_auto now = {0};
    TD_TRY(account_key(c, &now, true, ei));
    if (memcmp(now.thumbprint, old->thumbprint, sizeof now.thumbprint) == 0)
        return e; /* *ei says why */
    TD_TRY(jws_verify(&c->jws, now.key, ei));
    memcpy(c->thumbprint, now.thumbprint, sizeof c->thumbprint);
    return TD_OK;
}

static enum td_err by_kid(struct acme_call *c, struct errinfo *ei)
{
    struct span id = {NULL, 0};
    acme_key_auto k = {0};
    TD_TRY(kid_id(c, &id, ei));
    c->account_id = arena_dup(c->arena, id);
    if (!c->account_id)
        return err_set(ei, TD_NOMEM, "request");
    TD_TRY(account_key(c, &k, false, ei));
    memcpy(c->thumbprint, k.thumbprint, sizeof c->thumbprint);
    enum td_err e = jws_verify(&c->jws, k.key, ei);
    if (e != TD_OK && k.cached && err_http(e) < 500)
        return verify_again(c, &k, e, ei);
    return e;
}

static enum td_err by_jwk(struct acme_call *c, struct errinfo *ei)
{
    TD_TRY(jwk_parse(c->jws.jwk, c->arena, &c->jwk, ei));
    memcpy(c->thumbprint, c->jwk.thumbprint, sizeof c->thumbprint);
    return jws_verify(&c->jws, c->jwk.key, ei);
}

enum td_err acme_call_kid(const struct req *r, struct resp *resp, struct acme_call *ret,
                          struct errinfo *ei)
{
    struct acme_call c;
    TD_TRY(begin(r, resp, &c, ei));
    if (!c.jws.kid)
        return key_form(ei, "kid");
    TD_TRY(by_kid(&c, ei));
    *ret = c;
    return TD_OK;
}

enum td_err acme_call_jwk(const struct req *r, struct resp *resp, struct acme_call *ret,
                          struct errinfo *ei)
{
    struct acme_call c;
    TD_TRY(begin(r, resp, &c, ei));
    if (c.jws.kid)
        return key_form(ei, "jwk");
    TD_TRY(by_jwk(&c, ei));
    *ret = c;
    return TD_OK;
}

enum td_err acme_call_either(const struct req *r, struct resp *resp, struct acme_call *ret,
                             struct errinfo *ei)
{
    struct acme_call c;
    TD_TRY(begin(r, resp, &c, ei));
    TD_TRY(c.jws.kid ? by_kid(&c, ei) : by_jwk(&c, ei));
    *ret = c;
    return TD_OK;
}

enum td_err acme_call_again(const struct acme_call *c)
{
    const struct nonce_ops *n = c->acme->nonces;
    n->give_back(n->ctx, span_str(c->jws.nonce));
    return TD_AGAIN;
}

enum td_err acme_call_read(const struct acme_call *c, store_fn fn, void *ctx, struct errinfo *ei)
{
    if (!c->req->no_wait)
        return store_read(c->acme->conf.store, fn, ctx, ei);
    enum td_err e = store_try_read(c->acme->conf.store, fn, ctx, ei);
    return e == TD_BUSY ? acme_call_again(c) : e;
}

enum td_err acme_call_as_get(const struct acme_call *c, struct errinfo *ei)
{
    if (c->jws.payload.n == 0)
        return TD_OK;
    return acme_refuse(ei, TD_INVAL, "malformed", "payload-unexpected",
                       "this resource is fetched by POST-as-GET, with an empty payload");
}

enum td_err acme_call_json(const struct acme_call *c, struct json **ret, struct errinfo *ei)
{
    struct json *v;
    enum td_err e = json_parse(c->jws.payload, c->arena, &v, NULL);
    if (e == TD_NOMEM)
        return err_set(ei, e, "payload");
    if (e != TD_OK || json_kind(v) != JSON_K_OBJECT)
        return acme_refuse(ei, TD_PARSE, "malformed", "payload-malformed",
                           "the payload is no JSON object");
    *ret = v;
    return TD_OK;
}

void acme_reply(struct acme_call *c, int status, struct json_w *w)
{
    c->resp->status = status;
    c->resp->content_type = "application/json";
    json_w_init(w, &c->resp->body);
}

enum td_err acme_reply_url(struct acme_call *c, const char *name, const char *url,
                           struct errinfo *ei)
{
    if (!url)
        return err_set(ei, TD_NOMEM, "answer");
    return resp_header(c->resp, name, url);
}

enum td_err acme_reply_end(struct acme_call *c, struct errinfo *ei)
{
    if (c->resp->body.err)
        return err_set(ei, c->resp->body.err, "answer");
    return TD_OK;
}
