/* The XML property list, read once by libxml2's streaming reader: no network, no DTD, no entity
 * substitution, none of the parser's limits lifted. What other parsers may read in another way
 * (other encodings, attributes, processing instructions) is refused. The same pass can build the
 * tree: libplist's XML parser takes 168 s for 8 MB of "&amp;", gives dates as 32-bit seconds and
 * drops one of two equal keys without a word, so it is not used for this form. */
#include <libxml/xmlreader.h>

#include "mdm/base/limits.h"
#include "mdm/base/utf8.h"
#include "mdm/wire/plist.h"
#include "mdm/wire/plist_guard.h"
#include "mdm/wire/xml_build.h"

static const struct {
    const char *name;
    enum xml_element element;
} elements[] = {
    {"dict", XML_E_DICT},   {"array", XML_E_ARRAY}, {"string", XML_E_STRING}, {"data", XML_E_DATA},
    {"integer", XML_E_INT}, {"real", XML_E_REAL},   {"date", XML_E_DATE},     {"key", XML_E_KEY},
    {"true", XML_E_TRUE},   {"false", XML_E_FALSE},
};

/* Where the reader stands. */
struct walk {
    struct errinfo *ei;
    struct xml_build *build; /* NULL: only guard */
    bool nomem;              /* libxml2 said so */
    int level;               /* elements around: 0 outside, 1 in <plist> */
    int depth;               /* containers around */
    size_t nodes;
    bool root, value;                  /* <plist> seen; its one value seen */
    bool leaf;                         /* inside a scalar, a key, <true> or <false> */
    bool text;                         /* text may stand here */
    bool dict[LIMIT_PLIST_DEPTH + 1];  /* by depth: a dict? */
    bool keyed[LIMIT_PLIST_DEPTH + 1]; /* by depth: a key waits for its value */
};

static enum td_err bad(struct errinfo *ei, const char *what)
{
    return err_reason(ei, TD_PARSE, "plist-xml", "XML property list: %s", what);
}

static void skip_space(struct span *s)
{
    while (s->n > 0 && (s->p[0] == ' ' ||
                        (s->p[0] >= '\t' && s->p[0] <= '\r' && s->p[0] != '\v' && s->p[0] != '\f')))
        *s = span_sub(*s, 1, s->n);
}

/* Moves *s behind the first `end`; false when there is none. */
static bool skip_past(struct span *s, const char *end)
{
    size_t n = strlen(end);
    const uint8_t *at = s->n ? memmem(s->p, s->n, end, n) : NULL;
    if (at)
        *s = span_sub(*s, (size_t)(at - s->p) + n, s->n);
    return at != NULL;
}

static bool skip_quoted(struct span *s)
{
    skip_space(s);
    if (s->n == 0 || (s->p[0] != '"' && s->p[0] != '\''))
        return false;
    const char quote[2] = {(char)s->p[0], 0};
    struct span rest = span_sub(*s, 1, s->n);
    const uint8_t *from = rest.p;
    if (!skip_past(&rest, quote))
        return false;
    size_t n = rest.p ? (size_t)(rest.p - from) : (size_t)(s->p + s->n - from);
    if (memchr(from, '<', n) || memchr(from, '>', n))
        return false;
    *s = rest;
    return true;
}

/* The DOCTYPE may name Apple's DTD, which nobody loads; declarations of its own it may not have.
 * Looked at before libxml2 reads it: entities in a subset would be expanded while it parses. */
static enum td_err doctype(struct span *s, struct errinfo *ei)
{
    *s = span_sub(*s, strlen("<!DOCTYPE"), s->n);
    skip_space(s);
    if (!span_starts(*s, SPAN_LIT("plist")))
        return bad(ei, "DOCTYPE of something else");
    *s = span_sub(*s, strlen("plist"), s->n);
    skip_space(s);
    bool named = span_starts(*s, SPAN_LIT("PUBLIC"));
    if (named || span_starts(*s, SPAN_LIT("SYSTEM"))) {
        *s = span_sub(*s, strlen("PUBLIC"), s->n); /* SYSTEM is as long */
        for (int literals = named ? 2 : 1; literals > 0; literals--)
            if (!skip_quoted(s))
                return bad(ei, "DOCTYPE");
    }
    skip_space(s);
    if (s->n == 0 || s->p[0] != '>')
        return bad(ei, "DOCTYPE with declarations");
    *s = span_sub(*s, 1, s->n);
    return TD_OK;
}

