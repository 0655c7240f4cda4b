/* /api/v1/eab-keys: keys for external account binding (RFC 8555 section 7.3.4). */
#include "acme/server/eab.h"
#include "acme/server/eab_admin.h"
#include "mdm/base/b64.h"
#include "web/api/api_int.h"
#include "web/api/api_util.h"

#define TTL_DEFAULT ((int64_t)7 * 86400)
#define TTL_MAX ((int64_t)365 * 86400)

struct add {
    struct acme_eab_key key;
    const char *actor;
    uint8_t secret[ACME_EAB_SECRET];
    struct span sealed;
};

static void add_wipe(struct add *j)
{
    explicit_bzero(j->secret, sizeof j->secret);
}

static enum td_err add_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct add *j = ctx;
    return acme_eab_add(tx, &j->key, j->sealed, j->actor, ei);
}

static void write_key(struct json_w *w, const struct acme_eab_key *k)
{
    json_kv_str(w, "id", k->id);
    json_kv_str(w, "name", k->name);
    json_kv_str(w, "profile", k->profile[0] ? k->profile : NULL);
    json_kv_str(w, "account", k->account_id);
    json_kv_time(w, "created_at", k->created_at);
    json_kv_time(w, "expires_at", k->expires_at);
    json_kv_time(w, "bound_at", k->bound_at);
    json_kv_time(w, "revoked_at", k->revoked_at);
}

/* The answer alone shows the secret. */
static enum td_err answer(const struct req *req, struct resp *resp, const struct add *j)
{
    char *text = b64url_str(req->arena, SPAN_ARR(j->secret));
    struct json_w w;
    if (!text)
        return TD_NOMEM;
    json_w_init(&w, &resp->body);
    json_open(&w);
    write_key(&w, &j->key);
    json_kv_str(&w, "hmac_key", text);
    json_close(&w);
    explicit_bzero(text, strlen(text));
    TD_TRY(resp_header(resp, "Cache-Control", "no-store"));
    return api_done(resp, 201);
}

API_HANDLER(eab_add)
{
    static const char *const members[] = {"name", "profile", "ttl", NULL};
    struct api *api = req->ctx;
    struct json *body;
    int64_t ttl = TTL_DEFAULT, now = clock_now(api->clock);
    char id[RNG_ID_SIZE];
    __attribute__((cleanup(add_wipe))) struct add j = {.actor = api_actor(req)};
    j.key = (struct acme_eab_key){.id = id, .name = "", .profile = ""};
    TD_TRY(api_body(req, members, &body, ei));
    TD_TRY(api_str(body, "name", 200, &j.key.name, ei));
    TD_TRY(api_str(body, "profile", 64, &j.key.profile, ei));
    enum td_err e = json_get_int(body, "ttl", &ttl);
    if (e != TD_NOTFOUND && (e != TD_OK || ttl < 60 || ttl > TTL_MAX))
        return err_set(ei, TD_INVAL, "ttl must be 60 to %lld seconds", (long long)TTL_MAX);
    if (!j.actor)
        return TD_NOMEM;
    rng_id(api->rng, id);
    rng_fill(api->rng, j.secret, sizeof j.secret);
    TD_TRY(acme_eab_seal(api->seal, id, j.secret, api->rng, req->arena, &j.sealed, ei));
    j.key.created_at = now;
    j.key.expires_at = now + ttl;
    TD_TRY(store_write(api->store, add_job, &j, ei));
    return answer(req, resp, &j);
}

static enum td_err read_page(struct tx *tx, const struct api_page *page, struct arena *a,
                             void **ret_rows, size_t *ret_n, struct errinfo *ei)
{
    struct acme_eab_key *list = NULL;
    TD_TRY(acme_eab_list(tx, page->after, page->limit, a, &list, ret_n, ei));
    *ret_rows = list;
    return TD_OK;
}

static const char *row_key(const void *row)
{
    return ((const struct acme_eab_key *)row)->id;
}

static void write_row(struct json_w *w, const void *row)
{
    json_open(w);
    write_key(w, row);
    json_close(w);
}

API_HANDLER(eab_list)
{
    static const struct api_list list = {"eab_keys", sizeof(struct acme_eab_key), read_page,
                                         write_row, row_key};
    return api_list_answer(req, resp, &list, ei);
}

struct end {
    const char *id, *actor;
    int64_t now;
};

static enum td_err end_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct end *j = ctx;
    return acme_eab_revoke(tx, j->id, j->now, j->actor, ei);
}

API_HANDLER(eab_delete)
{
    struct api *api = req->ctx;
    struct end j = {arena_dup(req->arena, req->params[0]), api_actor(req), clock_now(api->clock)};
    if (!j.id || !j.actor)
        return TD_NOMEM;
    TD_TRY(store_write(api->store, end_job, &j, ei));
    resp->status = 204;
    return TD_OK;
}
