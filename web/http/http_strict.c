#include "web/http/http_strict.h"

#include "mdm/base/limits.h"
#include "mdm/base/num.h"
#include "mdm/base/str.h"

static enum td_err bad(struct errinfo *ei, const char *reason, const char *what)
{
    return err_reason(ei, TD_PARSE, reason, "%s", what);
}

static bool is_alnum(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool one_of(uint8_t c, const char *set)
{
    return c != 0 && strchr(set, c) != NULL;
}

/* RFC 9110 section 5.6.2 */
static bool is_token(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_alnum(s.p[i]) && !one_of(s.p[i], "!#$%&'*+-.^_`|~"))
            return false;
    return s.n > 0;
}

/* RFC 9110 section 5.5: no control character but the tab; CR, LF and NUL are dangerous. */
static bool is_field_value(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((s.p[i] < 0x20 && s.p[i] != '\t') || s.p[i] == 0x7f)
            return false;
    return true;
}

/* Host: a name or address with a port; nothing that ends an authority (RFC 3986 section 3.2). */
static bool is_host(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_alnum(s.p[i]) && !one_of(s.p[i], "-._~!$&'()*+;=:[]%"))
            return false;
    return true;
}

static const struct {
    const char *name;
    enum req_method method;
} methods[] = {
    {"GET", REQ_GET}, {"HEAD", REQ_HEAD},     {"POST", REQ_POST},
    {"PUT", REQ_PUT}, {"DELETE", REQ_DELETE}, {"PATCH", REQ_PATCH},
};

const char *http_method_name(enum req_method m)
{
    for (size_t i = 0; i < TD_NITEMS(methods); i++)
        if (methods[i].method == m)
            return methods[i].name;
    return "-";
}

static enum td_err request_line(const struct http_head *h, struct http_framing *f,
                                struct errinfo *ei)
{
    if (!is_token(h->method))
        return bad(ei, "http-method", "the method is no token");
    f->method = REQ_OTHER;
    for (size_t i = 0; i < TD_NITEMS(methods); i++)
        if (span_eq_str(h->method, methods[i].name))
            f->method = methods[i].method;
    f->http10 = span_eq_str(h->version, "HTTP/1.0");
    if (!f->http10 && !span_eq_str(h->version, "HTTP/1.1")) {
        err_reason(ei, TD_UNSUPPORTED, "http-version", "HTTP/1.1 and HTTP/1.0 are served");
        if (ei)
            ei->http = 505;
        return TD_UNSUPPORTED;
    }
    return TD_OK;
}

/* %00 anywhere in the URL: a decoder further on would end a string there. */
static bool has_encoded_nul(struct span s)
{
    for (size_t i = 0; i + 2 < s.n; i++)
        if (s.p[i] == '%' && s.p[i + 1] == '0' && s.p[i + 2] == '0')
            return true;
    return false;
}

static enum td_err url(const struct http_head *h, struct http_framing *f, struct errinfo *ei)
{
    if (h->url.n > LIMIT_HTTP_URL) {
        err_reason(ei, TD_LIMIT, "http-url-long", "the URL is longer than %d bytes",
                   LIMIT_HTTP_URL);
        if (ei)
            ei->http = 414;
        return TD_LIMIT;
    }
    if (h->url.n == 0 || h->url.p[0] != '/')
        return bad(ei, "http-url-form", "the request target is not an absolute path");
    for (size_t i = 0; i < h->url.n; i++)
        if (h->url.p[i] <= ' ' || h->url.p[i] >= 0x7f || h->url.p[i] == '#')
            return bad(ei, "http-url-character", "a character that a URL cannot have");
    if (has_encoded_nul(h->url))
        return bad(ei, "http-url-nul", "an encoded NUL in the URL");
    struct span rest = h->url;
    f->path = str_cut(&rest, '?');
    f->query = rest;
    return TD_OK;
}

/* Headers that must not stand twice, and where to count them. */
enum single { LENGTH, ENCODING, HOST, AUTHORIZATION, CONTENT_TYPE, SINGLE_MAX };
static const struct {
    const char *name, *reason;
} singles[] = {
    [LENGTH] = {"content-length", "http-length-twice"},
    [ENCODING] = {"transfer-encoding", "http-encoding-twice"},
    [HOST] = {"host", "http-host-twice"},
    [AUTHORIZATION] = {"authorization", "http-authorization-twice"},
    [CONTENT_TYPE] = {"content-type", "http-type-twice"},
};
_Static_assert(TD_NITEMS(singles) == SINGLE_MAX, "one row for each");