/* Everything before the first element: declaration, comments, at most one DOCTYPE. */
static enum td_err prolog(struct span s, struct errinfo *ei)
{
    bool seen = false;
    if (span_starts(s, SPAN_LIT("<?xml")) && !skip_past(&s, "?>"))
        return bad(ei, "unfinished declaration");
    for (;;) {
        skip_space(&s);
        if (span_starts(s, SPAN_LIT("<!--"))) {
            s = span_sub(s, 4, s.n);
            if (!skip_past(&s, "-->"))
                return bad(ei, "unfinished comment");
        } else if (span_starts(s, SPAN_LIT("<!DOCTYPE")) && !seen) {
            seen = true;
            TD_TRY(doctype(&s, ei));
        } else {
            break;
        }
    }
    return span_starts(s, SPAN_LIT("<plist")) ? TD_OK : bad(ei, "no <plist>");
}

/* Of attributes there is only <plist version="1.0">. */
static enum td_err attributes(struct walk *w, xmlTextReaderPtr r, bool root)
{
    int n = xmlTextReaderAttributeCount(r);
    if (n == 0)
        return TD_OK;
    if (!root || n != 1 || xmlTextReaderMoveToFirstAttribute(r) != 1)
        return bad(w->ei, "attribute");
    const char *name = (const char *)xmlTextReaderConstName(r);
    const char *value = (const char *)xmlTextReaderConstValue(r);
    bool ok = name && strcmp(name, "version") == 0 && value &&
              strspn(value, "0123456789.") == strlen(value);
    xmlTextReaderMoveToElement(r);
    return ok ? TD_OK : bad(w->ei, "attribute");
}

/* A value or key may stand here: keys and values alternate in a dict, <plist> has one value. */
static enum td_err place(struct walk *w, bool key)
{
    if (w->leaf)
        return bad(w->ei, "element inside a value");
    if (w->depth == 0) {
        if (key || w->value)
            return bad(w->ei, key ? "key outside a dict" : "more than one value");
        w->value = true;
    } else if (w->dict[w->depth]) {
        if (key == w->keyed[w->depth])
            return bad(w->ei, key ? "key without a value" : "value without a key");
        w->keyed[w->depth] = key;
    } else if (key) {
        return bad(w->ei, "key in an array");
    }
    if (++w->nodes > LIMIT_PLIST_NODES)
        return err_reason(w->ei, TD_LIMIT, "plist-nodes", "property list of more than %d objects",
                          LIMIT_PLIST_NODES);
    return TD_OK;
}

static enum td_err leave(struct walk *w)
{
    w->level--;
    if (w->leaf) {
        w->leaf = false;
        w->text = false;
    } else if (w->depth > 0) {
        if (w->keyed[w->depth])
            return bad(w->ei, "key without a value");
        w->depth--;
    } else {
        return TD_OK; /* </plist> */
    }
    return w->build ? xml_build_close(w->build, w->ei) : TD_OK;
}

static enum td_err enter(struct walk *w, enum xml_element element)
{
    bool container = element == XML_E_DICT || element == XML_E_ARRAY;
    if (container && w->depth == LIMIT_PLIST_DEPTH)
        return err_reason(w->ei, TD_LIMIT, "plist-depth", "property list deeper than %d levels",
                          LIMIT_PLIST_DEPTH);
    w->level++;
    w->leaf = !container;
    w->text = !container && element != XML_E_TRUE && element != XML_E_FALSE;
    if (container) {
        w->depth++;
        w->dict[w->depth] = element == XML_E_DICT;
        w->keyed[w->depth] = false;
    }
    return w->build ? xml_build_open(w->build, element) : TD_OK;
}

