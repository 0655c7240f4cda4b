#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mdm/base/limits.h"
#include "mdm/wire/plist.h"

#define DOC(x) "<plist version=\"1.0\">" x "</plist>"

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

static struct plist *parse(const char *doc)
{
    struct errinfo ei = {0};
    struct plist *p = NULL;
    if (plist_parse(span_str(doc), &arena, &p, &ei) != TD_OK)
        fail_msg("%s: %s", ei.msg, doc);
    assert_non_null(p);
    return p;
}

static void json_is(const struct plist *p, const char *want)
{
    buf_auto b;
    buf_init(&b, 1 << 20);
    assert_int_equal(plist_json(p, &b), TD_OK);
    assert_string_equal(buf_cstr(&b), want);
}

static void values(void **state)
{
    (void)state;
    static const struct {
        const char *value, *json;
    } rows[] = {
        {"<string>a&amp;b &lt;x&gt; &quot;q&quot; &#233;</string>",
         "\"a&b <x> \\\"q\\\" \xc3\xa9\""},
        {"<string></string>", "\"\""},
        {"<string/>", "\"\""},
        {"<string><![CDATA[<a>&b]]></string>", "\"<a>&b\""},
        {"<string><![CDATA[]]>x<!-- c -->y<![CDATA[]]></string>", "\"xy\""},
        {"<string><![CDATA[]]></string>", "\"\""},
        {"<string> </string>", "\" \""},
        {"<string>\n</string>", "\"\\n\""},
        {"<string> two \n lines </string>", "\" two \\n lines \""},
        {"<integer>0</integer>", "0"},
        {"<integer>-5</integer>", "-5"},
        {"<integer>9223372036854775807</integer>", "9223372036854775807"},
        {"<integer>-9223372036854775808</integer>", "-9223372036854775808"},
        {"<integer> +007\n</integer>", "7"},
        {"<integer>0x1F</integer>", "31"},
        {"<integer>9223372036854775808</integer>", "9.2233720368547758e+18"},
        {"<integer>-9223372036854775809</integer>", "-9.2233720368547758e+18"},
        {"<real>1.5</real>", "1.5"},
        {"<real>0.1</real>", "0.1"},
        {"<real>-3</real>", "-3"},
        {"<real>nan</real>", "null"},
        {"<real>inf</real>", "null"},
        {"<real>-infinity</real>", "null"},
        {"<true/>", "true"},
        {"<false/>", "false"},
        {"<data>\n\tAAEC\n\t/w==\n</data>", "\"AAEC/w==\""},
        {"<data></data>", "\"\""},
        {"<date>2026-11-23T12:34:56Z</date>", "\"2026-11-23T12:34:56Z\""},
        {"<date>1970-01-01T00:00:00Z</date>", "\"1970-01-01T00:00:00Z\""},
        {"<date>4001-01-01T00:00:00Z</date>", "\"4001-01-01T00:00:00Z\""},
        {"<date>0001-01-01T00:00:00Z</date>", "\"0001-01-01T00:00:00Z\""},
        {"<array/>", "[]"},
        {"<dict/>", "{}"},
        {"<array><array/><dict/></array>", "[[],{}]"},
        {"<dict><key>b</key><integer>1</integer><key>a</key><array><true/></array></dict>",
         "{\"b\":1,\"a\":[true]}"},
        {"<dict><key>CF$UID</key><integer>3</integer></dict>", "{\"CF$UID\":3}"},
        {"<dict><key></key><true/></dict>", "{\"\":true}"},
        {"<!-- c --><dict><!-- c --><key>k</key><!-- c --><true/></dict>", "{\"k\":true}"},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        buf_auto doc;
        buf_init(&doc, 65536);
        assert_int_equal(buf_printf(&doc, DOC("%s"), rows[i].value), TD_OK);
        json_is(parse(buf_cstr(&doc)), rows[i].json);
    }
}

