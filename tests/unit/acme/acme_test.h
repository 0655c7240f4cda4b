/* An ACME server on a temporary SQLite store with the real records and identifiers of acme/ca, a
 * signer that lives in the test, and a client that builds every byte of a request by itself.
 *
 * The signer_* functions below stand in for testudo-signer: being defined in the program itself,
 * they keep the linker from taking signer_client.o out of the library. */
#ifndef TD_TESTS_UNIT_ACME_ACME_TEST_H
#define TD_TESTS_UNIT_ACME_ACME_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/ecdsa.h>
#include <stdatomic.h>
#include <unistd.h>

#include "acme/ca/client_id.h"
#include "acme/server/acme.h"
#include "mdm/base/b64.h"
#include "mdm/base/limits.h"
#include "mdm/base/log.h"
#include "mdm/base/num.h"
#include "mdm/crypt/x509_build.h"
#include "mdm/store/attempts.h"
#include "mdm/wire/json.h"
#include "tests/unit/attest/fake_pki.h"

#define BASE "https://mdm.example.test:8443"
#define SERIAL "F2LXK0ABCD12"

#define assert_ok(expr) assert_int_equal((expr), TD_OK)

/* --- the signer ------------------------------------------------------------------------------- */

struct signer_client {
    struct cert *root, *issuing;
    struct key *key;
    atomic_int away;   /* answers TD_BUSY */
    atomic_int issued; /* certificates signed */
};

const struct cert *signer_client_root(const struct signer_client *c)
{
    return c->root;
}

const struct cert *signer_client_issuing(const struct signer_client *c)
{
    return c->issuing;
}

bool signer_client_alive(const struct signer_client *c)
{
    return !atomic_load(&c->away);
}

enum td_err signer_issue(struct signer_client *c, const struct signer_issue *r, struct arena *a,
                         struct span *ret_der, struct errinfo *ei)
{
    if (atomic_load(&c->away))
        return err_set(ei, TD_BUSY, "the signer is away");
    uint8_t serial[16];
    key_auto *pub = NULL;
    rng_fill(&rng_system, serial, sizeof serial);
    serial[0] = (serial[0] & 0x3f) | 0x40;
    TD_TRY(key_from_spki(r->spki, &pub, ei));
    struct x509_spec spec = {.serial = SPAN_ARR(serial),
                             .cn = r->device_serial,
                             .not_before = FAKE_NOW - 3600,
                             .not_after = FAKE_NOW + 90 * FAKE_DAY,
                             .public_key = pub,
                             .key_usage = X509_KU_DIGITAL_SIGNATURE,
                             .san_permanent_id = r->device_serial};
    atomic_fetch_add(&c->issued, 1);
    return x509_build(&spec, c->issuing, c->key, a, ret_der, ei);
}

enum td_err signer_ocsp(struct signer_client *c, const struct ocsp_single *singles, size_t n,
                        struct span nonce, struct arena *a, struct span *ret_der,
                        struct errinfo *ei)
{
    (void)c, (void)singles, (void)n, (void)nonce, (void)a, (void)ret_der;
    return err_set(ei, TD_BUSY, "no OCSP here");
}

static inline struct cert *ca_cert(const char *cn, const struct key *key, const struct cert *issuer,
                                   const struct key *issuer_key)
{
    static uint8_t serial = 1;
    arena_auto a;
    arena_init(&a, 1 << 20);
    struct span der;
    struct cert *c;
    serial++;
    struct x509_spec spec = {.serial = span_of(&serial, 1),
                             .cn = cn,
                             .not_before = FAKE_NOW - FAKE_DAY,
                             .not_after = FAKE_NOW + 3000 * FAKE_DAY,
                             .public_key = key,
                             .key_usage = X509_KU_CERT_SIGN,
                             .ca = true,
                             .path_len = -1};
    assert_ok(x509_build(&spec, issuer, issuer_key, &a, &der, NULL));
    assert_ok(cert_parse(der, &c, NULL));
    return c;
}

/* --- the server ------------------------------------------------------------------------------- */

enum listed { LISTED, NOT_LISTED, LISTED_FAULT };

struct world {
    char dir[64], db[96];
    struct clock_fixed clock;
    struct store *store;
    struct signer_client signer;
    struct ca *ca;
    struct fake_pki pki, foreign;
    struct attest_roots *roots;
    struct acme *acme;
    atomic_int listed; /* enum listed: what the inventory says of every device */
};

