/* num, hex, b64, uuid, utf8, str */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mdm/base/b64.h"
#include "mdm/base/hex.h"
#include "mdm/base/num.h"
#include "mdm/base/str.h"
#include "mdm/base/utf8.h"
#include "mdm/base/uuid.h"

static void num(void **state)
{
    (void)state;
    static const struct {
        enum td_err (*fn)(struct span, uint64_t, uint64_t *);
        const char *text;
        uint64_t max;
        enum td_err want;
        uint64_t value;
    } rows[] = {
        {num_u64, "0", 0, TD_OK, 0},
        {num_u64, "1", 0, TD_LIMIT, 0},
        {num_u64, "42", 42, TD_OK, 42},
        {num_u64, "43", 42, TD_LIMIT, 0},
        {num_u64, "18446744073709551615", UINT64_MAX, TD_OK, UINT64_MAX},
        {num_u64, "18446744073709551616", UINT64_MAX, TD_LIMIT, 0},
        {num_u64, "99999999999999999999999", UINT64_MAX, TD_LIMIT, 0},
        {num_u64, "", 9, TD_PARSE, 0},
        {num_u64, "01", 9, TD_PARSE, 0},
        {num_u64, "-1", 9, TD_PARSE, 0},
        {num_u64, "+1", 9, TD_PARSE, 0},
        {num_u64, " 1", 9, TD_PARSE, 0},
        {num_u64, "1 ", 9, TD_PARSE, 0},
        {num_u64, "0x1", 9, TD_PARSE, 0},
        {num_u64, "99999999999999999999999x", 9, TD_PARSE, 0},
        {num_duration, "90", 90, TD_OK, 90},
        {num_duration, "90s", 90, TD_OK, 90},
        {num_duration, "10m", 600, TD_OK, 600},
        {num_duration, "10m", 599, TD_LIMIT, 0},
        {num_duration, "12h", 86400, TD_OK, 43200},
        {num_duration, "30d", UINT64_MAX, TD_OK, 2592000},
        {num_duration, "400000000000000000d", UINT64_MAX, TD_LIMIT, 0},
        {num_duration, "s", 90, TD_PARSE, 0},
        {num_duration, "1k", 90, TD_PARSE, 0},
        {num_duration, "1ms", 90, TD_PARSE, 0},
        {num_duration, "", 90, TD_PARSE, 0},
        {num_size, "1k", 1024, TD_OK, 1024},
        {num_size, "1k", 1023, TD_LIMIT, 0},
        {num_size, "8m", UINT64_MAX, TD_OK, 8388608},
        {num_size, "1g", UINT64_MAX, TD_OK, 1073741824},
        {num_size, "1K", UINT64_MAX, TD_PARSE, 0},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        uint64_t v = 77;
        enum td_err e = rows[i].fn(span_str(rows[i].text), rows[i].max, &v);
        if (e != rows[i].want || v != (e == TD_OK ? rows[i].value : 77))
            fail_msg("row %zu: %s gives %s, %llu", i, rows[i].text, err_name(e),
                     (unsigned long long)v);
    }
}

static void hex(void **state)
{
    (void)state;
    char text[9];
    uint8_t raw[4] = {9, 9, 9, 9};
    hex_enc(SPAN_LIT("\x00\x7f\xab\xff"), text);
    assert_string_equal(text, "007fabff");
    hex_enc((struct span){NULL, 0}, text);
    assert_string_equal(text, "");
    assert_int_equal(hex_dec(SPAN_LIT("007fABff"), raw, 4), TD_OK);
    assert_memory_equal(raw, "\x00\x7f\xab\xff", 4);
    assert_int_equal(hex_dec(SPAN_LIT("007fab"), raw, 4), TD_PARSE);
    assert_int_equal(hex_dec(SPAN_LIT("007fabff0"), raw, 4), TD_PARSE);
    assert_int_equal(hex_dec(SPAN_LIT("007fabfg"), raw, 4), TD_PARSE);
    assert_int_equal(hex_dec(SPAN_LIT("007fab f"), raw, 4), TD_PARSE);
    assert_int_equal(hex_dec((struct span){NULL, 0}, raw, 0), TD_OK);
    arena_auto a;
    arena_init(&a, 100);
    assert_string_equal(hex_str(&a, SPAN_LIT("\x01\x02")), "0102");
    a.max = a.used;
    assert_null(hex_str(&a, SPAN_LIT("\x01\x02")));
}

