/* PostgreSQL behind mdm/store. Writes are SERIALIZABLE, so that jobs may reason as if they ran one
 * by one, as they do on SQLite; a transaction that lost a race is run again by the store, in the
 * end alone behind the gate. Reads are REPEATABLE READ snapshots. */
#include <arpa/inet.h>
#include <stdlib.h>

#include "mdm/base/metrics.h"
#include "mdm/base/num.h"
#include "mdm/base/rng.h"
#include "mdm/store/pg_int.h"

#define ARGS_MAX 48
#define ANSWER_MS 10000
#define SERVER_MIN 150000
#define NAME_SIZE 16
#define USE_LOCK "(1414022722, 100)" /* behind those of store_lead */
#define SQL_MAX ((size_t)64 * 1024)
#define SCRIPT_MAX ((size_t)1 << 20)

/* Types by their OID (pg_type.dat): fixed for ever. */
enum { OID_BYTEA = 17, OID_INT8 = 20, OID_INT2 = 21, OID_INT4 = 23, OID_TEXT = 25 };

/* --- connections ----------------------------------------------------------------------------- */

static enum td_err pgx_open(const struct store_conf *conf, const char *where, size_t nstmts,
                            struct engine **ret, struct errinfo *ei)
{
    char *why = NULL;
    bool url = strncmp(where, "://", 3) == 0 || strncmp(where, "ql://", 5) == 0;
    PQconninfoOption *parsed = url ? PQconninfoParse(conf->url, &why) : NULL;
    if (!parsed) {
        enum td_err e = err_set(ei, TD_INVAL, "postgres: %.*s", why ? (int)strcspn(why, "\n") : 80,
                                why ? why : "not an url");
        PQfreemem(why);
        return e;
    }
    PQconninfoFree(parsed);
    struct engine *e = calloc(1, sizeof *e);
    char *copy = strdup(conf->url);
    if (!e || !copy) {
        free(e);
        free(copy);
        return TD_NOMEM;
    }
    e->url = copy;
    e->nstmts = nstmts;
    e->sync_full = conf->sync_full;
    e->use = conf->use;
    e->answer_ms = conf->answer_ms ? conf->answer_ms : ANSWER_MS;
    pthread_mutex_init(&e->lock, NULL);
    pthread_mutex_init(&e->lead_lock, NULL);
    *ret = e;
    return TD_OK;
}

static void pgx_close(struct engine *e)
{
    int64_t n;
    if (e->guard) /* gone before anybody looks again: the end of a session takes its time */
        (void)pg_int(e->guard, "SELECT pg_advisory_unlock" USE_LOCK "::int", &n, NULL);
    pg_disconnect(e->guard);
    pg_disconnect(e->lead);
    pthread_mutex_destroy(&e->lock);
    pthread_mutex_destroy(&e->lead_lock);
    explicit_bzero(e->url, strlen(e->url)); /* it may hold a password */
    free(e->url);
    free(e);
}

/* Whether the database may be used: TD_STATE when it cannot hold our rows, or when something else
 * than Testudo made its schema. */
static enum td_err check_ours(struct conn *c, struct errinfo *ei)
{
    int64_t tables = 0, utf8 = 0;
    if (PQserverVersion(c->pg) < SERVER_MIN)
        return err_set(ei, TD_STATE, "PostgreSQL is older than 15");
    TD_TRY(pg_int(c,
                  "SELECT count(*) FROM pg_database WHERE datname = current_database() AND "
                  "pg_encoding_to_char(encoding) = 'UTF8'",
                  &utf8, ei));
    if (!utf8)
        return err_set(ei, TD_STATE, "the encoding of the database is not UTF8");
    /* one question: between two another node may have made the first tables */
    TD_TRY(pg_int(c,
                  "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relnamespace = "
                  "(SELECT oid FROM pg_namespace WHERE nspname = current_schema()) AND "
                  "to_regclass('schema_migrations') IS NULL",
                  &tables, ei));
    if (tables)
        return err_set(ei, TD_STATE, "the database has tables of another program");
    return TD_OK;
}

