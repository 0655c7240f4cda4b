#include "tests/sim/httpread.h"

#include "mdm/base/hex.h"
#include "mdm/base/num.h"
#include "mdm/base/str.h"

enum { HEAD_MAX = 65536, BODY_MAX = 33554432, LINE_MAX_BYTES = 16384 };

void httpread_free(struct httpread_resp *r)
{
    buf_free(&r->head);
    buf_free(&r->body);
}

static enum td_err more(struct httpread *r, struct errinfo *ei)
{
    r->at = r->n = 0;
    return r->fill(r->ctx, r->in, sizeof(r->in), &r->n, ei);
}

/* One line without its line end; TD_UPSTREAM when the stream ends before it does. */
static enum td_err line(struct httpread *r, struct buf *b, struct errinfo *ei)
{
    for (;;) {
        if (r->at == r->n) {
            TD_TRY(more(r, ei));
            if (r->n == 0)
                return err_set(ei, TD_UPSTREAM, "the server closed the connection");
        }
        const uint8_t *from = r->in + r->at;
        const uint8_t *nl = memchr(from, '\n', r->n - r->at);
        size_t n = nl ? (size_t)(nl - from) : r->n - r->at;
        if (buf_add(b, from, n) != TD_OK)
            return err_set(ei, TD_LIMIT, "a line of the response is too long");
        r->at += n + (nl ? 1 : 0);
        if (nl)
            break;
    }
    if (b->n && b->p[b->n - 1] == '\r')
        b->p[--b->n] = 0;
    return TD_OK;
}

static enum td_err bytes(struct httpread *r, uint64_t want, struct buf *b, struct errinfo *ei)
{
    while (want) {
        if (r->at == r->n) {
            TD_TRY(more(r, ei));
            if (r->n == 0)
                return err_set(ei, TD_UPSTREAM, "the response ends early");
        }
        size_t n = r->n - r->at < want ? r->n - r->at : (size_t)want;
        if (buf_add(b, r->in + r->at, n) != TD_OK)
            return err_set(ei, TD_LIMIT, "the response is too large");
        r->at += n;
        want -= n;
    }
    return TD_OK;
}

static enum td_err until_end(struct httpread *r, struct buf *b, struct errinfo *ei)
{
    for (;;) {
        if (buf_add(b, r->in + r->at, r->n - r->at) != TD_OK)
            return err_set(ei, TD_LIMIT, "the response is too large");
        TD_TRY(more(r, ei));
        if (r->n == 0)
            return TD_OK;
    }
}

static enum td_err chunk_size(struct span s, uint64_t *ret)
{
    uint64_t v = 0;
    size_t i = 0;
    for (; i < s.n && i < 8 && str_hexdigit(s.p[i]) >= 0; i++)
        v = v << 4 | (unsigned)str_hexdigit(s.p[i]);
    if (i == 0 || (i < s.n && s.p[i] != ';'))
        return TD_PARSE;
    *ret = v;
    return TD_OK;
}

static enum td_err chunked(struct httpread *r, struct buf *b, struct errinfo *ei)
{
    buf_auto l;
    buf_init(&l, LINE_MAX_BYTES);
    for (;;) {
        uint64_t n = 0;
        buf_reset(&l);
        TD_TRY(line(r, &l, ei));
        if (chunk_size(buf_view(&l), &n) != TD_OK)
            return err_set(ei, TD_PARSE, "malformed chunk");
        if (n == 0)
            break;
        TD_TRY(bytes(r, n, b, ei));
        buf_reset(&l);
        TD_TRY(line(r, &l, ei));
        if (l.n)
            return err_set(ei, TD_PARSE, "malformed chunk");
    }
    do { /* trailers */
        buf_reset(&l);
        TD_TRY(line(r, &l, ei));
    } while (l.n);
    return TD_OK;
}

