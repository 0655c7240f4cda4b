/* /api/v1/webhooks: who is told of events. */
#include "web/api/api_int.h"
#include "web/api/api_util.h"
#include "web/hook/hooks.h"
#include "web/hook/post.h"
#include "web/hook/secrets.h"

struct job {
    struct hook h;
    struct hook_cause cause;
    int64_t if_match, overlap;
    uint8_t secret[HOOK_SECRET];
    struct span sealed;
    char id[RNG_ID_SIZE], txn[RNG_ID_SIZE], event[RNG_ID_SIZE];
    struct arena *a;
};

static void job_wipe(struct job *j)
{
    explicit_bzero(j->secret, sizeof j->secret);
}
#define job_auto __attribute__((cleanup(job_wipe))) struct job

static enum td_err begin(const struct req *req, struct job *j)
{
    const struct api *api = req->ctx;
    rng_id(api->rng, j->txn);
    j->a = req->arena;
    j->cause = (struct hook_cause){clock_now(api->clock), api_actor(req), j->txn};
    j->h.id = req->params[0].n ? arena_dup(req->arena, req->params[0]) : j->id;
    return j->h.id ? TD_OK : TD_NOMEM;
}

/* --- answers --------------------------------------------------------------------------------- */

static void write_types(struct json_w *w, const char *types)
{
    json_array_key(w, "events");
    while (*types) {
        char one[64];
        size_t n = strcspn(types, " "), fits = n < sizeof one ? n : sizeof one - 1;
        memcpy(one, types, fits);
        one[fits] = 0;
        json_v_str(w, one);
        types += n + (types[n] == ' ');
    }
    json_array_end(w);
}

/* Without the closing brace. */
static void write_hook(struct json_w *w, const struct hook *h)
{
    json_open(w);
    json_kv_str(w, "id", h->id);
    json_kv_str(w, "name", h->name);
    json_kv_str(w, "url", h->url);
    write_types(w, h->types);
    json_kv_bool(w, "enabled", h->enabled);
    json_kv_int(w, "rev", h->rev);
    json_kv_str(w, "created_by", h->created_by);
    json_kv_time(w, "created_at", h->created_at);
    json_kv_time(w, "updated_at", h->updated_at);
    json_kv_time(w, "previous_secret_until", h->previous_until);
    json_kv_int(w, "queue", h->queue);
    json_kv_time(w, "oldest_at", h->oldest_at);
    json_kv_int(w, "delivered", h->delivered);
    json_kv_int(w, "dropped", h->dropped);
    json_kv_time(w, "last_success_at", h->last_success_at);
    json_kv_time(w, "failing_since", h->failing_since);
    json_kv_time(w, "next_try_at", h->failing_since ? h->next_at : 0);
    json_kv_time(w, "last_error_at", h->last_error_at);
    json_kv_str(w, "last_error", h->last_error[0] ? h->last_error : NULL);
}

/* With the secret where it is new: shown this once. */
static enum td_err answer(struct resp *resp, const struct job *j, bool secret, int status)
{
    char text[HOOK_SECRET_TEXT];
    struct json_w w;
    json_w_init(&w, &resp->body);
    write_hook(&w, &j->h);
    if (secret) {
        TD_TRY(hook_secret_text(j->secret, text));
        json_kv_str(&w, "secret", text);
        explicit_bzero(text, sizeof text);
        TD_TRY(resp_header(resp, "Cache-Control", "no-store"));
    }
    json_close(&w);
    TD_TRY(api_etag(resp, j->h.rev));
    return api_done(resp, status);
}

/* --- bodies ---------------------------------------------------------------------------------- */

/* "events": an array of names; absent or empty: all. */
static enum td_err read_events(const struct req *req, const struct json *body, const char **ret,
                               struct errinfo *ei)
{
    const struct json *list = json_member(body, "events");
    buf_auto b;
    buf_init(&b, HOOK_TYPES_MAX);
    *ret = "";
    if (!list)
        return TD_OK;
    if (json_kind(list) != JSON_K_ARRAY)
        return err_set(ei, TD_INVAL, "events: an array of names");
    for (size_t i = 0; i < json_size(list); i++) {
        const char *name = json_str(json_element(list, i));
        if (!name)
            return err_set(ei, TD_INVAL, "events: an array of names");
        TD_TRY(hook_type_check(span_str(name), ei));
        buf_str(&b, i ? " " : "");
        buf_str(&b, name);
    }
    if (b.err != TD_OK)
        return err_set(ei, TD_INVAL, "events: too many");
    *ret = arena_dup(req->arena, buf_view(&b));
    return *ret ? TD_OK : TD_NOMEM;
}

static enum td_err read_body(const struct req *req, struct hook *h, struct errinfo *ei)
{
    static const char *const members[] = {"name", "url", "events", "enabled", NULL};
    struct json *body;
    h->name = h->url = "";
    h->enabled = true;
    TD_TRY(api_body(req, members, &body, ei));
    TD_TRY(api_str(body, "name", HOOK_NAME_MAX, &h->name, ei));
    TD_TRY(api_str(body, "url", HOOK_URL_MAX, &h->url, ei));
    TD_TRY(read_events(req, body, &h->types, ei));
    if (json_get_bool(body, "enabled", &h->enabled) == TD_PARSE)
        return err_set(ei, TD_INVAL, "enabled: a boolean");
    return hook_url_check(h->url, ei);
}

