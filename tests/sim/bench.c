#include "tests/sim/bench.h"

#include "mdm/base/fs.h"
#include "tests/sim/api.h"
#include "tests/sim/pool.h"
#include "tests/sim/stats.h"

#include <openssl/ocsp.h>
#include <stdlib.h>

enum {
    CERTS_MAX = 4096,
    PEM_MAX = 65536,
    DER_MAX = 4096,
    LIST_ARENA = 67108864,
    PROFILE_ARENA = 1048576
};

struct bench {
    const struct opts *o;
    const char *what; /* "connects", "ocsp", "gets", "orders" */
    double cpu;       /* of this process before what is measured */
    struct stats_hist latency;
    struct stats_causes causes;
    /* connect: one device per thread */
    struct device *devices;
    struct mdm *mdms;
    /* ocsp: requests for all certificates, a connection per thread */
    struct http_client *https;
    OCSP_CERTID *ids[CERTS_MAX];
    struct buf certids[CERTS_MAX];  /* DER of ids */
    struct buf requests[CERTS_MAX]; /* DER, without a nonce */
    size_t n;
    _Atomic uint64_t good, revoked, unknown;
    /* orders: the devices that were invited */
    const struct enroll_ctx *c;
    struct invited *invited;
    struct api *apis; /* one for each thread */
};

static void print_json(struct bench *b, uint64_t done, uint64_t bad, double s, double rate)
{
    char text[32];
    struct json_w w;
    buf_auto out;
    buf_init(&out, 1048576);
    json_w_init(&w, &out);
    json_open(&w);
    json_kv_str(&w, "what", b->what);
    json_kv_int(&w, "requests", (int64_t)done);
    json_kv_int(&w, "failed", (int64_t)bad);
    snprintf(text, sizeof(text), "%.3f", s);
    json_kv_raw(&w, "seconds", span_str(text));
    snprintf(text, sizeof(text), "%.1f", rate);
    json_kv_raw(&w, "per_second", span_str(text));
    snprintf(text, sizeof(text), "%.3f", stats_cpu_s() - b->cpu);
    json_kv_raw(&w, "simulator_cpu_seconds", span_str(text));
    if (b->n && b->https) {
        json_kv_int(&w, "good", (int64_t)atomic_load(&b->good));
        json_kv_int(&w, "revoked", (int64_t)atomic_load(&b->revoked));
        json_kv_int(&w, "unknown", (int64_t)atomic_load(&b->unknown));
    }
    stats_hist_json(&w, "latency", &b->latency);
    stats_causes_json(&w, "failures", &b->causes);
    json_close(&w);
    printf("%s\n", buf_cstr(&out));
}

static enum td_err run(struct bench *b, bool (*fn)(void *, size_t, unsigned), size_t n,
                       unsigned threads, int *ret_code, struct errinfo *ei)
{
    struct pool p = {.n = n,
                     .threads = threads,
                     .verb = b->o->quiet || b->o->json ? NULL : b->what,
                     .fn = fn,
                     .ctx = b};
    if (b->o->duration)
        p.until_us = stats_now_us() + (uint64_t)b->o->duration * 1000000U;
    stats_causes_init(&b->causes);
    TD_TRY(pool_run(&p, ei));
    double s = (double)(stats_now_us() - p.t0_us) / 1e6;
    uint64_t done = atomic_load(&p.done), bad = atomic_load(&p.failed);
    double rate = s > 0 ? (double)(done - bad) / s : 0;
    *ret_code = bad || done == 0 ? 1 : 0;
    if (b->o->json) {
        print_json(b, done, bad, s, rate);
        return TD_OK;
    }
    printf("%s: %llu in %.2f s, failed %llu: %.1f/s\n", b->what, (unsigned long long)done, s,
           (unsigned long long)bad, rate);
    if (b->n && b->https)
        printf("  good %llu, revoked %llu, unknown %llu\n",
               (unsigned long long)atomic_load(&b->good),
               (unsigned long long)atomic_load(&b->revoked),
               (unsigned long long)atomic_load(&b->unknown));
    stats_hist_print(stdout, "latency", &b->latency);
    stats_causes_print(stdout, &b->causes);
    return TD_OK;
}

