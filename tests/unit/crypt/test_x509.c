#include "crypt_test.h"

#include "mdm/base/hex.h"

#define APPLE_ROOT TD_VECTORS "/apple/enterprise-attestation-root-ca.pem"
#define APPLE_LEAF TD_VECTORS "/apple/leaf-2025-expired.pem"
#define APPLE_OID "1.2.840.113635.100.8."

static struct cert *read_pem(const char *path)
{
    buf_auto b;
    struct cert *c = NULL;
    assert_ok(fs_read(path, 65536, &b, &ei));
    assert_ok(cert_from_pem(buf_view(&b), &c, &ei));
    return c;
}

static void test_apple_root(void **state)
{
    (void)state;
    arena_auto a;
    arena_init(&a, 4096);
    cert_auto *c = read_pem(APPLE_ROOT);
    uint8_t md[SHA256_SIZE];
    cert_sha256(c, md);
    assert_string_equal(hex_str(&a, SPAN_ARR(md)),
                        "ccf59ef8fcb3017d97f8b5fa6fa90e7a3f9283f76b55ac6cf6eda8b8b949f05b");
    assert_string_equal(hex_str(&a, cert_serial(c)), "42c0c2bb2c727c5c5eabf6f1a66f1fac5d798737");
    assert_string_equal(cert_cn(c, &a), "Apple Enterprise Attestation Root CA");
    assert_string_equal(cert_subject_text(c, &a),
                        "CN=Apple Enterprise Attestation Root CA, O=Apple Inc., C=US");
    assert_true(cert_is_ca(c));
    assert_int_equal(cert_not_before(c), 1645038084);
    assert_int_equal(cert_not_after(c), 2434233600);
    assert_int_equal(key_type(cert_key(c)), KEY_P384);
    assert_true(span_eq(cert_subject_der(c), cert_issuer_der(c)));
    assert_ok(cert_check_issued(c, c, &ei));
    struct span ski;
    assert_int_equal(cert_ext(c, "2.5.29.14", &ski), 1);
    assert_string_equal(hex_str(&a, ski), "0414f36a4d019df26b81a55e5dbbe5086d56e2f9deba");
    assert_int_equal(cert_ext(c, "2.5.29.35", NULL), 0);
    assert_int_equal(cert_ext(c, "no oid", NULL), 0);
}

static void test_apple_leaf(void **state)
{
    (void)state;
    if (!fs_exists(APPLE_LEAF)) {
        print_message("skipped: " APPLE_LEAF " is absent\n");
        skip();
    }
    arena_auto a;
    arena_init(&a, 1 << 16);
    cert_auto *c = read_pem(APPLE_LEAF);
    static const struct {
        const char *oid, *text;
    } rows[] = {
        {APPLE_OID "9.1", "TMWFWWWP67"}, {APPLE_OID "9.2", "00006030-000651690A84001C"},
        {APPLE_OID "9.4", "J514sAP"},    {APPLE_OID "10.1", "15.5"},
        {APPLE_OID "10.2", "15.5"},      {APPLE_OID "10.3", "15.5"},
        {APPLE_OID "13.1", "\x02\x01"},  {APPLE_OID "13.2", "Full Security"},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct span v;
        assert_int_equal(cert_ext(c, rows[i].oid, &v), 1);
        if (!span_starts(v, span_str(rows[i].text)))
            fail_msg("%s", rows[i].oid);
    }
    struct span fresh;
    assert_int_equal(cert_ext(c, APPLE_OID "11.1", &fresh), 1);
    assert_string_equal(hex_str(&a, fresh),
                        "9ff219c2831313c8190b63e9dd8f80aa0a4a9737a58daa931da8abde2f2d5d62");
    struct span point;
    uint8_t md[SHA256_SIZE];
    assert_ok(key_ec_point(cert_key(c), &a, &point, &ei));
    digest_sha256(point, md);
    assert_string_equal(cert_cn(c, &a), hex_str(&a, SPAN_ARR(md)));
    assert_false(cert_is_ca(c));
    assert_int_equal(cert_not_before(c), 1752399487);
    assert_int_equal(cert_not_after(c), 1760261887);
}

static void test_truncated(void **state)
{
    (void)state;
    cert_auto *c = read_pem(APPLE_ROOT), *bad = NULL;
    struct span der = cert_der(c);
    uint8_t copy[1024];
    assert_true(der.n + 1 < sizeof(copy));
    for (size_t n = 0; n < der.n; n++) {
        /* from the heap, so that reading over the end is seen */
        uint8_t *cut = malloc(n ? n : 1);
        assert_non_null(cut);
        memcpy(cut, der.p, n);
        enum td_err e = cert_parse(span_of(cut, n), &bad, NULL);
        free(cut);
        assert_int_equal(e, TD_PARSE);
    }
    memcpy(copy, der.p, der.n);
    copy[der.n] = 0;
    assert_err(TD_PARSE, cert_parse(span_of(copy, der.n + 1), &bad, &ei));
}