/* Sessions of a server that was stopped a moment ago are waited for. */
static enum td_err alone(struct conn *c, struct errinfo *ei)
{
    int64_t got = 0, n = 0;
    for (int i = 0; i < 30; i++) {
        TD_TRY(pg_int(c, "SELECT pg_try_advisory_lock" USE_LOCK "::int", &got, ei));
        if (got)
            return TD_OK;
        TD_TRY(pg_int(c, "SELECT 1 FROM pg_sleep(0.1)", &got, ei));
    }
    TD_TRY(pg_int(c,
                  "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND (classid, objid) "
                  "= " USE_LOCK " AND database = (SELECT oid FROM pg_database WHERE datname = "
                  "current_database())",
                  &n, ei));
    return err_set(ei, TD_STATE,
                   "testudo serves this database (%lld connections): stop every node of it",
                   (long long)n);
}

static enum td_err guard_take(struct engine *e, struct errinfo *ei)
{
    struct conn *c = NULL;
    TD_TRY(pg_connect(e, CONN_CHECK, &c, ei));
    enum td_err err = alone(c, ei);
    if (err == TD_OK)
        e->guard = c;
    else
        pg_disconnect(c);
    return err;
}

/* What the use of the engine asks of a new connection: each of a server shares the lock while it
 * lives. */
static enum td_err use_lock(struct conn *c, struct errinfo *ei)
{
    int64_t got = 0;
    if (c->kind == CONN_CHECK || c->engine->use == STORE_ALONE || c->engine->use == STORE_NOLOCK)
        return TD_OK;
    TD_TRY(pg_int(c, "SELECT pg_try_advisory_lock_shared" USE_LOCK "::int", &got, ei));
    return got ? TD_OK : err_set(ei, TD_DB, "the database is being copied or restored");
}

static enum td_err pgx_conn_open(struct engine *e, enum conn_kind kind, struct conn **ret,
                                 struct errinfo *ei)
{
    struct conn *c = NULL;
    if (e->use == STORE_ALONE && !e->guard)
        TD_TRY(guard_take(e, ei));
    TD_TRY(pg_connect(e, kind, &c, ei));
    enum td_err err = kind == CONN_CHECK ? check_ours(c, ei) : use_lock(c, ei);
    if (err != TD_OK) {
        pg_disconnect(c);
        return err;
    }
    uuid_new(&rng_system, c->writer);
    *ret = c;
    return TD_OK;
}

static bool pgx_conn_alive(const struct conn *c)
{
    return !c->dead;
}

/* --- transactions ---------------------------------------------------------------------------- */

struct marker {
    const char *writer;
    char batch[24];
};

static int send_marker(struct conn *c, const struct marker *m, const char *sql)
{
    const char *const values[] = {m->writer, m->batch};
    return PQsendQueryParams(c->pg, sql, 2, NULL, values, NULL, NULL, 1);
}

static int send_commit(struct conn *c, void *ctx)
{
    int ok = send_marker(c, ctx,
                         "INSERT INTO store_commits (writer, batch) VALUES ($1::text, $2::bigint) "
                         "ON CONFLICT (writer) DO UPDATE SET batch = excluded.batch, at = now()");
    return ok ? PQsendQueryPrepared(c->pg, "c4", 0, NULL, NULL, NULL, 1) : 0;
}

/* Waits until the transaction that set the marker, if it still runs, has ended. */
static int send_resolve(struct conn *c, void *ctx)
{
    return send_marker(c, ctx,
                       "INSERT INTO store_commits (writer, batch) VALUES ($1::text, -$2::bigint) "
                       "ON CONFLICT (writer) DO UPDATE SET at = now() RETURNING batch");
}

/* The connection broke while a commit was under way: asks the database, on another connection,
 * whether it took place. */
static enum td_err resolve(struct conn *c, struct marker *m, struct errinfo *ei)
{
    struct conn *other = NULL;
    PGresult *r = NULL;
    metrics_add(METRIC_STORE_RESOLVED, 1);
    enum td_err e = pg_connect(c->engine, CONN_CHECK, &other, ei);
    if (e == TD_OK)
        e = pg_round(other, send_resolve, m, "the outcome of a commit", &r, ei);
    if (e != TD_OK) {
        c->fate = TXN_LOST; /* not to be run again: it may have taken place */
        pg_disconnect(other);
        return err_set(ei, TD_DB, "whether a commit took place is not known");
    }
    bool done = PQntuples(r) == 1 && pg_get_int(r, 0, 0) == c->batch;
    PQclear(r);
    pg_disconnect(other);
    return done ? TD_OK : err_set(ei, TD_DB, "the connection broke before the commit");
}

