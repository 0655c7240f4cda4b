/* Lists kept as one text, and versions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "mdm/base/err.h"
#include "mdm/base/words.h"

static void test_versions(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        int order; /* 9: not versions */
    } rows[] = {
        {"17.4", "17.4", 0},   {"17.4", "17.4.0", 0}, {"17.4", "17.4.1", -1},
        {"17.10", "17.9", 1},  {"18", "17.9.9", 1},   {"9", "10", -1},
        {"", "1", 9},          {"1", "", 9},          {"1..2", "1", 9},
        {"1.", "1", 9},        {"a", "1", 9},         {"1.2.3.4", "1.2.3.3", 1},
        {"1.2.3.4.5", "1", 9}, {"-1", "1", 9},        {"1 ", "1", 9},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        bool valid;
        int got = version_cmp(span_str(rows[i].a), span_str(rows[i].b), &valid);
        if (valid != (rows[i].order != 9) || (valid && got != rows[i].order))
            fail_msg("%s %s: %d", rows[i].a, rows[i].b, got);
    }
}

static void test_words(void **state)
{
    (void)state;
    struct span rest = SPAN_LIT("  b  a ");
    assert_true(span_eq_str(words_next(&rest), "b"));
    assert_true(span_eq_str(words_next(&rest), "a"));
    assert_int_equal(words_next(&rest).n, 0);
    assert_int_equal(words_next(&rest).n, 0);
    static const struct {
        const char *list, *w;
        bool has;
    } rows[] = {
        {"a bc", "bc", true}, {"a bc", "b", false}, {"abc", "ab", false},
        {"", "a", false},     {" ", "a", false},    {"a  b", "", false},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++)
        if (words_has(span_str(rows[i].list), span_str(rows[i].w)) != rows[i].has)
            fail_msg("'%s' in '%s'", rows[i].w, rows[i].list);
    assert_true(words_meet(SPAN_LIT("a b"), SPAN_LIT("c b")));
    assert_false(words_meet(SPAN_LIT("a b"), SPAN_LIT("c")));
    assert_false(words_meet(SPAN_LIT(""), SPAN_LIT("")));
    assert_false(words_meet(SPAN_LIT("a"), SPAN_LIT("")));
}

static void test_forms(void **state)
{
    (void)state;
    assert_true(words_plain(SPAN_LIT("aZ0-_.")));
    assert_false(words_plain(SPAN_LIT("")));
    assert_false(words_plain(SPAN_LIT("a/b")));
    assert_false(words_plain(SPAN_LIT("a\xc3\xa4")));
    assert_true(words_platform(SPAN_LIT("macos")));
    assert_true(words_platform(SPAN_LIT("watchos")));
    assert_false(words_platform(SPAN_LIT("mac")));
    assert_false(words_platform(SPAN_LIT("")));
}

static void test_sort(void **state)
{
    (void)state;
    static const struct {
        const char *text, *sorted; /* NULL: refused */
        const char *bad;
    } rows[] = {
        {"", "", NULL},          {"   ", "", NULL},
        {"b a", "a b", NULL},    {" b  ab a b aa ", "a aa ab b", NULL},
        {"B a", "B a", NULL},    {"abcd abcde", NULL, "abcde"},
        {"a b/ c/", NULL, "b/"},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        char text[WORDS_TEXT];
        struct span bad = {NULL, 0};
        snprintf(text, sizeof text, "%s", rows[i].text);
        bool sorted = words_sort(text, ' ', 4, words_plain, &bad);
        if (sorted != (rows[i].sorted != NULL))
            fail_msg("'%s' was judged wrongly", rows[i].text);
        assert_string_equal(text, sorted ? rows[i].sorted : rows[i].text);
        if (!sorted)
            assert_true(span_eq_str(bad, rows[i].bad));
    }
}

static void test_sort_limits(void **state)
{
    (void)state;
    char text[WORDS_TEXT + 2] = "";
    struct span bad;
    for (size_t i = 0; i < WORDS_MAX; i++)
        memcpy(text + 2 * i, i % 2 ? "b\n" : "a\n", 3);
    assert_true(words_sort(text, '\n', 4, words_plain, &bad));
    assert_string_equal(text, "a\nb");
    for (size_t i = 0; i <= WORDS_MAX; i++)
        memcpy(text + 2 * i, "c\n", 3);
    assert_false(words_sort(text, '\n', 4, words_plain, &bad));
    assert_true(bad.p == (const uint8_t *)text + sizeof "c" * WORDS_MAX);
    memset(text, 'x', sizeof text);
    text[WORDS_TEXT - 1] = '\0';
    assert_true(words_sort(text, ' ', sizeof text, words_plain, &bad));
    assert_int_equal(strlen(text), WORDS_TEXT - 1);
    text[WORDS_TEXT - 1] = 'x';
    text[WORDS_TEXT] = '\0';
    assert_false(words_sort(text, ' ', sizeof text, words_plain, &bad));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_versions),    cmocka_unit_test(test_words),
        cmocka_unit_test(test_forms),       cmocka_unit_test(test_sort),
        cmocka_unit_test(test_sort_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
