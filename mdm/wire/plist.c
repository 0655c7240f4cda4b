/* Parsing. The XML form is built by the guard's own pass; the binary form goes through libplist
 * behind the guard, and its tree is turned into ours and freed at once, so that nothing else
 * depends on it. The one file that sees <plist/plist.h>. */
#define plist_type vendor_plist_type /* their type bears the name of our function */
#include <plist/plist.h>
#undef plist_type

#include "mdm/base/limits.h"
#include "mdm/base/utf8.h"
#include "mdm/wire/plist_guard.h"
#include "mdm/wire/plist_node.h"
#include "mdm/wire/xml_build.h"

#define APPLE_EPOCH INT64_C(978307200) /* 2001-01-01T00:00:00Z */

static void free_plist(plist_t *p)
{
    plist_free(*p);
}
#define vendor_plist_auto __attribute__((cleanup(free_plist))) plist_t

static void free_text(char **p)
{
    free(*p);
}
#define text_auto __attribute__((cleanup(free_text))) char *

static void free_iter(void **p)
{
    free(*p);
}
#define iter_auto __attribute__((cleanup(free_iter))) void *

/* libplist gives dates as int32_t: what lies outside (4001-01-01 is Apple's "never") is taken from
 * the text that libplist writes. 0 when there is no telling. */
static int64_t date(plist_t node)
{
    int32_t sec = 0, usec = 0;
    int64_t t = 0;
    plist_get_date_val(node, &sec, &usec);
    if (sec != INT32_MIN && sec != INT32_MAX)
        return sec + APPLE_EPOCH;
    text_auto xml = NULL;
    uint32_t n = 0;
    plist_t copy = plist_copy(node);
    plist_to_xml(copy, &xml, &n);
    plist_free(copy);
    const char *at = xml ? strstr(xml, "<date>") : NULL;
    const char *end = at ? strstr(at, "</date>") : NULL;
    if (end)
        (void)!plist_node_date(span_of(at + 6, (size_t)(end - at) - 6), &t);
    return t;
}

/* One conversion; `nodes` counts as the guard does. */
struct load {
    struct arena *a;
    struct errinfo *ei;
    size_t nodes;
};

static enum td_err convert(plist_t node, struct load *l, struct plist **ret);

/* Whether a key says in XML what it says here: there two keys that differ in characters which XML
 * has not (XML 1.0 section 2.2) would be one. */
static bool key_plain(struct span key)
{
    static const char none[] = "\xef\xbf"; /* of U+FFFE and U+FFFF, and of many others */
    for (size_t i = 0; i < key.n; i++)
        if (key.p[i] < ' ' ||
            (key.n - i > 2 && memcmp(key.p + i, none, 2) == 0 && key.p[i + 2] >= 0xbe))
            return false;
    return utf8_valid(key);
}

static enum td_err convert_dict(plist_t node, struct plist *p, struct load *l)
{
    iter_auto it = NULL;
    plist_dict_new_iter(node, &it);
    for (;;) {
        text_auto key = NULL;
        plist_t value = NULL;
        struct plist *child = NULL;
        plist_dict_next_item(node, it, &key, &value);
        if (!value)
            return plist_node_unique(p, l->ei);
        l->nodes++;
        struct plist text = {.arena = l->a};
        if (!key_plain(span_str(key ? key : "")))
            return err_reason(l->ei, TD_PARSE, "plist-key", "key with characters of no text");
        TD_TRY(plist_node_text(&text, span_str(key ? key : "")));
        TD_TRY(convert(value, l, &child));
        TD_TRY(plist_node_add(p, (const char *)text.bytes, child));
    }
}

static enum td_err convert_array(plist_t node, struct plist *p, struct load *l)
{
    iter_auto it = NULL;
    plist_array_new_iter(node, &it);
    for (;;) {
        plist_t value = NULL;
        struct plist *child = NULL;
        plist_array_next_item(node, it, &value);
        if (!value)
            return TD_OK;
        TD_TRY(convert(value, l, &child));
        TD_TRY(plist_node_add(p, NULL, child));
    }
}

