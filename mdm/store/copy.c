#include "mdm/store/copy.h"

#include <stdlib.h>

#include "mdm/base/hex.h"
#include "mdm/store/copy_sql.h"
#include "mdm/store/tool.h"

#define ARENA_MAX ((size_t)16 << 20)
#define TXN_ROWS 4096 /* in one transaction of the target */

struct copy {
    struct store_conf from_conf, to_conf;
    const struct store_progress *progress;
    const struct migration *list; /* as many as the source has, once it was looked at */
    size_t n;
    struct tool from, to;
    struct arena arena;
    struct schema schema;
    struct copy_table *tables;
    struct migrate_state source;
    bool resumed;
};

static enum td_err tell(const struct copy *c, const struct store_step *step, struct errinfo *ei)
{
    if (!c->progress || !c->progress->fn || c->progress->fn(c->progress->ctx, step))
        return TD_OK;
    return err_set(ei, TD_GONE, "stopped; the same command goes on with it");
}

/* --- one table ------------------------------------------------------------------------------- */

struct table_job {
    struct copy *c;
    const struct copy_table *t;
    struct tx *to;
    struct copy_key key, next; /* behind what is committed, behind what is under way */
    struct copy_page page;
    int64_t done, total, under_way;
    bool end;
};

static enum td_err insert_row(void *ctx, const struct copy_table *t, const struct sval *row,
                              struct errinfo *ei)
{
    struct table_job *j = ctx;
    return tx_exec_many(j->to, &t->stmts[COPY_INSERT], row, t->t->ncols, ei);
}

static void key_swap(struct copy_key *a, struct copy_key *b)
{
    struct copy_key old = *a;
    *a = *b;
    *b = old;
}

/* Some pages into one transaction of the target. May run again: it begins behind j->key, and keeps
 * its own place in two keys that take turns. */
static enum td_err pages_job(struct tx *to, void *ctx, struct errinfo *ei)
{
    struct table_job *j = ctx;
    struct tx from = tool_tx(&j->c->from, false);
    struct copy_key at;
    copy_key_init(&at);
    j->to = to;
    j->under_way = 0;
    j->next.set = false;
    const struct copy_key *after = &j->key;
    enum td_err e;
    do {
        at.set = false;
        e = copy_page_walk(&from, j->t, after, &j->page, &at, insert_row, j, ei);
        if (at.set)
            key_swap(&at, &j->next);
        after = j->next.set ? &j->next : &j->key;
        j->end = j->page.rows < j->page.limit;
        j->under_way += j->page.rows;
        j->page.limit = copy_page_next(&j->page);
    } while (e == TD_OK && !j->end && j->under_way < TXN_ROWS);
    copy_key_free(&at);
    return e;
}

static enum td_err count(struct tx *tx, const struct store_stmt *st, int64_t *ret,
                         struct errinfo *ei)
{
    struct cur c;
    TD_TRY(tx_row(tx, st, NULL, 0, &c, ei));
    *ret = cur_int(&c, 0);
    cur_end(&c);
    return TD_OK;
}

/* Where a run before this one came to. */
static enum td_err start_job(struct tx *to, void *ctx, struct errinfo *ei)
{
    struct table_job *j = ctx;
    TD_TRY(count(to, &j->t->stmts[COPY_COUNT], &j->done, ei));
    return copy_key_last(to, j->t, &j->key, ei);
}

static enum td_err rows_copy(struct table_job *j, struct errinfo *ei)
{
    struct copy *c = j->c;
    struct tx from = tool_tx(&c->from, false);
    TD_TRY(count(&from, &j->t->stmts[COPY_COUNT], &j->total, ei));
    if (c->resumed)
        TD_TRY(tool_read(&c->to, start_job, j, ei));
    struct store_step step = {STORE_COPYING, j->t->t->name, NULL, j->done, j->total};
    while (!j->end) {
        TD_TRY(tell(c, &step, ei));
        TD_TRY(tool_write(&c->to, pages_job, j, ei));
        if (j->next.set)
            key_swap(&j->key, &j->next);
        step.done += j->under_way;
    }
    step.phase = STORE_COPIED;
    return tell(c, &step, ei);
}

static enum td_err table_copy(struct copy *c, const struct copy_table *t, struct errinfo *ei)
{
    struct table_job j = {.c = c, .t = t, .page = {.limit = 16}};
    copy_key_init(&j.key);
    copy_key_init(&j.next);
    enum td_err e = rows_copy(&j, ei);
    copy_key_free(&j.key);
    copy_key_free(&j.next);
    return e;
}

