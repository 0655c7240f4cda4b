/* A database opened by a tool rather than a server: one connection, statements made at run time,
 * no threads. */
#ifndef TD_STORE_TOOL_H
#define TD_STORE_TOOL_H

#include "mdm/store/store_int.h"

struct tool {
    const struct engine_ops *ops;
    struct engine *engine;
    struct stmt_table stmts;
    struct conn *conn;
};

/* Opens one connection of that kind. The statements stay the caller's and must outlive it; those
 * of engine_admin are always there. TD_NOTFOUND, with words, when a reading kind finds no
 * database. Of the conf, url, use, sync_full and clock count. */
enum td_err tool_open(struct tool *t, const struct store_conf *conf, enum conn_kind kind,
                      const struct store_stmt *stmts, size_t n, struct errinfo *ei);

/* Fine on what was never opened but zeroed, and twice. */
void tool_close(struct tool *t);

struct tx tool_tx(const struct tool *t, bool write);

/* Begins a transaction that may take long. The caller ends it. */
enum td_err tool_begin(struct tool *t, enum txn_op op, struct errinfo *ei);

/* Runs fn in a transaction of its own; a write is tried again when it lost a race. */
enum td_err tool_read(struct tool *t, store_fn fn, void *ctx, struct errinfo *ei);
enum td_err tool_write(struct tool *t, store_fn fn, void *ctx, struct errinfo *ei);

#define tool_auto __attribute__((cleanup(tool_close))) struct tool

#endif
