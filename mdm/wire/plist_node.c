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

static int by_key(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

enum td_err plist_node_unique(const struct plist *d, struct errinfo *ei)
{
    const char *few[16];
    if (d->type != PLIST_T_DICT || d->n < 2)
        return TD_OK;
    const char **keys = d->n <= TD_NITEMS(few) ? few : calloc(d->n, sizeof *keys);
    if (!keys)
        return TD_NOMEM;
    for (uint32_t i = 0; i < d->n; i++)
        keys[i] = d->items[i].key;
    qsort(keys, d->n, sizeof *keys, by_key);
    enum td_err e = TD_OK;
    for (uint32_t i = 1; i < d->n && e == TD_OK; i++)
        if (strcmp(keys[i - 1], keys[i]) == 0)
            e = err_reason(ei, TD_PARSE, "plist-duplicate", "key twice in a dict: %.60s", keys[i]);
    if (keys != few)
        free(keys);
    return e;
}

/* "Y-MM-DDTHH:MM:SSZ" with a year of 1 to 4 digits, into six numbers. */
static bool date_fields(struct span s, int out[static 6])
{
    static const char form[] = "-dd-ddTdd:dd:ddZ";
    size_t field = 0;
    while (s.n >= sizeof form && s.p[0] >= '0' && s.p[0] <= '9' && out[0] < 1000) {
        out[0] = out[0] * 10 + (s.p[0] - '0');
        s = span_sub(s, 1, s.n);
    }
    if (s.n != sizeof form - 1)
        return false;
    for (size_t i = 0; i < s.n - 1; i++) {
        bool digit = s.p[i] >= '0' && s.p[i] <= '9';
        if (form[i] != 'd' && s.p[i] == (uint8_t)form[i])
            field++;
        else if (form[i] == 'd' && digit)
            out[field] = out[field] * 10 + (s.p[i] - '0');
        else
            return false;
    }
    return s.p[s.n - 1] == 'Z';
}

enum td_err plist_node_date(struct span s, int64_t *ret)
{
    static const int low[] = {1, 1, 1, 0, 0, 0}, high[] = {9999, 12, 31, 23, 59, 59};
    int f[6] = {0};
    if (!date_fields(s, f))
        return TD_PARSE;
    for (size_t i = 0; i < TD_NITEMS(f); i++)
        if (f[i] < low[i] || f[i] > high[i])
            return TD_PARSE;
    struct tm tm = {.tm_year = f[0] - 1900,
                    .tm_mon = f[1] - 1,
                    .tm_mday = f[2],
                    .tm_hour = f[3],
                    .tm_min = f[4],
                    .tm_sec = f[5]};
    int64_t t = timegm(&tm);
    if (tm.tm_mday != f[2]) /* a 30 February was carried into March */
        return TD_PARSE;
    *ret = t;
    return TD_OK;
}
