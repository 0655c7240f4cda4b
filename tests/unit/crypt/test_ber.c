#include "crypt_test.h"

#include "mdm/crypt/cms.h"

static void test_rows(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct span in;
        bool ok;
    } rows[] = {
        {"null", SPAN_LIT("\x05\x00"), true},
        {"empty", SPAN_LIT(""), false},
        {"tag alone", SPAN_LIT("\x30"), false},
        {"truncated", SPAN_LIT("\x04\x02\x00"), false},
        {"trailing", SPAN_LIT("\x05\x00\x00"), false},
        {"indefinite", SPAN_LIT("\x30\x80\x05\x00\x00\x00"), true},
        {"indefinite, empty", SPAN_LIT("\x30\x80\x00\x00"), true},
        {"indefinite, not ended", SPAN_LIT("\x30\x80\x05\x00"), false},
        {"indefinite, half an end", SPAN_LIT("\x30\x80\x05\x00\x00"), false},
        {"indefinite inside definite", SPAN_LIT("\x30\x04\x30\x80\x00\x00"), true},
        {"indefinite cut by definite", SPAN_LIT("\x30\x02\x30\x80\x00\x00"), false},
        {"definite inside indefinite", SPAN_LIT("\x30\x80\x30\x02\x05\x00\x00\x00"), true},
        {"indefinite twice", SPAN_LIT("\x24\x80\x24\x80\x04\x01x\x00\x00\x00\x00"), true},
        {"indefinite and primitive", SPAN_LIT("\x04\x80\x00\x00"), false},
        {"end of contents alone", SPAN_LIT("\x00\x00"), false},
        {"end of contents in definite", SPAN_LIT("\x30\x02\x00\x00"), false},
        {"end of contents with content", SPAN_LIT("\x30\x80\x00\x01x"), false},
        {"end of contents in long form", SPAN_LIT("\x30\x80\x00\x81\x00"), false},
        {"length not minimal", SPAN_LIT("\x30\x81\x02\x05\x00"), true},
        {"length of nine octets", SPAN_LIT("\x04\x89\x00\x00\x00\x00\x00\x00\x00\x00\x00"), false},
        {"length over size_t", SPAN_LIT("\x04\x88\xff\xff\xff\xff\xff\xff\xff\xff"), false},
        {"length over the input", SPAN_LIT("\x04\x84\xff\xff\xff\xff"), false},
        {"inner over outer", SPAN_LIT("\x30\x03\x04\x05xxxxx"), false},
        {"high tag number", SPAN_LIT("\x3f\x81\x01\x02\x05\x00"), true},
        {"high tag number cut", SPAN_LIT("\x3f\x81"), false},
        {"high tag number of five octets", SPAN_LIT("\x1f\x81\x81\x81\x81\x01\x00"), false},
        {"empty sequence", SPAN_LIT("\x30\x00"), true},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++)
        if ((ber_guard(rows[i].in, NULL) == TD_OK) != rows[i].ok)
            fail_msg("%s", rows[i].name);
}

/* n indefinite SEQUENCEs inside each other. */
static enum td_err nested(size_t n, bool definite)
{
    enum td_err e;
    uint8_t *p = malloc(n * 4);
    assert_non_null(p);
    if (definite) { /* empty at the bottom; two octets of header each while under 128 */
        for (size_t i = 0; i < n; i++) {
            p[2 * i] = 0x30;
            p[2 * i + 1] = (uint8_t)(2 * (n - 1 - i));
        }
        e = ber_guard(span_of(p, 2 * n), NULL);
    } else {
        for (size_t i = 0; i < n; i++) {
            p[2 * i] = 0x30;
            p[2 * i + 1] = 0x80;
        }
        memset(p + 2 * n, 0, 2 * n);
        e = ber_guard(span_of(p, 4 * n), NULL);
    }
    free(p);
    return e;
}

static void test_depth(void **state)
{
    (void)state;
    assert_int_equal(nested(LIMIT_BER_DEPTH, true), TD_OK);
    assert_int_equal(nested(LIMIT_BER_DEPTH, false), TD_OK);
    assert_int_equal(nested(LIMIT_BER_DEPTH + 1, false), TD_PARSE);
    assert_int_equal(nested(500000, false), TD_PARSE);
    /* definite: 65 levels need a length of 128 */
    uint8_t deep[3 + 2 * LIMIT_BER_DEPTH] = {0x30, 0x81, 2 * LIMIT_BER_DEPTH};
    for (size_t i = 0; i < LIMIT_BER_DEPTH; i++) {
        deep[3 + 2 * i] = 0x30;
        deep[4 + 2 * i] = (uint8_t)(2 * (LIMIT_BER_DEPTH - 1 - i));
    }
    assert_int_equal(ber_guard(SPAN_ARR(deep), NULL), TD_PARSE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_depth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