struct clear_job {
    const struct copy_table *t;
    int64_t gone;
};

static enum td_err clear_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct clear_job *j = ctx;
    return tx_exec(tx, &j->t->stmts[COPY_CLEAR], SV_LIST(SV_INT(TXN_ROWS)), &j->gone, ei);
}

static enum td_err table_clear(struct copy *c, const struct copy_table *t, struct errinfo *ei)
{
    struct clear_job j = {.t = t};
    do
        TD_TRY(tool_write(&c->to, clear_job, &j, ei));
    while (j.gone);
    return TD_OK;
}

/* --- comparing ------------------------------------------------------------------------------- */

struct sum_job {
    struct copy *c;
    const struct copy_table *t;
    struct copy_digest d;
    struct store_step step;
};

static enum td_err sum_row(void *ctx, const struct copy_table *t, const struct sval *row,
                           struct errinfo *ei)
{
    struct sum_job *j = ctx;
    (void)ei;
    return copy_digest_row(&j->d, t->t->ncols, row);
}

/* All rows of the table, on whatever side the transaction is. */
static enum td_err sum_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct sum_job *j = ctx;
    struct copy_page page = {.limit = 16};
    struct copy_key key;
    copy_key_init(&key);
    copy_digest_free(&j->d);
    copy_digest_init(&j->d);
    enum td_err e;
    bool end;
    do {
        struct copy_key at = key; /* the walk copies what it begins behind before it goes */
        e = copy_page_walk(tx, j->t, &at, &page, &key, sum_row, j, ei);
        end = page.rows < page.limit;
        page.limit = copy_page_next(&page);
        j->step.done = j->d.rows;
        if (e == TD_OK)
            e = tell(j->c, &j->step, ei);
    } while (e == TD_OK && !end);
    copy_key_free(&key);
    return e;
}

static enum td_err both_sums(struct copy *c, struct sum_job *a, struct sum_job *b,
                             struct errinfo *ei)
{
    struct tx from = tool_tx(&c->from, false);
    TD_TRY(count(&from, &a->t->stmts[COPY_COUNT], &a->step.total, ei));
    b->step.total = a->step.total;
    TD_TRY(sum_job(&from, a, ei));
    return tool_read(&c->to, sum_job, b, ei);
}

/* Compares the table on both sides; TD_CONFLICT when it differs. */
static enum td_err table_compare(struct copy *c, const struct copy_table *t, struct errinfo *ei)
{
    struct sum_job a = {.c = c, .t = t, .step = {STORE_CHECKING, t->t->name, NULL, 0, 0}};
    struct sum_job b = a;
    copy_digest_init(&a.d);
    copy_digest_init(&b.d);
    char sum[MIGRATE_TEXT];
    enum td_err e = both_sums(c, &a, &b, ei);
    if (e == TD_OK && (a.d.rows != b.d.rows || memcmp(a.d.sum, b.d.sum, sizeof a.d.sum) != 0))
        e = err_set(ei, TD_CONFLICT,
                    "table %s differs: %lld rows in the source, %lld in the copy%s", t->t->name,
                    (long long)a.d.rows, (long long)b.d.rows,
                    a.d.rows == b.d.rows ? ", not the same ones" : "");
    if (e == TD_OK) {
        hex_enc(SPAN_ARR(a.d.sum), sum);
        e = tell(c, &(struct store_step){STORE_SAME, t->t->name, sum, a.d.rows, a.d.rows}, ei);
    }
    copy_digest_free(&a.d);
    copy_digest_free(&b.d);
    return e;
}

/* A table that a run before this one copied may be older than the source is now: once more then. */
static enum td_err table_settle(struct copy *c, const struct copy_table *t, struct errinfo *ei)
{
    enum td_err e = table_compare(c, t, ei);
    if (e != TD_CONFLICT || !c->resumed)
        return e;
    TD_TRY(tell(c, &(struct store_step){STORE_CHANGED, t->t->name, NULL, 0, 0}, ei));
    TD_TRY(table_clear(c, t, ei));
    TD_TRY(table_copy(c, t, ei));
    return table_compare(c, t, ei);
}

/* --- keys that only grow --------------------------------------------------------------------- */

struct seq_job {
    const struct engine_admin *admin;
    const struct schema_table *t;
    int64_t last;
};