static enum td_err commit(struct conn *c, struct errinfo *ei)
{
    struct marker m = {.writer = c->writer};
    PGresult *r = NULL;
    snprintf(m.batch, sizeof m.batch, "%lld", (long long)c->batch);
    pg_defer(c, PG_CTL_PATIENT);
    enum td_err e = pg_round(c, send_commit, &m, "COMMIT", &r, ei);
    if (e != TD_OK)
        return c->dead ? resolve(c, &m, ei) : e;
    /* the answer to the COMMIT of a failed transaction is ROLLBACK */
    bool done = strcmp(PQcmdStatus(r), "COMMIT") == 0;
    PQclear(r);
    c->in_txn = !done;
    return done ? TD_OK : err_set(ei, TD_DB, "the transaction is gone");
}

static enum td_err begin(struct conn *c, enum txn_op op, struct errinfo *ei)
{
    c->in_txn = true;
    c->sent_txn = 0;
    c->batch++;
    pg_defer(c, op == TXN_BEGIN_READ ? PG_CTL_BEGIN_READ : PG_CTL_BEGIN_WRITE);
    if (op != TXN_BEGIN_READ)
        pg_defer(c, op == TXN_BEGIN_ALONE ? PG_CTL_GATE_ALONE : PG_CTL_GATE);
    return pg_stands(c) ? TD_OK : err_set(ei, TD_DB, "the database closed the connection");
}

/* Behind an error PostgreSQL skips everything up to a sync: what undoes it must stand behind one.
 */
static void settle(struct conn *c)
{
    if (c->unsynced && !c->dead)
        (void)pg_round(c, NULL, NULL, "a statement before", NULL, NULL);
}

static enum td_err rollback(struct conn *c, struct errinfo *ei)
{
    bool idle = !c->in_txn || c->sent_txn == 0 || c->dead;
    c->in_txn = false;
    c->nqueue = 0;
    if (idle)
        return TD_OK;
    settle(c);
    pg_defer(c, PG_CTL_ROLLBACK);
    if (c->kind == CONN_WRITE)
        return pg_round(c, NULL, NULL, "ROLLBACK", NULL, ei);
    pg_send_away(c); /* the snapshot ends; nobody need wait for it */
    return TD_OK;
}

/* Whether a savepoint waits in the queue: the job has sent nothing yet. */
static bool save_waits(const struct conn *c)
{
    return c->nqueue && c->queue[c->nqueue - 1] == PG_CTL_SAVE;
}

static bool txn_there(const struct conn *c)
{
    return c->in_txn && !c->dead &&
           (c->sent_txn == 0 || c->unsynced || PQtransactionStatus(c->pg) == PQTRANS_INTRANS);
}

static enum td_err pgx_txn(struct conn *c, enum txn_op op, struct errinfo *ei)
{
    switch (op) {
    case TXN_BEGIN_READ:
    case TXN_BEGIN_WRITE:
    case TXN_BEGIN_ALONE:
        c->fate = TXN_STANDS;
        return begin(c, op, ei);
    case TXN_COMMIT:
        if (c->sent_txn && c->kind == CONN_WRITE)
            return commit(c, ei);
        return rollback(c, ei);
    case TXN_ROLLBACK:
        return rollback(c, ei);
    case TXN_SAVE:
    case TXN_RELEASE:
        if (op == TXN_SAVE)
            c->fate = TXN_STANDS;
        if (!txn_there(c))
            return err_set(ei, TD_DB, "the transaction is gone");
        if (op == TXN_RELEASE && save_waits(c))
            c->nqueue--;
        else
            pg_defer(c, op == TXN_SAVE ? PG_CTL_SAVE : PG_CTL_RELEASE);
        return TD_OK;
    case TXN_UNDO:
        if (save_waits(c))
            return TD_OK;
        settle(c);
        pg_defer(c, PG_CTL_UNDO);
        return pg_round(c, NULL, NULL, "ROLLBACK TO", NULL, ei);
    case TXN_OP_MAX:
        break;
    }
    return TD_INTERNAL;
}

