#include "mdm/wire/plist_node.h"

#include "mdm/base/utf8.h"

struct plist *plist_node_new(struct arena *a, enum plist_type type)
{
    struct plist *p = arena_alloc(a, sizeof *p);
    if (p) {
        p->arena = a;
        p->type = type;
    }
    return p;
}

enum td_err plist_node_add(struct plist *parent, const char *key, struct plist *value)
{
    if (parent->n == parent->cap) {
        if (parent->cap > UINT32_MAX / 2)
            return TD_LIMIT;
        uint32_t cap = parent->cap ? parent->cap * 2 : 4;
        struct plist_item *items = arena_alloc(parent->arena, cap * sizeof *items);
        if (!items)
            return TD_NOMEM;
        if (parent->n)
            memcpy(items, parent->items, parent->n * sizeof *items);
        parent->items = items;
        parent->cap = cap;
    }
    parent->items[parent->n++] = (struct plist_item){key, value};
    return TD_OK;
}

/* Writes s with each byte that is no UTF-8 as U+FFFD; out holds 3 * s.n + 1. */
static size_t repair(struct span s, uint8_t *out)
{
    size_t n = 0, len;
    for (size_t i = 0; i < s.n; i += len) {
        uint32_t cp = 0;
        len = utf8_next(s, i, &cp);
        if (len == 0) {
            len = 1;
            n += utf8_put(0xfffd, out + n);
        } else {
            memcpy(out + n, s.p + i, len);
            n += len;
        }
    }
    return n;
}

enum td_err plist_node_text(struct plist *p, struct span s)
{
    if (utf8_valid(s))
        return plist_node_data(p, s);
    if (s.n > UINT32_MAX / 3)
        return TD_LIMIT;
    uint8_t *out = arena_alloc(p->arena, 3 * s.n + 1);
    if (!out)
        return TD_NOMEM;
    p->n = (uint32_t)repair(s, out);
    p->bytes = out;
    return TD_OK;
}

enum td_err plist_node_data(struct plist *p, struct span s)
{
    if (s.n > UINT32_MAX)
        return TD_LIMIT;
    const char *copy = arena_dup(p->arena, s);
    if (!copy)
        return TD_NOMEM;
    p->bytes = (const uint8_t *)copy;
    p->n = (uint32_t)s.n;
    return TD_OK;
}
