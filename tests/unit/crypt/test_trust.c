#include "crypt_test.h"

#include <pthread.h>

#include "mdm/crypt/der_int.h"
#include "mdm/crypt/sigalg_int.h"

struct pki {
    struct key *rk, *ik, *lk;
    struct cert *root, *sub, *leaf;
    struct trust *t;
};

static int setup(void **state)
{
    struct pki *p = calloc(1, sizeof(*p));
    assert_non_null(p);
    p->rk = t_key(KEY_P384);
    p->ik = t_key(KEY_P384);
    p->lk = t_key(KEY_P256);
    p->root = t_ca("Root", p->rk, NULL, p->rk, 1);
    p->sub = t_ca("Sub", p->ik, p->root, p->rk, 0);
    p->leaf = t_leaf("leaf", p->lk, p->sub, p->ik, EKU_CLIENT);
    assert_ok(trust_new(&p->root, 1, &p->t, &ei));
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct pki *p = *state;
    trust_free(p->t);
    cert_free(p->root);
    cert_free(p->sub);
    cert_free(p->leaf);
    key_free(p->rk);
    key_free(p->ik);
    key_free(p->lk);
    free(p);
    return 0;
}

static enum td_err verify(const struct pki *p, const struct cert *leaf, const struct cert *sub,
                          const struct trust_opts *o)
{
    return trust_verify(p->t, leaf, &sub, sub ? 1 : 0, o, NULL);
}

static void test_time(void **state)
{
    const struct pki *p = *state;
    static const struct {
        struct trust_opts o;
        enum td_err want;
    } rows[] = {
        {{.at = T0 + 1}, TD_OK},
        {{.at = T0 + YEAR - 1}, TD_OK},
        {{.at = T0 + YEAR}, TD_CRYPTO}, /* OpenSSL excludes the last second */
        {{.at = T0 - 1}, TD_CRYPTO},
        {{.at = T0 + 2 * YEAR, .no_time = true}, TD_OK},
        {{.at = 0, .no_time = true}, TD_OK},
        {{.at = 0}, TD_CRYPTO},
        {{.at = T0 + 1, .purpose = "sslclient"}, TD_OK},
        {{.at = T0 + 1, .purpose = "sslserver"}, TD_CRYPTO},
        {{.at = T0 + 1, .purpose = "any"}, TD_OK},
        {{.at = T0 + 1, .purpose = "no such purpose"}, TD_INVAL},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++)
        if (verify(p, p->leaf, p->sub, &rows[i].o) != rows[i].want)
            fail_msg("row %zu", i);
}

static void test_chain(void **state)
{
    const struct pki *p = *state;
    const struct trust_opts o = {.at = T0 + 1};
    key_auto *xk = t_key(KEY_P384);
    cert_auto *namesake = t_ca("Sub", xk, p->root, p->rk, 0);
    cert_auto *self = t_ca("Root", xk, NULL, xk, 1);
    cert_auto *forged = t_leaf("forged", p->lk, self, xk, EKU_CLIENT);
    assert_int_equal(verify(p, p->leaf, NULL, &o), TD_CRYPTO);     /* incomplete */
    assert_int_equal(verify(p, p->leaf, namesake, &o), TD_CRYPTO); /* other key */
    assert_int_equal(verify(p, p->leaf, p->root, &o), TD_CRYPTO);  /* the wrong one */
    assert_int_equal(verify(p, forged, self, &o), TD_CRYPTO);      /* its own root */
    assert_int_equal(verify(p, self, NULL, &o), TD_CRYPTO);        /* self-signed */
    assert_int_equal(verify(p, p->sub, NULL, &o), TD_OK);
    assert_int_equal(verify(p, p->root, NULL, &o), TD_OK);
    struct errinfo ei = {0};
    const struct cert *sub = p->root;
    assert_int_equal(trust_verify(p->t, p->leaf, &sub, 1, &o, &ei), TD_CRYPTO);
    assert_non_null(strstr(ei.msg, "unable to get"));
}

