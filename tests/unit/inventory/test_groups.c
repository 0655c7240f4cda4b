/* Groups and platforms of devices. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "mdm/inventory/groups.h"

static void test_lists(void **state)
{
    (void)state;
    arena_auto a;
    arena_init(&a, 1 << 16);
    static const struct {
        const char *in, *out; /* NULL: refused */
    } rows[] = {
        {"", ""},
        {"  | ", ""},
        {"b a", "a b"},
        {"b|a|b", "a b"},
        {" lab\teng ", "eng lab"},
        {"A a", "A a"},
        {"x-1_2.3", "x-1_2.3"},
        {"a,b", NULL},
        {"a/b", NULL},
        {"\xc3\xa4", NULL},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NULL},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        const char *out = NULL;
        struct errinfo ei = {0};
        enum td_err e = inv_groups_parse(span_str(rows[i].in), &a, &out, &ei);
        if (e != (rows[i].out ? TD_OK : TD_INVAL) || (rows[i].out && strcmp(out, rows[i].out) != 0))
            fail_msg("row %zu: %s %s", i, err_name(e), out ? out : "");
        if (!rows[i].out)
            assert_string_equal(ei.reason, "invalid-group");
    }
    char text[4 * (INV_GROUPS_MAX + 1) + 1];
    size_t n = 0;
    for (int i = 0; i <= INV_GROUPS_MAX; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "g%d ", i);
    const char *out;
    assert_int_equal(inv_groups_parse(span_str(text), &a, &out, NULL), TD_INVAL);
    text[n - 4] = 0;
    assert_int_equal(inv_groups_parse(span_str(text), &a, &out, NULL), TD_OK);
}

static void test_platforms(void **state)
{
    (void)state;
    static const struct {
        const char *product, *model, *platform;
    } rows[] = {
        {"iPhone15,2", "", "ios"},
        {NULL, "iPad Pro", "ipados"},
        {"", "MacBook Air", "macos"},
        {"Mac15,3", NULL, "macos"},
        {"AppleTV11,1", "", "tvos"},
        {"Watch6,1", "", "watchos"},
        {"RealityDevice14,1", "", "visionos"},
        {NULL, "iMac 24", "macos"},
        {NULL, "", ""},
        {NULL, "Apple Vision Pro", "visionos"},
        {"iPhone15,2", "Mac mini", "ios"},
        {"VirtualMac2,1", "", "macos"},
        {NULL, "Pixel", ""},
        {NULL, NULL, ""},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++)
        assert_string_equal(inv_platform(rows[i].product, rows[i].model), rows[i].platform);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lists),
                                       cmocka_unit_test(test_platforms)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
