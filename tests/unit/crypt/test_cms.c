#include "crypt_test.h"

#include "mdm/crypt/cms.h"
#include "mdm/crypt/der_int.h"

#define BODY SPAN_LIT("the signed body\n")

static struct span load(struct arena *a, const char *name)
{
    char path[512];
    buf_auto b;
    snprintf(path, sizeof(path), TD_VECTORS "/cms/%s", name);
    assert_ok(fs_read(path, 65536, &b, &ei));
    struct span s = arena_span(a, buf_view(&b));
    assert_non_null(s.p);
    return s;
}

static void test_vectors(void **state)
{
    (void)state;
    static const struct {
        const char *file, *cn;
        enum td_err want;
    } rows[] = {
        {"ec-sha256.der", "ec signer", TD_OK},
        {"rsa-sha1.der", "rsa signer", TD_OK},
        {"rsa-sha256-noattr.der", "rsa signer", TD_OK},
        {"ec-sha384-keyid.der", "ec signer", TD_OK},
        {"ber.der", "rsa signer", TD_OK},
        {"two-signers.der", NULL, TD_PARSE},
        {"attached.der", NULL, TD_PARSE},
        {"attached-ber.der", NULL, TD_PARSE},
        {"no-certs.der", NULL, TD_PARSE},
        {"md5.der", NULL, TD_CRYPTO},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        arena_auto a;
        arena_init(&a, 1 << 20);
        struct span der = load(&a, rows[i].file);
        cert_auto *signer = NULL, *none = NULL;
        if (cms_verify_detached(der, BODY, &signer, NULL) != rows[i].want)
            fail_msg("%s", rows[i].file);
        if (rows[i].want != TD_OK) {
            assert_null(signer);
            continue;
        }
        assert_string_equal(cert_cn(signer, &a), rows[i].cn);
        /* the content is covered */
        assert_err(TD_CRYPTO, cms_verify_detached(der, SPAN_LIT("the signed body"), &none, &ei));
        assert_err(TD_CRYPTO, cms_verify_detached(der, SPAN_LIT("the signed Body\n"), &none, &ei));
        assert_err(TD_CRYPTO, cms_verify_detached(der, (struct span){NULL, 0}, &none, &ei));
    }
}

static void test_truncated_oversized(void **state)
{
    (void)state;
    arena_auto a;
    arena_init(&a, 1 << 20);
    struct span der = load(&a, "ec-sha256.der");
    cert_auto *c = NULL;
    for (size_t n = 0; n < der.n; n += n < 64 ? 1 : 37) {
        uint8_t *cut = malloc(n ? n : 1);
        assert_non_null(cut);
        memcpy(cut, der.p, n);
        enum td_err e = cms_verify_detached(span_of(cut, n), BODY, &c, NULL);
        free(cut);
        assert_int_equal(e, TD_PARSE);
    }
    static uint8_t big[LIMIT_CMS_SIGNATURE + 1];
    memcpy(big, der.p, der.n);
    assert_err(TD_PARSE, cms_verify_detached(span_of(big, der.n + 1), BODY, &c, &ei));
    assert_err(TD_PARSE, cms_verify_detached(span_of(big, LIMIT_CMS_SIGNATURE), BODY, &c, &ei));
    assert_err(TD_LIMIT, cms_verify_detached(SPAN_ARR(big), BODY, &c, &ei));
}

/* A flipped octet never verifies with another signer's key; what is not covered (outer lists,
 * unsigned parts) may still verify, but then the certificate is the same one. */
static void test_flipped(void **state)
{
    (void)state;
    arena_auto a;
    arena_init(&a, 1 << 20);
    struct span der = load(&a, "ec-sha256.der");
    cert_auto *good = NULL;
    assert_ok(cms_verify_detached(der, BODY, &good, &ei));
    uint8_t copy[1024];
    unsigned accepted = 0;
    for (size_t i = 0; i < der.n; i++) {
        memcpy(copy, der.p, der.n);
        copy[i] ^= 0x21;
        cert_auto *c = NULL;
        if (cms_verify_detached(span_of(copy, der.n), BODY, &c, NULL) != TD_OK)
            continue;
        accepted++;
        assert_true(span_eq(cert_spki(c), cert_spki(good)));
    }
    /* versions, digestAlgorithms and the certificate's own unread parts; not the rest */
    assert_true(accepted < der.n / 2);
}

struct signer {
    struct key *ck, *k;
    struct cert *ca, *c;
};

static int setup(void **state)
{
    struct signer *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    s->ck = t_key(KEY_P256);
    s->k = t_key(KEY_P256);
    s->ca = t_ca("CA", s->ck, NULL, s->ck, -1);
    s->c = t_leaf("profile signer", s->k, s->ca, s->ck, EKU_SERVER);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct signer *s = *state;
    cert_free(s->ca);
    cert_free(s->c);
    key_free(s->ck);
    key_free(s->k);
    free(s);
    return 0;
}

