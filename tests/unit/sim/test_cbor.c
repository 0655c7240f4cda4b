#include "tests/unit/sim/simtest.h"

#include "mdm/base/hex.h"
#include "tests/sim/cbor.h"

static void expect(const struct buf *b, const char *hex)
{
    char got[512];
    assert_true(b->n < 250);
    hex_enc(buf_view(b), got);
    assert_string_equal(got, hex);
}

/* The shortest head for each size of argument (RFC 8949 section 4.2.1). */
static void heads(void **state)
{
    static const struct {
        unsigned major;
        uint64_t arg;
        const char *hex;
    } rows[] = {
        {2, 0, "40"},         {2, 23, "57"},
        {2, 24, "5818"},      {2, 255, "58ff"},
        {2, 256, "590100"},   {2, 589, "59024d"},
        {2, 65535, "59ffff"}, {2, 65536, "5a00010000"},
        {4, 2, "82"},         {5, 1, "a1"},
        {3, 5, "65"},         {2, 4294967296, "5b0000000100000000"},
    };
    (void)state;
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        buf_auto b;
        buf_init(&b, 64);
        assert_int_equal(cbor_head(&b, rows[i].major, rows[i].arg), TD_OK);
        expect(&b, rows[i].hex);
    }
}

/* A2 63 fmt 65 apple 67 attStmt A1 63 x5c 82 ..: reference, section 3.4. */
static void attobj(void **state)
{
    const struct span certs[] = {SPAN_LIT("leaf"), SPAN_LIT("sub")};
    buf_auto b;
    (void)state;
    buf_init(&b, 1024);
    assert_int_equal(cbor_attobj(&b, certs, 2), TD_OK);
    expect(&b, "a263666d74656170706c656761747453746d74a163783563"
               "82446c65616643737562");
}

static void attobj_empty(void **state)
{
    buf_auto b;
    (void)state;
    buf_init(&b, 1024);
    assert_int_equal(cbor_attobj(&b, NULL, 0), TD_OK);
    expect(&b, "a263666d74656170706c656761747453746d74a16378356380");
}

/* Real sizes: an 839-byte leaf and Apple's 589-byte Sub CA have two-byte lengths. */
static void attobj_real_sizes(void **state)
{
    static uint8_t leaf[839], sub[589];
    const struct span certs[] = {SPAN_ARR(leaf), SPAN_ARR(sub)};
    buf_auto b;
    (void)state;
    buf_init(&b, 4096);
    assert_int_equal(cbor_attobj(&b, certs, 2), TD_OK);
    assert_int_equal(b.n, 25 + 3 + 839 + 3 + 589);
    assert_memory_equal(b.p + 24, "\x82\x59\x03\x47", 4);
    assert_memory_equal(b.p + 25 + 3 + 839, "\x59\x02\x4d", 3);
}

static void over_the_limit(void **state)
{
    const struct span certs[] = {SPAN_LIT("leaf"), SPAN_LIT("sub")};
    buf_auto b;
    (void)state;
    buf_init(&b, 33);
    assert_int_equal(cbor_attobj(&b, certs, 2), TD_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads),          cmocka_unit_test(attobj),
        cmocka_unit_test(attobj_empty),   cmocka_unit_test(attobj_real_sizes),
        cmocka_unit_test(over_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