/* The intermediate alone in the store is no anchor: no partial chains. */
static void test_no_partial_chain(void **state)
{
    const struct pki *p = *state;
    struct trust *t = NULL;
    struct cert *sub = p->sub;
    assert_ok(trust_new(&sub, 1, &t, &ei));
    assert_err(TD_CRYPTO,
               trust_verify(t, p->leaf, NULL, 0, &(struct trust_opts){.at = T0 + 1}, &ei));
    trust_free(t);
    trust_free(NULL);
    struct trust *none = NULL;
    assert_ok(trust_new(NULL, 0, &none, &ei));
    assert_err(TD_CRYPTO,
               trust_verify(none, p->leaf, NULL, 0, &(struct trust_opts){.at = T0 + 1}, &ei));
    trust_free(none);
}

static void test_not_a_ca(void **state)
{
    const struct pki *p = *state;
    const struct trust_opts o = {.at = T0 + 1};
    key_auto *k = t_key(KEY_P256);
    /* a leaf signs a leaf; a sub CA signs below its path length */
    cert_auto *below = t_leaf("below", k, p->leaf, p->lk, EKU_CLIENT);
    const struct cert *chain[] = {p->leaf, p->sub};
    assert_err(TD_CRYPTO, trust_verify(p->t, below, chain, 2, &o, &ei));
    cert_auto *third = t_ca("Third", k, p->sub, p->ik, -1);
    cert_auto *deep = t_leaf("deep", p->lk, third, k, EKU_CLIENT);
    const struct cert *chain3[] = {third, p->sub};
    assert_err(TD_CRYPTO, trust_verify(p->t, deep, chain3, 2, &o, &ei));
}

/* cert_check_client says what trust_verify does of an intact leaf, and refuses all others. */
static void test_client(void **state)
{
    const struct pki *p = *state;
    const struct trust_opts o = {.at = T0 + 1, .purpose = "sslclient"};
    assert_ok(cert_check_client(p->leaf, p->sub, &ei));
    assert_ok(trust_verify(p->t, p->leaf, (const struct cert *const *)&p->sub, 1, &o, &ei));
    assert_err(TD_CRYPTO, cert_check_client(p->leaf, p->root, &ei)); /* another issuer */
    assert_err(TD_CRYPTO, cert_check_client(p->sub, p->root, &ei));  /* a CA */
    cert_auto *server = t_leaf("server", p->lk, p->sub, p->ik, EKU_SERVER);
    assert_err(TD_CRYPTO, cert_check_client(server, p->sub, &ei));
    key_auto *other = t_key(KEY_P384);
    cert_auto *namesake = t_ca("Sub", other, p->root, p->rk, 0);
    cert_auto *forged = t_leaf("forged", p->lk, namesake, other, EKU_CLIENT);
    assert_err(TD_CRYPTO, cert_check_client(forged, p->sub, &ei));

    const char *client[] = {EKU_CLIENT, NULL};
    struct x509_spec s = {.serial = SPAN_LIT("\x30"),
                          .cn = "odd",
                          .not_before = T0,
                          .not_after = T0 + YEAR,
                          .public_key = p->lk,
                          .eku = client};
    cert_auto *no_ku = t_odd(&s, p->sub, p->ik);
    assert_err(TD_CRYPTO, cert_check_client(no_ku, p->sub, &ei));
    s.key_usage = X509_KU_CERT_SIGN;
    cert_auto *other_ku = t_odd(&s, p->sub, p->ik);
    assert_err(TD_CRYPTO, cert_check_client(other_ku, p->sub, &ei));
    s.key_usage = X509_KU_DIGITAL_SIGNATURE;
    s.eku = NULL;
    cert_auto *no_eku = t_odd(&s, p->sub, p->ik);
    assert_err(TD_CRYPTO, cert_check_client(no_eku, p->sub, &ei));
}

/* The signature of an otherwise perfect leaf is off by one bit; a critical extension is unknown. */
static void test_client_bytes(void **state)
{
    const struct pki *p = *state;
    uint8_t der[2048];
    struct span good = cert_der(p->leaf);
    assert_true(good.n <= sizeof(der));
    memcpy(der, good.p, good.n);
    der[good.n - 1] ^= 1;
    cert_auto *flipped = NULL;
    assert_ok(cert_parse(span_of(der, good.n), &flipped, &ei));
    assert_err(TD_CRYPTO, cert_check_client(flipped, p->sub, &ei));

    /* basicConstraints is critical; under another number nobody knows it */
    memcpy(der, good.p, good.n);
    uint8_t *critical = memmem(der, good.n, "\x55\x1d\x13\x01\x01\xff", 6);
    assert_non_null(critical);
    critical[2] = 0x7f;
    cert_auto *unknown = NULL;
    assert_ok(cert_parse(span_of(der, good.n), &unknown, &ei));
    struct errinfo why = {0};
    assert_int_equal(cert_check_client(unknown, p->sub, &why), TD_CRYPTO);
    assert_non_null(strstr(why.msg, "critical"));
}

