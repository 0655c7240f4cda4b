/* A cursor over bytes: every read is checked, and a failed cursor stays failed and reads zero, so
 * a message is parsed straight through and judged once by rd_done. Borrows its input. */
#ifndef TD_BASE_RD_H
#define TD_BASE_RD_H

#include "mdm/base/span.h"

struct rd {
    const uint8_t *p, *end;
    bool bad;
};

static inline struct rd rd_init(struct span s)
{
    return (struct rd){s.p, s.n ? s.p + s.n : s.p, false};
}

static inline size_t rd_left(const struct rd *r)
{
    return r->bad ? 0 : (size_t)(r->end - r->p);
}

/* The next n bytes, or the empty span and a failed cursor. */
static inline struct span rd_span(struct rd *r, size_t n)
{
    if (r->bad || (size_t)(r->end - r->p) < n) {
        r->bad = true;
        return (struct span){NULL, 0};
    }
    struct span s = {r->p, n};
    if (n)
        r->p += n;
    return s;
}

/* Big-endian integer of n <= 8 bytes. */
static inline uint64_t rd_be(struct rd *r, size_t n)
{
    struct span s = rd_span(r, n);
    uint64_t v = 0;
    for (size_t i = 0; i < s.n; i++)
        v = v << 8 | s.p[i];
    return v;
}

static inline uint8_t rd_u8(struct rd *r)
{
    return (uint8_t)rd_be(r, 1);
}

static inline uint16_t rd_u16(struct rd *r)
{
    return (uint16_t)rd_be(r, 2);
}

static inline uint32_t rd_u32(struct rd *r)
{
    return (uint32_t)rd_be(r, 4);
}

static inline uint64_t rd_u64(struct rd *r)
{
    return rd_be(r, 8);
}

/* True when nothing failed and every byte was read. */
static inline bool rd_done(const struct rd *r)
{
    return !r->bad && r->p == r->end;
}

#endif
