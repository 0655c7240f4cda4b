#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>

#include "mdm/base/log.h"
#include "mdm/base/metrics.h"
#include "mdm/store/pg_int.h"

#define CONNECT_S "3"    /* for each host of the url */
#define SCRIPT_MS 800000 /* migrations */
#define SEND_BYTES 65536
#define FRESH_MS 200        /* since its last round nobody asks a connection whether it stands */
#define BACKOFF_FIRST_MS 50 /* doubled for each failed attempt in a row */
#define BACKOFF_MAX_MS 2000

/* Every session of ours. Statements are few, prepared and go by an index: a plan made once is the
 * plan (a small table read whole would also be locked whole by SERIALIZABLE). */
#define SESSION                                                                                    \
    "SET client_encoding = 'UTF8'; SET client_min_messages = warning;"                             \
    "SET idle_in_transaction_session_timeout = '30s';"                                             \
    "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET jit = off;"           \
    "SET bytea_output = 'hex'; SET standard_conforming_strings = on;"                              \
    "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3"

/* PostgreSQL itself gives a statement up before we give the connection up, and a lock before that:
 * only who does not answer at all is cut off. */
#define SESSION_LIMITS "SET statement_timeout = %lld; SET lock_timeout = %lld"

/* What the engine itself needs; made by the first of all writers. schema_migrations is the gate
 * too. store_commits has the number of each writer's newest commit: who loses the connection while
 * committing can ask what became of it. Rows of writers that ended go after a day. */
#define OWN_TABLES                                                                                 \
    "BEGIN; SELECT pg_advisory_xact_lock(1414022722);"                                             \
    "CREATE TABLE IF NOT EXISTS schema_migrations (version BIGINT PRIMARY KEY NOT NULL,"           \
    " name TEXT COLLATE \"C\" NOT NULL, sha256 TEXT COLLATE \"C\" NOT NULL,"                       \
    " applied_at BIGINT NOT NULL);"                                                                \
    "CREATE TABLE IF NOT EXISTS store_commits (writer TEXT COLLATE \"C\" PRIMARY KEY NOT NULL,"    \
    " batch BIGINT NOT NULL, at TIMESTAMPTZ NOT NULL DEFAULT now());"                              \
    "DELETE FROM store_commits WHERE at < now() - INTERVAL '1 day'; COMMIT"

static const struct {
    const char *name, *sql;
} ctls[PG_CTL_MAX] = {
    [PG_CTL_BEGIN_READ] = {"c0", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"},
    [PG_CTL_BEGIN_WRITE] = {"c1", "BEGIN ISOLATION LEVEL SERIALIZABLE"},
    /* A LOCK takes no snapshot: one who waited here sees what was committed meanwhile. */
    [PG_CTL_GATE] = {"c2", "LOCK TABLE schema_migrations IN ROW SHARE MODE"},
    [PG_CTL_GATE_ALONE] = {"c3", "LOCK TABLE schema_migrations IN EXCLUSIVE MODE"},
    [PG_CTL_COMMIT] = {"c4", "COMMIT"},
    [PG_CTL_ROLLBACK] = {"c5", "ROLLBACK"},
    [PG_CTL_SAVE] = {"c6", "SAVEPOINT job"},
    [PG_CTL_RELEASE] = {"c7", "RELEASE SAVEPOINT job"},
    [PG_CTL_UNDO] = {"c8", "ROLLBACK TO SAVEPOINT job"},
    /* Before a COMMIT, which waits for a synchronous standby: a timeout would only end this wait,
     * and the commit be acknowledged without the standby. */
    [PG_CTL_PATIENT] = {"c9", "SET LOCAL statement_timeout = 0"},
};

static int64_t mono_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* --- errors ---------------------------------------------------------------------------------- */

/* One line of a message of libpq's, which may have several and ends with one. */
static int line_of(const char *msg)
{
    return msg ? (int)strcspn(msg, "\n") : 0;
}

/* A database that does not answer may be frozen, or cut off without a word: whoever waits on
 * another connection finds out by itself, all others need not. What it does with the transaction is
 * not known, and a job that is too long would be so again: it is not run once more. */
static enum td_err no_answer(struct conn *c, const char *what, struct errinfo *ei)
{
    struct engine *e = c->engine;
    c->fate = TXN_LOST;
    pthread_mutex_lock(&e->lock);
    bool first = c->cut == e->cut;
    e->cut += first;
    pthread_mutex_unlock(&e->lock);
    if (first)
        log_ev(LOG_ERROR, "store.no_answer", KV("statement", what),
               KV_I64("seconds", e->answer_ms / 1000));
    return err_set(ei, TD_DB, "%s: the database does not answer", what);
}

static enum td_err broken(struct conn *c, const char *what, struct errinfo *ei)
{
    c->dead = true;
    if (c->late)
        return no_answer(c, what, ei);
    c->fate = TXN_RACED;
    const char *msg = PQerrorMessage(c->pg);
    return err_set(ei, TD_DB, "%s: %.*s", what, line_of(msg), msg);
}

/* The error of a result; a unique violation and the like are the caller's to judge. */
static enum td_err failed(struct conn *c, const PGresult *r, const char *what, struct errinfo *ei)
{
    if (PQstatus(c->pg) == CONNECTION_BAD)
        c->dead = true;
    const struct pg_state *s = pg_state_find(PQresultErrorField(r, PG_DIAG_SQLSTATE));
    const char *msg = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);
    if (!msg)
        msg = PQerrorMessage(c->pg);
    c->dead = c->dead || s->dead;
    if (c->fate != TXN_RACED)
        c->fate = c->dead ? TXN_RACED : s->fate;
    return err_set(ei, s->err, "%s: %.*s", what, line_of(msg), msg);
}

