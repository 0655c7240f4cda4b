/* /api/v1/tokens. */
#include "mdm/base/str.h"
#include "web/api/api_int.h"
#include "web/api/api_util.h"
#include "web/auth/token.h"

#define TTL_MAX ((int64_t)10 * 365 * 86400)

/* A token makes no token that may do more than itself: "admin" makes all. */
static enum td_err check_grant(const char *held, const char *wanted, struct errinfo *ei)
{
    if (token_has_scope(held, SPAN_LIT("admin")))
        return TD_OK;
    struct span rest = span_str(wanted);
    while (rest.n > 0) {
        struct span word = str_cut(&rest, ' ');
        if (!token_has_scope(held, word))
            return err_reason(ei, TD_FORBIDDEN, "scope-missing",
                              "a token cannot give a scope that it does not hold");
    }
    return TD_OK;
}

API_HANDLER(token_add)
{
    static const char *const members[] = {"name", "scopes", "ttl", NULL};
    struct api *api = req->ctx;
    struct json *body;
    const char *name = "", *scopes = "";
    int64_t ttl = 0;
    char id[RNG_ID_SIZE], text[TOKEN_TEXT_SIZE];
    TD_TRY(api_body(req, members, &body, ei));
    TD_TRY(api_str(body, "name", 200, &name, ei));
    TD_TRY(api_str(body, "scopes", 500, &scopes, ei));
    enum td_err e = json_get_int(body, "ttl", &ttl);
    if (e != TD_NOTFOUND && (e != TD_OK || ttl < 60 || ttl > TTL_MAX))
        return err_set(ei, TD_INVAL, "ttl must be 60 to %lld seconds", (long long)TTL_MAX);
    TD_TRY(check_grant(req->principal.scopes, scopes, ei));
    TD_TRY(token_create(api->store, api->clock, api->rng, name, scopes, ttl, api_actor(req), id,
                        text, ei));
    struct json_w w;
    json_w_init(&w, &resp->body);
    json_open(&w);
    json_kv_str(&w, "id", id);
    json_kv_str(&w, "name", name);
    json_kv_str(&w, "scopes", scopes);
    json_kv_str(&w, "token", text);
    json_close(&w);
    explicit_bzero(text, sizeof text);
    return api_done(resp, 201);
}

static enum td_err read_page(struct tx *tx, const struct api_page *page, struct arena *a,
                             void **ret_rows, size_t *ret_n, struct errinfo *ei)
{
    struct token *list = NULL;
    TD_TRY(token_list(tx, page->after, page->limit, a, &list, ret_n, ei));
    *ret_rows = list;
    return TD_OK;
}

static const char *row_key(const void *row)
{
    return ((const struct token *)row)->id;
}

static void write_row(struct json_w *w, const void *row)
{
    const struct token *t = row;
    json_open(w);
    json_kv_str(w, "id", t->id);
    json_kv_str(w, "name", t->name);
    json_kv_str(w, "scopes", t->scopes);
    json_kv_time(w, "created_at", t->created_at);
    json_kv_time(w, "expires_at", t->expires_at);
    json_close(w);
}

API_HANDLER(token_list)
{
    static const struct api_list list = {"tokens", sizeof(struct token), read_page, write_row,
                                         row_key};
    return api_list_answer(req, resp, &list, ei);
}

API_HANDLER(token_delete)
{
    struct api *api = req->ctx;
    char *id = arena_dup(req->arena, req->params[0]);
    if (!id)
        return TD_NOMEM;
    TD_TRY(token_delete(api->store, api->clock, id, api_actor(req), ei));
    resp->status = 204;
    return TD_OK;
}
