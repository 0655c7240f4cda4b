/* The messages of the channel: every type there and back, every wrong form refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "acme/signer/proto/signer_msg.h"
#include "mdm/base/limits.h"

#define TIME_MAX INT64_C(253402300799)

static const uint8_t big[70000];

static struct signer_msg issue_msg(void)
{
    struct signer_msg m = {.type = SIGNER_MSG_ISSUE, .generation = 3, .id = 77};
    m.u.issue = (struct signer_msg_issue){.profile = SPAN_LIT("management"),
                                          .device_serial = SPAN_LIT("C02"),
                                          .spki = SPAN_LIT("spki"),
                                          .evidence_sha256 = {1, 2, 3}};
    profile_fact_set(&m.u.issue.facts, FACT_SERIAL, SPAN_LIT("C02"), FACT_FROM_EVIDENCE);
    profile_fact_set(&m.u.issue.facts, FACT_GROUPS, SPAN_LIT("eng"), FACT_FROM_INVENTORY);
    return m;
}

static struct signer_msg ocsp_msg(size_t n)
{
    struct signer_msg m = {.type = SIGNER_MSG_OCSP, .generation = 3, .id = 78};
    m.u.ocsp.n = n;
    for (size_t i = 0; i < n && i < OCSP_IDS_MAX; i++)
        m.u.ocsp.singles[i] = (struct ocsp_single){SPAN_LIT("certid"), OCSP_GOOD, 0, -1, 10, 20};
    m.u.ocsp.nonce = SPAN_LIT("nonce");
    return m;
}

static struct signer_msg refused_msg(enum td_err code)
{
    struct signer_msg m = {.type = SIGNER_MSG_REFUSED, .id = 5};
    m.u.refused = (struct signer_msg_refused){code, SPAN_LIT("why"), SPAN_LIT("because")};
    return m;
}

static struct signer_msg signed_msg(struct span der)
{
    struct signer_msg m = {.type = SIGNER_MSG_SIGNED, .id = UINT64_MAX, .generation = UINT32_MAX};
    m.u.signed_.der = der;
    return m;
}

static struct crl_entry entries[SIGNER_MSG_CRL_STEP];

static struct signer_msg crl_msg(size_t n)
{
    for (size_t i = 0; i < SIGNER_MSG_CRL_STEP; i++) {
        uint8_t serial[CRL_SERIAL_MAX] = {0x40, (uint8_t)(i >> 8), (uint8_t)i};
        assert_true(crl_entry_set(&entries[i], span_of(serial, i % 3 ? 16 : CRL_SERIAL_MAX),
                                  1000 + (int64_t)i, (int)(i % 12) - 1));
    }
    struct signer_msg m = {.type = SIGNER_MSG_CRL, .generation = 2, .id = 6};
    m.u.crl = (struct signer_msg_crl){.issuer = {9, 8, 7},
                                      .shard = 3,
                                      .number = 12,
                                      .this_update = 10,
                                      .next_update = 20,
                                      .total = 5000,
                                      .first = 2000,
                                      .n = n,
                                      .entries = entries};
    return m;
}

/* Entries are read out one by one; then the same message again, cut and lengthened. */
static void test_crl(void **state)
{
    (void)state;
    static const size_t counts[] = {0, 1, 7, SIGNER_MSG_CRL_STEP};
    for (size_t k = 0; k < TD_NITEMS(counts); k++) {
        struct signer_msg m = crl_msg(counts[k]), back;
        m.u.crl.shard = k == 1 ? SIGNER_MSG_CRL_COMPLETE : SIGNER_MSG_SHARDS_MAX - 1;
        buf_auto b;
        buf_init(&b, LIMIT_SIGNER_MSG);
        assert_int_equal(signer_msg_put(&b, &m), TD_OK);
        assert_int_equal(signer_msg_get(buf_view(&b), &back), TD_OK);
        assert_int_equal(back.u.crl.shard, m.u.crl.shard);
        assert_int_equal(back.u.crl.number, 12);
        assert_int_equal(back.u.crl.total, 5000);
        assert_int_equal(back.u.crl.first, 2000);
        struct span raw = back.u.crl.raw;
        struct crl_entry e;
        for (size_t i = 0; i < counts[k]; i++) {
            assert_true(signer_msg_crl_next(&raw, &e));
            assert_memory_equal(&e, &entries[i], sizeof e);
        }
        assert_false(signer_msg_crl_next(&raw, &e));
        buf_auto again;
        buf_init(&again, LIMIT_SIGNER_MSG);
        assert_int_equal(signer_msg_put(&again, &back), TD_OK);
        assert_true(span_eq(buf_view(&b), buf_view(&again)));
        for (size_t n = 0; n < b.n; n += n < 200 ? 1 : 997)
            assert_int_not_equal(signer_msg_get(span_of(b.p, n), &back), TD_OK);
        assert_int_equal(buf_u8(&b, 0), TD_OK);
        assert_int_equal(signer_msg_get(buf_view(&b), &back), TD_PARSE);
    }
    struct signer_msg bad[8];
    size_t n = 0;
    bad[n] = crl_msg(1), bad[n++].u.crl.n = SIGNER_MSG_CRL_STEP + 1;
    bad[n] = crl_msg(1), bad[n++].u.crl.shard = SIGNER_MSG_SHARDS_MAX;
    bad[n] = crl_msg(1), bad[n++].u.crl.shard = -2;
    bad[n] = crl_msg(1), bad[n++].u.crl.total = CRL_ENTRIES_MAX + 1;
    bad[n] = crl_msg(1), bad[n++].u.crl.first = 5001;
    bad[n] = crl_msg(1), bad[n++].u.crl.first = 5000; /* one behind the end */
    bad[n] = crl_msg(1), bad[n++].u.crl.this_update = -1;
    for (size_t i = 0; i < n; i++) {
        buf_auto b;
        buf_init(&b, LIMIT_SIGNER_MSG);
        if (signer_msg_put(&b, &bad[i]) != TD_INVAL)
            fail_msg("row %zu", i);
    }
    struct signer_msg m = crl_msg(1);
    buf_auto b;
    buf_init(&b, LIMIT_SIGNER_MSG);
    entries[0].nserial = 0;
    assert_int_equal(signer_msg_put(&b, &m), TD_INVAL);
    /* an entry's reason that is none: the octet behind its serial number */
    m = crl_msg(1);
    buf_reset(&b);
    assert_int_equal(signer_msg_put(&b, &m), TD_OK);
    b.p[b.n - 9] = 11;
    assert_int_equal(signer_msg_get(buf_view(&b), &m), TD_PARSE);
}