static void put_script(struct buf *b, const struct seq_job *j)
{
    static const char *const words[] = {"@TABLE@", "@COLUMN@", "@VALUE@"};
    struct span rest = span_str(j->admin->seq_set);
    while (rest.n) {
        size_t w = 0;
        while (w < TD_NITEMS(words) && !span_starts(rest, span_str(words[w])))
            w++;
        if (w == 0)
            buf_str(b, j->t->name);
        else if (w == 1)
            buf_str(b, j->t->identity);
        else if (w == 2)
            buf_printf(b, "%lld", (long long)j->last);
        else
            buf_u8(b, rest.p[0]);
        size_t n = w < TD_NITEMS(words) ? strlen(words[w]) : 1;
        rest = span_sub(rest, n, rest.n - n);
    }
}

static enum td_err seq_write(struct tx *tx, void *ctx, struct errinfo *ei)
{
    buf_auto b;
    buf_init(&b, 4096);
    put_script(&b, ctx);
    return b.err == TD_OK ? tx->ops->script(tx->conn, buf_view(&b), ei) : b.err;
}

/* The next key of the copy is behind every key that the source ever gave out, also one whose row is
 * gone: a list that somebody reads by its keys would lose a row. */
static enum td_err seq_carry(struct copy *c, const struct copy_table *t, struct errinfo *ei)
{
    struct seq_job j = {.admin = c->to.ops->admin, .t = t->t};
    struct tx from = tool_tx(&c->from, false);
    struct copy_key last;
    struct cur cur;
    enum td_err e = tx_row(&from, &c->from.ops->admin->seq_get,
                           SV_LIST(SV_TEXT(t->t->name), SV_TEXT(t->t->identity)), &cur, ei);
    if (e == TD_OK && !cur_is_null(&cur, 0))
        j.last = cur_int(&cur, 0);
    if (e != TD_OK && e != TD_NOTFOUND)
        return e;
    cur_end(&cur);
    copy_key_init(&last);
    e = copy_key_last(&from, t, &last, ei);
    if (last.set && last.v[0].i > j.last)
        j.last = last.v[0].i;
    copy_key_free(&last);
    TD_TRY(e);
    return j.last > 0 ? tool_write(&c->to, seq_write, &j, ei) : TD_OK;
}

/* --- the whole ------------------------------------------------------------------------------- */

struct look {
    struct copy *c;
    struct migrate_state state;
    struct schema schema;
};

static enum td_err look_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct look *l = ctx;
    TD_TRY(migrate_look(tx, l->c->list, l->c->n, &l->state, ei));
    return schema_read(tx, &l->c->arena, &l->schema, ei);
}

static enum td_err look_at(struct copy *c, const struct store_conf *conf, struct look *ret,
                           struct errinfo *ei)
{
    tool_auto t;
    *ret = (struct look){.c = c};
    TD_TRY(tool_open(&t, conf, CONN_CHECK, NULL, 0, ei));
    return tool_read(&t, look_job, ret, ei);
}

static enum td_err look_at_source(struct copy *c, struct errinfo *ei)
{
    struct look l;
    TD_TRY(look_at(c, &c->from_conf, &l, ei));
    if (l.state.applied == 0)
        return err_set(ei, TD_STATE, "the source is an empty database");
    if (l.state.copy[0])
        return err_set(ei, TD_STATE, "the source is itself an unfinished copy");
    c->source = l.state;
    c->schema = l.schema;
    c->n = l.state.applied;
    return copy_sql_make(&c->schema, &c->arena, &c->tables, ei);
}

static enum td_err empty_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct copy_table *t = ctx;
    int64_t any = 0;
    TD_TRY(count(tx, &t->stmts[COPY_ANY], &any, ei));
    return any ? err_set(ei, TD_STATE, "the target has data of its own (table %s)", t->t->name)
               : TD_OK;
}

static enum td_err check_empty(struct copy *c, const struct schema *s, struct errinfo *ei)
{
    struct copy_table *tables;
    tool_auto t = {0};
    TD_TRY(copy_sql_make(s, &c->arena, &tables, ei));
    if (s->n)
        TD_TRY(tool_open(&t, &c->to_conf, CONN_CHECK, tables[0].stmts, s->n * COPY_MAX, ei));
    for (size_t i = 0; i < s->n; i++)
        TD_TRY(tool_read(&t, empty_job, &tables[i], ei));
    return TD_OK;
}