static void refused(void **state)
{
    (void)state;
    static const char *const bad_values[] = {
        "<integer/>",
        "<integer>-</integer>",
        "<integer>1x</integer>",
        "<integer>0x</integer>",
        "<integer>+-1</integer>",
        "<integer>1.5</integer>",
        "<real/>",
        "<real>1,5</real>",
        "<real>1.5x</real>",
        "<real>0000000000000000000000000000000000000000000000000000000000000000</real>",
        "<date/>",
        "<date>garbage</date>",
        "<date>2026-13-01T00:00:00Z</date>",
        "<date>2026-02-30T00:00:00Z</date>",
        "<date>2026-02-03T00:00:60Z</date>",
        "<date>2026-02-03T00:00:00</date>",
        "<date>2026-02-03T00:00:00+</date>",
        "<date>0000-02-03T00:00:00Z</date>",
        "<date>-2-02-03T00:00:00Z</date>",
        "<data>A</data>",
        "<data>A!==</data>",
    };
    for (size_t i = 0; i < TD_NITEMS(bad_values); i++) {
        buf_auto doc;
        struct errinfo ei = {0};
        struct plist *p = NULL;
        buf_init(&doc, 1024);
        buf_printf(&doc, DOC("<array>%s</array>"), bad_values[i]);
        assert_int_equal(plist_guard(buf_view(&doc), NULL), TD_OK);
        if (plist_parse(buf_view(&doc), &arena, &p, &ei) != TD_PARSE)
            fail_msg("accepted: %s", bad_values[i]);
        assert_string_equal(ei.reason, "plist-value");
    }
    static const char *const docs[] = {
        "",
        "bplist00",
        DOC("<dict><key>a</key></dict>"),
        DOC("<dict><key>a</key><true/><key>a</key><false/></dict>"),
        DOC("<dict><key>b</key><true/><key>a</key><false/><key>b</key><false/></dict>"),
    };
    for (size_t i = 0; i < TD_NITEMS(docs); i++) {
        struct errinfo ei = {0};
        struct plist *p = NULL;
        assert_int_equal(plist_parse(span_str(docs[i]), &arena, &p, &ei), TD_PARSE);
        assert_null(p);
        assert_int_equal(ei.code, TD_PARSE);
    }
}