static bool count(struct bench *b, uint64_t t0, enum td_err e, const struct errinfo *ei)
{
    stats_add(&b->latency, stats_now_us() - t0);
    if (e != TD_OK)
        stats_cause(&b->causes, err_msg(ei, e));
    return e == TD_OK;
}

/* --- Idle reports --- */

static bool idle(void *ctx, size_t i, unsigned thread)
{
    struct bench *b = ctx;
    struct mdm *m = &b->mdms[thread];
    struct errinfo ei = {0};
    httpread_auto r = {0};
    buf_auto body;
    (void)i;
    buf_init(&body, 4096);
    mdm_report(m, "Idle", NULL, "", &body);
    uint64_t t0 = stats_now_us();
    if (b->o->fresh)
        http_close(&m->http);
    enum td_err e = mdm_put(m, "connect", m->d->server_url, false, buf_view(&body), &r, &ei);
    return count(b, t0, e, &ei);
}

static enum td_err connect_open(struct bench *b, const struct enroll_ctx *c, struct errinfo *ei)
{
    char **list = NULL;
    size_t n = 0;
    arena_auto a;
    arena_init(&a, LIST_ARENA);
    TD_TRY(device_list(c->o->state, &a, &list, &n, ei));
    for (size_t i = 0; i < n && b->n < (size_t)c->o->threads; i++) {
        struct device *d = &b->devices[b->n];
        TD_TRY(device_load(d, c->o->state, list[i], ei));
        if (d->removed) {
            device_free(d);
            continue;
        }
        mdm_init(&b->mdms[b->n], d, c->tls, c->pki, enroll_auth(c->o), enroll_timeout_ms(c->o));
        b->n++;
    }
    return b->n ? TD_OK : err_set(ei, TD_NOTFOUND, "no enrolled devices in %s", c->o->state);
}

enum td_err bench_connect(const struct enroll_ctx *c, int *ret_code, struct errinfo *ei)
{
    struct bench *b = calloc(1, sizeof(*b));
    size_t threads = (size_t)c->o->threads;
    if (!b)
        return err_set(ei, TD_NOMEM, "no memory");
    b->o = c->o;
    b->what = "connects";
    b->devices = calloc(threads, sizeof(*b->devices));
    b->mdms = calloc(threads, sizeof(*b->mdms));
    enum td_err e =
        b->devices && b->mdms ? connect_open(b, c, ei) : err_set(ei, TD_NOMEM, "no memory");
    if (e == TD_OK)
        e = run(b, idle, (size_t)c->o->bench, (unsigned)b->n, ret_code, ei);
    for (size_t i = 0; i < b->n; i++) {
        mdm_free(&b->mdms[i]);
        device_free(&b->devices[i]);
    }
    free(b->devices);
    free(b->mdms);
    free(b);
    return e;
}

/* --- OCSP --- */

static enum td_err request_der(OCSP_CERTID *id, bool nonce, struct buf *b, struct errinfo *ei)
{
    OCSP_REQUEST *q = OCSP_REQUEST_new();
    OCSP_CERTID *copy = OCSP_CERTID_dup(id);
    unsigned char *der = NULL;
    int n = -1;
    if (q && copy && OCSP_request_add0_id(q, copy)) {
        copy = NULL; /* the request owns it */
        if (!nonce || OCSP_request_add1_nonce(q, NULL, 16) == 1)
            n = i2d_OCSP_REQUEST(q, &der);
    }
    OCSP_CERTID_free(copy);
    OCSP_REQUEST_free(q);
    enum td_err e = n > 0 ? buf_add(b, der, (size_t)n) : ossl_fail(ei, "OCSP request");
    OPENSSL_free(der);
    return e;
}

static void count_status(struct bench *b, int status)
{
    atomic_fetch_add(status == V_OCSP_CERTSTATUS_GOOD      ? &b->good
                     : status == V_OCSP_CERTSTATUS_REVOKED ? &b->revoked
                                                           : &b->unknown,
                     1);
}

