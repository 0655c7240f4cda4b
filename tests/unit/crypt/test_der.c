#include "crypt_test.h"

#include "mdm/crypt/der_int.h"

static void test_lengths(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct span in;
        bool ok;
    } rows[] = {
        {"null", SPAN_LIT("\x05\x00"), true},
        {"empty", SPAN_LIT(""), false},
        {"tag alone", SPAN_LIT("\x05"), false},
        {"truncated", SPAN_LIT("\x04\x02\x00"), false},
        {"trailing", SPAN_LIT("\x05\x00\x00"), false},
        {"long form where the short fits", SPAN_LIT("\x04\x81\x01\x00"), false},
        {"indefinite", SPAN_LIT("\x30\x80\x00\x00"), false},
        {"high tag number", SPAN_LIT("\x1f\x20\x00"), false},
        {"five octets of length", SPAN_LIT("\x04\x85\x00\x00\x00\x00\x01\x00"), false},
        {"length over the input", SPAN_LIT("\x04\x84\xff\xff\xff\xff\x00"), false},
        {"nested", SPAN_LIT("\x30\x04\x30\x02\x05\x00"), true},
        {"nested, inner too long", SPAN_LIT("\x30\x04\x30\x03\x05\x00"), false},
        {"nested, inner in long form", SPAN_LIT("\x30\x05\x30\x81\x02\x05\x00"), false},
        {"two values inside", SPAN_LIT("\x31\x04\x05\x00\x05\x00"), true},
        {"empty inside", SPAN_LIT("\x30\x02\x30\x00"), true},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++)
        if (der_well_formed(rows[i].in) != rows[i].ok)
            fail_msg("%s", rows[i].name);
}

/* n SEQUENCEs inside each other. */
static void nest(struct buf *b, size_t n)
{
    size_t marks[LIMIT_BER_DEPTH + 2];
    for (size_t i = 0; i < n; i++)
        marks[i] = der_open(b, DER_SEQUENCE);
    der_put(b, DER_NULL, (struct span){NULL, 0});
    while (n > 0)
        der_close(b, marks[--n]);
}

static void test_depth(void **state)
{
    (void)state;
    buf_auto b;
    buf_init(&b, 4096);
    nest(&b, LIMIT_BER_DEPTH);
    assert_true(der_well_formed(buf_view(&b)));
    buf_reset(&b);
    nest(&b, LIMIT_BER_DEPTH + 1);
    assert_int_equal(b.err, TD_OK);
    assert_false(der_well_formed(buf_view(&b)));
}

static void test_write_lengths(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 127, 128, 255, 256, 65535, 65536};
    static uint8_t data[65536];
    for (size_t i = 0; i < TD_NITEMS(sizes); i++) {
        buf_auto b;
        buf_init(&b, 1 << 17);
        der_put(&b, DER_OCTET_STRING, span_of(data, sizes[i]));
        struct span in = buf_view(&b), val;
        assert_true(der_well_formed(in));
        assert_true(der_get(&in, DER_OCTET_STRING, &val));
        assert_int_equal(val.n, sizes[i]);
    }
    buf_auto b;
    buf_init(&b, 10);
    size_t m = der_open(&b, DER_SEQUENCE);
    der_put(&b, DER_OCTET_STRING, span_of(data, 20));
    der_close(&b, m);
    assert_int_equal(b.err, TD_LIMIT);
}

static void test_uint(void **state)
{
    (void)state;
    static const struct {
        struct span in, out;
    } rows[] = {
        {SPAN_LIT("\x00"), SPAN_LIT("\x02\x01\x00")},
        {SPAN_LIT(""), SPAN_LIT("\x02\x01\x00")},
        {SPAN_LIT("\x7f"), SPAN_LIT("\x02\x01\x7f")},
        {SPAN_LIT("\x80"), SPAN_LIT("\x02\x02\x00\x80")},
        {SPAN_LIT("\x00\x00\x01"), SPAN_LIT("\x02\x01\x01")},
        {SPAN_LIT("\x00\x80"), SPAN_LIT("\x02\x02\x00\x80")},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        buf_auto b;
        buf_init(&b, 64);
        der_put_uint(&b, rows[i].in);
        assert_true(span_eq(buf_view(&b), rows[i].out));
    }
    assert_false(der_int_ok(SPAN_LIT("")));
    assert_false(der_int_ok(SPAN_LIT("\x00\x01")));
    assert_false(der_int_ok(SPAN_LIT("\xff\x80")));
    assert_true(der_int_ok(SPAN_LIT("\x00\x80")));
    assert_true(der_int_ok(SPAN_LIT("\x00")));
}