static void access_typed(void **state)
{
    (void)state;
    struct plist *d =
        parse(DOC("<dict><key>s</key><string>text</string><key>i</key><integer>7</integer>"
                  "<key>b</key><true/><key>d</key><data>AQI=</data>"
                  "<key>a</key><array><string>x</string></array></dict>"));
    const char *s = "kept";
    int64_t i = -1;
    bool b = false;
    struct span data = {NULL, 0};
    assert_int_equal(plist_str(d, "s", &arena, &s), TD_OK);
    assert_string_equal(s, "text");
    assert_int_equal(plist_int(d, "i", &i), TD_OK);
    assert_int_equal(i, 7);
    assert_int_equal(plist_bool(d, "b", &b), TD_OK);
    assert_true(b);
    assert_int_equal(plist_data(d, "d", &arena, &data), TD_OK);
    assert_true(span_eq(data, SPAN_LIT("\1\2")));

    /* into an arena that lives longer */
    arena_auto other;
    arena_init(&other, 1024);
    assert_int_equal(plist_str(d, "s", &other, &s), TD_OK);
    assert_string_equal(s, "text");
    assert_int_equal(plist_data(d, "d", &other, &data), TD_OK);
    assert_true(span_eq(data, SPAN_LIT("\1\2")));
    assert_true(other.used > 0);
    other.max = other.used;
    assert_int_equal(plist_str(d, "s", &other, &s), TD_NOMEM);
    assert_int_equal(plist_data(d, "d", &other, &data), TD_NOMEM);

    /* absent, another type: untouched */
    s = "kept";
    assert_int_equal(plist_str(d, "none", &arena, &s), TD_NOTFOUND);
    assert_int_equal(plist_str(d, "i", &arena, &s), TD_PARSE);
    assert_int_equal(plist_int(d, "none", &i), TD_NOTFOUND);
    assert_int_equal(plist_int(d, "s", &i), TD_PARSE);
    assert_int_equal(plist_bool(d, "none", &b), TD_NOTFOUND);
    assert_int_equal(plist_bool(d, "i", &b), TD_PARSE);
    assert_int_equal(plist_data(d, "none", &arena, &data), TD_NOTFOUND);
    assert_int_equal(plist_data(d, "s", &arena, &data), TD_PARSE);
    assert_int_equal(plist_str(NULL, "s", &arena, &s), TD_NOTFOUND);
    assert_int_equal(plist_str_val(NULL, &arena, &s), TD_NOTFOUND);
    assert_string_equal(s, "kept");
    assert_int_equal(i, 7);

    struct plist *a = plist_get(d, "a");
    assert_int_equal(plist_type(a), PLIST_T_ARRAY);
    assert_int_equal(plist_type(NULL), PLIST_T_OTHER);
    assert_int_equal(plist_count(a), 1);
    assert_int_equal(plist_count(d), 5);
    assert_int_equal(plist_count(plist_get(d, "s")), 0);
    assert_int_equal(plist_count(NULL), 0);
    assert_null(plist_at(a, 1));
    assert_null(plist_at(d, 0));
    assert_null(plist_get(a, "x"));
    assert_null(plist_get(NULL, "x"));
    assert_int_equal(plist_str_val(plist_at(a, 0), &arena, &s), TD_OK);
    assert_string_equal(s, "x");

    char *key = NULL;
    assert_ptr_equal(plist_member(d, 4, &arena, &key), a);
    assert_string_equal(key, "a");
    assert_ptr_equal(plist_member(d, 4, &arena, NULL), a);
    assert_null(plist_member(d, 5, &arena, &key));
    assert_null(plist_member(a, 0, &arena, &key));
}

static void building(void **state)
{
    (void)state;
    struct plist *d = plist_new_dict(&arena);
    assert_non_null(d);
    assert_int_equal(plist_set_str(d, "Name", "A & B <c> \"d\" \r\x01\xff"), TD_OK);
    assert_int_equal(plist_set_data(d, "Data", SPAN_LIT("\0\1\2")), TD_OK);
    assert_int_equal(plist_set_data(d, "NoData", (struct span){NULL, 0}), TD_OK);
    assert_int_equal(plist_set_int(d, "Int", INT64_MIN), TD_OK);
    assert_int_equal(plist_set_bool(d, "Yes", true), TD_OK);
    assert_int_equal(plist_set_bool(d, "No", false), TD_OK);
    struct plist *a = plist_add_array(d, "List&");
    assert_int_equal(plist_push_str(a, "x"), TD_OK);
    assert_int_equal(plist_push_int(a, -1), TD_OK);
    struct plist *inner = plist_push_dict(a);
    assert_int_equal(plist_set_int(inner, "n", 1), TD_OK);
    assert_non_null(plist_push_array(a));
    assert_non_null(plist_add_dict(d, "Empty"));
    assert_int_equal(plist_set_int(d, "Int", 42), TD_OK); /* replaced where it stands */

    buf_auto b;
    buf_init(&b, 65536);
    assert_int_equal(plist_xml(d, &b), TD_OK);
    assert_string_equal(
        buf_cstr(&b), "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                      "<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" "
                      "\"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n"
                      "<plist version=\"1.0\">\n<dict>\n"
                      "\t<key>Name</key>\n"
                      "\t<string>A &amp; B &lt;c&gt; \"d\" &#13;\xef\xbf\xbd\xef\xbf\xbd</string>\n"
                      "\t<key>Data</key>\n\t<data>AAEC</data>\n"
                      "\t<key>NoData</key>\n\t<data></data>\n"
                      "\t<key>Int</key>\n\t<integer>42</integer>\n"
                      "\t<key>Yes</key>\n\t<true/>\n\t<key>No</key>\n\t<false/>\n"
                      "\t<key>List&amp;</key>\n\t<array>\n"
                      "\t\t<string>x</string>\n\t\t<integer>-1</integer>\n"
                      "\t\t<dict>\n\t\t\t<key>n</key>\n\t\t\t<integer>1</integer>\n\t\t</dict>\n"
                      "\t\t<array/>\n\t</array>\n"
                      "\t<key>Empty</key>\n\t<dict/>\n</dict>\n</plist>\n");
    /* what we write we read, and it says the same */
    buf_auto again;
    buf_init(&again, 65536);
    assert_int_equal(plist_xml(parse(buf_cstr(&b)), &again), TD_OK);
    /* U+0001 came back as the replacement character it was written as */
    assert_string_equal(buf_cstr(&again), buf_cstr(&b));
}

