#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mdm/base/limits.h"
#include "mdm/wire/plist.h"

#define HEAD                                                                                       \
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST "    \
    "1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n"
#define ROOT "<plist version=\"1.0\">"
#define DOC(x) HEAD ROOT x "</plist>\n"

static enum td_err guard(struct span s)
{
    struct errinfo ei = {0};
    enum td_err e = plist_guard(s, &ei);
    if (e != TD_OK) {
        assert_int_equal(ei.code, e);
        assert_true(ei.msg[0] != 0);
    }
    return e;
}

static void xml_table(void **state)
{
    (void)state;
    static const struct {
        const char *doc;
        enum td_err want;
    } rows[] = {
        {DOC("<dict><key>a</key><string>b</string></dict>"), TD_OK},
        {DOC("<dict/>"), TD_OK},
        {DOC("<string>x</string>"), TD_OK},
        {DOC("<array><true/><false/><integer>1</integer><real>nan</real></array>"), TD_OK},
        {DOC("<!-- a --><dict><!-- <array> --><key>k</key><data>AA==</data></dict>"), TD_OK},
        {DOC("<string><![CDATA[<dict>&lt;]]></string>"), TD_OK},
        {DOC("<string>&amp;&lt;&gt;&quot;&apos;&#65;&#x42;</string>"), TD_OK},
        {DOC("<true></true>"), TD_OK},
        {ROOT "<dict/></plist>", TD_OK},
        {"<plist><dict/></plist>", TD_OK},
        {"\xef\xbb\xbf" ROOT "<dict/></plist>", TD_OK},
        {"<!DOCTYPE plist SYSTEM 'file://localhost/System/Library/DTDs/PropertyList.dtd'>" ROOT
         "<dict/></plist>",
         TD_OK},
        {"<!DOCTYPE plist>" ROOT "<dict/></plist>", TD_OK},
        /* nothing, or something else */
        {"", TD_PARSE},
        {" ", TD_PARSE},
        {"{}", TD_PARSE},
        {"<html/>", TD_PARSE},
        {"<plists><dict/></plists>", TD_PARSE},
        {"<plist version=\"1.0\"/>", TD_PARSE},
        {DOC(""), TD_PARSE},
        {DOC("text"), TD_PARSE},
        {DOC("<dict/><dict/>"), TD_PARSE},
        {DOC("<key>a</key>"), TD_PARSE},
        {DOC("<plist><dict/></plist>"), TD_PARSE},
        {DOC("<set/>"), TD_PARSE},
        {DOC("<Dict/>"), TD_PARSE},
        {DOC("<x:dict xmlns:x=\"u\"/>"), TD_PARSE},
        /* structure */
        {DOC("<dict><key>a</key></dict>"), TD_PARSE},
        {DOC("<dict><string>a</string></dict>"), TD_PARSE},
        {DOC("<dict><key>a</key><key>b</key><true/></dict>"), TD_PARSE},
        {DOC("<dict><key>a</key><true/><true/></dict>"), TD_PARSE},
        {DOC("<array><key>a</key></array>"), TD_PARSE},
        {DOC("<array>text</array>"), TD_PARSE},
        {DOC("<dict><![CDATA[x]]></dict>"), TD_PARSE},
        {DOC("<string>a<b/></string>"), TD_PARSE},
        {DOC("<string><string>a</string></string>"), TD_PARSE},
        {DOC("<true>x</true>"), TD_PARSE},
        {DOC("<dict><key>a<true/></key><true/></dict>"), TD_PARSE},
        {DOC("<dict>"), TD_PARSE},
        {HEAD ROOT "<dict/>", TD_PARSE},
        {DOC("<dict></array>"), TD_PARSE},
        {DOC("<dict"), TD_PARSE},
        /* attributes: another parser may see the end of a tag in them */
        {DOC("<dict a=\"><array><array>\"/>"), TD_PARSE},
        {"<plist version=\"1.0\" x=\"y\"><dict/></plist>", TD_PARSE},
        {"<plist x=\"1.0\"><dict/></plist>", TD_PARSE},
        {"<plist version=\">\"><dict/></plist>", TD_PARSE},
        /* bytes around */
        {"x" DOC("<dict/>"), TD_PARSE},
        {"\n" DOC("<dict/>"), TD_PARSE},
        {DOC("<dict/>") "x", TD_PARSE},
        {DOC("<dict/>") "<plist><dict/></plist>", TD_PARSE},
        {DOC("<dict/>") " \n", TD_OK},
        /* encodings, entities, declarations */
        {"<?xml version=\"1.0\" encoding=\"UTF-16\"?>" ROOT "<string>\xff</string></plist>",
         TD_PARSE},
        {DOC("<string>\xc0\x80</string>"), TD_PARSE},
        {DOC("<string>&#0;</string>"), TD_PARSE},
        {DOC("<string>&unknown;</string>"), TD_PARSE},
        {DOC("<?php x?><dict/>"), TD_PARSE},
        {"<?xml version=\"1.0\"", TD_PARSE},
        {"<!DOCTYPE html>" ROOT "<dict/></plist>", TD_PARSE},
        {"<!DOCTYPE plist [<!ENTITY a \"b\">]>" ROOT "<string>&a;</string></plist>", TD_PARSE},
        {"<!DOCTYPE plist SYSTEM \"x\" [<!ENTITY a \"b\">]>" ROOT "<string>&a;</string></plist>",
         TD_PARSE},
        {"<!DOCTYPE plist SYSTEM \"a<b>\">" ROOT "<dict/></plist>", TD_PARSE},
        {"<!DOCTYPE plist SYSTEM \"a", TD_PARSE},
        {"<!DOCTYPE plist SYSTEM>" ROOT "<dict/></plist>", TD_PARSE},
        {"<!DOCTYPE plist PUBLIC \"a\">" ROOT "<dict/></plist>", TD_PARSE},
        {"<!DOCTYPE plist><!DOCTYPE plist>" ROOT "<dict/></plist>", TD_PARSE},
        {"<!-- <!DOCTYPE plist [ --><!DOCTYPE plist [<!ENTITY a SYSTEM "
         "\"file:///etc/passwd\">]>" ROOT "<string>&a;</string></plist>",
         TD_PARSE},
        {"<!ENTITY a \"b\">" ROOT "<dict/></plist>", TD_PARSE},
        {"<!-- unfinished", TD_PARSE},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        enum td_err e = guard(span_str(rows[i].doc));
        if (e != rows[i].want)
            fail_msg("row %zu gives %s: %s", i, err_name(e), rows[i].doc);
    }
}