/* Whether the target may be written, and how far a run before this one came. */
static enum td_err look_at_target(struct copy *c, struct errinfo *ei)
{
    struct look l;
    enum td_err e = look_at(c, &c->to_conf, &l, ei);
    if (e == TD_NOTFOUND)
        return TD_OK;
    if (e == TD_STATE && ei) {
        char why[sizeof ei->msg];
        snprintf(why, sizeof why, "%s", ei->msg);
        return err_set(ei, e, "the target: %s", why);
    }
    TD_TRY(e);
    if (!l.state.copy[0])
        return check_empty(c, &l.schema, ei);
    if (strcmp(l.state.copy, c->source.id) != 0)
        return err_set(ei, TD_STATE, "the target is an unfinished copy of another database");
    c->resumed = true;
    return TD_OK;
}

static enum td_err mark_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct copy *c = ctx;
    return migrate_mark(tx, c->source.id, clock_now(c->to_conf.clock), ei);
}

static enum td_err unmark_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    (void)ctx;
    return migrate_unmark(tx, ei);
}

/* The target gets its tables, which must be those of the source, and the mark. */
static enum td_err prepare_target(struct copy *c, struct errinfo *ei)
{
    TD_TRY(
        tool_open(&c->to, &c->to_conf, CONN_WRITE, c->tables[0].stmts, c->schema.n * COPY_MAX, ei));
    if (!c->resumed) {
        TD_TRY(migrate_run(c->to.ops, c->to.engine, &c->to.stmts, c->list, c->n,
                           clock_now(c->to_conf.clock), ei));
        TD_TRY(tool_write(&c->to, mark_job, c, ei));
    }
    struct look l = {.c = c};
    TD_TRY(tool_read(&c->to, look_job, &l, ei));
    return schema_same(&c->schema, &l.schema, ei);
}

/* Opens the snapshot, which must be of the database that was looked at. */
static enum td_err open_source(struct copy *c, struct errinfo *ei)
{
    TD_TRY(tool_open(&c->from, &c->from_conf, CONN_READ, c->tables[0].stmts, c->schema.n * COPY_MAX,
                     ei));
    TD_TRY(tool_begin(&c->from, TXN_BEGIN_READ, ei));
    struct tx tx = tool_tx(&c->from, false);
    struct migrate_state now;
    TD_TRY(migrate_look(&tx, c->list, c->n, &now, ei));
    if (strcmp(now.id, c->source.id) != 0)
        return err_set(ei, TD_STATE, "the source was changed by another testudo");
    return TD_OK;
}

static enum td_err copy_all(struct copy *c, struct errinfo *ei)
{
    const char *where;
    if (!store_engine_find(c->to_conf.url, &where, ei))
        return TD_INVAL;
    TD_TRY(look_at_source(c, ei));
    TD_TRY(look_at_target(c, ei));
    TD_TRY(open_source(c, ei));
    TD_TRY(prepare_target(c, ei));
    for (size_t i = 0; i < c->schema.n; i++)
        TD_TRY(table_copy(c, &c->tables[i], ei));
    for (size_t i = 0; i < c->schema.n; i++)
        if (c->schema.tables[i].identity)
            TD_TRY(seq_carry(c, &c->tables[i], ei));
    for (size_t i = 0; i < c->schema.n; i++)
        TD_TRY(table_settle(c, &c->tables[i], ei));
    return tool_write(&c->to, unmark_job, NULL, ei);
}

enum td_err copy_run(const struct store_conf *from, const struct store_conf *to,
                     const struct migration *list, size_t n, const struct store_progress *progress,
                     struct errinfo *ei)
{
    struct errinfo own = {0};
    struct copy *c = calloc(1, sizeof *c);
    if (!c)
        return err_set(ei, TD_NOMEM, "a copy");
    c->from_conf = *from;
    c->to_conf = *to;
    c->progress = progress;
    c->list = list;
    c->n = n;
    arena_init(&c->arena, ARENA_MAX);
    enum td_err e = copy_all(c, ei ? ei : &own);
    if (c->from.conn)
        (void)c->from.ops->txn(c->from.conn, TXN_ROLLBACK, NULL);
    tool_close(&c->from);
    tool_close(&c->to);
    arena_free(&c->arena);
    free(c);
    return e;
}

enum td_err store_copy(const struct store_conf *from, const struct store_conf *to,
                       const struct store_progress *progress, struct errinfo *ei)
{
    return copy_run(from, to, store_migrations, store_nmigrations, progress, ei);
}
