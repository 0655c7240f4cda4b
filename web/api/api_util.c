#include "web/api/api_util.h"

#include "mdm/base/b64.h"
#include "mdm/base/hex.h"
#include "mdm/base/limits.h"
#include "mdm/base/num.h"

static enum td_err page_limit(const struct req *r, size_t *ret, struct errinfo *ei)
{
    bool found;
    struct span text = req_query(r, "limit", &found);
    uint64_t limit = API_PAGE;
    if (found && (num_u64(text, LIMIT_PAGE_MAX, &limit) != TD_OK || limit == 0))
        return err_set(ei, TD_INVAL, "limit must be 1 to %d", LIMIT_PAGE_MAX);
    *ret = (size_t)limit;
    return TD_OK;
}

static enum td_err cursor(const struct req *r, struct span *ret, struct errinfo *ei)
{
    bool found;
    struct span text = req_query(r, "cursor", &found);
    *ret = (struct span){NULL, 0};
    if (!found)
        return TD_OK;
    if (text.n == 0 || text.n > 256 || b64url_dec(r->arena, text, ret) != TD_OK || ret->n == 0 ||
        memchr(ret->p, 0, ret->n))
        return err_set(ei, TD_INVAL, "cursor is not one this server gave");
    return TD_OK;
}

enum td_err api_page_get(const struct req *r, struct api_page *ret, struct errinfo *ei)
{
    struct span key;
    TD_TRY(page_limit(r, &ret->limit, ei));
    TD_TRY(cursor(r, &key, ei));
    ret->after = arena_dup(r->arena, key);
    return ret->after ? TD_OK : TD_NOMEM;
}

enum td_err api_page_num(const struct req *r, size_t *ret_limit, int64_t *ret_before,
                         struct errinfo *ei)
{
    struct span key;
    uint64_t before = INT64_MAX;
    TD_TRY(page_limit(r, ret_limit, ei));
    TD_TRY(cursor(r, &key, ei));
    if (key.n && num_u64(key, INT64_MAX, &before) != TD_OK)
        return err_set(ei, TD_INVAL, "cursor is not one this server gave");
    *ret_before = (int64_t)before;
    return TD_OK;
}

enum td_err api_page_next(struct json_w *w, struct arena *a, bool full, const char *key)
{
    char *text = full ? b64url_str(a, span_str(key)) : NULL;
    if (full && !text)
        return TD_NOMEM;
    json_kv_str(w, "next_cursor", text);
    return TD_OK;
}

enum td_err api_page_next_num(struct json_w *w, struct arena *a, bool full, int64_t key)
{
    char *text = arena_printf(a, "%lld", (long long)key);
    return text ? api_page_next(w, a, full, text) : TD_NOMEM;
}

struct list_job {
    const struct api_list *l;
    struct api_page page;
    struct arena *a;
    void *rows;
    size_t n;
};

static enum td_err list_tx(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct list_job *j = ctx;
    return j->l->read(tx, &j->page, j->a, &j->rows, &j->n, ei);
}

enum td_err api_list_answer(const struct req *req, struct resp *resp, const struct api_list *l,
                            struct errinfo *ei)
{
    const struct api *api = req->ctx;
    struct list_job j = {.l = l, .a = req->arena};
    TD_TRY(api_page_get(req, &j.page, ei));
    j.page.api = api;
    TD_TRY(store_read(api->store, list_tx, &j, ei));
    const uint8_t *row = j.rows;
    const char *last = "";
    struct json_w w;
    json_w_init(&w, &resp->body);
    json_open(&w);
    json_array_key(&w, l->name);
    for (size_t i = 0; i < j.n; i++, row += l->row_size) {
        l->write(&w, row);
        last = l->key(row);
    }
    json_array_end(&w);
    TD_TRY(api_page_next(&w, req->arena, j.n == j.page.limit, last));
    json_close(&w);
    return api_done(resp, 200);
}

enum td_err api_serial(const struct req *r, const char **ret, struct errinfo *ei)
{
    if (!inv_serial_valid(r->params[0]))
        return err_set(ei, TD_INVAL, "not a serial number");
    *ret = arena_dup(r->arena, r->params[0]);
    return *ret ? TD_OK : TD_NOMEM;
}

