#include "mdm/base/buf.h"

#include <stdio.h>
#include <stdlib.h>

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}

void buf_free(struct buf *b)
{
    if (!b)
        return;
    if (b->p)
        explicit_bzero(b->p, b->cap);
    free(b->p);
    *b = (struct buf){.max = b->max};
}

void buf_reset(struct buf *b)
{
    b->n = 0;
    b->err = TD_OK;
    if (b->p)
        b->p[0] = 0;
}

static enum td_err fail(struct buf *b, enum td_err e)
{
    buf_free(b);
    b->err = e;
    return e;
}

/* Makes room for n more bytes and the NUL. */
static enum td_err reserve(struct buf *b, size_t n)
{
    if (b->err != TD_OK)
        return b->err;
    if (n > b->max - b->n)
        return fail(b, TD_LIMIT);
    size_t need = b->n + n + 1;
    if (need > SIZE_MAX / 2 || need == 0)
        return fail(b, TD_NOMEM);
    if (need <= b->cap)
        return TD_OK;
    size_t cap = b->cap ? b->cap : 64;
    while (cap < need)
        cap *= 2;
    uint8_t *p = malloc(cap);
    if (!p)
        return fail(b, TD_NOMEM);
    if (b->p) {
        /* not realloc: the old copy may hold a secret and is wiped */
        memcpy(p, b->p, b->n);
        explicit_bzero(b->p, b->cap);
        free(b->p);
    }
    b->p = p;
    b->cap = cap;
    return TD_OK;
}

enum td_err buf_add(struct buf *b, const void *p, size_t n)
{
    TD_TRY(reserve(b, n));
    if (n)
        memcpy(b->p + b->n, p, n);
    b->n += n;
    b->p[b->n] = 0;
    return TD_OK;
}

enum td_err buf_span(struct buf *b, struct span s)
{
    return buf_add(b, s.p, s.n);
}

enum td_err buf_str(struct buf *b, const char *s)
{
    return buf_add(b, s, strlen(s));
}

enum td_err buf_u8(struct buf *b, uint8_t v)
{
    return buf_add(b, &v, 1);
}

static enum td_err add_be(struct buf *b, uint64_t v, size_t n)
{
    uint8_t be[8];
    for (size_t i = 0; i < n; i++)
        be[i] = (uint8_t)(v >> (8 * (n - 1 - i)));
    return buf_add(b, be, n);
}

enum td_err buf_u16(struct buf *b, uint16_t v)
{
    return add_be(b, v, 2);
}

enum td_err buf_u32(struct buf *b, uint32_t v)
{
    return add_be(b, v, 4);
}

enum td_err buf_u64(struct buf *b, uint64_t v)
{
    return add_be(b, v, 8);
}

enum td_err buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    /* mostly it fits and is formatted once */
    size_t room = b->p ? b->cap - b->n : 0;
    int n = vsnprintf(room ? (char *)b->p + b->n : NULL, room, fmt, ap);
    va_end(ap);
    enum td_err e = n < 0 ? fail(b, TD_INTERNAL) : reserve(b, (size_t)n);
    if (e == TD_OK) {
        if ((size_t)n >= room)
            vsnprintf((char *)b->p + b->n, (size_t)n + 1, fmt, again);
        b->n += (size_t)n;
    }
    va_end(again);
    return e;
}

struct span buf_view(const struct buf *b)
{
    return span_of(b->p, b->n);
}

const char *buf_cstr(const struct buf *b)
{
    return b->p ? (const char *)b->p : "";
}

uint8_t *buf_take(struct buf *b, size_t *ret_n)
{
    uint8_t *p = b->n ? b->p : NULL;
    if (ret_n)
        *ret_n = p ? b->n : 0;
    if (!p)
        free(b->p);
    *b = (struct buf){.max = b->max, .err = b->err};
    return p;
}