static inline enum td_err world_listed(void *ctx, struct tx *tx, const char *serial,
                                       struct errinfo *ei)
{
    struct world *w = ctx;
    (void)tx;
    assert_true(serial[0] != 0);
    static const enum td_err answers[] = {TD_OK, TD_NOTFOUND, TD_DB};
    int v = atomic_load(&w->listed);
    return answers[v] == TD_OK ? TD_OK : err_set(ei, answers[v], "the inventory's answer");
}

static inline void world_ca(struct world *w)
{
    key_auto *root_key = NULL;
    assert_ok(key_generate(KEY_P256, &root_key, NULL));
    assert_ok(key_generate(KEY_P256, &w->signer.key, NULL));
    w->signer.root = ca_cert("Test Root", root_key, NULL, root_key);
    w->signer.issuing = ca_cert("Test Issuing CA", w->signer.key, w->signer.root, root_key);
    struct ca_conf conf = {w->store, &w->signer, &w->clock.clock, &rng_system};
    assert_ok(ca_open(&conf, &w->ca, NULL));
}

static inline int world_setup(void **state)
{
    static struct world world;
    struct world *w = &world;
    struct errinfo ei = {0};
    *w = (struct world){.listed = LISTED};
    log_setup(LOG_ERROR, LOG_FORMAT_LOGFMT, 2);
    fake_ok(crypt_init(NULL) == TD_OK);
    clock_fixed_init(&w->clock, FAKE_NOW);
    snprintf(w->dir, sizeof w->dir, "/tmp/td-acme-XXXXXX");
    fake_ok(mkdtemp(w->dir) != NULL);
    snprintf(w->db, sizeof w->db, "sqlite:%.60s/db", w->dir);
    struct store_stmts sets[] = {acme_stmts, ca_stmts, client_id_stmts, attempt_stmts};
    struct store_conf sc = {.url = w->db,
                            .readers = 4,
                            .batch = 64,
                            .queue = 256,
                            .sets = sets,
                            .nsets = TD_NITEMS(sets),
                            .clock = &w->clock.clock};
    if (store_open(&sc, &w->store, &ei) != TD_OK) {
        fprintf(stderr, "store: %s\n", ei.msg);
        return -1;
    }
    world_ca(w);
    w->pki = fake_pki_new("Fake Attestation Root CA");
    w->foreign = fake_pki_new("Fake Attestation Root CA");
    arena_auto a;
    arena_init(&a, 1 << 20);
    struct span pem = fake_pem(w->pki.root.cert, &a);
    assert_ok(attest_roots_new(&pem, 1, &w->roots, NULL));
    struct acme_conf conf = {.store = w->store,
                             .ca = w->ca,
                             .roots = w->roots,
                             .clock = &w->clock.clock,
                             .rng = &rng_system,
                             .base_url = BASE,
                             .order_ttl = 3600,
                             .nonce_ttl = 600,
                             .ops = {w, world_listed}};
    assert_ok(acme_open(&conf, &w->acme, NULL));
    *state = w;
    return 0;
}

static inline int world_teardown(void **state)
{
    struct world *w = *state;
    acme_close(w->acme);
    attest_roots_free(w->roots);
    ca_close(w->ca);
    store_close(w->store);
    cert_free(w->signer.root);
    cert_free(w->signer.issuing);
    key_free(w->signer.key);
    fake_pki_free(&w->pki);
    fake_pki_free(&w->foreign);
    static const char *const ends[] = {"db", "db-wal", "db-shm"};
    char path[128];
    for (size_t i = 0; i < TD_NITEMS(ends); i++) {
        snprintf(path, sizeof path, "%.60s/%s", w->dir, ends[i]);
        unlink(path);
    }
    rmdir(w->dir);
    return 0;
}

/* Before each test: the usual time, everything listed, the signer there. */
static inline int world_reset(void **state)
{
    struct world *w = *state;
    w->clock.at = FAKE_NOW;
    atomic_store(&w->listed, LISTED);
    atomic_store(&w->signer.away, 0);
    return 0;
}

/* --- a transport without sockets ----------------------------------------------------------------
 */

