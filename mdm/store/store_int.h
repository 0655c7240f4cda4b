/* Inside the store: what an engine is, the table of statements, migrations. Only files of this
 * room (and its tests) include it. */
#ifndef TD_STORE_STORE_INT_H
#define TD_STORE_STORE_INT_H

#include "mdm/base/buf.h"
#include "mdm/store/store.h"

/* --- engine ---------------------------------------------------------------------------------- */

struct engine; /* the database, shared by its connections */
struct conn;   /* one connection, used by one thread at a time */

enum conn_kind {
    CONN_CHECK, /* changes nothing; the database may be of any age */
    CONN_WRITE, /* creates the database when there is none */
    CONN_READ   /* refuses to write */
};

enum txn_op {
    TXN_BEGIN_READ,
    TXN_BEGIN_WRITE,
    TXN_BEGIN_ALONE, /* the same with no other writing transaction beside it, of any node */
    TXN_COMMIT,
    TXN_ROLLBACK, /* fine without a transaction */
    TXN_SAVE,     /* savepoint of one job */
    TXN_RELEASE,
    TXN_UNDO, /* back to the savepoint, which stays */
    TXN_OP_MAX
};

/* What a failure did to the transaction it happened in. */
enum txn_fate {
    TXN_STANDS, /* the job alone failed */
    TXN_LOST,   /* all of it is undone: the other jobs have to run again */
    TXN_RACED   /* lost to another transaction: every job may run again and succeed */
};

/* What the tools ask of an engine beside the rooms' statements (schema.h, copy.h, check.h). */
struct engine_admin {
    /* A row for each column of each table of ours, ordered by both names, bytewise: table, column,
     * its letter (upper case where NULL may stand, '?' for a type that is none of ours), its place
     * in the primary key or 0, and 1 for an @ID@. schema_migrations is not listed. */
    struct store_stmt columns;
    /* (table, column) of an @ID@ -> the last value given out, NULL when none was. */
    struct store_stmt seq_get;
    /* Script that lets it go on behind @VALUE@: @TABLE@ and @COLUMN@ name it. */
    const char *seq_set;
    /* Script at the beginning of a transaction that may take long, or NULL. */
    const char *patient;
    /* What the engine itself finds wrong: no parameters, a line of text for each finding. */
    struct store_stmts checks;
    /* What it finds by failing, DEEP_MAX statements or none where `checks` have all of it. */
    struct store_stmts deep;
};

/* Each damaged index fails its statement, so each stands in a transaction of its own. */
enum {
    DEEP_CANNOT, /* -> why it cannot be done, "" when it can */
    DEEP_NEXT,   /* index -> the one behind it */
    DEEP_LOOK,   /* index -> nothing of interest */
    DEEP_MAX
};

struct engine_ops {
    const char *scheme; /* what an url begins with */
    unsigned writers;   /* writing connections of use at a time */
    unsigned batch_max; /* most jobs that gain by sharing a transaction; 0: no limit of its own */
    bool remote;        /* a statement may wait for the network */
    const struct engine_admin *admin;

    /* `nstmts` is how many statements a connection has to hold. Nothing is opened yet. */
    enum td_err (*open)(const struct store_conf *conf, const char *where, size_t nstmts,
                        struct engine **ret, struct errinfo *ei);
    void (*close)(struct engine *e);

    /* CONN_CHECK: TD_NOTFOUND when there is no database yet, TD_STATE when it is not ours. */
    enum td_err (*conn_open)(struct engine *e, enum conn_kind kind, struct conn **ret,
                             struct errinfo *ei);
    void (*conn_close)(struct conn *c);
    /* False when the connection has to be opened again before its next use. */
    bool (*conn_alive)(const struct conn *c);

    enum td_err (*txn)(struct conn *c, enum txn_op op, struct errinfo *ei);
    /* Of the failures since the last begin or savepoint. */
    enum txn_fate (*fate)(const struct conn *c);

    /* Prepares and checks statement number i of the store, once for each connection. */
    enum td_err (*prepare)(struct conn *c, size_t i, const struct store_stmt *st,
                           struct errinfo *ei);
    /* The statement is prepared and the arguments fit it. exec borrows them until it returns,
     * query copies them. *ret is what next, end and the columns take. */
    enum td_err (*exec)(struct conn *c, size_t i, const struct sval *args, size_t nargs,
                        int64_t *ret_changes, struct errinfo *ei);
    enum td_err (*query)(struct conn *c, size_t i, const struct sval *args, size_t nargs,
                         void **ret, struct errinfo *ei);
    /* See tx_exec_many; NULL where exec waits for nobody. */
    enum td_err (*exec_many)(struct conn *c, size_t i, const struct sval *args, size_t nargs,
                             struct errinfo *ei);
    /* TD_NOTFOUND behind the last row. The caller ends the cursor in any case. */
    enum td_err (*next)(void *cursor, struct errinfo *ei);
    void (*end)(void *cursor);
    /* Ends the cursors a job left open; how many. */
    size_t (*end_all)(struct conn *c);

    bool (*col_null)(void *cursor, int i);
    int64_t (*col_int)(void *cursor, int i);
    struct span (*col_bytes)(void *cursor, int i);

    /* Makes the empty table schema_migrations when it is missing; inside a transaction. */
    enum td_err (*schema_init)(struct conn *c, struct errinfo *ei);
    /* Whether schema_migrations exists. */
    enum td_err (*schema_exists)(struct conn *c, bool *ret, struct errinfo *ei);
    /* Runs the statements of a migration, given in the shared dialect. */
    enum td_err (*script)(struct conn *c, struct span sql, struct errinfo *ei);

