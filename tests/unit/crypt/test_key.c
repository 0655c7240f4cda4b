#include "crypt_test.h"

#include <pthread.h>

#include "mdm/base/b64.h"

static struct span span_dup_cut(struct arena *a, struct span s, size_t n)
{
    return arena_span(a, span_sub(s, 0, n));
}

static const enum key_type made[] = {KEY_P256, KEY_P384, KEY_P521, KEY_RSA};
static const int made_bits[] = {256, 384, 521, 2048};

static void test_generate_spki(void **state)
{
    (void)state;
    for (size_t i = 0; i < TD_NITEMS(made); i++) {
        arena_auto a;
        arena_init(&a, 1 << 16);
        key_auto *k = t_key(made[i]);
        assert_int_equal(key_type(k), made[i]);
        assert_int_equal(key_bits(k), made_bits[i]);
        struct span spki, again;
        assert_ok(key_spki(k, &a, &spki, &ei));
        key_auto *pub = NULL;
        assert_ok(key_from_spki(spki, &pub, &ei));
        assert_int_equal(key_type(pub), made[i]);
        assert_int_equal(key_bits(pub), made_bits[i]);
        assert_ok(key_spki(pub, &a, &again, &ei));
        assert_true(span_eq(spki, again));
        assert_true(key_equal(k, pub));
        key_auto *other = t_key(made[i]);
        assert_false(key_equal(k, other));
        assert_false(key_equal(k, NULL));
    }
    key_auto *k = NULL;
    assert_err(TD_INVAL, key_generate(KEY_OTHER, &k, &ei));
}

static void test_sign_verify(void **state)
{
    (void)state;
    static const enum digest_alg algs[] = {DIGEST_SHA256, DIGEST_SHA384, DIGEST_SHA512};
    struct span data = SPAN_LIT("to be signed");
    for (size_t i = 0; i < TD_NITEMS(made); i++) {
        key_auto *k = t_key(made[i]), *other = t_key(made[i]);
        for (size_t j = 0; j < TD_NITEMS(algs); j++) {
            arena_auto a;
            arena_init(&a, 1 << 16);
            struct span sig;
            assert_ok(key_sign(k, algs[j], data, &a, &sig, &ei));
            assert_ok(key_verify(k, algs[j], data, sig, &ei));
            assert_err(TD_CRYPTO, key_verify(k, algs[j], SPAN_LIT("else"), sig, &ei));
            assert_err(TD_CRYPTO, key_verify(other, algs[j], data, sig, &ei));
            assert_err(TD_CRYPTO, key_verify(k, algs[j], data, span_sub(sig, 0, sig.n - 1), &ei));
            assert_err(TD_CRYPTO, key_verify(k, algs[j], data, (struct span){NULL, 0}, &ei));
            assert_err(TD_CRYPTO, key_verify(k, algs[(j + 1) % 3], data, sig, &ei));
            static const uint8_t big[2000];
            assert_err(TD_CRYPTO, key_verify(k, algs[j], data, SPAN_ARR(big), &ei));
        }
    }
}

static void test_sign_arena_full(void **state)
{
    (void)state;
    key_auto *k = t_key(KEY_P256);
    arena_auto a;
    arena_init(&a, 16);
    struct span sig;
    assert_err(TD_NOMEM, key_sign(k, DIGEST_SHA256, SPAN_LIT("x"), &a, &sig, &ei));
    assert_err(TD_NOMEM, key_spki(k, &a, &sig, &ei));
    assert_err(TD_NOMEM, key_ec_point(k, &a, &sig, &ei));
}

