#include "tests/sim/enroll.h"

#include "mdm/base/fs.h"
#include "mdm/base/hex.h"
#include "mdm/base/str.h"
#include "tests/sim/stats.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/x509_vfy.h>
#include <unistd.h>

#define SAFARI                                                                                     \
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "    \
    "Gecko) Version/18.1 Mobile/15E148 Safari/604.1"
enum { ARENA_MAX = 16777216 };

static enum td_err load_token(const char *path, struct enroll_ctx *c, struct errinfo *ei)
{
    buf_auto b;
    TD_TRY(fs_read(path, sizeof(c->token) - 1, &b, ei));
    struct span s = str_trim(buf_view(&b));
    if (s.n == 0 || memchr(s.p, '\n', s.n))
        return err_set(ei, TD_PARSE, "%s: one line with the token is expected", path);
    memcpy(c->token, s.p, s.n);
    return TD_OK;
}

static enum td_err load_trust(const char *path, struct enroll_ctx *c, struct errinfo *ei)
{
    TD_TRY(tls_ctx_new(path, &c->tls, ei));
    c->trust = X509_STORE_new();
    if (!c->trust || X509_STORE_load_file(c->trust, path) != 1 ||
        X509_STORE_set_purpose(c->trust, X509_PURPOSE_ANY) != 1)
        return ossl_fail(ei, path);
    return TD_OK;
}

enum td_err enroll_ctx_open(const struct opts *o, struct enroll_ctx *ret, struct errinfo *ei)
{
    struct enroll_ctx c = {.o = o, .acks = -1};
    enum td_err e = TD_OK;
    if (o->cacert)
        e = load_trust(o->cacert, &c, ei);
    if (e == TD_OK && o->pki)
        e = pki_load(o->pki, &c.pki, ei);
    if (e == TD_OK && o->token_file)
        e = load_token(o->token_file, &c, ei);
    if (e == TD_OK && o->acks) {
        c.acks = open(o->acks, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (c.acks < 0)
            e = err_sys(ei, TD_IO, errno, "%s", o->acks);
    }
    if (e != TD_OK) {
        enroll_ctx_close(&c);
        return e;
    }
    *ret = c;
    return TD_OK;
}

void enroll_ctx_close(struct enroll_ctx *c)
{
    SSL_CTX_free(c->tls);
    X509_STORE_free(c->trust);
    pki_free(c->pki);
    OPENSSL_cleanse(c->token, sizeof(c->token));
    if (c->acks > 2) /* a context that was never opened has 0 */
        close(c->acks);
    *c = (struct enroll_ctx){.acks = -1};
}

/* A line, by one write: whole among those of other threads. */
static void ack(const struct enroll_ctx *c, const char *what, const char *serial, const char *more)
{
    char line[256];
    int n = snprintf(line, sizeof(line), "%s %s%s%s\n", what, serial, more[0] ? " " : "", more);
    if (c->acks > 2 && (size_t)n < sizeof(line) && write(c->acks, line, (size_t)n) != n)
        fprintf(stderr, "%s: not written\n", c->o->acks);
}

static void ack_certificate(const struct enroll_ctx *c, const struct device *d)
{
    char hex[2 * 20 + 1];
    const ASN1_INTEGER *s = X509_get0_serialNumber(d->cert);
    struct span bytes = span_of(ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s));
    if (bytes.n <= 20) {
        hex_enc(bytes, hex);
        ack(c, "certificate", d->serial, hex);
    }
}

enum mdm_auth enroll_auth(const struct opts *o)
{
    return o->signature ? MDM_AUTH_SIGNATURE : o->mtls ? MDM_AUTH_MTLS : MDM_AUTH_PROFILE;
}

int enroll_timeout_ms(const struct opts *o)
{
    return (int)o->timeout * 1000;
}

int enroll_retry_ms(const struct opts *o)
{
    return (int)o->retry * 1000;
}

const char *enroll_phase_name(enum enroll_phase p)
{
    static const char *const names[] = {"page", "acme", "checkin", "connect", "total"};
    return names[p];
}

