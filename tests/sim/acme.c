#include "tests/sim/acme.h"

#include "mdm/base/b64.h"
#include "mdm/base/clock.h"
#include "tests/sim/cbor.h"
#include "tests/sim/csr.h"
#include "tests/sim/jws.h"

#include <openssl/sha.h>

enum { TIMEOUT_MS = 15000, URL_MAX_BYTES = 2048, ARENA_MAX = 4194304 };

/* The state between two requests. */
struct flow {
    const struct acme_job *job;
    struct acme_result *res;
    struct refusal *why;
    struct errinfo *ei;
    struct arena a;
    EVP_PKEY *account;
    char nonce[256], used_nonce[256], location[URL_MAX_BYTES];
    const char *new_nonce, *new_account, *new_order; /* in the arena */
    const char *kid, *authz, *finalize, *order, *challenge, *token, *cert_url;
};

struct step {
    const char *name; /* for messages: "acme newOrder" */
    const char *method, *url;
    const char *payload; /* NULL with `jws`: POST-as-GET */
    bool jws;
};

static enum td_err copy_header(const struct httpread_resp *r, const char *name, char *out, size_t n)
{
    char v[URL_MAX_BYTES];
    if (httpread_header(r, name, v, sizeof(v)) && v[0] && strlen(v) < n)
        memcpy(out, v, strlen(v) + 1); /* an absent header leaves the last value, as Apple does */
    return TD_OK;
}

static enum td_err jws_body(struct flow *f, const struct step *s, struct buf *b)
{
    size_t n = 0;
    bool replay = f->job->fault == ACME_REPLAYED_NONCE && f->used_nonce[0] && f->kid;
    struct jws_spec spec = {.key = f->account,
                            .kid = f->kid,
                            .nonce = replay ? f->used_nonce : f->nonce,
                            .url = s->url,
                            .payload = s->payload,
                            .short_signature = f->job->fault == ACME_SHORT_SIGNATURE};
    TD_TRY(jws_write(&spec, b, &n, f->ei));
    if (f->res->shortest == 0 || n < f->res->shortest)
        f->res->shortest = n;
    memcpy(f->used_nonce, f->nonce, sizeof(f->used_nonce));
    return TD_OK;
}

/* Sends one request. Of the answers only 200, 201 with Location and 204 with a nonce count
 * (Apple's errorStatusWithHTTPErrorCode). *ret is the caller's to free. */
static enum td_err send_step(struct flow *f, const struct step *s, struct httpread_resp *ret)
{
    char where[URL_MAX_BYTES], nonce[256];
    buf_auto body;
    buf_init(&body, 131072);
    if (s->jws)
        TD_TRY(jws_body(f, s, &body));
    else
        TD_TRY(buf_str(&body, "{}"));
    struct http_req q = {.method = s->method,
                         .url = s->url,
                         .content_type = s->jws ? "application/jose+json" : "application/json",
                         .body = buf_view(&body),
                         .has_body = true};
    f->res->requests++;
    enum td_err e = http_do(f->job->http, &q, ret, f->ei);
    if (e != TD_OK)
        return refusal_none(f->why, s->name, e, f->ei);
    bool located = httpread_header(ret, "Location", where, sizeof(where));
    bool fresh = httpread_header(ret, "Replay-Nonce", nonce, sizeof(nonce));
    copy_header(ret, "Replay-Nonce", f->nonce, sizeof(f->nonce));
    copy_header(ret, "Location", f->location, sizeof(f->location));
    if (ret->status == 200 || (ret->status == 201 && located) || (ret->status == 204 && fresh))
        return TD_OK;
    return refusal_set(f->why, s->name, ret, f->ei);
}

/* send_step, the answer parsed as a JSON object in the arena. */
static enum td_err send_json(struct flow *f, const struct step *s, struct json **ret)
{
    httpread_auto r = {0};
    TD_TRY(send_step(f, s, &r));
    if (json_parse(buf_view(&r.body), &f->a, ret, f->ei) != TD_OK ||
        json_kind(*ret) != JSON_K_OBJECT)
        return refusal_text(f->why, s->name, r.status, "the answer is no JSON object", f->ei);
    return TD_OK;
}

static enum td_err wrong(struct flow *f, const char *step, const char *detail)
{
    return refusal_text(f->why, step, 200, detail, f->ei);
}

static const char *member(const struct json *o, const char *key)
{
    const char *v = NULL;
    return json_get_str(o, key, &v) == TD_OK && *v ? v : NULL;
}

static bool status_is(const struct json *o, const char *want)
{
    const char *v = member(o, "status");
    return v && strcmp(v, want) == 0;
}

/* --- the nine requests --- */

static enum td_err get_directory(struct flow *f)
{
    struct json *o = NULL;
    struct step s = {"acme directory", "GET", f->job->profile->acme.directory, NULL, false};
    TD_TRY(send_json(f, &s, &o));
    f->new_nonce = member(o, "newNonce");
    f->new_account = member(o, "newAccount");
    f->new_order = member(o, "newOrder");
    if (!f->new_nonce || !f->new_account || !f->new_order)
        return wrong(f, s.name, "newNonce, newAccount or newOrder is missing");
    return TD_OK;
}

