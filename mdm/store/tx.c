#include "mdm/base/log.h"
#include "mdm/store/store_int.h"

enum td_err tx_run(struct tx *tx, store_fn fn, void *ctx, struct errinfo *ei)
{
    enum td_err e = fn(tx, ctx, ei);
    /* a job that returned early on an error leaves cursors open now and then: no harm done */
    size_t left = tx->ops->end_all(tx->conn);
    if (e != TD_OK)
        return e;
    if (left)
        log_ev(LOG_WARN, "store.cursor-left", KV_I64("n", left));
    if (tx->failed)
        return err_set(ei, TD_INTERNAL, "%s failed, and its job went on", tx->failed->name);
    if (tx->misused)
        return err_set(ei, TD_INTERNAL, "%s: a column was read as another type", tx->misused->name);
    return TD_OK;
}

/* Finds, checks and prepares. */
static enum td_err ready(struct tx *tx, const struct store_stmt *st, const struct sval *args,
                         size_t nargs, bool rows, size_t *ret, struct errinfo *ei)
{
    if (tx->failed)
        return err_set(ei, TD_INTERNAL, "%s: %s failed before in this job", st->name,
                       tx->failed->name);
    size_t i = stmt_table_find(tx->stmts, st);
    if (i == STMT_NONE)
        return err_set(ei, TD_INTERNAL, "%s: a statement that is not registered", st->name);
    if (rows != (st->out[0] != '\0'))
        return err_set(ei, TD_INTERNAL, "%s: gives %s", st->name, rows ? "no rows" : "rows");
    TD_TRY(stmt_check_args(st, args, nargs, ei));
    enum td_err e = tx->ops->prepare(tx->conn, i, st, ei);
    if (e != TD_OK)
        tx->failed = st;
    tx->status |= tx->stmts->status[i];
    *ret = i;
    return e;
}

enum td_err tx_exec(struct tx *tx, const struct store_stmt *st, const struct sval *args,
                    size_t nargs, int64_t *ret_changes, struct errinfo *ei)
{
    size_t i = STMT_NONE;
    TD_TRY(ready(tx, st, args, nargs, false, &i, ei));
    int64_t changes = 0;
    enum td_err e = tx->ops->exec(tx->conn, i, args, nargs, &changes, ei);
    if (e != TD_OK) {
        tx->failed = st;
        return e;
    }
    if (ret_changes)
        *ret_changes = changes;
    return TD_OK;
}

enum td_err tx_exec_many(struct tx *tx, const struct store_stmt *st, const struct sval *args,
                         size_t nargs, struct errinfo *ei)
{
    size_t i = STMT_NONE;
    if (!tx->ops->exec_many)
        return tx_exec(tx, st, args, nargs, NULL, ei);
    TD_TRY(ready(tx, st, args, nargs, false, &i, ei));
    enum td_err e = tx->ops->exec_many(tx->conn, i, args, nargs, ei);
    if (e != TD_OK)
        tx->failed = st;
    return e;
}

enum td_err tx_query(struct tx *tx, const struct store_stmt *st, const struct sval *args,
                     size_t nargs, struct cur *ret, struct errinfo *ei)
{
    *ret = (struct cur){.tx = tx, .st = st};
    size_t i = STMT_NONE;
    TD_TRY(ready(tx, st, args, nargs, true, &i, ei));
    enum td_err e = tx->ops->query(tx->conn, i, args, nargs, &ret->impl, ei);
    if (e != TD_OK)
        tx->failed = st;
    return e;
}

enum td_err cur_next(struct cur *c, struct errinfo *ei)
{
    if (!c->impl)
        return TD_NOTFOUND;
    enum td_err e = c->single ? TD_NOTFOUND : c->tx->ops->next(c->impl, ei);
    if (e == TD_OK)
        return TD_OK;
    cur_end(c);
    if (e != TD_NOTFOUND)
        c->tx->failed = c->st;
    return e;
}

void cur_end(struct cur *c)
{
    if (c->impl)
        c->tx->ops->end(c->impl);
    c->impl = NULL;
}

enum td_err tx_row(struct tx *tx, const struct store_stmt *st, const struct sval *args,
                   size_t nargs, struct cur *ret, struct errinfo *ei)
{
    TD_TRY(tx_query(tx, st, args, nargs, ret, ei));
    TD_TRY(cur_next(ret, ei));
    ret->single = true;
    return TD_OK;
}

/* Whether column i exists, is of one of the letters, and a row is open. Else the job fails. */
static bool column(const struct cur *c, int i, const char *allowed)
{
    if (!c->impl)
        return false;
    if (i >= 0 && (size_t)i < strlen(c->st->out) && strchr(allowed, c->st->out[i]))
        return true;
    c->tx->misused = c->st;
    return false;
}

bool cur_is_null(const struct cur *c, int i)
{
    return !column(c, i, "tibTIB") || c->tx->ops->col_null(c->impl, i);
}

int64_t cur_int(const struct cur *c, int i)
{
    return column(c, i, "iI") ? c->tx->ops->col_int(c->impl, i) : 0;
}

struct span cur_span(const struct cur *c, int i)
{
    return column(c, i, "tTbB") ? c->tx->ops->col_bytes(c->impl, i) : (struct span){NULL, 0};
}

char *cur_dup(const struct cur *c, int i, struct arena *a)
{
    if (cur_is_null(c, i))
        return NULL;
    return arena_dup(a, cur_span(c, i));
}

struct span cur_span_dup(const struct cur *c, int i, struct arena *a)
{
    if (cur_is_null(c, i))
        return (struct span){NULL, 0};
    return arena_span(a, cur_span(c, i));
}
