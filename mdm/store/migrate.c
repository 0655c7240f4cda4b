#include "mdm/base/hex.h"
#include "mdm/base/log.h"
#include "mdm/crypt/digest.h"
#include "mdm/store/store_int.h"

#define SHA256_TEXT (2 * SHA256_SIZE + 1)
_Static_assert(SHA256_TEXT == MIGRATE_TEXT, "a digest in hexadecimal");

/* The row that marks an unfinished copy: a version no program reaches, so that one too old to know
 * of copies refuses the database as well. */
#define COPY_VERSION 1000000
#define COPY_NAME "unfinished-copy"

enum { MIG_LIST, MIG_ADD, MIG_DROP, MIG_PING, MIG_MAX };

static const struct store_stmt stmts[MIG_MAX] = {
    [MIG_LIST] = {"store.migrations",
                  "SELECT version, name, sha256, applied_at FROM schema_migrations"
                  " ORDER BY version",
                  "", "itti"},
    [MIG_ADD] = {"store.migration_add",
                 "INSERT INTO schema_migrations (version, name, sha256, applied_at)"
                 " VALUES (?1, ?2, ?3, ?4)",
                 "itti", ""},
    [MIG_DROP] = {"store.migration_drop", "DELETE FROM schema_migrations WHERE version = ?1", "i",
                  ""},
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

/* One row: a migration, or the mark of an unfinished copy. */
static enum td_err look_row(struct progress *p, struct migrate_state *st, const struct cur *c,
                            struct errinfo *ei)
{
    if (cur_int(c, 0) == COPY_VERSION && span_eq_str(cur_span(c, 1), COPY_NAME)) {
        struct span id = cur_span(c, 2);
        snprintf(st->copy, sizeof st->copy, "%.*s", (int)id.n, (const char *)id.p);
        return TD_OK;
    }
    TD_TRY(check_row(p, c, ei));
    struct span name = cur_span(c, 1), sum = cur_span(c, 2);
    char row[400];
    uint8_t id[SHA256_SIZE];
    int n = snprintf(row, sizeof row, "%s %lld %.*s %.*s %lld", st->id, (long long)cur_int(c, 0),
                     (int)name.n, (const char *)name.p, (int)sum.n, (const char *)sum.p,
                     (long long)cur_int(c, 3));
    digest_sha256(span_of(row, n < (int)sizeof row ? (size_t)n : sizeof row - 1), id);
    hex_enc(SPAN_ARR(id), st->id);
    return TD_OK;
}

enum td_err migrate_look(struct tx *tx, const struct migration *list, size_t n,
                         struct migrate_state *ret, struct errinfo *ei)
{
    struct progress p = {.list = list, .n = n};
    struct migrate_state st = {0};
    bool exists = false;
    TD_TRY(tx->ops->schema_exists(tx->conn, &exists, ei));
    struct cur c = {0};
    if (exists)
        TD_TRY(tx_query(tx, &stmts[MIG_LIST], NULL, 0, &c, ei));
    enum td_err e;
    while ((e = cur_next(&c, ei)) == TD_OK) {
        e = look_row(&p, &st, &c, ei);
        if (e != TD_OK) {
            cur_end(&c);
            return e;
        }
    }
    if (e != TD_NOTFOUND)
        return e;
    st.applied = p.applied;
    *ret = st;
    return TD_OK;
}

enum td_err migrate_mark(struct tx *tx, const char *id, int64_t now, struct errinfo *ei)
{
    return tx_exec(tx, &stmts[MIG_ADD],
                   SV_LIST(SV_INT(COPY_VERSION), SV_TEXT(COPY_NAME), SV_TEXT(id), SV_INT(now)),
                   NULL, ei);
}

enum td_err migrate_unmark(struct tx *tx, struct errinfo *ei)
{
    return tx_exec(tx, &stmts[MIG_DROP], SV_LIST(SV_INT(COPY_VERSION)), NULL, ei);
}

/* Counts the migrations applied; TD_STATE when they are not ours, or not whole. */
static enum td_err check(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct progress *p = ctx;
    struct migrate_state st;
    TD_TRY(migrate_look(tx, p->list, p->n, &st, ei));
    if (st.copy[0])
        return err_set(ei, TD_STATE,
                       "the database is an unfinished copy: testudo db migrate goes on with it");
    p->applied = st.applied;
    return TD_OK;
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
