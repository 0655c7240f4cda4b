/* What libmicrohttpd 0.9.75 does not deliver to its callback: it ends strings at a NUL, joins
 * folded lines (to the name, by a bug), skips extra spaces and takes a bare LF for a line end. But
 * its strings still lie in the buffer that was read, so the places between them tell: every line
 * must be "name:" blanks "value" CRLF with nothing in between. Not seen: a NUL directly before a
 * bare LF, which lies like CRLF, and lines beginning with NUL before the request line, which are
 * skipped as empty ones; neither moves the boundary of a request or hides a field. */
#ifndef TD_WEB_HTTP_LAYOUT_H
#define TD_WEB_HTTP_LAYOUT_H

#include "mdm/base/req.h"

/* Where the library's strings lie; the pointers are compared, and only bytes between a name and its
 * value and behind a value are read. */
struct http_layout {
    struct span method, url, version;
    const struct req_header *headers; /* as delivered, values not trimmed */
    size_t nheaders;
    size_t head_size; /* from the method to behind the empty line */
};

/* NULL when the head lies as it must, else the reason: "http-line" for the request line,
 * "http-layout" for a folded line, a NUL or a bare LF among the headers. */
const char *http_layout_check(const struct http_layout *l);

#endif
