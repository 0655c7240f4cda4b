#include "mdm/store/schema.h"

#define TABLES_MAX 256
#define NAME_MAX_LEN 63 /* PostgreSQL keeps no more */

/* Names go into statements as they are, so they must be plain words. */
static bool name_plain(struct span s)
{
    if (s.n == 0 || s.n > NAME_MAX_LEN)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!strchr("abcdefghijklmnopqrstuvwxyz_0123456789", s.p[i]))
            return false;
    return true;
}

static enum td_err add_column(struct schema_table *t, const struct cur *c, struct arena *a,
                              struct errinfo *ei)
{
    struct span letter = cur_span(c, 2);
    int64_t place = cur_int(c, 3);
    if (t->ncols == SCHEMA_COLUMNS || place > SCHEMA_KEY || place < 0)
        return err_set(ei, TD_STATE, "table %s has too many columns", t->name);
    if (!name_plain(cur_span(c, 1)) || letter.n != 1 || !strchr("tibTIB", letter.p[0]))
        return err_set(ei, TD_STATE, "table %s has a column of no kind of ours", t->name);
    const char *name = cur_dup(c, 1, a);
    if (!name)
        return TD_NOMEM;
    if (place > 0) {
        t->key[place - 1] = t->ncols;
        t->nkey++;
    }
    if (cur_int(c, 4))
        t->identity = name;
    t->letters[t->ncols] = (char)letter.p[0];
    t->cols[t->ncols++] = name;
    return TD_OK;
}

static enum td_err add_row(struct schema *s, const struct cur *c, struct arena *a,
                           struct errinfo *ei)
{
    struct span table = cur_span(c, 0);
    struct schema_table *t = s->n ? &s->tables[s->n - 1] : NULL;
    if (!t || !span_eq_str(table, t->name)) {
        if (s->n == TABLES_MAX || !name_plain(table))
            return err_set(ei, TD_STATE, "the database has a table that is none of ours: %.*s",
                           (int)(table.n < 64 ? table.n : 64), (const char *)table.p);
        t = &s->tables[s->n];
        t->name = cur_dup(c, 0, a);
        if (!t->name)
            return TD_NOMEM;
        s->n++;
    }
    return add_column(t, c, a, ei);
}

/* Key columns are there and may not be NULL. */
static enum td_err check_keys(const struct schema *s, struct errinfo *ei)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct schema_table *t = &s->tables[i];
        bool fine = t->nkey > 0 && t->nkey <= SCHEMA_KEY;
        for (size_t k = 0; k < t->nkey && fine; k++)
            fine = strchr("tib", t->letters[t->key[k]]) != NULL;
        if (!fine)
            return err_set(ei, TD_STATE, "table %s has no primary key without NULL", t->name);
    }
    return TD_OK;
}

enum td_err schema_read(struct tx *tx, struct arena *a, struct schema *ret, struct errinfo *ei)
{
    struct schema s = {.tables = arena_alloc(a, TABLES_MAX * sizeof *s.tables)};
    if (!s.tables)
        return TD_NOMEM;
    struct cur c;
    TD_TRY(tx_query(tx, &tx->ops->admin->columns, NULL, 0, &c, ei));
    enum td_err e;
    while ((e = cur_next(&c, ei)) == TD_OK) {
        e = add_row(&s, &c, a, ei);
        if (e != TD_OK) {
            cur_end(&c);
            return e;
        }
    }
    if (e != TD_NOTFOUND)
        return e;
    TD_TRY(check_keys(&s, ei));
    *ret = s;
    return TD_OK;
}

static bool same_table(const struct schema_table *a, const struct schema_table *b)
{
    bool same = a->ncols == b->ncols && a->nkey == b->nkey && !a->identity == !b->identity &&
                strcmp(a->name, b->name) == 0 && strcmp(a->letters, b->letters) == 0 &&
                memcmp(a->key, b->key, a->nkey * sizeof a->key[0]) == 0;
    for (size_t i = 0; i < a->ncols && same; i++)
        same = strcmp(a->cols[i], b->cols[i]) == 0;
    return same;
}

enum td_err schema_same(const struct schema *a, const struct schema *b, struct errinfo *ei)
{
    for (size_t i = 0; i < a->n || i < b->n; i++) {
        if (i < a->n && i < b->n && same_table(&a->tables[i], &b->tables[i]))
            continue;
        /* the one that comes first by name is missing on the other side, or differs */
        bool of_a = i >= b->n || (i < a->n && strcmp(a->tables[i].name, b->tables[i].name) <= 0);
        return err_set(ei, TD_STATE, "table %s is not the same on both sides",
                       of_a ? a->tables[i].name : b->tables[i].name);
    }
    return TD_OK;
}
