#include "mdm/store/tool.h"

#define ATTEMPTS 10      /* of a transaction that loses races */
#define ANSWER_MS 600000 /* tools read whole tables */

static enum td_err open_with(struct tool *t, const struct store_conf *conf, enum conn_kind kind,
                             struct store_stmts set, struct errinfo *ei)
{
    const char *where = NULL;
    t->ops = store_engine_find(conf->url, &where, ei);
    if (!t->ops)
        return TD_INVAL;
    const struct engine_admin *admin = t->ops->admin;
    const struct store_stmts all[] = {
        {&admin->columns, 1}, {&admin->seq_get, 1}, admin->checks, admin->deep, set};
    TD_TRY(stmt_table_init(&t->stmts, all, TD_NITEMS(all), ei));
    struct store_conf patient = *conf;
    patient.answer_ms = ANSWER_MS;
    TD_TRY(t->ops->open(&patient, where, t->stmts.n, &t->engine, ei));
    enum td_err e = t->ops->conn_open(t->engine, kind, &t->conn, ei);
    if (e == TD_NOTFOUND)
        return err_set(ei, e, "there is no database at %s", where);
    return e;
}

enum td_err tool_open(struct tool *t, const struct store_conf *conf, enum conn_kind kind,
                      const struct store_stmt *stmts, size_t n, struct errinfo *ei)
{
    *t = (struct tool){0};
    enum td_err e = open_with(t, conf, kind, (struct store_stmts){stmts, n}, ei);
    if (e != TD_OK)
        tool_close(t);
    return e;
}

void tool_close(struct tool *t)
{
    if (t->conn)
        t->ops->conn_close(t->conn);
    if (t->engine)
        t->ops->close(t->engine);
    stmt_table_free(&t->stmts);
    *t = (struct tool){0};
}

struct tx tool_tx(const struct tool *t, bool write)
{
    return (struct tx){.ops = t->ops, .stmts = &t->stmts, .conn = t->conn, .write = write};
}

enum td_err tool_begin(struct tool *t, enum txn_op op, struct errinfo *ei)
{
    const char *patient = t->ops->admin->patient;
    TD_TRY(t->ops->txn(t->conn, op, ei));
    return patient ? t->ops->script(t->conn, span_str(patient), ei) : TD_OK;
}

static enum td_err once(struct tool *t, bool write, store_fn fn, void *ctx, bool *raced,
                        struct errinfo *ei)
{
    struct tx tx = tool_tx(t, write);
    enum td_err e = tool_begin(t, write ? TXN_BEGIN_WRITE : TXN_BEGIN_READ, ei);
    if (e == TD_OK)
        e = tx_run(&tx, fn, ctx, ei);
    if (e == TD_OK && write)
        e = t->ops->txn(t->conn, TXN_COMMIT, ei);
    *raced = e != TD_OK && t->ops->fate(t->conn) == TXN_RACED;
    if (e != TD_OK || !write) /* a commit is for what was written */
        (void)t->ops->txn(t->conn, TXN_ROLLBACK, NULL);
    return e;
}

enum td_err tool_read(struct tool *t, store_fn fn, void *ctx, struct errinfo *ei)
{
    bool raced;
    return once(t, false, fn, ctx, &raced, ei);
}

enum td_err tool_write(struct tool *t, store_fn fn, void *ctx, struct errinfo *ei)
{
    enum td_err e = TD_OK;
    bool raced = true;
    for (unsigned i = 0; i < ATTEMPTS && raced; i++)
        e = once(t, true, fn, ctx, &raced, ei);
    return e;
}
