/* JWS and JWK against published vectors and every accepted algorithm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>

#include "acme/server/jwk.h"
#include "acme/server/jws.h"
#include "mdm/base/b64.h"
#include "mdm/base/limits.h"

#define assert_ok(expr) assert_int_equal((expr), TD_OK)

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, (size_t)16 << 20);
    return crypt_init(NULL) == TD_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

static enum td_err verify(const char *prot, const char *payload, const char *sig,
                          struct errinfo *ei)
{
    struct jws j;
    struct jwk k;
    *ei = (struct errinfo){0};
    const char *body =
        arena_printf(&arena, "{\"protected\":\"%s\",\"payload\":\"%s\",\"signature\":\"%s\"}", prot,
                     payload, sig);
    TD_TRY(jws_parse(span_str(body), JWS_REQUEST, &arena, &j, ei));
    TD_TRY(jwk_parse(j.jwk, &arena, &k, ei));
    return jws_verify(&j, k.key, ei);
}

static const char *member(const struct json *o, const char *key)
{
    const char *v = NULL;
    assert_ok(json_get_str(o, key, &v));
    return v;
}

/* Signatures with dropped leading zeros (reference section 4, quirk 14), good and bad. */
static void short_signatures(void **state)
{
    (void)state;
    char *text = calloc(1, 1 << 20);
    FILE *f = fopen(TD_VECTORS "/jws/es256-short-signatures.json", "r");
    assert_non_null(f);
    size_t n = fread(text, 1, 1 << 20, f), good = 0, bad = 0;
    fclose(f);
    struct json *v;
    assert_ok(json_parse(span_of(text, n), &arena, &v, NULL));
    const struct json *cases = json_member(v, "cases");
    for (size_t i = 0; i < json_size(cases); i++) {
        const struct json *c = json_element(cases, i);
        struct errinfo ei;
        enum td_err e =
            verify(member(c, "protected"), member(c, "payload"), member(c, "signature"), &ei);
        bool want = strcmp(member(c, "verdict"), "accept") == 0;
        if ((e == TD_OK) != want)
            fail_msg("case %s: %s (%s)", member(c, "name"), err_name(e), ei.msg);
        *(want ? &good : &bad) += 1;
    }
    assert_true(good >= 5 && bad >= 5);
    free(text);
}

static enum td_err parse_jwk(const char *text, struct jwk *ret, struct errinfo *ei)
{
    struct json *v;
    *ei = (struct errinfo){0};
    assert_ok(json_parse(span_str(text), &arena, &v, NULL));
    return jwk_parse(v, &arena, ret, ei);
}

#define RFC7638_N                                                                                  \
    "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECP" \
    "ebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY" \
    "368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0f" \
    "M4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
#define P256_X "zFd6voabxeGqCgVyOSxJChLO_8gX68NgEHcmbFqJRrE"
#define P256_Y "4IBE8uL8WYR6L-84uXsQdR7-uXATzdfvC_DtPYpJd0M"

/* RFC 7638 section 3.1, RFC 8037 appendix A.3. */
static void thumbprints(void **state)
{
    (void)state;
    static const struct {
        const char *jwk, *thumbprint;
    } rows[] = {
        {"{\"kty\":\"RSA\",\"n\":\"" RFC7638_N "\",\"e\":\"AQAB\",\"alg\":\"RS256\","
         "\"kid\":\"2011-04-29\"}",
         "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"},
        {"{\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\",\"crv\":\"Ed25519\","
         "\"kty\":\"OKP\"}",
         "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct jwk k, again;
        struct errinfo ei;
        if (parse_jwk(rows[i].jwk, &k, &ei) != TD_OK)
            fail_msg("row %zu: %s", i, ei.msg);
        assert_string_equal(b64url_str(&arena, SPAN_ARR(k.thumbprint)), rows[i].thumbprint);
        assert_ok(parse_jwk(k.canonical, &again, &ei));
        assert_memory_equal(k.thumbprint, again.thumbprint, SHA256_SIZE);
    }
}

static void jwk_refused(void **state)
{
    (void)state;
    static const struct {
        const char *jwk, *reason;
    } rows[] = {
        {"{}", "jwk-malformed"},
        {"{\"kty\":1}", "jwk-malformed"},
        {"{\"kty\":\"oct\",\"k\":\"AAAA\"}", "jwk-malformed"},
        {"{\"kty\":\"oct\"}", "jwk-unsupported"},
        {"{\"kty\":\"ec\"}", "jwk-unsupported"},
        {"{\"kty\":\"EC\"}", "jwk-malformed"},
        {"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" P256_X "\"}", "jwk-malformed"},
        {"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" P256_X "\",\"y\":\"\"}", "jwk-malformed"},
        {"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" P256_X "\",\"y\":\"AAAA\"}", "jwk-malformed"},
        {"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" P256_X "\",\"y\":\"" P256_Y "=\"}",
         "jwk-malformed"},
        /* on no curve */
        {"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" P256_X "\",\"y\":\"" P256_X "\"}",
         "jwk-unsupported"},
        {"{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"" P256_X "\",\"y\":\"" P256_Y "\"}",
         "jwk-malformed"},
        {"{\"kty\":\"EC\",\"crv\":\"secp256k1\",\"x\":\"" P256_X "\",\"y\":\"" P256_Y "\"}",
         "jwk-unsupported"},
        {"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" P256_X "\",\"y\":\"" P256_Y
         "\",\"d\":\"AAAA\"}",
         "jwk-malformed"},
        {"{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}", "jwk-unsupported"},
        {"{\"kty\":\"RSA\",\"n\":\"AA" RFC7638_N "\",\"e\":\"AQAB\"}", "jwk-malformed"},
        {"{\"kty\":\"RSA\",\"n\":\"" RFC7638_N "\",\"e\":\"AAEAAQ\"}", "jwk-malformed"},
        {"{\"kty\":\"RSA\",\"n\":\"" RFC7638_N "\",\"e\":\"AQ\"}", "jwk-unsupported"},
        {"{\"kty\":\"RSA\",\"n\":\"" RFC7638_N "\"}", "jwk-malformed"},
        {"{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"" P256_X "\"}", "jwk-unsupported"},
        {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAA\"}", "jwk-malformed"},
        {"[]", "jwk-malformed"},
        {"\"x\"", "jwk-malformed"},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct jwk k;
        struct errinfo ei;
        enum td_err e = parse_jwk(rows[i].jwk, &k, &ei);
        if (e == TD_OK || !ei.reason || strcmp(ei.reason, rows[i].reason) != 0)
            fail_msg("row %zu: %s %s", i, err_name(e), ei.reason ? ei.reason : "-");
        assert_string_equal(ei.acme, "badPublicKey");
    }
    struct jwk k;
    assert_int_not_equal(jwk_parse(NULL, &arena, &k, NULL), TD_OK);
}

/* A signed message by OpenSSL alone, for the algorithms that the clients at hand do not use. */
static const char *sign(EVP_PKEY *key, const EVP_MD *md, const char *input)
{
    uint8_t sig[512];
    size_t n = sizeof sig;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestSignInit(ctx, NULL, md, NULL, key), 1);
    assert_int_equal(EVP_DigestSign(ctx, sig, &n, (const unsigned char *)input, strlen(input)), 1);
    EVP_MD_CTX_free(ctx);
    return b64url_str(&arena, span_of(sig, n));
}

