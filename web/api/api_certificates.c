/* /api/v1/certificates: every certificate there is, and its end: revocation, hold, release. */
#include "web/api/api_certificates.h"
#include "acme/ca/revoke.h"
#include "mdm/base/hex.h"
#include "mdm/base/limits.h"
#include "mdm/base/metrics.h"
#include "web/api/api_int.h"
#include "web/api/api_util.h"

#define SERIAL_MAX 20 /* octets, RFC 5280 section 4.1.2.2 */
#define PEM_MAX 65536

static enum td_err write_pem(struct json_w *w, struct span der, struct errinfo *ei)
{
    cert_auto *cert = NULL;
    buf_auto pem;
    buf_init(&pem, PEM_MAX);
    TD_TRY(cert_parse(der, &cert, ei));
    TD_TRY(cert_to_pem(cert, &pem));
    json_kv_span(w, "pem", buf_view(&pem));
    return TD_OK;
}

void api_held_by(struct json_w *w, unsigned holders)
{
    json_array_key(w, "held_by");
    for (enum ca_holder h = 0; h < CA_HOLDERS; h++)
        if (holders & 1U << h)
            json_v_str(w, ca_holder_name(h));
    json_array_end(w);
}

enum td_err api_certificate_write(struct json_w *w, const struct ca_record *r, bool pem,
                                  struct errinfo *ei)
{
    json_open(w);
    api_hex(w, "serial", r->serial);
    json_kv_str(w, "device", r->device_serial);
    json_kv_str(w, "status", ca_state_name(r->state));
    json_kv_str(w, "profile", r->profile);
    json_kv_str(w, "purpose", r->purpose);
    json_kv_time(w, "not_before", r->not_before);
    json_kv_time(w, "not_after", r->not_after);
    json_kv_time(w, "created_at", r->created_at);
    json_kv_time(w, "revoked_at", r->revoked ? r->revoked_at : 0);
    json_kv_str(w, "reason", r->revoked ? ca_reason_name(r->reason) : NULL);
    api_held_by(w, r->holders);
    json_kv_int(w, "rev", r->rev);
    api_hex(w, "issuer", SPAN_ARR(r->issuer));
    api_hex(w, "sha256", SPAN_ARR(r->sha256));
    json_kv_str(w, "evidence_id", r->evidence_id);
    if (pem)
        TD_TRY(write_pem(w, r->der, ei));
    json_close(w);
    return TD_OK;
}

/* Serial number octets from hexadecimal text, in the arena. */
static bool parse_serial(struct span text, struct arena *a, struct span *ret)
{
    if (text.n == 0 || text.n % 2 != 0 || text.n > 2 * SERIAL_MAX)
        return false;
    uint8_t *out = arena_alloc(a, text.n / 2);
    *ret = span_of(out, text.n / 2);
    return out && hex_dec(text, out, text.n / 2) == TD_OK;
}

/* --- lists ----------------------------------------------------------------------------------- */

struct list_job {
    struct ca_filter filter;
    struct arena *a;
    struct ca_record *list;
    size_t n;
};

static enum td_err list_tx(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct list_job *j = ctx;
    return ca_records_list(tx, &j->filter, j->a, &j->list, &j->n, ei);
}

/* ?device=, ?status=, and the page. */
static enum td_err filter_of(const struct req *r, struct ca_filter *f, struct errinfo *ei)
{
    bool found;
    struct api_page page;
    enum ca_state state;
    TD_TRY(api_page_get(r, &page, ei));
    *f = (struct ca_filter){.state = -1, .max = page.limit};
    if (page.after[0] && !parse_serial(span_str(page.after), r->arena, &f->after))
        return err_set(ei, TD_INVAL, "cursor is not one this server gave");
    struct span device = req_query(r, "device", &found);
    if (found && !inv_serial_valid(device))
        return err_reason(ei, TD_INVAL, "invalid-serial", "device is not a serial number");
    if (found && !(f->device_serial = arena_dup(r->arena, device)))
        return TD_NOMEM;
    struct span status = req_query(r, "status", &found);
    if (!found)
        return TD_OK;
    if (!ca_state_parse(status, &state))
        return err_set(ei, TD_INVAL, "status is good, revoked or held");
    f->state = (int)state;
    return TD_OK;
}

API_HANDLER(certificate_list)
{
    const struct api *api = req->ctx;
    struct list_job j = {.a = req->arena};
    TD_TRY(filter_of(req, &j.filter, ei));
    TD_TRY(store_read(api->store, list_tx, &j, ei));
    struct json_w w;
    json_w_init(&w, &resp->body);
    json_open(&w);
    json_array_key(&w, "certificates");
    for (size_t i = 0; i < j.n; i++)
        TD_TRY(api_certificate_write(&w, &j.list[i], false, ei));
    json_array_end(&w);
    bool full = j.n == j.filter.max;
    char *last = full ? hex_str(req->arena, j.list[j.n - 1].serial) : NULL;
    if (full && !last)
        return TD_NOMEM;
    TD_TRY(api_page_next(&w, req->arena, full, last));
    json_close(&w);
    return api_done(resp, 200);
}

