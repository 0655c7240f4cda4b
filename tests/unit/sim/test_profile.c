#include "tests/unit/sim/simtest.h"

#include "tests/sim/profile.h"

#define S(k, v) "<key>" k "</key><string>" v "</string>"
#define I(k, v) "<key>" k "</key><integer>" v "</integer>"
#define B(k, v) "<key>" k "</key><" v "/>"
#define COMMON(t) S("PayloadType", t) I("PayloadVersion", "1") S("PayloadIdentifier", t ".x")
#define ACME                                                                                       \
    COMMON("com.apple.security.acme")                                                              \
    S("PayloadUUID", "U-ACME")                                                                     \
    S("DirectoryURL", "https://h/acme/directory")                                                  \
    S("ClientIdentifier", "cid") S("KeyType", "ECSECPrimeRandom")
#define ACME_REST                                                                                  \
    I("KeySize", "384")                                                                            \
    B("HardwareBound", "true")                                                                     \
    B("Attest", "true")                                                                            \
    "<key>Subject</key><array/"                                                                    \
    ">"
#define MDM                                                                                        \
    COMMON("com.apple.mdm")                                                                        \
    S("PayloadUUID", "U-MDM")                                                                      \
    S("IdentityCertificateUUID", "U-ACME")                                                         \
    S("Topic", "com.apple.mgmt") S("ServerURL", "https://h/mdm")
#define ROOT                                                                                       \
    COMMON("com.apple.security.root")                                                              \
    S("PayloadUUID", "U-R") "<key>PayloadContent</key><data>AQI=</data>"
#define PROFILE(payloads)                                                                          \
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?><plist version=\"1.0\"><dict>" S(                   \
        "PayloadType", "Configuration") S("PayloadIdentifier", "org.example.mdm")                  \
        S("PayloadUUID", "U-P") "<key>PayloadContent</key><array>" payloads                        \
                                "</array></dict></plist>"
#define D(x) "<dict>" x "</dict>"
#define GOOD                                                                                       \
    PROFILE(D(ROOT) D(ACME ACME_REST) D(MDM I("AccessRights", "8191") B("SignMessage", "true")))

static void good(void **state)
{
    struct profile p;
    arena_auto a;
    arena_init(&a, 8388608);
    (void)state;
    assert_int_equal(profile_parse(span_str(GOOD), &a, &p, NULL), TD_OK);
    assert_string_equal(p.identifier, "org.example.mdm");
    assert_string_equal(p.acme.client_id, "cid");
    assert_int_equal(p.acme.key_size, 384);
    assert_true(p.acme.attest);
    assert_string_equal(p.mdm.checkin_url, "https://h/mdm"); /* by default the ServerURL */
    assert_true(p.mdm.sign_message);
    assert_false(p.mdm.checkout_when_removed);
    assert_true(span_eq(p.root_der, SPAN_LIT("\1\2")));
}

/* What a device would refuse. */
static void bad(void **state)
{
    static const char *const rows[] = {
        "",
        "not a plist",
        PROFILE(D(ACME ACME_REST)),                               /* no MDM */
        PROFILE(D(MDM I("AccessRights", "8191"))),                /* no ACME */
        PROFILE(D(ACME ACME_REST) D(MDM)),                        /* no AccessRights */
        PROFILE(D(ACME ACME_REST) D(MDM I("AccessRights", "2"))), /* 2 needs 1 */
        PROFILE(D(ACME ACME_REST) D(MDM I("AccessRights", "8192"))),
        PROFILE(D(ACME) D(MDM I("AccessRights", "8191"))), /* no KeySize */
        PROFILE(D(ACME I("KeySize", "521") B("HardwareBound", "true") "<key>Subject</key><array/>")
                    D(MDM I("AccessRights", "8191"))),
        PROFILE(D(ACME I("KeySize", "256") B("HardwareBound", "false") B(
            "Attest", "true") "<key>Subject</key><array/>") D(MDM I("AccessRights", "8191"))),
        PROFILE(D(ACME I("KeySize", "256") B("HardwareBound", "true"))
                    D(MDM I("AccessRights", "8191"))), /* no Subject */
        PROFILE(D(S("PayloadType", "x"))),             /* no common keys */
    };
    (void)state;
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct profile p;
        struct errinfo ei = {0};
        arena_auto a;
        arena_init(&a, 8388608);
        assert_int_not_equal(profile_parse(span_str(rows[i]), &a, &p, &ei), TD_OK);
        assert_true(ei.msg[0]);
    }
}

static X509 *signer(EVP_PKEY *key, const char *cn)
{
    X509 *x = X509_new();
    X509_set_version(x, X509_VERSION_3);
    X509_NAME *n = X509_get_subject_name(x);
    X509_NAME_add_entry_by_txt(n, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0);
    X509_set_issuer_name(x, n);
    X509_gmtime_adj(X509_getm_notBefore(x), -60);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, key);
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    return x;
}

static void sign(X509 *cert, EVP_PKEY *key, const char *content, struct buf *out)
{
    unsigned char *der = NULL;
    ossl_auto(BIO) in = BIO_new_mem_buf(content, -1);
    ossl_auto(CMS_ContentInfo) c = CMS_sign(cert, key, NULL, in, CMS_BINARY | CMS_NOSMIMECAP);
    int n = i2d_CMS_ContentInfo(c, &der);
    assert_true(n > 0);
    buf_init(out, 65536);
    assert_int_equal(buf_add(out, der, (size_t)n), TD_OK);
    OPENSSL_free(der);
}

static void signature(void **state)
{
    struct span got = {0};
    buf_auto cms, broken;
    arena_auto a;
    arena_init(&a, 8388608);
    (void)state;
    ossl_auto(EVP_PKEY) key = ossl_ec_key(256);
    ossl_auto(X509) cert = signer(key, "a");
    ossl_auto(X509) other = signer(key, "b");
    X509_STORE *trust = X509_STORE_new(), *foreign = X509_STORE_new();
    X509_STORE_add_cert(trust, cert);
    X509_STORE_add_cert(foreign, other);
    sign(cert, key, GOOD, &cms);
    assert_int_equal(profile_open_cms(buf_view(&cms), trust, &a, &got, NULL), TD_OK);
    assert_true(span_eq_str(got, GOOD));
    assert_int_equal(profile_open_cms(buf_view(&cms), foreign, &a, &got, NULL), TD_CRYPTO);
    /* one byte of the content changed */
    buf_init(&broken, 65536);
    buf_span(&broken, buf_view(&cms));
    uint8_t *at = memmem(broken.p, broken.n, "org.example", 11);
    assert_non_null(at);
    at[0] ^= 1;
    assert_int_equal(profile_open_cms(buf_view(&broken), trust, &a, &got, NULL), TD_CRYPTO);
    /* truncated, trailing byte, no CMS */
    assert_int_equal(profile_open_cms(span_of(cms.p, cms.n - 1), trust, &a, &got, NULL), TD_PARSE);
    buf_u8(&cms, 0);
    assert_int_equal(profile_open_cms(buf_view(&cms), trust, &a, &got, NULL), TD_PARSE);
    assert_int_equal(profile_open_cms(SPAN_LIT(GOOD), trust, &a, &got, NULL), TD_PARSE);
    assert_int_equal(profile_open_cms((struct span){NULL, 0}, trust, &a, &got, NULL), TD_PARSE);
    assert_int_equal(profile_content(SPAN_LIT(GOOD), &a, &got, NULL), TD_OK);
    X509_STORE_free(trust);
    X509_STORE_free(foreign);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good),
        cmocka_unit_test(bad),
        cmocka_unit_test(signature),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
