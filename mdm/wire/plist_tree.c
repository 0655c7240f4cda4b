/* Reading and building the tree; plist.h says what each function does. */
#include "mdm/wire/plist_node.h"

static bool is(const struct plist *p, enum plist_type t)
{
    return p && p->type == t;
}

enum plist_type plist_type(const struct plist *p)
{
    return p ? p->type : PLIST_T_OTHER;
}

static struct plist_item *find(const struct plist *d, const char *key)
{
    if (!is(d, PLIST_T_DICT))
        return NULL;
    for (uint32_t i = 0; i < d->n; i++)
        if (strcmp(d->items[i].key, key) == 0)
            return &d->items[i];
    return NULL;
}

struct plist *plist_get(const struct plist *p, const char *key)
{
    const struct plist_item *item = find(p, key);
    return item ? item->value : NULL;
}

size_t plist_count(const struct plist *p)
{
    return is(p, PLIST_T_DICT) || is(p, PLIST_T_ARRAY) ? p->n : 0;
}

struct plist *plist_at(const struct plist *array, size_t i)
{
    return is(array, PLIST_T_ARRAY) && i < array->n ? array->items[i].value : NULL;
}

struct plist *plist_member(const struct plist *dict, size_t i, struct arena *a, char **ret_key)
{
    if (!is(dict, PLIST_T_DICT) || i >= dict->n)
        return NULL;
    if (ret_key) {
        char *key = arena_strdup(a, dict->items[i].key);
        if (!key)
            return NULL;
        *ret_key = key;
    }
    return dict->items[i].value;
}

enum td_err plist_str_val(const struct plist *p, struct arena *a, const char **ret)
{
    if (!p)
        return TD_NOTFOUND;
    if (p->type != PLIST_T_STRING || memchr(p->bytes, 0, p->n))
        return TD_PARSE;
    const char *s = (const char *)p->bytes;
    if (a != p->arena)
        s = arena_dup(a, span_of(p->bytes, p->n));
    if (!s)
        return TD_NOMEM;
    *ret = s;
    return TD_OK;
}

enum td_err plist_str(const struct plist *d, const char *key, struct arena *a, const char **ret)
{
    return plist_str_val(plist_get(d, key), a, ret);
}

enum td_err plist_data_val(const struct plist *p, struct arena *a, struct span *ret)
{
    if (!p)
        return TD_NOTFOUND;
    if (p->type != PLIST_T_DATA)
        return TD_PARSE;
    struct span s = span_of(p->bytes, p->n);
    if (a != p->arena)
        s = arena_span(a, s);
    if (!s.p)
        return TD_NOMEM;
    *ret = s;
    return TD_OK;
}

enum td_err plist_data(const struct plist *d, const char *key, struct arena *a, struct span *ret)
{
    return plist_data_val(plist_get(d, key), a, ret);
}

enum td_err plist_int(const struct plist *d, const char *key, int64_t *ret)
{
    const struct plist *p = plist_get(d, key);
    if (!p)
        return TD_NOTFOUND;
    if (p->type != PLIST_T_INT)
        return TD_PARSE;
    *ret = p->i;
    return TD_OK;
}

enum td_err plist_bool(const struct plist *d, const char *key, bool *ret)
{
    const struct plist *p = plist_get(d, key);
    if (!p)
        return TD_NOTFOUND;
    if (p->type != PLIST_T_BOOL)
        return TD_PARSE;
    *ret = p->i != 0;
    return TD_OK;
}

struct plist *plist_new_dict(struct arena *a)
{
    return plist_node_new(a, PLIST_T_DICT);
}

/* Puts `value` under a copy of `key`, in the place of an earlier one. */
static enum td_err put(struct plist *d, const char *key, struct plist *value)
{
    if (!is(d, PLIST_T_DICT) || !key)
        return TD_INVAL;
    if (!value)
        return TD_NOMEM;
    struct plist_item *old = find(d, key);
    if (old) {
        old->value = value;
        return TD_OK;
    }
    const char *copy = arena_strdup(d->arena, key);
    return copy ? plist_node_add(d, copy, value) : TD_NOMEM;
}