static void building_misuse(void **state)
{
    (void)state;
    struct plist *d = plist_new_dict(&arena);
    struct plist *a = plist_add_array(d, "a");
    assert_int_equal(plist_set_int(a, "k", 1), TD_INVAL);
    assert_int_equal(plist_set_int(NULL, "k", 1), TD_INVAL);
    assert_int_equal(plist_push_int(d, 1), TD_INVAL);
    assert_int_equal(plist_push_str(NULL, "x"), TD_INVAL);
    assert_null(plist_add_dict(a, "k"));
    assert_null(plist_push_dict(d));
    assert_int_equal(plist_set_copy(d, "c", NULL), TD_INVAL);
    assert_int_equal(plist_set_copy(a, "c", d), TD_INVAL);
    arena.max = arena.used;
    assert_int_equal(plist_set_int(d, "k", 1), TD_NOMEM);
    assert_int_equal(plist_push_str(a, "x"), TD_NOMEM);
    assert_int_equal(plist_set_copy(d, "c", a), TD_NOMEM);
    assert_null(plist_new_dict(&arena));
    buf_auto b;
    buf_init(&b, 100);
    assert_int_equal(plist_xml(d, &b), TD_LIMIT);
    buf_auto j;
    buf_init(&j, 3);
    assert_int_equal(plist_json(d, &j), TD_LIMIT);
}

static void copies(void **state)
{
    (void)state;
    arena_auto source;
    arena_init(&source, 65536);
    struct plist *from = NULL;
    static const char doc[] =
        DOC("<dict><key>r</key><real>2.25</real><key>n</key><real>nan</real>"
            "<key>p</key><real>+infinity</real><key>m</key><real>-infinity</real>"
            "<key>t</key><date>2026-01-02T03:04:05Z</date><key>a</key><array><data>AA==</data>"
            "<string>s</string><true/></array></dict>");
    assert_int_equal(plist_parse(SPAN_LIT(doc), &source, &from, NULL), TD_OK);
    struct plist *d = plist_new_dict(&arena);
    assert_int_equal(plist_set_copy(d, "c", from), TD_OK);
    assert_int_equal(plist_set_copy(d, "self", d), TD_OK);
    arena_free(&source); /* the copy owns everything */
    static const char copy[] =
        "{\"r\":2.25,\"n\":null,\"p\":null,\"m\":null,\"t\":\"2026-01-02T03:04:05Z\","
        "\"a\":[\"AA==\",\"s\",true]}";
    buf_auto want;
    buf_init(&want, 1024);
    buf_printf(&want, "{\"c\":%s,\"self\":{\"c\":%s}}", copy, copy);
    json_is(d, buf_cstr(&want));
    buf_auto b;
    buf_init(&b, 65536);
    assert_int_equal(plist_xml(d, &b), TD_OK);
    assert_non_null(strstr(buf_cstr(&b), "<real>2.25</real>"));
    assert_non_null(strstr(buf_cstr(&b), "<real>nan</real>"));
    assert_non_null(strstr(buf_cstr(&b), "<real>+infinity</real>"));
    assert_non_null(strstr(buf_cstr(&b), "<real>-infinity</real>"));
    assert_non_null(strstr(buf_cstr(&b), "<date>2026-01-02T03:04:05Z</date>"));
}

