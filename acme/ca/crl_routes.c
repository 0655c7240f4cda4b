/* CRLs over HTTP (RFC 5280 section 4.2.1.13, RFC 2585): DER and PEM. */
#include <stdio.h>

#include "acme/ca/ca_int.h"
#include "acme/ca/crl.h"
#include "mdm/base/hex.h"
#include "mdm/base/limits.h"
#include "mdm/base/num.h"

#define TYPE_DER "application/pkix-crl"
#define TYPE_PEM "application/x-pem-file"
#define MAX_AGE "public, max-age=60" /* a cache in between may hide a revocation for so long */
#define TAG_SIZE (2 * SHA256_SIZE + 3)
#define PEM_MAX ((size_t)24 * 1024 * 1024)

/* "3.crl", "all.pem": the part before the dot, and whether PEM is wanted. */
static bool split_name(struct span file, struct span *ret_stem, bool *ret_pem)
{
    if (file.n < 5)
        return false;
    struct span end = span_sub(file, file.n - 4, 4);
    *ret_stem = span_sub(file, 0, file.n - 4);
    *ret_pem = span_eq_str(end, ".pem");
    return *ret_pem || span_eq_str(end, ".crl");
}

static enum td_err unknown(struct errinfo *ei)
{
    return err_set(ei, TD_NOTFOUND, "no such CRL");
}

static enum td_err headers(struct resp *w, const char *tag, int64_t modified)
{
    char date[CA_HTTP_DATE_SIZE];
    TD_TRY(resp_header(w, "Cache-Control", MAX_AGE));
    TD_TRY(resp_header(w, "ETag", tag));
    if (!modified)
        return TD_OK;
    ca_http_date(modified, date);
    return resp_header(w, "Last-Modified", date);
}

static enum td_err send(struct resp *w, bool pem, struct span der)
{
    if (!pem)
        return resp_body(w, 200, TYPE_DER, der);
    w->status = 200;
    w->content_type = TYPE_PEM;
    return crl_to_pem(der, &w->body);
}

/* The tag names the CRL by its number, which is never given to other bytes: a request that has it
 * already costs no look at the list. */
static enum td_err answer(const struct req *r, struct resp *w, size_t i, int shard, bool pem,
                          struct errinfo *ei)
{
    struct ca *ca = r->ctx;
    struct ca_crl crl;
    char tag[128];
    TD_TRY(ca_crl_get(ca, i, shard, false, r->arena, &crl, ei));
    snprintf(tag, sizeof tag, "\"%s.%d.%lld%s\"", ca_issuer_at(ca, i)->hex, shard,
             (long long)crl.number, pem ? ".pem" : "");
    if (ca_unchanged(r, tag)) {
        w->status = 304;
        return headers(w, tag, crl.this_update);
    }
    TD_TRY(ca_crl_get(ca, i, shard, true, r->arena, &crl, ei));
    snprintf(tag, sizeof tag, "\"%s.%d.%lld%s\"", ca_issuer_at(ca, i)->hex, shard,
             (long long)crl.number, pem ? ".pem" : "");
    TD_TRY(headers(w, tag, crl.this_update));
    return send(w, pem, crl.der);
}

static bool find_issuer(const struct ca *ca, struct span hex, size_t *ret)
{
    for (size_t i = 0; i < ca_issuing_n(ca); i++) {
        if (span_eq_str(hex, ca_issuer_at(ca, i)->hex)) {
            *ret = i;
            return true;
        }
    }
    return false;
}

static enum td_err of_issuer(const struct req *r, struct resp *w, struct errinfo *ei)
{
    struct span stem;
    bool pem;
    size_t i;
    uint64_t shard = 0;
    if (!find_issuer(r->ctx, r->params[0], &i) || !split_name(r->params[1], &stem, &pem))
        return unknown(ei);
    if (span_eq_str(stem, "all"))
        return answer(r, w, i, CA_CRL_COMPLETE, pem, ei);
    if (num_u64(stem, INT32_MAX, &shard) != TD_OK)
        return unknown(ei);
    return answer(r, w, i, (int)shard, pem, ei);
}

static enum td_err tagged(const struct req *r, struct resp *w, const char *type, struct span body)
{
    uint8_t h[SHA256_SIZE];
    char hex[2 * SHA256_SIZE + 1], tag[TAG_SIZE];
    digest_sha256(body, h);
    hex_enc(SPAN_ARR(h), hex);
    snprintf(tag, sizeof tag, "\"%s\"", hex);
    TD_TRY(headers(w, tag, 0));
    if (ca_unchanged(r, tag)) {
        w->status = 304;
        return TD_OK;
    }
    return resp_body(w, 200, type, body);
}

static enum td_err bundle(const struct req *r, struct resp *w, struct errinfo *ei)
{
    buf_auto b;
    buf_init(&b, PEM_MAX);
    TD_TRY(ca_crl_bundle(r->ctx, r->arena, &b, ei));
    return tagged(r, w, TYPE_PEM, buf_view(&b));
}

static enum td_err root(const struct req *r, struct resp *w, bool pem, struct errinfo *ei)
{
    const struct ca *ca = r->ctx;
    struct span der = buf_view(&ca->root_crl);
    if (der.n == 0)
        return err_set(ei, TD_NOTFOUND, "this CA has no root.crl: testudo-signer root-crl");
    buf_auto b;
    buf_init(&b, LIMIT_SIGNER_MSG * 2);
    if (pem)
        TD_TRY(crl_to_pem(der, &b));
    return tagged(r, w, pem ? TYPE_PEM : TYPE_DER, pem ? buf_view(&b) : der);
}

static enum td_err by_name(const struct req *r, struct resp *w, struct errinfo *ei)
{
    struct span stem;
    bool pem;
    if (!split_name(r->params[0], &stem, &pem))
        return unknown(ei);
    if (span_eq_str(stem, "issuing"))
        return answer(r, w, 0, CA_CRL_COMPLETE, pem, ei);
    if (span_eq_str(stem, "root"))
        return root(r, w, pem, ei);
    if (span_eq_str(stem, "all") && pem)
        return bundle(r, w, ei);
    return unknown(ei);
}

#define ANYWHERE (REQ_ON_STATUS | REQ_ON_PUBLIC)

const struct route ca_crl_routes[] = {
    {.methods = REQ_GET | REQ_HEAD,
     .listeners = ANYWHERE,
     .path = "/crl/{issuer}/{file}",
     .access = ROUTE_OPEN,
     .fn = of_issuer,
     .doc = "CRL of an issuing CA: SHARD.crl or all.crl (DER), .pem"},
    {.methods = REQ_GET | REQ_HEAD,
     .listeners = ANYWHERE,
     .path = "/crl/{file}",
     .access = ROUTE_OPEN,
     .fn = by_name,
     .doc = "issuing.crl, root.crl (DER), .pem; all.pem: of every CA of the chain"},
};

const size_t ca_crl_nroutes = TD_NITEMS(ca_crl_routes);
