#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mdm/base/req.h"

static void headers(void **state)
{
    (void)state;
    const struct req_header h[] = {{SPAN_LIT("Content-Type"), SPAN_LIT("a/b")},
                                   {SPAN_LIT("X-A"), SPAN_LIT("1")},
                                   {SPAN_LIT("x-a"), SPAN_LIT("2")},
                                   {SPAN_LIT("Empty"), {NULL, 0}}};
    struct req r = {.headers = h, .nheaders = TD_NITEMS(h)};
    bool found = false;
    assert_true(span_eq_str(req_header(&r, "content-type", &found), "a/b"));
    assert_true(found);
    assert_true(span_eq_str(req_header(&r, "X-a", NULL), "1")); /* the first */
    assert_int_equal(req_header(&r, "Empty", &found).n, 0);
    assert_true(found);
    assert_int_equal(req_header(&r, "Content", &found).n, 0);
    assert_false(found);
}

static void query(void **state)
{
    (void)state;
    static const struct {
        const char *query, *name, *value; /* NULL: absent */
    } rows[] = {
        {"", "a", NULL},
        {"a", "a", ""},
        {"a=", "a", ""},
        {"a=1", "a", "1"},
        {"b=2&a=1", "a", "1"},
        {"a=1&a=2", "a", "1"},
        {"aa=1", "a", NULL},
        {"a=1", "aa", NULL},
        {"&&=x&a=1&", "a", "1"},
        {"=x", "", NULL},
        {"a=b=c", "a", "b=c"},
        {"a=%41%62+%2B%2b", "a", "Ab ++"},
        {"%61=1", "a", "1"},
        {"a%3Db=1", "a=b", "1"},
        {"a=%", "a", "%"},
        {"a=%4", "a", "%4"},
        {"a=%zz%4g", "a", "%zz%4g"},
        {"a=%00x", "a", "%00x"},
        {"a=%c3%a9", "a", "\xc3\xa9"},
        {"A=1", "a", NULL},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        arena_auto a;
        arena_init(&a, 1024);
        struct req r = {.query = span_str(rows[i].query), .arena = &a};
        bool found = !rows[i].value;
        struct span v = req_query(&r, rows[i].name, &found);
        if (found != (rows[i].value != NULL) || !span_eq_str(v, rows[i].value ? rows[i].value : ""))
            fail_msg("row %zu: %.*s", i, (int)v.n, (const char *)v.p);
        assert_true(!found || v.p[v.n] == 0);
        assert_true(span_eq(v, req_query(&r, rows[i].name, NULL)));
    }
    arena_auto a;
    arena_init(&a, 1);
    struct req r = {.query = SPAN_LIT("a=12345"), .arena = &a};
    bool found = true;
    assert_int_equal(req_query(&r, "a", &found).n, 0);
    assert_false(found);
}

static void responses(void **state)
{
    (void)state;
    arena_auto a;
    arena_init(&a, 4096);
    struct resp r;
    resp_init(&r, &a, 4);
    assert_int_equal(r.status, 200);
    char value[] = "v1";
    assert_int_equal(resp_header(&r, "ETag", value), TD_OK);
    value[0] = 'x'; /* it was copied */
    assert_string_equal(r.headers[0].value, "v1");
    assert_int_equal(resp_header(&r, "X", "a\r\nB: c"), TD_INVAL);
    assert_int_equal(resp_header(&r, "X", "a\nb"), TD_INVAL);
    assert_int_equal(resp_header(&r, "X", "a\x01"), TD_INVAL);
    assert_int_equal(resp_header(&r, "X", "a\x7f"), TD_INVAL);
    assert_int_equal(resp_header(&r, "X", "a\tb \xc3\xa9"), TD_OK);
    while (r.nheaders < RESP_HEADERS_MAX)
        assert_int_equal(resp_header(&r, "X", ""), TD_OK);
    assert_int_equal(resp_header(&r, "X", ""), TD_LIMIT);
    assert_int_equal(resp_body(&r, 404, "text/plain", SPAN_LIT("1234")), TD_OK);
    assert_int_equal(r.status, 404);
    assert_string_equal(r.content_type, "text/plain");
    assert_string_equal(buf_cstr(&r.body), "1234");
    assert_int_equal(resp_body(&r, 200, "a/b", SPAN_LIT("12")), TD_OK);
    assert_string_equal(buf_cstr(&r.body), "12");
    assert_int_equal(resp_body(&r, 200, "a/b", SPAN_LIT("12345")), TD_LIMIT);
    assert_int_equal(resp_body(&r, 200, "a/b", (struct span){NULL, 0}), TD_OK);
    resp_free(&r);
    resp_free(NULL);
    a.max = a.used;
    r.nheaders = 0;
    assert_int_equal(resp_header(&r, "X", "long enough"), TD_NOMEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers),
        cmocka_unit_test(query),
        cmocka_unit_test(responses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