static void test_ed25519(void **state)
{
    (void)state;
    /* RFC 8032 section 7.1, test 2 */
    static const uint8_t pub[] = {0x3d, 0x40, 0x17, 0xc3, 0xe8, 0x43, 0x89, 0x5a, 0x92, 0xb7, 0x0a,
                                  0xa7, 0x4d, 0x1b, 0x7e, 0xbc, 0x9c, 0x98, 0x2c, 0xcf, 0x2e, 0xc4,
                                  0x96, 0x8c, 0xc0, 0xcd, 0x55, 0xf1, 0x2a, 0xf4, 0x66, 0x0c};
    static const uint8_t sig[] = {0x92, 0xa0, 0x09, 0xa9, 0xf0, 0xd4, 0xca, 0xb8, 0x72, 0x0e, 0x82,
                                  0x0b, 0x5f, 0x64, 0x25, 0x40, 0xa2, 0xb2, 0x7b, 0x54, 0x16, 0x50,
                                  0x3f, 0x8f, 0xb3, 0x76, 0x22, 0x23, 0xeb, 0xdb, 0x69, 0xda, 0x08,
                                  0x5a, 0xc1, 0xe4, 0x3e, 0x15, 0x99, 0x6e, 0x45, 0x8f, 0x36, 0x13,
                                  0xd0, 0xf1, 0x1d, 0x8c, 0x38, 0x7b, 0x2e, 0xae, 0xb4, 0x30, 0x2a,
                                  0xee, 0xb0, 0x0d, 0x29, 0x16, 0x12, 0xbb, 0x0c, 0x00};
    key_auto *k = NULL;
    assert_ok(key_from_ed25519(SPAN_ARR(pub), &k, &ei));
    assert_int_equal(key_type(k), KEY_ED25519);
    assert_ok(key_verify(k, DIGEST_SHA512, SPAN_LIT("\x72"), SPAN_ARR(sig), &ei));
    assert_err(TD_CRYPTO, key_verify(k, DIGEST_SHA512, SPAN_LIT("\x73"), SPAN_ARR(sig), &ei));
    key_auto *bad = NULL;
    assert_err(TD_PARSE, key_from_ed25519(span_of(pub, 31), &bad, &ei));
    assert_err(TD_PARSE, key_from_ed25519((struct span){NULL, 0}, &bad, &ei));
    arena_auto a;
    arena_init(&a, 4096);
    struct span spki;
    assert_ok(key_spki(k, &a, &spki, &ei));
    key_auto *again = NULL;
    assert_ok(key_from_spki(spki, &again, &ei));
    assert_true(key_equal(k, again));
    struct span point;
    assert_err(TD_UNSUPPORTED, key_ec_point(k, &a, &point, &ei));
}

static void test_from_ec(void **state)
{
    (void)state;
    static const size_t sizes[] = {32, 48, 66};
    for (size_t i = 0; i < TD_NITEMS(sizes); i++) {
        arena_auto a;
        arena_init(&a, 1 << 16);
        key_auto *k = t_key(made[i]), *same = NULL, *bad = NULL;
        struct span point;
        assert_ok(key_ec_point(k, &a, &point, &ei));
        size_t n = sizes[i];
        assert_int_equal(point.n, 1 + 2 * n);
        assert_int_equal(point.p[0], 4);
        struct span x = span_sub(point, 1, n), y = span_sub(point, 1 + n, n);
        assert_ok(key_from_ec(made[i], x, y, &same, &ei));
        assert_true(key_equal(k, same));
        /* not on the curve, wrong sizes, wrong curve */
        assert_err(TD_PARSE, key_from_ec(made[i], y, x, &bad, &ei));
        assert_err(TD_PARSE, key_from_ec(made[i], span_sub(x, 1, n - 1), y, &bad, &ei));
        assert_err(TD_PARSE, key_from_ec(made[i], x, (struct span){NULL, 0}, &bad, &ei));
        assert_err(TD_PARSE, key_from_ec(made[(i + 1) % 3], x, y, &bad, &ei));
        assert_err(TD_INVAL, key_from_ec(KEY_RSA, x, y, &bad, &ei));
        uint8_t zero[66] = {0}, full[66];
        memset(full, 0xff, sizeof(full));
        assert_err(TD_PARSE, key_from_ec(made[i], span_of(zero, n), span_of(zero, n), &bad, &ei));
        assert_err(TD_PARSE, key_from_ec(made[i], span_of(full, n), y, &bad, &ei));
    }
}

/* The compressed form of an SPKI gives the same key, in its canonical form. */
static void test_spki_compressed(void **state)
{
    (void)state;
    arena_auto a;
    arena_init(&a, 1 << 16);
    key_auto *k = t_key(KEY_P256), *same = NULL, *bad = NULL;
    struct span spki, point;
    assert_ok(key_spki(k, &a, &spki, &ei));
    assert_ok(key_ec_point(k, &a, &point, &ei));
    assert_int_equal(spki.n, 91);
    uint8_t der[59];
    memcpy(der, spki.p, 26);
    der[1] = 57;
    der[24] = 34;
    der[26 - 1] = 0;
    der[26] = (uint8_t)(2 | (point.p[64] & 1));
    memcpy(der + 27, point.p + 1, 32);
    assert_ok(key_from_spki(SPAN_ARR(der), &same, &ei));
    assert_true(key_equal(k, same));
    der[26] = 5;
    assert_err(TD_PARSE, key_from_spki(SPAN_ARR(der), &bad, &ei));
}