/* A successful answer that repeats the CertID to the octet has the CertStatus right behind it: good
 * [0], revoked [1], unknown [2] (RFC 6960 section 4.2.1). OpenSSL 3.0 takes ten times what a server
 * needs to decode the responder's certificate in it. */
static bool quick_status(struct bench *b, struct span certid, struct span der)
{
    static const uint8_t successful[] = {10, 1, 0};
    if (der.n < 16 || !certid.n || der.p[0] != 0x30 || !(der.p[1] & 0x80))
        return false;
    size_t head = 2U + (der.p[1] & 0x7f);
    if (head > 6 || memcmp(der.p + head, successful, sizeof(successful)) != 0)
        return false;
    const uint8_t *at = memmem(der.p, der.n, certid.p, certid.n);
    if (!at || at + certid.n >= der.p + der.n)
        return false;
    unsigned tag = at[certid.n];
    if ((tag & 0xdf) < 0x80 || (tag & 0xdf) > 0x82)
        return false;
    count_status(b, (int)(tag & 0x1f));
    return true;
}

/* The status of the one certificate asked for; its signature is left to `openssl ocsp`. */
static enum td_err response_status(struct bench *b, OCSP_CERTID *id, struct span der,
                                   struct errinfo *ei)
{
    const unsigned char *p = der.p;
    int status = -1, reason = 0;
    ASN1_GENERALIZEDTIME *revoked = NULL, *this_update = NULL, *next = NULL;
    OCSP_RESPONSE *r = d2i_OCSP_RESPONSE(NULL, &p, (long)der.n);
    OCSP_BASICRESP *basic = r && OCSP_response_status(r) == OCSP_RESPONSE_STATUS_SUCCESSFUL
                                ? OCSP_response_get1_basic(r)
                                : NULL;
    bool found = basic && OCSP_resp_find_status(basic, id, &status, &reason, &revoked, &this_update,
                                                &next) == 1;
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(r);
    if (!found) {
        ossl_fail(NULL, "");
        return err_set(ei, TD_PARSE, "ocsp: no status for the certificate in the answer");
    }
    count_status(b, status);
    return TD_OK;
}

static bool ocsp(void *ctx, size_t i, unsigned thread)
{
    struct bench *b = ctx;
    struct errinfo ei = {0};
    struct refusal why;
    httpread_auto r = {0};
    buf_auto der;
    buf_init(&der, DER_MAX);
    i %= b->n;
    enum td_err e = b->o->nonce ? request_der(b->ids[i], true, &der, &ei)
                                : buf_span(&der, buf_view(&b->requests[i]));
    struct http_req q = {.method = "POST",
                         .url = b->o->url,
                         .content_type = "application/ocsp-request",
                         .body = buf_view(&der),
                         .has_body = true};
    uint64_t t0 = stats_now_us();
    if (e == TD_OK)
        e = http_do(&b->https[thread], &q, &r, &ei);
    if (e == TD_OK && r.status != 200)
        e = refusal_set(&why, "ocsp", &r, &ei);
    if (e == TD_OK && !quick_status(b, buf_view(&b->certids[i]), buf_view(&r.body)))
        e = response_status(b, b->ids[i], buf_view(&r.body), &ei);
    return count(b, t0, e, &ei);
}

static enum td_err certid_der(OCSP_CERTID *id, struct buf *b, struct errinfo *ei)
{
    unsigned char *der = NULL;
    int n = i2d_OCSP_CERTID(id, &der);
    enum td_err e = n > 0 ? buf_add(b, der, (size_t)n) : ossl_fail(ei, "OCSP CertID");
    OPENSSL_free(der);
    return e;
}

