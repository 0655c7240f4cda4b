/* An ACME client for tests: builds every byte of a request by itself, honestly or with a twist. */
#ifndef TD_TESTS_UNIT_ACME_ACME_CLIENT_H
#define TD_TESTS_UNIT_ACME_ACME_CLIENT_H

#include "mdm/crypt/mac.h"
#include "tests/unit/acme/acme_test.h"

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

/* A flattened JWS by a key, whatever its header says; `mac` (NULL for none) instead of a signature.
 */
static inline const char *jws_text(struct client *c, const struct key *key, const char *prot,
                                   const char *payload, const struct span *mac)
{
    struct arena *a = &c->arena;
    const char *p64 = b64url_str(a, span_str(prot)), *b64 = b64url_str(a, span_str(payload));
    struct span data = span_str(arena_printf(a, "%s.%s", p64, b64 ? b64 : ""));
    struct span sig = {NULL, 0};
    if (mac) {
        uint8_t *out = arena_alloc(a, SHA256_SIZE);
        assert_ok(mac_hmac_sha256(*mac, data, out, NULL));
        sig = span_of(out, SHA256_SIZE);
    } else {
        sig = jws_raw(key, data, a);
    }
    return arena_printf(a, "{\"protected\":\"%s\",\"payload\":\"%s\",\"signature\":\"%s\"}", p64,
                        b64 ? b64 : "", b64url_str(a, sig));
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
    bool lab = strncmp(url, BASE "/acme/lab/", sizeof BASE "/acme/lab/" - 1) == 0;
    assert_string_equal(an.links[0], lab ? "<" BASE "/acme/lab/directory>;rel=\"index\""
                                         : "<" BASE "/acme/management/directory>;rel=\"index\"");
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

/* The whole way; the leaf. */
static inline struct cert *issue(struct client *c)
{
    struct cert *leaf;
    make_ready(c);
    struct answer an = try_finalize(c);
    accepted(&an, 200);
    an = post(c, str_of(an.json, "certificate"), "");
    accepted(&an, 200);
    assert_ok(cert_from_pem(span_str(an.body), &leaf, NULL));
    return leaf;
}

/* A fresh ClientIdentifier for another order of the same client. */
static inline void again(struct client *c)
{
    rng_token(&rng_system, c->client_id);
    struct cid_job j = {c->client_id, SERIAL, c->w->clock.at + 600};
    assert_ok(store_write(c->w->store, cid_add, &j, NULL));
    EVP_PKEY_free(c->device);
    c->device = fake_key("P-384");
    c->order = c->chal = NULL;
}

#endif