static const char *rsa_member(EVP_PKEY *key, const char *name)
{
    BIGNUM *bn = NULL;
    uint8_t b[512];
    assert_int_equal(EVP_PKEY_get_bn_param(key, name, &bn), 1);
    int n = BN_bn2bin(bn, b);
    BN_free(bn);
    return b64url_str(&arena, span_of(b, (size_t)n));
}

static void try_alg(EVP_PKEY *key, const EVP_MD *md, const char *alg, const char *jwk)
{
    struct errinfo ei;
    const char *prot = b64url_str(
        &arena,
        span_str(arena_printf(&arena, "{\"alg\":\"%s\",\"nonce\":\"n\",\"url\":\"u\",\"jwk\":%s}",
                              alg, jwk)));
    const char *sig = sign(key, md, arena_printf(&arena, "%s.e30", prot));
    assert_ok(verify(prot, "e30", sig, &ei));
    assert_int_equal(verify(prot, "W10", sig, &ei), TD_FORBIDDEN); /* another payload */
    assert_string_equal(ei.reason, "signature-bad");
    assert_int_equal(verify(prot, "e30", "", &ei), TD_FORBIDDEN);
    assert_int_equal(verify(prot, "e30", "AAAA", &ei), TD_FORBIDDEN);
}

static void algorithms(void **state)
{
    (void)state;
    EVP_PKEY *rsa = EVP_RSA_gen(2048);
    try_alg(rsa, EVP_sha256(), "RS256",
            arena_printf(&arena, "{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"%s\"}",
                         rsa_member(rsa, OSSL_PKEY_PARAM_RSA_N),
                         rsa_member(rsa, OSSL_PKEY_PARAM_RSA_E)));
    EVP_PKEY_free(rsa);
    EVP_PKEY *ed = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    uint8_t pub[32];
    size_t n = sizeof pub;
    assert_int_equal(EVP_PKEY_get_raw_public_key(ed, pub, &n), 1);
    try_alg(ed, NULL, "EdDSA",
            arena_printf(&arena, "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"%s\"}",
                         b64url_str(&arena, span_of(pub, n))));
    EVP_PKEY_free(ed);
    size_t names = 0;
    while (jws_alg_name(names))
        names++;
    assert_int_equal(names, 4);
}

/* The body at its limit and one byte over. */
static void size_limit(void **state)
{
    (void)state;
    char *body = calloc(1, LIMIT_BODY_JWS + 2);
    memset(body, ' ', LIMIT_BODY_JWS + 1);
    body[0] = '{';
    struct jws j;
    struct errinfo ei = {0};
    body[LIMIT_BODY_JWS - 1] = '}';
    assert_int_equal(jws_parse(span_of(body, LIMIT_BODY_JWS), JWS_REQUEST, &arena, &j, &ei),
                     TD_PARSE);
    assert_int_equal(jws_parse(span_of(body, LIMIT_BODY_JWS + 1), JWS_REQUEST, &arena, &j, &ei),
                     TD_LIMIT);
    assert_string_equal(ei.reason, "jws-malformed");
    free(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_signatures), cmocka_unit_test(thumbprints),
        cmocka_unit_test(jwk_refused),      cmocka_unit_test(algorithms),
        cmocka_unit_test(size_limit),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
