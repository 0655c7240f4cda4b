/* /api/v1/devices: what a device is, holds, proved and tried. */
#include "mdm/base/limits.h"
#include "mdm/store/attempts.h"
#include "web/api/api_certificates.h"
#include "web/api/api_int.h"
#include "web/api/api_sql.h"
#include "web/api/api_util.h"

static void write_enrollment(struct json_w *w, const struct core_enrollment *e)
{
    json_kv_str(w, "udid", e->id);
    json_kv_str(w, "state", e->state);
    json_kv_str(w, "device_name", e->device_name);
    json_kv_str(w, "model", e->model);
    json_kv_str(w, "product", e->product);
    json_kv_str(w, "os_version", e->os_version);
    json_kv_str(w, "build", e->build);
    json_kv_bool(w, "pushable", e->pushable);
    json_kv_time(w, "authenticated_at", e->authenticated_at);
    json_kv_time(w, "enrolled_at", e->enrolled_at);
    json_kv_time(w, "left_at", e->left_at);
    json_kv_time(w, "last_seen_at", e->last_seen_at);
    json_kv_int(w, "queued", e->queued);
}

static enum td_err read_page(struct tx *tx, const struct api_page *page, struct arena *a,
                             void **ret_rows, size_t *ret_n, struct errinfo *ei)
{
    struct core_enrollment *list = NULL;
    TD_TRY(core_enrollment_list(tx, page->after, page->limit, a, &list, ret_n, ei));
    *ret_rows = list;
    return TD_OK;
}

static const char *row_key(const void *row)
{
    return ((const struct core_enrollment *)row)->serial;
}

static void write_row(struct json_w *w, const void *row)
{
    json_open(w);
    json_kv_str(w, "serial", row_key(row));
    write_enrollment(w, row);
    json_close(w);
}

API_HANDLER(device_list)
{
    static const struct api_list list = {"devices", sizeof(struct core_enrollment), read_page,
                                         write_row, row_key};
    return api_list_answer(req, resp, &list, ei);
}

struct get_job {
    const char *serial;
    struct arena *a;
    struct inv_device device;
    struct core_enrollment enrollment;
    bool listed, enrolled;
    unsigned held;
};

static enum td_err get_tx(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct get_job *j = ctx;
    enum td_err e = inv_get(tx, j->serial, j->a, &j->device, ei);
    if (e != TD_OK && e != TD_NOTFOUND)
        return e;
    j->listed = e == TD_OK;
    e = core_enrollment_get(tx, j->serial, j->a, &j->enrollment, ei);
    if (e != TD_OK && e != TD_NOTFOUND)
        return e;
    j->enrolled = e == TD_OK;
    TD_TRY(ca_device_held(tx, j->serial, &j->held, ei));
    return j->listed || j->enrolled
               ? TD_OK
               : err_set(ei, TD_NOTFOUND, "not in the inventory and never enrolled");
}

API_HANDLER(device_get)
{
    struct api *api = req->ctx;
    struct get_job j = {.a = req->arena};
    TD_TRY(api_serial(req, &j.serial, ei));
    TD_TRY(store_read(api->store, get_tx, &j, ei));
    struct json_w w;
    json_w_init(&w, &resp->body);
    json_open(&w);
    json_kv_str(&w, "serial", j.serial);
    json_kv_bool(&w, "listed", j.listed);
    json_kv_bool(&w, "on_hold", j.held != 0);
    api_held_by(&w, j.held);
    json_kv_str(&w, "name", j.listed ? j.device.name : NULL);
    json_kv_str(&w, "owner", j.listed ? j.device.owner : NULL);
    if (j.enrolled) {
        json_open_key(&w, "enrollment");
        write_enrollment(&w, &j.enrollment);
        json_close(&w);
    } else {
        json_kv_str(&w, "enrollment", NULL);
    }
    json_close(&w);
    return api_done(resp, 200);
}

struct certs_job {
    const char *serial;
    struct arena *a;
    struct ca_record *list;
    size_t n;
};

static enum td_err certs_tx(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct certs_job *j = ctx;
    return ca_records_of(tx, j->serial, LIMIT_PAGE_MAX, j->a, &j->list, &j->n, ei);
}

