/* Fails the k-th allocation of each scenario, for every k until the scenario succeeds: no crash,
 * an error of its kind, nothing leaked (the sanitizer's and our own count), and the same scenario
 * succeeds afterwards. libxml2 takes its memory from here too; the memory that libplist and
 * jansson ask for inside their shared libraries is out of reach of the linker's wrapping. */
#include <libxml/xmlmemory.h>
#include <libxml/xmlreader.h>

#include "mdm/base/b64.h"
#include "mdm/base/conf.h"
#include "mdm/base/limits.h"
#include "mdm/posture/fact.h"
#include "mdm/wire/json.h"
#include "mdm/wire/plist.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

static long seen, fail_at; /* allocations since arming; the one that fails, 0 for none */

static bool fails(void)
{
    return ++seen == fail_at;
}

void *__wrap_malloc(size_t n)
{
    return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return fails() ? NULL : __real_realloc(p, n);
}

static char *xml_strdup(const char *s)
{
    size_t n = strlen(s) + 1;
    char *p = __wrap_malloc(n);
    if (p)
        memcpy(p, s, n);
    return p;
}

static void silent(void *ctx, const char *fmt, ...)
{
    (void)ctx;
    (void)fmt;
}

#define TEXT16 "abcdefghijklmnop"
#define TEXT256                                                                                    \
    TEXT16 TEXT16 TEXT16 TEXT16 TEXT16 TEXT16 TEXT16 TEXT16 TEXT16 TEXT16 TEXT16 TEXT16 TEXT16     \
        TEXT16 TEXT16 TEXT16

static const char xml[] =
    "<?xml version=\"1.0\"?><!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" "
    "\"http://www.apple.com/DTDs/PropertyList-1.0.dtd\"><plist version=\"1.0\"><dict>"
    "<key>s</key><string>" TEXT256 "&amp;<![CDATA[<]]></string><key>d</key><data>AAEC</data>"
    "<key>i</key><integer>5</integer><key>r</key><real>0.5</real><key>t</key>"
    "<date>2026-11-23T00:00:00Z</date><key>b</key><true/><key>a</key><array><dict/><array/>"
    "<string>x</string></array><!-- c --><key>k8</key><true/><key>k9</key><true/><key>k10</key>"
    "<true/><key>k11</key><true/><key>k12</key><true/><key>k13</key><true/><key>k14</key><true/>"
    "<key>k15</key><true/><key>k16</key><true/><key>k17</key><true/></dict></plist>";

static const char bin[] = "bplist00"
                          "\xd2\1\2\3\4"
                          "\x51s\x51"
                          "a\x53xyz\xa2\3\3"
                          "\x08\x0d\x0f\x11\x15"
                          "\0\0\0\0\0\0\1\1"
                          "\0\0\0\0\0\0\0\5"
                          "\0\0\0\0\0\0\0\0"
                          "\0\0\0\0\0\0\0\x18";

static enum td_err plist_document(struct span doc, struct buf *out, struct errinfo *ei)
{
    arena_auto a;
    arena_init(&a, LIMIT_REQ_ARENA);
    struct plist *p = NULL, *d = plist_new_dict(&a);
    const char *s = NULL;
    if (!d)
        return TD_NOMEM;
    TD_TRY(plist_parse(doc, &a, &p, ei));
    TD_TRY(plist_xml(p, out));
    TD_TRY(plist_json(p, out));
    TD_TRY(plist_str(p, "s", &a, &s));
    TD_TRY(plist_set_copy(d, "copy", p));
    for (int i = 0; i < 40; i++)
        TD_TRY(plist_set_str(d, arena_printf(&a, "k%d", i) ?: "k", TEXT256));
    return plist_xml(d, out);
}

static enum td_err plist_of_xml(struct buf *out, struct errinfo *ei)
{
    return plist_document(SPAN_LIT(xml), out, ei);
}

static enum td_err plist_of_bin(struct buf *out, struct errinfo *ei)
{
    return plist_document(SPAN_LIT(bin), out, ei);
}

static enum td_err json_of_text(struct buf *out, struct errinfo *ei)
{
    arena_auto a;
    arena_init(&a, LIMIT_REQ_ARENA);
    struct json *v = NULL;
    const char *s = NULL;
    TD_TRY(json_parse(SPAN_LIT("{\"s\":\"" TEXT256 "\",\"a\":[1,2,{}]}"), &a, &v, ei));
    TD_TRY(json_get_str(v, "s", &s));
    struct json_w w;
    json_w_init(&w, out);
    json_open(&w);
    for (int i = 0; i < 20; i++)
        json_kv_str(&w, "k", s);
    json_close(&w);
    return out->err;
}

