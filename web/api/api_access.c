/* /api/v1/devices/{serial}/profiles: the access identities a device is given. */
#include "acme/ca/renewal.h"
#include "mdm/base/metrics.h"
#include "profiles/enroll/push.h"
#include "web/api/api_int.h"
#include "web/api/api_util.h"

#define SSID_MAX 32 /* bytes, IEEE 802.11 */
#define SERVERS_MAX 512
#define CESSATION 5 /* CRLReason cessationOfOperation */

struct list_job {
    const char *serial;
    struct arena *a;
    struct enroll_access list[ENROLL_ACCESS_MAX];
    size_t n;
};

static enum td_err list_tx(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct list_job *j = ctx;
    return enroll_assigned(tx, j->serial, j->a, j->list, &j->n, ei);
}

API_HANDLER(access_list)
{
    struct api *api = req->ctx;
    struct list_job *j = arena_alloc(req->arena, sizeof *j);
    if (!j)
        return TD_NOMEM;
    *j = (struct list_job){.a = req->arena};
    TD_TRY(api_serial(req, &j->serial, ei));
    TD_TRY(store_read(api->store, list_tx, j, ei));
    struct json_w w;
    json_w_init(&w, &resp->body);
    json_open(&w);
    json_array_key(&w, "profiles");
    for (size_t i = 0; i < j->n; i++) {
        const struct enroll_access *x = &j->list[i];
        json_open(&w);
        json_kv_str(&w, "profile", x->profile);
        json_kv_str(&w, "wifi_ssid", *x->wifi_ssid ? x->wifi_ssid : NULL);
        json_kv_str(&w, "created_by", x->created_by);
        json_kv_time(&w, "created_at", x->created_at);
        json_close(&w);
    }
    json_array_end(&w);
    json_close(&w);
    return api_done(resp, 200);
}

/* "wifi": {"ssid", "server_names": [...]}: a network payload beside the identity. */
static enum td_err read_wifi(const struct req *req, const struct json *body,
                             struct enroll_access *x, struct errinfo *ei)
{
    static const char *const members[] = {"ssid", "server_names", NULL};
    const struct json *wifi = json_member(body, "wifi");
    if (!wifi)
        return TD_OK;
    TD_TRY(json_only(wifi, members, ei));
    TD_TRY(api_str(wifi, "ssid", SSID_MAX, &x->wifi_ssid, ei));
    if (!*x->wifi_ssid)
        return err_set(ei, TD_INVAL, "wifi.ssid: a network has a name");
    const struct json *names = json_member(wifi, "server_names");
    buf_auto b;
    buf_init(&b, SERVERS_MAX);
    if (names && json_kind(names) != JSON_K_ARRAY)
        return err_set(ei, TD_INVAL, "wifi.server_names: an array of texts");
    for (size_t i = 0; i < json_size(names); i++) {
        const char *s = json_str(json_element(names, i));
        if (!s || !*s || strchr(s, ' '))
            return err_set(ei, TD_INVAL, "wifi.server_names: an array of host names");
        if (b.n > 0)
            buf_u8(&b, ' ');
        buf_str(&b, s);
    }
    if (b.err != TD_OK)
        return err_set(ei, TD_INVAL, "wifi.server_names: too many");
    x->wifi_servers = arena_dup(req->arena, buf_view(&b));
    return x->wifi_servers ? TD_OK : TD_NOMEM;
}

API_HANDLER(access_assign)
{
    static const char *const members[] = {"profile", "wifi", NULL};
    struct api *api = req->ctx;
    struct enroll_access x = {.profile = "access", .wifi_ssid = "", .wifi_servers = ""};
    const char *serial;
    struct json *body;
    char uuid[UUID_SIZE];
    TD_TRY(api_serial(req, &serial, ei));
    TD_TRY(api_body(req, members, &body, ei));
    TD_TRY(api_str(body, "profile", PROFILE_NAME_MAX, &x.profile, ei));
    TD_TRY(read_wifi(req, body, &x, ei));
    TD_TRY(enroll_assign(api->enroll, api->core, serial, &x, api_actor(req), uuid, ei));
    char *where = arena_printf(req->arena, "/api/v1/devices/%s/commands/%s", serial, uuid);
    if (!where)
        return TD_NOMEM;
    TD_TRY(resp_header(resp, "Location", where));
    struct json_w w;
    json_w_init(&w, &resp->body);
    json_open(&w);
    json_kv_str(&w, "profile", x.profile);
    json_kv_str(&w, "command", uuid);
    json_close(&w);
    return api_done(resp, 201);
}

struct end_job {
    const char *serial, *profile, *actor;
    int64_t now, count;
};

static enum td_err end_tx(struct tx *tx, void *ctx, const char *txn, struct errinfo *ei)
{
    struct end_job *j = ctx;
    const struct ca_change why = {
        .reason = CESSATION, .now = j->now, .actor = j->actor, .txn = txn};
    return ca_renewal_end(tx, j->serial, j->profile, &why, &j->count, ei);
}

API_HANDLER(access_remove)
{
    struct api *api = req->ctx;
    struct end_job j = {.now = clock_now(api->clock), .actor = api_actor(req)};
    TD_TRY(api_serial(req, &j.serial, ei));
    j.profile = arena_dup(req->arena, req->params[1]);
    if (!j.profile)
        return TD_NOMEM;
    TD_TRY(enroll_unassign(api->enroll, api->core, j.serial, j.profile, api_actor(req), end_tx, &j,
                           ei));
    metrics_add(METRIC_CERTS_REVOKED, j.count);
    resp->status = 204;
    return TD_OK;
}