static void b64_vectors(void **state)
{
    (void)state;
    /* RFC 4648 section 10, and the two alphabets */
    static const struct {
        const char *raw, *std, *url;
    } rows[] = {
        {"", "", ""},
        {"f", "Zg==", "Zg"},
        {"fo", "Zm8=", "Zm8"},
        {"foo", "Zm9v", "Zm9v"},
        {"foob", "Zm9vYg==", "Zm9vYg"},
        {"fooba", "Zm9vYmE=", "Zm9vYmE"},
        {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
        {"\xfb\xff\xbf", "+/+/", "-_-_"},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        arena_auto a;
        arena_init(&a, 4096);
        buf_auto b;
        buf_init(&b, 100);
        assert_int_equal(b64_enc(&b, span_str(rows[i].raw)), TD_OK);
        assert_string_equal(buf_cstr(&b), rows[i].std);
        buf_reset(&b);
        assert_int_equal(b64url_enc(&b, span_str(rows[i].raw)), TD_OK);
        assert_string_equal(buf_cstr(&b), rows[i].url);
        assert_string_equal(b64url_str(&a, span_str(rows[i].raw)), rows[i].url);
        struct span out;
        assert_int_equal(b64url_dec(&a, span_str(rows[i].url), &out), TD_OK);
        assert_true(span_eq_str(out, rows[i].raw));
        assert_int_equal(b64_dec(&a, span_str(rows[i].std), &out), TD_OK);
        assert_true(span_eq_str(out, rows[i].raw));
        assert_int_equal(b64_dec(&a, span_str(rows[i].url), &out), TD_OK);
        assert_true(span_eq_str(out, rows[i].raw));
    }
}

static void b64_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum td_err strict, tolerant;
    } rows[] = {
        {"Z", TD_PARSE, TD_PARSE},       {"Zm9vY", TD_PARSE, TD_PARSE},
        {"Zg==", TD_PARSE, TD_OK},       {"Zm 9v", TD_PARSE, TD_OK},
        {"Zm\r\n\t9v", TD_PARSE, TD_OK}, {"+/+/", TD_PARSE, TD_OK},
        {"Zh", TD_PARSE, TD_OK},         {"Zm9", TD_PARSE, TD_OK},
        {"Zm!v", TD_PARSE, TD_PARSE},    {"Zm9v\xc3\xa9", TD_PARSE, TD_PARSE},
        {"Zm\x0b", TD_PARSE, TD_PARSE},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        arena_auto a;
        arena_init(&a, 4096);
        struct span out = SPAN_LIT("kept");
        enum td_err strict = b64url_dec(&a, span_str(rows[i].text), &out);
        assert_true(strict == TD_OK || span_eq(out, SPAN_LIT("kept")));
        enum td_err tolerant = b64_dec(&a, span_str(rows[i].text), &out);
        if (strict != rows[i].strict || tolerant != rows[i].tolerant)
            fail_msg("row %zu: %s", i, rows[i].text);
    }
    arena_auto a;
    arena_init(&a, 4096);
    struct span out;
    assert_int_equal(b64_dec(&a, SPAN_LIT("Zm\0v"), &out), TD_PARSE);
}

/* Every length around the encoder's chunks comes back; the limits of buffer and arena hold. */
static void b64_lengths(void **state)
{
    (void)state;
    uint8_t raw[800];
    for (size_t i = 0; i < sizeof raw; i++)
        raw[i] = (uint8_t)(i * 7 + i / 256);
    for (size_t n = 0; n < sizeof raw; n++) {
        arena_auto a;
        arena_init(&a, 8192);
        buf_auto b;
        buf_init(&b, (n + 2) / 3 * 4);
        assert_int_equal(b64_enc(&b, span_of(raw, n)), TD_OK);
        assert_int_equal(b.n, (n + 2) / 3 * 4);
        struct span out;
        assert_int_equal(b64_dec(&a, buf_view(&b), &out), TD_OK);
        assert_true(span_eq(out, span_of(raw, n)));
        char *url = b64url_str(&a, span_of(raw, n));
        assert_non_null(url);
        assert_int_equal(b64url_dec(&a, span_str(url), &out), TD_OK);
        assert_true(span_eq(out, span_of(raw, n)));
    }
    buf_auto b;
    buf_init(&b, 7);
    assert_int_equal(b64_enc(&b, SPAN_LIT("foob")), TD_LIMIT);
    arena_auto a;
    arena_init(&a, 4);
    struct span out;
    assert_int_equal(b64_dec(&a, SPAN_LIT("Zm9vYmFy"), &out), TD_NOMEM);
    assert_null(b64url_str(&a, SPAN_LIT("foobar")));
}

static void uuid(void **state)
{
    (void)state;
    struct rng_seeded r;
    rng_seeded_init(&r, 7);
    char a[UUID_SIZE], b[UUID_SIZE];
    uuid_new(&r.rng, a);
    uuid_new(&r.rng, b);
    assert_true(uuid_valid(span_str(a)));
    assert_string_not_equal(a, b);
    assert_int_equal(a[14], '4');
    assert_non_null(strchr("89AB", a[19]));
    static const struct {
        const char *text;
        bool ok;
    } rows[] = {
        {"00000000-0000-0000-0000-000000000000", true},
        {"abcdefAB-cdef-ABCD-EFab-cdefABCDEF09", true},
        {"", false},
        {"00000000-0000-0000-0000-00000000000", false},
        {"00000000-0000-0000-0000-0000000000000", false},
        {"0000000000000-0000-0000-000000000000", false},
        {"g0000000-0000-0000-0000-000000000000", false},
        {"00000000_0000_0000_0000_000000000000", false},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++)
        assert_int_equal(uuid_valid(span_str(rows[i].text)), rows[i].ok);
}