static enum txn_fate pgx_fate(const struct conn *c)
{
    if (c->fate != TXN_STANDS || c->sent_txn == 0 || c->unsynced)
        return c->fate;
    PGTransactionStatusType s = PQtransactionStatus(c->pg);
    return s == PQTRANS_INTRANS || s == PQTRANS_INERROR ? TXN_STANDS : TXN_LOST;
}

/* --- statements ------------------------------------------------------------------------------ */

static void name_of(size_t i, char out[static NAME_SIZE])
{
    snprintf(out, NAME_SIZE, "s%zu", i);
}

/* ?1 becomes $1. */
static void translate(const char *sql, struct buf *out)
{
    bool quoted = false;
    for (const char *p = sql; *p; p++) {
        quoted ^= *p == '\'';
        bool param = *p == '?' && !quoted && p[1] >= '1' && p[1] <= '9';
        buf_u8(out, param ? '$' : (uint8_t)*p);
    }
}

struct prepared {
    size_t i;
    const struct store_stmt *st;
    const char *sql;
};

static int send_prepare(struct conn *c, void *ctx)
{
    const struct prepared *p = ctx;
    Oid types[ARGS_MAX];
    char name[NAME_SIZE];
    name_of(p->i, name);
    int n = (int)strlen(p->st->in);
    for (int i = 0; i < n; i++) {
        char letter = p->st->in[i];
        types[i] = letter == 't' || letter == 'T'   ? OID_TEXT
                   : letter == 'i' || letter == 'I' ? OID_INT8
                                                    : OID_BYTEA;
    }
    return PQsendPrepare(c->pg, name, p->sql, n, types) == 1 ? PQsendDescribePrepared(c->pg, name)
                                                             : 0;
}

/* Whether a column of that type may stand under the letter. */
static bool type_fits(char letter, Oid type)
{
    switch (letter) {
    case 't':
    case 'T':
        return type == OID_TEXT;
    case 'i':
    case 'I':
        return type == OID_INT8 || type == OID_INT4 || type == OID_INT2;
    default:
        return type == OID_BYTEA;
    }
}

static enum td_err check_shape(const struct store_stmt *st, const PGresult *r, struct errinfo *ei)
{
    size_t in = (size_t)PQnparams(r), out = (size_t)PQnfields(r);
    if (in != strlen(st->in))
        return err_set(ei, TD_INTERNAL, "%s: takes %zu parameters, says %zu", st->name, in,
                       strlen(st->in));
    if (out != strlen(st->out))
        return err_set(ei, TD_INTERNAL, "%s: gives %zu columns, says %zu", st->name, out,
                       strlen(st->out));
    for (int i = 0; st->out[i]; i++)
        if (!type_fits(st->out[i], PQftype(r, i)))
            return err_set(ei, TD_INTERNAL, "%s: column %d is not '%c'", st->name, i, st->out[i]);
    return TD_OK;
}

static enum td_err pgx_prepare(struct conn *c, size_t i, const struct store_stmt *st,
                               struct errinfo *ei)
{
    struct pg_stmt *s = &c->stmts[i];
    if (s->st)
        return TD_OK;
    if (!*st->sql || strlen(st->in) > ARGS_MAX)
        return err_set(ei, TD_INTERNAL, "%s: not one statement", st->name);
    buf_auto sql;
    buf_init(&sql, SQL_MAX);
    translate(st->sql, &sql);
    if (sql.err != TD_OK)
        return sql.err;
    struct prepared p = {i, st, buf_cstr(&sql)};
    PGresult *r = NULL;
    TD_TRY(pg_round(c, send_prepare, &p, st->name, &r, ei));
    enum td_err e = check_shape(st, r, ei);
    PQclear(r);
    if (e == TD_OK)
        *s = (struct pg_stmt){.st = st, .conn = c};
    return e;
}

struct call {
    size_t i;
    const struct sval *args;
    size_t nargs;
};