/* --- waiting --------------------------------------------------------------------------------- */

/* Waits for events on the socket; false at the deadline. What is there counts also behind it: this
 * process may have stood still itself. */
static bool wait_socket(struct conn *c, short events, int64_t until)
{
    struct pollfd p = {.fd = PQsocket(c->pg), .events = events};
    int rc;
    do {
        int64_t left = until - mono_ms();
        rc = poll(&p, 1, left > 0 ? (int)left : 0);
    } while (rc < 0 && errno == EINTR);
    c->late = rc == 0;
    return rc > 0;
}

/* Sends what libpq holds, reading meanwhile, so that neither side waits for the other. */
static bool flush_all(struct conn *c, int64_t until)
{
    int rc;
    while ((rc = PQflush(c->pg)) == 1)
        if (!wait_socket(c, POLLIN | POLLOUT, until) || !PQconsumeInput(c->pg))
            return false;
    return rc == 0;
}

/* The next result; *ret NULL is the end of one command's. False when the connection broke. */
static bool next_result(struct conn *c, int64_t until, PGresult **ret)
{
    while (PQisBusy(c->pg))
        if (!wait_socket(c, POLLIN, until) || !PQconsumeInput(c->pg))
            return false;
    *ret = PQgetResult(c->pg);
    return *ret || PQstatus(c->pg) == CONNECTION_OK;
}

/* Results up to the sync. The first that failed is *bad, the last of all *last (both owned). */
static bool read_to_sync(struct conn *c, PGresult **bad, PGresult **last)
{
    int64_t until = mono_ms() + c->engine->answer_ms;
    PGresult *r = NULL;
    while (next_result(c, until, &r)) {
        if (!r)
            continue;
        ExecStatusType st = PQresultStatus(r);
        if (st == PGRES_PIPELINE_SYNC) {
            PQclear(r);
            return true;
        }
        if (st == PGRES_FATAL_ERROR && !*bad) {
            *bad = r;
            continue;
        }
        PQclear(*last);
        *last = r;
    }
    return false;
}

/* Reads what nobody waited for. */
static bool drain(struct conn *c)
{
    while (c->unread && !c->dead) {
        PGresult *bad = NULL, *last = NULL;
        c->dead = !read_to_sync(c, &bad, &last);
        PQclear(bad);
        PQclear(last);
        c->unread--;
    }
    return !c->dead;
}

/* --- rounds ---------------------------------------------------------------------------------- */

void pg_defer(struct conn *c, enum pg_ctl ctl)
{
    if (c->nqueue < PG_QUEUE_MAX)
        c->queue[c->nqueue++] = ctl;
    else
        c->dead = true; /* cannot be: the store nests no deeper */
}

static bool send_queue(struct conn *c)
{
    bool ok = true;
    for (unsigned i = 0; i < c->nqueue && ok; i++)
        ok = PQsendQueryPrepared(c->pg, ctls[c->queue[i]].name, 0, NULL, NULL, NULL, 1) == 1;
    c->nqueue = 0;
    return ok;
}

void pg_send_away(struct conn *c)
{
    if (c->dead)
        return;
    c->dead = !send_queue(c) || PQpipelineSync(c->pg) != 1 || PQflush(c->pg) < 0;
    c->unread++;
}

