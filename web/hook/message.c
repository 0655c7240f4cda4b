#include "web/hook/message.h"

#include "mdm/base/b64.h"
#include "mdm/crypt/mac.h"
#include "mdm/wire/json.h"

static void put(struct json_w *w, const char *key, const char *text)
{
    json_kv_str(w, key, text[0] ? text : NULL);
}

enum td_err hook_body(const struct hook_event *ev, struct buf *b)
{
    struct json_w w;
    json_w_init(&w, b);
    json_open(&w);
    json_kv_str(&w, "id", ev->id);
    json_kv_str(&w, "type", ev->type);
    json_kv_time(&w, "time", ev->at);
    json_kv_str(&w, "txn", ev->txn);
    put(&w, "actor", ev->actor);
    put(&w, "device", ev->device);
    put(&w, "certificate", ev->certificate);
    json_kv_raw(&w, "data", span_str(ev->data));
    json_close(&w);
    return b->err;
}

enum td_err hook_sign(struct span secret, const char *id, int64_t timestamp, struct span body,
                      struct buf *b, struct errinfo *ei)
{
    uint8_t mac[SHA256_SIZE];
    buf_auto signed_bytes;
    buf_init(&signed_bytes, HOOK_BODY_MAX + 256);
    buf_printf(&signed_bytes, "%s.%lld.", id, (long long)timestamp);
    if (buf_span(&signed_bytes, body) != TD_OK)
        return err_set(ei, signed_bytes.err, "an event is too large to be signed");
    TD_TRY(mac_hmac_sha256(secret, buf_view(&signed_bytes), mac, ei));
    buf_str(b, "v1,");
    return b64_enc(b, SPAN_ARR(mac));
}

enum td_err hook_secret_text(const uint8_t secret[static HOOK_SECRET],
                             char out[static HOOK_SECRET_TEXT])
{
    buf_auto b; /* wiped as it is freed */
    buf_init(&b, HOOK_SECRET_TEXT);
    buf_str(&b, "whsec_");
    TD_TRY(b64_enc(&b, span_of(secret, HOOK_SECRET)));
    if (b.n != HOOK_SECRET_TEXT - 1)
        return TD_INTERNAL;
    memcpy(out, b.p, b.n);
    out[b.n] = 0;
    return TD_OK;
}
