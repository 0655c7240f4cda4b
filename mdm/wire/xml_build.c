#include "mdm/wire/xml_build.h"

#include "mdm/base/b64.h"
#include "mdm/base/str.h"

void xml_build_init(struct xml_build *b, struct arena *a, size_t max)
{
    *b = (struct xml_build){.arena = a};
    buf_init(&b->text, max);
}

void xml_build_free(struct xml_build *b)
{
    buf_free(&b->text);
}

static enum td_err attach(struct xml_build *b, struct plist *p)
{
    if (b->depth == 0) {
        b->root = p;
        return TD_OK;
    }
    struct plist *parent = b->open[b->depth - 1];
    return plist_node_add(parent, parent->type == PLIST_T_DICT ? b->keys[b->depth - 1] : NULL, p);
}

enum td_err xml_build_open(struct xml_build *b, enum xml_element element)
{
    b->leaf = element;
    if (element != XML_E_DICT && element != XML_E_ARRAY) {
        buf_reset(&b->text);
        return TD_OK;
    }
    struct plist *p =
        plist_node_new(b->arena, element == XML_E_DICT ? PLIST_T_DICT : PLIST_T_ARRAY);
    if (!p)
        return TD_NOMEM;
    TD_TRY(attach(b, p));
    b->open[b->depth++] = p;
    return TD_OK;
}

enum td_err xml_build_text(struct xml_build *b, struct span s)
{
    return buf_span(&b->text, s);
}

static enum td_err read_real(struct plist *p, struct span s)
{
    char text[64], *end;
    s = str_trim(s);
    if (s.n == 0 || s.n >= sizeof text)
        return TD_PARSE;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    p->real = strtod(text, &end);
    return *end == 0 ? TD_OK : TD_PARSE;
}

/* Cuts `prefix` off the front. */
static bool cut(struct span *s, const char *prefix)
{
    bool has = span_starts(*s, span_str(prefix));
    if (has)
        *s = span_sub(*s, strlen(prefix), s->n);
    return has;
}

/* Decimal or 0x hexadecimal with a sign, leading zeros allowed. What is over 64 bits with a sign
 * becomes a real, so that nobody takes it for a small number. */
static enum td_err read_int(struct plist *p, struct span s)
{
    const struct span whole = s = str_trim(s);
    bool negative = cut(&s, "-"), over = false;
    if (!negative)
        (void)cut(&s, "+");
    unsigned base = cut(&s, "0x") || cut(&s, "0X") ? 16 : 10;
    uint64_t v = 0, limit = negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX;
    for (size_t i = 0; i < s.n; i++) {
        int digit = str_hexdigit(s.p[i]);
        if (digit < 0 || (unsigned)digit >= base)
            return TD_PARSE;
        over = over || v > (limit - (unsigned)digit) / base;
        v = over ? 0 : v * base + (unsigned)digit;
    }
    if (s.n == 0)
        return TD_PARSE;
    p->i = (int64_t)(negative ? 0 - v : v);
    if (!over)
        return TD_OK;
    p->type = PLIST_T_REAL;
    return read_real(p, whole);
}

static enum td_err read_data(struct plist *p, struct span s)
{
    struct span data;
    TD_TRY(b64_dec(p->arena, s, &data));
    p->bytes = data.p;
    p->n = (uint32_t)data.n;
    return TD_OK;
}

static enum td_err read_leaf(struct plist *p, enum xml_element element, struct span s)
{
    switch (element) {
    case XML_E_STRING:
        return plist_node_text(p, s);
    case XML_E_DATA:
        return read_data(p, s);
    case XML_E_INT:
        return read_int(p, s);
    case XML_E_REAL:
        return read_real(p, s);
    case XML_E_DATE:
        return plist_node_date(str_trim(s), &p->i);
    case XML_E_TRUE:
    case XML_E_FALSE:
        p->i = element == XML_E_TRUE;
        return TD_OK;
    case XML_E_DICT:
    case XML_E_ARRAY:
    case XML_E_KEY:
        break;
    }
    return TD_INTERNAL;
}

static enum td_err close_leaf(struct xml_build *b, struct errinfo *ei)
{
    static const struct {
        enum plist_type type;
        const char *name;
    } kinds[] = {
        [XML_E_STRING] = {PLIST_T_STRING, "string"}, [XML_E_DATA] = {PLIST_T_DATA, "data"},
        [XML_E_INT] = {PLIST_T_INT, "integer"},      [XML_E_REAL] = {PLIST_T_REAL, "real"},
        [XML_E_DATE] = {PLIST_T_DATE, "date"},       [XML_E_TRUE] = {PLIST_T_BOOL, "true"},
        [XML_E_FALSE] = {PLIST_T_BOOL, "false"},
    };
    struct plist *p = plist_node_new(b->arena, kinds[b->leaf].type);
    if (!p)
        return TD_NOMEM;
    enum td_err e = read_leaf(p, b->leaf, buf_view(&b->text));
    if (e == TD_PARSE)
        return err_reason(ei, e, "plist-value", "XML property list: no %s: %.40s",
                          kinds[b->leaf].name, buf_cstr(&b->text));
    return e == TD_OK ? attach(b, p) : e;
}

enum td_err xml_build_close(struct xml_build *b, struct errinfo *ei)
{
    enum xml_element leaf = b->leaf;
    enum td_err e;
    if (leaf == XML_E_KEY) {
        const char *key = arena_dup(b->arena, buf_view(&b->text));
        b->keys[b->depth - 1] = key;
        e = key ? TD_OK : TD_NOMEM;
    } else if (leaf != XML_E_DICT && leaf != XML_E_ARRAY) {
        e = close_leaf(b, ei);
    } else {
        e = plist_node_unique(b->open[--b->depth], ei);
    }
    b->leaf = XML_E_DICT;
    return e;
}