static void test_spki_bad(void **state)
{
    (void)state;
    arena_auto a;
    arena_init(&a, 1 << 20);
    key_auto *k = t_key(KEY_P256), *bad = NULL;
    struct span spki;
    assert_ok(key_spki(k, &a, &spki, &ei));
    for (size_t n = 0; n < spki.n; n++)
        assert_err(TD_PARSE, key_from_spki(span_dup_cut(&a, spki, n), &bad, &ei));
    uint8_t longer[92] = {0};
    memcpy(longer, spki.p, spki.n);
    assert_err(TD_PARSE, key_from_spki(SPAN_ARR(longer), &bad, &ei));
    /* curve secp256k1 */
    static const uint8_t k1[] = {0x30, 0x18, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48,
                                 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04,
                                 0x00, 0x0a, 0x03, 0x04, 0x00, 0x04, 0x01, 0x01};
    assert_err(TD_UNSUPPORTED, key_from_spki(SPAN_ARR(k1), &bad, &ei));
    /* point at infinity */
    uint8_t inf[28];
    memcpy(inf, spki.p, 26);
    inf[1] = 25;
    inf[24] = 2;
    inf[25] = 0;
    inf[26] = 0;
    assert_err(TD_PARSE, key_from_spki(span_of(inf, 27), &bad, &ei));
}

static void test_from_rsa(void **state)
{
    (void)state;
    uint8_t n[513];
    memset(n, 0xa5, sizeof(n)); /* odd */
    struct span e = SPAN_LIT("\x01\x00\x01");
    static const struct {
        size_t len;
        enum td_err want;
    } rows[] = {{255, TD_UNSUPPORTED}, {256, TD_OK},          {384, TD_OK},
                {512, TD_OK},          {513, TD_UNSUPPORTED}, {0, TD_UNSUPPORTED}};
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        key_auto *k = NULL;
        assert_err(rows[i].want, key_from_rsa(span_of(n, rows[i].len), e, &k, &ei));
        if (k)
            assert_int_equal(key_bits(k), (int)rows[i].len * 8);
    }
    key_auto *k = NULL;
    n[0] = 0x7f; /* 2047 bit */
    assert_err(TD_UNSUPPORTED, key_from_rsa(span_of(n, 256), e, &k, &ei));
    n[0] = 0xa5;
    static const struct span exps[] = {
        SPAN_LIT(""),     SPAN_LIT("\x01"),
        SPAN_LIT("\x02"), SPAN_LIT("\x01\x00\x00"),
        SPAN_LIT("\x00"), SPAN_LIT("\x01\x00\x00\x00\x00\x00\x00\x00\x01")};
    for (size_t i = 0; i < TD_NITEMS(exps); i++)
        assert_err(TD_PARSE, key_from_rsa(span_of(n, 256), exps[i], &k, &ei));
    assert_ok(key_from_rsa(span_of(n, 256), SPAN_LIT("\x03"), &k, &ei));
    n[255] = 0xa4; /* even modulus */
    key_auto *bad = NULL;
    assert_err(TD_PARSE, key_from_rsa(span_of(n, 256), e, &bad, &ei));
}

static void test_pem(void **state)
{
    (void)state;
    const struct secret pass = {(uint8_t *)(uintptr_t) "correct horse", 13};
    const struct secret wrong = {(uint8_t *)(uintptr_t) "wrong", 5};
    const struct secret empty = {NULL, 0};
    for (size_t i = 0; i < TD_NITEMS(made); i++) {
        key_auto *k = t_key(made[i]), *plain = NULL, *enc = NULL, *bad = NULL;
        buf_auto b;
        buf_init(&b, 16384);
        assert_ok(key_to_pem(k, NULL, &b, &ei));
        assert_non_null(strstr(buf_cstr(&b), "-----BEGIN PRIVATE KEY-----"));
        assert_ok(key_from_pem(buf_view(&b), NULL, &plain, &ei));
        assert_true(key_equal(k, plain));
        assert_int_equal(key_type(plain), made[i]);
        buf_reset(&b);
        assert_ok(key_to_pem(k, &pass, &b, &ei));
        assert_non_null(strstr(buf_cstr(&b), "-----BEGIN ENCRYPTED PRIVATE KEY-----"));
        assert_ok(key_from_pem(buf_view(&b), &pass, &enc, &ei));
        assert_true(key_equal(k, enc));
        assert_err(TD_CRYPTO, key_from_pem(buf_view(&b), NULL, &bad, &ei));
        assert_err(TD_CRYPTO, key_from_pem(buf_view(&b), &wrong, &bad, &ei));
        assert_err(TD_INVAL, key_to_pem(k, &empty, &b, &ei));
        /* the parsed key signs */
        arena_auto a;
        arena_init(&a, 4096);
        struct span sig;
        assert_ok(key_sign(enc, DIGEST_SHA256, SPAN_LIT("x"), &a, &sig, &ei));
        assert_ok(key_verify(k, DIGEST_SHA256, SPAN_LIT("x"), sig, &ei));
    }
    key_auto *k = NULL;
    assert_err(TD_CRYPTO, key_from_pem((struct span){NULL, 0}, NULL, &k, &ei));
    assert_err(TD_CRYPTO, key_from_pem(SPAN_LIT("no PEM"), NULL, &k, &ei));
    static char big[65537];
    memset(big, 'x', sizeof(big));
    assert_err(TD_LIMIT, key_from_pem(SPAN_ARR(big), NULL, &k, &ei));
}

