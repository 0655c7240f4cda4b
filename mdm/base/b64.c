#include "mdm/base/b64.h"

static const char std[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static enum td_err enc(struct buf *b, struct span s, const char *abc, bool pad)
{
    char chunk[256];
    size_t n = 0;
    for (size_t i = 0; i < s.n; i += 3) {
        if (n == sizeof chunk) {
            TD_TRY(buf_add(b, chunk, n));
            n = 0;
        }
        size_t left = s.n - i;
        uint32_t v = (uint32_t)s.p[i] << 16;
        if (left > 1)
            v |= (uint32_t)s.p[i + 1] << 8;
        if (left > 2)
            v |= s.p[i + 2];
        char *out = chunk + n;
        out[0] = abc[v >> 18];
        out[1] = abc[v >> 12 & 63];
        out[2] = left > 1 ? abc[v >> 6 & 63] : '=';
        out[3] = left > 2 ? abc[v & 63] : '=';
        n += pad || left > 2 ? 4 : left + 1;
    }
    enum td_err e = buf_add(b, chunk, n);
    explicit_bzero(chunk, sizeof chunk); /* it may have been a key */
    return e;
}

enum td_err b64_enc(struct buf *b, struct span s)
{
    return enc(b, s, std, true);
}

enum td_err b64url_enc(struct buf *b, struct span s)
{
    return enc(b, s, url, false);
}

char *b64url_str(struct arena *a, struct span s)
{
    buf_auto b;
    buf_init(&b, a->max);
    if (b64url_enc(&b, s) != TD_OK)
        return NULL;
    return arena_dup(a, buf_view(&b));
}

/* The value of a digit, or -1; `any` also takes the standard alphabet's two. */
static int digit(uint8_t c, bool any)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '-' || (any && c == '+'))
        return 62;
    if (c == '_' || (any && c == '/'))
        return 63;
    return -1;
}

static bool filler(uint8_t c)
{
    return c == '=' || c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static enum td_err dec(struct arena *a, struct span s, bool any, struct span *ret)
{
    uint8_t *out = arena_alloc(a, s.n / 4 * 3 + 4);
    if (!out)
        return TD_NOMEM;
    size_t n = 0, digits = 0;
    uint32_t v = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (any && filler(s.p[i]))
            continue;
        int d = digit(s.p[i], any);
        if (d < 0)
            return TD_PARSE;
        v = v << 6 | (uint32_t)d;
        if (++digits % 4 == 0) {
            out[n++] = (uint8_t)(v >> 16);
            out[n++] = (uint8_t)(v >> 8);
            out[n++] = (uint8_t)v;
            v = 0;
        }
    }
    switch (digits % 4) {
    case 1:
        return TD_PARSE;
    case 2:
        if (!any && (v & 15))
            return TD_PARSE;
        out[n++] = (uint8_t)(v >> 4);
        break;
    case 3:
        if (!any && (v & 3))
            return TD_PARSE;
        out[n++] = (uint8_t)(v >> 10);
        out[n++] = (uint8_t)(v >> 2);
        break;
    default:
        break;
    }
    *ret = span_of(out, n);
    return TD_OK;
}

enum td_err b64url_dec(struct arena *a, struct span s, struct span *ret)
{
    return dec(a, s, false, ret);
}

enum td_err b64_dec(struct arena *a, struct span s, struct span *ret)
{
    return dec(a, s, true, ret);
}