/* Every cut of a document is refused, none crashes. */
static void xml_truncated(void **state)
{
    (void)state;
    static const char doc[] = HEAD ROOT "<dict><key>a</key><array><true/></array></dict></plist>";
    for (size_t n = 0; n < sizeof doc - 1; n++)
        assert_int_equal(guard(span_of(doc, n)), TD_PARSE);
    assert_int_equal(guard(span_of(doc, sizeof doc - 1)), TD_OK);
    assert_int_equal(guard(span_of(doc, sizeof doc)), TD_PARSE); /* the NUL behind */
}

static struct buf xml_nested(size_t depth)
{
    struct buf b;
    buf_init(&b, (size_t)32 << 20);
    buf_str(&b, ROOT);
    for (size_t i = 0; i < depth; i++)
        buf_str(&b, "<array>");
    for (size_t i = 0; i < depth; i++)
        buf_str(&b, "</array>");
    buf_str(&b, "</plist>");
    assert_int_equal(b.err, TD_OK);
    return b;
}

static void xml_depth(void **state)
{
    (void)state;
    static const struct {
        size_t depth;
        enum td_err want;
    } rows[] = {{1, TD_OK},
                {LIMIT_PLIST_DEPTH, TD_OK},
                {LIMIT_PLIST_DEPTH + 1, TD_LIMIT},
                {300000, TD_LIMIT}};
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        buf_auto b = xml_nested(rows[i].depth);
        assert_int_equal(guard(buf_view(&b)), rows[i].want);
    }
}

static void xml_nodes(void **state)
{
    (void)state;
    for (size_t over = 0; over < 2; over++) {
        buf_auto b;
        buf_init(&b, (size_t)8 << 20);
        buf_str(&b, ROOT "<array>"); /* the array is a node too */
        for (size_t i = 0; i < LIMIT_PLIST_NODES - 1 + over; i++)
            buf_str(&b, "<true/>");
        buf_str(&b, "</array></plist>");
        assert_int_equal(guard(buf_view(&b)), over ? TD_LIMIT : TD_OK);
    }
}

