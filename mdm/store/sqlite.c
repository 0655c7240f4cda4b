#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mdm/base/fs.h"
#include "mdm/store/lock.h"
#include "mdm/store/store_int.h"

#define BUSY_MS 5000
#define PATH_SIZE 1024
#define SCRIPT_MAX ((size_t)1 << 20)
#define APPLICATION_ID 0x54444442 /* "TDDB": the file is ours */

struct engine {
    char path[PATH_SIZE];
    size_t nstmts;
    bool sync_full;
    struct lock lock;
};

/* A prepared statement, and the cursor over it. */
struct stmt {
    sqlite3_stmt *h;
    struct conn *conn;
    const struct store_stmt *st;
    bool busy;
};

struct conn {
    sqlite3 *db;
    enum conn_kind kind;
    int last; /* result code of the newest failure in this job */
    size_t nstmts, open;
    sqlite3_stmt *ctl[TXN_OP_MAX];
    struct stmt stmts[];
};

/* --- errors ---------------------------------------------------------------------------------- */

/* Extended result codes before the primary ones they belong to. */
static const struct {
    int rc;
    enum td_err err;
} codes[] = {
    {SQLITE_CONSTRAINT_UNIQUE, TD_EXISTS},
    {SQLITE_CONSTRAINT_PRIMARYKEY, TD_EXISTS},
    {SQLITE_CONSTRAINT_ROWID, TD_EXISTS},
    {SQLITE_CONSTRAINT_FOREIGNKEY, TD_CONFLICT},
    {SQLITE_CONSTRAINT, TD_INTERNAL},
    {SQLITE_READONLY, TD_DB},
    {SQLITE_BUSY, TD_BUSY},
    {SQLITE_LOCKED, TD_BUSY},
    {SQLITE_NOMEM, TD_NOMEM},
    {SQLITE_FULL, TD_DB},
    {SQLITE_IOERR, TD_IO},
    {SQLITE_CANTOPEN, TD_IO},
    {SQLITE_CORRUPT, TD_DB},
    {SQLITE_NOTADB, TD_DB},
    {SQLITE_PROTOCOL, TD_DB},
    {SQLITE_TOOBIG, TD_LIMIT},
};

static int primary(int rc)
{
    return rc & 0xff;
}

static enum td_err code_of(int rc)
{
    for (size_t i = 0; i < TD_NITEMS(codes); i++)
        if (codes[i].rc == rc)
            return codes[i].err;
    for (size_t i = 0; i < TD_NITEMS(codes); i++)
        if (codes[i].rc == primary(rc))
            return codes[i].err;
    return TD_INTERNAL;
}

static enum td_err fail(struct conn *c, int rc, const char *what, struct errinfo *ei)
{
    c->last = rc;
    return err_set(ei, code_of(rc), "%s: %s", what, sqlite3_errmsg(c->db));
}