static enum td_err head_nonce(struct flow *f)
{
    httpread_auto r = {0};
    struct step s = {"acme newNonce", "HEAD", f->new_nonce, NULL, false};
    TD_TRY(send_step(f, &s, &r));
    return f->nonce[0] ? TD_OK : wrong(f, s.name, "no Replay-Nonce");
}

static enum td_err new_account(struct flow *f)
{
    struct json *o = NULL;
    struct step s = {"acme newAccount", "POST", f->new_account, "{\"termsOfServiceAgreed\":true}",
                     true};
    TD_TRY(send_json(f, &s, &o));
    if (!status_is(o, "valid") || !member(o, "orders") || !f->location[0])
        return wrong(f, s.name, "not valid, or no orders, or no Location");
    f->kid = arena_strdup(&f->a, f->location);
    return f->kid ? TD_OK : err_set(f->ei, TD_NOMEM, "no memory");
}

static bool has_permanent_identifier(const struct json *o)
{
    struct json *list = json_member(o, "identifiers");
    for (size_t i = 0; i < json_size(list); i++) {
        const char *t = member(json_element(list, i), "type");
        if (t && strcmp(t, "permanent-identifier") == 0)
            return true;
    }
    return false;
}

static enum td_err new_order(struct flow *f)
{
    struct json *o = NULL;
    buf_auto p;
    buf_init(&p, 8192);
    buf_str(&p, "{\"identifiers\":[{\"type\":\"permanent-identifier\",\"value\":");
    jws_json_str(&p, f->job->profile->acme.client_id);
    TD_TRY(buf_str(&p, "}]}"));
    struct step s = {"acme newOrder", "POST", f->new_order, buf_cstr(&p), true};
    TD_TRY(send_json(f, &s, &o));
    f->authz = json_str(json_element(json_member(o, "authorizations"), 0));
    f->finalize = member(o, "finalize");
    f->order = arena_strdup(&f->a, f->location);
    if (!status_is(o, "pending") || !f->authz || !f->finalize || !f->order)
        return wrong(f, s.name, "not pending, or no authorization, or no finalize");
    if (!has_permanent_identifier(o))
        return wrong(f, s.name, "'permanent-identifier' type not supported by this server");
    return TD_OK;
}

static enum td_err get_authz(struct flow *f)
{
    struct json *o = NULL;
    struct step s = {"acme authorization", "POST", f->authz, NULL, true};
    TD_TRY(send_json(f, &s, &o));
    struct json *list = json_member(o, "challenges");
    for (size_t i = 0; i < json_size(list); i++) { /* the last one if none fits: Apple's bug */
        struct json *c = json_element(list, i);
        const char *type = member(c, "type");
        f->challenge = member(c, "url");
        f->token = member(c, "token");
        if (type && strcmp(type, "device-attest-01") == 0 && f->challenge && f->token)
            break;
    }
    if (!status_is(o, "pending") || !f->challenge || !f->token)
        return wrong(f, s.name, "not pending, or no challenge");
    return TD_OK;
}

/* What Apple's attestation service would return for this device, its key and the token. */
static enum td_err attest(struct flow *f, struct buf *leaf)
{
    enum acme_fault fault = f->job->fault;
    uint8_t fresh[SHA256_DIGEST_LENGTH];
    const char *token = fault == ACME_STALE_FRESHNESS ? "the-token-of-an-earlier-order" : f->token;
    SHA256((const unsigned char *)token, strlen(token), fresh);
    struct pki_facts facts = device_facts(f->job->device);
    if (fault == ACME_WRONG_SERIAL)
        facts.serial = "XXOTHERDEV01";
    ossl_auto(EVP_PKEY) other =
        fault == ACME_WRONG_KEY ? ossl_ec_key(EVP_PKEY_get_bits(f->res->key)) : NULL;
    if (fault == ACME_WRONG_KEY && !other)
        return ossl_fail(f->ei, "key generation");
    return pki_leaf(f->job->pki, &facts,
                    fault == ACME_MISSING_FRESHNESS ? (struct span){NULL, 0} : SPAN_ARR(fresh),
                    other ? other : f->res->key, clock_now(&clock_system), leaf, f->ei);
}

/* {"attObj":"..."}, with "error" behind it when there is no attestation, or {} when the payload
 * does not ask for one. */
static enum td_err challenge_payload(struct flow *f, struct buf *b)
{
    buf_auto leaf, obj;
    buf_init(&leaf, 16384);
    buf_init(&obj, 65536);
    bool empty = f->job->fault == ACME_EMPTY_X5C;
    if (!f->job->profile->acme.attest)
        return buf_str(b, "{}");
    if (!empty)
        TD_TRY(attest(f, &leaf));
    struct span x5c[2] = {buf_view(&leaf), pki_sub_der(f->job->pki)};
    TD_TRY(cbor_attobj(&obj, x5c, empty ? 0 : 2));
    TD_TRY(buf_str(b, "{\"attObj\":\""));
    TD_TRY(b64url_enc(b, buf_view(&obj)));
    TD_TRY(buf_str(b, "\""));
    if (empty) {
        TD_TRY(buf_str(b, ",\"error\":"));
        TD_TRY(jws_json_str(b, f->job->error_text ? f->job->error_text
                                                  : "The operation couldn\xe2\x80\x99t be "
                                                    "completed. (OSStatus error -67585.)"));
    }
    return buf_str(b, "}");
}

