/* Certificate profiles and the last look before signing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "acme/signer/issue.h"
#include "acme/signer/profile_device.h"
#include "mdm/base/limits.h"
#include "mdm/base/str.h"

#define NOW INT64_C(1800000000)
#define DAY INT64_C(86400)

struct world {
    struct arena arena;
    struct key *ca_key, *p256, *p384, *rsa;
    struct cert *ca;
    struct cadir_conf conf;
    uint8_t serial[PROFILE_SERIAL_SIZE];
};

static int up(void **state)
{
    static struct world w;
    struct errinfo ei = {0};
    assert_int_equal(crypt_init(&ei), TD_OK);
    arena_init(&w.arena, 1 << 20);
    assert_int_equal(key_generate(KEY_P256, &w.ca_key, &ei), TD_OK);
    assert_int_equal(key_generate(KEY_P256, &w.p256, &ei), TD_OK);
    assert_int_equal(key_generate(KEY_P384, &w.p384, &ei), TD_OK);
    assert_int_equal(key_generate(KEY_RSA, &w.rsa, &ei), TD_OK);
    profile_serial(&rng_system, w.serial);
    struct x509_spec s = {.serial = SPAN_ARR(w.serial),
                          .cn = "CA",
                          .o = "Org",
                          .not_before = NOW - DAY,
                          .not_after = NOW + 400 * DAY,
                          .public_key = w.ca_key,
                          .key_usage = X509_KU_CERT_SIGN,
                          .ca = true};
    struct span der;
    assert_int_equal(x509_build(&s, NULL, w.ca_key, &w.arena, &der, &ei), TD_OK);
    assert_int_equal(cert_parse(der, &w.ca, &ei), TD_OK);
    assert_int_equal(
        cadir_conf_parse(SPAN_LIT("[ca]\nocsp_url = http://o\n"), &w.arena, &w.conf, &ei), TD_OK);
    *state = &w;
    return 0;
}

static int down(void **state)
{
    struct world *w = *state;
    key_free(w->ca_key);
    key_free(w->p256);
    key_free(w->p384);
    key_free(w->rsa);
    cert_free(w->ca);
    arena_free(&w->arena);
    return 0;
}

static void test_table(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool there, nocheck;
    } rows[] = {
        {"tls-server", true, false},  {"ocsp-responder", true, true},
        {"management", false, false}, {"access", false, false},
        {"", false, false},           {"tls-serve", false, false},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        const struct profile *p = profile_find(span_str(rows[i].name));
        assert_int_equal(p != NULL, rows[i].there);
        if (p)
            assert_int_equal(p->nocheck, rows[i].nocheck);
    }
}

static void test_spec(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *name;
        int64_t days;
        const char *eku;
        bool ocsp;
    } rows[] = {{"tls-server", 397, "1.3.6.1.5.5.7.3.1", true},
                {"ocsp-responder", 14, "1.3.6.1.5.5.7.3.9", false}};
    const char *const dns[] = {"a.example", NULL};
    struct errinfo ei = {0};
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        const struct profile *p = profile_find(span_str(rows[i].name));
        struct profile_subject who = {"ABC123", dns, w->p256, SPAN_ARR(w->serial), NOW};
        struct x509_spec s;
        profile_spec(p, &w->conf, &who, &s);
        assert_int_equal(s.not_before, NOW - 3600);
        assert_int_equal(s.not_after, NOW + rows[i].days * DAY);
        assert_string_equal(s.eku[0], rows[i].eku);
        assert_null(s.eku[1]);
        assert_int_equal(s.key_usage, X509_KU_DIGITAL_SIGNATURE);
        assert_false(s.ca);
        assert_int_equal(s.aia_ocsp != NULL, rows[i].ocsp);
        assert_null(s.aia_ca_issuers); /* not configured: not named */
        assert_null(s.san_permanent_id);
        assert_non_null(s.san_dns);
        assert_int_equal(profile_lint(&s, w->ca, &ei), TD_OK);
    }
}

/* The specification for ABC123, or the refusal with that reason. */
static struct x509_spec device_spec(struct world *w, const struct profile_conf *p,
                                    const struct profile_facts *facts, const struct key *key,
                                    enum td_err want, const char *reason)
{
    struct x509_spec s = {0};
    struct errinfo ei = {0};
    const struct signer_msg_issue m = {
        .device_serial = SPAN_LIT("ABC123"), .evidence_sha256 = {1}, .facts = *facts};
    assert_int_equal(profile_device_spec(p, &w->conf, &m, key, NOW, &w->arena, &s, &ei), want);
    if (reason)
        assert_string_equal(ei.reason, reason);
    return s;
}

