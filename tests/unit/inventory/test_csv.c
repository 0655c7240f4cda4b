#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "mdm/base/buf.h"
#include "mdm/base/limits.h"
#include "mdm/inventory/csv.h"
#include "mdm/inventory/import.h"

/* Fields joined by '|', records by ';', or the error's name and line. */
static void show(struct span in, char *out, size_t size)
{
    arena_auto a;
    arena_init(&a, 1 << 20);
    struct csv c;
    struct errinfo ei = {0};
    size_t n, at = 0;
    struct span f[4];
    out[0] = '\0';
    enum td_err e = csv_init(&c, in, &ei);
    while (e == TD_OK && (e = csv_next(&c, &a, f, 4, &n, &ei)) == TD_OK) {
        for (size_t i = 0; i < n; i++)
            at += (size_t)snprintf(out + at, size - at, "%s%.*s", i ? "|" : "", (int)f[i].n,
                                   (const char *)f[i].p);
        at += (size_t)snprintf(out + at, size - at, ";");
    }
    if (e != TD_NOTFOUND) {
        snprintf(out, size, "%s:%zu", err_name(e), c.line);
        char line[32];
        snprintf(line, sizeof line, "line %zu:", c.line);
        assert_non_null(strstr(ei.msg, line));
    }
}

static void test_records(void **state)
{
    (void)state;
    static const struct {
        struct span in;
        const char *want;
    } cases[] = {
        {SPAN_LIT(""), ""},
        {SPAN_LIT("\xef\xbb\xbf"), ""},
        {SPAN_LIT("a"), "a;"},
        {SPAN_LIT("a\n"), "a;"},
        {SPAN_LIT("a,b\r\nc,d\r\n"), "a|b;c|d;"},
        {SPAN_LIT("\xef\xbb\xbf"
                  "a,b\n"),
         "a|b;"},
        {SPAN_LIT("a,\n"), "a|;"},
        {SPAN_LIT(",,,"), "|||;"},
        {SPAN_LIT("\n\n"), ";;"},
        {SPAN_LIT("\"a\",\"b\"\n"), "a|b;"},
        {SPAN_LIT("\"\"\n"), ";"},
        {SPAN_LIT("\"a\"\"b\"\"\",c"), "a\"b\"|c;"},
        {SPAN_LIT("\"\"\"\""), "\";"},
        {SPAN_LIT("\"a,b\r\nc\"\n"), "a,b\r\nc;"},
        {SPAN_LIT(" a , b "), " a | b ;"},
        {SPAN_LIT("\xc3\xa4,\xe2\x82\xac"), "\xc3\xa4|\xe2\x82\xac;"},
        {SPAN_LIT("a\n\"b"), "PARSE:2"},
        {SPAN_LIT("a\n\"b\n\n\""), "a;b\n\n;"},
        {SPAN_LIT("\"a\n\n\"\n\"b"), "PARSE:4"},
        {SPAN_LIT("a\"b"), "PARSE:1"},
        {SPAN_LIT("\"a\"b"), "PARSE:1"},
        {SPAN_LIT("\"a\" ,b"), "PARSE:1"},
        {SPAN_LIT("a\nb\rc"), "PARSE:2"},
        {SPAN_LIT("a\r"), "PARSE:1"},
        {SPAN_LIT("\"a\"\r"), "PARSE:1"},
        {SPAN_LIT("a\nb\0c"), "PARSE:2"},
        {SPAN_LIT("a\n\nb\xff"), "PARSE:3"},
        {SPAN_LIT("\xef\xbb"), "PARSE:1"},
        {SPAN_LIT("1,2,3,4\n1,2,3,4,5"), "PARSE:2"},
    };
    char got[200];
    for (size_t i = 0; i < TD_NITEMS(cases); i++) {
        show(cases[i].in, got, sizeof got);
        if (strcmp(got, cases[i].want) != 0)
            fail_msg("case %zu: %s, not %s", i, got, cases[i].want);
    }
}

struct rows_case {
    const char *in;
    enum td_err want;
    size_t rows, line;
};

