#include "tests/unit/sim/simtest.h"

#include "mdm/base/fs.h"
#include "mdm/base/hex.h"
#include "tests/sim/pki.h"

#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

static const int64_t NOW = 1780000000;
static char dir[64];
static struct pki *pki;

static int setup(void **state)
{
    (void)state;
    simtest_dir(dir);
    return pki_init(dir, NOW, NULL) == TD_OK && pki_load(dir, &pki, NULL) == TD_OK ? 0 : -1;
}

static int teardown(void **state)
{
    static const char *const names[] = {
        "foreign/root.pem", "foreign/root.key", "foreign/sub.pem", "foreign/sub.key", "foreign",
        "root.pem",         "root.key",         "sub.pem",         "sub.key",
    };
    (void)state;
    pki_free(pki);
    simtest_rmdir(dir, names, TD_NITEMS(names));
    return 0;
}

static const struct pki_facts mac = {.serial = "TMWFWWWP67",
                                     .udid = "00006030-000651690A84001C",
                                     .model = "J514sAP",
                                     .os_version = "15.5",
                                     .sepos_version = "15.5",
                                     .llb_version = "15.5",
                                     .secure_boot = "Full Security",
                                     .sip = 0,
                                     .kexts = 0};

static X509 *load(const char *name)
{
    char path[128];
    X509 *x = NULL;
    buf_auto b;
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    assert_int_equal(fs_read(path, 16384, &b, NULL), TD_OK);
    assert_int_equal(ossl_cert_from_pem(buf_view(&b), &x, NULL), TD_OK);
    return x;
}

static X509 *leaf(const struct pki_facts *f, struct span freshness, EVP_PKEY *key)
{
    buf_auto b;
    buf_init(&b, 8192);
    assert_int_equal(pki_leaf(pki, f, freshness, key, NOW, &b, NULL), TD_OK);
    const unsigned char *p = b.p;
    X509 *x = d2i_X509(NULL, &p, (long)b.n);
    assert_non_null(x);
    assert_ptr_equal(p, b.p + b.n);
    return x;
}

/* The value of an extension, and how often it is there. */
static struct span ext(X509 *x, const char *oid, int *ret_n)
{
    ASN1_OBJECT *obj = OBJ_txt2obj(oid, 1);
    struct span out = {0};
    int at = -1;
    *ret_n = 0;
    while ((at = X509_get_ext_by_OBJ(x, obj, at)) >= 0) {
        const ASN1_OCTET_STRING *os = X509_EXTENSION_get_data(X509_get_ext(x, at));
        out = span_of(ASN1_STRING_get0_data(os), (size_t)ASN1_STRING_length(os));
        assert_int_equal(X509_EXTENSION_get_critical(X509_get_ext(x, at)), 0);
        ++*ret_n;
    }
    ASN1_OBJECT_free(obj);
    return out;
}

static void raw_extensions(void **state)
{
    static const uint8_t fresh[32] = {1, 2, 3};
    static const struct {
        const char *oid, *value;
        size_t n;
    } rows[] = {
        {"1.2.840.113635.100.8.9.1", "TMWFWWWP67", 10},
        {"1.2.840.113635.100.8.9.2", "00006030-000651690A84001C", 25},
        {"1.2.840.113635.100.8.9.4", "J514sAP", 7},
        {"1.2.840.113635.100.8.10.1", "15.5", 4},
        {"1.2.840.113635.100.8.10.2", "15.5", 4},
        {"1.2.840.113635.100.8.10.3", "15.5", 4},
        {"1.2.840.113635.100.8.13.1", "\x02\x01\x00", 3},
        {"1.2.840.113635.100.8.13.2", "Full Security", 13},
        {"1.2.840.113635.100.8.13.3", "\x02\x01\x00", 3},
        {"1.2.840.113635.100.8.11.1", (const char *)fresh, 32},
    };
    (void)state;
    ossl_auto(EVP_PKEY) key = ossl_ec_key(384);
    ossl_auto(X509) x = leaf(&mac, SPAN_ARR(fresh), key);
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        int n = 0;
        struct span v = ext(x, rows[i].oid, &n);
        assert_int_equal(n, 1);
        assert_true(span_eq(v, span_of(rows[i].value, rows[i].n)));
    }
}

/* Extensions and subject fields stand in the order of Apple's own leaf. */
static void shape_of_a_real_leaf(void **state)
{
    buf_auto b;
    X509 *r = NULL;
    char path[512];
    (void)state;
    snprintf(path, sizeof(path), "%s/vectors/apple/leaf-2025-expired.pem", TD_SHARED);
    if (!fs_exists(path))
        skip();
    assert_int_equal(fs_read(path, 16384, &b, NULL), TD_OK);
    assert_int_equal(ossl_cert_from_pem(buf_view(&b), &r, NULL), TD_OK);
    ossl_auto(X509) real = r;
    ossl_auto(EVP_PKEY) key = ossl_ec_key(384);
    ossl_auto(X509) x = leaf(&mac, SPAN_LIT("0123456789abcdef0123456789abcdef"), key);
    assert_int_equal(X509_get_ext_count(x), X509_get_ext_count(real));
    for (int i = 0; i < X509_get_ext_count(real); i++) {
        X509_EXTENSION *want = X509_get_ext(real, i), *got = X509_get_ext(x, i);
        assert_int_equal(OBJ_cmp(X509_EXTENSION_get_object(want), X509_EXTENSION_get_object(got)),
                         0);
        assert_int_equal(X509_EXTENSION_get_critical(want), X509_EXTENSION_get_critical(got));
        if (i < 2) /* basic constraints and key usage are equal to the byte */
            assert_int_equal(
                ASN1_OCTET_STRING_cmp(X509_EXTENSION_get_data(want), X509_EXTENSION_get_data(got)),
                0);
    }
    X509_NAME *a = X509_get_subject_name(real), *c = X509_get_subject_name(x);
    assert_int_equal(X509_NAME_entry_count(a), X509_NAME_entry_count(c));
    for (int i = 0; i < X509_NAME_entry_count(a); i++)
        assert_int_equal(OBJ_cmp(X509_NAME_ENTRY_get_object(X509_NAME_get_entry(a, i)),
                                 X509_NAME_ENTRY_get_object(X509_NAME_get_entry(c, i))),
                         0);
    assert_int_equal(X509_get_signature_nid(real), X509_get_signature_nid(x));
}