static enum td_err fill(plist_t node, struct plist *p, struct load *l)
{
    uint64_t u = 0;
    uint8_t b = 0;
    const char *bytes;
    switch (p->type) {
    case PLIST_T_DICT:
        return convert_dict(node, p, l);
    case PLIST_T_ARRAY:
        return convert_array(node, p, l);
    case PLIST_T_STRING:
        bytes = plist_get_string_ptr(node, &u);
        return plist_node_text(p, span_of(bytes, bytes ? (size_t)u : 0));
    case PLIST_T_DATA:
        bytes = plist_get_data_ptr(node, &u);
        return plist_node_data(p, span_of(bytes, bytes ? (size_t)u : 0));
    case PLIST_T_INT:
        plist_get_uint_val(node, &u);
        p->i = (int64_t)u;
        return TD_OK;
    case PLIST_T_REAL:
        plist_get_real_val(node, &p->real);
        return TD_OK;
    case PLIST_T_BOOL:
        plist_get_bool_val(node, &b);
        p->i = b != 0;
        return TD_OK;
    case PLIST_T_DATE:
        p->i = date(node);
        return TD_OK;
    case PLIST_T_OTHER:
        plist_get_uid_val(node, &u);
        p->i = (int64_t)u;
        return TD_OK;
    }
    return TD_INTERNAL;
}

/* Recursion is bounded by the guard: at most LIMIT_PLIST_DEPTH containers. */
static enum td_err convert(plist_t node, struct load *l, struct plist **ret)
{
    static const struct {
        vendor_plist_type theirs;
        enum plist_type ours;
    } types[] = {
        {PLIST_DICT, PLIST_T_DICT},    {PLIST_ARRAY, PLIST_T_ARRAY}, {PLIST_STRING, PLIST_T_STRING},
        {PLIST_DATA, PLIST_T_DATA},    {PLIST_UINT, PLIST_T_INT},    {PLIST_REAL, PLIST_T_REAL},
        {PLIST_BOOLEAN, PLIST_T_BOOL}, {PLIST_DATE, PLIST_T_DATE},   {PLIST_UID, PLIST_T_OTHER},
    };
    vendor_plist_type theirs = plist_get_node_type(node);
    for (size_t i = 0; i < TD_NITEMS(types); i++) {
        if (types[i].theirs != theirs)
            continue;
        struct plist *p = plist_node_new(l->a, types[i].ours);
        if (!p)
            return TD_NOMEM;
        TD_TRY(fill(node, p, l));
        l->nodes++;
        *ret = p;
        return TD_OK;
    }
    return err_set(l->ei, TD_PARSE, "property list with an unknown kind of value");
}

static enum td_err parse_bin(struct span s, struct arena *a, struct plist **ret, struct errinfo *ei)
{
    size_t nodes = 0;
    TD_TRY(plist_guard_bin(s, &nodes, ei));
    vendor_plist_auto root = NULL;
    plist_from_bin((const char *)s.p, (uint32_t)s.n, &root);
    if (!root)
        return err_reason(ei, TD_PARSE, "plist-value", "binary property list that is not readable");
    struct load l = {.a = a, .ei = ei};
    TD_TRY(convert(root, &l, ret));
    if (l.nodes != nodes)
        return err_reason(ei, TD_PARSE, "plist-duplicate", "property list with a key twice");
    return TD_OK;
}

static enum td_err parse_xml(struct span s, struct arena *a, struct plist **ret, struct errinfo *ei)
{
    struct xml_build b;
    s = plist_guard_text(s);
    xml_build_init(&b, a, s.n);
    enum td_err e = xml_guard(s, &b, ei);
    xml_build_free(&b);
    *ret = b.root;
    return e;
}

enum td_err plist_parse(struct span s, struct arena *a, struct plist **ret, struct errinfo *ei)
{
    struct errinfo why = {0};
    struct plist *p = NULL;
    enum td_err e = s.n == 0 ? err_set(&why, TD_PARSE, "empty, where a property list was expected")
                             : (plist_guard_is_bin(s) ? parse_bin : parse_xml)(s, a, &p, &why);
    if (e == TD_OK)
        *ret = p;
    else
        err_reason(ei, e, why.reason, "%s", e == TD_NOMEM ? err_text(e) : err_msg(&why, e));
    return e;
}