static int send_call(struct conn *c, void *ctx)
{
    const struct call *q = ctx;
    const char *values[ARGS_MAX];
    int lengths[ARGS_MAX], formats[ARGS_MAX];
    uint8_t ints[ARGS_MAX][8];
    char name[NAME_SIZE];
    name_of(q->i, name);
    for (size_t k = 0; k < q->nargs; k++) {
        const struct sval *v = &q->args[k];
        formats[k] = 1;
        lengths[k] = (int)v->s.n;
        values[k] = v->s.n ? (const char *)v->s.p : "";
        if (v->kind == SVAL_NULL)
            values[k] = NULL;
        if (v->kind == SVAL_INT) {
            for (int b = 0; b < 8; b++)
                ints[k][b] = (uint8_t)((uint64_t)v->i >> (56 - 8 * b));
            values[k] = (const char *)ints[k];
            lengths[k] = 8;
        }
    }
    return PQsendQueryPrepared(c->pg, name, (int)q->nargs, values, lengths, formats, 1);
}

/* Whether statement i may be called so; its size in bytes. */
static enum td_err call_check(const struct conn *c, size_t i, const struct sval *args, size_t nargs,
                              size_t *ret_bytes, struct errinfo *ei)
{
    const struct store_stmt *st = c->stmts[i].st;
    if (c->stmts[i].busy)
        return err_set(ei, TD_INTERNAL, "%s: already open in this job", st->name);
    if (c->kind != CONN_WRITE && strncmp(st->sql, "SELECT", 6) != 0)
        return err_set(ei, TD_INTERNAL, "%s: writes, in a read", st->name);
    for (size_t k = 0; k < nargs; k++)
        if (args[k].s.n > INT32_MAX)
            return err_set(ei, TD_LIMIT, "%s: argument %zu is too long", st->name, k + 1);
    *ret_bytes = 64;
    for (size_t k = 0; k < nargs; k++)
        *ret_bytes += 8 + args[k].s.n;
    return TD_OK;
}

static enum td_err call(struct conn *c, size_t i, const struct sval *args, size_t nargs,
                        PGresult **ret, struct errinfo *ei)
{
    struct call q = {i, args, nargs};
    size_t bytes;
    TD_TRY(call_check(c, i, args, nargs, &bytes, ei));
    return pg_round(c, send_call, &q, c->stmts[i].st->name, ret, ei);
}

static enum td_err pgx_exec_many(struct conn *c, size_t i, const struct sval *args, size_t nargs,
                                 struct errinfo *ei)
{
    struct call q = {i, args, nargs};
    size_t bytes;
    TD_TRY(call_check(c, i, args, nargs, &bytes, ei));
    return pg_send(c, send_call, &q, bytes, c->stmts[i].st->name, ei);
}

static enum td_err pgx_exec(struct conn *c, size_t i, const struct sval *args, size_t nargs,
                            int64_t *ret_changes, struct errinfo *ei)
{
    PGresult *r = NULL;
    TD_TRY(call(c, i, args, nargs, &r, ei));
    uint64_t n = 0; /* stays when the statement was not of a kind that counts */
    const char *count = PQcmdTuples(r);
    enum td_err e = *count ? num_u64(span_str(count), INT64_MAX, &n) : TD_OK;
    *ret_changes = (int64_t)n;
    PQclear(r);
    return e;
}

static enum td_err pgx_query(struct conn *c, size_t i, const struct sval *args, size_t nargs,
                             void **ret, struct errinfo *ei)
{
    struct pg_stmt *s = &c->stmts[i];
    TD_TRY(call(c, i, args, nargs, &s->rows, ei));
    s->row = -1;
    s->busy = true;
    c->open++;
    *ret = s;
    return TD_OK;
}

static enum td_err pgx_next(void *cursor, struct errinfo *ei)
{
    struct pg_stmt *s = cursor;
    if (++s->row >= PQntuples(s->rows))
        return TD_NOTFOUND;
    for (int i = 0; s->st->out[i]; i++)
        if (s->st->out[i] >= 'a' && PQgetisnull(s->rows, s->row, i))
            return err_set(ei, TD_INTERNAL, "%s: column %d is not '%c'", s->st->name, i,
                           s->st->out[i]);
    return TD_OK;
}

static void pgx_end(void *cursor)
{
    struct pg_stmt *s = cursor;
    PQclear(s->rows);
    s->rows = NULL;
    if (s->busy)
        s->conn->open--;
    s->busy = false;
}

static size_t pgx_end_all(struct conn *c)
{
    size_t n = c->open;
    for (size_t i = 0; i < c->nstmts && c->open; i++)
        if (c->stmts[i].busy)
            pgx_end(&c->stmts[i]);
    return n;
}