/* "HTTP/1.x NNN ..." */
static enum td_err status_line(struct httpread *r, int *ret_status, bool *ret_10,
                               struct errinfo *ei)
{
    buf_auto l;
    buf_init(&l, LINE_MAX_BYTES);
    uint64_t v = 0;
    TD_TRY(line(r, &l, ei));
    struct span s = buf_view(&l);
    if (s.n < 12 || !span_starts(s, SPAN_LIT("HTTP/1.")) || s.p[8] != ' ' ||
        num_u64(span_sub(s, 9, 3), 999, &v) != TD_OK || v < 100 || (s.n > 12 && s.p[12] != ' '))
        return err_set(ei, TD_PARSE, "malformed status line");
    *ret_10 = s.p[7] == '0';
    *ret_status = (int)v;
    return TD_OK;
}

static enum td_err head(struct httpread *r, struct httpread_resp *resp, struct errinfo *ei)
{
    buf_auto l;
    buf_init(&l, LINE_MAX_BYTES);
    for (;;) {
        buf_reset(&l);
        TD_TRY(line(r, &l, ei));
        if (l.n == 0)
            return TD_OK;
        if (buf_span(&resp->head, buf_view(&l)) != TD_OK || buf_u8(&resp->head, '\n') != TD_OK)
            return err_set(ei, TD_LIMIT, "the response head is too large");
    }
}

bool httpread_header(const struct httpread_resp *r, const char *name, char *out, size_t n)
{
    struct span rest = buf_view(&r->head);
    while (rest.n) {
        struct span l = str_cut(&rest, '\n');
        struct span key = str_cut(&l, ':');
        if (!str_ieq(key, span_str(name)))
            continue;
        l = str_trim(l);
        if (l.n >= n)
            return false;
        if (l.n)
            memcpy(out, l.p, l.n);
        out[l.n] = 0;
        return true;
    }
    return false;
}

static enum td_err body(struct httpread *r, bool head_method, struct httpread_resp *resp,
                        bool *ret_keep, struct errinfo *ei)
{
    char v[64];
    uint64_t n = 0;
    if (head_method || resp->status == 204 || resp->status == 304)
        return TD_OK;
    if (httpread_header(resp, "Transfer-Encoding", v, sizeof(v))) {
        if (!str_ieq(span_str(v), SPAN_LIT("chunked")))
            return err_set(ei, TD_PARSE, "unknown transfer encoding");
        return chunked(r, &resp->body, ei);
    }
    if (httpread_header(resp, "Content-Length", v, sizeof(v))) {
        if (num_u64(span_str(v), BODY_MAX, &n) != TD_OK)
            return err_set(ei, TD_PARSE, "malformed or excessive Content-Length");
        return bytes(r, n, &resp->body, ei);
    }
    *ret_keep = false;
    return until_end(r, &resp->body, ei);
}

enum td_err httpread_response(struct httpread *r, bool head_method, struct httpread_resp *ret,
                              bool *ret_keep, bool *ret_started, struct errinfo *ei)
{
    bool http10 = false;
    char v[64];
    *ret_started = r->at < r->n;
    *ret_keep = true;
    *ret = (struct httpread_resp){0};
    buf_init(&ret->head, HEAD_MAX);
    buf_init(&ret->body, BODY_MAX);
    if (r->at == r->n) {
        TD_TRY(more(r, ei));
        if (r->n == 0)
            return err_set(ei, TD_UPSTREAM, "the server closed the connection");
        *ret_started = true;
    }
    do {
        buf_reset(&ret->head);
        TD_TRY(status_line(r, &ret->status, &http10, ei));
        TD_TRY(head(r, ret, ei));
    } while (ret->status < 200);
    if (httpread_header(ret, "Connection", v, sizeof(v)))
        *ret_keep = !str_ieq(span_str(v), SPAN_LIT("close"));
    else
        *ret_keep = !http10;
    return body(r, head_method, ret, ret_keep, ei);
}