static struct profile_conf conf_of(struct world *w, const char *text)
{
    struct profile_conf p;
    struct errinfo ei = {0};
    if (profile_conf_parse("wifi", span_str(text), &w->arena, &p, &ei) != TD_OK)
        fail_msg("%s", ei.msg);
    return p;
}

/* RFC 4108: the serial number that was proved, not the one that is listed. */
static void test_hardware_module(void **state)
{
    struct world *w = *state;
    struct profile_conf p = conf_of(w, "[san]\nhardware_module = 1.3.6.1.4.1.32473.1\n");
    struct profile_facts f = {0};
    device_spec(w, &p, &f, w->p256, TD_FORBIDDEN, "fact-missing");
    profile_fact_set(&f, FACT_SERIAL, SPAN_LIT("ABC123"), FACT_FROM_INVENTORY);
    device_spec(w, &p, &f, w->p256, TD_FORBIDDEN, "fact-missing");
    profile_fact_set(&f, FACT_SERIAL, SPAN_LIT("ABC124"), FACT_FROM_EVIDENCE);
    device_spec(w, &p, &f, w->p256, TD_INVAL, "device-serial");
    profile_fact_set(&f, FACT_SERIAL, SPAN_LIT("ABC123"), FACT_FROM_EVIDENCE);
    struct x509_spec s = device_spec(w, &p, &f, w->p256, TD_OK, NULL);
    assert_string_equal(s.san_hw_type, "1.3.6.1.4.1.32473.1");
    assert_true(span_eq_str(s.san_hw_serial, "ABC123"));
    assert_string_equal(s.san_permanent_id, "ABC123");
    s = device_spec(w, profile_conf_builtin(0), &f, w->p256, TD_OK, NULL);
    assert_null(s.san_hw_type);
}

static void test_device(void **state)
{
    struct world *w = *state;
    struct profile_facts f = {0};
    struct x509_spec s = device_spec(w, profile_conf_builtin(0), &f, w->p256, TD_OK, NULL);
    assert_string_equal(s.cn, "ABC123");
    assert_string_equal(s.san_permanent_id, "ABC123");
    assert_null(s.san_dns);
    assert_null(s.tagged_oid);
    assert_string_equal(s.eku[0], "1.3.6.1.5.5.7.3.2");
    assert_null(s.eku[1]);
    assert_int_equal(s.not_before, NOW - 3600);
    assert_int_equal(s.not_after, NOW + 365 * DAY); /* by the purpose, from ca.ini */
    s = device_spec(w, profile_conf_builtin(1), &f, w->p384, TD_OK, NULL);
    assert_int_equal(s.not_after, NOW + 90 * DAY);
    device_spec(w, profile_conf_builtin(1), &f, w->rsa, TD_UNSUPPORTED, "key-unsupported");

    struct profile_conf p = conf_of(w, "[profile]\nlifetime = 7d\nkeys = p384\n"
                                       "[subject]\ncn = {name}\nou = {groups}\n"
                                       "[san]\ndns = {serial}.dev.example\nemail = {owner}\n"
                                       "[facts]\noid = 1.3.6.1.4.1.32473.1\n");
    device_spec(w, &p, &f, w->p256, TD_UNSUPPORTED, "key-unsupported");
    device_spec(w, &p, &f, w->p384, TD_FORBIDDEN, "fact-missing");
    profile_fact_set(&f, FACT_NAME, SPAN_LIT("Lab 1"), FACT_FROM_INVENTORY);
    profile_fact_set(&f, FACT_OWNER, SPAN_LIT("a@b.example"), FACT_FROM_INVENTORY);
    profile_fact_set(&f, FACT_GROUPS, SPAN_LIT("eng lab"), FACT_FROM_INVENTORY);
    profile_fact_set(&f, FACT_OS_VERSION, SPAN_LIT("18.1"), FACT_FROM_EVIDENCE);
    profile_fact_set(&f, FACT_SIP, SPAN_LIT("enabled"), FACT_FROM_INVENTORY);
    s = device_spec(w, &p, &f, w->p384, TD_OK, NULL);
    assert_string_equal(s.cn, "Lab 1");
    assert_string_equal(s.ou, "eng lab");
    assert_string_equal(s.san_dns[0], "abc123.dev.example");
    assert_string_equal(s.san_email, "a@b.example");
    assert_int_equal(s.not_after, NOW + 7 * DAY);
    assert_int_equal(s.ntagged, 1); /* what is not attested does not count as a fact */
    assert_int_equal(s.tagged[0].tag, FACT_OS_VERSION);
    profile_fact_set(&f, FACT_OWNER, SPAN_LIT("nobody"), FACT_FROM_INVENTORY);
    s = device_spec(w, &p, &f, w->p384, TD_OK, NULL);
    s.serial = SPAN_ARR(w->serial);
    struct span der;
    struct errinfo ei = {0};
    assert_int_equal(x509_build(&s, w->ca, w->ca_key, &w->arena, &der, &ei), TD_INVAL);
    assert_string_equal(ei.reason,
                        "lint"); /* no mail address: what templates let by, the lint sees */

    /* another serial number than the request's */
    profile_fact_set(&f, FACT_SERIAL, SPAN_LIT("OTHER"), FACT_FROM_EVIDENCE);
    device_spec(w, &p, &f, w->p384, TD_INVAL, "device-serial");
    /* without evidence */
    const struct signer_msg_issue none = {.device_serial = SPAN_LIT("ABC123")};
    assert_int_equal(profile_device_spec(profile_conf_builtin(0), &w->conf, &none, w->p256, NOW,
                                         &w->arena, &s, &ei),
                     TD_FORBIDDEN);
    assert_string_equal(ei.reason, "evidence-missing");
    p = conf_of(w, "[profile]\nattestation = no\n");
    assert_int_equal(profile_device_spec(&p, &w->conf, &none, w->p256, NOW, &w->arena, &s, &ei),
                     TD_OK);
}

