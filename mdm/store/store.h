/* The database behind one interface, with two engines: SQLite in this process (sqlite.c), and
 * PostgreSQL, which any number of nodes share (pg.c). Both take the same SQL text: ?1 parameters,
 * ON CONFLICT, RETURNING, no engine's own functions.
 *
 * Writes: writer threads (one on SQLite) with group commit. Every job waiting runs in one
 * transaction, each in a savepoint of its own; a failed job rolls back alone. Jobs are
 * serializable: as if they ran one by one, on all nodes. store_write returns after the commit is
 * durable, so an answer sent behind it is durable too (ARCHITECTURE rule 6). Reads: a pool of
 * connections, each read a consistent snapshot. */
#ifndef TD_STORE_STORE_H
#define TD_STORE_STORE_H

#include "mdm/base/arena.h"
#include "mdm/base/clock.h"
#include "mdm/base/err.h"

struct store;
struct tx;

/* One SQL statement, owned by the room that uses it, static for the life of the process. `in` and
 * `out` have a letter per parameter and column: t text, i integer, b blob; upper case where NULL
 * may stand. All are prepared and checked (count of parameters and columns) at start-up. */
struct store_stmt {
    const char *name; /* unique: "core.enrollment_get" */
    const char *sql;
    const char *in, *out;
};

/* A room's statements: an array of pointers-free rows, registered before store_open. */
struct store_stmts {
    const struct store_stmt *stmts;
    size_t n;
};

/* Who else may have the database open. SQLite keeps its locks in PATH.lock; on PostgreSQL advisory
 * locks of the connections tell those who want to be alone from all others. */
enum store_use {
    STORE_SHARED, /* anybody, but not one that wants to be alone */
    STORE_SERVE,  /* one server at a time, where the database is a file */
    STORE_ALONE,  /* nobody else: the file is about to be replaced or must stand still */
    STORE_NOLOCK  /* no lock and no file for it: reads alone, or a file nobody else knows */
};

struct store_conf {
    const char *url;    /* "sqlite:/path/to/file", "postgres://user@host1,host2/db?..." (libpq) */
    enum store_use use; /* TD_STATE when somebody else's use stands against it */
    unsigned readers;   /* reading connections */
    unsigned writers;   /* writing connections; 0: as many as are of use to the engine */
    unsigned batch;     /* most jobs in one commit */
    unsigned queue;     /* most jobs waiting: beyond it TD_BUSY */
    unsigned read_wait_ms; /* most wait for a reading connection; 0 means 5000 */
    unsigned answer_ms;    /* most wait for an answer of a remote database; 0 means 10000 */
    bool sync_full;        /* synchronous=FULL; false only in throw-away tests */
    bool twice;            /* for tests: each write job runs, is undone, and runs again */
    const struct store_stmts *sets;
    size_t nsets;
    const struct clock *clock;
};

/* Opens, migrates (checksummed, each migration in a transaction; a newer or damaged schema is
 * refused with TD_STATE and nothing is touched), prepares every statement and starts the writer. */
TD_NODISCARD enum td_err store_open(const struct store_conf *conf, struct store **ret,
                                    struct errinfo *ei);

/* Finishes the jobs queued, checkpoints, closes. NULL is fine. */
void store_close(struct store *s);

/* TD_OK when a read works now. */
enum td_err store_ping(struct store *s, struct errinfo *ei);

/* Whether several nodes may share this database: then nothing that another node needs to know may
 * stay in this one's memory. */
bool store_shared(const struct store *s);

/* Changes with every commit, of whatever process, that changed or deleted certificates' rows: what
 * a read found of their status behind a look at it is so still while it is the same. 0 when that
 * cannot be told, now or ever: then only a read tells. */
uint64_t store_epoch(const struct store *s);

/* Periodic work that one node at a time does. */
enum store_job {
    STORE_JOB_CLEAN,
    STORE_JOB_RENEW,
    STORE_JOB_CRL,
    STORE_JOB_POSTURE,
    STORE_JOB_MAX
};

/* True when the job is this node's to do now: it asks for it, and keeps it until it ends or loses
 * the database. Always true on SQLite. Blocks for a round trip; never inside a job. As a node that
 * was cut off may notice late, what it does must be harmless when another does it too. */
bool store_lead(struct store *s, enum store_job job);

/* A job inside a transaction. It may run again after a retry: no side effects but its statements
 * and its ctx, which it must fill from scratch. On error every statement of it is undone. */
typedef enum td_err (*store_fn)(struct tx *tx, void *ctx, struct errinfo *ei);

/* Runs fn on the writer; blocks until durable or undone. A job's own error comes back unchanged;
 * TD_BUSY when the queue is full; TD_DB or TD_IO when the commit failed and nothing was changed
 * (or, with PostgreSQL gone in the middle of a commit, when that cannot be told).
 * Never call it (nor store_read) from inside a write job: TD_INTERNAL. No cryptography and no I/O
 * inside fn: the writer is one thread. */
