#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "acme/attest/attobj.h"
#include "acme/attest/cbor_guard.h"
#include "mdm/base/buf.h"
#include "mdm/base/limits.h"

#define ROW(bytes, e)                                                                              \
    {                                                                                              \
        SPAN_LIT(bytes), e                                                                         \
    }

static const struct {
    struct span in;
    enum td_err want;
} rows[] = {
    ROW("", TD_PARSE), ROW("\xa0", TD_OK), ROW("\x80", TD_OK), ROW("\x00", TD_OK),
    ROW("\x39\x01\x00", TD_OK), ROW("\xf4", TD_OK), ROW("\xfb\0\0\0\0\0\0\0\0", TD_OK),
    ROW("\xf5", TD_OK), ROW("\xf6", TD_OK), ROW("\xf9\x3c\x00", TD_OK),
    /* the array of 2^28 items that costs libcbor 2 GB */
    ROW("\x9b\x00\x00\x00\x00\x10\x00\x00\x00", TD_PARSE),
    ROW("\xbb\xff\xff\xff\xff\xff\xff\xff\xff", TD_PARSE),
    ROW("\x5b\x00\x00\x00\x00\x10\x00\x00\x00", TD_PARSE),
    ROW("\x5b\xff\xff\xff\xff\xff\xff\xff\xff"
        "a",
        TD_PARSE),
    ROW("\x7b\xff\xff\xff\xff\xff\xff\xff\xff", TD_PARSE),
    ROW("\x82\x01", TD_PARSE),                            /* truncated array */
    ROW("\xa1\x01", TD_PARSE),                            /* key without value */
    ROW("\x43\x01\x02", TD_PARSE),                        /* truncated bytes */
    ROW("\x19\x01", TD_PARSE),                            /* truncated head */
    ROW("\xc1", TD_PARSE),                                /* tag of nothing */
    ROW("\x01\x01", TD_PARSE),                            /* trailing byte */
    ROW("\x80\x00", TD_PARSE), ROW("\x9f\xff", TD_PARSE), /* indefinite lengths */
    ROW("\xbf\xff", TD_PARSE), ROW("\x5f\x41\x00\xff", TD_PARSE), ROW("\x7f\xff", TD_PARSE),
    ROW("\xff", TD_PARSE), ROW("\x1c", TD_PARSE), /* reserved */
    ROW("\xf8\x20", TD_PARSE),                    /* simple values without meaning */
    ROW("\xe0", TD_PARSE), ROW("\xf3", TD_PARSE), ROW("\xc1\x01", TD_PARSE), /* tags */
    ROW("\x81\xc9\x00", TD_PARSE),
    ROW("\xa2\x61"
        "a\x01\x61"
        "a\x02",
        TD_PARSE), /* key twice */
    ROW("\xa2\x61"
        "a\x01\x78\x01"
        "a\x02",
        TD_PARSE), /* twice, spelt differently */
    ROW("\xa2\x01\x01\x18\x01\x02", TD_PARSE),
    ROW("\xa2\x61"
        "a\x01\x41"
        "a\x02",
        TD_OK),                         /* text and bytes differ */
    ROW("\xa2\x00\x01\x20\x02", TD_OK), /* 0 and -1 differ */
    ROW("\xa1\x80\x01", TD_PARSE),      /* array as a key */
    ROW("\xa2\x61"
        "a\xa1\x61"
        "b\x01\x61"
        "b\x02",
        TD_OK), /* same key, other map */
};

static void guard_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct errinfo ei = {0};
        enum td_err e = cbor_guard(rows[i].in, &ei);
        if (e != rows[i].want)
            fail_msg("row %zu: %s, not %s (%s)", i, err_name(e), err_name(rows[i].want), ei.msg);
    }
}

