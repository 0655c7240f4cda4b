/* A PostgreSQL connection as the engine (pg.c) uses it: statements go out in pipelines, a round is
 * everything up to one answer. Internal to mdm/store/pg*.c. */
#ifndef TD_STORE_PG_INT_H
#define TD_STORE_PG_INT_H

#include <libpq-fe.h>
#include <pthread.h>

#include "mdm/base/uuid.h"
#include "mdm/store/store_int.h"

/* --- SQLSTATE (pg_state.c) ------------------------------------------------------------------- */

struct pg_state {
    const char *prefix; /* of the five characters */
    enum td_err err;
    enum txn_fate fate;
    bool dead; /* the connection is of no more use */
};

/* The row of the longest prefix of an SQLSTATE; NULL or "" is a broken connection. Never NULL. */
const struct pg_state *pg_state_find(const char *sqlstate);

/* --- connections (pg_conn.c) ------------------------------------------------------------------ */

/* Commands without parameters, prepared once for each connection. */
enum pg_ctl {
    PG_CTL_BEGIN_READ,
    PG_CTL_BEGIN_WRITE,
    PG_CTL_GATE,
    PG_CTL_GATE_ALONE,
    PG_CTL_COMMIT,
    PG_CTL_ROLLBACK,
    PG_CTL_SAVE,
    PG_CTL_RELEASE,
    PG_CTL_UNDO,
    PG_CTL_PATIENT,
    PG_CTL_MAX
};

#define PG_QUEUE_MAX 8

struct engine {
    char *url;
    size_t nstmts;
    bool sync_full;
    int64_t answer_ms; /* most wait for an answer */
    enum store_use use;
    struct conn *guard; /* holds the lock of STORE_ALONE; NULL until the first connection */

    pthread_mutex_t lock; /* of what follows: when the next attempt to connect may be made */
    int64_t next_ms;
    unsigned failures;
    bool connecting;
    unsigned cut; /* counts answers that did not come: older connections are not used again */

    pthread_mutex_t lead_lock;
    struct conn *lead; /* holds the advisory locks of this node; NULL until the first */
    unsigned held;     /* bit i: the lock of job i is ours */
};

/* A prepared statement, and the cursor over its rows. */
struct pg_stmt {
    const struct store_stmt *st; /* NULL until it is prepared */
    struct conn *conn;
    PGresult *rows;
    int row;
    bool busy;
};

struct conn {
    PGconn *pg;
    struct engine *engine;
    enum conn_kind kind;
    enum txn_fate fate;
    bool dead;
    bool late;         /* an answer did not come in time */
    unsigned cut;      /* the engine's, when it was made */
    bool in_txn;       /* begun, as far as the caller knows */
    unsigned sent_txn; /* rounds sent in this transaction */
    int64_t used_ms;   /* of the last round */
    enum pg_ctl queue[PG_QUEUE_MAX];
    unsigned nqueue; /* commands that go with the next round */
    size_t unsent;   /* bytes that libpq may hold */
    bool unsynced;   /* statements were sent and no sync behind them */
    unsigned unread; /* syncs sent whose answers nobody waited for */
    char writer[UUID_SIZE];
    int64_t batch; /* the number of its newest transaction, see store_commits */
    size_t nstmts, open;
    struct pg_stmt stmts[];
};

/* Connects (bounded), with the session set up and the commands prepared. TD_DB at once while an
 * attempt is not due. */
enum td_err pg_connect(struct engine *e, enum conn_kind kind, struct conn **ret,
                       struct errinfo *ei);
void pg_disconnect(struct conn *c);

/* Before a transaction: whether the connection still stands. One that was used a moment ago is
 * looked at without waiting; one that was not is asked, by sending what is deferred. */
bool pg_stands(struct conn *c);

/* Puts a command before the next round. */
void pg_defer(struct conn *c, enum pg_ctl ctl);

/* One round: the commands deferred, then `send` (may be NULL), then a sync. The result of what
 * `send` sent is *ret (owned), NULL when `send` is NULL. `what` names it in errors. */
typedef int (*pg_send_fn)(struct conn *c, void *ctx);
enum td_err pg_round(struct conn *c, pg_send_fn send, void *ctx, const char *what, PGresult **ret,
                     struct errinfo *ei);

/* The commands deferred and what `send` sends, without a sync: whatever comes of it shows in the
 * next round. `bytes` is its size; what piles up is sent off now and then. */
enum td_err pg_send(struct conn *c, pg_send_fn send, void *ctx, size_t bytes, const char *what,
                    struct errinfo *ei);

/* The commands deferred, with nobody waiting for the answer. */
void pg_send_away(struct conn *c);

/* SQL of any number of statements without parameters, outside pipelines. */
enum td_err pg_script(struct conn *c, const char *sql, struct errinfo *ei);

/* The integer a query without parameters gives. */
enum td_err pg_int(struct conn *c, const char *sql, int64_t *ret, struct errinfo *ei);

/* A value of int2, int4 or int8 in binary form. */
int64_t pg_get_int(const PGresult *r, int row, int col);

#endif