static void utf8(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t cp; /* 0: not valid */
    } rows[] = {
        {"A", 'A'},
        {"\x7f", 0x7f},
        {"\xc2\x80", 0x80},
        {"\xdf\xbf", 0x7ff},
        {"\xe0\xa0\x80", 0x800},
        {"\xed\x9f\xbf", 0xd7ff},
        {"\xee\x80\x80", 0xe000},
        {"\xef\xbf\xbf", 0xffff},
        {"\xf0\x90\x80\x80", 0x10000},
        {"\xf4\x8f\xbf\xbf", 0x10ffff},
        {"\x80", 0},
        {"\xc0\x80", 0},
        {"\xc1\xbf", 0},
        {"\xe0\x9f\xbf", 0},
        {"\xed\xa0\x80", 0},
        {"\xed\xbf\xbf", 0},
        {"\xf0\x8f\xbf\xbf", 0},
        {"\xf4\x90\x80\x80", 0},
        {"\xf5\x80\x80\x80", 0},
        {"\xff", 0},
        {"\xc3", 0},
        {"\xe2\x82", 0},
        {"\xf0\x9f\x98", 0},
        {"\xc3(", 0},
        {"\xe2(\xa1", 0},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct span s = span_str(rows[i].text);
        uint32_t cp = 0;
        size_t n = utf8_next(s, 0, &cp);
        if (n != (rows[i].cp ? s.n : 0) || cp != rows[i].cp)
            fail_msg("row %zu: %zu bytes, %x", i, n, cp);
        assert_int_equal(utf8_valid(s), rows[i].cp != 0);
        uint8_t out[4];
        if (rows[i].cp) {
            assert_int_equal(utf8_put(rows[i].cp, out), s.n);
            assert_memory_equal(out, s.p, s.n);
        }
    }
    uint32_t cp;
    assert_int_equal(utf8_next(SPAN_LIT("a"), 1, &cp), 0);
    assert_true(utf8_valid(SPAN_LIT("a\0b")));
    assert_true(utf8_valid((struct span){NULL, 0}));
}

static void str(void **state)
{
    (void)state;
    assert_true(str_ieq(SPAN_LIT("Content-TYPE"), SPAN_LIT("content-type")));
    assert_false(str_ieq(SPAN_LIT("a"), SPAN_LIT("ab")));
    assert_false(str_ieq(SPAN_LIT("@"), SPAN_LIT("`"))); /* 0x40 and 0x60 */
    assert_false(str_ieq(SPAN_LIT("["), SPAN_LIT("{")));
    assert_true(str_ieq((struct span){NULL, 0}, SPAN_LIT("")));
    assert_true(span_eq(str_trim(SPAN_LIT(" \t\r\n a b \n")), SPAN_LIT("a b")));
    assert_int_equal(str_trim(SPAN_LIT(" \n")).n, 0);
    struct span rest = SPAN_LIT("a,,b");
    assert_true(span_eq(str_cut(&rest, ','), SPAN_LIT("a")));
    assert_int_equal(str_cut(&rest, ',').n, 0);
    assert_true(span_eq(str_cut(&rest, ','), SPAN_LIT("b")));
    assert_null(rest.p);
    assert_int_equal(str_cut(&rest, ',').n, 0);
    rest = SPAN_LIT("a,");
    str_cut(&rest, ',');
    assert_int_equal(rest.n, 0);
    assert_int_equal(str_hexdigit('f'), 15);
    assert_int_equal(str_hexdigit('F'), 15);
    assert_int_equal(str_hexdigit('0'), 0);
    assert_int_equal(str_hexdigit('g'), -1);
    assert_int_equal(str_hexdigit('/'), -1);
    assert_int_equal(str_hexdigit(':'), -1);
}

static void unescape(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want; /* NULL: refused */
    } cases[] = {{"", ""},          {"abc", "abc"},
                 {"%41%62", "Ab"},  {"a%2Fb", "a/b"},
                 {"%", NULL},       {"%4", NULL},
                 {"%4g", NULL},     {"a%zz", NULL},
                 {"1234567", NULL}, {"%41234%355", "A23455"}};
    for (size_t i = 0; i < TD_NITEMS(cases); i++) {
        uint8_t out[6];
        size_t n = 99;
        bool ok = str_unescape(span_str(cases[i].text), out, sizeof out, &n);
        assert_int_equal(ok, cases[i].want != NULL);
        if (ok)
            assert_true(span_eq_str(span_of(out, n), cases[i].want));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unescape),    cmocka_unit_test(num),         cmocka_unit_test(hex),
        cmocka_unit_test(b64_vectors), cmocka_unit_test(b64_refused), cmocka_unit_test(b64_lengths),
        cmocka_unit_test(uuid),        cmocka_unit_test(utf8),        cmocka_unit_test(str),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