static bool pgx_col_null(void *cursor, int i)
{
    struct pg_stmt *s = cursor;
    return PQgetisnull(s->rows, s->row, i) != 0;
}

static int64_t pgx_col_int(void *cursor, int i)
{
    struct pg_stmt *s = cursor;
    return pg_get_int(s->rows, s->row, i);
}

static struct span pgx_col_bytes(void *cursor, int i)
{
    struct pg_stmt *s = cursor;
    return span_of(PQgetvalue(s->rows, s->row, i), (size_t)PQgetlength(s->rows, s->row, i));
}

/* --- schema ---------------------------------------------------------------------------------- */

/* Text is compared byte by byte, as the other engine does, whatever the database's locale. */
static const struct store_word words[] = {
    {"@ID@", "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"},
    {"@BLOB@", "BYTEA"},
    {" TEXT", " TEXT COLLATE \"C\""},
};

static enum td_err pgx_script(struct conn *c, struct span sql, struct errinfo *ei)
{
    buf_auto text;
    buf_init(&text, SCRIPT_MAX);
    buf_str(&text, "SET LOCAL statement_timeout = 0;\n");
    migrate_dialect(sql, words, TD_NITEMS(words), &text);
    if (text.err != TD_OK)
        return text.err;
    return pg_script(c, buf_cstr(&text), ei);
}

/* The first writing connection made it. */
static enum td_err pgx_schema_init(struct conn *c, struct errinfo *ei)
{
    (void)c;
    (void)ei;
    return TD_OK;
}

static enum td_err pgx_schema_exists(struct conn *c, bool *ret, struct errinfo *ei)
{
    int64_t n = 0;
    TD_TRY(pg_int(c, "SELECT count(*) FROM pg_class WHERE oid = to_regclass('schema_migrations')",
                  &n, ei));
    *ret = n != 0;
    return TD_OK;
}

/* --- one holder among the nodes -------------------------------------------------------------- */

/* An advisory lock of a session lives as long as its connection: a node that dies, or is cut off,
 * loses it with that. */
static enum td_err lead_ask(struct engine *e, enum store_job job, bool *ret, struct errinfo *ei)
{
    int64_t got = 0;
    char sql[96];
    if (!e->lead)
        TD_TRY(pg_connect(e, CONN_CHECK, &e->lead, ei));
    if (e->held & 1U << job) /* still there? */
        snprintf(sql, sizeof sql, "SELECT 1");
    else
        snprintf(sql, sizeof sql, "SELECT pg_try_advisory_lock(1414022722, %d)::int", (int)job);
    TD_TRY(pg_int(e->lead, sql, &got, ei));
    *ret = got != 0;
    return TD_OK;
}

static bool pgx_lead(struct engine *e, enum store_job job)
{
    bool got = false;
    pthread_mutex_lock(&e->lead_lock);
    enum td_err err = lead_ask(e, job, &got, NULL);
    if (err == TD_OK && got)
        e->held |= 1U << job;
    if (e->lead && e->lead->dead) {
        pg_disconnect(e->lead);
        e->lead = NULL;
        e->held = 0;
    }
    pthread_mutex_unlock(&e->lead_lock);
    return err == TD_OK && got;
}

const struct engine_ops store_pg = {
    .scheme = "postgres",
    .writers = 4,
    .batch_max = 32,
    .remote = true,
    .admin = &pg_admin,
    .open = pgx_open,
    .close = pgx_close,
    .conn_open = pgx_conn_open,
    .conn_close = pg_disconnect,
    .conn_alive = pgx_conn_alive,
    .txn = pgx_txn,
    .fate = pgx_fate,
    .prepare = pgx_prepare,
    .exec = pgx_exec,
    .query = pgx_query,
    .exec_many = pgx_exec_many,
    .next = pgx_next,
    .end = pgx_end,
    .end_all = pgx_end_all,
    .col_null = pgx_col_null,
    .col_int = pgx_col_int,
    .col_bytes = pgx_col_bytes,
    .schema_init = pgx_schema_init,
    .schema_exists = pgx_schema_exists,
    .script = pgx_script,
    .lead = pgx_lead,
};
