#include "mdm/inventory/import.h"

#include <stdlib.h>

#include "mdm/base/limits.h"
#include "mdm/base/str.h"
#include "mdm/inventory/csv.h"

static const char *const columns[INV_COLUMNS] = {[INV_SERIAL] = "serial",
                                                 [INV_NAME] = "name",
                                                 [INV_MODEL] = "model",
                                                 [INV_OWNER] = "owner",
                                                 [INV_GROUPS] = "groups"};

struct header {
    enum inv_column at[INV_COLUMNS]; /* column of the file -> what it is */
    size_t n;
};

static enum td_err header_read(struct csv *c, struct arena *a, struct header *h, struct errinfo *ei)
{
    struct span f[INV_COLUMNS];
    bool seen[INV_COLUMNS] = {false};
    enum td_err e = csv_next(c, a, f, INV_COLUMNS, &h->n, ei);
    if (e == TD_NOTFOUND)
        return err_reason(ei, TD_PARSE, "csv", "line 1: no header row");
    TD_TRY(e);
    for (size_t i = 0; i < h->n; i++) {
        unsigned k = 0;
        while (k < INV_COLUMNS && !str_ieq(f[i], span_str(columns[k])))
            k++;
        if (k == INV_COLUMNS || seen[k])
            return err_reason(ei, TD_INVAL, "csv", "line 1: column %zu is unknown or twice there",
                              i + 1);
        seen[k] = true;
        h->at[i] = (enum inv_column)k;
    }
    if (!seen[INV_SERIAL])
        return err_reason(ei, TD_INVAL, "csv", "line 1: no column \"serial\"");
    return TD_OK;
}

static enum td_err rows_grow(struct inv_rows *r, struct errinfo *ei)
{
    if (r->n < r->cap)
        return TD_OK;
    if (r->n >= INV_IMPORT_ROWS)
        return err_reason(ei, TD_LIMIT, "csv", "more than %d rows", INV_IMPORT_ROWS);
    size_t cap = r->cap ? r->cap * 2 : 256;
    if (cap > INV_IMPORT_ROWS)
        cap = INV_IMPORT_ROWS;
    struct inv_row *rows = reallocarray(r->rows, cap, sizeof *rows);
    if (!rows)
        return TD_NOMEM;
    r->rows = rows;
    r->cap = cap;
    return TD_OK;
}

static enum td_err row_groups(struct inv_row *row, struct arena *a, struct errinfo *ei)
{
    struct errinfo why = {0};
    const char *groups;
    enum td_err e = inv_groups_parse(row->fields[INV_GROUPS], a, &groups, &why);
    if (e != TD_OK)
        return err_reason(ei, e, why.reason, "line %zu: %.150s", row->line, err_msg(&why, e));
    row->fields[INV_GROUPS] = span_str(groups);
    return TD_OK;
}

static enum td_err row_judge(struct inv_row *row, struct arena *a, struct errinfo *ei)
{
    if (!inv_serial_valid(row->fields[INV_SERIAL]))
        return err_reason(ei, TD_INVAL, "invalid-serial", "line %zu: not a serial number",
                          row->line);
    for (unsigned k = INV_NAME; k <= INV_OWNER; k++)
        if (!inv_text_valid(row->fields[k]))
            return err_reason(ei, TD_INVAL, "invalid-text",
                              "line %zu: %s is too long or has control characters", row->line,
                              columns[k]);
    return row->has[INV_GROUPS] ? row_groups(row, a, ei) : TD_OK;
}

static enum td_err row_read(struct csv *c, const struct header *h, struct inv_rows *r,
                            struct errinfo *ei)
{
    struct span f[INV_COLUMNS];
    size_t n;
    TD_TRY(csv_next(c, &r->arena, f, INV_COLUMNS, &n, ei));
    if (n != h->n)
        return err_reason(ei, TD_PARSE, "csv", "line %zu: %zu fields, the header has %zu", c->line,
                          n, h->n);
    TD_TRY(rows_grow(r, ei));
    struct inv_row *row = &r->rows[r->n];
    *row = (struct inv_row){.line = c->line};
    for (size_t i = 0; i < n; i++) {
        row->fields[h->at[i]] = f[i];
        row->has[h->at[i]] = true;
    }
    TD_TRY(row_judge(row, &r->arena, ei));
    r->n++;
    return TD_OK;
}

static int by_serial(const void *a, const void *b)
{
    const struct inv_row *x = *(const struct inv_row *const *)a;
    const struct inv_row *y = *(const struct inv_row *const *)b;
    struct span s = x->fields[INV_SERIAL], t = y->fields[INV_SERIAL];
    int d = memcmp(s.p, t.p, s.n < t.n ? s.n : t.n);
    if (d == 0)
        d = (s.n > t.n) - (s.n < t.n);
    return d ? d : (x->line > y->line) - (x->line < y->line);
}

/* A serial twice in one file: which row would be right? */
static enum td_err no_duplicates(const struct inv_rows *r, size_t *ret_line, struct errinfo *ei)
{
    if (r->n < 2)
        return TD_OK;
    const struct inv_row **sorted = calloc(r->n, sizeof(struct inv_row *));
    if (!sorted)
        return TD_NOMEM;
    for (size_t i = 0; i < r->n; i++)
        sorted[i] = &r->rows[i];
    qsort(sorted, r->n, sizeof(struct inv_row *), by_serial);
    const struct inv_row *first = NULL, *again = NULL;
    for (size_t i = 1; i < r->n; i++)
        if (span_eq(sorted[i - 1]->fields[INV_SERIAL], sorted[i]->fields[INV_SERIAL]) &&
            (!again || sorted[i]->line < again->line)) {
            first = sorted[i - 1];
            again = sorted[i];
        }
    free(sorted);
    if (!again)
        return TD_OK;
    *ret_line = again->line;
    return err_reason(ei, TD_INVAL, "duplicate-serial", "line %zu: %.*s is on line %zu already",
                      again->line, (int)again->fields[INV_SERIAL].n,
                      (const char *)again->fields[INV_SERIAL].p, first->line);
}

enum td_err inv_rows_parse(struct span csv, struct inv_rows *ret, size_t *ret_line,
                           struct errinfo *ei)
{
    *ret = (struct inv_rows){0};
    arena_init(&ret->arena, 8 * csv.n + 64); /* a field of four bytes may take sixteen */
    *ret_line = 0;
    if (csv.n > LIMIT_BODY_CSV)
        return err_reason(ei, TD_LIMIT, "csv", "a file of more than %d bytes", LIMIT_BODY_CSV);
    struct csv c;
    struct header h;
    enum td_err e = csv_init(&c, csv, ei);
    if (e == TD_OK)
        e = header_read(&c, &ret->arena, &h, ei);
    while (e == TD_OK)
        e = row_read(&c, &h, ret, ei);
    if (e == TD_NOTFOUND)
        e = no_duplicates(ret, ret_line, ei);
    else
        *ret_line = c.line;
    if (e != TD_OK)
        inv_rows_free(ret);
    return e;
}

void inv_rows_free(struct inv_rows *r)
{
    free(r->rows);
    arena_free(&r->arena);
    *r = (struct inv_rows){0};
}
