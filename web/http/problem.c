#include "web/http/problem.h"

#include <stdio.h>

#include "mdm/base/utf8.h"

int http_status_of(enum td_err e, const struct errinfo *ei)
{
    int status = ei && ei->http ? ei->http : err_http(e);
    return status >= 400 && status <= 599 ? status : 500;
}

static const struct {
    int status;
    const char *title;
} titles[] = {
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {422, "Unprocessable Content"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {503, "Service Unavailable"},
    {505, "HTTP Version Not Supported"},
};

static const char *title(int status)
{
    for (size_t i = 0; i < TD_NITEMS(titles); i++)
        if (titles[i].status == status)
            return titles[i].title;
    return status < 500 ? "Bad Request" : "Internal Server Error";
}

/* A JSON string (RFC 8259 section 7); what is not UTF-8 becomes U+FFFD. */
static void json_text(struct buf *b, const char *s)
{
    struct span in = span_str(s);
    buf_u8(b, '"');
    for (size_t i = 0; i < in.n;) {
        uint32_t cp = 0;
        size_t n = utf8_next(in, i, &cp);
        if (n == 0)
            buf_str(b, "\\ufffd");
        else if (cp == '"' || cp == '\\')
            buf_printf(b, "\\%c", (int)cp);
        else if (cp < 0x20 || cp == 0x7f)
            buf_printf(b, "\\u%04x", (unsigned)cp);
        else
            buf_add(b, in.p + i, n);
        i += n ? n : 1;
    }
    buf_u8(b, '"');
}

void http_problem(const struct req *req, struct resp *resp, enum td_err e, const struct errinfo *ei)
{
    int status = http_status_of(e, ei);
    struct buf *b = &resp->body;
    buf_reset(b);
    resp->status = status;
    resp->content_type = "application/problem+json";
    buf_str(b, "{\"type\":\"about:blank\",\"title\":");
    json_text(b, title(status));
    buf_printf(b, ",\"status\":%d,\"detail\":", status);
    json_text(b, status >= 500 ? err_text(e) : err_msg(ei, e));
    if (ei && ei->reason) {
        buf_str(b, ",\"reason\":");
        json_text(b, ei->reason);
    }
    buf_str(b, ",\"instance\":");
    json_text(b, req->id ? req->id : "");
    if (buf_str(b, "}\n") != TD_OK) {
        buf_reset(b);
        resp->content_type = NULL;
    }
}