static enum td_err start(struct walk *w, xmlTextReaderPtr r)
{
    const char *name = (const char *)xmlTextReaderConstName(r);
    bool empty = xmlTextReaderIsEmptyElement(r) == 1;
    if (w->level == 0) {
        if (!name || strcmp(name, "plist") != 0 || empty)
            return bad(w->ei, "no <plist> with a value");
        w->level++;
        w->root = true;
        return attributes(w, r, true);
    }
    size_t i = 0;
    while (i < TD_NITEMS(elements) && (!name || strcmp(name, elements[i].name) != 0))
        i++;
    if (i == TD_NITEMS(elements))
        return bad(w->ei, "unknown element");
    TD_TRY(place(w, elements[i].element == XML_E_KEY));
    TD_TRY(attributes(w, r, false));
    TD_TRY(enter(w, elements[i].element));
    return empty ? leave(w) : TD_OK;
}

static enum td_err text(struct walk *w, xmlTextReaderPtr r)
{
    const char *s = (const char *)xmlTextReaderConstValue(r);
    if (!w->build || !w->text)
        return TD_OK;
    return s ? xml_build_text(w->build, span_str(s)) : TD_NOMEM;
}

static enum td_err node(struct walk *w, xmlTextReaderPtr r)
{
    switch (xmlTextReaderNodeType(r)) {
    case XML_READER_TYPE_ELEMENT:
        return start(w, r);
    case XML_READER_TYPE_END_ELEMENT:
        return leave(w);
    case XML_READER_TYPE_TEXT:
    case XML_READER_TYPE_CDATA:
        return w->text ? text(w, r) : bad(w->ei, "text outside a value");
    case XML_READER_TYPE_WHITESPACE:
    case XML_READER_TYPE_SIGNIFICANT_WHITESPACE:
        return text(w, r);
    case XML_READER_TYPE_COMMENT:
    case XML_READER_TYPE_DOCUMENT_TYPE:
        return TD_OK;
    default: /* entity references, processing instructions, declarations */
        return bad(w->ei, "entity or processing instruction");
    }
}

static void heard(void *ctx, xmlErrorPtr e)
{
    struct walk *w = ctx;
    w->nomem = w->nomem || (e && e->code == XML_ERR_NO_MEMORY);
}

static enum td_err read_all(struct walk *w, xmlTextReaderPtr r)
{
    int rc;
    while ((rc = xmlTextReaderRead(r)) == 1)
        TD_TRY(node(w, r));
    if (w->nomem) /* the reader may go on, without the text it had no memory for */
        return TD_NOMEM;
    if (rc != 0)
        return bad(w->ei, "not well-formed");
    return w->root && w->value ? TD_OK : bad(w->ei, "no value");
}

enum td_err xml_guard(struct span s, struct xml_build *build, struct errinfo *ei)
{
    if (s.n > INT32_MAX)
        return err_set(ei, TD_LIMIT, "XML property list of more than 2 GiB");
    if (!utf8_valid(s) || (s.n && memchr(s.p, 0, s.n)))
        return bad(ei, "not UTF-8 text");
    TD_TRY(prolog(s, ei));
    struct walk w = {.ei = ei, .build = build};
    /* of this thread alone: what fails outside the parser's context (buffers, nodes) is heard too
     */
    xmlSetStructuredErrorFunc(&w, heard);
    xmlTextReaderPtr r =
        xmlReaderForMemory((const char *)s.p, (int)s.n, NULL, "UTF-8",
                           XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
    enum td_err e = TD_NOMEM;
    if (r) {
        xmlTextReaderSetStructuredErrorHandler(r, heard, &w);
        e = read_all(&w, r);
        xmlFreeTextReader(r);
    }
    xmlSetStructuredErrorFunc(NULL, NULL);
    return e == TD_NOMEM ? err_set(ei, e, "no memory for the property list") : e;
}

void plist_init(void)
{
    xmlInitParser();
}