static void test_pem_buffer_full(void **state)
{
    (void)state;
    key_auto *k = t_key(KEY_P256);
    buf_auto b;
    buf_init(&b, 16);
    assert_err(TD_LIMIT, key_to_pem(k, NULL, &b, &ei));
}

static void test_public_key_cannot_sign(void **state)
{
    (void)state;
    arena_auto a;
    arena_init(&a, 4096);
    key_auto *k = t_key(KEY_P256), *pub = NULL;
    struct span spki, sig;
    assert_ok(key_spki(k, &a, &spki, &ei));
    assert_ok(key_from_spki(spki, &pub, &ei));
    assert_err(TD_CRYPTO, key_sign(pub, DIGEST_SHA256, SPAN_LIT("x"), &a, &sig, &ei));
}

struct job {
    const struct key *k;
    int failures;
};

static void *work(void *arg)
{
    struct job *j = arg;
    for (unsigned i = 0; i < 50; i++) {
        arena_auto a;
        arena_init(&a, 4096);
        struct span sig, data = span_of(&i, sizeof(i));
        j->failures += key_sign(j->k, DIGEST_SHA256, data, &a, &sig, NULL) != TD_OK ||
                       key_verify(j->k, DIGEST_SHA256, data, sig, NULL) != TD_OK ||
                       key_verify(j->k, DIGEST_SHA256, SPAN_LIT("x"), sig, NULL) == TD_OK;
    }
    return NULL;
}

/* One key, its first uses at once. */
static void test_threads(void **state)
{
    (void)state;
    static const enum key_type types[] = {KEY_P256, KEY_RSA};
    for (size_t t = 0; t < TD_NITEMS(types); t++) {
        key_auto *k = t_key(types[t]);
        struct job jobs[4];
        pthread_t th[4];
        for (size_t i = 0; i < 4; i++) {
            jobs[i] = (struct job){.k = k};
            assert_int_equal(pthread_create(&th[i], NULL, work, &jobs[i]), 0);
        }
        for (size_t i = 0; i < 4; i++) {
            pthread_join(th[i], NULL);
            assert_int_equal(jobs[i].failures, 0);
        }
    }
}

static void test_refs(void **state)
{
    (void)state;
    struct key *k = t_key(KEY_P256);
    assert_ptr_equal(key_ref(k), k);
    key_free(k);
    assert_int_equal(key_type(k), KEY_P256);
    key_free(k);
    key_free(NULL);
    assert_null(key_ref(NULL));
}

/* Types that OpenSSL alone knows can be shown, never asked for. */
static void test_spki_known(void **state)
{
    (void)state;
    uint8_t x25519[44] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b,
                          0x65, 0x6e, 0x03, 0x21, 0x00, 9};
    key_auto *other = NULL, *k = NULL, *same = NULL, *none = NULL;
    assert_int_equal(key_from_spki(SPAN_ARR(x25519), &other, NULL), TD_OK);
    assert_int_equal(key_type(other), KEY_OTHER);
    assert_int_equal(key_from_spki_known(SPAN_ARR(x25519), &none, NULL), TD_UNSUPPORTED);
    arena_auto a;
    arena_init(&a, 65536);
    struct span spki;
    assert_int_equal(key_generate(KEY_P256, &k, NULL), TD_OK);
    assert_int_equal(key_spki(k, &a, &spki, NULL), TD_OK);
    assert_int_equal(key_from_spki_known(spki, &same, NULL), TD_OK);
    assert_true(key_equal(k, same));
    assert_int_equal(key_from_spki_known(span_sub(spki, 0, spki.n - 1), &none, NULL), TD_PARSE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spki_known),      cmocka_unit_test(test_generate_spki),
        cmocka_unit_test(test_sign_verify),     cmocka_unit_test(test_sign_arena_full),
        cmocka_unit_test(test_ed25519),         cmocka_unit_test(test_from_ec),
        cmocka_unit_test(test_spki_compressed), cmocka_unit_test(test_spki_bad),
        cmocka_unit_test(test_from_rsa),        cmocka_unit_test(test_pem),
        cmocka_unit_test(test_pem_buffer_full), cmocka_unit_test(test_public_key_cannot_sign),
        cmocka_unit_test(test_threads),         cmocka_unit_test(test_refs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