static void test_oversized(void **state)
{
    (void)state;
    cert_auto *bad = NULL;
    uint8_t *big = calloc(1, 65537);
    assert_non_null(big);
    enum td_err at = cert_parse(span_of(big, 65536), &bad, NULL);
    enum td_err over = cert_parse(span_of(big, 65537), &bad, NULL);
    free(big);
    assert_int_equal(at, TD_PARSE);
    assert_int_equal(over, TD_LIMIT);
}

/* Every octet turned around: parsing says no or the signature does, except in the signature's own
 * encoding, where the lengths say no. */
static void test_flipped(void **state)
{
    (void)state;
    cert_auto *c = read_pem(APPLE_ROOT);
    struct span der = cert_der(c);
    uint8_t copy[1024];
    for (size_t i = 0; i < der.n; i += 3) {
        memcpy(copy, der.p, der.n);
        copy[i] ^= 0x55;
        cert_auto *f = NULL;
        if (cert_parse(span_of(copy, der.n), &f, NULL) == TD_OK &&
            cert_check_issued(f, c, NULL) == TD_OK)
            fail_msg("octet %zu", i);
    }
}

static void test_pem(void **state)
{
    (void)state;
    cert_auto *c = read_pem(APPLE_ROOT), *again = NULL, *bad = NULL;
    buf_auto b;
    buf_init(&b, 65536);
    assert_int_equal(cert_to_pem(c, &b), TD_OK);
    assert_ok(cert_from_pem(buf_view(&b), &again, &ei));
    assert_true(span_eq(cert_der(c), cert_der(again)));
    assert_err(TD_PARSE, cert_from_pem((struct span){NULL, 0}, &bad, &ei));
    assert_err(TD_PARSE, cert_from_pem(SPAN_LIT("nothing here"), &bad, &ei));
    assert_err(TD_PARSE, cert_from_pem(SPAN_LIT("-----BEGIN CERTIFICATE-----\nMAA=\n"
                                                "-----END CERTIFICATE-----\n"),
                                       &bad, &ei));
    struct cert *list[3];
    size_t n = 0;
    assert_int_equal(cert_to_pem(c, &b), TD_OK);
    assert_ok(cert_all_from_pem(buf_view(&b), list, 3, &n, &ei));
    assert_int_equal(n, 2);
    while (n > 0)
        cert_free(list[--n]);
    buf_str(&b, "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n");
    assert_err(TD_PARSE, cert_all_from_pem(buf_view(&b), list, 3, &n, &ei));
    assert_ok(cert_all_from_pem(buf_view(&b), list, 1, &n, &ei));
    assert_int_equal(n, 1);
    cert_free(list[0]);
    buf_auto tiny;
    buf_init(&tiny, 8);
    assert_int_equal(cert_to_pem(c, &tiny), TD_LIMIT);
}

static void test_check_issued(void **state)
{
    (void)state;
    static const enum key_type types[] = {KEY_P256, KEY_P384, KEY_P521, KEY_RSA};
    for (size_t i = 0; i < TD_NITEMS(types); i++) {
        key_auto *ck = t_key(types[i]), *lk = t_key(KEY_P256), *xk = t_key(types[i]);
        cert_auto *ca = t_ca("CA", ck, NULL, ck, -1);
        cert_auto *leaf = t_leaf("leaf", lk, ca, ck, EKU_CLIENT);
        cert_auto *namesake = t_ca("CA", xk, NULL, xk, -1);
        cert_auto *stranger = t_ca("Other", ck, NULL, ck, -1);
        assert_ok(cert_check_issued(leaf, ca, &ei));
        assert_err(TD_CRYPTO, cert_check_issued(leaf, namesake, &ei));
        assert_err(TD_CRYPTO, cert_check_issued(leaf, stranger, &ei));
        assert_err(TD_CRYPTO, cert_check_issued(ca, leaf, &ei));
    }
}

static void test_issuer_key_of_another_type(void **state)
{
    (void)state;
    key_auto *rsa = t_key(KEY_RSA), *ec = t_key(KEY_P256);
    cert_auto *ca = t_ca("CA", rsa, NULL, rsa, -1), *other = t_ca("CA", ec, NULL, ec, -1);
    cert_auto *leaf = t_leaf("leaf", ec, ca, rsa, EKU_CLIENT);
    assert_err(TD_CRYPTO, cert_check_issued(leaf, other, &ei));
}

static void test_refs(void **state)
{
    (void)state;
    struct cert *c = read_pem(APPLE_ROOT);
    assert_ptr_equal(cert_ref(c), c);
    cert_free(c);
    assert_true(cert_is_ca(c));
    const struct key *k = cert_key(c);
    assert_non_null(k);
    assert_ptr_equal(cert_key(c), k);
    uint8_t a[SHA256_SIZE], b[SHA256_SIZE];
    cert_spki_sha256(c, a);
    digest_sha256(cert_spki(c), b);
    assert_memory_equal(a, b, sizeof(a));
    cert_free(c);
    cert_free(NULL);
    assert_null(cert_ref(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_apple_root),   cmocka_unit_test(test_apple_leaf),
        cmocka_unit_test(test_truncated),    cmocka_unit_test(test_oversized),
        cmocka_unit_test(test_flipped),      cmocka_unit_test(test_pem),
        cmocka_unit_test(test_check_issued), cmocka_unit_test(test_issuer_key_of_another_type),
        cmocka_unit_test(test_refs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
