/* Property lists as XML and as JSON. Recursion is bounded: trees come from the parser
 * (LIMIT_PLIST_DEPTH) or from our own code. */
#include <math.h>

#include "mdm/base/b64.h"
#include "mdm/base/utf8.h"
#include "mdm/wire/json.h"
#include "mdm/wire/plist_node.h"

#define DATE_SIZE 80 /* six numbers of any size, for the compiler; 20 are used */

/* RFC 3339 in UTC for the years 1 to 9999, to which other times are clamped: Apple's "distant
 * past" is 0001-01-01, long before clock_text begins. */
static void date_text(int64_t t, char out[static DATE_SIZE])
{
    const int64_t first = INT64_C(-62135596800), last = INT64_C(253402300799);
    t = t < first ? first : t > last ? last : t;
    time_t clamped = t;
    struct tm tm;
    gmtime_r(&clamped, &tm);
    snprintf(out, DATE_SIZE, "%04d-%02d-%02dT%02d:%02d:%02dZ", (tm.tm_year + 1900) % 10000,
             tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

/* The shortest of the two forms that reads back as the same number. */
static enum td_err put_real(struct buf *b, double v)
{
    char text[32];
    snprintf(text, sizeof text, "%.15g", v);
    if (strtod(text, NULL) != v)
        snprintf(text, sizeof text, "%.17g", v);
    return buf_str(b, text);
}

/* What stands for a character in XML text, NULL for itself. Characters that XML 1.0 cannot carry
 * become U+FFFD: one of them makes a device refuse the whole document. */
static const char *xml_escape(size_t len, uint32_t cp)
{
    if (cp == '&')
        return "&amp;";
    if (cp == '<')
        return "&lt;";
    if (cp == '>')
        return "&gt;";
    if (cp == '\r')
        return "&#13;";
    if (len == 0 || (cp < 0x20 && cp != '\n' && cp != '\t') || cp == 0xfffe || cp == 0xffff)
        return "\xef\xbf\xbd";
    return NULL;
}

static void xml_text(struct buf *b, struct span s)
{
    size_t from = 0; /* what is plain is appended in runs */
    for (size_t i = 0; i < s.n;) {
        uint32_t cp = 0;
        size_t n = utf8_next(s, i, &cp);
        const char *escape = xml_escape(n, cp);
        if (escape) {
            buf_add(b, s.p + from, i - from);
            buf_str(b, escape);
            from = i + (n ? n : 1);
        }
        i += n ? n : 1;
    }
    if (s.n > from)
        buf_add(b, s.p + from, s.n - from);
}

static void xml_tag(struct buf *b, const char *tag, struct span text)
{
    buf_printf(b, "<%s>", tag);
    xml_text(b, text);
    buf_printf(b, "</%s>\n", tag);
}

static void indent(struct buf *b, int depth)
{
    static const uint8_t tabs[] = "\t\t\t\t\t\t\t\t";
    for (; depth > 0; depth -= 8)
        buf_add(b, tabs, depth < 8 ? (size_t)depth : 8);
}

static void xml_real(struct buf *b, double v)
{
    buf_str(b, "<real>");
    if (isfinite(v))
        put_real(b, v);
    else
        buf_str(b, isnan(v) ? "nan" : v > 0 ? "+infinity" : "-infinity");
    buf_str(b, "</real>\n");
}

static void xml_node(struct buf *b, const struct plist *p, int depth);

static void xml_container(struct buf *b, const struct plist *p, int depth)
{
    const char *tag = p->type == PLIST_T_DICT ? "dict" : "array";
    if (p->n == 0) {
        buf_printf(b, "<%s/>\n", tag);
        return;
    }
    buf_printf(b, "<%s>\n", tag);
    for (uint32_t i = 0; i < p->n && b->err == TD_OK; i++) {
        if (p->items[i].key) {
            indent(b, depth + 1);
            xml_tag(b, "key", span_str(p->items[i].key));
        }
        xml_node(b, p->items[i].value, depth + 1);
    }
    indent(b, depth);
    buf_printf(b, "</%s>\n", tag);
}

/* A UID of a keyed archive, as Apple's tools write it in XML. */
static void xml_uid(struct buf *b, int64_t uid, int depth)
{
    buf_str(b, "<dict>\n");
    indent(b, depth + 1);
    buf_str(b, "<key>CF$UID</key>\n");
    indent(b, depth + 1);
    buf_printf(b, "<integer>%lld</integer>\n", (long long)uid);
    indent(b, depth);
    buf_str(b, "</dict>\n");
}

static void xml_node(struct buf *b, const struct plist *p, int depth)
{
    char text[DATE_SIZE];
    indent(b, depth);
    switch (p->type) {
    case PLIST_T_DICT:
    case PLIST_T_ARRAY:
        xml_container(b, p, depth);
        break;
    case PLIST_T_STRING:
        xml_tag(b, "string", span_of(p->bytes, p->n));
        break;
    case PLIST_T_DATA:
        buf_str(b, "<data>");
        b64_enc(b, span_of(p->bytes, p->n));
        buf_str(b, "</data>\n");
        break;
    case PLIST_T_INT:
        buf_printf(b, "<integer>%lld</integer>\n", (long long)p->i);
        break;
    case PLIST_T_REAL:
        xml_real(b, p->real);
        break;
    case PLIST_T_BOOL:
        buf_str(b, p->i ? "<true/>\n" : "<false/>\n");
        break;
    case PLIST_T_DATE:
        date_text(p->i, text);
        xml_tag(b, "date", span_str(text));
        break;
    case PLIST_T_OTHER:
        xml_uid(b, p->i, depth);
        break;
    }
}

enum td_err plist_xml(const struct plist *root, struct buf *b)
{
    buf_str(b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
               "<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" "
               "\"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n"
               "<plist version=\"1.0\">\n");
    xml_node(b, root, 0);
    return buf_str(b, "</plist>\n");
}

static void json_node(struct json_w *w, const char *key, const struct plist *p);

static void json_container(struct json_w *w, const char *key, const struct plist *p)
{
    bool dict = p->type == PLIST_T_DICT;
    if (dict)
        json_open_key(w, key);
    else
        json_array_key(w, key);
    for (uint32_t i = 0; i < p->n && w->b->err == TD_OK; i++)
        json_node(w, p->items[i].key, p->items[i].value);
    if (dict)
        json_close(w);
    else
        json_array_end(w);
}

static void json_data(struct json_w *w, const char *key, struct span s)
{
    json_kv_raw(w, key, SPAN_LIT("\""));
    b64_enc(w->b, s);
    buf_u8(w->b, '"');
}

static void json_node(struct json_w *w, const char *key, const struct plist *p)
{
    char text[DATE_SIZE];
    switch (p->type) {
    case PLIST_T_DICT:
    case PLIST_T_ARRAY:
        json_container(w, key, p);
        break;
    case PLIST_T_STRING:
        json_kv_span(w, key, span_of(p->bytes, p->n));
        break;
    case PLIST_T_DATA:
        json_data(w, key, span_of(p->bytes, p->n));
        break;
    case PLIST_T_REAL:
        json_kv_raw(w, key, isfinite(p->real) ? (struct span){NULL, 0} : SPAN_LIT("null"));
        if (isfinite(p->real))
            put_real(w->b, p->real);
        break;
    case PLIST_T_BOOL:
        json_kv_bool(w, key, p->i != 0);
        break;
    case PLIST_T_DATE:
        date_text(p->i, text);
        json_kv_str(w, key, text);
        break;
    case PLIST_T_INT:
    case PLIST_T_OTHER:
        json_kv_int(w, key, p->i);
        break;
    }
}

enum td_err plist_json(const struct plist *p, struct buf *b)
{
    struct json_w w;
    json_w_init(&w, b);
    json_node(&w, NULL, p);
    return b->err;
}