static void test_lint(void **state)
{
    struct world *w = *state;
    struct x509_spec good, s;
    struct errinfo ei = {0};
    struct profile_facts facts = {0};
    good = device_spec(w, profile_conf_builtin(0), &facts, w->p256, TD_OK, NULL);
    good.serial = SPAN_ARR(w->serial);
    assert_int_equal(profile_lint(&good, w->ca, &ei), TD_OK);
    static const uint8_t negative[16] = {0x80, 1}, leading_zero[16] = {0, 0x80};
    static const char *const bad_dns[] = {"a b", NULL};
#define BROKEN(change, e)                                                                          \
    do {                                                                                           \
        s = good;                                                                                  \
        change;                                                                                    \
        assert_int_equal(profile_lint(&s, w->ca, &ei), (e));                                       \
    } while (0)
    BROKEN(s.serial.n = 15, TD_INVAL);
    BROKEN(s.serial = SPAN_ARR(negative), TD_INVAL);
    BROKEN(s.serial = SPAN_ARR(leading_zero), TD_INVAL);
    BROKEN(s.not_after = s.not_before, TD_INVAL);
    BROKEN(s.not_after = NOW + 400 * DAY, TD_OK);
    BROKEN(s.not_after = NOW + 400 * DAY + 1, TD_INVAL);
    BROKEN(s.not_before = NOW - DAY, TD_OK);
    BROKEN(s.not_before = NOW - DAY - 1, TD_INVAL);
    BROKEN(s.public_key = NULL, TD_UNSUPPORTED);
    BROKEN(s.public_key = w->p384, TD_OK);
    BROKEN(s.public_key = w->rsa, TD_UNSUPPORTED);
    BROKEN(s.public_key = w->ca_key, TD_INVAL);
    BROKEN(s.ca = true, TD_INVAL);
    BROKEN(s.key_usage |= X509_KU_CERT_SIGN, TD_INVAL);
    BROKEN(s.eku = NULL, TD_INVAL);
    BROKEN(s.o = "", TD_INVAL);
    BROKEN(s.cn = "", TD_INVAL);
    BROKEN((s.san_permanent_id = NULL, s.cn = NULL), TD_INVAL);
    BROKEN(s.san_dns = bad_dns, TD_INVAL);
}

static void test_device_serials(void **state)
{
    (void)state;
    static const struct {
        struct span s;
        bool valid;
    } rows[] = {
        {SPAN_LIT("C02XK0AAJGH5"), true}, {SPAN_LIT("0"), true},
        {SPAN_LIT("a-b_c.d"), true},      {SPAN_LIT(""), false},
        {SPAN_LIT(" A"), false},          {SPAN_LIT("A "), false},
        {SPAN_LIT("A,B"), false},         {SPAN_LIT("A=B"), false},
        {SPAN_LIT("A/B"), false},         {SPAN_LIT("A\0"), false},
        {SPAN_LIT("-A"), false},          {SPAN_LIT("_A"), false},
        {SPAN_LIT("\xff"), false},        {SPAN_LIT("A\n"), false},
        {SPAN_LIT("A\""), false},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++)
        assert_int_equal(str_device_serial(rows[i].s), rows[i].valid);
    char text[LIMIT_SERIAL + 1];
    memset(text, 'Z', sizeof text);
    assert_true(str_device_serial(span_of(text, LIMIT_SERIAL)));
    assert_false(str_device_serial(span_of(text, LIMIT_SERIAL + 1)));
}