API_HANDLER(device_certificates)
{
    struct api *api = req->ctx;
    struct certs_job j = {.a = req->arena};
    TD_TRY(api_serial(req, &j.serial, ei));
    TD_TRY(store_read(api->store, certs_tx, &j, ei));
    struct json_w w;
    json_w_init(&w, &resp->body);
    json_open(&w);
    json_array_key(&w, "certificates");
    for (size_t i = 0; i < j.n; i++)
        TD_TRY(api_certificate_write(&w, &j.list[i], true, ei));
    json_array_end(&w);
    json_close(&w);
    return api_done(resp, 200);
}

struct evidence_job {
    const char *serial;
    struct json_w *w;
};

static enum td_err evidence_tx(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct evidence_job *j = ctx;
    struct cur c;
    enum td_err e;
    api_restart(j->w, "evidence");
    TD_TRY(tx_query(tx, &api_stmts.stmts[API_ST_EVIDENCE],
                    SV_LIST(SV_TEXT(j->serial), SV_INT(LIMIT_PAGE_MAX)), &c, ei));
    while ((e = cur_next(&c, ei)) == TD_OK) {
        json_open(j->w);
        json_kv_span(j->w, "id", cur_span(&c, 0));
        json_kv_span(j->w, "format", cur_span(&c, 1));
        json_kv_raw(j->w, "facts", cur_span(&c, 2));
        api_hex(j->w, "sha256", cur_span(&c, 3));
        json_kv_time(j->w, "created_at", cur_int(&c, 4));
        json_close(j->w);
    }
    return e == TD_NOTFOUND ? TD_OK : e;
}

API_HANDLER(device_evidence)
{
    struct api *api = req->ctx;
    struct json_w w;
    struct evidence_job j = {.w = &w};
    TD_TRY(api_serial(req, &j.serial, ei));
    json_w_init(&w, &resp->body);
    TD_TRY(store_read(api->store, evidence_tx, &j, ei));
    json_array_end(&w);
    json_close(&w);
    return api_done(resp, 200);
}

struct attempts_job {
    const char *serial; /* NULL: all */
    size_t limit;
    int64_t before;
    struct arena *a;
    struct attempt *list;
    size_t n;
};

static enum td_err attempts_tx(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct attempts_job *j = ctx;
    return attempt_list(tx, j->serial, j->before, j->limit, j->a, &j->list, &j->n, ei);
}

static enum td_err list_attempts(const struct req *req, struct resp *resp, const char *serial,
                                 struct errinfo *ei)
{
    struct api *api = req->ctx;
    struct attempts_job j = {.serial = serial, .a = req->arena};
    TD_TRY(api_page_num(req, &j.limit, &j.before, ei));
    TD_TRY(store_read(api->store, attempts_tx, &j, ei));
    struct json_w w;
    json_w_init(&w, &resp->body);
    json_open(&w);
    json_array_key(&w, "attempts");
    for (size_t i = 0; i < j.n; i++) {
        const struct attempt *t = &j.list[i];
        json_open(&w);
        json_kv_int(&w, "id", t->id);
        json_kv_str(&w, "serial", t->serial);
        json_kv_time(&w, "at", t->at);
        json_kv_str(&w, "source", t->source);
        json_kv_str(&w, "outcome", t->outcome);
        json_kv_str(&w, "reason", t->reason);
        json_kv_str(&w, "detail", t->detail);
        json_kv_str(&w, "device_error", t->device_error);
        json_kv_str(&w, "order", t->order_id);
        json_kv_str(&w, "peer", t->peer);
        json_close(&w);
    }
    json_array_end(&w);
    bool full = j.n == j.limit;
    TD_TRY(api_page_next_num(&w, req->arena, full, full ? j.list[j.n - 1].id : 0));
    json_close(&w);
    return api_done(resp, 200);
}

API_HANDLER(device_attempts)
{
    const char *serial;
    TD_TRY(api_serial(req, &serial, ei));
    return list_attempts(req, resp, serial, ei);
}

API_HANDLER(attempts)
{
    return list_attempts(req, resp, NULL, ei);
}
