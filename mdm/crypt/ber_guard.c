/* A walk over BER before OpenSSL's recursive parser sees the bytes. */
#include "mdm/base/limits.h"
#include "mdm/crypt/cms.h"

/* One open constructed value; end == NULL: of indefinite length. */
struct level {
    const uint8_t *end;
};

struct walk {
    const uint8_t *p, *end;
    struct level stack[LIMIT_BER_DEPTH];
    size_t depth;
};

/* The octets of the tag: 0 when cut off or over four octets of tag number. */
static size_t tag_len(const uint8_t *p, const uint8_t *end)
{
    if (p == end)
        return 0;
    if ((p[0] & 0x1f) != 0x1f)
        return 1;
    for (size_t n = 1; n <= 4 && p + n < end; n++)
        if (!(p[n] & 0x80))
            return n + 1;
    return 0;
}

/* Reads a length; 0 octets consumed on failure. */
static size_t len_len(const uint8_t *p, const uint8_t *end, size_t *ret, bool *ret_indefinite)
{
    *ret_indefinite = false;
    if (p == end)
        return 0;
    if (p[0] < 0x80) {
        *ret = p[0];
        return 1;
    }
    size_t k = p[0] & 0x7f;
    *ret_indefinite = k == 0;
    *ret = 0;
    if (k > sizeof(uint64_t) || (size_t)(end - p) < 1 + k)
        return 0;
    for (size_t i = 1; i <= k; i++) {
        if (*ret > SIZE_MAX >> 8)
            return 0;
        *ret = *ret << 8 | p[i];
    }
    return 1 + k;
}

/* Where the innermost value of definite length ends. */
static const uint8_t *limit(const struct walk *w)
{
    for (size_t i = w->depth; i-- > 0;)
        if (w->stack[i].end)
            return w->stack[i].end;
    return w->end;
}

/* Leaves the values of definite length that end here. */
static void close_full(struct walk *w)
{
    while (w->depth > 0 && w->stack[w->depth - 1].end == w->p)
        w->depth--;
}

/* The two zero octets that end the innermost value, which must be of indefinite length. */
static bool end_of_contents(struct walk *w, const uint8_t *content, size_t len_octets, size_t n)
{
    if (n != 0 || len_octets != 1 || w->depth == 0 || w->stack[w->depth - 1].end)
        return false;
    w->p = content;
    w->depth--;
    return true;
}

static bool step(struct walk *w)
{
    const uint8_t *end = limit(w);
    size_t t = tag_len(w->p, end), n;
    bool indefinite;
    size_t l = t ? len_len(w->p + t, end, &n, &indefinite) : 0;
    if (l == 0)
        return false;
    const uint8_t *content = w->p + t + l;
    bool constructed = w->p[0] & 0x20;
    if (w->p[0] == 0 && t == 1)
        return end_of_contents(w, content, l, n);
    if ((indefinite && !constructed) || n > (size_t)(end - content))
        return false;
    w->p = constructed ? content : content + n;
    if (!constructed)
        return true;
    if (w->depth == LIMIT_BER_DEPTH)
        return false;
    w->stack[w->depth++].end = indefinite ? NULL : content + n;
    return true;
}

enum td_err ber_guard(struct span der, struct errinfo *ei)
{
    if (der.n == 0)
        return err_set(ei, TD_PARSE, "empty ASN.1 value");
    struct walk w = {.p = der.p, .end = der.p + der.n};
    do {
        if (!step(&w))
            return err_set(ei, TD_PARSE, "ASN.1 value nests too deep or its lengths do not fit");
        close_full(&w);
    } while (w.depth > 0);
    return w.p == w.end ? TD_OK : err_set(ei, TD_PARSE, "bytes behind the ASN.1 value");
}