static void test_hosts(void **state)
{
    (void)state;
    static const struct {
        const char *s;
        bool valid;
    } rows[] = {
        {"mdm.example.com", true},
        {"localhost", true},
        {"*.example.com", true},
        {"10.0.0.1", true},
        {"::1", true},
        {"a-b.c", true},
        {"", false},
        {".", false},
        {"a.", false},
        {".a", false},
        {"a..b", false},
        {"-a.b", false},
        {"a-.b", false},
        {"a_b", false},
        {"a b", false},
        {"*", false},
        {"a.*.b", false},
        {"10.0.0.256", false},
        {"1.2.3", false},
        {"a/b", false},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", true},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++)
        if (profile_host_valid(rows[i].s) != rows[i].valid)
            fail_msg("%s", rows[i].s);
}

static void test_serials_are_positive_and_full(void **state)
{
    (void)state;
    struct rng_seeded rng;
    rng_seeded_init(&rng, 7);
    uint8_t a[PROFILE_SERIAL_SIZE], b[PROFILE_SERIAL_SIZE] = {0};
    for (int i = 0; i < 1000; i++) {
        profile_serial(&rng.rng, a);
        assert_int_equal(a[0] & 0xc0, 0x40);
        assert_memory_not_equal(a, b, sizeof a);
        memcpy(b, a, sizeof a);
    }
}

static void test_bucket(void **state)
{
    (void)state;
    struct issue_bucket b = {10 * 1000, 5000};
    int n = 0;
    while (issue_bucket_take(&b, 5000, 10))
        n++;
    assert_int_equal(n, 10); /* the burst */
    assert_false(issue_bucket_take(&b, 5099, 10));
    assert_true(issue_bucket_take(&b, 5100, 10)); /* a tenth of a second, a tenth of the rate */
    assert_false(issue_bucket_take(&b, 5100, 10));
    assert_false(issue_bucket_take(&b, 4000, 10)); /* a clock that went back gives nothing */
    for (n = 0; issue_bucket_take(&b, INT64_MAX / 2, 10);)
        n++;
    assert_int_equal(n, 10); /* however long the pause */
}

static void test_ini(void **state)
{
    struct world *w = *state;
    struct errinfo ei = {0};
    struct cadir_conf c;
    static const struct {
        const char *text;
        enum td_err e;
    } rows[] = {
        {"", TD_OK},
        {"[ca]\norg = Some Org\n[lifetime]\naccess = 30d\n", TD_OK},
        {"[ca]\norg =\n", TD_INVAL},
        {"[ca]\nocsp_url = ldap://x\n", TD_INVAL},
        {"[ca]\naia_url = http://a b\n", TD_INVAL},
        {"[lifetime]\nmanagement = 900d\n", TD_INVAL},
        {"[lifetime]\naccess = 0\n", TD_INVAL},
        {"[lifetime]\nresponder = 1d\n", TD_INVAL},
        {"[ca]\nunknown = 1\n", TD_INVAL},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++)
        if (cadir_conf_parse(span_str(rows[i].text), &w->arena, &c, &ei) != rows[i].e)
            fail_msg("row %zu: %s", i, ei.msg);
    buf_auto b;
    buf_init(&b, 65536);
    c = w->conf;
    c.org = "M\xc3\xbcller & S\xc3\xb6hne #1";
    c.aia_url = "http://x/ca/issuing.crt?a=b#c";
    enum td_err e = cadir_conf_text(&c, &b, &ei);
    if (e == TD_OK) { /* what is accepted reads back the same */
        struct cadir_conf back;
        assert_int_equal(cadir_conf_parse(buf_view(&b), &w->arena, &back, &ei), TD_OK);
        assert_string_equal(back.org, c.org);
        assert_string_equal(back.aia_url, c.aia_url);
        assert_int_equal(back.access_life, c.access_life);
    }
    assert_int_equal(e, TD_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_spec),
        cmocka_unit_test(test_hardware_module),
        cmocka_unit_test(test_device),
        cmocka_unit_test(test_lint),
        cmocka_unit_test(test_device_serials),
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_serials_are_positive_and_full),
        cmocka_unit_test(test_bucket),
        cmocka_unit_test(test_ini),
    };
    return cmocka_run_group_tests(tests, up, down);
}
