/* A borrowed run of bytes: the type of every input. Owns nothing; p may be NULL when n is 0. */
#ifndef TD_BASE_SPAN_H
#define TD_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
    const uint8_t *p;
    size_t n;
};

#define SPAN_LIT(s) ((struct span){(const uint8_t *)(s), sizeof(s) - 1})
#define SPAN_ARR(a) ((struct span){(const uint8_t *)(a), sizeof(a)})

static inline struct span span_of(const void *p, size_t n)
{
    return (struct span){(const uint8_t *)p, n};
}

/* The bytes of a NUL-terminated string, without the NUL; NULL gives the empty span. */
static inline struct span span_str(const char *s)
{
    return (struct span){(const uint8_t *)s, s ? strlen(s) : 0};
}

/* Equality for public data; secrets are compared by secret_eq. */
static inline bool span_eq(struct span a, struct span b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool span_eq_str(struct span a, const char *s)
{
    return span_eq(a, span_str(s));
}

static inline bool span_starts(struct span a, struct span prefix)
{
    return a.n >= prefix.n && (prefix.n == 0 || memcmp(a.p, prefix.p, prefix.n) == 0);
}

/* The part [from, from+n) clipped to the span. */
static inline struct span span_sub(struct span a, size_t from, size_t n)
{
    if (from >= a.n)
        return (struct span){NULL, 0};
    return (struct span){a.p + from, n < a.n - from ? n : a.n - from};
}

#endif
