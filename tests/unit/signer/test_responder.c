/* What the OCSP responder lets itself be asked: CertIDs of ours, windows of now; its renewal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <unistd.h>

#include "acme/signer/proto/issuer_life.h"
#include "acme/signer/responder.h"

#define DAY INT64_C(86400)

struct world {
    struct cadir ca;
    struct audit_log audit;
    struct clock_fixed clock;
    struct issuer issuer;
    struct responder responder;
    char path[64];
};

static int up(void **state)
{
    static struct world w;
    struct errinfo ei = {0};
    assert_int_equal(crypt_init(&ei), TD_OK);
    clock_fixed_init(&w.clock, 1800000000);
    arena_init(&w.ca.arena, 1 << 20);
    assert_int_equal(key_generate(KEY_P256, &w.ca.issuing[0].key, &ei), TD_OK);
    uint8_t serial[PROFILE_SERIAL_SIZE];
    profile_serial(&rng_system, serial);
    struct x509_spec s = {.serial = SPAN_ARR(serial),
                          .cn = "CA",
                          .o = "Org",
                          .not_before = w.clock.at - DAY,
                          .not_after = w.clock.at + 4000 * DAY,
                          .public_key = w.ca.issuing[0].key,
                          .key_usage = X509_KU_CERT_SIGN,
                          .ca = true};
    struct span der;
    assert_int_equal(x509_build(&s, NULL, w.ca.issuing[0].key, &w.ca.arena, &der, &ei), TD_OK);
    assert_int_equal(cert_parse(der, &w.ca.issuing[0].cert, &ei), TD_OK);
    w.ca.n = 1;
    assert_int_equal(cadir_conf_parse((struct span){NULL, 0}, &w.ca.arena, &w.ca.conf, &ei), TD_OK);
    snprintf(w.path, sizeof w.path, "/tmp/td-responder-XXXXXX");
    close(mkstemp(w.path));
    assert_int_equal(audit_log_open(w.path, 0, &w.audit, &ei), TD_OK);
    issuer_init(&w.issuer, &w.ca, &w.audit, &w.clock.clock, &rng_system);
    assert_int_equal(responder_init(&w.responder, &w.ca.issuing[0], &w.issuer, &ei), TD_OK);
    *state = &w;
    return 0;
}

static int down(void **state)
{
    struct world *w = *state;
    responder_free(&w->responder);
    audit_log_close(&w->audit);
    cadir_free(&w->ca);
    return unlink(w->path);
}

/* SEQUENCE { SEQUENCE alg, OCTET STRING name, OCTET STRING key, INTEGER serial } */
static struct span make_certid(uint8_t *out, struct span alg, struct span name, struct span key,
                               struct span serial)
{
    const struct {
        uint8_t tag;
        struct span s;
    } parts[] = {{0x30, alg}, {0x04, name}, {0x04, key}, {0x02, serial}};
    size_t n = 0, total = 0;
    for (size_t i = 0; i < TD_NITEMS(parts); i++)
        total += 2 + parts[i].s.n;
    out[n++] = 0x30;
    if (total > 127)
        out[n++] = 0x81;
    out[n++] = (uint8_t)total;
    for (size_t i = 0; i < TD_NITEMS(parts); i++) {
        out[n++] = parts[i].tag;
        out[n++] = (uint8_t)parts[i].s.n;
        if (parts[i].s.n)
            memcpy(out + n, parts[i].s.p, parts[i].s.n);
        n += parts[i].s.n;
    }
    return span_of(out, n);
}

static const struct span sha1_null = SPAN_LIT("\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00");
static const struct span sha1_bare = SPAN_LIT("\x06\x05\x2b\x0e\x03\x02\x1a");
static const struct span sha256_null =
    SPAN_LIT("\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00");
static const struct span sha256_bare = SPAN_LIT("\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01");
static const struct span sha384_bare = SPAN_LIT("\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02");

