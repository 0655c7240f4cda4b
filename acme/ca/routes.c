/* The status listener: OCSP over HTTP (RFC 6960 appendix A, RFC 5019) and the CA's certificates. */
#include "acme/ca/ca.h"

#include <stdio.h>
#include <time.h>

#include "acme/ca/ca_int.h"
#include "mdm/base/b64.h"
#include "mdm/base/hex.h"
#include "mdm/base/limits.h"
#include "mdm/base/str.h"

#define TYPE_REQUEST "application/ocsp-request"
#define TYPE_RESPONSE "application/ocsp-response"
#define CERT_MAX_AGE "public, max-age=3600"

void ca_http_date(int64_t t, char out[static CA_HTTP_DATE_SIZE])
{
    static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct tm tm = {0};
    time_t at = (time_t)t;
    gmtime_r(&at, &tm);
    snprintf(out, CA_HTTP_DATE_SIZE, "%s, %02u %s %04u %02u:%02u:%02u GMT", days[tm.tm_wday % 7],
             (unsigned)tm.tm_mday % 100, months[tm.tm_mon % 12],
             (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)tm.tm_hour % 100,
             (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100);
}

void ca_etag(struct span body, char out[static CA_ETAG_SIZE])
{
    uint8_t h[SHA256_SIZE];
    char hex[2 * SHA256_SIZE + 1];
    digest_sha256(body, h);
    hex_enc(SPAN_ARR(h), hex);
    snprintf(out, CA_ETAG_SIZE, "\"%s\"", hex);
}

bool ca_unchanged(const struct req *r, const char *etag)
{
    bool found = false;
    struct span list = req_header(r, "If-None-Match", &found);
    while (found && list.n) {
        struct span tag = str_trim(str_cut(&list, ','));
        if (span_starts(tag, SPAN_LIT("W/")))
            tag = span_sub(tag, 2, SIZE_MAX);
        if (span_eq_str(tag, etag) || span_eq_str(tag, "*"))
            return true;
    }
    return false;
}

/* RFC 5019 section 6.2; what must not be kept says so. */
static enum td_err cache_headers(struct resp *w, const struct ocsp_answer *ans, int64_t now)
{
    if (!ans->cacheable || ans->next_update <= now)
        return resp_header(w, "Cache-Control", "max-age=0, no-cache, no-store");
    char text[80];
    snprintf(text, sizeof text, "max-age=%lld, public, no-transform, must-revalidate",
             (long long)(ans->next_update - now));
    TD_TRY(resp_header(w, "Cache-Control", text));
    TD_TRY(resp_header(w, "Last-Modified", ans->text.this_update));
    TD_TRY(resp_header(w, "Expires", ans->text.next_update));
    return resp_header(w, "ETag", ans->text.etag);
}

static enum td_err reply(const struct req *r, struct resp *w, struct span req_der)
{
    struct ca *ca = r->ctx;
    struct ocsp_answer ans;
    if (!r->no_wait)
        ca_ocsp_answer(ca, req_der, r->arena, &ans);
    else if (!ca_ocsp_try(ca, req_der, r->arena, &ans))
        return TD_AGAIN;
    TD_TRY(cache_headers(w, &ans, clock_now(ca->conf.clock)));
    if (r->method == REQ_GET && ans.cacheable && ca_unchanged(r, ans.text.etag)) {
        w->status = 304;
        return TD_OK;
    }
    return resp_body(w, 200, TYPE_RESPONSE, ans.der);
}

static enum td_err ocsp_post(const struct req *r, struct resp *w, struct errinfo *ei)
{
    if (!str_ieq(r->content_type, span_str(TYPE_REQUEST)))
        return err_set(ei, TD_MEDIA, "the content type is not " TYPE_REQUEST);
    return reply(r, w, r->body);
}

/* The path's base64 as bytes: percent escapes undone, a '+' that became a space restored. */
static bool unescape(struct span s, struct arena *a, struct span *ret)
{
    uint8_t *out = arena_alloc(a, s.n + 1);
    size_t n = 0;
    if (!out || !str_unescape(s, out, s.n, &n))
        return false;
    for (size_t i = 0; i < n; i++)
        if (out[i] == ' ')
            out[i] = '+';
    *ret = span_of(out, n);
    return true;
}

static enum td_err ocsp_get(const struct req *r, struct resp *w, struct errinfo *ei)
{
    (void)ei;
    struct span text, der = {NULL, 0};
    bool ok = unescape(r->tail, r->arena, &text);
    /* "http://host/ocsp/" + "/" + request: no DER SEQUENCE begins so in base64 */
    if (ok && text.n && text.p[0] == '/')
        text = span_sub(text, 1, SIZE_MAX);
    if (!ok || b64_dec(r->arena, text, &der) != TD_OK)
        der = (struct span){NULL, 0}; /* answered as malformedRequest */
    return reply(r, w, der);
}

static enum td_err send_cert(const struct req *r, struct resp *w, const char *type,
                             struct span body)
{
    char etag[CA_ETAG_SIZE];
    ca_etag(body, etag);
    TD_TRY(resp_header(w, "Cache-Control", CERT_MAX_AGE));
    TD_TRY(resp_header(w, "ETag", etag));
    if (ca_unchanged(r, etag)) {
        w->status = 304;
        return TD_OK;
    }
    return resp_body(w, 200, type, body);
}

static enum td_err root_get(const struct req *r, struct resp *w, struct errinfo *ei)
{
    (void)ei;
    const struct ca *ca = r->ctx;
    return send_cert(r, w, "application/pkix-cert", cert_der(ca->root));
}

static enum td_err issuing_get(const struct req *r, struct resp *w, struct errinfo *ei)
{
    (void)ei;
    const struct ca *ca = r->ctx;
    return send_cert(r, w, "application/pkix-cert", cert_der(ca_issuing(ca)));
}

/* "ID.crt" */
static enum td_err by_id_get(const struct req *r, struct resp *w, struct errinfo *ei)
{
    const struct ca *ca = r->ctx;
    struct span name = r->params[0], tail = SPAN_LIT(".crt");
    uint8_t id[CERT_SKI_SIZE];
    const struct ca_issuer *is = NULL;
    if (name.n == 2 * sizeof id + tail.n && span_eq(span_sub(name, 2 * sizeof id, tail.n), tail) &&
        hex_dec(span_sub(name, 0, 2 * sizeof id), id, sizeof id) == TD_OK)
        is = ca_issuer_by_id(ca, id);
    if (!is)
        return err_set(ei, TD_NOTFOUND, "no such CA certificate");
    return send_cert(r, w, "application/pkix-cert", cert_der(is->cert));
}

/* The issuing CAs, then the root: what a RADIUS server or proxy is given to trust. */
static enum td_err chain_get(const struct req *r, struct resp *w, struct errinfo *ei)
{
    const struct ca *ca = r->ctx;
    buf_auto b;
    buf_init(&b, LIMIT_SIGNER_MSG);
    for (size_t i = 0; i < ca_issuing_n(ca); i++)
        TD_TRY(buf_span(&b, buf_view(&ca_issuer_at(ca, i)->pem)));
    if (cert_to_pem(ca->root, &b) != TD_OK)
        return err_set(ei, TD_NOMEM, "no memory for the chain");
    return send_cert(r, w, "application/pem-certificate-chain", buf_view(&b));
}

#define ANYWHERE (REQ_ON_STATUS | REQ_ON_PUBLIC)

const struct route ca_routes[] = {
    {.methods = REQ_POST,
     .listeners = REQ_ON_STATUS,
     .path = "/ocsp",
     .access = ROUTE_OPEN,
     .body_max = LIMIT_BODY_OCSP,
     .flags = ROUTE_TRY,
     .fn = ocsp_post,
     .doc = "Certificate status (OCSP)"},
    {.methods = REQ_GET,
     .listeners = REQ_ON_STATUS,
     .path = "/ocsp/{*}",
     .access = ROUTE_OPEN,
     .flags = ROUTE_RAW_TAIL | ROUTE_TRY,
     .fn = ocsp_get,
     .doc = "Certificate status (OCSP), request in the path"},
    {.methods = REQ_GET | REQ_HEAD,
     .listeners = ANYWHERE,
     .path = "/ca/root.crt",
     .access = ROUTE_OPEN,
     .flags = ROUTE_INLINE,
     .fn = root_get,
     .doc = "Root certificate (DER)"},
    {.methods = REQ_GET | REQ_HEAD,
     .listeners = ANYWHERE,
     .path = "/ca/issuing.crt",
     .access = ROUTE_OPEN,
     .flags = ROUTE_INLINE,
     .fn = issuing_get,
     .doc = "The active issuing CA's certificate (DER)"},
    {.methods = REQ_GET | REQ_HEAD,
     .listeners = ANYWHERE,
     .path = "/ca/{file}",
     .access = ROUTE_OPEN,
     .flags = ROUTE_INLINE,
     .fn = by_id_get,
     .doc = "The certificate of the issuing CA with that identifier (DER)"},
    {.methods = REQ_GET | REQ_HEAD,
     .listeners = ANYWHERE,
     .path = "/ca/chain.pem",
     .access = ROUTE_OPEN,
     .flags = ROUTE_INLINE,
     .fn = chain_get,
     .doc = "Issuing CAs and root (PEM)"},
};

const size_t ca_nroutes = TD_NITEMS(ca_routes);
