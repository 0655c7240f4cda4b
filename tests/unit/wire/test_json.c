#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mdm/base/limits.h"
#include "mdm/wire/json.h"

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, LIMIT_REQ_ARENA);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

static struct json *parse(const char *text)
{
    struct errinfo ei = {0};
    struct json *v = NULL;
    if (json_parse(span_str(text), &arena, &v, &ei) != TD_OK)
        fail_msg("%s: %s", ei.msg, text);
    return v;
}

static void refused(void **state)
{
    (void)state;
#define ROW(s)                                                                                     \
    {                                                                                              \
        s, sizeof(s) - 1                                                                           \
    }
    static const struct {
        const char *text;
        size_t n;
    } rows[] = {
        ROW(""),
        ROW(" "),
        ROW("{"),
        ROW("{\"a\":1"),
        ROW("{\"a\":1}x"),
        ROW("{\"a\":1} {}"),
        ROW("{}\0"),
        ROW("{\"a\":1,\"a\":2}"),
        ROW("{\"a\":1,}"),
        ROW("[1,]"),
        ROW("{a:1}"),
        ROW("{'a':1}"),
        ROW("\"a\\u0000b\""),
        ROW("{\"a\\u0000\":1}"),
        ROW("\"a\0b\""),
        ROW("\"\xff\""),
        ROW("\"\xc0\x80\""),
        ROW("\"\xed\xa0\x80\""),
        ROW("\"\\ud800\""),
        ROW("\"\n\""),
        ROW("9223372036854775808"),
        ROW("-9223372036854775809"),
        ROW("1e999"),
        ROW("01"),
        ROW("NaN"),
        ROW("nul"),
        ROW("\xef\xbb\xbf{}"),
    };
#undef ROW
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct errinfo ei = {0};
        struct json *v = NULL;
        if (json_parse(span_of(rows[i].text, rows[i].n), &arena, &v, &ei) != TD_PARSE)
            fail_msg("row %zu accepted", i);
        assert_null(v);
        assert_int_equal(ei.code, TD_PARSE);
        assert_true(ei.msg[0] != 0);
    }
}

static enum td_err nested(size_t depth, char open, char close)
{
    buf_auto b;
    buf_init(&b, 1 << 20);
    for (size_t i = 0; i < depth; i++)
        buf_str(&b, open == '[' ? "[" : i + 1 < depth ? "{\"a\":" : "{");
    for (size_t i = 0; i < depth; i++)
        buf_u8(&b, (uint8_t)close);
    struct json *v = NULL;
    return json_parse(buf_view(&b), &arena, &v, NULL);
}

static void depth(void **state)
{
    (void)state;
    assert_int_equal(nested(LIMIT_JSON_DEPTH, '[', ']'), TD_OK);
    assert_int_equal(nested(LIMIT_JSON_DEPTH + 1, '[', ']'), TD_LIMIT);
    assert_int_equal(nested(LIMIT_JSON_DEPTH, '{', '}'), TD_OK);
    assert_int_equal(nested(LIMIT_JSON_DEPTH + 1, '{', '}'), TD_LIMIT);
    assert_int_equal(nested(100000, '[', ']'), TD_LIMIT);
    /* brackets in a string are no depth, and a quote behind a backslash ends none */
    parse("\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[[[[[[[[[\\\\\"");
}

static void nodes(void **state)
{
    (void)state;
    for (size_t over = 0; over < 2; over++) {
        buf_auto b;
        buf_init(&b, 1 << 20);
        buf_str(&b, "[0");
        /* counted: 1, the bracket, each comma */
        for (size_t i = 0; i < LIMIT_JSON_NODES - 2 + over; i++)
            buf_str(&b, ",0");
        buf_str(&b, "]");
        struct json *v = NULL;
        assert_int_equal(json_parse(buf_view(&b), &arena, &v, NULL), over ? TD_LIMIT : TD_OK);
    }
}

static void access_typed(void **state)
{
    (void)state;
    struct json *o = parse(" {\"s\":\"t\\u00e9\",\"i\":-9223372036854775808,\"b\":true,\"f\":false,"
                           "\"n\":null,\"r\":1.5,\"a\":[1,[],{}]} \n");
    const char *s = "kept";
    int64_t i = 1;
    bool b = false;
    assert_int_equal(json_kind(o), JSON_K_OBJECT);
    assert_int_equal(json_size(o), 7);
    assert_int_equal(json_get_str(o, "s", &s), TD_OK);
    assert_string_equal(s, "t\xc3\xa9");
    assert_int_equal(json_get_int(o, "i", &i), TD_OK);
    assert_true(i == INT64_MIN);
    assert_int_equal(json_get_bool(o, "b", &b), TD_OK);
    assert_true(b);
    assert_int_equal(json_get_bool(o, "f", &b), TD_OK);
    assert_false(b);
    assert_int_equal(json_get_str(o, "none", &s), TD_NOTFOUND);
    assert_int_equal(json_get_str(o, "i", &s), TD_PARSE);
    assert_int_equal(json_get_str(o, "n", &s), TD_PARSE);
    assert_int_equal(json_get_int(o, "none", &i), TD_NOTFOUND);
    assert_int_equal(json_get_int(o, "r", &i), TD_PARSE);
    assert_int_equal(json_get_bool(o, "none", &b), TD_NOTFOUND);
    assert_int_equal(json_get_bool(o, "s", &b), TD_PARSE);
    assert_int_equal(json_get_str(NULL, "s", &s), TD_NOTFOUND);
    assert_string_equal(s, "t\xc3\xa9");

    assert_int_equal(json_kind(json_member(o, "n")), JSON_K_NULL);
    assert_int_equal(json_kind(json_member(o, "r")), JSON_K_REAL);
    assert_int_equal(json_kind(json_member(o, "b")), JSON_K_BOOL);
    assert_int_equal(json_kind(json_member(o, "s")), JSON_K_STR);
    assert_int_equal(json_kind(NULL), JSON_K_NULL);
    assert_true(json_real(json_member(o, "r")) > 1.4);
    struct json *a = json_member(o, "a");
    assert_int_equal(json_kind(a), JSON_K_ARRAY);
    assert_int_equal(json_size(a), 3);
    assert_int_equal(json_int(json_element(a, 0)), 1);
    assert_null(json_element(a, 3));
    assert_null(json_element(o, 0));
    assert_null(json_member(a, "x"));
    assert_null(json_member(NULL, "x"));
    assert_int_equal(json_size(json_member(o, "s")), 0);
    assert_int_equal(json_size(NULL), 0);
    assert_null(json_str(a));
    assert_null(json_str(NULL));
    assert_int_equal(json_int(json_member(o, "r")), 0);
    assert_false(json_bool(json_member(o, "i")));
    assert_false(json_bool(NULL));

    const char *key = NULL;
    assert_ptr_equal(json_member_at(o, 6, &key), a);
    assert_string_equal(key, "a");
    assert_ptr_equal(json_member_at(o, 6, NULL), a);
    assert_null(json_member_at(o, 7, &key));
    assert_null(json_member_at(a, 0, &key));
    assert_null(json_member_at(NULL, 0, &key));
}