static void xml_laughs(void **state)
{
    (void)state;
    buf_auto b;
    buf_init(&b, 65536);
    buf_str(&b, "<!DOCTYPE plist [<!ENTITY a0 \"ha\">");
    for (int i = 1; i < 30; i++)
        buf_printf(&b, "<!ENTITY a%d \"&a%d;&a%d;&a%d;&a%d;&a%d;&a%d;&a%d;&a%d;&a%d;&a%d;\">", i,
                   i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
    buf_str(&b, "]>" ROOT "<string>&a29;</string></plist>");
    assert_int_equal(guard(buf_view(&b)), TD_PARSE);
}

/* --- binary --- */

/* A document of the objects (their bytes) in order; references and offsets as wide as said. */
struct maker {
    struct buf b;
    size_t offsets[64], n;
};

static void make_init(struct maker *m)
{
    m->n = 0;
    buf_init(&m->b, (size_t)64 << 20);
    buf_str(&m->b, "bplist00");
}

static void object(struct maker *m, const char *bytes, size_t n)
{
    m->offsets[m->n++] = m->b.n;
    buf_add(&m->b, bytes, n);
}
#define OBJECT(m, lit) object((m), lit, sizeof(lit) - 1)

static void finish(struct maker *m, uint64_t top)
{
    size_t table = m->b.n;
    for (size_t i = 0; i < m->n; i++)
        buf_u32(&m->b, (uint32_t)m->offsets[i]);
    buf_add(&m->b, "\0\0\0\0\0\0\4\1", 8);
    buf_u64(&m->b, m->n);
    buf_u64(&m->b, top);
    buf_u64(&m->b, table);
    assert_int_equal(m->b.err, TD_OK);
}

static void bin_objects(void **state)
{
    (void)state;
#define ROW(lit, want)                                                                             \
    {                                                                                              \
        lit, sizeof(lit) - 1, want                                                                 \
    }
    /* object 0 is the row; 1 is "a", 2 is the integer 7 */
    static const struct {
        const char *bytes;
        size_t n;
        enum td_err want;
    } rows[] = {
        ROW("\x08", TD_OK),
        ROW("\x09", TD_OK),
        ROW("\x10\x01", TD_OK),
        ROW("\x13\1\2\3\4\5\6\7\x08", TD_OK),
        ROW("\x14\0\0\0\0\0\0\0\0\1\2\3\4\5\6\7\x08", TD_OK),
        ROW("\x22\x7f\xc0\0\0", TD_OK),
        ROW("\x23\x7f\xf8\0\0\0\0\0\0", TD_OK),
        ROW("\x33\0\0\0\0\0\0\0\0", TD_OK),
        ROW("\x41\xff", TD_OK),
        ROW("\x4f\x10\x02xy", TD_OK),
        ROW("\x51z", TD_OK),
        ROW("\x61\0z", TD_OK),
        ROW("\x80\1", TD_OK),
        ROW("\xa0", TD_OK),
        ROW("\xd0", TD_OK),
        ROW("\xa2\1\1", TD_OK),
        ROW("\xd1\1\2", TD_OK),
        ROW("\xaf\x10\x01\2", TD_OK),
        /* kinds that no property list has */
        ROW("\x00", TD_PARSE),
        ROW("\x0f", TD_PARSE),
        ROW("\x15\1", TD_PARSE),
        ROW("\x20\1", TD_PARSE),
        ROW("\x30\1", TD_PARSE),
        ROW("\x70", TD_PARSE),
        ROW("\xc1\1", TD_PARSE),
        ROW("\xf0", TD_PARSE),
        /* keys */
        ROW("\xd1\2\2", TD_PARSE),
        ROW("\xd1\0\2", TD_PARSE),
        /* references to nowhere and to itself */
        ROW("\xa1\3", TD_PARSE),
        ROW("\xa1\xff", TD_PARSE),
        ROW("\xa1\0", TD_PARSE),
        ROW("\xd1\1\0", TD_PARSE),
        /* counts */
        ROW("\x4f\x20\x02", TD_PARSE),
        ROW("\x4f\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", TD_PARSE),
        ROW("\x4f\x13\xff\xff\xff\xff\xff\xff\xff\xff", TD_PARSE),
        ROW("\x6f\x13\x80\0\0\0\0\0\0\1", TD_PARSE),
        ROW("\xaf\x13\xff\xff\xff\xff\xff\xff\xff\xff", TD_PARSE),
        ROW("\xdf\x13\x80\0\0\0\0\0\0\1", TD_PARSE),
        ROW("\x51\xe9", TD_PARSE),
    };
#undef ROW
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct maker m;
        make_init(&m);
        object(&m, rows[i].bytes, rows[i].n);
        OBJECT(&m, "\x51"
                   "a");
        OBJECT(&m, "\x10\x07");
        finish(&m, 0);
        enum td_err e = guard(buf_view(&m.b));
        if (e != rows[i].want)
            fail_msg("row %zu gives %s", i, err_name(e));
        buf_free(&m.b);
    }
}