static void test_crl_shard_and_uri(void **state)
{
    (void)state;
    char uri[SIGNER_MSG_URI_SIZE];
    assert_int_equal(signer_msg_crl_shard(SPAN_LIT("\x40\x00\x01\x03"), 16), 3);
    assert_int_equal(signer_msg_crl_shard(SPAN_LIT("\x40\x00\x01\x03"), 256), 3);
    assert_int_equal(signer_msg_crl_shard(SPAN_LIT("\x40\x00\x01\x03"), 1000), 259);
    assert_int_equal(signer_msg_crl_shard(SPAN_LIT("\x05"), 4), 1);
    assert_int_equal(signer_msg_crl_shard(SPAN_LIT("\x05"), 0), 0);
    assert_true(signer_msg_crl_uri(SPAN_LIT("http://h/crl"), "00ff", 7, uri));
    assert_string_equal(uri, "http://h/crl/00ff/7.crl");
    assert_false(signer_msg_crl_uri((struct span){NULL, 0}, "00ff", 7, uri));
    char wide[SIGNER_MSG_URI_SIZE];
    memset(wide, 'a', sizeof wide);
    assert_false(signer_msg_crl_uri(SPAN_ARR(wide), "00ff", 7, uri));
}

static void test_responder_ends_in_time(void **state)
{
    (void)state;
    buf_auto b;
    buf_init(&b, LIMIT_SIGNER_MSG);
    struct signer_msg m = {.type = SIGNER_MSG_RESPONDER, .u.responder = {{1}, -1}};
    assert_int_equal(signer_msg_put(&b, &m), TD_INVAL);
}

static void round_trip(struct signer_msg m)
{
    buf_auto b, again;
    buf_init(&b, LIMIT_SIGNER_MSG);
    buf_init(&again, LIMIT_SIGNER_MSG);
    assert_int_equal(signer_msg_put(&b, &m), TD_OK);
    struct signer_msg back;
    assert_int_equal(signer_msg_get(buf_view(&b), &back), TD_OK);
    assert_int_equal(back.type, m.type);
    assert_int_equal(back.id, m.id);
    assert_int_equal(back.generation, m.generation);
    assert_int_equal(signer_msg_put(&again, &back), TD_OK);
    assert_true(span_eq(buf_view(&b), buf_view(&again)));
    /* nothing shorter and nothing longer is this message */
    for (size_t n = 0; n < b.n; n++)
        assert_int_not_equal(signer_msg_get(span_of(b.p, n), &back), TD_OK);
    assert_int_equal(buf_u8(&b, 0), TD_OK);
    assert_int_equal(signer_msg_get(buf_view(&b), &back), TD_PARSE);
}