static enum td_err ocsp_load(struct bench *b, struct errinfo *ei)
{
    char **list = NULL;
    size_t n = 0;
    X509 *x = NULL;
    arena_auto a;
    buf_auto pem;
    arena_init(&a, LIST_ARENA);
    TD_TRY(fs_read(b->o->issuer, PEM_MAX, &pem, ei));
    TD_TRY(ossl_cert_from_pem(buf_view(&pem), &x, ei));
    ossl_auto(X509) issuer = x;
    TD_TRY(device_list(b->o->certs, &a, &list, &n, ei));
    for (size_t i = 0; i < n && b->n < CERTS_MAX; i++) {
        device_auto d = {0};
        TD_TRY(device_load(&d, b->o->certs, list[i], ei));
        b->ids[b->n] = OCSP_cert_to_id(EVP_sha1(), d.cert, issuer);
        buf_init(&b->requests[b->n], DER_MAX);
        buf_init(&b->certids[b->n], DER_MAX);
        if (!b->ids[b->n])
            return ossl_fail(ei, "OCSP CertID");
        b->n++;
        TD_TRY(certid_der(b->ids[b->n - 1], &b->certids[b->n - 1], ei));
        TD_TRY(request_der(b->ids[b->n - 1], false, &b->requests[b->n - 1], ei));
    }
    return b->n ? TD_OK : err_set(ei, TD_NOTFOUND, "no certificates in %s", b->o->certs);
}

/* A connection for each thread. */
static enum td_err https_open(struct bench *b, SSL_CTX *tls, struct errinfo *ei)
{
    b->https = calloc((size_t)b->o->threads, sizeof(*b->https));
    if (!b->https)
        return err_set(ei, TD_NOMEM, "no memory");
    for (int64_t i = 0; i < b->o->threads; i++)
        http_init(&b->https[i], tls, "testudo-sim/" TD_VERSION, (int)b->o->timeout * 1000);
    return TD_OK;
}

static void https_close(struct bench *b)
{
    for (int64_t i = 0; b->https && i < b->o->threads; i++)
        http_close(&b->https[i]);
    free(b->https);
}

static enum td_err ocsp_open(struct bench *b, struct errinfo *ei)
{
    if (!b->o->url || !b->o->issuer || !b->o->certs || !b->o->duration)
        return err_set(ei, TD_INVAL, "--url, --issuer, --certs and --duration are needed");
    TD_TRY(https_open(b, NULL, ei));
    return ocsp_load(b, ei);
}

enum td_err bench_ocsp_main(const struct opts *o, int *ret_code, struct errinfo *ei)
{
    struct bench *b = calloc(1, sizeof(*b));
    if (!b)
        return err_set(ei, TD_NOMEM, "no memory");
    b->o = o;
    b->what = "ocsp";
    enum td_err e = ocsp_open(b, ei);
    if (e == TD_OK)
        e = run(b, ocsp, 0, (unsigned)o->threads, ret_code, ei);
    https_close(b);
    for (size_t i = 0; i < b->n; i++) {
        OCSP_CERTID_free(b->ids[i]);
        buf_free(&b->certids[i]);
        buf_free(&b->requests[i]);
    }
    free(b);
    return e;
}

/* --- plain GETs --- */

static bool get(void *ctx, size_t i, unsigned thread)
{
    struct bench *b = ctx;
    struct errinfo ei = {0};
    struct refusal why;
    httpread_auto r = {0};
    struct http_req q = {.method = "GET", .url = b->o->url};
    (void)i;
    uint64_t t0 = stats_now_us();
    enum td_err e = http_do(&b->https[thread], &q, &r, &ei);
    if (e == TD_OK && r.status != 200)
        e = refusal_set(&why, "get", &r, &ei);
    return count(b, t0, e, &ei);
}

enum td_err bench_http_main(const struct opts *o, int *ret_code, struct errinfo *ei)
{
    SSL_CTX *tls = NULL;
    if (!o->url || !o->duration)
        return err_set(ei, TD_INVAL, "--url and --duration are needed");
    if (o->cacert)
        TD_TRY(tls_ctx_new(o->cacert, &tls, ei));
    struct bench *b = calloc(1, sizeof(*b));
    enum td_err e = b ? TD_OK : err_set(ei, TD_NOMEM, "no memory");
    if (e == TD_OK) {
        b->o = o;
        b->what = "gets";
        e = https_open(b, tls, ei);
    }
    if (e == TD_OK)
        e = run(b, get, 0, (unsigned)o->threads, ret_code, ei);
    if (b)
        https_close(b);
    free(b);
    SSL_CTX_free(tls);
    return e;
}