struct answer {
    enum td_err err;
    int status;
    const char *reason, *body; /* body: NUL-terminated, in the arena */
    const char *location, *nonce, *links[3], *content_type, *retry_after;
    size_t nlinks;
    struct json *json; /* NULL when the body is none */
};

/* Matches a route's pattern against a path and takes the parameters. */
static inline bool route_match(const char *pattern, const char *path, struct req *r)
{
    size_t n = 0;
    while (*pattern) {
        if (*pattern == '{') {
            size_t len = strcspn(path, "/");
            r->params[n++] = span_of(path, len);
            path += len;
            pattern += strcspn(pattern, "}") + 1;
        } else if (*pattern++ != *path++) {
            return false;
        }
    }
    return !*path;
}

static inline const struct route *route_find(struct req *r, const char *path)
{
    for (size_t i = 0; i < acme_nroutes; i++)
        if ((acme_routes[i].methods & r->method) && route_match(acme_routes[i].path, path, r))
            return &acme_routes[i];
    return NULL;
}

static inline void take_headers(struct answer *an, const struct resp *resp)
{
    for (size_t i = 0; i < resp->nheaders; i++) {
        const char *name = resp->headers[i].name, *v = resp->headers[i].value;
        if (!strcmp(name, "Location"))
            an->location = v;
        else if (!strcmp(name, "Replay-Nonce"))
            an->nonce = v;
        else if (!strcmp(name, "Retry-After"))
            an->retry_after = v;
        else if (!strcmp(name, "Link") && an->nlinks < TD_NITEMS(an->links))
            an->links[an->nlinks++] = v;
    }
}

/* `target` is path and query. Answers live in the arena. */
static inline struct answer serve(struct world *w, struct arena *a, enum req_method method,
                                  const char *target, const char *type, struct span body)
{
    size_t plen = strcspn(target, "?");
    const char *path = arena_dup(a, span_of(target, plen));
    struct req r = {.method = method,
                    .listener = REQ_ON_PUBLIC,
                    .path = span_str(path),
                    .query = span_str(target[plen] ? target + plen + 1 : ""),
                    .body = body,
                    .content_type = span_str(type),
                    .peer_addr = "192.0.2.1",
                    .id = "t",
                    .arena = a,
                    .ctx = w->acme};
    const struct route *route = route_find(&r, path);
    assert_non_null(route);
    assert_true(body.n <= route->body_max);
    struct resp resp;
    struct errinfo ei = {0};
    struct answer an = {0};
    resp_init(&resp, a, 1 << 20);
    an.err = route->fn(&r, &resp, &ei);
    if (an.err != TD_OK) {
        buf_reset(&resp.body);
        route->problem(&r, &resp, an.err, &ei);
        an.reason = ei.reason ? ei.reason : "";
    }
    an.status = resp.status;
    an.content_type = resp.content_type;
    an.body = arena_dup(a, buf_view(&resp.body));
    take_headers(&an, &resp);
    if (json_parse(buf_view(&resp.body), a, &an.json, NULL) != TD_OK)
        an.json = NULL;
    resp_free(&resp);
    return an;
}

/* --- the client ---------------------------------------------------------------------------------
 */

struct client {
    struct world *w;
    struct arena arena;
    struct key *key;
    const char *kid; /* account URL */
    const char *nonce;
    const char *order, *authz, *chal, *token, *finalize, *cert; /* URLs */
    EVP_PKEY *device;
    char client_id[RNG_TOKEN_SIZE];
};

/* How a request departs from the rules; NULL and false follow them. */
struct twist {
    const char *alg, *url, *nonce, *kid, *type, *protected_json;
    bool jwk, both, neither, flip, keep_nonce;
    const char *crit;       /* a further member of the protected header, ",..." */
    const char *body_extra; /* a further member of the body, ",..." */
    const struct key *key;
    unsigned strip; /* wants a signature this many bytes short */
};

static inline struct span jws_raw(const struct key *key, struct span data, struct arena *a)
{
    struct span der;
    size_t half = key_type(key) == KEY_P384 ? 48 : 32;
    assert_ok(key_sign(key, half == 48 ? DIGEST_SHA384 : DIGEST_SHA256, data, a, &der, NULL));
    if (key_type(key) == KEY_RSA)
        return der;
    const unsigned char *p = der.p;
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &p, (long)der.n);
    fake_ok(sig != NULL);
    uint8_t *out = arena_alloc(a, 2 * half);
    fake_ok(BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, (int)half) == (int)half);
    fake_ok(BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + half, (int)half) == (int)half);
    ECDSA_SIG_free(sig);
    return span_of(out, 2 * half);
}