static void test_round_trips(void **state)
{
    (void)state;
    struct signer_msg hello = {.type = SIGNER_MSG_HELLO, .generation = 1};
    hello.u.hello = (struct signer_msg_hello){
        .root = SPAN_LIT("root"),
        .issuers = {{SPAN_LIT("issuing"), SPAN_LIT("r")}, {SPAN_LIT("old"), SPAN_LIT("s")}},
        .n = 2,
        .crl_url = SPAN_LIT("http://c"),
        .crl_shards = 16,
        .root_crl = SPAN_LIT("crl")};
    struct signer_msg gone = {.type = SIGNER_MSG_GONE, .generation = 9};
    struct signer_msg fatal = refused_msg(TD_CRYPTO);
    fatal.type = SIGNER_MSG_FATAL;
    round_trip(hello);
    round_trip(gone);
    round_trip(fatal);
    round_trip(issue_msg());
    round_trip(ocsp_msg(1));
    round_trip(ocsp_msg(OCSP_IDS_MAX));
    round_trip(refused_msg(TD_BUSY));
    round_trip(signed_msg(SPAN_LIT("der")));
    round_trip((struct signer_msg){.type = SIGNER_MSG_MORE, .id = 3});
    round_trip((struct signer_msg){
        .type = SIGNER_MSG_RESPONDER, .generation = 4, .u.responder = {{1, 2, 3}, 1800000000}});
    hello.u.hello.crl_url.n = hello.u.hello.root_crl.n = 0;
    hello.u.hello.crl_shards = SIGNER_MSG_SHARDS_MAX;
    round_trip(hello);
}

static void test_issue_survives(void **state)
{
    (void)state;
    buf_auto b;
    buf_init(&b, LIMIT_SIGNER_MSG);
    struct signer_msg m = issue_msg(), back;
    assert_int_equal(signer_msg_put(&b, &m), TD_OK);
    assert_int_equal(signer_msg_get(buf_view(&b), &back), TD_OK);
    assert_true(span_eq_str(back.u.issue.profile, "management"));
    assert_true(span_eq_str(back.u.issue.device_serial, "C02"));
    assert_true(span_eq_str(back.u.issue.spki, "spki"));
    assert_memory_equal(back.u.issue.evidence_sha256, m.u.issue.evidence_sha256, SHA256_SIZE);
    for (unsigned i = 0; i < FACT_MAX; i++) {
        const struct profile_fact *x = &back.u.issue.facts.of[i], *y = &m.u.issue.facts.of[i];
        assert_true(span_eq(x->value, y->value) && x->source == y->source);
    }
    /* facts out of order, twice, of no kind, of no source: two of three bytes each, id and source
     */
    static const struct {
        size_t at;
        uint8_t v;
    } bad[] = {{0, FACT_GROUPS}, {0, FACT_MAX}, {1, FACT_SOURCES}, {7, FACT_SERIAL}, {7, 200}};
    size_t first = b.n - (2 + 2 + 3) - (2 + 2 + 3);
    for (size_t i = 0; i < TD_NITEMS(bad); i++) {
        uint8_t copy[512];
        memcpy(copy, b.p, b.n);
        copy[first + bad[i].at] = bad[i].v;
        assert_int_equal(signer_msg_get(span_of(copy, b.n), &back), TD_PARSE);
    }
}