/* --- one ------------------------------------------------------------------------------------- */

static enum td_err answer(const struct ca_one *j, struct resp *resp, struct errinfo *ei)
{
    TD_TRY(api_etag(resp, j->r->rev));
    struct json_w w;
    json_w_init(&w, &resp->body);
    TD_TRY(api_certificate_write(&w, j->r, true, ei));
    return api_done(resp, 200);
}

static enum td_err begin(const struct req *r, struct ca_one *j, struct errinfo *ei)
{
    *j = (struct ca_one){.a = r->arena, .r = arena_alloc(r->arena, sizeof *j->r)};
    if (!j->r)
        return TD_NOMEM;
    if (!parse_serial(r->params[0], r->arena, &j->serial))
        return err_set(ei, TD_INVAL, "not a certificate's serial number in hexadecimal");
    return TD_OK;
}

API_HANDLER(certificate_get)
{
    const struct api *api = req->ctx;
    struct ca_one j;
    TD_TRY(begin(req, &j, ei));
    TD_TRY(store_read(api->store, ca_one_job, &j, ei));
    return answer(&j, resp, ei);
}

static enum td_err fill_change(const struct req *r, struct ca_change *c, struct errinfo *ei)
{
    const struct api *api = r->ctx;
    char *txn = arena_alloc(r->arena, RNG_ID_SIZE);
    if (!txn)
        return TD_NOMEM;
    rng_id(api->rng, txn);
    c->txn = txn;
    c->actor = api_actor(r);
    c->now = clock_now(api->clock);
    return api_if_match(r, &c->if_match, ei);
}

static enum td_err change_one(const struct req *req, struct resp *resp, enum ca_act act, int reason,
                              struct errinfo *ei)
{
    const struct api *api = req->ctx;
    struct ca_one j;
    TD_TRY(begin(req, &j, ei));
    j.act = true;
    j.change.act = act;
    j.change.reason = reason;
    TD_TRY(fill_change(req, &j.change, ei));
    TD_TRY(store_write(api->store, ca_one_job, &j, ei));
    if (act == CA_ACT_REVOKE && j.changed)
        metrics_add(METRIC_CERTS_REVOKED, 1);
    return answer(&j, resp, ei);
}

API_HANDLER(certificate_revoke)
{
    static const char *const members[] = {"reason", NULL};
    struct json *body;
    const char *name = "unspecified";
    int reason;
    TD_TRY(api_body(req, members, &body, ei));
    TD_TRY(api_str(body, "reason", 64, &name, ei));
    TD_TRY(ca_reason_parse(span_str(name), &reason, ei));
    return change_one(req, resp, CA_ACT_REVOKE, reason, ei);
}

API_HANDLER(certificate_hold)
{
    TD_TRY(api_no_members(req, ei));
    return change_one(req, resp, CA_ACT_HOLD, 0, ei);
}

API_HANDLER(certificate_release)
{
    TD_TRY(api_no_members(req, ei));
    return change_one(req, resp, CA_ACT_RELEASE, 0, ei);
}

/* --- a device -------------------------------------------------------------------------------- */

struct device_job {
    const char *serial;
    bool hold;
    struct arena *a;
    struct ca_change change;
    int64_t n;
    unsigned held;
};

/* A device that left holds nothing that is good; its mark would stand for ever. */
static enum td_err device_tx(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct device_job *j = ctx;
    struct inv_device d;
    if (j->hold)
        TD_TRY(inv_get(tx, j->serial, j->a, &d, ei));
    TD_TRY(ca_hold_device(tx, j->serial, j->hold, &j->change, &j->n, ei));
    return ca_device_held(tx, j->serial, &j->held, ei);
}

static enum td_err hold_device(const struct req *req, struct resp *resp, bool hold,
                               struct errinfo *ei)
{
    const struct api *api = req->ctx;
    struct device_job j = {.hold = hold, .a = req->arena};
    TD_TRY(api_no_members(req, ei));
    TD_TRY(api_serial(req, &j.serial, ei));
    TD_TRY(fill_change(req, &j.change, ei));
    TD_TRY(store_write(api->store, device_tx, &j, ei));
    struct json_w w;
    json_w_init(&w, &resp->body);
    json_open(&w);
    json_kv_str(&w, "serial", j.serial);
    json_kv_bool(&w, "on_hold", j.held != 0);
    api_held_by(&w, j.held);
    json_kv_int(&w, "changed", j.n);
    json_close(&w);
    return api_done(resp, 200);
}

API_HANDLER(device_hold)
{
    return hold_device(req, resp, true, ei);
}

API_HANDLER(device_release)
{
    return hold_device(req, resp, false, ei);
}