TD_NODISCARD enum td_err store_write(struct store *s, store_fn fn, void *ctx, struct errinfo *ei);

/* Runs fn in a read-only snapshot on this thread; a write statement fails. Waits (bounded,
 * read_wait_ms) for a connection: TD_BUSY when none becomes free. */
TD_NODISCARD enum td_err store_read(struct store *s, store_fn fn, void *ctx, struct errinfo *ei);

/* The same where nothing may wait: TD_BUSY at once when no connection is free, or when a read goes
 * over the network. */
TD_NODISCARD enum td_err store_try_read(struct store *s, store_fn fn, void *ctx,
                                        struct errinfo *ei);

/* --- statements inside a job --------------------------------------------------------------- */

enum sval_kind { SVAL_NULL, SVAL_INT, SVAL_TEXT, SVAL_BLOB };

/* One parameter; borrows its bytes until the call returns. */
struct sval {
    enum sval_kind kind;
    int64_t i;
    struct span s;
};

/* True for UTF-8 (RFC 3629: no surrogates, no overlong forms) without NUL: what a text parameter
 * must be, as one of the engines takes nothing else. Other text is TD_INVAL. */
bool store_text_valid(struct span s);

#define SV_NULL ((struct sval){.kind = SVAL_NULL})
#define SV_INT(v) ((struct sval){.kind = SVAL_INT, .i = (int64_t)(v)})
#define SV_TEXT(str) ((struct sval){.kind = SVAL_TEXT, .s = span_str(str)})
#define SV_SPAN(sp) ((struct sval){.kind = SVAL_TEXT, .s = (sp)})
#define SV_BLOB(sp) ((struct sval){.kind = SVAL_BLOB, .s = (sp)})
/* NULL for a NULL string or empty span. */
#define SV_TEXT0(str) ((str) ? SV_TEXT(str) : SV_NULL)
#define SV_BLOB0(sp) ((sp).n ? SV_BLOB(sp) : SV_NULL)
#define SV_LIST(...)                                                                               \
    (const struct sval[]){__VA_ARGS__}, TD_NITEMS(((const struct sval[]){__VA_ARGS__}))

/* Runs a statement without rows; *ret_changes (may be NULL) = rows changed. A unique violation is
 * TD_EXISTS. Arguments that do not fit `in` are TD_INTERNAL.
 *
 * A statement that failed in the database ends its job, as on one of the engines it ends the
 * transaction: later statements fail and a job that returns TD_OK all the same gets TD_INTERNAL.
 * A row that may exist already is INSERT ... ON CONFLICT, judged by *ret_changes. */
TD_NODISCARD enum td_err tx_exec(struct tx *tx, const struct store_stmt *st,
                                 const struct sval *args, size_t nargs, int64_t *ret_changes,
                                 struct errinfo *ei);

/* A cursor over rows. Always ended by cur_end (or by a cur_next that returned TD_NOTFOUND or an
 * error; cur_end is harmless then). One statement has one open cursor in a job: a second is
 * TD_INTERNAL. A column whose type is not its letter in `out` is TD_INTERNAL. */
struct cur {
    void *impl; /* the engine's statement */
    struct tx *tx;
    const struct store_stmt *st;
    bool single; /* by tx_row: there is no next row */
};

/* Starts a query; the first row comes with cur_next. The parameters are copied. */
TD_NODISCARD enum td_err tx_query(struct tx *tx, const struct store_stmt *st,
                                  const struct sval *args, size_t nargs, struct cur *ret,
                                  struct errinfo *ei);

/* TD_OK: a row is current. TD_NOTFOUND: no more rows; the cursor is ended. */
TD_NODISCARD enum td_err cur_next(struct cur *c, struct errinfo *ei);
void cur_end(struct cur *c);

/* Column i of the current row. Text and blobs are valid until the next cur_next/cur_end; the _dup
 * forms copy into the arena (NULL / {NULL,0} for SQL NULL; an allocation failure also gives
 * NULL).*/
bool cur_is_null(const struct cur *c, int i);
int64_t cur_int(const struct cur *c, int i);
struct span cur_span(const struct cur *c, int i);
char *cur_dup(const struct cur *c, int i, struct arena *a);
struct span cur_span_dup(const struct cur *c, int i, struct arena *a);

/* The single row of a query: TD_OK with *ret on it (call cur_end), TD_NOTFOUND without rows. */
TD_NODISCARD enum td_err tx_row(struct tx *tx, const struct store_stmt *st, const struct sval *args,
                                size_t nargs, struct cur *ret, struct errinfo *ei);

#endif