/* Drops leading zero octets of R and S, as older Apple clients do. */
static inline struct span jws_strip(struct span raw, struct arena *a)
{
    uint8_t *out = arena_alloc(a, raw.n);
    size_t n = 0;
    for (size_t half = 0; half < 2; half++) {
        size_t i = 32 * half, end = i + 32;
        while (i < end && raw.p[i] == 0)
            i++;
        memcpy(out + n, raw.p + i, end - i);
        n += end - i;
    }
    return span_of(out, n);
}

static inline const char *jwk_text(const struct key *k, struct arena *a)
{
    struct span point;
    assert_ok(key_ec_point(k, a, &point, NULL));
    size_t half = (point.n - 1) / 2;
    return arena_printf(a, "{\"kty\":\"EC\",\"crv\":\"%s\",\"x\":\"%s\",\"y\":\"%s\"}",
                        half == 48 ? "P-384" : "P-256", b64url_str(a, span_sub(point, 1, half)),
                        b64url_str(a, span_sub(point, 1 + half, half)));
}

static inline const char *protected_of(struct client *c, const char *url, const struct twist *t)
{
    const struct key *k = t->key ? t->key : c->key;
    const char *kid = t->kid ? t->kid : c->kid;
    bool jwk = t->jwk || !kid;
    const char *id = t->neither ? ""
                     : t->both  ? arena_printf(&c->arena, ",\"jwk\":%s,\"kid\":\"%s\"",
                                               jwk_text(k, &c->arena), kid)
                     : jwk      ? arena_printf(&c->arena, ",\"jwk\":%s", jwk_text(k, &c->arena))
                                : arena_printf(&c->arena, ",\"kid\":\"%s\"", kid);
    return arena_printf(&c->arena, "{\"alg\":\"%s\",\"nonce\":\"%s\",\"url\":\"%s\"%s%s}",
                        t->alg                    ? t->alg
                        : key_type(k) == KEY_P384 ? "ES384"
                                                  : "ES256",
                        t->nonce ? t->nonce : c->nonce, t->url ? t->url : url, id,
                        t->crit ? t->crit : "");
}

static inline struct span sign_twisted(struct client *c, const struct twist *t, struct span data)
{
    const struct key *k = t->key ? t->key : c->key;
    for (int i = 0; i < 20000; i++) {
        struct span raw = jws_raw(k, data, &c->arena);
        if (!t->strip)
            return raw;
        struct span s = jws_strip(raw, &c->arena);
        if (s.n == 64 - t->strip)
            return s;
    }
    fail_msg("no short signature in 20000");
    return (struct span){NULL, 0};
}

/* One signed POST to a URL below BASE; takes the nonce of the answer for the next one. */
static inline struct answer post_twisted(struct client *c, const char *url, const char *payload,
                                         const struct twist *t)
{
    struct arena *a = &c->arena;
    const char *prot = t->protected_json ? t->protected_json : protected_of(c, url, t);
    const char *p64 = b64url_str(a, span_str(prot)), *b64 = b64url_str(a, span_str(payload));
    const char *data = arena_printf(a, "%s.%s", p64, b64 ? b64 : "");
    struct span sig = sign_twisted(c, t, span_str(data));
    if (t->flip) {
        uint8_t *copy = arena_alloc(a, sig.n);
        memcpy(copy, sig.p, sig.n);
        copy[5] ^= 1;
        sig = span_of(copy, sig.n);
    }
    const char *body =
        arena_printf(a, "{\"payload\":\"%s\",\"protected\":\"%s\",\"signature\":\"%s\"%s}",
                     b64 ? b64 : "", p64, b64url_str(a, sig), t->body_extra ? t->body_extra : "");
    assert_memory_equal(url, BASE, sizeof BASE - 1);
    struct answer an = serve(c->w, a, REQ_POST, url + sizeof BASE - 1,
                             t->type ? t->type : "application/jose+json", span_str(body));
    assert_non_null(an.nonce); /* every POST's answer, error or not */
    assert_true(an.nlinks >= 1);
    assert_non_null(strstr(an.links[0], "/acme/management/directory>;rel=\"index\""));
    if (!t->keep_nonce)
        c->nonce = an.nonce;
    return an;
}