enum td_err enroll_fetch(const struct enroll_ctx *c, const char *url, struct arena *a,
                         struct profile *ret, struct refusal *why, struct errinfo *ei)
{
    static const char step[] = "enrol page";
    char type[96] = "";
    struct span xml;
    http_auto http;
    httpread_auto r = {0};
    http_init(&http, c->tls, SAFARI, enroll_timeout_ms(c->o));
    struct http_req q = {.method = "GET", .url = url};
    enum td_err e = http_do(&http, &q, &r, ei);
    if (e != TD_OK)
        return refusal_none(why, step, e, ei);
    if (r.status != 200)
        return refusal_set(why, step, &r, ei);
    httpread_header(&r, "Content-Type", type, sizeof(type));
    if (strcmp(type, "application/x-apple-aspen-config") != 0)
        return refusal_text(why, step, 200, "the answer is no profile (Content-Type)", ei);
    e = profile_open_cms(buf_view(&r.body), c->trust, a, &xml, ei);
    if (e == TD_OK)
        e = profile_parse(xml, a, ret, ei);
    return e == TD_OK ? TD_OK : refusal_none(why, step, e, ei);
}

enum td_err enroll_adopt(struct device *d, const struct profile *p, struct errinfo *ei)
{
    const struct {
        char **to;
        const char *from;
    } set[] = {
        {&d->server_url, p->mdm.server_url}, {&d->checkin_url, p->mdm.checkin_url},
        {&d->topic, p->mdm.topic},           {&d->profile_identifier, p->identifier},
        {&d->profile_uuid, p->uuid},         {&d->profile_name, p->display_name},
    };
    for (size_t i = 0; i < TD_NITEMS(set); i++) {
        if (device_set(set[i].to, set[i].from) != TD_OK)
            return err_set(ei, TD_NOMEM, "no memory");
    }
    buf_reset(&d->root_der);
    if (buf_span(&d->root_der, p->root_der) != TD_OK)
        return err_set(ei, TD_LIMIT, "the profile's root certificate is too large");
    d->sign_message = p->mdm.sign_message;
    d->checkout_when_removed = p->mdm.checkout_when_removed;
    d->removed = false;
    return TD_OK;
}

enum td_err enroll_identity(const struct enroll_ctx *c, struct device *d, const struct profile *p,
                            struct refusal *why, struct errinfo *ei)
{
    http_auto http;
    struct acme_result res = {0};
    http_init(&http, c->tls, NULL, enroll_timeout_ms(c->o));
    struct acme_job job = {
        .http = &http, .pki = c->pki, .profile = p, .device = d, .key_size = (int)c->o->key_size};
    enum td_err e = acme_run(&job, &res, why, ei);
    if (e == TD_OK) {
        EVP_PKEY_free(d->key);
        X509_free(d->cert);
        d->key = res.key;
        d->cert = res.cert;
        res.key = NULL;
        res.cert = NULL;
        ack_certificate(c, d);
    }
    acme_result_free(&res);
    return e;
}

static enum td_err manage(const struct enroll_ctx *c, struct device *d,
                          uint64_t us[static ENROLL_PHASES], struct refusal *why,
                          struct errinfo *ei)
{
    mdm_auto m;
    struct mdm_counts counts = {0};
    bool changed = false;
    mdm_init(&m, d, c->tls, c->pki, enroll_auth(c->o), enroll_timeout_ms(c->o));
    m.http.retry_ms = enroll_retry_ms(c->o);
    uint64_t t0 = stats_now_us();
    enum td_err e = mdm_authenticate(&m, ei);
    if (e == TD_OK) {
        ack(c, "authenticate", d->serial, "");
        e = mdm_token_update(&m, ei);
    }
    if (e == TD_OK)
        ack(c, "token_update", d->serial, "");
    uint64_t t1 = stats_now_us();
    us[ENROLL_CHECKIN] = t1 - t0;
    if (e == TD_OK) {
        e = mdm_session(&m, &counts, &changed, ei);
        us[ENROLL_CONNECT] = stats_now_us() - t1;
    }
    if (e != TD_OK)
        *why = m.why;
    return e;
}

enum td_err enroll_run(const struct enroll_ctx *c, struct device *d, const char *url,
                       uint64_t us[static ENROLL_PHASES], struct refusal *why, struct errinfo *ei)
{
    struct profile p;
    arena_auto a;
    arena_init(&a, ARENA_MAX);
    memset(us, 0, ENROLL_PHASES * sizeof(us[0]));
    if (!c->pki)
        return err_set(ei, TD_INVAL, "enrolling needs --pki");
    uint64_t t0 = stats_now_us();
    TD_TRY(enroll_fetch(c, url, &a, &p, why, ei));
    TD_TRY(enroll_adopt(d, &p, ei));
    uint64_t t1 = stats_now_us();
    us[ENROLL_PAGE] = t1 - t0;
    TD_TRY(enroll_identity(c, d, &p, why, ei));
    us[ENROLL_ACME] = stats_now_us() - t1;
    TD_TRY(manage(c, d, us, why, ei));
    us[ENROLL_TOTAL] = stats_now_us() - t0;
    return TD_OK;
}