static enum td_err post_challenge(struct flow *f)
{
    struct json *o = NULL;
    buf_auto p;
    buf_init(&p, 98304);
    TD_TRY(challenge_payload(f, &p));
    struct step s = {"acme challenge", "POST", f->challenge, buf_cstr(&p), true};
    TD_TRY(send_json(f, &s, &o));
    if (status_is(o, "invalid"))
        return refusal_object(f->why, s.name, json_member(o, "error"), f->ei);
    if (!status_is(o, "valid")) /* Apple would sleep 5 s and go on; nothing good comes of it */
        return wrong(f, s.name, "neither valid nor invalid");
    return TD_OK;
}

static enum td_err csr_payload(struct flow *f, struct buf *b)
{
    const struct profile *p = f->job->profile;
    buf_auto der;
    buf_init(&der, 16384);
    bool swap = f->job->fault == ACME_CSR_OTHER_KEY;
    ossl_auto(EVP_PKEY) other = swap ? ossl_ec_key(EVP_PKEY_get_bits(f->res->key)) : NULL;
    if (swap && !other)
        return ossl_fail(f->ei, "key generation");
    struct csr_spec spec = {.key = other ? other : f->res->key,
                            .subject = p->acme.subject,
                            .san = p->acme.san,
                            .eku = p->acme.eku,
                            .usage = p->acme.usage};
    TD_TRY(csr_build(&spec, &f->a, &der, f->ei));
    TD_TRY(buf_str(b, "{\"csr\":\""));
    TD_TRY(b64url_enc(b, buf_view(&der)));
    return buf_str(b, "\"}");
}

static enum td_err post_finalize(struct flow *f)
{
    struct json *o = NULL;
    buf_auto p;
    buf_init(&p, 32768);
    TD_TRY(csr_payload(f, &p));
    struct step s = {"acme finalize", "POST", f->finalize, buf_cstr(&p), true};
    TD_TRY(send_json(f, &s, &o));
    if (status_is(o, "invalid"))
        return refusal_object(f->why, s.name, json_member(o, "error"), f->ei);
    if (!status_is(o, "valid"))
        return wrong(f, s.name, "the order is not valid");
    return TD_OK;
}

static enum td_err get_order(struct flow *f)
{
    struct json *o = NULL;
    struct step s = {"acme order", "POST", f->order, NULL, true};
    TD_TRY(send_json(f, &s, &o));
    f->cert_url = member(o, "certificate");
    if (!status_is(o, "valid") || !f->cert_url)
        return wrong(f, s.name, "not valid, or no certificate");
    return TD_OK;
}

/* Only the first certificate of the chain is kept; it must be over the device's key. */
static enum td_err get_certificate(struct flow *f)
{
    httpread_auto r = {0};
    struct step s = {"acme certificate", "POST", f->cert_url, NULL, true};
    TD_TRY(send_step(f, &s, &r));
    X509 *cert = NULL;
    if (ossl_cert_from_pem(buf_view(&r.body), &cert, f->ei) != TD_OK)
        return wrong(f, s.name, "failed to obtain certificate");
    if (EVP_PKEY_eq(X509_get0_pubkey(cert), f->res->key) != 1) {
        X509_free(cert);
        return wrong(f, s.name, "the certificate is over another key");
    }
    f->res->cert = cert;
    return TD_OK;
}

static enum td_err (*const steps[])(struct flow *) = {
    get_directory,  head_nonce,    new_account, new_order,       get_authz,
    post_challenge, post_finalize, get_order,   get_certificate,
};

void acme_result_free(struct acme_result *r)
{
    EVP_PKEY_free(r->key);
    X509_free(r->cert);
    *r = (struct acme_result){0};
}

enum td_err acme_run(const struct acme_job *job, struct acme_result *ret, struct refusal *why,
                     struct errinfo *ei)
{
    struct acme_result res = {0};
    struct flow f = {.job = job, .res = &res, .why = why, .ei = ei};
    arena_init(&f.a, ARENA_MAX);
    job->http->user_agent = ACME_USER_AGENT;
    job->http->timeout_ms = TIMEOUT_MS;
    job->http->post_once = true; /* its nonce may be used */
    res.key = ossl_ec_key(job->key_size ? job->key_size : (int)job->profile->acme.key_size);
    f.account = ossl_ec_key(256);
    enum td_err e = res.key && f.account ? TD_OK : ossl_fail(ei, "key generation");
    for (size_t i = 0; e == TD_OK && i < TD_NITEMS(steps); i++)
        e = steps[i](&f);
    EVP_PKEY_free(f.account);
    arena_free(&f.a);
    *ret = res;
    return e;
}