static enum td_err new_secret(const struct api *api, struct job *j, struct errinfo *ei)
{
    const struct span none = {NULL, 0};
    rng_fill(api->rng, j->secret, sizeof j->secret);
    return hook_seal(api->seal, j->h.id, j->secret, none, 0, api->rng, j->a, &j->sealed, ei);
}

/* --- handlers -------------------------------------------------------------------------------- */

static enum td_err get_tx(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct job *j = ctx;
    return hook_get(tx, j->h.id, j->a, &j->h, ei);
}

static enum td_err get(const struct api *api, struct job *j, struct errinfo *ei)
{
    TD_TRY(store_read(api->store, get_tx, j, ei));
    j->h.previous_until = hook_previous_until(api->seal, &j->h);
    return TD_OK;
}

static enum td_err add_tx(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct job *j = ctx;
    return hook_add(tx, &j->h, j->sealed, &j->cause, ei);
}

API_HANDLER(webhook_add)
{
    const struct api *api = req->ctx;
    job_auto j = {.if_match = HOOK_IF_ANY};
    TD_TRY(begin(req, &j));
    TD_TRY(read_body(req, &j.h, ei));
    rng_id(api->rng, j.id);
    TD_TRY(new_secret(api, &j, ei));
    TD_TRY(store_write(api->store, add_tx, &j, ei));
    TD_TRY(get(api, &j, ei));
    return answer(resp, &j, true, 201);
}

static enum td_err put_tx(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct job *j = ctx;
    return hook_put(tx, &j->h, j->if_match, &j->cause, ei);
}

API_HANDLER(webhook_put)
{
    const struct api *api = req->ctx;
    job_auto j = {0};
    TD_TRY(begin(req, &j));
    TD_TRY(api_if_match(req, &j.if_match, ei));
    TD_TRY(read_body(req, &j.h, ei));
    TD_TRY(store_write(api->store, put_tx, &j, ei));
    TD_TRY(get(api, &j, ei));
    return answer(resp, &j, false, 200);
}

API_HANDLER(webhook_get)
{
    const struct api *api = req->ctx;
    job_auto j = {0};
    TD_TRY(begin(req, &j));
    TD_TRY(get(api, &j, ei));
    return answer(resp, &j, false, 200);
}

/* Without a body the overlap is the configured one. */
static enum td_err read_overlap(const struct req *req, int64_t *overlap, struct errinfo *ei)
{
    static const char *const members[] = {"overlap", NULL};
    struct json *body;
    if (req->body.n == 0)
        return TD_OK;
    TD_TRY(api_body(req, members, &body, ei));
    enum td_err e = json_get_int(body, "overlap", overlap);
    if (e != TD_NOTFOUND && (e != TD_OK || *overlap < 0 || *overlap > HOOK_OVERLAP_MAX))
        return err_set(ei, TD_INVAL, "overlap must be 0 to %lld seconds",
                       (long long)HOOK_OVERLAP_MAX);
    return TD_OK;
}

API_HANDLER(webhook_secret)
{
    const struct api *api = req->ctx;
    job_auto j = {.overlap = api->secret_overlap};
    TD_TRY(begin(req, &j));
    TD_TRY(read_overlap(req, &j.overlap, ei));
    rng_fill(api->rng, j.secret, sizeof j.secret);
    TD_TRY(hook_rotate(api->store, api->seal, api->rng, j.h.id, j.secret, j.overlap, &j.cause, ei));
    TD_TRY(get(api, &j, ei));
    return answer(resp, &j, true, 200);
}

static enum td_err delete_tx(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct job *j = ctx;
    return hook_delete(tx, j->h.id, &j->cause, ei);
}

API_HANDLER(webhook_delete)
{
    const struct api *api = req->ctx;
    job_auto j = {0};
    TD_TRY(begin(req, &j));
    TD_TRY(store_write(api->store, delete_tx, &j, ei));
    resp->status = 204;
    return TD_OK;
}

static enum td_err test_tx(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct job *j = ctx;
    return hook_ping(tx, j->h.id, j->event, &j->cause, ei);
}

API_HANDLER(webhook_test)
{
    const struct api *api = req->ctx;
    job_auto j = {0};
    TD_TRY(begin(req, &j));
    rng_id(api->rng, j.event);
    TD_TRY(store_write(api->store, test_tx, &j, ei));
    struct json_w w;
    json_w_init(&w, &resp->body);
    json_open(&w);
    json_kv_str(&w, "event", j.event);
    json_close(&w);
    return api_done(resp, 202);
}

static enum td_err read_page(struct tx *tx, const struct api_page *page, struct arena *a,
                             void **ret_rows, size_t *ret_n, struct errinfo *ei)
{
    struct hook *list = NULL;
    TD_TRY(hook_list(tx, page->after, page->limit, a, &list, ret_n, ei));
    for (size_t i = 0; i < *ret_n; i++)
        list[i].previous_until = hook_previous_until(page->api->seal, &list[i]);
    *ret_rows = list;
    return TD_OK;
}

static const char *row_key(const void *row)
{
    return ((const struct hook *)row)->id;
}

static void write_row(struct json_w *w, const void *row)
{
    write_hook(w, row);
    json_close(w);
}

API_HANDLER(webhook_list)
{
    static const struct api_list list = {"webhooks", sizeof(struct hook), read_page, write_row,
                                         row_key};
    return api_list_answer(req, resp, &list, ei);
}
