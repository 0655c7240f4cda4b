#include "acme/server/directory.h"

#include "acme/server/problem.h"
#include "acme/server/server_int.h"
#include "acme/server/url.h"

/* Certificate profiles that are issued over ACME; NULL ends the list. */
const char *const acme_profiles[] = {"management", NULL};

bool acme_profile_known(struct span name)
{
    for (size_t i = 0; acme_profiles[i]; i++)
        if (span_eq_str(name, acme_profiles[i]))
            return true;
    return false;
}

/* Only what works is advertised. The profile is in newOrder's URL: the client's choice of directory
 * comes back to us there. */
enum td_err acme_directory(const struct req *r, struct resp *resp, struct errinfo *ei)
{
    const struct acme *a = r->ctx;
    if (!acme_profile_known(r->params[0]))
        return acme_not_found(ei);
    const char *profile = arena_dup(r->arena, r->params[0]);
    const char *nonce = acme_url(a, r->arena, "/acme/new-nonce");
    const char *account = acme_url(a, r->arena, "/acme/new-account");
    const char *order = profile ? acme_url(a, r->arena, "/acme/%s/new-order", profile) : NULL;
    if (!nonce || !account || !order)
        return err_set(ei, TD_NOMEM, "answer");
    struct json_w w;
    json_w_init(&w, &resp->body);
    json_open(&w);
    json_kv_str(&w, "newNonce", nonce);
    json_kv_str(&w, "newAccount", account);
    json_kv_str(&w, "newOrder", order);
    json_open_key(&w, "meta");
    json_kv_bool(&w, "externalAccountRequired", false);
    json_close(&w);
    json_close(&w);
    resp->status = 200;
    resp->content_type = "application/json";
    return resp->body.err;
}

enum td_err acme_new_nonce(const struct req *r, struct resp *resp, struct errinfo *ei)
{
    const struct acme *a = r->ctx;
    char nonce[NONCE_SIZE];
    (void)ei;
    acme_headers(r, resp);
    a->nonces->issue(a->nonces->ctx, nonce);
    resp->status = r->method == REQ_HEAD ? 200 : 204;
    TD_TRY(resp_header(resp, "Replay-Nonce", nonce));
    return resp_header(resp, "Cache-Control", "no-store");
}
