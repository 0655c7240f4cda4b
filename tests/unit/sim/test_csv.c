#include "tests/unit/sim/simtest.h"

#include "tests/sim/csv.h"

static enum td_err parse(const char *text, struct arena *a, struct csv_device **d, size_t *n)
{
    return csv_devices(span_str(text), a, d, n, NULL);
}

static void good(void **state)
{
    struct csv_device *d = NULL;
    size_t n = 0;
    arena_auto a;
    arena_init(&a, 1048576);
    (void)state;
    assert_int_equal(parse("\xef\xbb\xbfName,SERIAL,model\r\n"
                           "\"Doe, \"\"J\"\"\",S1,MacBook\r\n\r\nx, S2 ,\nlast,S3,iPad",
                           &a, &d, &n),
                     TD_OK);
    assert_int_equal(n, 3);
    assert_string_equal(d[0].serial, "S1");
    assert_string_equal(d[0].model, "MacBook");
    assert_string_equal(d[1].serial, "S2");
    assert_string_equal(d[1].model, "");
    assert_string_equal(d[2].serial, "S3");
}

static void header_only(void **state)
{
    struct csv_device *d = NULL;
    size_t n = 9;
    arena_auto a;
    arena_init(&a, 1048576);
    (void)state;
    assert_int_equal(parse("serial\n", &a, &d, &n), TD_OK);
    assert_int_equal(n, 0);
}

static void bad(void **state)
{
    static const char *const rows[] = {
        "", "name\nx\n", "serial\n\"open\n", "serial\n\"a\"b\n", "a,serial\nx,\n", "a,serial\nx\n",
    };
    (void)state;
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct csv_device *d = NULL;
        size_t n = 0;
        arena_auto a;
        arena_init(&a, 1048576);
        assert_int_equal(parse(rows[i], &a, &d, &n), TD_PARSE);
    }
}

/* A field of 1023 bytes fits, 1024 do not. */
static void field_limit(void **state)
{
    (void)state;
    for (size_t len = 1023; len <= 1024; len++) {
        struct csv_device *d = NULL;
        size_t n = 0;
        char text[1200] = "serial\n";
        arena_auto a;
        arena_init(&a, 1048576);
        memset(text + 7, 'x', len);
        assert_int_equal(parse(text, &a, &d, &n), len == 1023 ? TD_OK : TD_PARSE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good),
        cmocka_unit_test(header_only),
        cmocka_unit_test(bad),
        cmocka_unit_test(field_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
