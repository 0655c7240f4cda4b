#include "mdm/store/copy_sql.h"

#define SQL_MAX 65536
#define KEY_MAX ((size_t)1 << 20)
#define ROW_MAX ((size_t)256 << 20)
#define PAGE_ROWS 256
#define PAGE_BYTES ((size_t)4 << 20)

/* --- statements ------------------------------------------------------------------------------ */

/* What stands in a template: c columns, k key columns, K the same backwards, p parameters of the
 * columns, q parameters of the key, l the limit behind those. */
struct template
{
    const char *name, *sql, *in, *out;
};

static const struct template templates[COPY_MAX] = {
    [COPY_FIRST] = {"first", "SELECT @c FROM @t ORDER BY @k LIMIT ?1", "i", "@c"},
    [COPY_NEXT] = {"next", "SELECT @c FROM @t WHERE (@k) > (@q) ORDER BY @k LIMIT @l", "@ki", "@c"},
    [COPY_COUNT] = {"count", "SELECT COUNT(*) FROM @t", "", "i"},
    [COPY_ANY] = {"any", "SELECT COUNT(*) FROM (SELECT @k FROM @t LIMIT 1) one", "", "i"},
    [COPY_LAST] = {"last", "SELECT @k FROM @t ORDER BY @K LIMIT 1", "", "@k"},
    [COPY_INSERT] = {"insert", "INSERT INTO @t (@c) VALUES (@p) ON CONFLICT DO NOTHING", "@c", ""},
    [COPY_CLEAR] = {"clear",
                    "DELETE FROM @t WHERE (@k) IN (SELECT @k FROM @t ORDER BY @k LIMIT ?1)", "i",
                    ""},
};

static void put_params(struct buf *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        buf_printf(b, "%s?%zu", i ? ", " : "", i + 1);
}

static void put_key(struct buf *b, const struct schema_table *t, const char *behind)
{
    for (size_t i = 0; i < t->nkey; i++)
        buf_printf(b, "%s%s%s", i ? ", " : "", t->cols[t->key[i]], behind);
}

static void put_word(struct buf *b, const struct schema_table *t, char word)
{
    switch (word) {
    case 't':
        buf_str(b, t->name);
        break;
    case 'c':
        for (size_t i = 0; i < t->ncols; i++)
            buf_printf(b, "%s%s", i ? ", " : "", t->cols[i]);
        break;
    case 'k':
        put_key(b, t, "");
        break;
    case 'K':
        put_key(b, t, " DESC");
        break;
    case 'p':
        put_params(b, t->ncols);
        break;
    case 'q':
        put_params(b, t->nkey);
        break;
    default:
        buf_printf(b, "?%zu", t->nkey + 1);
    }
}

static char *sql_of(const struct template *m, const struct schema_table *t, struct arena *a)
{
    buf_auto b;
    buf_init(&b, SQL_MAX);
    for (const char *p = m->sql; *p; p++) {
        if (*p == '@')
            put_word(&b, t, *++p);
        else
            buf_u8(&b, (uint8_t)*p);
    }
    return b.err == TD_OK ? arena_dup(a, buf_view(&b)) : NULL;
}

/* The letters a template's `in` or `out` stands for. */
static char *letters_of(const char *form, const struct schema_table *t, struct arena *a)
{
    buf_auto b;
    buf_init(&b, 2 * SCHEMA_COLUMNS);
    for (const char *p = form; *p; p++) {
        if (*p != '@')
            buf_u8(&b, (uint8_t)*p);
        else if (*++p == 'c')
            buf_str(&b, t->letters);
        else
            for (size_t i = 0; i < t->nkey; i++)
                buf_u8(&b, (uint8_t)t->letters[t->key[i]]);
    }
    return b.err == TD_OK ? arena_dup(a, buf_view(&b)) : NULL;
}

enum td_err copy_sql_make(const struct schema *s, struct arena *a, struct copy_table **ret,
                          struct errinfo *ei)
{
    struct copy_table *tables = arena_alloc(a, s->n * sizeof *tables + 1);
    struct store_stmt *all = arena_alloc(a, s->n * COPY_MAX * sizeof *all + 1);
    if (!tables || !all)
        return err_set(ei, TD_NOMEM, "the statements of a copy");
    for (size_t i = 0; i < s->n; i++) {
        const struct schema_table *t = &s->tables[i];
        tables[i] = (struct copy_table){t, &all[i * COPY_MAX]};
        for (size_t k = 0; k < COPY_MAX; k++) {
            struct store_stmt *st = &all[i * COPY_MAX + k];
            st->name = arena_printf(a, "copy.%s.%s", t->name, templates[k].name);
            st->sql = sql_of(&templates[k], t, a);
            st->in = letters_of(templates[k].in, t, a);
            st->out = letters_of(templates[k].out, t, a);
            if (!st->name || !st->sql || !st->in || !st->out)
                return err_set(ei, TD_NOMEM, "the statements of a copy");
        }
    }
    *ret = tables;
    return TD_OK;
}

/* --- keys ------------------------------------------------------------------------------------ */