enum td_err pg_round(struct conn *c, pg_send_fn send, void *ctx, const char *what, PGresult **ret,
                     struct errinfo *ei)
{
    if (c->dead)
        return err_set(ei, TD_DB, "%s: the connection to the database is lost", what);
    PGresult *bad = NULL, *last = NULL;
    bool ok = drain(c) && send_queue(c) && (!send || send(c, ctx) == 1) &&
              PQpipelineSync(c->pg) == 1 && flush_all(c, mono_ms() + c->engine->answer_ms) &&
              read_to_sync(c, &bad, &last);
    c->sent_txn++;
    c->unsent = 0;
    c->unsynced = false;
    c->used_ms = mono_ms();
    enum td_err e = TD_OK;
    if (bad)
        e = failed(c, bad, what, ei);
    else if (!ok)
        e = broken(c, what, ei);
    else if (send && !last)
        e = err_set(ei, TD_INTERNAL, "%s: no answer", what);
    PQclear(bad);
    if (e == TD_OK && send) {
        *ret = last;
        return TD_OK;
    }
    PQclear(last);
    return e;
}

enum td_err pg_send(struct conn *c, pg_send_fn send, void *ctx, size_t bytes, const char *what,
                    struct errinfo *ei)
{
    if (c->dead)
        return err_set(ei, TD_DB, "%s: the connection to the database is lost", what);
    bool ok = drain(c) && send_queue(c) && send(c, ctx) == 1;
    c->sent_txn++;
    c->unsynced = true;
    c->unsent += bytes;
    if (ok && c->unsent >= SEND_BYTES) {
        ok = flush_all(c, mono_ms() + c->engine->answer_ms);
        c->unsent = 0;
    }
    return ok ? TD_OK : broken(c, what, ei);
}

/* Whether the database left a question unanswered since the connection was made. */
static bool cut_off(struct conn *c)
{
    pthread_mutex_lock(&c->engine->lock);
    c->dead = c->cut != c->engine->cut;
    pthread_mutex_unlock(&c->engine->lock);
    return c->dead;
}

bool pg_stands(struct conn *c)
{
    if (c->dead || cut_off(c) || !drain(c))
        return false;
    if (mono_ms() - c->used_ms > FRESH_MS)
        return pg_round(c, NULL, NULL, "database", NULL, NULL) == TD_OK;
    struct pollfd p = {.fd = PQsocket(c->pg), .events = POLLIN};
    /* what comes unasked is a parting word, the end, or a notice */
    if (poll(&p, 1, 0) != 0 && (!PQconsumeInput(c->pg) || PQstatus(c->pg) == CONNECTION_BAD))
        c->dead = true;
    return !c->dead;
}

/* --- without pipelines ----------------------------------------------------------------------- */

static enum td_err simple(struct conn *c, const char *sql, int64_t most_ms, struct errinfo *ei)
{
    int64_t until = mono_ms() + most_ms;
    PGresult *r = NULL, *last = NULL;
    if (PQsendQuery(c->pg, sql) != 1 || !flush_all(c, until))
        return broken(c, "database", ei);
    enum td_err e = TD_OK;
    bool ok;
    while ((ok = next_result(c, until, &r)) && r) {
        if (PQresultStatus(r) == PGRES_FATAL_ERROR && e == TD_OK)
            e = failed(c, r, "database", ei);
        PQclear(last);
        last = r;
    }
    if (!ok && e == TD_OK)
        e = broken(c, "database", ei);
    PQclear(last);
    return e;
}

enum td_err pg_script(struct conn *c, const char *sql, struct errinfo *ei)
{
    if (c->nqueue)
        TD_TRY(pg_round(c, NULL, NULL, "database", NULL, ei));
    if (!drain(c) || PQexitPipelineMode(c->pg) != 1)
        return broken(c, "database", ei);
    enum td_err e = simple(c, sql, SCRIPT_MS, ei);
    if (!c->dead && PQenterPipelineMode(c->pg) != 1)
        c->dead = true;
    return e;
}

static int send_text(struct conn *c, void *ctx)
{
    return PQsendQueryParams(c->pg, ctx, 0, NULL, NULL, NULL, NULL, 1);
}

int64_t pg_get_int(const PGresult *r, int row, int col)
{
    const unsigned char *p = (const unsigned char *)PQgetvalue(r, row, col);
    uint64_t v = 0;
    int n = PQgetlength(r, row, col);
    for (int i = 0; i < n; i++)
        v = v << 8 | p[i];
    if (n == 2)
        return (int16_t)v;
    return n == 4 ? (int32_t)v : (int64_t)v;
}

enum td_err pg_int(struct conn *c, const char *sql, int64_t *ret, struct errinfo *ei)
{
    char text[400];
    PGresult *r = NULL;
    snprintf(text, sizeof text, "%s", sql);
    TD_TRY(pg_round(c, send_text, text, "database", &r, ei));
    enum td_err e = TD_OK;
    if (PQntuples(r) == 1 && PQnfields(r) == 1 && !PQgetisnull(r, 0, 0))
        *ret = pg_get_int(r, 0, 0);
    else
        e = err_set(ei, TD_INTERNAL, "database: no integer");
    PQclear(r);
    return e;
}

/* --- connecting ------------------------------------------------------------------------------ */