static void test_chain_limit(void **state)
{
    const struct pki *p = *state;
    const struct trust_opts o = {.at = T0 + 1};
    const struct cert *chain[LIMIT_CERT_CHAIN + 1];
    for (size_t i = 0; i < TD_NITEMS(chain); i++)
        chain[i] = p->sub;
    assert_err(TD_OK, trust_verify(p->t, p->leaf, chain, LIMIT_CERT_CHAIN, &o, &ei));
    assert_err(TD_LIMIT, trust_verify(p->t, p->leaf, chain, LIMIT_CERT_CHAIN + 1, &o, &ei));
}

/* A leaf as Apple's attestation service writes it: no AKI, no SKI, no EKU; by `sub`. */
static struct cert *bare_leaf(const struct pki *p, bool critical_unknown)
{
    arena_auto a;
    arena_init(&a, 1 << 16);
    struct span spki, sig;
    const struct sigalg *alg = sigalg_of_key(p->ik);
    buf_auto tbs, b;
    buf_init(&tbs, 4096);
    buf_init(&b, 4096);
    assert_ok(key_spki(p->lk, &a, &spki, &ei));
    size_t m = der_open(&tbs, DER_SEQUENCE);
    buf_span(&tbs, SPAN_LIT("\xa0\x03\x02\x01\x02\x02\x01\x05"));
    buf_span(&tbs, alg->der);
    buf_span(&tbs, cert_subject_der(p->sub));
    size_t v = der_open(&tbs, DER_SEQUENCE);
    der_put_time(&tbs, T0);
    der_put_time(&tbs, T0 + YEAR);
    der_close(&tbs, v);
    buf_span(&tbs, cert_subject_der(p->leaf));
    buf_span(&tbs, spki);
    /* [3]: 1.2.840.113635.100.8.9.1, raw octets */
    buf_span(&tbs, critical_unknown
                       ? SPAN_LIT("\xa3\x19\x30\x17\x30\x15\x06\x0a\x2a\x86\x48\x86\xf7\x63\x64\x08"
                                  "\x09\x01\x01\x01\xff\x04\x04RAW1")
                       : SPAN_LIT("\xa3\x16\x30\x14\x30\x12\x06\x0a\x2a\x86\x48\x86\xf7\x63\x64\x08"
                                  "\x09\x01\x04\x04RAW1"));
    der_close(&tbs, m);
    assert_ok(key_sign(p->ik, alg->digest, buf_view(&tbs), &a, &sig, &ei));
    size_t outer = der_open(&b, DER_SEQUENCE);
    buf_span(&b, buf_view(&tbs));
    buf_span(&b, alg->der);
    der_put_bits(&b, sig);
    der_close(&b, outer);
    struct cert *c = NULL;
    assert_ok(cert_parse(buf_view(&b), &c, &ei));
    return c;
}

static void test_lax_ids(void **state)
{
    const struct pki *p = *state;
    cert_auto *leaf = bare_leaf(p, false), *critical = bare_leaf(p, true);
    struct trust_opts o = {.at = T0 + 1};
    struct span v;
    assert_int_equal(cert_ext(leaf, "1.2.840.113635.100.8.9.1", &v), 1);
    assert_true(span_eq_str(v, "RAW1"));
    assert_int_equal(verify(p, leaf, p->sub, &o), TD_CRYPTO);
    o.lax_ids = true;
    assert_int_equal(verify(p, leaf, p->sub, &o), TD_OK);
    /* nothing else is forgiven */
    assert_int_equal(verify(p, leaf, NULL, &o), TD_CRYPTO);
    assert_int_equal(verify(p, critical, p->sub, &o), TD_CRYPTO);
    o.at = T0 + 2 * YEAR;
    assert_int_equal(verify(p, leaf, p->sub, &o), TD_CRYPTO);
}