static enum td_err push(struct plist *array, struct plist *value)
{
    if (!is(array, PLIST_T_ARRAY))
        return TD_INVAL;
    return value ? plist_node_add(array, NULL, value) : TD_NOMEM;
}

static struct plist *new_int(const struct plist *parent, enum plist_type t, int64_t v)
{
    struct plist *p = parent ? plist_node_new(parent->arena, t) : NULL;
    if (p)
        p->i = v;
    return p;
}

static struct plist *new_bytes(const struct plist *parent, enum plist_type t, struct span s)
{
    struct plist *p = parent ? plist_node_new(parent->arena, t) : NULL;
    if (!p || (t == PLIST_T_STRING ? plist_node_text(p, s) : plist_node_data(p, s)) != TD_OK)
        return NULL;
    return p;
}

static struct plist *new_empty(const struct plist *parent, enum plist_type t)
{
    return parent ? plist_node_new(parent->arena, t) : NULL;
}

enum td_err plist_set_str(struct plist *d, const char *key, const char *v)
{
    return put(d, key, new_bytes(d, PLIST_T_STRING, span_str(v)));
}

enum td_err plist_set_data(struct plist *d, const char *key, struct span v)
{
    return put(d, key, new_bytes(d, PLIST_T_DATA, v));
}

enum td_err plist_set_int(struct plist *d, const char *key, int64_t v)
{
    return put(d, key, new_int(d, PLIST_T_INT, v));
}

enum td_err plist_set_bool(struct plist *d, const char *key, bool v)
{
    return put(d, key, new_int(d, PLIST_T_BOOL, v));
}

struct plist *plist_add_dict(struct plist *d, const char *key)
{
    struct plist *p = new_empty(d, PLIST_T_DICT);
    return put(d, key, p) == TD_OK ? p : NULL;
}

struct plist *plist_add_array(struct plist *d, const char *key)
{
    struct plist *p = new_empty(d, PLIST_T_ARRAY);
    return put(d, key, p) == TD_OK ? p : NULL;
}

struct plist *plist_push_dict(struct plist *array)
{
    struct plist *p = new_empty(array, PLIST_T_DICT);
    return push(array, p) == TD_OK ? p : NULL;
}

struct plist *plist_push_array(struct plist *array)
{
    struct plist *p = new_empty(array, PLIST_T_ARRAY);
    return push(array, p) == TD_OK ? p : NULL;
}

enum td_err plist_push_str(struct plist *array, const char *v)
{
    return push(array, new_bytes(array, PLIST_T_STRING, span_str(v)));
}

enum td_err plist_push_int(struct plist *array, int64_t v)
{
    return push(array, new_int(array, PLIST_T_INT, v));
}

/* Recursion is bounded: trees come from the parser (LIMIT_PLIST_DEPTH) or from our own code. */
static enum td_err copy(struct arena *a, const struct plist *v, struct plist **ret)
{
    struct plist *p = plist_node_new(a, v->type);
    if (!p)
        return TD_NOMEM;
    if (v->type == PLIST_T_STRING || v->type == PLIST_T_DATA) {
        TD_TRY(plist_node_data(p, span_of(v->bytes, v->n)));
    } else if (v->type == PLIST_T_REAL) {
        p->real = v->real;
    } else if (v->type != PLIST_T_DICT && v->type != PLIST_T_ARRAY) {
        p->i = v->i;
    } else {
        uint32_t n = v->n; /* v may be a parent of what receives the copy */
        for (uint32_t i = 0; i < n; i++) {
            struct plist *child;
            const char *key = v->items[i].key;
            TD_TRY(copy(a, v->items[i].value, &child));
            if (key && a != v->arena)
                key = arena_strdup(a, key);
            if (!key && v->items[i].key)
                return TD_NOMEM;
            TD_TRY(plist_node_add(p, key, child));
        }
    }
    *ret = p;
    return TD_OK;
}

enum td_err plist_set_copy(struct plist *d, const char *key, const struct plist *v)
{
    struct plist *p = NULL;
    if (!is(d, PLIST_T_DICT) || !v)
        return TD_INVAL;
    TD_TRY(copy(d->arena, v, &p));
    return put(d, key, p);
}