static void test_fields_out_of_range_are_not_written(void **state)
{
    (void)state;
    struct signer_msg m[20];
    size_t n = 0;
    m[n++] = (struct signer_msg){.type = 0};
    m[n++] = (struct signer_msg){.type = SIGNER_MSG_TYPE_MAX};
    m[n++] = ocsp_msg(0);
    m[n++] = ocsp_msg(OCSP_IDS_MAX + 1);
    m[n] = ocsp_msg(1), m[n++].u.ocsp.singles[0].certid_der.n = 0;
    m[n] = ocsp_msg(1), m[n++].u.ocsp.nonce = span_of(big, SIGNER_MSG_NONCE_MAX + 1);
    m[n] = ocsp_msg(1), m[n++].u.ocsp.singles[0].this_update = -1;
    m[n] = ocsp_msg(1), m[n++].u.ocsp.singles[0].next_update = TIME_MAX + 1;
    m[n] = ocsp_msg(1), m[n++].u.ocsp.singles[0].reason = 3;     /* good has no reason */
    m[n] = ocsp_msg(1), m[n++].u.ocsp.singles[0].revoked_at = 3; /* nor a time */
    m[n] = issue_msg(), m[n++].u.issue.spki = span_of(big, SIGNER_MSG_SPKI_MAX + 1);
    m[n] = issue_msg(), m[n++].u.issue.profile.n = 0;
    m[n] = issue_msg(),
    m[n++].u.issue.facts.of[FACT_NAME].value = span_of(big, PROFILE_FACT_VALUE_MAX + 1);
    m[n] = issue_msg(), m[n++].u.issue.facts.of[FACT_SERIAL].source = FACT_SOURCES;
    m[n++] = refused_msg(TD_OK);
    m[n++] = refused_msg(TD_ERR_MAX);
    m[n++] = signed_msg(span_of(big, 65536));
    m[n++] = signed_msg(span_of(big, 0));
    for (size_t i = 0; i < n; i++) {
        buf_auto b;
        buf_init(&b, sizeof big);
        if (signer_msg_put(&b, &m[i]) != TD_INVAL)
            fail_msg("row %zu", i);
    }
    buf_auto b;
    buf_init(&b, LIMIT_SIGNER_MSG); /* fits its length, not the message */
    struct signer_msg huge = signed_msg(span_of(big, 65535));
    assert_int_equal(signer_msg_put(&b, &huge), TD_LIMIT);
}

static void test_bytes_out_of_range_are_not_read(void **state)
{
    (void)state;
    struct signer_msg m = ocsp_msg(1), back;
    buf_auto b;
    buf_init(&b, LIMIT_SIGNER_MSG);
    assert_int_equal(signer_msg_put(&b, &m), TD_OK);
    static const struct {
        size_t at;
        uint8_t value;
        enum td_err e;
    } rows[] = {
        {0, 1, TD_UNSUPPORTED}, /* version */
        {1, 0, TD_UNSUPPORTED}, /* type */
        {1, 200, TD_UNSUPPORTED},
        {34, 0, TD_PARSE}, /* no single */
        {34, OCSP_IDS_MAX + 1, TD_PARSE},
        {35, 3, TD_PARSE}, /* no such status */
        {35, OCSP_REVOKED, TD_OK},
        {36, 5, TD_PARSE}, /* a reason for `good` */
        {36, 11, TD_PARSE},
        {37, 0x80, TD_PARSE}, /* a time of the far future */
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        uint8_t keep = b.p[rows[i].at];
        b.p[rows[i].at] = rows[i].value;
        enum td_err e = signer_msg_get(buf_view(&b), &back);
        if (e != rows[i].e)
            fail_msg("row %zu: %s", i, err_name(e));
        assert_int_equal(back.id, 78); /* the sender can be told in any case */
        b.p[rows[i].at] = keep;
    }
    assert_int_equal(signer_msg_get(span_of(big, LIMIT_SIGNER_MSG), &back), TD_UNSUPPORTED);
    assert_int_equal(signer_msg_get(span_of(big, LIMIT_SIGNER_MSG + 1), &back), TD_LIMIT);
    assert_true(signer_msg_has_head(span_of(big, SIGNER_MSG_HEAD_SIZE)));
    assert_false(signer_msg_has_head(span_of(big, SIGNER_MSG_HEAD_SIZE - 1)));
}

static void test_refusal(void **state)
{
    (void)state;
    struct errinfo ei = {0};
    struct signer_msg m;
    err_reason(&ei, TD_INVAL, "device-serial", "not valid");
    signer_msg_refusal(&m, 4, TD_INVAL, &ei);
    assert_int_equal(m.u.refused.code, TD_INVAL);
    assert_true(span_eq_str(m.u.refused.reason, "device-serial"));
    assert_true(span_eq_str(m.u.refused.text, "not valid"));
    round_trip(m);
    signer_msg_refusal(&m, 4, TD_BUSY, NULL);
    assert_true(m.u.refused.text.n > 0);
    round_trip(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_crl),
        cmocka_unit_test(test_crl_shard_and_uri),
        cmocka_unit_test(test_responder_ends_in_time),
        cmocka_unit_test(test_issue_survives),
        cmocka_unit_test(test_fields_out_of_range_are_not_written),
        cmocka_unit_test(test_bytes_out_of_range_are_not_read),
        cmocka_unit_test(test_refusal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
