/* Revocation lists: what is in them and what is refused. That others read them is shown in
 * tests/interop. */
#include "crypt_test.h"

#include "mdm/base/b64.h"
#include "mdm/crypt/crl.h"
#include "mdm/crypt/der_int.h"

#define URI "http://127.0.0.1:8080/crl/00/3.crl"

static struct crl_entry entry(uint8_t n, int reason)
{
    struct crl_entry e;
    assert_true(crl_entry_set(&e, span_of((uint8_t[]){0x40, n}, 2), T0 + n, reason));
    return e;
}

struct made {
    struct key *key;
    struct cert *ca;
    struct crl_entry entries[3];
    struct crl_spec spec;
};

static int up(void **state)
{
    static struct made m;
    m.key = t_key(KEY_P256);
    m.ca = t_ca("CA", m.key, NULL, m.key, 0);
    for (uint8_t i = 0; i < 3; i++)
        m.entries[i] = entry(i, i == 1 ? 6 : i == 2 ? 0 : CRL_REASON_NONE);
    m.spec = (struct crl_spec){.number = 300,
                               .this_update = T0 + 10,
                               .next_update = T0 + 20,
                               .uri = URI,
                               .entries = m.entries,
                               .n = 3};
    *state = &m;
    return 0;
}

static int down(void **state)
{
    struct made *m = *state;
    cert_free(m->ca);
    key_free(m->key);
    return 0;
}

static enum td_err build(const struct made *m, const struct crl_spec *s, struct buf *tbs)
{
    struct errinfo ei;
    buf_reset(tbs);
    return crl_tbs(s, m->ca, tbs, &ei);
}

static struct span take(struct span *in, uint8_t tag)
{
    struct span v = {NULL, 0};
    assert_true(der_get(in, tag, &v));
    return v;
}

static void test_fields(void **state)
{
    struct made *m = *state;
    buf_auto b;
    buf_init(&b, 1 << 20);
    assert_ok(build(m, &m->spec, &b));
    assert_true(der_well_formed(buf_view(&b)));
    struct span whole = buf_view(&b), in = take(&whole, DER_SEQUENCE), alg, name;
    assert_int_equal(whole.n, 0);
    assert_true(span_eq(take(&in, DER_INTEGER), SPAN_LIT("\x01")));
    alg = take(&in, DER_SEQUENCE);
    assert_true(alg.n > 0);
    assert_true(der_get_raw(&in, DER_SEQUENCE, &name));
    assert_true(span_eq(name, cert_subject_der(m->ca)));
    take(&in, DER_UTC_TIME);
    take(&in, DER_UTC_TIME);
    struct span list = take(&in, DER_SEQUENCE);
    for (size_t i = 0; i < 3; i++) {
        struct span e = take(&list, DER_SEQUENCE);
        assert_true(span_eq(take(&e, DER_INTEGER), span_of(m->entries[i].serial, 2)));
        take(&e, DER_UTC_TIME);
        /* unspecified is written as none */
        assert_int_equal(e.n > 0, i == 1);
        if (i == 1)
            assert_non_null(memmem(e.p, e.n, "\x03\x55\x1d\x15\x04\x03\x0a\x01\x06", 9));
    }
    assert_int_equal(list.n, 0);
    struct span exts = take(&in, DER_CTX_CONS(0));
    assert_int_equal(in.n, 0);
    /* number 300; the IDP is critical, names the URI and says user certificates alone */
    assert_non_null(memmem(exts.p, exts.n, "\x55\x1d\x14\x04\x04\x02\x02\x01\x2c", 9));
    assert_non_null(memmem(exts.p, exts.n, "\x55\x1d\x1c\x01\x01\xff\x04", 7));
    assert_non_null(memmem(exts.p, exts.n, URI "\x81\x01\xff", sizeof URI + 2));
    assert_non_null(memmem(exts.p, exts.n, "\x55\x1d\x23", 3));
}

/* No revokedCertificates without entries, no IDP without a distribution point. */
static void test_empty_and_complete(void **state)
{
    struct made *m = *state;
    buf_auto b;
    buf_init(&b, 1 << 20);
    struct crl_spec s = m->spec;
    s.n = 0;
    s.uri = NULL;
    assert_ok(build(m, &s, &b));
    assert_null(memmem(b.p, b.n, "\x55\x1d\x1c", 3));
    struct span whole = buf_view(&b), in = take(&whole, DER_SEQUENCE);
    take(&in, DER_INTEGER);
    take(&in, DER_SEQUENCE);
    take(&in, DER_SEQUENCE);
    take(&in, DER_UTC_TIME);
    take(&in, DER_UTC_TIME);
    assert_true(der_peek(in, DER_CTX_CONS(0)));
}

