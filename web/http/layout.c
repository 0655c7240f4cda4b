#include "web/http/layout.h"

static uintptr_t at(struct span s)
{
    return (uintptr_t)s.p;
}

static uintptr_t end(struct span s)
{
    return (uintptr_t)s.p + s.n;
}

/* The library overwrote CR and LF with zeros; a line that ended otherwise shows another gap. */
static bool follows_crlf(struct span line_tail, uintptr_t next)
{
    return next == end(line_tail) + 2 && line_tail.p[line_tail.n] == 0 &&
           line_tail.p[line_tail.n + 1] == 0;
}

/* name, a zero where the colon was, blanks, value. */
static bool name_value_adjoin(const struct req_header *h)
{
    if (!h->name.p || !h->value.p)
        return false;
    uintptr_t name_end = end(h->name), value = at(h->value);
    if (value <= name_end || value - name_end > 4096)
        return false;
    for (size_t i = 1; i < value - name_end; i++)
        if (h->name.p[h->name.n + i] != ' ' && h->name.p[h->name.n + i] != '\t')
            return false;
    return true;
}

const char *http_layout_check(const struct http_layout *l)
{
    if (!l->method.p || !l->url.p || !l->version.p || at(l->url) != end(l->method) + 1 ||
        at(l->version) != end(l->url) + 1)
        return "http-line";
    struct span last = l->version;
    for (size_t i = 0; i < l->nheaders; i++) {
        const struct req_header *h = &l->headers[i];
        if (!name_value_adjoin(h) || !follows_crlf(last, at(h->name)))
            return i == 0 ? "http-line" : "http-layout";
        last = h->value;
    }
    /* the last line's end and the empty line */
    if (at(l->method) + l->head_size != end(last) + 4)
        return "http-layout";
    return NULL;
}
