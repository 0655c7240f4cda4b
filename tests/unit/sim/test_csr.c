#include "tests/unit/sim/simtest.h"

#include "tests/sim/csr.h"

#include <openssl/x509v3.h>

#define PLIST(x)                                                                                   \
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?><plist version=\"1.0\"><dict>" x "</dict></plist>"
#define S(x) "<string>" x "</string>"

static struct plist *plist(struct arena *a, const char *xml)
{
    struct plist *p = NULL;
    assert_int_equal(plist_parse(span_str(xml), a, &p, NULL), TD_OK);
    return p;
}

static X509_REQ *build(struct csr_spec *s, struct arena *a)
{
    buf_auto b;
    buf_init(&b, 8192);
    assert_int_equal(csr_build(s, a, &b, NULL), TD_OK);
    const unsigned char *p = b.p;
    X509_REQ *r = d2i_X509_REQ(NULL, &p, (long)b.n);
    assert_non_null(r);
    assert_int_equal(X509_REQ_verify(r, s->key), 1);
    assert_int_equal(X509_REQ_get_signature_nid(r), NID_ecdsa_with_SHA256);
    return r;
}

static int ext_index(X509_REQ *r, int nid, bool *ret_critical)
{
    STACK_OF(X509_EXTENSION) *exts = X509_REQ_get_extensions(r);
    int at = X509v3_get_ext_by_NID(exts, nid, -1);
    if (at >= 0)
        *ret_critical = X509_EXTENSION_get_critical(sk_X509_EXTENSION_value(exts, at)) != 0;
    sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
    return at;
}

/* ecdsa-with-SHA256 whatever the key's size; EKU clientAuth and key usage by default; no SAN. */
static void defaults(void **state)
{
    (void)state;
    for (int bits = 256; bits <= 384; bits += 128) {
        arena_auto a;
        arena_init(&a, 1048576);
        bool critical = false;
        ossl_auto(EVP_PKEY) key = ossl_ec_key(bits);
        struct csr_spec s = {.key = key};
        ossl_auto(X509_REQ) r = build(&s, &a);
        assert_true(ext_index(r, NID_key_usage, &critical) >= 0);
        assert_true(critical);
        assert_true(ext_index(r, NID_ext_key_usage, &critical) >= 0);
        assert_false(critical);
        assert_true(ext_index(r, NID_subject_alt_name, &critical) < 0);
        assert_int_equal(X509_NAME_entry_count(X509_REQ_get_subject_name(r)), 0);
    }
}

static void from_payload(void **state)
{
    arena_auto a;
    arena_init(&a, 1048576);
    bool critical = false;
    char text[256] = "";
    (void)state;
    struct plist *p = plist(
        &a,
        PLIST("<key>Subject</key><array><array><array>" S("O") S(
            "Example, Inc.") "</array>"
                             "</array><array><array>" S("CN") S(
                                 "Device %HardwareUUID%") "</array></array>"
                                                          "<array><array>" S("1.2.3.4") S(
                                                              "dotted") "</array></array></"
                                                                        "array>"
                                                                        "<key>SAN</"
                                                                        "key><dict><key>"
                                                                        "dNSName</key>" S(
                                                                            "d."
                                                                            "exam"
                                                                            "ple") "<key>"
                                                                                   "rfc822Name</"
                                                                                   "key>" S(
                                                                                       "a,b@"
                                                                                       "exampl"
                                                                                       "e.com") "<k"
                                                                                                "ey"
                                                                                                ">n"
                                                                                                "tP"
                                                                                                "ri"
                                                                                                "nc"
                                                                                                "ip"
                                                                                                "al"
                                                                                                "Na"
                                                                                                "me"
                                                                                                "</"
                                                                                                "ke"
                                                                                                "y"
                                                                                                ">" S(
                                                                                                    "u@realm") "</dict>"
                                                                                                               "<key>"
                                                                                                               "EKU</"
                                                                                                               "key><"
                                                                                                               "array"
                                                                                                               ">" S(
                                                                                                                   "1"
                                                                                                                   "."
                                                                                                                   "3"
                                                                                                                   "."
                                                                                                                   "6"
                                                                                                                   "."
                                                                                                                   "1"
                                                                                                                   "."
                                                                                                                   "5"
                                                                                                                   "."
                                                                                                                   "5"
                                                                                                                   "."
                                                                                                                   "7"
                                                                                                                   "."
                                                                                                                   "3"
                                                                                                                   "."
                                                                                                                   "2")
                                                                                                                   S("1."
                                                                                                                     "2."
                                                                                                                     "3") "</array>"));
    ossl_auto(EVP_PKEY) key = ossl_ec_key(256);
    struct csr_spec s = {.key = key,
                         .subject = plist_get(p, "Subject"),
                         .san = plist_get(p, "SAN"),
                         .eku = plist_get(p, "EKU"),
                         .usage = 1};
    ossl_auto(X509_REQ) r = build(&s, &a);
    X509_NAME_oneline(X509_REQ_get_subject_name(r), text, sizeof(text));
    assert_string_equal(text, "/O=Example, Inc./CN=Device %HardwareUUID%/1.2.3.4=dotted");
    assert_true(ext_index(r, NID_subject_alt_name, &critical) >= 0);
    assert_false(critical);
    assert_true(ext_index(r, NID_ext_key_usage, &critical) >= 0);
}

static void bad_subject(void **state)
{
    static const char *const rows[] = {
        PLIST("<key>Subject</key><array><array><array>" S("CN") "</array></array></array>"),
        PLIST("<key>Subject</key><array><array>" S("CN") "</array></array>"),
        PLIST("<key>Subject</key><array><array><array>" S("NoSuchField")
                  S("x") "</array></array></array>"),
    };
    (void)state;
    ossl_auto(EVP_PKEY) key = ossl_ec_key(256);
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        arena_auto a;
        arena_init(&a, 1048576);
        buf_auto b;
        buf_init(&b, 8192);
        struct csr_spec s = {.key = key, .subject = plist_get(plist(&a, rows[i]), "Subject")};
        assert_int_not_equal(csr_build(&s, &a, &b, NULL), TD_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(from_payload),
        cmocka_unit_test(bad_subject),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
