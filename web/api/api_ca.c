/* GET /api/v1/ca and /api/v1/audit: whom we are, whom we believe, what was done. */
#include "web/api/api_int.h"
#include "web/api/api_sql.h"
#include "web/api/api_util.h"

static enum td_err write_ca(struct json_w *w, const char *key, const struct cert *c,
                            struct arena *a)
{
    uint8_t sha256[SHA256_SIZE], id[CERT_SKI_SIZE];
    char *subject = cert_subject_text(c, a);
    buf_auto pem;
    buf_init(&pem, 65536);
    if (!subject)
        return TD_NOMEM;
    TD_TRY(cert_to_pem(c, &pem));
    cert_sha256(c, sha256);
    if (key)
        json_open_key(w, key);
    else
        json_open(w);
    if (cert_ski(c, id))
        api_hex(w, "id", SPAN_ARR(id));
    json_kv_str(w, "subject", subject);
    json_kv_time(w, "not_before", cert_not_before(c));
    json_kv_time(w, "not_after", cert_not_after(c));
    api_hex(w, "sha256", SPAN_ARR(sha256));
    json_kv_span(w, "pem", buf_view(&pem));
    json_close(w);
    return TD_OK;
}

API_HANDLER(ca)
{
    struct api *api = req->ctx;
    struct json_w w;
    (void)ei;
    json_w_init(&w, &resp->body);
    json_open(&w);
    TD_TRY(write_ca(&w, "root", ca_root(api->ca), req->arena));
    TD_TRY(write_ca(&w, "issuing", ca_issuing(api->ca), req->arena));
    json_array_key(&w, "issuing_cas");
    for (size_t i = 0; i < ca_issuing_n(api->ca); i++)
        TD_TRY(write_ca(&w, NULL, ca_issuing_at(api->ca, i), req->arena));
    json_array_end(&w);
    json_array_key(&w, "attestation_roots");
    const char *subject, *sha256;
    bool pinned;
    for (size_t i = 0; attest_roots_at(api->roots, i, &subject, &sha256, &pinned); i++) {
        json_open(&w);
        json_kv_str(&w, "subject", subject);
        json_kv_str(&w, "sha256", sha256);
        json_kv_bool(&w, "pinned", pinned);
        json_close(&w);
    }
    json_array_end(&w);
    json_close(&w);
    return api_done(resp, 200);
}

struct audit_job {
    struct json_w *w;
    size_t limit, n;
    int64_t before, last;
};

static enum td_err audit_tx(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct audit_job *j = ctx;
    struct cur c;
    enum td_err e;
    j->n = 0;
    api_restart(j->w, "audit");
    TD_TRY(tx_query(tx, &api_stmts.stmts[API_ST_AUDIT],
                    SV_LIST(SV_INT(j->before), SV_INT(j->limit)), &c, ei));
    while ((e = cur_next(&c, ei)) == TD_OK) {
        j->last = cur_int(&c, 0);
        j->n++;
        json_open(j->w);
        json_kv_int(j->w, "id", j->last);
        json_kv_time(j->w, "at", cur_int(&c, 1));
        json_kv_span(j->w, "txn", cur_span(&c, 2));
        json_kv_span(j->w, "actor", cur_span(&c, 3));
        json_kv_span(j->w, "action", cur_span(&c, 4));
        json_kv_span(j->w, "subject", cur_span(&c, 5));
        json_kv_span(j->w, "detail", cur_span(&c, 6));
        json_close(j->w);
    }
    return e == TD_NOTFOUND ? TD_OK : e;
}

API_HANDLER(audit)
{
    struct api *api = req->ctx;
    struct json_w w;
    struct audit_job j = {.w = &w};
    TD_TRY(api_page_num(req, &j.limit, &j.before, ei));
    json_w_init(&w, &resp->body);
    TD_TRY(store_read(api->store, audit_tx, &j, ei));
    json_array_end(&w);
    TD_TRY(api_page_next_num(&w, req->arena, j.n == j.limit, j.last));
    json_close(&w);
    return api_done(resp, 200);
}