static enum td_err posture_of_report(struct buf *out, struct errinfo *ei)
{
    static const char report[] =
        "<?xml version=\"1.0\"?><plist version=\"1.0\"><dict><key>QueryResponses</key><dict>"
        "<key>OSVersion</key><string>17.4</string><key>BuildVersion</key><string>" TEXT16
        "</string><key>IsSupervised</key><true/></dict></dict></plist>";
    arena_auto a;
    arena_init(&a, LIMIT_REQ_ARENA);
    struct plist *p = NULL;
    struct posture_obs obs[POSTURE_FACTS_MAX];
    size_t n = 0;
    TD_TRY(plist_parse(SPAN_LIT(report), &a, &p, ei));
    for (int i = 0; i < 100; i++) /* until the arena's chunk is full */
        TD_TRY(posture_facts_report("DeviceInformation", p, i, &a, obs, &n));
    for (size_t i = 0; i < n; i++)
        buf_printf(out, "%s=%s ", obs[i].name, obs[i].value);
    TD_TRY(posture_facts_checkin("1", TEXT256, TEXT16, 1, &a, obs, &n));
    p = posture_query_device(SPAN_LIT("nonce"), &a);
    return p ? plist_xml(p, out) : TD_NOMEM;
}

struct settings {
    const char *text, *word;
    int64_t number;
};

static enum td_err conf_of_text(struct buf *out, struct errinfo *ei)
{
    static const struct conf_key keys[] = {
        {"a", "text", CONF_STR, offsetof(struct settings, text), TEXT256, 0, 0, NULL, "d", false},
        {"a", "word", CONF_ENUM, offsetof(struct settings, word), "on", 0, 0, "on off", "d", false},
        {"a", "number", CONF_INT, offsetof(struct settings, number), "1", 0, 0, NULL, "d", false},
    };
    const struct conf_table t = {keys, TD_NITEMS(keys)};
    arena_auto a;
    arena_init(&a, 1 << 20);
    struct settings s;
    TD_TRY(conf_parse(&t, SPAN_LIT("[a]\ntext = hello\nword = off\n"), &a, &s, ei));
    return conf_show(&t, &s, true, out);
}

static enum td_err memory(struct buf *out, struct errinfo *ei)
{
    (void)ei;
    arena_auto a;
    arena_init(&a, 1 << 20);
    buf_auto b;
    buf_init(&b, 1 << 16);
    struct span raw;
    for (int i = 0; i < 50; i++)
        if (!arena_alloc(&a, (size_t)i * 700))
            return TD_NOMEM;
    TD_TRY(b64_enc(&b, SPAN_LIT(TEXT256 TEXT256)));
    TD_TRY(b64_dec(&a, buf_view(&b), &raw));
    if (!b64url_str(&a, raw))
        return TD_NOMEM;
    free(buf_take(&b, NULL));
    return buf_printf(out, "%.*s", (int)raw.n, (const char *)raw.p);
}

static const struct {
    const char *name;
    enum td_err (*run)(struct buf *out, struct errinfo *ei);
} scenarios[] = {
    {"plist xml", plist_of_xml}, {"plist binary", plist_of_bin}, {"json", json_of_text},
    {"conf", conf_of_text},      {"buf arena b64", memory},      {"posture", posture_of_report},
};

/* The error of a run whose k-th allocation fails (none for 0); *ret_hit tells whether there was a
 * k-th. */
static enum td_err attempt(size_t i, long k, struct buf *out, bool *ret_hit)
{
    struct errinfo ei = {0};
    buf_init(out, 1 << 20);
    seen = 0;
    fail_at = k;
    enum td_err e = scenarios[i].run(out, &ei);
    *ret_hit = seen >= k;
    fail_at = 0;
    return e;
}

/* One fault, and the same again without it: the run with the fault is refused, or (a library may
 * do without that memory) gives what it always gives. */
static bool fault(size_t i, long k, struct span want, bool *ret_hit, long *refused)
{
    buf_auto out, after;
    bool hit;
    enum td_err e = attempt(i, k, &out, ret_hit);
    if (e == TD_OK ? !span_eq(buf_view(&out), want) : e != TD_NOMEM) {
        printf("%s: allocation %ld gives %s\n", scenarios[i].name, k, err_name(e));
        return false;
    }
    *refused += e == TD_NOMEM;
    if (attempt(i, 0, &after, &hit) != TD_OK || !span_eq(buf_view(&after), want)) {
        printf("%s: does not recover from allocation %ld\n", scenarios[i].name, k);
        return false;
    }
    return true;
}

static bool scenario(size_t i)
{
    buf_auto want;
    bool hit = true;
    long refused = 0, k = 1;
    if (attempt(i, 0, &want, &hit) != TD_OK) {
        printf("%s: fails without any fault\n", scenarios[i].name);
        return false;
    }
    for (; hit; k++)
        if (!fault(i, k, buf_view(&want), &hit, &refused))
            return false;
    printf("%s: %ld allocations failed in turn, %ld runs refused\n", scenarios[i].name, k - 2,
           refused);
    return refused > 0;
}

int main(void)
{
    if (xmlMemSetup(free, __wrap_malloc, __wrap_realloc, xml_strdup) != 0)
        return 1;
    xmlInitParser();
    xmlSetGenericErrorFunc(NULL, silent);
    bool ok = true;
    for (size_t i = 0; i < TD_NITEMS(scenarios); i++)
        ok = scenario(i) && ok;
    xmlCleanupParser();
    return ok ? 0 : 1;
}