/* {"s": UTF-16 "e-acute", "n": "a b", "u": UID 5, "d": date, "r": NaN} */
static void binary(void **state)
{
    (void)state;
    static const char doc[] = "bplist00"
                              "\xd5\1\2\3\4\5\6\7\x08\x09\x0a" /* 8: 11 bytes */
                              "\x51s\x51n\x51u\x51"
                              "d\x51r"     /* 19, 21, 23, 25, 27 */
                              "\x61\0\xe9" /* 29 */
                              "\x53"
                              "a b"                                          /* 32 */
                              "\x80\5"                                       /* 36 */
                              "\x33\x41\x9d\0\0\0\0\0\0"                     /* 38 */
                              "\x23\x7f\xf8\0\0\0\0\0\0"                     /* 47 */
                              "\x08\x13\x15\x17\x19\x1b\x1d\x20\x24\x26\x2f" /* 56 */
                              "\0\0\0\0\0\0\1\1"
                              "\0\0\0\0\0\0\0\x0b"
                              "\0\0\0\0\0\0\0\0"
                              "\0\0\0\0\0\0\0\x38";
    struct plist *d = NULL;
    struct errinfo ei = {0};
    if (plist_parse(SPAN_LIT(doc), &arena, &d, &ei) != TD_OK)
        fail_msg("%s", ei.msg);
    const char *s = NULL;
    assert_int_equal(plist_str(d, "s", &arena, &s), TD_OK);
    assert_string_equal(s, "\xc3\xa9");
    assert_int_equal(plist_type(plist_get(d, "u")), PLIST_T_OTHER);
    json_is(d, "{\"s\":\"\xc3\xa9\",\"n\":\"a b\",\"u\":5,"
               "\"d\":\"2004-11-08T19:26:56Z\",\"r\":null}");
    /* a key of characters that XML has not, where two of them would be one */
    uint8_t bent[sizeof doc];
    memcpy(bent, doc, sizeof doc);
    static const uint8_t bad[] = {0x06, 0x1f, '\r'}; /* beyond ASCII is the guard's */
    for (size_t i = 0; i < sizeof bad; i++) {
        bent[20] = bad[i];
        assert_int_equal(plist_parse(span_of(bent, sizeof doc - 1), &arena, &d, &ei), TD_PARSE);
        assert_string_equal(ei.reason, "plist-key");
    }
}

/* The largest dict that the guard lets through is parsed in linear time and memory. */
static void large(void **state)
{
    (void)state;
    buf_auto b;
    buf_init(&b, (size_t)16 << 20);
    buf_str(&b, "<plist><dict>");
    for (int i = 0; i < (LIMIT_PLIST_NODES - 1) / 2; i++)
        buf_printf(&b, "<key>k%d</key><true/>", i);
    buf_str(&b, "</dict></plist>");
    struct plist *d = NULL;
    assert_int_equal(plist_parse(buf_view(&b), &arena, &d, NULL), TD_OK);
    assert_int_equal(plist_count(d), (LIMIT_PLIST_NODES - 1) / 2);
    char *key = NULL;
    assert_non_null(plist_member(d, plist_count(d) - 1, &arena, &key));
    assert_string_equal(key, "k99998");

    arena_auto small;
    arena_init(&small, 4096);
    struct errinfo ei = {0};
    assert_int_equal(plist_parse(buf_view(&b), &small, &d, &ei), TD_NOMEM);
    assert_int_equal(ei.code, TD_NOMEM);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(values),          TEST(refused), TEST(access_typed), TEST(building),
        TEST(building_misuse), TEST(copies),  TEST(binary),       TEST(large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
