#include "mdm/base/hex.h"
#include "mdm/base/log.h"
#include "mdm/crypt/digest.h"
#include "mdm/store/store_int.h"

#define SHA256_TEXT (2 * SHA256_SIZE + 1)

enum { MIG_LIST, MIG_ADD, MIG_PING, MIG_MAX };

static const struct store_stmt stmts[MIG_MAX] = {
    [MIG_LIST] = {"store.migrations",
                  "SELECT version, name, sha256 FROM schema_migrations ORDER BY version", "",
                  "itt"},
    [MIG_ADD] = {"store.migration_add",
                 "INSERT INTO schema_migrations (version, name, sha256, applied_at)"
                 " VALUES (?1, ?2, ?3, ?4)",
                 "itti", ""},
    [MIG_PING] = {"store.ping", "SELECT version FROM schema_migrations WHERE version = ?1", "i",
                  "i"},
};

const struct store_stmts migrate_stmts = {stmts, MIG_MAX};

void migrate_dialect(struct span sql, const struct store_word *words, size_t n, struct buf *out)
{
    for (size_t i = 0; i < sql.n;) {
        size_t k = 0;
        while (k < n && !span_starts(span_sub(sql, i, sql.n - i), span_str(words[k].from)))
            k++;
        if (k < n) {
            buf_str(out, words[k].to);
            i += strlen(words[k].from);
        } else {
            buf_u8(out, sql.p[i++]);
        }
    }
}

struct progress {
    const struct migration *list;
    size_t n, applied;
    int64_t now;
};

static void checksum(const struct migration *m, char out[static SHA256_TEXT])
{
    uint8_t sum[SHA256_SIZE];
    digest_sha256(span_of(m->from, (size_t)(m->to - m->from)), sum);
    hex_enc(SPAN_ARR(sum), out);
}

/* Compares one row of the database with what this program knows. */
static enum td_err check_row(struct progress *p, const struct cur *c, struct errinfo *ei)
{
    int64_t version = cur_int(c, 0);
    if (p->applied >= p->n)
        return err_set(ei, TD_STATE,
                       "the database is at schema version %lld, this program knows up to %zu: "
                       "it was written by a newer testudo",
                       (long long)version, p->n);
    const struct migration *m = &p->list[p->applied];
    char sum[SHA256_TEXT];
    checksum(m, sum);
    if (version != m->version)
        return err_set(ei, TD_STATE, "the database lacks migration %lld but has %lld",
                       (long long)m->version, (long long)version);
    if (!span_eq_str(cur_span(c, 1), m->name) || !span_eq_str(cur_span(c, 2), sum))
        return err_set(ei, TD_STATE,
                       "migration %lld (%s) in the database is not the one of this program: "
                       "damaged, or another build",
                       (long long)version, m->name);
    p->applied++;
    return TD_OK;
}

/* Counts the migrations applied; TD_STATE when they are not ours. */
static enum td_err check(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct progress *p = ctx;
    p->applied = 0;
    bool exists;
    TD_TRY(tx->ops->schema_exists(tx->conn, &exists, ei));
    if (!exists)
        return TD_OK;
    struct cur c;
    TD_TRY(tx_query(tx, &stmts[MIG_LIST], NULL, 0, &c, ei));
    enum td_err e;
    while ((e = cur_next(&c, ei)) == TD_OK) {
        e = check_row(p, &c, ei);
        if (e != TD_OK) {
            cur_end(&c);
            return e;
        }
    }
    return e == TD_NOTFOUND ? TD_OK : e;
}

/* Applies the next migration; TD_NOTFOUND when there is none. Another process may have been faster
 * since the last look, so it looks again. */
static enum td_err apply_next(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct progress *p = ctx;
    TD_TRY(check(tx, ctx, ei));
    if (p->applied == p->n)
        return TD_NOTFOUND;
    const struct migration *m = &p->list[p->applied];
    char sum[SHA256_TEXT];
    checksum(m, sum);
    TD_TRY(tx->ops->schema_init(tx->conn, ei));
    TD_TRY(tx->ops->script(tx->conn, span_of(m->from, (size_t)(m->to - m->from)), ei));
    return tx_exec(tx, &stmts[MIG_ADD],
                   SV_LIST(SV_INT(m->version), SV_TEXT(m->name), SV_TEXT(sum), SV_INT(p->now)),
                   NULL, ei);
}

static enum td_err in_txn(struct tx *tx, enum txn_op begin, store_fn fn, struct progress *p,
                          struct errinfo *ei)
{
    TD_TRY(tx->ops->txn(tx->conn, begin, ei));
    enum td_err e = tx_run(tx, fn, p, ei);
    if (e == TD_OK)
        e = tx->ops->txn(tx->conn, TXN_COMMIT, ei);
    if (e != TD_OK)
        (void)tx->ops->txn(tx->conn, TXN_ROLLBACK, NULL);
    return e;
}

static enum td_err apply_all(const struct engine_ops *ops, struct conn *conn,
                             const struct stmt_table *table, struct progress *p, struct errinfo *ei)
{
    for (;;) {
        struct tx tx = {.ops = ops, .stmts = table, .conn = conn, .write = true};
        enum td_err e = in_txn(&tx, TXN_BEGIN_ALONE, apply_next, p, ei);
        if (e == TD_NOTFOUND)
            return TD_OK;
        TD_TRY(e);
        log_ev(LOG_INFO, "store.migrated", KV("name", p->list[p->applied].name));
    }
}

enum td_err migrate_run(const struct engine_ops *ops, struct engine *e,
                        const struct stmt_table *table, const struct migration *list, size_t n,
                        int64_t now, struct errinfo *ei)
{
    struct progress p = {.list = list, .n = n, .now = now};
    struct conn *conn;
    /* a look first, on a connection that cannot write */
    enum td_err err = ops->conn_open(e, CONN_CHECK, &conn, ei);
    if (err == TD_OK) {
        struct tx tx = {.ops = ops, .stmts = table, .conn = conn};
        err = in_txn(&tx, TXN_BEGIN_READ, check, &p, ei);
        ops->conn_close(conn);
        if (err != TD_OK || p.applied == n)
            return err;
    } else if (err != TD_NOTFOUND) {
        return err;
    }
    TD_TRY(ops->conn_open(e, CONN_WRITE, &conn, ei));
    err = apply_all(ops, conn, table, &p, ei);
    ops->conn_close(conn);
    return err;
}

/* Reads one row, whatever the schema's version. */
static enum td_err ping(struct tx *tx, void *ctx, struct errinfo *ei)
{
    (void)ctx;
    struct cur c;
    enum td_err e = tx_row(tx, &stmts[MIG_PING], SV_LIST(SV_INT(1)), &c, ei);
    cur_end(&c);
    return e == TD_NOTFOUND ? err_set(ei, TD_DB, "the database lost its schema") : e;
}

enum td_err store_ping(struct store *s, struct errinfo *ei)
{
    return store_read(s, ping, NULL, ei);
}
