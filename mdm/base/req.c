#include "mdm/base/req.h"

#include "mdm/base/str.h"

struct span req_header(const struct req *r, const char *name, bool *found)
{
    struct span want = span_str(name);
    for (size_t i = 0; i < r->nheaders; i++)
        if (str_ieq(r->headers[i].name, want)) {
            if (found)
                *found = true;
            return r->headers[i].value;
        }
    if (found)
        *found = false;
    return (struct span){NULL, 0};
}

/* The byte at s.p[i] and how many bytes it took. A broken escape and %00 stand for themselves, so
 * that a decoded value never holds a NUL. */
static uint8_t unescape(struct span s, size_t i, size_t *ret_n)
{
    *ret_n = 1;
    if (s.p[i] == '+')
        return ' ';
    if (s.p[i] != '%' || s.n - i < 3)
        return s.p[i];
    int hi = str_hexdigit(s.p[i + 1]), lo = str_hexdigit(s.p[i + 2]);
    if (hi < 0 || lo < 0 || (hi | lo) == 0)
        return s.p[i];
    *ret_n = 3;
    return (uint8_t)(hi << 4 | lo);
}

static bool name_is(struct span raw, const char *name)
{
    size_t i = 0, n;
    for (; i < raw.n && *name; i += n, name++)
        if (unescape(raw, i, &n) != (uint8_t)*name)
            return false;
    return i == raw.n && *name == 0;
}

struct span req_query(const struct req *r, const char *name, bool *found)
{
    struct span none = {NULL, 0}, rest = r->query;
    if (found)
        *found = false;
    while (rest.n > 0) {
        struct span value = str_cut(&rest, '&');
        struct span key = str_cut(&value, '=');
        if (key.n == 0 || !name_is(key, name))
            continue;
        char *out = arena_alloc(r->arena, value.n + 1);
        if (!out)
            return none;
        size_t len = 0, n;
        for (size_t i = 0; i < value.n; i += n)
            out[len++] = (char)unescape(value, i, &n);
        if (found)
            *found = true;
        return span_of(out, len);
    }
    return none;
}

void resp_init(struct resp *r, struct arena *a, size_t max)
{
    *r = (struct resp){.status = 200, .arena = a};
    buf_init(&r->body, max);
}

void resp_free(struct resp *r)
{
    if (r)
        buf_free(&r->body);
}

enum td_err resp_header(struct resp *r, const char *name, const char *value)
{
    for (const char *p = value; *p; p++)
        if (((uint8_t)*p < 0x20 && *p != '\t') || *p == 0x7f)
            return TD_INVAL;
    if (r->nheaders == RESP_HEADERS_MAX)
        return TD_LIMIT;
    const char *copy = arena_strdup(r->arena, value);
    if (!copy)
        return TD_NOMEM;
    r->headers[r->nheaders].name = name;
    r->headers[r->nheaders].value = copy;
    r->nheaders++;
    return TD_OK;
}

enum td_err resp_body(struct resp *r, int status, const char *content_type, struct span body)
{
    r->status = status;
    r->content_type = content_type;
    buf_reset(&r->body);
    return buf_span(&r->body, body);
}