static void scalars(void **state)
{
    (void)state;
    assert_int_equal(json_kind(parse("null")), JSON_K_NULL);
    assert_int_equal(json_int(parse("9223372036854775807")), INT64_MAX);
    assert_string_equal(json_str(parse("\"x\"")), "x");
}

static void only(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "b", NULL};
    struct errinfo ei = {0};
    assert_int_equal(json_only(parse("{}"), names, &ei), TD_OK);
    assert_int_equal(json_only(parse("{\"b\":1,\"a\":1}"), names, &ei), TD_OK);
    assert_int_equal(json_only(parse("{\"b\":1,\"c\":1}"), names, &ei), TD_PARSE);
    assert_string_equal(ei.reason, "unknown-member");
    assert_non_null(strstr(ei.msg, "\"c\""));
    assert_int_equal(json_only(parse("[]"), names, &ei), TD_PARSE);
    assert_int_equal(json_only(NULL, names, &ei), TD_PARSE);
}

static void no_room(void **state)
{
    (void)state;
    arena_auto small;
    arena_init(&small, 1);
    struct json *v = NULL;
    assert_int_equal(json_parse(SPAN_LIT("{}"), &small, &v, NULL), TD_NOMEM);
    assert_null(v);
}

static void writing(void **state)
{
    (void)state;
    buf_auto b;
    buf_init(&b, 65536);
    struct json_w w;
    json_w_init(&w, &b);
    json_open(&w);
    json_kv_str(&w, "s\"", "q\"\\ \n\t\x01\x7f<\xc3\xa9\xff");
    json_kv_str(&w, "null", NULL);
    json_kv_span(&w, "span", SPAN_LIT("a\0b"));
    json_kv_span(&w, "none", (struct span){NULL, 0});
    json_kv_int(&w, "i", INT64_MIN);
    json_kv_bool(&w, "t", true);
    json_kv_bool(&w, "f", false);
    json_kv_time(&w, "when", 1700000000);
    json_kv_time(&w, "never", 0);
    json_kv_raw(&w, "raw", SPAN_LIT("[1]"));
    json_open_key(&w, "o");
    json_close(&w);
    json_array_key(&w, "a");
    json_v_str(&w, "x");
    json_v_str(&w, NULL);
    json_v_int(&w, 3);
    json_v_raw(&w, SPAN_LIT("true"));
    json_open(&w);
    json_kv_int(&w, "n", 1);
    json_close(&w);
    json_array(&w);
    json_array_end(&w);
    json_array_end(&w);
    json_kv_int(&w, "last", 1);
    json_close(&w);
    assert_int_equal(b.err, TD_OK);
    assert_int_equal(w.depth, 0);
    assert_string_equal(
        buf_cstr(&b),
        "{\"s\\\"\":\"q\\\"\\\\ \\n\\u0009\\u0001\\u007f<\xc3\xa9\xef\xbf\xbd\",\"null\":null,"
        "\"span\":\"a\\u0000b\",\"none\":\"\",\"i\":-9223372036854775808,\"t\":true,\"f\":false,"
        "\"when\":\"2023-11-14T22:13:20Z\",\"never\":null,\"raw\":[1],\"o\":{},"
        "\"a\":[\"x\",null,3,true,{\"n\":1},[]],\"last\":1}");
}

static void writing_limit(void **state)
{
    (void)state;
    for (size_t max = 8; max <= 9; max++) {
        buf_auto b;
        buf_init(&b, max);
        struct json_w w;
        json_w_init(&w, &b);
        json_open(&w);
        json_kv_str(&w, "a", "bc");
        json_close(&w);
        assert_int_equal(b.err, TD_LIMIT);
    }
    buf_auto b;
    buf_init(&b, 10);
    struct json_w w;
    json_w_init(&w, &b);
    json_open(&w);
    json_kv_str(&w, "a", "bc");
    json_close(&w);
    assert_int_equal(b.err, TD_OK);
    assert_string_equal(buf_cstr(&b), "{\"a\":\"bc\"}");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(refused), TEST(depth),   TEST(nodes),   TEST(access_typed),  TEST(scalars),
        TEST(only),    TEST(no_room), TEST(writing), TEST(writing_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
