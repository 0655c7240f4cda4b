/* /api/v1/devices/{serial}/commands: queueing and what came of it. */
#include "mdm/base/b64.h"
#include "mdm/base/uuid.h"
#include "mdm/core/command.h"
#include "web/api/api_int.h"
#include "web/api/api_util.h"

static void write_command(struct json_w *w, const struct core_command *c)
{
    json_kv_str(w, "uuid", c->uuid);
    json_kv_str(w, "request_type", c->request_type);
    json_kv_str(w, "state", c->state);
    json_kv_str(w, "status", c->status);
    json_kv_int(w, "notnow_count", c->notnow_count);
    json_kv_str(w, "created_by", c->created_by);
    json_kv_time(w, "created_at", c->created_at);
    json_kv_time(w, "sent_at", c->sent_at);
    json_kv_time(w, "done_at", c->done_at);
}

/* The Command dict from typed JSON or a raw plist; *ret_uuid NULL when the body names none. */
static enum td_err read_command(const struct req *req, struct plist **ret, const char **ret_uuid,
                                struct errinfo *ei)
{
    static const char *const raw[] = {"application/xml", "text/xml", "application/x-plist",
                                      "application/x-apple-plist"};
    *ret_uuid = NULL;
    for (size_t i = 0; i < TD_NITEMS(raw); i++)
        if (span_eq_str(req->content_type, raw[i]))
            return command_from_plist(req->body, req->arena, ret, ret_uuid, ei);
    if (!span_eq_str(req->content_type, API_JSON))
        return err_set(ei, TD_MEDIA, "the body must be " API_JSON " or application/xml");
    struct json *body;
    TD_TRY(json_parse(req->body, req->arena, &body, ei));
    return command_from_json(body, req->arena, ret, ei);
}

API_HANDLER(command_add)
{
    struct api *api = req->ctx;
    const char *serial, *named;
    struct plist *command;
    char uuid[UUID_SIZE];
    TD_TRY(api_serial(req, &serial, ei));
    TD_TRY(read_command(req, &command, &named, ei));
    TD_TRY(core_enqueue(api->core, serial, command, named, api_actor(req), uuid, ei));
    char *where = arena_printf(req->arena, "/api/v1/devices/%s/commands/%s", serial, uuid);
    if (!where)
        return TD_NOMEM;
    TD_TRY(resp_header(resp, "Location", where));
    struct json_w w;
    json_w_init(&w, &resp->body);
    json_open(&w);
    json_kv_str(&w, "uuid", uuid);
    json_kv_str(&w, "state", "queued");
    json_close(&w);
    return api_done(resp, 201);
}

struct list_job {
    const char *serial;
    size_t limit;
    int64_t before;
    struct arena *a;
    struct core_command *list;
    size_t n;
};

static enum td_err list_tx(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct list_job *j = ctx;
    return core_command_list(tx, j->serial, j->before, j->limit, j->a, &j->list, &j->n, ei);
}

API_HANDLER(command_list)
{
    struct api *api = req->ctx;
    struct list_job j = {.a = req->arena};
    TD_TRY(api_serial(req, &j.serial, ei));
    TD_TRY(api_page_num(req, &j.limit, &j.before, ei));
    TD_TRY(store_read(api->store, list_tx, &j, ei));
    struct json_w w;
    json_w_init(&w, &resp->body);
    json_open(&w);
    json_array_key(&w, "commands");
    for (size_t i = 0; i < j.n; i++) {
        json_open(&w);
        write_command(&w, &j.list[i]);
        json_close(&w);
    }
    json_array_end(&w);
    bool full = j.n == j.limit;
    TD_TRY(api_page_next_num(&w, req->arena, full, full ? j.list[j.n - 1].seq : 0));
    json_close(&w);
    return api_done(resp, 200);
}

struct get_job {
    const char *serial, *uuid;
    struct arena *a;
    struct core_command command;
};

static enum td_err get_tx(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct get_job *j = ctx;
    return core_command_get(tx, j->serial, j->uuid, j->a, &j->command, ei);
}

/* The device's report: as JSON where it can be decoded, and its bytes when asked for. */
static enum td_err write_result(const struct req *req, struct json_w *w, struct span result)
{
    struct plist *report;
    if (result.n && plist_parse(result, req->arena, &report, NULL) == TD_OK) {
        buf_auto text;
        buf_init(&text, w->b->max);
        TD_TRY(plist_json(report, &text));
        json_kv_raw(w, "result", buf_view(&text));
    } else {
        json_kv_str(w, "result", NULL);
    }
    bool raw;
    (void)req_query(req, "raw", &raw);
    if (raw) {
        buf_auto text;
        buf_init(&text, w->b->max);
        TD_TRY(b64_enc(&text, result));
        json_kv_span(w, "result_raw", buf_view(&text));
    }
    return TD_OK;
}

API_HANDLER(command_get)
{
    struct api *api = req->ctx;
    struct get_job j = {.a = req->arena};
    TD_TRY(api_serial(req, &j.serial, ei));
    j.uuid = arena_dup(req->arena, req->params[1]);
    if (!j.uuid)
        return TD_NOMEM;
    TD_TRY(store_read(api->store, get_tx, &j, ei));
    struct json_w w;
    json_w_init(&w, &resp->body);
    json_open(&w);
    write_command(&w, &j.command);
    TD_TRY(write_result(req, &w, j.command.result));
    json_close(&w);
    return api_done(resp, 200);
}