enum td_err api_body(const struct req *r, const char *const *names, struct json **ret,
                     struct errinfo *ei)
{
    if (!span_eq_str(r->content_type, API_JSON))
        return err_set(ei, TD_MEDIA, "the body must be " API_JSON);
    struct json *body;
    TD_TRY(json_parse(r->body, r->arena, &body, ei));
    if (json_kind(body) != JSON_K_OBJECT)
        return err_set(ei, TD_PARSE, "the body must be a JSON object");
    if (names)
        TD_TRY(json_only(body, names, ei));
    *ret = body;
    return TD_OK;
}

enum td_err api_str(const struct json *body, const char *name, size_t max, const char **ret,
                    struct errinfo *ei)
{
    const char *s;
    enum td_err e = json_get_str(body, name, &s);
    if (e == TD_NOTFOUND)
        return TD_OK;
    if (e != TD_OK)
        return err_set(ei, TD_INVAL, "%s must be a string", name);
    if (strlen(s) > max)
        return err_set(ei, TD_INVAL, "%s is longer than %zu bytes", name, max);
    *ret = s;
    return TD_OK;
}

enum td_err api_if_match(const struct req *r, int64_t *ret, struct errinfo *ei)
{
    bool found;
    uint64_t rev;
    struct span m = req_header(r, "If-Match", &found);
    *ret = -1;
    if (!found || span_eq_str(m, "*"))
        return TD_OK;
    if (m.n < 3 || m.p[0] != '"' || m.p[m.n - 1] != '"' ||
        num_u64(span_sub(m, 1, m.n - 2), INT64_MAX, &rev) != TD_OK)
        return err_set(ei, TD_INVAL, "If-Match is not an ETag of this server");
    *ret = (int64_t)rev;
    return TD_OK;
}

/* If-Match: "rev" or *, If-None-Match: *; *ret as inv_put's if_match. */
enum td_err api_preconditions(const struct req *r, int64_t *ret, struct errinfo *ei)
{
    bool match, none;
    struct span m = req_header(r, "If-Match", &match);
    struct span n = req_header(r, "If-None-Match", &none);
    uint64_t rev;
    *ret = -1;
    if (none) {
        if (match || !span_eq_str(n, "*"))
            return err_set(ei, TD_INVAL, "If-None-Match takes * alone here");
        *ret = 0;
    } else if (match && span_eq_str(m, "*")) {
        *ret = INV_IF_LISTED; /* RFC 9110 section 13.1.1: a device that left does not come back */
    } else if (match) {
        if (m.n < 3 || m.p[0] != '"' || m.p[m.n - 1] != '"' ||
            num_u64(span_sub(m, 1, m.n - 2), INT64_MAX, &rev) != TD_OK || rev == 0)
            return err_set(ei, TD_INVAL, "If-Match is not an ETag of this server");
        *ret = (int64_t)rev;
    }
    return TD_OK;
}

enum td_err api_no_members(const struct req *r, struct errinfo *ei)
{
    static const char *const none[] = {NULL};
    struct json *body;
    return r->body.n ? api_body(r, none, &body, ei) : TD_OK;
}

enum td_err api_etag(struct resp *resp, int64_t rev)
{
    char *text = arena_printf(resp->arena, "\"%lld\"", (long long)rev);
    return text ? resp_header(resp, "ETag", text) : TD_NOMEM;
}

void api_restart(struct json_w *w, const char *key)
{
    buf_reset(w->b);
    json_w_init(w, w->b);
    json_open(w);
    json_array_key(w, key);
}

enum td_err api_done(struct resp *resp, int status)
{
    resp->status = status;
    resp->content_type = API_JSON;
    return resp->body.err;
}

void api_hex(struct json_w *w, const char *key, struct span bytes)
{
    char text[2 * 64 + 1];
    hex_enc(span_sub(bytes, 0, 64), text);
    json_kv_str(w, key, text);
}

const char *api_actor(const struct req *r)
{
    const char *actor =
        arena_printf(r->arena, "token:%s", r->principal.name ? r->principal.name : "");
    return actor ? actor : "token";
}
