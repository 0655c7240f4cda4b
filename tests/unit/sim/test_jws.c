#include "tests/unit/sim/simtest.h"

#include "mdm/base/b64.h"
#include "mdm/wire/json.h"
#include "tests/sim/jws.h"

#include <openssl/bn.h>

static EVP_PKEY *key;

static int setup(void **state)
{
    (void)state;
    key = ossl_ec_key(256);
    return key ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    EVP_PKEY_free(key);
    return 0;
}

/* A member of the JWS, and its decoding. */
static const char *member(struct json *o, const char *name)
{
    const char *v = NULL;
    assert_int_equal(json_get_str(o, name, &v), TD_OK);
    return v;
}

static struct span decoded(struct arena *a, const char *s)
{
    struct span out = {0};
    assert_int_equal(b64url_dec(a, span_str(s), &out), TD_OK);
    return out;
}

/* Verifies R||S of given split with OpenSSL over protected.payload. */
static bool verifies(struct json *o, struct arena *a, size_t rn)
{
    struct span raw = decoded(a, member(o, "signature"));
    char *input = arena_printf(a, "%s.%s", member(o, "protected"), member(o, "payload"));
    ossl_auto(ECDSA_SIG) sig = ECDSA_SIG_new();
    ECDSA_SIG_set0(sig, BN_bin2bn(raw.p, (int)rn, NULL),
                   BN_bin2bn(raw.p + rn, (int)(raw.n - rn), NULL));
    unsigned char *der = NULL;
    int n = i2d_ECDSA_SIG(sig, &der);
    ossl_auto(EVP_MD_CTX) ctx = EVP_MD_CTX_new();
    bool ok =
        n > 0 && EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
        EVP_DigestVerify(ctx, der, (size_t)n, (const unsigned char *)input, strlen(input)) == 1;
    OPENSSL_free(der);
    return ok;
}

static struct json *written(const struct jws_spec *s, struct arena *a, size_t *ret_n)
{
    struct json *o = NULL;
    buf_auto b;
    buf_init(&b, 65536);
    assert_int_equal(jws_write(s, &b, ret_n, NULL), TD_OK);
    /* the order of members that Apple's encoder writes */
    assert_true(span_starts(buf_view(&b), SPAN_LIT("{\"protected\":\"")));
    assert_true(strstr(buf_cstr(&b), "\",\"payload\":\"") < strstr(buf_cstr(&b), "\"signature\""));
    assert_int_equal(json_parse(arena_span(a, buf_view(&b)), a, &o, NULL), TD_OK);
    assert_int_equal(json_size(o), 3);
    return o;
}

static void with_jwk(void **state)
{
    arena_auto a;
    arena_init(&a, 1048576);
    size_t n = 0;
    buf_auto jwk;
    (void)state;
    struct jws_spec s = {.key = key,
                         .nonce = "N-1_x",
                         .url = "https://h:1/new-account",
                         .payload = "{\"termsOfServiceAgreed\":true}"};
    struct json *o = written(&s, &a, &n);
    assert_int_equal(n, 64);
    assert_true(verifies(o, &a, 32));
    struct span header = decoded(&a, member(o, "protected"));
    buf_init(&jwk, 1024);
    assert_int_equal(jws_jwk(key, &jwk, NULL), TD_OK);
    char *want = arena_printf(&a,
                              "{\"alg\":\"ES256\",\"jwk\":%s,\"nonce\":\"N-1_x\","
                              "\"url\":\"https://h:1/new-account\"}",
                              buf_cstr(&jwk));
    assert_true(span_eq_str(header, want));
    assert_true(span_eq_str(decoded(&a, member(o, "payload")), s.payload));
    assert_true(span_starts(buf_view(&jwk), SPAN_LIT("{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":")));
}

static void post_as_get_with_kid(void **state)
{
    arena_auto a;
    arena_init(&a, 1048576);
    (void)state;
    struct jws_spec s = {.key = key, .kid = "https://h/acct/1", .nonce = "n", .url = "https://h/o"};
    struct json *o = written(&s, &a, NULL);
    assert_string_equal(member(o, "payload"), "");
    assert_true(verifies(o, &a, 32));
    assert_true(span_eq_str(decoded(&a, member(o, "protected")),
                            "{\"alg\":\"ES256\",\"kid\":\"https://h/acct/1\",\"nonce\":\"n\","
                            "\"url\":\"https://h/o\"}"));
}

/* Shorter than 64 bytes, and right for one split of R and S. */
static void short_signature(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        arena_auto a;
        arena_init(&a, 1048576);
        size_t n = 0;
        struct jws_spec s = {.key = key,
                             .kid = "k",
                             .nonce = "n",
                             .url = "u",
                             .payload = "{}",
                             .short_signature = true};
        struct json *o = written(&s, &a, &n);
        assert_in_range(n, 32, 63);
        bool ok = false;
        for (size_t rn = n - 32; rn <= 32; rn++)
            ok = ok || verifies(o, &a, rn);
        assert_true(ok);
    }
}

static void escapes(void **state)
{
    buf_auto b;
    (void)state;
    buf_init(&b, 64);
    assert_int_equal(jws_json_str(&b, "a/\"\\\n\xc3\xa9"), TD_OK);
    assert_string_equal(buf_cstr(&b), "\"a/\\\"\\\\\\u000a\xc3\xa9\"");
}

static void other_curve(void **state)
{
    buf_auto b;
    (void)state;
    buf_init(&b, 1024);
    ossl_auto(EVP_PKEY) p384 = ossl_ec_key(384);
    assert_int_equal(jws_jwk(p384, &b, NULL), TD_INVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_jwk),        cmocka_unit_test(post_as_get_with_kid),
        cmocka_unit_test(short_signature), cmocka_unit_test(escapes),
        cmocka_unit_test(other_curve),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