    /* See store_lead; NULL where one process has the database to itself. */
    bool (*lead)(struct engine *e, enum store_job job);

    /* See store_epoch; around each commit that changes the status of certificates. NULL where other
     * nodes' commits are not seen. */
    uint64_t (*epoch)(const struct engine *e);
    enum td_err (*status_begin)(struct engine *e, struct errinfo *ei);
    void (*status_end)(struct engine *e);
};

#define STORE_SQLITE_SCHEME "sqlite:"

extern const struct engine_ops store_sqlite, store_pg;
extern const struct engine_admin sqlite_admin, pg_admin;

/* The engine of an url and what stands behind its scheme. NULL, with words for TD_INVAL in *ei,
 * when there is none. */
const struct engine_ops *store_engine_find(const char *url, const char **where, struct errinfo *ei);

/* --- statements ------------------------------------------------------------------------------ */

#define STMT_NONE SIZE_MAX

/* Every statement of a store by number, and the number by address in one probe or two. */
struct stmt_table {
    const struct store_stmt **list;
    bool *status;    /* changes the status of certificates (store_epoch) */
    uint32_t *slots; /* number + 1, 0 when free */
    size_t n, mask;
};

/* TD_INTERNAL when a statement is listed twice, a name is used twice or a letter is unknown. The
 * store's own statements are put in front. */
enum td_err stmt_table_init(struct stmt_table *t, const struct store_stmts *sets, size_t nsets,
                            struct errinfo *ei);
void stmt_table_free(struct stmt_table *t);
size_t stmt_table_find(const struct stmt_table *t, const struct store_stmt *st);

/* TD_INTERNAL when the arguments do not fit st->in, TD_INVAL when a text is not UTF-8. */
enum td_err stmt_check_args(const struct store_stmt *st, const struct sval *args, size_t nargs,
                            struct errinfo *ei);

/* --- transactions ---------------------------------------------------------------------------- */

struct tx {
    const struct engine_ops *ops;
    const struct stmt_table *stmts;
    struct conn *conn;
    bool write;
    bool status;                      /* a statement changed the status of certificates */
    const struct store_stmt *failed;  /* a statement the database refused */
    const struct store_stmt *misused; /* a column was read as what it is not */
};

/* Runs fn and ends the cursors it left open. Turns TD_OK into TD_INTERNAL when a statement failed
 * or was misused. The transaction around it is the caller's. */
enum td_err tx_run(struct tx *tx, store_fn fn, void *ctx, struct errinfo *ei);

/* As tx_exec, for many of a kind: the answer may come later, and an error with a later statement or
 * the commit. The arguments are copied. */
enum td_err tx_exec_many(struct tx *tx, const struct store_stmt *st, const struct sval *args,
                         size_t nargs, struct errinfo *ei);

/* --- migrations ------------------------------------------------------------------------------ */

struct migration {
    int64_t version; /* 1, 2, 3 ... without a gap */
    const char *name;
    const uint8_t *from, *to; /* the SQL; a link-time size would be no constant */
};

extern const struct migration store_migrations[];
extern const size_t store_nmigrations;
extern const struct store_stmts migrate_stmts;

/* Brings the database to the last migration. TD_STATE, with nothing touched, when it is newer,
 * when a migration in it is not the one we know, or when it is not ours. */
enum td_err migrate_run(const struct engine_ops *ops, struct engine *e,
                        const struct stmt_table *stmts, const struct migration *list, size_t n,
                        int64_t now, struct errinfo *ei);

/* Appends a migration with each word of the shared dialect replaced by the engine's own. */
struct store_word {
    const char *from, *to;
};
void migrate_dialect(struct span sql, const struct store_word *words, size_t n, struct buf *out);

#define MIGRATE_TEXT 65 /* a SHA-256 in hexadecimal, with its NUL */

/* What the table of migrations tells of a database. */
struct migrate_state {
    size_t applied;          /* of the list: 0 .. n */
    char id[MIGRATE_TEXT];   /* digest of the table: tells one database from another */
    char copy[MIGRATE_TEXT]; /* id of the database this one is an unfinished copy of, or "" */
};

/* Reads it, inside a transaction. TD_STATE as migrate_run, but an unfinished copy is fine here. */
enum td_err migrate_look(struct tx *tx, const struct migration *list, size_t n,
                         struct migrate_state *ret, struct errinfo *ei);

/* Marks the database as an unfinished copy of the one with that id, so that nobody opens it, or
 * takes the mark off. Inside a write transaction. */
enum td_err migrate_mark(struct tx *tx, const char *id, int64_t now, struct errinfo *ei);
enum td_err migrate_unmark(struct tx *tx, struct errinfo *ei);

/* store_open with other migrations: for tests. */
TD_NODISCARD enum td_err store_open_with(const struct store_conf *conf,
                                         const struct migration *list, size_t n, struct store **ret,
                                         struct errinfo *ei);

/* store_copy (copy.h) with other migrations: for tests. */
struct store_progress;
TD_NODISCARD enum td_err copy_run(const struct store_conf *from, const struct store_conf *to,
                                  const struct migration *list, size_t n,
                                  const struct store_progress *progress, struct errinfo *ei);

/* Writes that wait now. */
unsigned store_queued(struct store *s);

#endif