/* SignedData of the message: its content, certificates and the one SignerInfo. */
static void take_apart(struct span der, struct span *content, struct span *certs,
                       struct span *signer)
{
    struct span v, sd, econtent, w, infos;
    assert_true(der_well_formed(der));
    assert_true(der_get(&der, DER_SEQUENCE, &v) && der_get(&v, DER_OID, &w));
    assert_true(der_get(&v, DER_CTX_CONS(0), &w) && der_get(&w, DER_SEQUENCE, &sd));
    assert_true(der_get(&sd, DER_INTEGER, &w) && der_get(&sd, DER_SET, &w));
    assert_true(der_get(&sd, DER_SEQUENCE, &econtent));
    assert_true(der_get(&econtent, DER_OID, &w) && der_get(&econtent, DER_CTX_CONS(0), &w));
    assert_true(der_get(&w, DER_OCTET_STRING, content));
    assert_true(der_get(&sd, DER_CTX_CONS(0), certs));
    assert_true(der_get(&sd, DER_SET, &infos) && der_get(&infos, DER_SEQUENCE, signer));
    assert_int_equal(infos.n, 0);
}

static void test_sign(void **state)
{
    const struct signer *s = *state;
    arena_auto a;
    arena_init(&a, 1 << 20);
    static const uint8_t binary[] = "line\nline\r\n\0\xff";
    struct span der, content, certs, signer, w, attrs, sig = {NULL, 0};
    struct cert *chain[] = {s->ca};
    assert_ok(cms_sign(s->c, s->k, chain, 1, SPAN_ARR(binary), T0, &a, &der, &ei));
    take_apart(der, &content, &certs, &signer);
    assert_true(span_eq(content, SPAN_ARR(binary)));
    assert_int_equal(certs.n, cert_der(s->c).n + cert_der(s->ca).n);
    assert_non_null(memmem(certs.p, certs.n, cert_der(s->ca).p, cert_der(s->ca).n));

    /* version, sid, SHA-256, signed attributes, algorithm, signature */
    assert_true(der_get(&signer, DER_INTEGER, &w) && der_get(&signer, DER_SEQUENCE, &w));
    assert_true(der_get(&signer, DER_SEQUENCE, &w));
    assert_true(span_starts(w, SPAN_LIT("\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01")));
    assert_true(der_get_raw(&signer, DER_CTX_CONS(0), &attrs));
    assert_true(der_get(&signer, DER_SEQUENCE, &w) && der_get(&signer, DER_OCTET_STRING, &sig));
    assert_non_null(memmem(attrs.p, attrs.n, "231114221320Z", 13)); /* signingTime */
    uint8_t md[SHA256_SIZE];
    digest_sha256(SPAN_ARR(binary), md);
    assert_non_null(memmem(attrs.p, attrs.n, md, sizeof(md)));
    /* RFC 5652 section 5.4: signed as a SET OF */
    uint8_t *set = arena_alloc(&a, attrs.n);
    assert_non_null(set);
    memcpy(set, attrs.p, attrs.n);
    set[0] = DER_SET;
    assert_ok(key_verify(s->k, DIGEST_SHA256, span_of(set, attrs.n), sig, &ei));
    /* attached, hence no signature of a request */
    cert_auto *c = NULL;
    assert_err(TD_PARSE, cms_verify_detached(der, SPAN_ARR(binary), &c, &ei));
}

static void test_sign_empty_and_refused(void **state)
{
    const struct signer *s = *state;
    arena_auto a, tiny;
    arena_init(&a, 1 << 20);
    arena_init(&tiny, 64);
    struct span der, content, certs, signer;
    assert_ok(cms_sign(s->c, s->k, NULL, 0, (struct span){NULL, 0}, T0, &a, &der, &ei));
    take_apart(der, &content, &certs, &signer);
    assert_int_equal(content.n, 0);
    assert_int_equal(certs.n, cert_der(s->c).n);
    assert_err(TD_INVAL, cms_sign(s->c, s->ck, NULL, 0, BODY, T0, &a, &der, &ei));
    assert_err(TD_NOMEM, cms_sign(s->c, s->k, NULL, 0, BODY, T0, &tiny, &der, &ei));
    struct span huge = {(const uint8_t *)"", (16 << 20) + 1};
    assert_err(TD_LIMIT, cms_sign(s->c, s->k, NULL, 0, huge, T0, &a, &der, &ei));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_truncated_oversized),
        cmocka_unit_test(test_flipped),
        cmocka_unit_test_setup_teardown(test_sign, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sign_empty_and_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