static inline struct answer post(struct client *c, const char *url, const char *payload)
{
    return post_twisted(c, url, payload, &(struct twist){0});
}

static inline const char *str_of(const struct json *o, const char *key)
{
    const char *v = NULL;
    if (!o || json_get_str(o, key, &v) != TD_OK)
        fail_msg("no text member %s", key);
    return v;
}

/* The ACME error type without its URN prefix; checks the document's form. */
static inline const char *problem_type(const struct answer *an)
{
    static const char urn[] = "urn:ietf:params:acme:error:";
    assert_string_equal(an->content_type, "application/problem+json");
    const char *t = str_of(an->json, "type");
    assert_memory_equal(t, urn, sizeof urn - 1);
    assert_non_null(str_of(an->json, "detail"));
    return t + sizeof urn - 1;
}

static inline void refused(const struct answer *an, int status, const char *type,
                           const char *reason)
{
    if (an->err == TD_OK)
        fail_msg("accepted, wanted %s: %s", reason, an->body);
    if (an->status != status || strcmp(problem_type(an), type) || strcmp(an->reason, reason))
        fail_msg("%d %s %s, wanted %d %s %s (%s)", an->status, problem_type(an), an->reason, status,
                 type, reason, an->body);
}

static inline void accepted(const struct answer *an, int status)
{
    if (an->err != TD_OK || an->status != status)
        fail_msg("%s %d: %s", err_name(an->err), an->status, an->body);
}

/* --- identifiers, records ------------------------------------------------------------------------
 */

struct cid_job {
    const char *id;
    const char *serial;
    int64_t expires;
};

static inline enum td_err cid_add(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct cid_job *j = ctx;
    return client_id_add(tx, j->id, j->serial, "management", FAKE_NOW, j->expires, ei);
}

struct attempt_job {
    struct arena *a;
    const char *serial;
    struct attempt *list;
    size_t n;
};

static inline enum td_err attempts_read(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct attempt_job *j = ctx;
    return attempt_list(tx, j->serial, INT64_MAX, 100, j->a, &j->list, &j->n, ei);
}

/* The newest record about a serial number ("" for none known). */
static inline struct attempt last_attempt(struct client *c, const char *serial)
{
    struct attempt_job j = {.a = &c->arena, .serial = serial};
    assert_ok(store_read(c->w->store, attempts_read, &j, NULL));
    assert_true(j.n > 0);
    return j.list[0];
}

static inline size_t count_attempts(struct client *c, const char *serial)
{
    struct attempt_job j = {.a = &c->arena, .serial = serial};
    assert_ok(store_read(c->w->store, attempts_read, &j, NULL));
    return j.n;
}

/* --- the steps of an enrolment -------------------------------------------------------------------
 */

static inline void client_init(struct client *c, struct world *w)
{
    *c = (struct client){.w = w};
    arena_init(&c->arena, (size_t)64 << 20);
    assert_ok(key_generate(KEY_P256, &c->key, NULL));
    c->device = fake_key("P-384");
    rng_token(&rng_system, c->client_id);
    struct cid_job j = {c->client_id, SERIAL, FAKE_NOW + 600};
    assert_ok(store_write(w->store, cid_add, &j, NULL));
}

static inline void client_free(struct client *c)
{
    key_free(c->key);
    EVP_PKEY_free(c->device);
    arena_free(&c->arena);
}

#define client_auto __attribute__((cleanup(client_free))) struct client

static inline void get_nonce(struct client *c)
{
    struct answer an =
        serve(c->w, &c->arena, REQ_HEAD, "/acme/new-nonce", "application/json", SPAN_LIT("{}"));
    accepted(&an, 200);
    assert_non_null(an.nonce);
    c->nonce = an.nonce;
}

static inline void new_account(struct client *c)
{
    if (!c->nonce)
        get_nonce(c);
    struct answer an = post(c, BASE "/acme/new-account", "{\"termsOfServiceAgreed\":true}");
    accepted(&an, 201);
    assert_non_null(an.location);
    assert_string_equal(str_of(an.json, "status"), "valid");
    assert_memory_equal(str_of(an.json, "orders"), an.location, strlen(an.location));
    c->kid = an.location;
}

