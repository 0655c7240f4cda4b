/* JWS signatures with ECDSA, whole and shortened (MB-36). */
#include "crypt_test.h"

#include "mdm/base/b64.h"
#include "mdm/crypt/der_int.h"
#include "mdm/wire/json.h"

#define VECTORS TD_VECTORS "/jws/es256-short-signatures.json"

static struct span b64url(struct arena *a, const struct json *obj, const char *name)
{
    const char *text;
    struct span s = {NULL, 0};
    assert_int_equal(json_get_str(obj, name, &text), TD_OK);
    assert_int_equal(b64url_dec(a, span_str(text), &s), TD_OK);
    return s;
}

/* "protected.payload", the signing input of RFC 7515 section 5.1. */
static struct span signing_input(struct arena *a, const struct json *c)
{
    const char *head, *payload;
    assert_int_equal(json_get_str(c, "protected", &head), TD_OK);
    assert_int_equal(json_get_str(c, "payload", &payload), TD_OK);
    return span_str(arena_printf(a, "%s.%s", head, payload));
}

static void test_vectors(void **state)
{
    (void)state;
    arena_auto a;
    arena_init(&a, 1 << 22);
    buf_auto b;
    struct json *root;
    assert_ok(fs_read(VECTORS, 1 << 20, &b, &ei));
    assert_ok(json_parse(buf_view(&b), &a, &root, &ei));
    const struct json *jwk = json_member(root, "public_jwk"), *cases = json_member(root, "cases");
    key_auto *k = NULL;
    assert_ok(key_from_ec(KEY_P256, b64url(&a, jwk, "x"), b64url(&a, jwk, "y"), &k, &ei));
    assert_true(json_size(cases) >= 19);
    for (size_t i = 0; i < json_size(cases); i++) {
        const struct json *c = json_element(cases, i);
        const char *verdict, *name;
        assert_int_equal(json_get_str(c, "verdict", &verdict), TD_OK);
        assert_int_equal(json_get_str(c, "name", &name), TD_OK);
        struct span sig = b64url(&a, c, "signature");
        enum td_err e = key_verify_jws_ecdsa(k, DIGEST_SHA256, signing_input(&a, c), sig, NULL);
        if (e != (strcmp(verdict, "accept") == 0 ? TD_OK : TD_CRYPTO))
            fail_msg("%s: %s", name, err_name(e));
    }
}

/* R and S at full size out of ECDSA-Sig-Value. */
static void raw_sig(struct span der, size_t size, uint8_t *out)
{
    struct span seq = {NULL, 0}, v;
    assert_true(der_get(&der, DER_SEQUENCE, &seq));
    memset(out, 0, 2 * size);
    for (size_t i = 1; i <= 2; i++) {
        assert_true(der_get(&seq, DER_INTEGER, &v));
        if (v.p[0] == 0)
            v = span_sub(v, 1, v.n - 1);
        memcpy(out + i * size - v.n, v.p, v.n);
    }
}

static void test_sizes(void **state)
{
    (void)state;
    static const struct {
        enum key_type t;
        enum digest_alg alg;
        size_t size;
    } rows[] = {{KEY_P256, DIGEST_SHA256, 32},
                {KEY_P384, DIGEST_SHA384, 48},
                {KEY_P521, DIGEST_SHA512, 66}};
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        arena_auto a;
        arena_init(&a, 1 << 16);
        key_auto *k = t_key(rows[i].t);
        struct span der, data = SPAN_LIT("a.b");
        uint8_t sig[2 * 66 + 1] = {0};
        assert_ok(key_sign(k, rows[i].alg, data, &a, &der, &ei));
        raw_sig(der, rows[i].size, sig);
        for (size_t n = 0; n <= 2 * rows[i].size + 1; n++) {
            struct span s = span_of(sig, n);
            enum td_err want = n == 2 * rows[i].size ? TD_OK : TD_CRYPTO;
            assert_err(want, key_verify_jws_ecdsa(k, rows[i].alg, data, s, &ei));
        }
        /* the algorithm of another curve */
        struct span s = span_of(sig, 2 * rows[i].size);
        enum digest_alg other = rows[(i + 1) % 3].alg;
        assert_err(TD_CRYPTO, key_verify_jws_ecdsa(k, other, data, s, &ei));
    }
}

/* Signatures until R or S begins with a zero octet; without it, it still holds on P-256 and not on
 * P-384. About one in 128 does. */
static void test_stripped(void **state)
{
    (void)state;
    key_auto *k = t_key(KEY_P256), *k384 = t_key(KEY_P384);
    int found = 0;
    for (unsigned i = 0; i < 20000 && found < 2; i++) {
        arena_auto a;
        arena_init(&a, 4096);
        bool p256 = found == 0;
        size_t n = p256 ? 32 : 48;
        enum digest_alg alg = p256 ? DIGEST_SHA256 : DIGEST_SHA384;
        struct span der, data = span_of(&i, sizeof(i));
        uint8_t sig[96];
        assert_ok(key_sign(p256 ? k : k384, alg, data, &a, &der, &ei));
        raw_sig(der, n, sig);
        if (sig[0] != 0)
            continue;
        struct span s = span_of(sig + 1, 2 * n - 1);
        enum td_err want = p256 ? TD_OK : TD_CRYPTO;
        assert_err(want, key_verify_jws_ecdsa(p256 ? k : k384, alg, data, s, &ei));
        found++;
    }
    assert_int_equal(found, 2);
}

static void test_wrong_type(void **state)
{
    (void)state;
    key_auto *k = t_key(KEY_RSA);
    static const uint8_t sig[64] = {1};
    assert_err(TD_CRYPTO,
               key_verify_jws_ecdsa(k, DIGEST_SHA256, SPAN_LIT("x"), SPAN_ARR(sig), &ei));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_stripped),
        cmocka_unit_test(test_wrong_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