static void left_out(void **state)
{
    struct pki_facts f = {.serial = "S1", .sip = -1, .kexts = -1};
    static const char *const gone[] = {
        "1.2.840.113635.100.8.11.1", "1.2.840.113635.100.8.13.1", "1.2.840.113635.100.8.13.2",
        "1.2.840.113635.100.8.13.3", "1.2.840.113635.100.8.9.2",
    };
    (void)state;
    ossl_auto(EVP_PKEY) key = ossl_ec_key(256);
    ossl_auto(X509) x = leaf(&f, (struct span){NULL, 0}, key);
    for (size_t i = 0; i < TD_NITEMS(gone); i++) {
        int n = 0;
        ext(x, gone[i], &n);
        assert_int_equal(n, 0);
    }
}

static void names_validity_serial(void **state)
{
    uint8_t point[97], md[32];
    char want[65], cn[80] = "";
    size_t n = 0;
    (void)state;
    ossl_auto(EVP_PKEY) key = ossl_ec_key(256);
    ossl_auto(X509) x = leaf(&mac, SPAN_LIT("f"), key);
    ossl_auto(X509) y = leaf(&mac, SPAN_LIT("f"), key);
    assert_int_equal(ossl_point(key, point, &n, NULL), TD_OK);
    assert_int_equal(n, 65);
    SHA256(point, n, md);
    hex_enc(SPAN_ARR(md), want);
    X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, cn, sizeof(cn));
    assert_string_equal(cn, want);
    time_t from = NOW - 86400, to = NOW + 90LL * 86400;
    assert_int_equal(ASN1_TIME_cmp_time_t(X509_get0_notBefore(x), from), 0);
    assert_int_equal(ASN1_TIME_cmp_time_t(X509_get0_notAfter(x), to), 0);
    uint64_t a = 0, b = 0;
    assert_int_equal(ASN1_INTEGER_get_uint64(&a, X509_get0_serialNumber(x)), 1);
    assert_int_equal(ASN1_INTEGER_get_uint64(&b, X509_get0_serialNumber(y)), 1);
    assert_int_not_equal(a, b);
    assert_in_range(a, (uint64_t)NOW * 1000, (uint64_t)NOW * 1000 + 1000);
}

static int verify(X509 *root, X509 *sub, X509 *x)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    STACK_OF(X509) *chain = sk_X509_new_null();
    X509_STORE_add_cert(store, root);
    sk_X509_push(chain, sub);
    X509_STORE_CTX_init(ctx, store, x, chain);
    X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(ctx), (time_t)NOW);
    int rc = X509_verify_cert(ctx);
    X509_STORE_CTX_free(ctx);
    sk_X509_free(chain);
    X509_STORE_free(store);
    return rc;
}

static void chain(void **state)
{
    (void)state;
    ossl_auto(X509) root = load("root.pem");
    ossl_auto(X509) sub = load("sub.pem");
    ossl_auto(X509) foreign = load("foreign/root.pem");
    ossl_auto(EVP_PKEY) key = ossl_ec_key(384);
    ossl_auto(X509) x = leaf(&mac, SPAN_LIT("f"), key);
    assert_int_equal(verify(root, sub, x), 1);
    assert_int_not_equal(verify(foreign, sub, x), 1);
    assert_int_equal(EVP_PKEY_get_bits(X509_get0_pubkey(root)), 384);
    assert_int_equal(EVP_PKEY_get_bits(X509_get0_pubkey(sub)), 384);
    buf_auto der;
    buf_init(&der, 8192);
    assert_int_equal(ossl_cert_der(sub, &der, NULL), TD_OK);
    assert_true(span_eq(buf_view(&der), pki_sub_der(pki)));
}

static void init_twice_and_modes(void **state)
{
    struct stat st;
    char path[128];
    struct errinfo ei = {0};
    (void)state;
    assert_int_equal(pki_init(dir, NOW, &ei), TD_EXISTS);
    snprintf(path, sizeof(path), "%s/sub.key", dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void load_nothing(void **state)
{
    struct pki *p = NULL;
    (void)state;
    assert_int_not_equal(pki_load("/nonexistent", &p, NULL), TD_OK);
    assert_null(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(raw_extensions), cmocka_unit_test(shape_of_a_real_leaf),
        cmocka_unit_test(left_out),       cmocka_unit_test(names_validity_serial),
        cmocka_unit_test(chain),          cmocka_unit_test(init_twice_and_modes),
        cmocka_unit_test(load_nothing),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