static void test_certids(void **state)
{
    struct world *w = *state;
    const struct responder_ids *i1 = &w->responder.ids[DIGEST_SHA1];
    const struct responder_ids *i2 = &w->responder.ids[DIGEST_SHA256];
    struct span n1 = span_of(i1->name, 20), k1 = span_of(i1->key, 20);
    struct span n2 = span_of(i2->name, 32), k2 = span_of(i2->key, 32);
    struct span one = SPAN_LIT("\x01");
    static const uint8_t octets[65] = {1};
    const struct {
        struct span alg, name, key, serial;
        enum td_err e;
    } rows[] = {
        {sha1_null, n1, k1, one, TD_OK},
        {sha1_bare, n1, k1, one, TD_OK},
        {sha256_null, n2, k2, one, TD_OK},
        {sha256_bare, n2, k2, one, TD_OK},
        {sha384_bare, n2, k2, one, TD_FORBIDDEN},
        {SPAN_LIT(""), n1, k1, one, TD_FORBIDDEN},
        {sha1_null, k1, n1, one, TD_FORBIDDEN},
        {sha1_null, n2, k2, one, TD_FORBIDDEN},
        {sha256_null, n1, k1, one, TD_FORBIDDEN},
        {sha1_null, span_sub(n1, 0, 19), k1, one, TD_FORBIDDEN},
        {sha1_null, n1, SPAN_LIT(""), one, TD_FORBIDDEN},
        {sha1_null, n1, k1, SPAN_LIT(""), TD_PARSE},
        {sha1_null, n1, k1, span_of(octets, 64), TD_OK},
        {sha1_null, n1, k1, span_of(octets, 65), TD_PARSE},
    };
    uint8_t bytes[300];
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct span id = make_certid(bytes, rows[i].alg, rows[i].name, rows[i].key, rows[i].serial);
        enum td_err e = responder_check_certid(&w->responder, id, NULL);
        if (e != rows[i].e)
            fail_msg("row %zu: %s", i, err_name(e));
    }
    struct span good = make_certid(bytes, sha1_null, n1, k1, one);
    for (size_t n = 0; n < good.n; n++)
        assert_int_equal(responder_check_certid(&w->responder, span_of(bytes, n), NULL), TD_PARSE);
    bytes[good.n] = 0;
    assert_int_equal(responder_check_certid(&w->responder, span_of(bytes, good.n + 1), NULL),
                     TD_PARSE);
    /* the same, its length in more octets than needed: not DER */
    uint8_t wide[300] = {0x30, 0x81};
    memcpy(wide + 2, bytes + 1, good.n - 1);
    assert_int_equal(responder_check_certid(&w->responder, span_of(wide, good.n + 1), NULL),
                     TD_PARSE);
}

static void test_windows(void **state)
{
    (void)state;
    const int64_t now = 1800000000;
    const struct {
        int64_t from, to, revoked_at;
        enum ocsp_status status;
        enum td_err e;
    } rows[] = {
        {now, now + DAY, 0, OCSP_GOOD, TD_OK},
        {now - 3600, now + DAY, 0, OCSP_GOOD, TD_OK},
        {now - 3601, now + DAY, 0, OCSP_GOOD, TD_INVAL},
        {now + 300, now + DAY, 0, OCSP_GOOD, TD_OK},
        {now + 301, now + DAY, 0, OCSP_GOOD, TD_INVAL},
        {now, now + 7 * DAY, 0, OCSP_GOOD, TD_OK},
        {now, now + 7 * DAY + 1, 0, OCSP_GOOD, TD_INVAL},
        {now - 10, now, 0, OCSP_GOOD, TD_INVAL},
        {now - 10, now + 1, 0, OCSP_GOOD, TD_OK},
        {now, now + DAY, 0, OCSP_REVOKED, TD_INVAL},
        {now, now + DAY, 1, OCSP_REVOKED, TD_OK},
        {now, now + DAY, now + 300, OCSP_REVOKED, TD_OK},
        {now, now + DAY, now + 301, OCSP_REVOKED, TD_INVAL},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct ocsp_single s = {.status = rows[i].status,
                                .revoked_at = rows[i].revoked_at,
                                .this_update = rows[i].from,
                                .next_update = rows[i].to};
        if (responder_check_window(&s, now, NULL) != rows[i].e)
            fail_msg("row %zu", i);
    }
}

static void test_renewal(void **state)
{
    struct world *w = *state;
    struct errinfo ei = {0};
    struct responder *r = &w->responder;
    struct span v;
    assert_int_equal(cert_ext(r->cert, "1.3.6.1.5.5.7.48.1.5", &v), 1); /* nocheck */
    assert_int_equal(cert_ext(r->cert, "2.5.29.37", &v), 1);
    assert_true(span_eq(v, SPAN_LIT("\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x09")));
    assert_int_equal(cert_check_issued(r->cert, w->ca.issuing[0].cert, &ei), TD_OK);
    struct cert *first = cert_ref(r->cert);
    int64_t born = w->clock.at;
    w->clock.at = r->renew_at - 1;
    assert_int_equal(responder_rotate(r, &w->issuer, &ei), TD_OK);
    assert_ptr_equal(r->cert, first);
    w->clock.at = r->renew_at;
    assert_in_range((uint64_t)(w->clock.at - born), 6 * DAY, 7 * DAY);
    uint64_t lines = w->audit.seq;
    assert_int_equal(responder_rotate(r, &w->issuer, &ei), TD_OK);
    assert_ptr_not_equal(r->cert, first);
    assert_false(span_eq(cert_spki(r->cert), cert_spki(first)));
    assert_int_equal(w->audit.seq, lines + 1); /* durable before it is used */
    /* whatever is signed until the next renewal ends within the certificate's life */
    assert_true(r->renew_at + RESPONDER_WINDOW_MAX <= cert_not_after(r->cert));
    cert_free(first);
}