/* Whether an attempt may be made now. While the database is away one is made at a time, and the
 * others learn at once what they would have waited for. */
static bool attempt_begin(struct engine *e)
{
    pthread_mutex_lock(&e->lock);
    bool may = e->failures == 0 || (!e->connecting && mono_ms() >= e->next_ms);
    if (may)
        e->connecting = true;
    pthread_mutex_unlock(&e->lock);
    return may;
}

static void attempt_end(struct engine *e, bool ok, const char *why)
{
    pthread_mutex_lock(&e->lock);
    bool was_away = e->failures > 0;
    e->connecting = false;
    if (ok) {
        e->failures = 0;
    } else {
        int64_t delay = (int64_t)BACKOFF_FIRST_MS << (e->failures < 6 ? e->failures : 6);
        e->next_ms = mono_ms() + (delay < BACKOFF_MAX_MS ? delay : BACKOFF_MAX_MS);
        e->failures++;
    }
    pthread_mutex_unlock(&e->lock);
    if (ok && was_away)
        log_ev(LOG_INFO, "store.back");
    else if (!ok && !was_away)
        log_ev(LOG_ERROR, "store.away", KV("error", why));
}

static void ignore_notice(void *arg, const PGresult *r)
{
    (void)arg;
    (void)r;
}

static PGconn *dial(const struct engine *e)
{
    char answer[24];
    snprintf(answer, sizeof answer, "%lld", (long long)e->answer_ms);
    /* before the url, so that it may say otherwise */
    static const char *const keys[] = {"connect_timeout",
                                       "target_session_attrs",
                                       "tcp_user_timeout",
                                       "keepalives_idle",
                                       "keepalives_interval",
                                       "keepalives_count",
                                       "fallback_application_name",
                                       "dbname",
                                       NULL};
    const char *const values[] = {CONNECT_S, "read-write", answer, "10", "5",
                                  "3",       "testudo",    e->url, NULL};
    return PQconnectdbParams(keys, values, 1);
}

/* The session's settings, pipelines, the commands. */
static enum td_err session(struct conn *c, struct errinfo *ei)
{
    PQsetNoticeReceiver(c->pg, ignore_notice, NULL);
    int64_t ms = c->engine->answer_ms;
    char limits[120];
    snprintf(limits, sizeof limits, SESSION_LIMITS, (long long)ms * 8 / 10, (long long)ms * 7 / 10);
    TD_TRY(simple(c, SESSION, ms, ei));
    TD_TRY(simple(c, limits, ms, ei));
    if (!c->engine->sync_full)
        TD_TRY(simple(c, "SET synchronous_commit = off", ms, ei));
    if (c->kind == CONN_WRITE)
        TD_TRY(simple(c, OWN_TABLES, ms, ei));
    if (PQsetnonblocking(c->pg, 1) != 0 || PQenterPipelineMode(c->pg) != 1)
        return broken(c, "database", ei);
    for (size_t i = 0; i < PG_CTL_MAX; i++)
        if (PQsendPrepare(c->pg, ctls[i].name, ctls[i].sql, 0, NULL) != 1)
            return broken(c, "database", ei);
    enum td_err e = pg_round(c, NULL, NULL, "database", NULL, ei);
    c->sent_txn = 0;
    return e;
}

static enum td_err connect_now(struct conn *c, struct errinfo *ei)
{
    c->pg = dial(c->engine);
    if (!c->pg)
        return err_set(ei, TD_NOMEM, "no memory for a connection");
    if (PQstatus(c->pg) != CONNECTION_OK)
        return broken(c, "database", ei);
    return session(c, ei);
}

enum td_err pg_connect(struct engine *e, enum conn_kind kind, struct conn **ret, struct errinfo *ei)
{
    if (!attempt_begin(e))
        return err_set(ei, TD_DB, "the database is away; the next attempt is a moment ahead");
    struct conn *c = calloc(1, sizeof *c + e->nstmts * sizeof c->stmts[0]);
    struct errinfo own = {0};
    enum td_err err = TD_NOMEM;
    if (c) {
        c->engine = e;
        pthread_mutex_lock(&e->lock);
        c->cut = e->cut;
        pthread_mutex_unlock(&e->lock);
        c->kind = kind;
        c->nstmts = e->nstmts;
        err = connect_now(c, &own);
    }
    attempt_end(e, err == TD_OK, err_msg(&own, err));
    if (err != TD_OK) {
        pg_disconnect(c);
        if (ei)
            *ei = own;
        return err;
    }
    metrics_add(METRIC_STORE_CONNECTS, 1);
    *ret = c;
    return TD_OK;
}

void pg_disconnect(struct conn *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->nstmts; i++)
        PQclear(c->stmts[i].rows);
    PQfinish(c->pg);
    free(c);
}
