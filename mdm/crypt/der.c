#include "mdm/crypt/der_int.h"

#include "mdm/base/clock.h"
#include "mdm/base/limits.h"
#include "mdm/base/num.h"

bool der_next(struct span *in, struct der_item *ret)
{
    struct span s = *in;
    if (s.n < 2 || (s.p[0] & 0x1f) == 0x1f)
        return false;
    size_t head = 2, len = s.p[1];
    if (len >= 0x80) {
        size_t k = len & 0x7f;
        if (k == 0 || k > 4 || s.n < 2 + k)
            return false;
        len = 0;
        for (size_t i = 0; i < k; i++)
            len = len << 8 | s.p[2 + i];
        /* DER: the shortest form alone */
        if (len < 0x80 || len >> (8 * (k - 1)) == 0)
            return false;
        head += k;
    }
    if (len > s.n - head)
        return false;
    ret->tag = s.p[0];
    ret->val = span_of(s.p + head, len);
    ret->raw = span_of(s.p, head + len);
    *in = span_of(s.p + head + len, s.n - head - len);
    return true;
}

bool der_get(struct span *in, uint8_t tag, struct span *ret_val)
{
    struct der_item it;
    if (!der_next(in, &it) || it.tag != tag)
        return false;
    *ret_val = it.val;
    return true;
}

bool der_get_raw(struct span *in, uint8_t tag, struct span *ret_raw)
{
    struct der_item it;
    if (!der_next(in, &it) || it.tag != tag)
        return false;
    *ret_raw = it.raw;
    return true;
}

bool der_peek(struct span in, uint8_t tag)
{
    return in.n > 0 && in.p[0] == tag;
}

bool der_well_formed(struct span s)
{
    struct span rest[LIMIT_BER_DEPTH];
    size_t depth = 0;
    struct der_item it;
    if (!der_next(&s, &it) || s.n != 0)
        return false;
    if (!(it.tag & 0x20))
        return true;
    rest[depth++] = it.val;
    while (depth > 0) {
        struct span *top = &rest[depth - 1];
        if (top->n == 0) {
            depth--;
            continue;
        }
        if (!der_next(top, &it))
            return false;
        if (!(it.tag & 0x20) || it.val.n == 0)
            continue;
        if (depth == LIMIT_BER_DEPTH)
            return false;
        rest[depth++] = it.val;
    }
    return true;
}

bool der_int_ok(struct span v)
{
    if (v.n == 0)
        return false;
    return v.n == 1 || !((v.p[0] == 0 && !(v.p[1] & 0x80)) || (v.p[0] == 0xff && v.p[1] & 0x80));
}

bool der_bits(struct span v, struct span *ret)
{
    if (v.n < 1 || v.p[0] != 0)
        return false;
    *ret = span_sub(v, 1, v.n - 1);
    return true;
}