/* Chains in the field that are not by RFC 5280 (no keyUsage, basicConstraints not critical):
 * refused with and without key identifiers asked for. The first is the best of them. */
static void test_yubikey(void **state)
{
    (void)state;
    static const char *const rows[][3] = {
        {"yubicoPIVCAPEMAfter2018.pem", "yk_0_deviceCert.pem", "yk_1_keyCert.pem"},
        {"yubicoPIVCAPEMU2F.pem", "yk_2_deviceCert.pem", "yk_3_keyCert.pem"},
        {"yubicoPIVCAPEMAfter2018.pem", "yk_4_deviceCert.pem", "yk_5_keyCert.pem"},
        {"yubicoPIVCAPEMU2F.pem", "yk_6_deviceCert.pem", "yk_7_keyCert.pem"},
    };
    if (!fs_exists(TD_SHARED "/vectors/yubikey")) {
        print_message("skipped: " TD_SHARED "/vectors/yubikey is absent\n");
        skip();
    }
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct cert *c[3] = {NULL};
        for (size_t k = 0; k < 3; k++) {
            char path[512];
            snprintf(path, sizeof(path), TD_SHARED "/vectors/yubikey/%s", rows[i][k]);
            buf_auto b;
            assert_ok(fs_read(path, 65536, &b, &ei));
            assert_ok(cert_from_pem(buf_view(&b), &c[k], &ei));
        }
        struct trust *t = NULL;
        assert_ok(trust_new(c, 1, &t, &ei));
        const struct cert *sub = c[1];
        for (int lax = 0; lax < 2; lax++) {
            const struct trust_opts o = {.at = 1735689600, .lax_ids = lax};
            assert_int_equal(trust_verify(t, c[2], &sub, 1, &o, NULL), TD_CRYPTO);
        }
        /* the signatures alone */
        enum td_err e = cert_check_issued(c[2], c[1], NULL);
        assert_int_equal(e, i < 2 ? TD_OK : TD_CRYPTO);
        trust_free(t);
        for (size_t k = 0; k < 3; k++)
            cert_free(c[k]);
    }
}

static struct cert *read_pem(const char *path)
{
    buf_auto b;
    struct cert *c = NULL;
    assert_ok(fs_read(path, 65536, &b, &ei));
    assert_ok(cert_from_pem(buf_view(&b), &c, &ei));
    return c;
}

/* RSA-1024 and SHA-1 only where they are asked for (MB-33). */
static void test_weak(void **state)
{
    (void)state;
    cert_auto *root = read_pem(TD_VECTORS "/x509/weak-root.pem");
    cert_auto *leaf = read_pem(TD_VECTORS "/x509/weak-leaf.pem");
    struct trust *t = NULL;
    struct cert *roots[] = {root};
    assert_ok(trust_new(roots, 1, &t, &ei));
    struct trust_opts o = {.no_time = true};
    assert_int_equal(trust_verify(t, leaf, NULL, 0, &o, NULL), TD_CRYPTO);
    o.weak_algs = true;
    assert_int_equal(trust_verify(t, leaf, NULL, 0, &o, NULL), TD_OK);
    trust_free(t);
    assert_int_equal(key_bits(cert_key(root)), 1024);
    assert_int_equal(cert_check_issued(leaf, root, NULL), TD_UNSUPPORTED);
}

struct job {
    const struct pki *p;
    int failures;
};

static void *work(void *arg)
{
    struct job *j = arg;
    for (int i = 0; i < 20; i++)
        j->failures += verify(j->p, j->p->leaf, j->p->sub,
                              &(struct trust_opts){.at = T0 + 1, .purpose = "sslclient"}) != TD_OK;
    return NULL;
}

static void test_threads(void **state)
{
    struct job jobs[4];
    pthread_t th[4];
    for (size_t i = 0; i < 4; i++) {
        jobs[i] = (struct job){.p = *state};
        assert_int_equal(pthread_create(&th[i], NULL, work, &jobs[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(th[i], NULL);
        assert_int_equal(jobs[i].failures, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chain, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_partial_chain, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_a_ca, setup, teardown),
        cmocka_unit_test_setup_teardown(test_client, setup, teardown),
        cmocka_unit_test_setup_teardown(test_client_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chain_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lax_ids, setup, teardown),
        cmocka_unit_test(test_yubikey),
        cmocka_unit_test(test_weak),
        cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