/* --- ACME orders --- */

struct invited {
    struct device d;
    struct profile p;
    struct arena a;
};

static enum td_err invite(struct bench *b, struct invited *it, size_t i, struct api *api,
                          struct errinfo *ei)
{
    char serial[64];
    const char *url = NULL;
    struct refusal why = {0};
    snprintf(serial, sizeof(serial), "%s%07zu", b->o->prefix, i + 1);
    TD_TRY(device_init(&it->d, serial, "iPhone", ei));
    TD_TRY(api_put_device(api, serial, it->d.model_name, it->d.name, ei));
    TD_TRY(api_invite(api, serial, &it->a, &url, ei));
    return enroll_fetch(b->c, url, &it->a, &it->p, &why, ei);
}

static bool invite_one(void *ctx, size_t i, unsigned thread)
{
    struct bench *b = ctx;
    struct errinfo ei = {0};
    arena_init(&b->invited[i].a, PROFILE_ARENA);
    enum td_err e = invite(b, &b->invited[i], i, &b->apis[thread], &ei);
    if (e != TD_OK)
        stats_cause(&b->causes, err_msg(&ei, e));
    return e == TD_OK;
}

static bool order(void *ctx, size_t i, unsigned thread)
{
    struct bench *b = ctx;
    struct errinfo ei = {0};
    struct refusal why = {0};
    (void)thread;
    uint64_t t0 = stats_now_us();
    enum td_err e = enroll_identity(b->c, &b->invited[i].d, &b->invited[i].p, &why, &ei);
    return count(b, t0, e, &ei);
}

static enum td_err invite_all(struct bench *b, struct errinfo *ei)
{
    const struct opts *o = b->o;
    b->invited = calloc((size_t)o->count, sizeof(*b->invited));
    b->apis = calloc((size_t)o->threads, sizeof(*b->apis));
    if (!b->invited || !b->apis)
        return err_set(ei, TD_NOMEM, "no memory");
    for (int64_t i = 0; i < o->threads; i++)
        api_init(&b->apis[i], b->c->tls, o->api, b->c->token, enroll_timeout_ms(o));
    struct pool p = {
        .n = (size_t)o->count, .threads = (unsigned)o->threads, .fn = invite_one, .ctx = b};
    TD_TRY(pool_run(&p, ei));
    if (atomic_load(&p.failed) == 0)
        return TD_OK;
    stats_causes_print(stderr, &b->causes);
    return err_set(ei, TD_STATE, "not every device could be invited");
}

static enum td_err orders(struct bench *b, int *ret_code, struct errinfo *ei)
{
    const struct opts *o = b->o;
    if (!o->api || !o->token_file || !o->pki || !o->cacert || !o->count)
        return err_set(ei, TD_INVAL, "--api, --token-file, --pki, --cacert and --count are needed");
    stats_causes_init(&b->causes);
    TD_TRY(invite_all(b, ei));
    if (o->hold) {
        puts("ready");
        fflush(stdout);
        (void)getchar();
    }
    b->cpu = stats_cpu_s();
    return run(b, order, (size_t)o->count, (unsigned)o->threads, ret_code, ei);
}

enum td_err bench_acme_main(const struct opts *o, int *ret_code, struct errinfo *ei)
{
    enroll_ctx_auto c = {0};
    TD_TRY(enroll_ctx_open(o, &c, ei));
    struct bench *b = calloc(1, sizeof(*b));
    if (!b)
        return err_set(ei, TD_NOMEM, "no memory");
    b->o = o;
    b->c = &c;
    b->what = "orders";
    enum td_err e = orders(b, ret_code, ei);
    for (int64_t i = 0; b->apis && i < o->threads; i++)
        api_free(&b->apis[i]);
    for (int64_t i = 0; b->invited && i < o->count; i++) {
        device_free(&b->invited[i].d);
        arena_free(&b->invited[i].a);
    }
    free(b->apis);
    free(b->invited);
    free(b);
    return e;
}