/* Depth: the outermost item has depth 1. */
static void guard_depth(void **state)
{
    (void)state;
    uint8_t b[LIMIT_CBOR_DEPTH + 1];
    memset(b, 0x81, sizeof b);
    b[LIMIT_CBOR_DEPTH - 1] = 0x00;
    assert_int_equal(cbor_guard(span_of(b, LIMIT_CBOR_DEPTH), NULL), TD_OK);
    b[LIMIT_CBOR_DEPTH - 1] = 0x81;
    b[LIMIT_CBOR_DEPTH] = 0x00;
    assert_int_equal(cbor_guard(span_of(b, LIMIT_CBOR_DEPTH + 1), NULL), TD_LIMIT);
}

static void guard_items(void **state)
{
    (void)state;
    uint8_t b[3 + LIMIT_CBOR_ITEMS] = {0x99};
    for (size_t extra = 0; extra <= 1; extra++) {
        size_t n = LIMIT_CBOR_ITEMS - 1 + extra; /* and the array itself */
        b[1] = (uint8_t)(n >> 8);
        b[2] = (uint8_t)n;
        assert_int_equal(cbor_guard(span_of(b, 3 + n), NULL), extra ? TD_LIMIT : TD_OK);
    }
}

/* A map with as many keys as items allow: the stack of keys must hold them. */
static void guard_many_keys(void **state)
{
    (void)state;
    buf_auto b;
    buf_init(&b, 65536);
    size_t pairs = (LIMIT_CBOR_ITEMS - 1) / 2;
    buf_u8(&b, 0xb9);
    buf_u16(&b, (uint16_t)pairs);
    for (size_t i = 0; i < pairs; i++) {
        buf_u8(&b, 0x19);
        buf_u16(&b, (uint16_t)i);
        buf_u8(&b, 0x00);
    }
    assert_int_equal(b.err, TD_OK);
    assert_int_equal(cbor_guard(buf_view(&b), NULL), TD_OK);
    memcpy(b.p + b.n - 4, b.p + 3, 3); /* the last key becomes the first */
    assert_int_equal(cbor_guard(buf_view(&b), NULL), TD_PARSE);
}

static const struct {
    struct span in;
    const char *reason; /* NULL: parsed */
    const char *fmt;
} objects[] = {
    {SPAN_LIT("\xa2\x63"
              "fmt\x65"
              "apple\x67"
              "attStmt\xa0"),
     NULL, "apple"},
    {SPAN_LIT("\xa2\x67"
              "attStmt\xa0\x63"
              "fmt\x63"
              "tpm"),
     NULL, "tpm"},
    {SPAN_LIT("\xa3\x63"
              "fmt\x65"
              "apple\x68"
              "authData\x41\x00\x67"
              "attStmt\xa0"),
     NULL, "apple"},
    {SPAN_LIT("\xa3\x63"
              "fmt\x65"
              "apple\x01\x82\x01\xa0\x67"
              "attStmt\xa0"),
     NULL, "apple"},
    {SPAN_LIT("\x80"), "cbor-malformed", NULL},
    {SPAN_LIT("\xa0"), "cbor-malformed", NULL},
    {SPAN_LIT("\xa1\x63"
              "fmt\x65"
              "apple"),
     "cbor-malformed", NULL},
    {SPAN_LIT("\xa1\x67"
              "attStmt\xa0"),
     "cbor-malformed", NULL},
    {SPAN_LIT("\xa2\x63"
              "fmt\x45"
              "apple\x67"
              "attStmt\xa0"),
     "cbor-malformed", NULL},
    {SPAN_LIT("\xa2\x63"
              "fmt\x65"
              "apple\x67"
              "attStmt\x80"),
     "cbor-malformed", NULL},
    {SPAN_LIT("\xa2\x63"
              "fmt\x65"
              "apple\x67"
              "attStmt\xa0\x00"),
     "cbor-malformed", NULL},
    {SPAN_LIT("\x9b\x00\x00\x00\x00\x10\x00\x00\x00"), "cbor-malformed", NULL},
};

