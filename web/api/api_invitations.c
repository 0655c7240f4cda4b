/* POST /api/v1/invitations: a single-use link, also as a QR code. */
#include "web/api/api_int.h"
#include "web/api/api_util.h"

#define TTL_MAX ((int64_t)90 * 86400)

API_HANDLER(invite)
{
    static const char *const members[] = {"serial", "ttl", NULL};
    struct api *api = req->ctx;
    struct json *body;
    const char *serial;
    int64_t ttl = 0;
    TD_TRY(api_body(req, members, &body, ei));
    if (json_get_str(body, "serial", &serial) != TD_OK || !inv_serial_valid(span_str(serial)))
        return err_set(ei, TD_INVAL, "serial must be a serial number");
    enum td_err e = json_get_int(body, "ttl", &ttl);
    if (e != TD_NOTFOUND && (e != TD_OK || ttl < 60 || ttl > TTL_MAX))
        return err_set(ei, TD_INVAL, "ttl must be 60 to %lld seconds", (long long)TTL_MAX);
    struct invitation inv;
    TD_TRY(enroll_invite(api->enroll, serial, ttl, api_actor(req), req->arena, &inv, ei));
    buf_auto svg;
    buf_init(&svg, 65536);
    TD_TRY(enroll_qr_svg(inv.url, &svg, ei));
    struct json_w w;
    json_w_init(&w, &resp->body);
    json_open(&w);
    json_kv_str(&w, "id", inv.id);
    json_kv_str(&w, "serial", serial);
    json_kv_str(&w, "url", inv.url);
    json_kv_time(&w, "expires_at", inv.expires_at);
    json_kv_span(&w, "qr_svg", buf_view(&svg));
    json_close(&w);
    return api_done(resp, 201);
}
