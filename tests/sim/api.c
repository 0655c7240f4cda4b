#include "tests/sim/api.h"

#include "mdm/wire/json.h"

enum { BODY_MAX = 65536, URL_MAX_BYTES = 1024 };

void api_init(struct api *a, SSL_CTX *tls, const char *base, const char *token, int timeout_ms)
{
    *a = (struct api){.base = base, .token = token};
    http_init(&a->http, tls, "testudo-sim/" TD_VERSION, timeout_ms);
}

void api_free(struct api *a)
{
    http_close(&a->http);
}

/* One call; a status that is not 2xx is TD_FORBIDDEN. *ret (may be NULL) is the answer's object. */
static enum td_err call(struct api *a, const char *step, const char *method, const char *path,
                        const struct buf *body, struct arena *mem, struct json **ret,
                        struct errinfo *ei)
{
    char url[URL_MAX_BYTES], auth[320];
    httpread_auto r = {0};
    size_t n = strlen(a->base);
    while (n && a->base[n - 1] == '/')
        n--;
    snprintf(url, sizeof(url), "%.*s%s", (int)n, a->base, path);
    snprintf(auth, sizeof(auth), "Bearer %s", a->token);
    struct http_req q = {.method = method,
                         .url = url,
                         .content_type = body ? "application/json" : NULL,
                         .header_name = "Authorization",
                         .header_value = auth,
                         .body = body ? buf_view(body) : (struct span){NULL, 0},
                         .has_body = body != NULL};
    enum td_err e = http_do(&a->http, &q, &r, ei);
    OPENSSL_cleanse(auth, sizeof(auth));
    if (e != TD_OK)
        return refusal_none(&a->why, step, e, ei);
    if (r.status / 100 != 2)
        return refusal_set(&a->why, step, &r, ei);
    if (ret && json_parse(buf_view(&r.body), mem, ret, ei) != TD_OK)
        return refusal_text(&a->why, step, r.status, "the answer is no JSON", ei);
    return TD_OK;
}

enum td_err api_put_device(struct api *a, const char *serial, const char *model, const char *name,
                           struct errinfo *ei)
{
    char path[256];
    struct json_w w;
    buf_auto b;
    buf_init(&b, BODY_MAX);
    json_w_init(&w, &b);
    json_open(&w);
    if (name)
        json_kv_str(&w, "name", name);
    if (model)
        json_kv_str(&w, "model", model);
    json_close(&w);
    snprintf(path, sizeof(path), "/api/v1/inventory/devices/%s", serial);
    return call(a, "api put device", "PUT", path, &b, NULL, NULL, ei);
}

enum td_err api_delete_device(struct api *a, const char *serial, struct errinfo *ei)
{
    char path[256];
    snprintf(path, sizeof(path), "/api/v1/inventory/devices/%s", serial);
    return call(a, "api delete device", "DELETE", path, NULL, NULL, NULL, ei);
}

enum td_err api_invite(struct api *a, const char *serial, struct arena *mem, const char **ret_url,
                       struct errinfo *ei)
{
    struct json_w w;
    struct json *o = NULL;
    buf_auto b;
    buf_init(&b, BODY_MAX);
    json_w_init(&w, &b);
    json_open(&w);
    json_kv_str(&w, "serial", serial);
    json_close(&w);
    TD_TRY(call(a, "api invite", "POST", "/api/v1/invitations", &b, mem, &o, ei));
    if (json_get_str(o, "url", ret_url) != TD_OK)
        return refusal_text(&a->why, "api invite", 201, "the answer has no url", ei);
    return TD_OK;
}

enum td_err api_command(struct api *a, const char *serial, struct arena *mem, const char **ret_uuid,
                        struct errinfo *ei)
{
    static const char text[] = "{\"request_type\":\"DeviceInformation\","
                               "\"queries\":[\"UDID\",\"OSVersion\",\"SerialNumber\"]}";
    char path[256];
    struct json *o = NULL;
    buf_auto b;
    buf_init(&b, BODY_MAX);
    TD_TRY(buf_str(&b, text));
    snprintf(path, sizeof(path), "/api/v1/devices/%s/commands", serial);
    TD_TRY(call(a, "api command", "POST", path, &b, mem, &o, ei));
    if (json_get_str(o, "uuid", ret_uuid) != TD_OK &&
        json_get_str(o, "command_uuid", ret_uuid) != TD_OK)
        return refusal_text(&a->why, "api command", 201, "the answer has no uuid", ei);
    return TD_OK;
}
