/* The guard in front of the HTTP library: a request that two parsers could read in two ways is
 * refused before anything is done with it. Pure functions on plain data; any thread.
 *
 * libmicrohttpd 0.9.75 accepts Content-Length together with Transfer-Encoding, two different
 * Content-Lengths, `Content-Length :`, obs-fold, bare LF, NUL, two Hosts and %00 in a path. */
#ifndef TD_WEB_HTTP_HTTP_STRICT_H
#define TD_WEB_HTTP_HTTP_STRICT_H

#include "mdm/base/err.h"
#include "mdm/base/req.h"

/* The head of a request as the transport delivered it. Borrows everything. */
struct http_head {
    struct span method;
    struct span version; /* "HTTP/1.1" */
    struct span url;     /* raw: path and query, nothing decoded */
    const struct req_header *headers;
    size_t nheaders;
};

/* What the guard found out; spans borrowed from the head. */
struct http_framing {
    enum req_method method; /* REQ_OTHER for one we do not know */
    bool http10;
    bool chunked;
    uint64_t length; /* Content-Length, 0 when absent */
    struct span path, query;
};

/* Judges method, version, headers and URL (RFC 9112, RFC 9110 section 5) except the shape of the
 * path, which depends on the route. Every refusal has a reason of its own ("http-length-twice");
 * TD_PARSE, or TD_LIMIT with http 414 / 431 for too long a URL / too many headers, or
 * TD_UNSUPPORTED with http 505 for a version. *ret is filled on TD_OK only. */
TD_NODISCARD enum td_err http_strict_head(const struct http_head *h, struct http_framing *ret,
                                          struct errinfo *ei);

/* "GET" and so on, "-" for REQ_OTHER. */
const char *http_method_name(enum req_method m);

/* Judges a path: absolute, only the characters of RFC 3986, no %00 or other encoded control
 * character, no dot segment in clear or encoded, no backslash; and up to `raw_from` (path.n for
 * the whole of it) no empty segment but a last one and no encoded slash. TD_PARSE with a reason. */
TD_NODISCARD enum td_err http_strict_path(struct span path, size_t raw_from, struct errinfo *ei);

#endif
