#include "crypt_test.h"

#include "mdm/base/hex.h"
#include "mdm/crypt/der_int.h"

struct fixture {
    struct key *ca_key, *key;
    struct cert *ca;
    struct arena a;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    arena_init(&f->a, 1 << 20);
    f->ca_key = t_key(KEY_P256);
    f->key = t_key(KEY_P256);
    f->ca = t_ca("CA", f->ca_key, NULL, f->ca_key, 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    cert_free(f->ca);
    key_free(f->ca_key);
    key_free(f->key);
    arena_free(&f->a);
    free(f);
    return 0;
}

static struct x509_spec base(const struct fixture *f)
{
    return (struct x509_spec){.serial = SPAN_LIT("\x01"),
                              .cn = "leaf",
                              .not_before = T0,
                              .not_after = T0 + YEAR,
                              .public_key = f->key,
                              .key_usage = X509_KU_DIGITAL_SIGNATURE};
}

static enum td_err try_build(struct fixture *f, const struct x509_spec *s)
{
    struct span der;
    return x509_build(s, f->ca, f->ca_key, &f->a, &der, NULL);
}

/* The raw Extension with this OID: hex, so that critical and content are seen at once. */
static const char *ext_hex(struct fixture *f, const struct cert *c, const char *oid_der)
{
    struct span der = cert_der(c), oid = span_str(oid_der);
    for (size_t i = 2; i + oid.n <= der.n; i++) {
        if (der.p[i] != 6 || der.p[i + 1] != oid.n || memcmp(der.p + i + 2, oid.p, oid.n) != 0)
            continue;
        return hex_str(&f->a, span_sub(der, i + 2 + oid.n, der.p[i - 1] - oid.n - 2));
    }
    return "absent";
}

static void test_extension_bytes(void **state)
{
    struct fixture *f = *state;
    const char *eku[] = {EKU_CLIENT, "1.3.6.1.5.5.7.3.14", NULL};
    const char *dns[] = {"mdm.test", "192.0.2.1", "2001:db8::1", NULL};
    struct x509_spec s = base(f);
    s.eku = eku;
    s.key_usage = X509_KU_DIGITAL_SIGNATURE | X509_KU_KEY_ENCIPHERMENT;
    s.san_permanent_id = "C02ABC";
    s.san_hw_type = "1.3.6.1.4.1.32473.1";
    s.san_hw_serial = SPAN_LIT("C02ABC");
    s.san_dns = dns;
    s.aia_ocsp = "http://o.test/";
    s.aia_ca_issuers = "http://c.test/";
    s.crl_dp = "http://l.test/";
    s.ocsp_nocheck = true;
    cert_auto *c = t_odd(&s, f->ca, f->ca_key); /* an EC key enciphers nothing */
    static const struct {
        const char *oid, *hex;
    } rows[] = {
        {"\x55\x1d\x13", "0101ff04023000"},     /* basicConstraints, critical, CA:FALSE */
        {"\x55\x1d\x0f", "0101ff0404030205a0"}, /* keyUsage, critical */
        {"\x55\x1d\x25", "0416301406082b0601050507030206082b0601050507030e"},
        /* subjectAltName: PermanentIdentifier, HardwareModuleName, dNSName, iPAddress twice */
        {"\x55\x1d\x11", "045f305d"
                         "a01606082b06010505070803a00a30080c06433032414243"
                         "a02106082b06010505070804a0153013"
                         "06092b0601040181fd59010406433032414243"
                         "82086d646d2e74657374"
                         "8704c0000201"
                         "871020010db8000000000000000000000001"},
        {"\x2b\x06\x01\x05\x05\x07\x30\x01\x05", "04020500"},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        const char *got = ext_hex(f, c, rows[i].oid);
        if (strcmp(got, rows[i].hex) != 0)
            fail_msg("row %zu: %s", i, got);
    }
    struct span v;
    assert_int_equal(cert_ext(c, "1.3.6.1.5.5.7.1.1", &v), 1);
    assert_string_equal(hex_str(&f->a, v),
                        "3038301a06082b06010505073001860e687474703a2f2f6f2e74657374"
                        "2f301a06082b06010505073002860e687474703a2f2f632e746573"
                        "742f");
    assert_int_equal(cert_ext(c, "2.5.29.31", &v), 1);
    assert_string_equal(hex_str(&f->a, v), "30163014a012a010860e687474703a2f2f6c2e746573742f");
}

static void test_key_ids(void **state)
{
    struct fixture *f = *state;
    struct x509_spec s = base(f);
    cert_auto *c = t_cert(&s, f->ca, f->ca_key);
    struct span ski, aki, ca_ski, ca_aki, point;
    assert_int_equal(cert_ext(c, "2.5.29.14", &ski), 1);
    assert_int_equal(cert_ext(c, "2.5.29.35", &aki), 1);
    assert_int_equal(cert_ext(f->ca, "2.5.29.14", &ca_ski), 1);
    assert_int_equal(cert_ext(f->ca, "2.5.29.35", &ca_aki), 1);
    uint8_t md[SHA256_SIZE];
    assert_ok(key_ec_point(f->key, &f->a, &point, &ei));
    digest_sha256(point, md);
    assert_int_equal(ski.n, 22);
    assert_memory_equal(ski.p + 2, md, 20); /* RFC 7093 method 1 */
    assert_int_equal(aki.n, 24);
    assert_memory_equal(aki.p + 4, ca_ski.p + 2, 20);
    assert_memory_equal(ca_aki.p, aki.p, 24);
}

/* An issuer with an identifier of another make: AKI repeats it. */
static void test_foreign_ski(void **state)
{
    struct fixture *f = *state;
    buf_auto b;
    assert_ok(fs_read(TD_VECTORS "/apple/enterprise-attestation-root-ca.pem", 65536, &b, &ei));
    cert_auto *root = NULL;
    assert_ok(cert_from_pem(buf_view(&b), &root, &ei));
    struct x509_spec s = base(f);
    struct span der;
    /* not our key: refused before anything is signed */
    assert_err(TD_INVAL, x509_build(&s, root, f->ca_key, &f->a, &der, &ei));
    assert_err(TD_INVAL, x509_build(&s, f->ca, f->key, &f->a, &der, &ei));
    assert_err(TD_INVAL, x509_build(&s, NULL, f->ca_key, &f->a, &der, &ei));
    assert_err(TD_INVAL, x509_build(&s, f->ca, NULL, &f->a, &der, &ei));
}

static void test_names(void **state)
{
    struct fixture *f = *state;
    struct x509_spec s = base(f);
    s.c = "DE";
    s.o = "Sch\xc3\xb6n & Co";
    s.cn = "Plain";
    cert_auto *c = t_cert(&s, f->ca, f->ca_key);
    assert_string_equal(hex_str(&f->a, cert_subject_der(c)),
                        "3033310b3009060355040613024445"               /* C, PrintableString */
                        "31143012060355040a0c0b536368c3b66e202620436f" /* O, UTF8String */
                        "310e300c06035504031305506c61696e");           /* CN, PrintableString */
    static const struct {
        const char *c, *o, *cn;
        enum td_err want;
    } rows[] = {
        {"D", NULL, "x", TD_INVAL},        {"DEU", NULL, "x", TD_INVAL},
        {"\xc3\xb6", NULL, "x", TD_INVAL}, {NULL, NULL, "bad \xff", TD_INVAL},
        {NULL, NULL, NULL, TD_INVAL},      {"", "", "", TD_INVAL},
        {NULL, "only O", NULL, TD_OK},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        s.c = rows[i].c;
        s.o = rows[i].o;
        s.cn = rows[i].cn;
        if (try_build(f, &s) != rows[i].want)
            fail_msg("row %zu", i);
    }
    char cn[66];
    memset(cn, 'x', sizeof(cn));
    s.o = s.c = NULL;
    s.cn = cn;
    cn[64] = 0;
    assert_int_equal(try_build(f, &s), TD_OK);
    cn[64] = 'x';
    cn[65] = 0;
    assert_int_equal(try_build(f, &s), TD_INVAL);
}

static void test_empty_subject(void **state)
{
    struct fixture *f = *state;
    struct x509_spec s = base(f);
    s.cn = NULL;
    s.san_permanent_id = "S1";
    cert_auto *c = t_cert(&s, f->ca, f->ca_key);
    assert_string_equal(hex_str(&f->a, cert_subject_der(c)), "3000");
    assert_null(cert_cn(c, &f->a));
    /* critical then, not otherwise */
    assert_int_equal(strncmp(ext_hex(f, c, "\x55\x1d\x11"), "0101ff04", 8), 0);
    s.cn = "named";
    cert_auto *d = t_cert(&s, f->ca, f->ca_key);
    assert_int_equal(strncmp(ext_hex(f, d, "\x55\x1d\x11"), "04", 2), 0);
    s.cn = NULL;
    s.ca = true;
    assert_int_equal(try_build(f, &s), TD_INVAL);
    struct span der;
    s.ca = false;
    assert_err(TD_INVAL, x509_build(&s, NULL, f->key, &f->a, &der, &ei));
}

static void test_serials(void **state)
{
    struct fixture *f = *state;
    static const uint8_t ff[21] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                   0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t small[21] = {0x7f, 1};
    static const struct {
        struct span serial;
        enum td_err want;
        size_t n; /* content octets in the certificate */
    } rows[] = {
        {SPAN_LIT("\x01"), TD_OK, 1},
        {SPAN_LIT("\x80"), TD_OK, 2},
        {SPAN_LIT("\x00\x00\x05"), TD_OK, 1},
        {{ff, 19}, TD_OK, 20},
        {{small, 20}, TD_OK, 20},
        {{ff, 20}, TD_INVAL, 0},
        {{small, 21}, TD_INVAL, 0},
        {SPAN_LIT("\x00"), TD_INVAL, 0},
        {SPAN_LIT("\x00\x00"), TD_INVAL, 0},
        {{NULL, 0}, TD_INVAL, 0},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct x509_spec s = base(f);
        s.serial = rows[i].serial;
        if (try_build(f, &s) != rows[i].want)
            fail_msg("row %zu", i);
        if (rows[i].want != TD_OK)
            continue;
        cert_auto *c = t_cert(&s, f->ca, f->ca_key);
        assert_int_equal(cert_serial(c).n, rows[i].n);
        assert_false(cert_serial(c).p[0] & 0x80);
    }
}

static void test_validity(void **state)
{
    struct fixture *f = *state;
    struct x509_spec s = base(f);
    s.not_before = 0;
    s.not_after = 253402300799; /* 99991231235959Z */
    cert_auto *c = t_cert(&s, f->ca, f->ca_key);
    assert_int_equal(cert_not_before(c), 0);
    assert_int_equal(cert_not_after(c), 253402300799);
    s.not_before = 2524607999;
    s.not_after = 2524608000;
    cert_auto *d = t_cert(&s, f->ca, f->ca_key);
    assert_int_equal(cert_not_before(d), 2524607999);
    assert_int_equal(cert_not_after(d), 2524608000);
    s.not_after = s.not_before - 1;
    assert_int_equal(try_build(f, &s), TD_INVAL);
}

static void test_bad_fields(void **state)
{
    struct fixture *f = *state;
    const char *bad_eku[] = {"client", NULL}, *bad_dns[] = {"two words", NULL};
    const char *empty_dns[] = {"", NULL};
    char uri[514], id[258];
    memset(uri, 'u', sizeof(uri));
    memset(id, 'i', sizeof(id));
    uri[513] = 0;
    id[257] = 0;
    const struct {
        const char *name;
        size_t at;
        const void *value;
    } rows[] = {
        {"eku", offsetof(struct x509_spec, eku), bad_eku},
        {"dns with a space", offsetof(struct x509_spec, san_dns), bad_dns},
        {"empty dns", offsetof(struct x509_spec, san_dns), empty_dns},
        {"identifier with bad UTF-8", offsetof(struct x509_spec, san_permanent_id), "\xc3"},
        {"identifier too long", offsetof(struct x509_spec, san_permanent_id), id},
        {"URI too long", offsetof(struct x509_spec, crl_dp), uri},
        {"URI with a space", offsetof(struct x509_spec, aia_ocsp), "http://x y"},
        {"URI with UTF-8", offsetof(struct x509_spec, aia_ca_issuers), "http://\xc3\xa9"},
        {"no key", offsetof(struct x509_spec, public_key), NULL},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct x509_spec s = base(f);
        memcpy((char *)&s + rows[i].at, &rows[i].value, sizeof(void *));
        if (try_build(f, &s) != TD_INVAL)
            fail_msg("%s", rows[i].name);
    }
    struct x509_spec s = base(f);
    s.key_usage = 256;
    assert_int_equal(try_build(f, &s), TD_INVAL);
    uri[512] = 0;
    memcpy(uri, "http://u/", 9);
    s = base(f);
    s.crl_dp = uri;
    assert_int_equal(try_build(f, &s), TD_OK);
    id[256] = 0;
    s.san_permanent_id = id;
    assert_int_equal(try_build(f, &s), TD_OK);
}

static void test_too_big(void **state)
{
    struct fixture *f = *state;
    const char *dns[2001];
    for (size_t i = 0; i < 2000; i++)
        dns[i] = "long.name.of.a.host.example";
    dns[2000] = NULL;
    struct x509_spec s = base(f);
    s.san_dns = dns;
    assert_int_equal(try_build(f, &s), TD_LIMIT);
    arena_auto tiny;
    arena_init(&tiny, 128);
    struct span der;
    s = base(f);
    assert_err(TD_NOMEM, x509_build(&s, f->ca, f->ca_key, &tiny, &der, &ei));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_extension_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_key_ids, setup, teardown),
        cmocka_unit_test_setup_teardown(test_foreign_ski, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_empty_subject, setup, teardown),
        cmocka_unit_test_setup_teardown(test_serials, setup, teardown),
        cmocka_unit_test_setup_teardown(test_validity, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_fields, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_big, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