static void object_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < TD_NITEMS(objects); i++) {
        struct errinfo ei = {0};
        struct attobj o;
        enum td_err e = attobj_parse(objects[i].in, &o, &ei);
        if (objects[i].reason) {
            assert_int_equal(e, TD_FORBIDDEN);
            assert_string_equal(ei.reason, objects[i].reason);
            assert_string_equal(ei.acme, "badAttestationStatement");
            continue;
        }
        assert_int_equal(e, TD_OK);
        assert_true(span_eq_str(o.fmt, objects[i].fmt));
        assert_true(o.att_stmt.n == 1 && o.att_stmt.p[0] == 0xa0);
    }
}

/* attStmt -> x5c */
static const struct {
    struct span in;
    const char *reason;
    size_t n;
} stmts[] = {
    {SPAN_LIT("\xa0"), "attestation-missing", 0},
    {SPAN_LIT("\xa1\x63"
              "x5c\x80"),
     "attestation-missing", 0},
    {SPAN_LIT("\xa1\x63"
              "x5c\x81\x41"
              "a"),
     NULL, 1},
    {SPAN_LIT("\xa2\x63"
              "alg\x26\x63"
              "x5c\x82\x41"
              "a\x42"
              "bc"),
     NULL, 2},
    {SPAN_LIT("\xa1\x63"
              "x5c\x86\x41"
              "a\x41"
              "a\x41"
              "a\x41"
              "a\x41"
              "a\x41"
              "a"),
     NULL, 6},
    {SPAN_LIT("\xa1\x63"
              "x5c\x87\x41"
              "a\x41"
              "a\x41"
              "a\x41"
              "a\x41"
              "a\x41"
              "a\x41"
              "a"),
     "x5c-malformed", 0},
    {SPAN_LIT("\xa1\x63"
              "x5c\x40"),
     "x5c-malformed", 0},
    {SPAN_LIT("\xa1\x63"
              "x5c\x82\x41"
              "a\x61"
              "b"),
     "x5c-malformed", 0},
    {SPAN_LIT("\xa1\x63"
              "x5c\x82\x41"
              "a\x40"),
     "x5c-malformed", 0},
    {SPAN_LIT("\xa1\x63"
              "x5c\x82\x41"
              "a\x81\x41"
              "b"),
     "x5c-malformed", 0},
};

static void x5c_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < TD_NITEMS(stmts); i++) {
        struct errinfo ei = {0};
        struct span x5c[LIMIT_X5C_COUNT];
        size_t n = 0;
        enum td_err e = attobj_x5c(stmts[i].in, x5c, LIMIT_X5C_COUNT, &n, &ei);
        if (stmts[i].reason) {
            assert_int_equal(e, TD_FORBIDDEN);
            assert_string_equal(ei.reason, stmts[i].reason);
        } else {
            assert_int_equal(e, TD_OK);
            assert_int_equal(n, stmts[i].n);
            assert_true(span_eq_str(x5c[0], "a"));
        }
    }
}

static void x5c_size(void **state)
{
    (void)state;
    for (size_t extra = 0; extra <= 1; extra++) {
        buf_auto b;
        buf_init(&b, 65536);
        static const uint8_t fill[LIMIT_X5C_CERT + 1];
        struct span x5c[LIMIT_X5C_COUNT];
        size_t n;
        buf_span(&b, SPAN_LIT("\xa1\x63"
                              "x5c\x81\x59"));
        buf_u16(&b, (uint16_t)(LIMIT_X5C_CERT + extra));
        buf_add(&b, fill, LIMIT_X5C_CERT + extra);
        assert_int_equal(attobj_x5c(buf_view(&b), x5c, LIMIT_X5C_COUNT, &n, NULL),
                         extra ? TD_FORBIDDEN : TD_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guard_rows),  cmocka_unit_test(guard_depth),
        cmocka_unit_test(guard_items), cmocka_unit_test(guard_many_keys),
        cmocka_unit_test(object_rows), cmocka_unit_test(x5c_rows),
        cmocka_unit_test(x5c_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