/* The last object reaches over the offset table. */
static void bin_over_table(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
    } rows[] = {{"\x11\1", 2}, {"\x42\1", 2}, {"\x62\1\1", 3}, {"\x5f", 1},      {"\x5f\x11", 2},
                {"\x23", 1},   {"\xa1", 1},   {"\xd1\1", 2},   {"\xd2\1\1\1", 4}};
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct maker m;
        make_init(&m);
        OBJECT(&m, "\x09");
        object(&m, rows[i].bytes, rows[i].n);
        finish(&m, 1);
        enum td_err e = guard(buf_view(&m.b));
        if (e != TD_PARSE)
            fail_msg("row %zu gives %s", i, err_name(e));
        buf_free(&m.b);
    }
}

static void bin_key_with_nul(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        size_t n;
        enum td_err want;
    } rows[] = {{"\x52"
                 "ab",
                 3, TD_OK},
                {"\x52"
                 "a\0",
                 3, TD_PARSE},
                {"\x62\0a\0b", 5, TD_OK},
                {"\x62\0a\0\0", 5, TD_PARSE}};
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct maker m;
        make_init(&m);
        OBJECT(&m, "\xd1\1\2");
        object(&m, rows[i].key, rows[i].n);
        OBJECT(&m, "\x09");
        finish(&m, 0);
        assert_int_equal(guard(buf_view(&m.b)), rows[i].want);
        buf_free(&m.b);
    }
}

static void bin_cycles(void **state)
{
    (void)state;
    struct maker m;
    make_init(&m); /* array -> dict -> array */
    OBJECT(&m, "\xa1\1");
    OBJECT(&m, "\xd1\2\0");
    OBJECT(&m, "\x51"
               "k");
    finish(&m, 0);
    assert_int_equal(guard(buf_view(&m.b)), TD_PARSE);
    buf_free(&m.b);
}

static void bin_trailer(void **state)
{
    (void)state;
    struct maker m;
    make_init(&m);
    OBJECT(&m, "\xa1\1");
    OBJECT(&m, "\x09");
    finish(&m, 0);
    struct span good = buf_view(&m.b);
    assert_int_equal(guard(good), TD_OK);
    for (size_t n = 0; n < good.n; n++)
        assert_int_equal(guard(span_of(good.p, n)), TD_PARSE);
    /* each row sets one byte, counted from the end of the document */
    static const struct {
        size_t back;
        uint8_t value;
        enum td_err want;
    } rows[] = {{26, 0, TD_PARSE},    {26, 5, TD_PARSE},   {26, 255, TD_PARSE}, {25, 0, TD_PARSE},
                {25, 6, TD_PARSE},    {17, 0, TD_PARSE},   {17, 1, TD_PARSE},   {17, 3, TD_PARSE},
                {24, 0x80, TD_LIMIT}, {22, 1, TD_LIMIT},   {9, 2, TD_PARSE},    {16, 1, TD_PARSE},
                {1, 0, TD_PARSE},     {1, 12, TD_PARSE},   {1, 13, TD_PARSE},   {8, 0xff, TD_PARSE},
                {33, 0, TD_PARSE},    {33, 200, TD_PARSE}, {25, 1, TD_OK}};
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        uint8_t copy[64];
        assert_true(good.n <= sizeof copy);
        memcpy(copy, good.p, good.n);
        copy[good.n - rows[i].back] = rows[i].value;
        enum td_err e = guard(span_of(copy, good.n));
        if (e != rows[i].want)
            fail_msg("row %zu gives %s", i, err_name(e));
    }
    uint8_t more[65] = {0}; /* a byte too many */
    memcpy(more, good.p, good.n);
    assert_int_equal(guard(span_of(more, good.n + 1)), TD_PARSE);
    memcpy(more, "bplist15", 8);
    assert_int_equal(guard(span_of(more, good.n)), TD_PARSE);
    buf_free(&m.b);
}