static bool contains(struct span s, struct span part)
{
    for (size_t i = 0; i + part.n <= s.n; i++)
        if (span_eq(span_sub(s, i, part.n), part))
            return true;
    return false;
}

/* An answer of now, with the certificate of `by` and no other. */
static void signed_by(struct world *w, const struct cert *by, const struct cert *not_by)
{
    struct responder *r = &w->responder;
    const struct responder_ids *ids = &r->ids[DIGEST_SHA1];
    uint8_t bytes[300];
    struct span id = make_certid(bytes, sha1_null, span_of(ids->name, 20), span_of(ids->key, 20),
                                 SPAN_LIT("\x01"));
    int64_t now = w->clock.at;
    struct signer_msg_ocsp m = {.singles = {{.certid_der = id,
                                             .status = OCSP_GOOD,
                                             .this_update = now,
                                             .next_update = now + DAY}},
                                .n = 1};
    struct signer_msg_signed ret;
    struct errinfo ei = {0};
    arena_auto a;
    arena_init(&a, 1 << 20);
    assert_int_equal(responder_handle(r, &m, now, &a, &ret, &ei), TD_OK);
    assert_true(contains(ret.der, cert_der(by)));
    assert_false(contains(ret.der, cert_der(not_by)));
    assert_memory_equal(ret.issuer, w->ca.issuing[0].id, sizeof ret.issuer);
}

static void no_delegate(struct world *w, int64_t at, const char *reason)
{
    struct responder *r = &w->responder;
    struct errinfo ei = {0};
    struct cert *ca = w->ca.issuing[0].cert, *delegate = cert_ref(r->cert);
    uint64_t lines = w->audit.seq;
    w->clock.at = at;
    assert_int_equal(issuer_life(ca, at, &ei), TD_INVAL);
    assert_string_equal(ei.reason, reason);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(responder_rotate(r, &w->issuer, &ei), TD_OK);
        assert_null(r->cert);
        assert_null(r->key);
        assert_ptr_equal(responder_cert(r), ca);
    }
    assert_int_equal(w->audit.seq, lines); /* nothing was issued */
    signed_by(w, ca, delegate);
    cert_free(delegate);
    /* nor may anything else */
    struct profile_subject who = {.name = "x", .public_key = w->ca.issuing[0].key};
    struct span der, none = {NULL, 0};
    arena_auto a;
    arena_init(&a, 1 << 20);
    ei = (struct errinfo){0};
    assert_int_equal(issue_cert(&w->issuer, &w->ca.issuing[0], profile_find(SPAN_LIT("tls-server")),
                                &who, none, &a, &der, &ei),
                     TD_INVAL);
    assert_string_equal(ei.reason, reason);
}

/* Outside its life the CA delegates nothing and signs for itself; inside it does again. */
static void test_life(void **state)
{
    struct world *w = *state;
    struct errinfo ei = {0};
    struct responder *r = &w->responder;
    struct cert *ca = w->ca.issuing[0].cert;
    const int64_t then = w->clock.at;
    signed_by(w, r->cert, ca);
    w->clock.at = cert_not_after(ca) - 1;
    assert_int_equal(issuer_life(ca, w->clock.at, &ei), TD_OK);
    assert_int_equal(responder_rotate(r, &w->issuer, &ei), TD_OK);
    assert_int_equal(cert_not_after(r->cert), cert_not_after(ca));
    no_delegate(w, cert_not_after(ca), "issuer-expired");
    w->clock.at = then;
    assert_int_equal(responder_rotate(r, &w->issuer, &ei), TD_OK);
    assert_non_null(r->cert);
    signed_by(w, r->cert, ca);
    no_delegate(w, cert_not_before(ca) - 1, "issuer-early");
    /* one that starts so, as the server that was away on that day */
    responder_free(r);
    assert_int_equal(responder_init(r, &w->ca.issuing[0], &w->issuer, &ei), TD_OK);
    assert_null(r->cert);
    w->clock.at = cert_not_before(ca);
    assert_int_equal(issuer_life(ca, w->clock.at, &ei), TD_OK);
    assert_int_equal(responder_rotate(r, &w->issuer, &ei), TD_OK);
    assert_non_null(r->cert);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_certids),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_renewal),
        cmocka_unit_test(test_life),
    };
    return cmocka_run_group_tests(tests, up, down);
}