static enum td_err run(struct conn *c, const char *sql, struct errinfo *ei)
{
    int rc = sqlite3_exec(c->db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? TD_OK : fail(c, rc, "database", ei);
}

/* The integer a query without parameters gives. */
static enum td_err run_int(struct conn *c, const char *sql, int64_t *ret, struct errinfo *ei)
{
    sqlite3_stmt *h = NULL;
    int rc = sqlite3_prepare_v2(c->db, sql, -1, &h, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(h);
    enum td_err e = TD_OK;
    if (rc == SQLITE_ROW)
        *ret = sqlite3_column_int64(h, 0);
    else
        e = fail(c, rc, "database", ei);
    sqlite3_finalize(h);
    return e;
}

/* --- connections ----------------------------------------------------------------------------- */

static enum td_err sq_open(const struct store_conf *conf, const char *where, size_t nstmts,
                           struct engine **ret, struct errinfo *ei)
{
    size_t n = strlen(where);
    /* a private or temporary database cannot be shared by connections */
    if (n == 0 || n >= PATH_SIZE || where[0] == ':')
        return err_set(ei, TD_INVAL, "sqlite: needs the path of a file");
    struct engine *e = calloc(1, sizeof *e);
    if (!e)
        return TD_NOMEM;
    memcpy(e->path, where, n + 1);
    e->nstmts = nstmts;
    e->sync_full = conf->sync_full;
    enum td_err err = lock_take(where, conf->use, &e->lock, ei);
    if (err != TD_OK) {
        free(e);
        return err;
    }
    *ret = e;
    return TD_OK;
}

static uint64_t sq_epoch(const struct engine *e)
{
    return lock_status_epoch(&e->lock);
}

static enum td_err sq_status_begin(struct engine *e, struct errinfo *ei)
{
    return lock_status_begin(&e->lock, ei);
}

static void sq_status_end(struct engine *e)
{
    lock_status_end(&e->lock);
}

static void sq_close(struct engine *e)
{
    lock_release(&e->lock);
    free(e);
}

/* An empty file, ours alone, whose name is durable. The library gives its WAL the same mode. */
static enum td_err create_file(const char *path, struct errinfo *ei)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno == EEXIST ? TD_OK : err_sys(ei, TD_IO, errno, "%s", path);
    int rc = fsync(fd);
    int err = errno;
    close(fd);
    if (rc != 0)
        return err_sys(ei, TD_IO, err, "%s", path);
    return fs_sync_dir_of(path, ei);
}

/* Whether the file may be used: TD_STATE when something else than Testudo wrote it. */
static enum td_err check_ours(struct conn *c, const char *path, struct errinfo *ei)
{
    int64_t id = 0, tables = 0;
    /* in this order: whoever makes the database now writes its number with the first table */
    enum td_err e = run_int(c, "SELECT count(*) FROM sqlite_schema", &tables, ei);
    if (e == TD_OK)
        e = run_int(c, "PRAGMA application_id", &id, ei);
    if (primary(c->last) == SQLITE_NOTADB || primary(c->last) == SQLITE_CORRUPT)
        return err_set(ei, TD_STATE, "%s is damaged or not a database", path);
    TD_TRY(e);
    if (id != APPLICATION_ID && (id != 0 || tables != 0))
        return err_set(ei, TD_STATE, "%s is a database of another program", path);
    return TD_OK;
}

#define PRAGMAS_COMMON                                                                             \
    "PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY; PRAGMA foreign_keys = ON;"                  \
    "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA cache_size = -16384;"

static enum td_err setup_write(struct conn *c, const struct engine *e, struct errinfo *ei)
{
    sqlite3_stmt *h = NULL;
    int rc = sqlite3_prepare_v2(c->db, "PRAGMA journal_mode = WAL", -1, &h, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(h);
    bool wal = rc == SQLITE_ROW && sqlite3_column_bytes(h, 0) == 3 &&
               memcmp(sqlite3_column_text(h, 0), "wal", 3) == 0;
    sqlite3_finalize(h);
    if (rc != SQLITE_ROW)
        return fail(c, rc, "database", ei);
    if (!wal)
        return err_set(ei, TD_DB, "%s: the file system does not support WAL", e->path);
    TD_TRY(run(c, e->sync_full ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = OFF", ei));
    return run(c,
               PRAGMAS_COMMON "PRAGMA wal_autocheckpoint = 2000;"
                              "PRAGMA journal_size_limit = 67108864;",
               ei);
}

static enum td_err setup(struct conn *c, const struct engine *e, struct errinfo *ei)
{
    sqlite3_extended_result_codes(c->db, 1);
    sqlite3_busy_timeout(c->db, BUSY_MS);
    sqlite3_db_config(c->db, SQLITE_DBCONFIG_DEFENSIVE, 1, (int *)NULL);
    switch (c->kind) {
    case CONN_CHECK:
        return check_ours(c, e->path, ei);
    case CONN_WRITE:
        return setup_write(c, e, ei);
    case CONN_READ:
        break;
    }
    return run(c, PRAGMAS_COMMON "PRAGMA query_only = ON;", ei);
}

static void sq_conn_close(struct conn *c)
{
    for (size_t i = 0; i < TXN_OP_MAX; i++)
        sqlite3_finalize(c->ctl[i]);
    for (size_t i = 0; i < c->nstmts; i++)
        sqlite3_finalize(c->stmts[i].h);
    sqlite3_close(c->db);
    free(c);
}

static enum td_err sq_conn_open(struct engine *e, enum conn_kind kind, struct conn **ret,
                                struct errinfo *ei)
{
    struct stat st;
    if (kind == CONN_CHECK && (stat(e->path, &st) != 0 || st.st_size == 0))
        return TD_NOTFOUND; /* what else is wrong with the path shows when it is created */
    if (kind == CONN_WRITE)
        TD_TRY(create_file(e->path, ei));
    struct conn *c = calloc(1, sizeof *c + e->nstmts * sizeof c->stmts[0]);
    if (!c)
        return TD_NOMEM;
    c->kind = kind;
    c->nstmts = e->nstmts;
    int flags = kind == CONN_WRITE ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY;
    int rc = sqlite3_open_v2(e->path, &c->db, flags | SQLITE_OPEN_NOMUTEX, NULL);
    enum td_err err = TD_NOMEM;
    if (rc != SQLITE_OK && c->db)
        err = fail(c, rc, e->path, ei);
    else if (c->db)
        err = setup(c, e, ei);
    if (err != TD_OK) {
        sq_conn_close(c);
        return err;
    }
    *ret = c;
    return TD_OK;
}

static bool sq_conn_alive(const struct conn *c)
{
    static const int bad[] = {SQLITE_IOERR,    SQLITE_CORRUPT, SQLITE_NOTADB,
                              SQLITE_CANTOPEN, SQLITE_NOMEM,   SQLITE_PROTOCOL};
    for (size_t i = 0; i < TD_NITEMS(bad); i++)
        if (primary(c->last) == bad[i])
            return false;
    return sqlite3_get_autocommit(c->db) != 0;
}

/* --- transactions ---------------------------------------------------------------------------- */

static const char *const txn_sql[TXN_OP_MAX] = {
    [TXN_BEGIN_READ] = "BEGIN DEFERRED",   [TXN_BEGIN_WRITE] = "BEGIN IMMEDIATE",
    [TXN_BEGIN_ALONE] = "BEGIN IMMEDIATE", [TXN_COMMIT] = "COMMIT",
    [TXN_ROLLBACK] = "ROLLBACK",           [TXN_SAVE] = "SAVEPOINT job",
    [TXN_RELEASE] = "RELEASE job",         [TXN_UNDO] = "ROLLBACK TO job",
};

static enum td_err sq_txn(struct conn *c, enum txn_op op, struct errinfo *ei)
{
    bool in_txn = sqlite3_get_autocommit(c->db) == 0;
    if (op == TXN_ROLLBACK && !in_txn)
        return TD_OK;
    if (op == TXN_SAVE && !in_txn) /* it would begin a transaction of its own */
        return err_set(ei, TD_DB, "the transaction is gone");
    if (op <= TXN_BEGIN_ALONE || op == TXN_SAVE)
        c->last = SQLITE_OK;
    int rc = SQLITE_OK;
    if (!c->ctl[op])
        rc = sqlite3_prepare_v3(c->db, txn_sql[op], -1, SQLITE_PREPARE_PERSISTENT, &c->ctl[op],
                                NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(c->ctl[op]);
        sqlite3_reset(c->ctl[op]);
    }
    return rc == SQLITE_DONE ? TD_OK : fail(c, rc, txn_sql[op], ei);
}

static enum txn_fate sq_fate(const struct conn *c)
{
    if (primary(c->last) == SQLITE_BUSY || primary(c->last) == SQLITE_LOCKED)
        return TXN_RACED;
    return sqlite3_get_autocommit(c->db) ? TXN_LOST : TXN_STANDS;
}

/* --- statements ------------------------------------------------------------------------------ */

static enum td_err sq_prepare(struct conn *c, size_t i, const struct store_stmt *st,
                              struct errinfo *ei)
{
    struct stmt *s = &c->stmts[i];
    if (s->h)
        return TD_OK;
    const char *tail = NULL;
    sqlite3_stmt *h = NULL;
    int rc = sqlite3_prepare_v3(c->db, st->sql, -1, SQLITE_PREPARE_PERSISTENT, &h, &tail);
    if (rc != SQLITE_OK)
        return fail(c, rc, st->name, ei);
    size_t in = (size_t)sqlite3_bind_parameter_count(h), out = (size_t)sqlite3_column_count(h);
    enum td_err e = TD_OK;
    if (!h || (tail && *tail))
        e = err_set(ei, TD_INTERNAL, "%s: not one statement", st->name);
    else if (in != strlen(st->in))
        e = err_set(ei, TD_INTERNAL, "%s: takes %zu parameters, says %zu", st->name, in,
                    strlen(st->in));
    else if (out != strlen(st->out))
        e = err_set(ei, TD_INTERNAL, "%s: gives %zu columns, says %zu", st->name, out,
                    strlen(st->out));
    if (e != TD_OK) {
        sqlite3_finalize(h);
        return e;
    }
    *s = (struct stmt){.h = h, .conn = c, .st = st};
    return TD_OK;
}

static int bind_one(sqlite3_stmt *h, int i, const struct sval *v, sqlite3_destructor_type keep)
{
    const char *p = v->s.n ? (const char *)v->s.p : ""; /* NULL would bind NULL */
    switch (v->kind) {
    case SVAL_NULL:
        return sqlite3_bind_null(h, i);
    case SVAL_INT:
        return sqlite3_bind_int64(h, i, v->i);
    case SVAL_TEXT:
        return sqlite3_bind_text64(h, i, p, v->s.n, keep, SQLITE_UTF8);
    case SVAL_BLOB:
        return sqlite3_bind_blob64(h, i, p, v->s.n, keep);
    }
    return SQLITE_MISUSE;
}

static void stmt_end(struct stmt *s)
{
    sqlite3_reset(s->h);
    sqlite3_clear_bindings(s->h);
    if (s->busy)
        s->conn->open--;
    s->busy = false;
}

static enum td_err stmt_begin(struct conn *c, size_t i, const struct sval *args, size_t nargs,
                              sqlite3_destructor_type keep, struct stmt **ret, struct errinfo *ei)
{
    struct stmt *s = &c->stmts[i];
    if (s->busy)
        return err_set(ei, TD_INTERNAL, "%s: already open in this job", s->st->name);
    if (c->kind != CONN_WRITE && !sqlite3_stmt_readonly(s->h))
        return err_set(ei, TD_INTERNAL, "%s: writes, in a read", s->st->name);
    s->busy = true;
    c->open++;
    int rc = SQLITE_OK;
    for (size_t k = 0; k < nargs && rc == SQLITE_OK; k++)
        rc = bind_one(s->h, (int)k + 1, &args[k], keep);
    if (rc != SQLITE_OK) {
        enum td_err e = fail(c, rc, s->st->name, ei);
        stmt_end(s);
        return e;
    }
    *ret = s;
    return TD_OK;
}

static enum td_err sq_exec(struct conn *c, size_t i, const struct sval *args, size_t nargs,
                           int64_t *ret_changes, struct errinfo *ei)
{
    struct stmt *s = NULL;
    TD_TRY(stmt_begin(c, i, args, nargs, SQLITE_STATIC, &s, ei));
    int rc = sqlite3_step(s->h);
    enum td_err e = rc == SQLITE_DONE ? TD_OK : fail(c, rc, s->st->name, ei);
    *ret_changes = sqlite3_changes64(c->db);
    stmt_end(s);
    return e;
}

static enum td_err sq_query(struct conn *c, size_t i, const struct sval *args, size_t nargs,
                            void **ret, struct errinfo *ei)
{
    struct stmt *s = NULL;
    TD_TRY(stmt_begin(c, i, args, nargs, SQLITE_TRANSIENT, &s, ei));
    *ret = s;
    return TD_OK;
}

/* Whether a column of that type may stand under the letter. */
static bool type_fits(char letter, int type)
{
    static const struct {
        char lower, upper;
        int type;
    } types[] = {{'t', 'T', SQLITE_TEXT}, {'i', 'I', SQLITE_INTEGER}, {'b', 'B', SQLITE_BLOB}};
    for (size_t i = 0; i < TD_NITEMS(types); i++)
        if (types[i].lower == letter || types[i].upper == letter)
            return type == types[i].type || (type == SQLITE_NULL && types[i].upper == letter);
    return false;
}

static enum td_err sq_next(void *cursor, struct errinfo *ei)
{
    struct stmt *s = cursor;
    int rc = sqlite3_step(s->h);
    if (rc == SQLITE_DONE)
        return TD_NOTFOUND;
    if (rc != SQLITE_ROW)
        return fail(s->conn, rc, s->st->name, ei);
    for (int i = 0; s->st->out[i]; i++)
        if (!type_fits(s->st->out[i], sqlite3_column_type(s->h, i)))
            return err_set(ei, TD_INTERNAL, "%s: column %d is not '%c'", s->st->name, i,
                           s->st->out[i]);
    return TD_OK;
}

static void sq_end(void *cursor)
{
    stmt_end(cursor);
}

static size_t sq_end_all(struct conn *c)
{
    size_t n = c->open;
    for (size_t i = 0; i < c->nstmts && c->open; i++)
        if (c->stmts[i].busy)
            stmt_end(&c->stmts[i]);
    return n;
}

static bool sq_col_null(void *cursor, int i)
{
    struct stmt *s = cursor;
    return sqlite3_column_type(s->h, i) == SQLITE_NULL;
}

static int64_t sq_col_int(void *cursor, int i)
{
    struct stmt *s = cursor;
    return sqlite3_column_int64(s->h, i);
}

static struct span sq_col_bytes(void *cursor, int i)
{
    struct stmt *s = cursor;
    const void *p = sqlite3_column_blob(s->h, i); /* text stays as it is */
    return span_of(p, (size_t)sqlite3_column_bytes(s->h, i));
}

/* --- schema ---------------------------------------------------------------------------------- */

/* The shared dialect, word by word. Behind it every table is STRICT: a value of another type than
 * its column's is refused, as by the other engine. */
static const struct store_word words[] = {
    {"@ID@", "INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL"},
    {"@BLOB@", "BLOB"},
    {"BIGINT", "INTEGER"},
    {"\n);", "\n) STRICT;"},
};

static enum td_err sq_script(struct conn *c, struct span sql, struct errinfo *ei)
{
    buf_auto text;
    buf_init(&text, SCRIPT_MAX);
    migrate_dialect(sql, words, TD_NITEMS(words), &text);
    if (text.err != TD_OK)
        return text.err;
    return run(c, buf_cstr(&text), ei);
}

#define TEXT_OF(x) #x
#define TEXT_OF_VALUE(x) TEXT_OF(x)

static enum td_err sq_schema_init(struct conn *c, struct errinfo *ei)
{
    return run(c,
               "PRAGMA application_id = " TEXT_OF_VALUE(
                   APPLICATION_ID) ";"
                                   "CREATE TABLE IF NOT EXISTS schema_migrations ("
                                   " version INTEGER PRIMARY KEY NOT NULL,"
                                   " name TEXT NOT NULL,"
                                   " sha256 TEXT NOT NULL,"
                                   " applied_at INTEGER NOT NULL) STRICT",
               ei);
}

static enum td_err sq_schema_exists(struct conn *c, bool *ret, struct errinfo *ei)
{
    int64_t n = 0;
    TD_TRY(
        run_int(c, "SELECT count(*) FROM sqlite_schema WHERE name = 'schema_migrations'", &n, ei));
    *ret = n != 0;
    return TD_OK;
}

const struct engine_ops store_sqlite = {
    .scheme = STORE_SQLITE_SCHEME,
    .writers = 1,
    .admin = &sqlite_admin,
    .open = sq_open,
    .close = sq_close,
    .conn_open = sq_conn_open,
    .conn_close = sq_conn_close,
    .conn_alive = sq_conn_alive,
    .txn = sq_txn,
    .fate = sq_fate,
    .prepare = sq_prepare,
    .exec = sq_exec,
    .query = sq_query,
    .next = sq_next,
    .end = sq_end,
    .end_all = sq_end_all,
    .col_null = sq_col_null,
    .col_int = sq_col_int,
    .col_bytes = sq_col_bytes,
    .schema_init = sq_schema_init,
    .schema_exists = sq_schema_exists,
    .epoch = sq_epoch,
    .status_begin = sq_status_begin,
    .status_end = sq_status_end,
    .script = sq_script,
};
