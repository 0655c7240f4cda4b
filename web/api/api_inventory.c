/* /api/v1/inventory: what HR and identity systems keep up to date. */
#include <stdio.h>

#include "mdm/base/limits.h"
#include "mdm/base/num.h"
#include "web/api/api_int.h"
#include "web/api/api_util.h"

static void write_device(struct json_w *w, const void *row)
{
    const struct inv_device *d = row;
    json_open(w);
    json_kv_str(w, "serial", d->serial);
    json_kv_str(w, "name", d->name);
    json_kv_str(w, "model", d->model);
    json_kv_str(w, "owner", d->owner);
    json_array_key(w, "groups");
    struct span rest = span_str(d->groups), one;
    while ((one = inv_groups_next(&rest)).n > 0) {
        char group[INV_GROUP_MAX + 1];
        snprintf(group, sizeof group, "%.*s", (int)one.n, (const char *)one.p);
        json_v_str(w, group);
    }
    json_array_end(w);
    json_kv_str(w, "source", d->source);
    json_kv_int(w, "rev", d->rev);
    json_kv_time(w, "created_at", d->created_at);
    json_kv_time(w, "updated_at", d->updated_at);
    json_close(w);
}

struct get_job {
    const char *serial;
    struct arena *a;
    struct inv_device d;
};

static enum td_err get_tx(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct get_job *j = ctx;
    return inv_get(tx, j->serial, j->a, &j->d, ei);
}

API_HANDLER(inventory_get)
{
    struct api *api = req->ctx;
    struct get_job j = {.a = req->arena};
    TD_TRY(api_serial(req, &j.serial, ei));
    TD_TRY(store_read(api->store, get_tx, &j, ei));
    TD_TRY(api_etag(resp, j.d.rev));
    struct json_w w;
    json_w_init(&w, &resp->body);
    write_device(&w, &j.d);
    return api_done(resp, 200);
}

/* "groups": an array of words; absent, the device keeps those it has. */
static enum td_err read_groups(const struct req *req, const struct json *body, const char **ret,
                               struct errinfo *ei)
{
    const struct json *list = json_member(body, "groups");
    buf_auto b;
    buf_init(&b, (size_t)2 * INV_GROUPS_TEXT);
    *ret = NULL;
    if (!list)
        return TD_OK;
    if (json_kind(list) != JSON_K_ARRAY)
        return err_set(ei, TD_INVAL, "groups: an array of texts");
    for (size_t i = 0; i < json_size(list); i++) {
        const char *s = json_str(json_element(list, i));
        if (!s || !*s || strpbrk(s, " \t|"))
            return err_reason(ei, TD_INVAL, "invalid-group", "groups: an array of words");
        buf_str(&b, s);
        buf_u8(&b, ' ');
    }
    *ret = b.err == TD_OK ? arena_dup(req->arena, buf_view(&b)) : NULL;
    return *ret ? TD_OK : err_reason(ei, TD_INVAL, "invalid-group", "groups: too many");
}

API_HANDLER(inventory_put)
{
    static const char *const members[] = {"name", "model", "owner", "serial", "groups", NULL};
    struct api *api = req->ctx;
    struct inv_device d = {.name = "", .model = "", .owner = "", .source = "api"};
    const char *named = NULL;
    struct json *body;
    int64_t if_match, rev;
    bool created;
    TD_TRY(api_serial(req, &d.serial, ei));
    TD_TRY(api_preconditions(req, &if_match, ei));
    TD_TRY(api_body(req, members, &body, ei));
    TD_TRY(api_str(body, "name", INV_TEXT_MAX, &d.name, ei));
    TD_TRY(api_str(body, "model", INV_TEXT_MAX, &d.model, ei));
    TD_TRY(api_str(body, "owner", INV_TEXT_MAX, &d.owner, ei));
    TD_TRY(api_str(body, "serial", LIMIT_SERIAL, &named, ei));
    TD_TRY(read_groups(req, body, &d.groups, ei));
    if (named && strcmp(named, d.serial) != 0)
        return err_set(ei, TD_INVAL, "serial differs from the address");
    TD_TRY(inv_put(api->inventory, &d, if_match, api_actor(req), &rev, &created, ei));
    struct get_job j = {.serial = d.serial, .a = req->arena};
    TD_TRY(store_read(api->store, get_tx, &j, ei));
    TD_TRY(api_etag(resp, j.d.rev));
    struct json_w w;
    json_w_init(&w, &resp->body);
    write_device(&w, &j.d);
    return api_done(resp, created ? 201 : 200);
}

API_HANDLER(inventory_delete)
{
    struct api *api = req->ctx;
    const char *serial;
    int64_t if_match;
    TD_TRY(api_serial(req, &serial, ei));
    TD_TRY(api_preconditions(req, &if_match, ei));
    TD_TRY(inv_delete(api->inventory, serial, if_match, api_actor(req), ei));
    core_wake(api->core); /* the push that fetches the device for its removal */
    resp->status = 204;
    return TD_OK;
}

static enum td_err read_page(struct tx *tx, const struct api_page *page, struct arena *a,
                             void **ret_rows, size_t *ret_n, struct errinfo *ei)
{
    struct inv_device *list = NULL;
    TD_TRY(inv_list(tx, page->after, page->limit, a, &list, ret_n, ei));
    *ret_rows = list;
    return TD_OK;
}

static const char *row_key(const void *row)
{
    return ((const struct inv_device *)row)->serial;
}

API_HANDLER(inventory_list)
{
    static const struct api_list list = {"devices", sizeof(struct inv_device), read_page,
                                         write_device, row_key};
    return api_list_answer(req, resp, &list, ei);
}

API_HANDLER(inventory_import)
{
    struct api *api = req->ctx;
    if (!span_eq_str(req->content_type, "text/csv"))
        return err_set(ei, TD_MEDIA, "the body must be text/csv");
    struct inv_import done;
    TD_TRY(inv_import_csv(api->inventory, req->body, "csv", api_actor(req), &done, ei));
    struct json_w w;
    json_w_init(&w, &resp->body);
    json_open(&w);
    json_kv_int(&w, "created", (int64_t)done.created);
    json_kv_int(&w, "changed", (int64_t)done.changed);
    json_kv_int(&w, "unchanged", (int64_t)done.unchanged);
    json_close(&w);
    return api_done(resp, 200);
}