static void test_refused(void **state)
{
    struct made *m = *state;
    buf_auto b;
    buf_init(&b, 1 << 24);
    struct crl_entry e[3];
    struct crl_spec s = m->spec;
    s.number = 0;
    assert_err(TD_INVAL, build(m, &s, &b));
    s = m->spec;
    s.next_update = s.this_update;
    assert_err(TD_INVAL, build(m, &s, &b));
    s = m->spec;
    s.uri = "";
    assert_err(TD_INVAL, build(m, &s, &b));
    s = m->spec;
    s.this_update = m->entries[2].revoked_at;
    assert_ok(build(m, &s, &b));
    s.this_update--; /* before the last revocation */
    assert_err(TD_INVAL, build(m, &s, &b));
    s = m->spec;
    s.entries = e;
    static const int reasons[] = {-2, 7, 8, 11};
    for (size_t i = 0; i < TD_NITEMS(reasons); i++) {
        memcpy(e, m->entries, sizeof e);
        e[1].reason = (int8_t)reasons[i];
        assert_err(TD_INVAL, build(m, &s, &b));
    }
    memcpy(e, m->entries, sizeof e);
    e[2] = e[1]; /* twice */
    assert_err(TD_INVAL, build(m, &s, &b));
    e[2] = e[0]; /* out of order */
    assert_err(TD_INVAL, build(m, &s, &b));
    memcpy(e, m->entries, sizeof e);
    e[0].serial[0] = 0; /* not DER */
    assert_err(TD_INVAL, build(m, &s, &b));
    e[0].serial[0] = 0x80; /* negative */
    assert_err(TD_INVAL, build(m, &s, &b));
    assert_false(crl_entry_set(&e[0], (struct span){NULL, 0}, T0, 1));
    uint8_t long_serial[CRL_SERIAL_MAX + 1] = {1};
    assert_true(crl_entry_set(&e[0], span_of(long_serial, CRL_SERIAL_MAX), T0, 1));
    assert_false(crl_entry_set(&e[0], SPAN_ARR(long_serial), T0, 1));
}

/* The largest list, and one more. */
static void test_limit(void **state)
{
    struct made *m = *state;
    size_t n = CRL_ENTRIES_MAX + 1;
    struct crl_entry *all = calloc(n, sizeof *all);
    assert_non_null(all);
    for (size_t i = 0; i < n; i++) {
        uint8_t serial[16] = {0x40};
        serial[1] = (uint8_t)(i * 7); /* not in order */
        for (size_t k = 0; k < 4; k++)
            serial[15 - k] = (uint8_t)(i >> (8 * k));
        assert_true(crl_entry_set(&all[i], SPAN_ARR(serial), T0, 6));
    }
    struct crl_spec s = m->spec;
    s.entries = all;
    s.n = n - 1;
    buf_auto b;
    buf_init(&b, 1 << 24);
    assert_err(TD_INVAL, build(m, &s, &b));
    crl_sort(all, n);
    assert_ok(build(m, &s, &b));
    assert_true(b.n < 10 * 1024 * 1024);
    s.n = n;
    assert_err(TD_LIMIT, build(m, &s, &b));
    free(all);
}

static void test_sign_and_finish(void **state)
{
    struct made *m = *state;
    static const enum key_type types[] = {KEY_P256, KEY_P384, KEY_RSA};
    for (size_t i = 0; i < TD_NITEMS(types); i++) {
        key_auto *key = t_key(types[i]);
        cert_auto *ca = t_ca("CA", key, NULL, key, 0);
        arena_auto a;
        arena_init(&a, 1 << 20);
        buf_auto tbs, crl, pem;
        buf_init(&tbs, 1 << 20);
        buf_init(&crl, 1 << 20);
        buf_init(&pem, 1 << 20);
        struct span sig, back;
        assert_ok(crl_tbs(&m->spec, ca, &tbs, &ei));
        assert_ok(crl_sign(buf_view(&tbs), key, &a, &sig, &ei));
        assert_ok(crl_finish(buf_view(&tbs), sig, ca, &crl, &ei));
        assert_true(der_well_formed(buf_view(&crl)));
        /* not the signature of this CA's key */
        assert_true(crl_finish(buf_view(&tbs), sig, m->ca, &crl, NULL) != TD_OK);
        buf_reset(&crl);
        assert_ok(crl_finish(buf_view(&tbs), sig, ca, &crl, &ei));
        assert_int_equal(crl_to_pem(buf_view(&crl), &pem), TD_OK);
        struct span text = buf_view(&pem), head = SPAN_LIT("-----BEGIN X509 CRL-----\n");
        assert_true(span_starts(text, head));
        text = span_sub(text, head.n, text.n - 2 * head.n + 2);
        assert_int_equal(b64_dec(&a, text, &back), TD_OK);
        assert_true(span_eq(back, buf_view(&crl)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),          cmocka_unit_test(test_empty_and_complete),
        cmocka_unit_test(test_refused),         cmocka_unit_test(test_limit),
        cmocka_unit_test(test_sign_and_finish),
    };
    return cmocka_run_group_tests(tests, up, down);
}