/* Days from 1970-01-01 in the proleptic Gregorian calendar; the year begins in March. */
static int64_t days_from_civil(int64_t y, int64_t m, int64_t d)
{
    y -= m <= 2;
    int64_t era = y / 400;
    int64_t yoe = y - era * 400;
    int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

enum { YEAR, MONTH, DAY, HOUR, MINUTE, SECOND, FIELDS };

/* Year of ylen digits, five fields of two, Z. */
static bool time_fields(struct span s, size_t ylen, int64_t f[static FIELDS])
{
    if (s.n != ylen + 11 || s.p[s.n - 1] != 'Z')
        return false;
    for (size_t i = 0; i < s.n - 1; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    const uint8_t *p = s.p;
    for (size_t i = 0; i < FIELDS; i++) {
        f[i] = 0;
        for (size_t k = i == YEAR ? ylen : 2; k > 0; k--)
            f[i] = f[i] * 10 + (*p++ - '0');
    }
    return true;
}

static bool time_ok(const int64_t f[static FIELDS])
{
    static const int8_t mdays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (f[MONTH] < 1 || f[MONTH] > 12 || f[HOUR] > 23 || f[MINUTE] > 59 || f[SECOND] > 59)
        return false;
    bool leap = f[YEAR] % 4 == 0 && (f[YEAR] % 100 != 0 || f[YEAR] % 400 == 0);
    return f[DAY] >= 1 && f[DAY] <= mdays[f[MONTH] - 1] + (f[MONTH] == 2 && leap);
}

bool der_time(const struct der_item *it, int64_t *ret)
{
    int64_t f[FIELDS];
    if (it->tag != DER_UTC_TIME && it->tag != DER_GENERALIZED_TIME)
        return false;
    bool utc = it->tag == DER_UTC_TIME;
    if (!time_fields(it->val, utc ? 2 : 4, f))
        return false;
    if (utc)
        f[YEAR] += f[YEAR] < 50 ? 2000 : 1900;
    if (!time_ok(f))
        return false;
    *ret = days_from_civil(f[YEAR], f[MONTH], f[DAY]) * 86400 + f[HOUR] * 3600 + f[MINUTE] * 60 +
           f[SECOND];
    return true;
}

static size_t put_base128(uint64_t v, uint8_t *out, size_t room)
{
    size_t n = 1;
    for (uint64_t t = v >> 7; t; t >>= 7)
        n++;
    if (n > room)
        return 0;
    for (size_t i = n; i-- > 0; v >>= 7)
        out[i] = (uint8_t)((v & 0x7f) | (i + 1 < n ? 0x80 : 0));
    return n;
}

size_t der_oid_text(const char *dotted, uint8_t out[static DER_OID_MAX])
{
    uint64_t first = 0;
    size_t n = 0, arc = 0;
    for (const char *p = dotted;; arc++) {
        const char *dot = strchr(p, '.');
        size_t len = dot ? (size_t)(dot - p) : strlen(p);
        uint64_t v;
        if (num_u64(span_of(p, len), UINT32_MAX, &v) != TD_OK)
            return 0;
        if (arc == 0) {
            first = v;
        } else {
            if (arc == 1 && (first > 2 || (first < 2 && v > 39)))
                return 0;
            size_t k = put_base128(arc == 1 ? first * 40 + v : v, out + n, DER_OID_MAX - n);
            if (k == 0)
                return 0;
            n += k;
        }
        if (!dot)
            break;
        p = dot + 1;
    }
    return n;
}

/* Well-formed sequences by their first octet (Unicode table 3-7): how long, and between what the
 * second octet lies; the others lie between 80 and bf. NUL is left out. */
static const struct utf8_row {
    uint8_t first, last, n, lo, hi;
} utf8_rows[] = {
    {0x01, 0x7f, 1, 0x00, 0x00}, {0xc2, 0xdf, 2, 0x80, 0xbf}, {0xe0, 0xe0, 3, 0xa0, 0xbf},
    {0xe1, 0xec, 3, 0x80, 0xbf}, {0xed, 0xed, 3, 0x80, 0x9f}, {0xee, 0xef, 3, 0x80, 0xbf},
    {0xf0, 0xf0, 4, 0x90, 0xbf}, {0xf1, 0xf3, 4, 0x80, 0xbf}, {0xf4, 0xf4, 4, 0x80, 0x8f},
};

/* The length of the sequence at p, 0 when it is malformed. */
static size_t utf8_len(const uint8_t *p, size_t left)
{
    const struct utf8_row *r = utf8_rows, *end = utf8_rows + TD_NITEMS(utf8_rows);
    while (r < end && (p[0] < r->first || p[0] > r->last))
        r++;
    if (r == end || r->n > left || (r->n > 1 && (p[1] < r->lo || p[1] > r->hi)))
        return 0;
    for (size_t i = 2; i < r->n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return r->n;
}

bool der_utf8_ok(struct span s)
{
    for (size_t i = 0, k; i < s.n; i += k) {
        k = utf8_len(s.p + i, s.n - i);
        if (k == 0)
            return false;
    }
    return true;
}

size_t der_open(struct buf *b, uint8_t tag)
{
    buf_u8(b, tag);
    return b->n;
}

void der_close(struct buf *b, size_t mark)
{
    if (b->err != TD_OK)
        return;
    size_t len = b->n - mark;
    uint8_t head[5];
    size_t k = 0;
    if (len < 0x80) {
        head[k++] = (uint8_t)len;
    } else {
        size_t bytes = len < 0x100 ? 1 : len < 0x10000 ? 2 : len < 0x1000000 ? 3 : 4;
        head[k++] = (uint8_t)(0x80 | bytes);
        for (size_t i = bytes; i-- > 0;)
            head[k++] = (uint8_t)(len >> (8 * i));
    }
    if (buf_add(b, head, k) != TD_OK)
        return;
    memmove(b->p + mark + k, b->p + mark, len);
    memcpy(b->p + mark, head, k);
}

void der_put(struct buf *b, uint8_t tag, struct span val)
{
    size_t m = der_open(b, tag);
    buf_span(b, val);
    der_close(b, m);
}

void der_put_uint(struct buf *b, struct span be)
{
    while (be.n > 1 && be.p[0] == 0)
        be = span_sub(be, 1, be.n - 1);
    size_t m = der_open(b, DER_INTEGER);
    if (be.n == 0 || be.p[0] & 0x80)
        buf_u8(b, 0);
    buf_span(b, be);
    der_close(b, m);
}

void der_put_bits(struct buf *b, struct span val)
{
    size_t m = der_open(b, DER_BIT_STRING);
    buf_u8(b, 0);
    buf_span(b, val);
    der_close(b, m);
}

/* "2026-11-23T12:00:00Z" without its punctuation: 15 octets. */
static void time_digits(int64_t t, uint8_t out[static 15])
{
    char text[CLOCK_TEXT_SIZE];
    clock_text(t, text);
    size_t n = 0;
    for (const char *p = text; *p && n < 15; p++)
        if ((*p >= '0' && *p <= '9') || *p == 'Z')
            out[n++] = (uint8_t)*p;
}

void der_put_time(struct buf *b, int64_t t)
{
    uint8_t d[15] = {0};
    time_digits(t, d);
    bool utc = memcmp(d, "2050", 4) < 0;
    der_put(b, utc ? DER_UTC_TIME : DER_GENERALIZED_TIME, utc ? span_of(d + 2, 13) : SPAN_ARR(d));
}

void der_put_gentime(struct buf *b, uint8_t tag, int64_t t)
{
    uint8_t d[15] = {0};
    time_digits(t, d);
    der_put(b, tag, SPAN_ARR(d));
}