void copy_key_init(struct copy_key *k)
{
    *k = (struct copy_key){0};
    buf_init(&k->bytes, KEY_MAX);
}

void copy_key_free(struct copy_key *k)
{
    buf_free(&k->bytes);
}

/* Copies the key out of a row whose column of key part i is at[i]. */
static enum td_err key_take(struct copy_key *k, const struct sval *row, const size_t *at, size_t n)
{
    buf_reset(&k->bytes);
    for (size_t i = 0; i < n; i++)
        buf_span(&k->bytes, row[at[i]].s);
    if (k->bytes.err != TD_OK)
        return k->bytes.err;
    size_t from = 0; /* the buffer moves no more */
    for (size_t i = 0; i < n; i++) {
        k->v[i] = row[at[i]];
        k->v[i].s.p = k->bytes.p + from;
        from += k->v[i].s.n;
    }
    k->set = true;
    return TD_OK;
}

/* The values of the current row; their sizes added up. */
static size_t row_values(const struct cur *c, const char *letters, struct sval *row)
{
    size_t bytes = 0;
    for (int i = 0; letters[i]; i++) {
        char l = letters[i];
        if (cur_is_null(c, i))
            row[i] = SV_NULL;
        else if (l == 'i' || l == 'I')
            row[i] = SV_INT(cur_int(c, i));
        else if (l == 't' || l == 'T')
            row[i] = SV_SPAN(cur_span(c, i));
        else
            row[i] = SV_BLOB(cur_span(c, i));
        bytes += 8 + row[i].s.n;
    }
    return bytes;
}

enum td_err copy_key_last(struct tx *tx, const struct copy_table *t, struct copy_key *ret,
                          struct errinfo *ei)
{
    static const size_t in_order[SCHEMA_KEY] = {0, 1, 2, 3};
    const struct store_stmt *st = &t->stmts[COPY_LAST];
    struct sval row[SCHEMA_KEY];
    struct cur c;
    ret->set = false;
    enum td_err e = tx_row(tx, st, NULL, 0, &c, ei);
    if (e == TD_NOTFOUND)
        return TD_OK;
    TD_TRY(e);
    row_values(&c, st->out, row);
    e = key_take(ret, row, in_order, t->t->nkey);
    cur_end(&c);
    return e;
}

/* --- the walk -------------------------------------------------------------------------------- */

static enum td_err page_query(struct tx *tx, const struct copy_table *t,
                              const struct copy_key *after, int64_t limit, struct cur *ret,
                              struct errinfo *ei)
{
    struct sval args[SCHEMA_KEY + 1];
    size_t n = 0;
    while (after->set && n < t->t->nkey) {
        args[n] = after->v[n];
        n++;
    }
    args[n++] = SV_INT(limit);
    return tx_query(tx, &t->stmts[after->set ? COPY_NEXT : COPY_FIRST], args, n, ret, ei);
}

enum td_err copy_page_walk(struct tx *tx, const struct copy_table *t, const struct copy_key *after,
                           struct copy_page *page, struct copy_key *last, copy_row_fn fn, void *ctx,
                           struct errinfo *ei)
{
    struct sval row[SCHEMA_COLUMNS] = {0};
    struct cur c;
    page->rows = 0;
    page->bytes = 0;
    TD_TRY(page_query(tx, t, after, page->limit, &c, ei));
    enum td_err e;
    while ((e = cur_next(&c, ei)) == TD_OK) {
        page->bytes += row_values(&c, t->t->letters, row);
        page->rows++;
        e = fn(ctx, t, row, ei);
        if (e == TD_OK)
            e = key_take(last, row, t->t->key, t->t->nkey);
        if (e != TD_OK) {
            cur_end(&c);
            return e;
        }
    }
    return e == TD_NOTFOUND ? TD_OK : e;
}

int64_t copy_page_next(const struct copy_page *page)
{
    if (page->bytes > PAGE_BYTES)
        return page->limit > 4 ? page->limit / 4 : 1;
    return page->limit * 2 < PAGE_ROWS ? page->limit * 2 : PAGE_ROWS;
}

/* --- digests --------------------------------------------------------------------------------- */

void copy_digest_init(struct copy_digest *d)
{
    *d = (struct copy_digest){0};
    buf_init(&d->row, ROW_MAX);
}

void copy_digest_free(struct copy_digest *d)
{
    buf_free(&d->row);
}

enum td_err copy_digest_row(struct copy_digest *d, size_t ncols, const struct sval *row)
{
    struct buf *b = &d->row;
    buf_reset(b);
    buf_span(b, SPAN_ARR(d->sum));
    for (size_t i = 0; i < ncols; i++) {
        buf_u8(b, (uint8_t)row[i].kind);
        if (row[i].kind == SVAL_INT)
            buf_u64(b, (uint64_t)row[i].i);
        if (row[i].kind == SVAL_TEXT || row[i].kind == SVAL_BLOB) {
            buf_u64(b, row[i].s.n);
            buf_span(b, row[i].s);
        }
    }
    if (b->err != TD_OK)
        return b->err;
    digest_sha256(buf_view(b), d->sum);
    d->rows++;
    return TD_OK;
}
