#include "acme/server/directory.h"

#include "acme/server/account.h"
#include "acme/server/call.h"
#include "acme/server/policy.h"
#include "acme/server/problem.h"
#include "acme/server/url.h"

static enum td_err check_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    return acme_account_check(tx, ctx, NULL, ei);
}

/* RFC 8555 section 6.3: beside GET these two resources take POST-as-GET, with all its checks. */
static enum td_err post_as_get(const struct req *r, struct resp *resp, struct errinfo *ei)
{
    struct acme_call c;
    const struct acme *a = r->ctx;
    if (r->method != REQ_POST)
        return TD_OK;
    TD_TRY(acme_call_kid(r, resp, &c, ei));
    TD_TRY(acme_call_as_get(&c, ei));
    return store_read(a->conf.store, check_job, &c, ei);
}

struct entry {
    const char *name, *path; /* path: below the base URL */
    const char *prefix;      /* "/acme", or that of the profile */
};

static void write_meta(struct json_w *w, const struct acme *a, const struct acme_policy *p)
{
    const struct acme_conf *conf = &a->conf;
    json_open_key(w, "meta");
    if (conf->terms && conf->terms[0])
        json_kv_str(w, "termsOfService", conf->terms);
    if (conf->website && conf->website[0])
        json_kv_str(w, "website", conf->website);
    json_kv_bool(w, "externalAccountRequired", p->eab_required);
    json_close(w);
}

/* The profile is in newOrder's URL: the client's choice of directory comes back to us there; in
 * newAccount's only where the profile decides who may have an account. */
enum td_err acme_directory(const struct req *r, struct resp *resp, struct errinfo *ei)
{
    const struct acme *a = r->ctx;
    struct acme_policy policy;
    TD_TRY(acme_policy_get(a, r->params[0], r->arena, &policy, ei));
    TD_TRY(post_as_get(r, resp, ei));
    const char *own =
        arena_printf(r->arena, "/acme/%.*s", (int)r->params[0].n, (const char *)r->params[0].p);
    if (!own)
        return err_set(ei, TD_NOMEM, "answer");
    const struct entry entries[] = {
        {"newNonce", "new-nonce", "/acme"},
        {"newAccount", "new-account", policy.eab_required ? own : "/acme"},
        {"newOrder", "new-order", own},
        {"revokeCert", "revoke-cert", "/acme"},
        {"keyChange", "key-change", "/acme"},
        {"renewalInfo", "renewal-info", "/acme"},
    };
    struct json_w w;
    json_w_init(&w, &resp->body);
    json_open(&w);
    for (size_t i = 0; i < TD_NITEMS(entries); i++) {
        const char *url = acme_url(a, r->arena, "%s/%s", entries[i].prefix, entries[i].path);
        if (!url)
            return err_set(ei, TD_NOMEM, "answer");
        json_kv_str(&w, entries[i].name, url);
    }
    write_meta(&w, a, &policy);
    json_close(&w);
    resp->status = 200;
    resp->content_type = "application/json";
    return resp->body.err;
}

enum td_err acme_new_nonce(const struct req *r, struct resp *resp, struct errinfo *ei)
{
    const struct acme *a = r->ctx;
    char nonce[NONCE_SIZE];
    acme_headers(r, resp);
    resp->status = r->method == REQ_HEAD ? 200 : 204;
    if (r->method == REQ_POST) /* whose answer has one already */
        return post_as_get(r, resp, ei);
    a->nonces->issue(a->nonces->ctx, nonce);
    TD_TRY(resp_header(resp, "Replay-Nonce", nonce));
    return resp_header(resp, "Cache-Control", "no-store");
}