static inline const char *order_payload(struct client *c, const char *id)
{
    return arena_printf(
        &c->arena, "{\"identifiers\":[{\"type\":\"permanent-identifier\",\"value\":\"%s\"}]}", id);
}

static inline struct answer try_order(struct client *c)
{
    return post(c, BASE "/acme/management/new-order", order_payload(c, c->client_id));
}

static inline void new_order(struct client *c)
{
    if (!c->kid)
        new_account(c);
    struct answer an = try_order(c);
    accepted(&an, 201);
    assert_string_equal(str_of(an.json, "status"), "pending");
    const struct json *id = json_element(json_member(an.json, "identifiers"), 0);
    assert_string_equal(str_of(id, "type"), "permanent-identifier");
    assert_string_equal(str_of(id, "value"), c->client_id);
    c->order = an.location;
    c->authz = json_str(json_element(json_member(an.json, "authorizations"), 0));
    c->finalize = str_of(an.json, "finalize");
    assert_non_null(c->authz);
    assert_null(json_member(an.json, "certificate"));
}

static inline void get_authz(struct client *c)
{
    if (!c->order)
        new_order(c);
    struct answer an = post(c, c->authz, "");
    accepted(&an, 200);
    assert_string_equal(str_of(an.json, "status"), "pending");
    const struct json *ch = json_member(an.json, "challenges");
    assert_int_equal(json_size(ch), 1);
    ch = json_element(ch, 0);
    assert_string_equal(str_of(ch, "type"), "device-attest-01");
    assert_string_equal(str_of(ch, "status"), "pending");
    c->chal = str_of(ch, "url");
    c->token = str_of(ch, "token");
}

/* The leaf an honest device shows. */
static inline struct fake_leaf honest(struct client *c)
{
    uint8_t *h = arena_alloc(&c->arena, SHA256_SIZE);
    digest_sha256(span_str(c->token), h);
    return (struct fake_leaf){
        .key = c->device, .serial = SERIAL, .freshness = span_of(h, SHA256_SIZE)};
}

static inline struct span chain_obj(struct client *c, const struct fake_leaf *l,
                                    const struct fake_pki *p)
{
    struct span x5c[2] = {fake_leaf_der(p, l, &c->arena), fake_der(p->sub.cert, &c->arena)};
    return fake_attobj("apple", x5c, 2, &c->arena);
}

static inline const char *att_payload(struct client *c, struct span obj)
{
    return arena_printf(&c->arena, "{\"attObj\":\"%s\"}", b64url_str(&c->arena, obj));
}

static inline struct answer attest(struct client *c, const struct fake_leaf *l)
{
    return post(c, c->chal, att_payload(c, chain_obj(c, l, &c->w->pki)));
}

static inline void make_ready(struct client *c)
{
    if (!c->chal)
        get_authz(c);
    struct fake_leaf l = honest(c);
    struct answer an = attest(c, &l);
    accepted(&an, 200);
    assert_string_equal(str_of(an.json, "status"), "valid");
    assert_int_equal(an.nlinks, 2);
    assert_non_null(strstr(an.links[1], ">;rel=\"up\""));
}

static inline struct span csr_der(EVP_PKEY *key, struct arena *a)
{
    X509_REQ *r = X509_REQ_new();
    X509_NAME *name = X509_NAME_new();
    unsigned char *p = NULL;
    fake_ok(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                       (const unsigned char *)"whatever I like", -1, -1, 0) == 1);
    fake_ok(X509_REQ_set_subject_name(r, name) == 1 && X509_REQ_set_pubkey(r, key) == 1);
    fake_ok(X509_REQ_sign(r, key, EVP_sha256()) > 0);
    int n = i2d_X509_REQ(r, &p);
    fake_ok(n > 0);
    struct span der = arena_span(a, span_of(p, (size_t)n));
    OPENSSL_free(p);
    X509_NAME_free(name);
    X509_REQ_free(r);
    return der;
}

static inline const char *csr_payload(struct client *c, struct span der)
{
    return arena_printf(&c->arena, "{\"csr\":\"%s\"}", b64url_str(&c->arena, der));
}

static inline struct answer try_finalize(struct client *c)
{
    return post(c, c->finalize, csr_payload(c, csr_der(c->device, &c->arena)));
}

#endif
