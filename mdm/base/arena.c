#include "mdm/base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define CHUNK_SIZE ((size_t)8192)

struct arena_chunk {
    struct arena_chunk *next;
    size_t n, cap;
    max_align_t data[];
};

struct arena_cleanup {
    struct arena_cleanup *next;
    void (*fn)(void *);
    void *p;
};

void arena_init(struct arena *a, size_t max)
{
    *a = (struct arena){.max = max};
}

void arena_free(struct arena *a)
{
    if (!a)
        return;
    for (struct arena_cleanup *c = a->cleanups; c; c = c->next)
        c->fn(c->p);
    for (struct arena_chunk *c = a->head, *next; c; c = next) {
        next = c->next;
        explicit_bzero(c->data, c->n);
        free(c);
    }
    arena_init(a, a->max);
}

void *arena_alloc(struct arena *a, size_t n)
{
    const size_t align = _Alignof(max_align_t);
    if (n > a->max - a->used)
        return NULL;
    size_t need = (n + align - 1) & ~(align - 1);
    if (need < n || need > SIZE_MAX / 2)
        return NULL;
    struct arena_chunk *c = a->head;
    if (!c || c->cap - c->n < need) {
        size_t cap = need > CHUNK_SIZE ? need : CHUNK_SIZE;
        c = malloc(sizeof *c + cap);
        if (!c)
            return NULL;
        *c = (struct arena_chunk){.cap = cap};
        /* a large piece goes behind the head, which may have room left for small ones */
        if (a->head && need > CHUNK_SIZE) {
            c->next = a->head->next;
            a->head->next = c;
        } else {
            c->next = a->head;
            a->head = c;
        }
    }
    void *p = (uint8_t *)c->data + c->n;
    c->n += need;
    /* what was taken, not what was asked for: the cap bounds memory, of one-byte pieces too */
    a->used = need < a->max - a->used ? a->used + need : a->max;
    memset(p, 0, n);
    return p;
}

char *arena_dup(struct arena *a, struct span s)
{
    char *p = s.n < SIZE_MAX ? arena_alloc(a, s.n + 1) : NULL;
    if (p && s.n)
        memcpy(p, s.p, s.n);
    return p;
}

char *arena_strdup(struct arena *a, const char *s)
{
    return arena_dup(a, span_str(s));
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *p = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1);
    if (p)
        vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return p;
}

struct span arena_span(struct arena *a, struct span s)
{
    char *p = arena_dup(a, s);
    return p ? span_of(p, s.n) : (struct span){NULL, 0};
}

bool arena_defer(struct arena *a, void (*fn)(void *), void *p)
{
    struct arena_cleanup *c = arena_alloc(a, sizeof *c);
    if (!c)
        return false;
    *c = (struct arena_cleanup){a->cleanups, fn, p};
    a->cleanups = c;
    return true;
}