/* depth arrays of one element, then `true`; 4-byte references: the measured 900 KB attack. */
static struct buf bin_nested(uint32_t depth)
{
    struct buf b;
    buf_init(&b, (size_t)16 << 20);
    buf_str(&b, "bplist00");
    for (uint32_t i = 0; i < depth; i++) {
        buf_u8(&b, 0xa1);
        buf_u32(&b, i + 1);
    }
    buf_u8(&b, 0x09);
    size_t table = b.n;
    for (uint32_t i = 0; i <= depth; i++)
        buf_u32(&b, 8 + 5 * i);
    buf_add(&b, "\0\0\0\0\0\0\4\4", 8);
    buf_u64(&b, depth + 1);
    buf_u64(&b, 0);
    buf_u64(&b, table);
    assert_int_equal(b.err, TD_OK);
    return b;
}

static void bin_depth(void **state)
{
    (void)state;
    static const struct {
        uint32_t depth;
        enum td_err want;
    } rows[] = {{1, TD_OK},
                {LIMIT_PLIST_DEPTH, TD_OK},
                {LIMIT_PLIST_DEPTH + 1, TD_LIMIT},
                {100000, TD_LIMIT}};
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        buf_auto b = bin_nested(rows[i].depth);
        assert_int_equal(guard(buf_view(&b)), rows[i].want);
    }
}

/* An array that refers `refs` times to one object. */
static struct buf bin_wide(uint32_t refs, const char *obj, size_t n)
{
    struct buf b;
    buf_init(&b, (size_t)16 << 20);
    buf_str(&b, "bplist00");
    buf_add(&b, "\xaf\x12", 2);
    buf_u32(&b, refs);
    for (uint32_t i = 0; i < refs; i++)
        buf_u8(&b, 1);
    size_t at = b.n;
    buf_add(&b, obj, n);
    size_t table = b.n;
    buf_u32(&b, 8);
    buf_u32(&b, (uint32_t)at);
    buf_add(&b, "\0\0\0\0\0\0\4\1", 8);
    buf_u64(&b, 2);
    buf_u64(&b, 0);
    buf_u64(&b, table);
    assert_int_equal(b.err, TD_OK);
    return b;
}

static void bin_nodes(void **state)
{
    (void)state;
    for (uint32_t over = 0; over < 2; over++) {
        buf_auto b = bin_wide(LIMIT_PLIST_NODES - 1 + over, "\x09", 1);
        assert_int_equal(guard(buf_view(&b)), over ? TD_LIMIT : TD_OK);
    }
}

/* 20 levels of ten references each: 10^20 nodes in 300 bytes. */
static void bin_expanding(void **state)
{
    (void)state;
    struct maker m;
    make_init(&m);
    for (uint8_t i = 0; i < 20; i++) {
        uint8_t array[11] = {0xaa};
        memset(array + 1, i + 1, 10);
        object(&m, (const char *)array, sizeof array);
    }
    OBJECT(&m, "\x09");
    finish(&m, 0);
    assert_int_equal(guard(buf_view(&m.b)), TD_LIMIT);
    buf_free(&m.b);
}

/* One text of 64 KiB, referred to until it fills the limit, and once more. */
static void bin_bytes(void **state)
{
    (void)state;
    buf_auto text;
    buf_init(&text, 1 << 20);
    buf_add(&text, "\x5f\x12\0\1\0\0", 6);
    for (size_t i = 0; i < 65536; i++)
        buf_u8(&text, 'x');
    for (uint32_t over = 0; over < 2; over++) {
        buf_auto b = bin_wide(LIMIT_PLIST_BYTES / 65536 + over, (const char *)text.p, text.n);
        assert_int_equal(guard(buf_view(&b)), over ? TD_LIMIT : TD_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(xml_table),      cmocka_unit_test(xml_truncated),
        cmocka_unit_test(xml_depth),      cmocka_unit_test(xml_nodes),
        cmocka_unit_test(xml_laughs),     cmocka_unit_test(bin_objects),
        cmocka_unit_test(bin_over_table), cmocka_unit_test(bin_key_with_nul),
        cmocka_unit_test(bin_cycles),     cmocka_unit_test(bin_trailer),
        cmocka_unit_test(bin_depth),      cmocka_unit_test(bin_nodes),
        cmocka_unit_test(bin_expanding),  cmocka_unit_test(bin_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