static void test_rows(void **state)
{
    (void)state;
    static const struct rows_case cases[] = {
        {"serial\n", TD_OK, 0, 0},
        {"serial\nA\n", TD_OK, 1, 0},
        {"Serial,NAME\nA,x\nB,y", TD_OK, 2, 0},
        {"owner,serial,model,name\no,A,m,n\n", TD_OK, 1, 0},
        {"", TD_PARSE, 0, 1},
        {"\n", TD_INVAL, 0, 1},
        {"name\nx\n", TD_INVAL, 0, 1},
        {"serial,serial\nA,A\n", TD_INVAL, 0, 1},
        {"serial,colour\nA,red\n", TD_INVAL, 0, 1},
        {"serial, name\nA,x\n", TD_INVAL, 0, 1},
        {"serial,name,model,owner,x\n", TD_INVAL, 0, 1},
        {"serial,name,model,owner,groups,x\n", TD_PARSE, 0, 1},
        {"serial,groups\nA,b a|b\n", TD_OK, 1, 0},
        {"serial,groups\nA,\n", TD_OK, 1, 0},
        {"serial,groups\nA,b\nB,a/b\n", TD_INVAL, 0, 3},
        {"serial,name\nA\n", TD_PARSE, 0, 2},
        {"serial,name\nA,b,c\n", TD_PARSE, 0, 2},
        {"serial,name\nA,b\n\n", TD_PARSE, 0, 3},
        {"serial\nA\n\n", TD_INVAL, 0, 3},
        {"serial\nA b\n", TD_INVAL, 0, 2},
        {"serial\nA/b\n", TD_INVAL, 0, 2},
        {"serial\n\xc3\xa4\n", TD_INVAL, 0, 2},
        {"serial,name\nA,\"x\ny\"\n", TD_INVAL, 0, 2},
        {"serial,name\nA,x\x7f\n", TD_INVAL, 0, 2},
        {"serial,name\nA,x\xc2\x85\n", TD_INVAL, 0, 2},
        {"serial\nA\nB\nA\nB\n", TD_INVAL, 0, 4},
        {"serial\nA\na\n", TD_OK, 2, 0},
        {"serial\nAB\nA\n", TD_OK, 2, 0},
    };
    for (size_t i = 0; i < TD_NITEMS(cases); i++) {
        struct inv_rows r;
        struct errinfo ei = {0};
        size_t line = 99;
        enum td_err e = inv_rows_parse(span_str(cases[i].in), &r, &line, &ei);
        if (e != cases[i].want || r.n != cases[i].rows || line != cases[i].line)
            fail_msg("case %zu: %s, %zu rows, line %zu: %s", i, err_name(e), r.n, line, ei.msg);
        inv_rows_free(&r);
    }
}

static void test_columns(void **state)
{
    (void)state;
    struct inv_rows r;
    size_t line;
    assert_int_equal(inv_rows_parse(span_str("owner,serial\n\"o \"\"1\"\"\",A\n"), &r, &line, NULL),
                     TD_OK);
    assert_true(span_eq_str(r.rows[0].fields[INV_SERIAL], "A"));
    assert_true(span_eq_str(r.rows[0].fields[INV_OWNER], "o \"1\""));
    assert_true(r.rows[0].has[INV_OWNER]);
    assert_false(r.rows[0].has[INV_NAME] || r.rows[0].has[INV_MODEL]);
    assert_int_equal(r.rows[0].line, 2);
    inv_rows_free(&r);
}

/* A file of a header and `n` rows "S<i>". */
static struct span file_of(size_t n)
{
    char *p = malloc(16 + n * 10);
    assert_non_null(p);
    size_t at = (size_t)snprintf(p, 16, "serial\n");
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(p + at, 11, "S%07zu\n", i);
    return span_of(p, at);
}

/* Short fields with a doubled quote each: the largest that the copies get beside the file. */
static void test_many_quotes(void **state)
{
    (void)state;
    buf_auto b;
    buf_init(&b, 1 << 20);
    buf_str(&b, "serial,name,owner\n");
    for (int i = 0; i < 5000; i++)
        buf_printf(&b, "S%d,\"\"\"\",\"\"\"\"\n", i);
    struct inv_rows r;
    size_t line;
    assert_int_equal(inv_rows_parse(buf_view(&b), &r, &line, NULL), TD_OK);
    assert_int_equal(r.n, 5000);
    inv_rows_free(&r);
}

static void test_limits(void **state)
{
    (void)state;
    struct inv_rows r;
    size_t line;
    struct span s = file_of(INV_IMPORT_ROWS);
    assert_int_equal(inv_rows_parse(s, &r, &line, NULL), TD_OK);
    assert_int_equal(r.n, INV_IMPORT_ROWS);
    inv_rows_free(&r);
    free((void *)(uintptr_t)s.p);
    s = file_of(INV_IMPORT_ROWS + 1);
    assert_int_equal(inv_rows_parse(s, &r, &line, NULL), TD_LIMIT);
    assert_int_equal(line, INV_IMPORT_ROWS + 2);
    free((void *)(uintptr_t)s.p);

    char *big = malloc(LIMIT_BODY_CSV + 1);
    assert_non_null(big);
    memset(big, 'x', LIMIT_BODY_CSV + 1);
    assert_int_equal(inv_rows_parse(span_of(big, LIMIT_BODY_CSV + 1), &r, &line, NULL), TD_LIMIT);
    assert_int_equal(inv_rows_parse(span_of(big, LIMIT_BODY_CSV), &r, &line, NULL), TD_INVAL);
    free(big);

    char text[600];
    for (int over = 0; over < 2; over++) {
        int n = snprintf(text, sizeof text, "serial,name\nA,%0*d\n", INV_TEXT_MAX + over, 0);
        assert_int_equal(inv_rows_parse(span_of(text, (size_t)n), &r, &line, NULL),
                         over ? TD_INVAL : TD_OK);
        inv_rows_free(&r);
        n = snprintf(text, sizeof text, "serial\n%0*d\n", LIMIT_SERIAL + over, 0);
        assert_int_equal(inv_rows_parse(span_of(text, (size_t)n), &r, &line, NULL),
                         over ? TD_INVAL : TD_OK);
        inv_rows_free(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records), cmocka_unit_test(test_rows),
        cmocka_unit_test(test_columns), cmocka_unit_test(test_many_quotes),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