static enum td_err fields(const struct http_head *h, const struct req_header *found[SINGLE_MAX],
                          struct errinfo *ei)
{
    if (h->nheaders > LIMIT_HTTP_HEADERS) {
        err_reason(ei, TD_LIMIT, "http-headers", "more than %d header fields", LIMIT_HTTP_HEADERS);
        if (ei)
            ei->http = 431;
        return TD_LIMIT;
    }
    for (size_t i = 0; i < h->nheaders; i++) {
        const struct req_header *f = &h->headers[i];
        if (!is_token(f->name))
            return bad(ei, "http-header-name", "a header name with a space or no token at all");
        if (!is_field_value(f->value))
            return bad(ei, "http-header-value", "a control character in a header");
        for (unsigned k = 0; k < SINGLE_MAX; k++) {
            if (!str_ieq(f->name, span_str(singles[k].name)))
                continue;
            if (found[k])
                return bad(ei, singles[k].reason,
                           "a header field that may stand once stands twice");
            found[k] = f;
        }
    }
    return TD_OK;
}

/* RFC 9112 section 6.3: how long the body is must have one answer. */
static enum td_err framing(const struct req_header *const found[SINGLE_MAX], struct http_framing *f,
                           struct errinfo *ei)
{
    if (found[LENGTH] && found[ENCODING])
        return bad(ei, "http-length-and-encoding", "Content-Length and Transfer-Encoding together");
    if (found[ENCODING]) {
        if (f->http10)
            return bad(ei, "http-encoding", "Transfer-Encoding in HTTP/1.0");
        if (!str_ieq(found[ENCODING]->value, SPAN_LIT("chunked")))
            return bad(ei, "http-encoding", "a transfer coding other than chunked");
        f->chunked = true;
    }
    if (found[LENGTH]) {
        struct span v = found[LENGTH]->value;
        /* leading zeros are allowed by the grammar, but nothing sends them */
        if (num_u64(v, INT64_MAX, &f->length) != TD_OK)
            return bad(ei, "http-length", "Content-Length is no number");
    }
    return TD_OK;
}

enum td_err http_strict_head(const struct http_head *h, struct http_framing *ret,
                             struct errinfo *ei)
{
    struct http_framing f = {0};
    const struct req_header *found[SINGLE_MAX] = {0};
    TD_TRY(request_line(h, &f, ei));
    TD_TRY(url(h, &f, ei));
    TD_TRY(fields(h, found, ei));
    TD_TRY(framing(found, &f, ei));
    if (!found[HOST] && !f.http10)
        return bad(ei, "http-host", "HTTP/1.1 without Host");
    if (found[HOST] && !is_host(found[HOST]->value))
        return bad(ei, "http-host", "Host is no host");
    *ret = f;
    return TD_OK;
}

/* RFC 3986 section 3.3 */
static bool is_pchar(uint8_t c)
{
    return is_alnum(c) || one_of(c, "-._~!$&'()*+,;=:@");
}

/* The byte an escape stands for, or -1. */
static int escaped(struct span s, size_t i)
{
    if (s.n - i < 3)
        return -1;
    int hi = str_hexdigit(s.p[i + 1]), lo = str_hexdigit(s.p[i + 2]);
    return hi < 0 || lo < 0 ? -1 : hi << 4 | lo;
}

static enum td_err path_bytes(struct span path, size_t raw_from, struct errinfo *ei)
{
    for (size_t i = 0; i < path.n; i++) {
        if (path.p[i] == '/' || is_pchar(path.p[i]))
            continue;
        if (path.p[i] != '%')
            return bad(ei, "http-path-character", "a character that a path cannot have");
        int c = escaped(path, i);
        if (c < 0)
            return bad(ei, "http-path-escape", "a broken escape in the path");
        if (c < 0x20 || c == 0x7f)
            return bad(ei, "http-path-control", "an encoded control character in the path");
        if (c == '\\' || (c == '/' && i < raw_from))
            return bad(ei, "http-path-separator", "an encoded separator in the path");
        i += 2;
    }
    return TD_OK;
}

/* "." and "..", each dot in clear or as %2e. */
static bool is_dots(struct span seg)
{
    size_t dots = 0;
    for (size_t i = 0; i < seg.n; dots++) {
        if (seg.p[i] == '.')
            i += 1;
        else if (seg.p[i] == '%' && escaped(seg, i) == '.')
            i += 3;
        else
            return false;
    }
    return dots == 1 || dots == 2;
}

/* In a raw tail an encoded slash separates too: whoever decodes it must not find dots there. */
static size_t segment_end(struct span path, size_t from)
{
    size_t i = from;
    while (i < path.n && path.p[i] != '/' && !(path.p[i] == '%' && escaped(path, i) == '/'))
        i++;
    return i;
}

enum td_err http_strict_path(struct span path, size_t raw_from, struct errinfo *ei)
{
    if (path.n == 0 || path.p[0] != '/')
        return bad(ei, "http-url-form", "the request target is not an absolute path");
    TD_TRY(path_bytes(path, raw_from, ei));
    for (size_t from = 1; from <= path.n;) {
        size_t end = segment_end(path, from);
        if (end == from && end < path.n && from < raw_from)
            return bad(ei, "http-path-empty", "an empty segment in the path");
        if (is_dots(span_sub(path, from, end - from)))
            return bad(ei, "http-path-dots", "a dot segment in the path");
        from = end < path.n && path.p[end] == '%' ? end + 3 : end + 1;
    }
    return TD_OK;
}