static void test_time(void **state)
{
    (void)state;
    static const struct {
        uint8_t tag;
        const char *text;
        int64_t t; /* -1: refused */
    } rows[] = {
        {DER_UTC_TIME, "700101000000Z", 0},
        {DER_UTC_TIME, "491231235959Z", 2524607999},
        {DER_UTC_TIME, "500101000000Z", -631152000},
        {DER_GENERALIZED_TIME, "20500101000000Z", 2524608000},
        {DER_GENERALIZED_TIME, "20240229120000Z", 1709208000},
        {DER_GENERALIZED_TIME, "99991231235959Z", 253402300799},
        {DER_GENERALIZED_TIME, "20230229120000Z", -1},
        {DER_GENERALIZED_TIME, "21000229120000Z", -1},
        {DER_UTC_TIME, "7001010000Z", -1},
        {DER_UTC_TIME, "700101000000+0000", -1},
        {DER_UTC_TIME, "701301000000Z", -1},
        {DER_UTC_TIME, "700100000000Z", -1},
        {DER_UTC_TIME, "700101240000Z", -1},
        {DER_UTC_TIME, "700101006000Z", -1},
        {DER_UTC_TIME, "70010100006 Z", -1},
        {DER_GENERALIZED_TIME, "20240101000000.5Z", -1},
        {DER_OCTET_STRING, "700101000000Z", -1},
        {DER_UTC_TIME, "", -1},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct der_item it = {.tag = rows[i].tag, .val = span_str(rows[i].text)};
        int64_t t = 0;
        bool ok = der_time(&it, &t);
        if (ok != (rows[i].t != -1) || (ok && t != rows[i].t))
            fail_msg("%s: %lld", rows[i].text, (long long)t);
    }
}

static void test_put_time(void **state)
{
    (void)state;
    static const struct {
        int64_t t;
        uint8_t tag;
    } rows[] = {{0, DER_UTC_TIME},
                {2524607999, DER_UTC_TIME},
                {2524608000, DER_GENERALIZED_TIME},
                {253402300799, DER_GENERALIZED_TIME}};
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        buf_auto b;
        buf_init(&b, 64);
        der_put_time(&b, rows[i].t);
        struct span in = buf_view(&b);
        struct der_item it;
        int64_t t;
        assert_true(der_next(&in, &it));
        assert_int_equal(it.tag, rows[i].tag);
        assert_true(der_time(&it, &t));
        assert_int_equal(t, rows[i].t);
    }
}

static void test_oid(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        struct span der;
    } rows[] = {
        {"1.2.840.113635.100.8.11.1", SPAN_LIT("\x2a\x86\x48\x86\xf7\x63\x64\x08\x0b\x01")},
        {"2.5.29.17", SPAN_LIT("\x55\x1d\x11")},
        {"2.999.1", SPAN_LIT("\x88\x37\x01")},
        {"0.0", SPAN_LIT("\x00")},
        {"1.39", SPAN_LIT("\x4f")},
        {"1.40", SPAN_LIT("")},
        {"3.1", SPAN_LIT("")},
        {"1", SPAN_LIT("")},
        {"", SPAN_LIT("")},
        {"1.2.", SPAN_LIT("")},
        {"1..2", SPAN_LIT("")},
        {"1.2.x", SPAN_LIT("")},
        {"1.2.4294967296", SPAN_LIT("")},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        uint8_t out[DER_OID_MAX];
        size_t n = der_oid_text(rows[i].text, out);
        if (!span_eq(span_of(out, n), rows[i].der))
            fail_msg("%s", rows[i].text);
    }
    char longer[4 + 2 * DER_OID_MAX + 1] = "1.2";
    for (size_t i = 0; i < DER_OID_MAX - 1; i++)
        memcpy(longer + 3 + 2 * i, ".1", 3);
    uint8_t out[DER_OID_MAX];
    assert_int_equal(der_oid_text(longer, out), DER_OID_MAX);
    memcpy(longer + 3 + 2 * (DER_OID_MAX - 1), ".1", 3);
    assert_int_equal(der_oid_text(longer, out), 0);
}

static void test_utf8(void **state)
{
    (void)state;
    assert_true(der_utf8_ok(SPAN_LIT("")));
    assert_true(der_utf8_ok(SPAN_LIT("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\xa2")));
    static const struct span bad[] = {
        SPAN_LIT("\0"),
        SPAN_LIT("\xc0\x80"),
        SPAN_LIT("\xe0\x80\x80"),
        SPAN_LIT("\xed\xa0\x80"),
        SPAN_LIT("\xf4\x90\x80\x80"),
        SPAN_LIT("\xc3"),
        SPAN_LIT("\x80"),
        SPAN_LIT("\xff"),
        SPAN_LIT("\xf0\x80\x80\x80"),
        SPAN_LIT("\xe2\x28\xa1"),
    };
    for (size_t i = 0; i < TD_NITEMS(bad); i++)
        if (der_utf8_ok(bad[i]))
            fail_msg("row %zu", i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lengths),       cmocka_unit_test(test_depth),
        cmocka_unit_test(test_write_lengths), cmocka_unit_test(test_uint),
        cmocka_unit_test(test_time),          cmocka_unit_test(test_put_time),
        cmocka_unit_test(test_oid),           cmocka_unit_test(test_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
