#include "mdm/store/store_int.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <time.h>

#include "mdm/base/metrics.h"

#define READ_WAIT_MS 5000
#define BATCH_ATTEMPTS 6 /* of a transaction that loses races or is lost to a job of it */
#define BATCH_ALONE 2    /* the attempt from which on no other transaction is let in beside it */
#define WRITERS_MAX 16

/* A write: on the stack of the thread that waits for it. */
struct job {
    struct job *next;
    store_fn fn;
    void *ctx;
    struct errinfo *ei;
    enum td_err err;
    bool final; /* failed in a way that takes its transaction down: not run again */
    sem_t done;
};

struct writer {
    struct store *s;
    struct conn *conn; /* NULL: to be opened again */
    struct job **batch;
    pthread_t thread;
    bool started;
    bool status; /* the transaction changes the status of certificates */
};

struct store {
    const struct engine_ops *ops;
    struct engine *engine;
    struct stmt_table stmts;
    unsigned batch_max, queue_max;
    bool twice;

    pthread_mutex_t lock; /* the queue */
    pthread_cond_t wake;
    struct job *head, **tail;
    unsigned queued;
    bool closing;
    struct writer writers[WRITERS_MAX];
    unsigned nwriters;

    pthread_mutex_t rlock; /* the idle readers: a stack, the warmest on top */
    pthread_cond_t rwake;
    struct conn **idle; /* NULL in it: to be opened again */
    unsigned nidle, nreaders, read_wait_ms;
};

static const struct engine_ops *const engines[] = {&store_sqlite, &store_pg};

/* --- connections ----------------------------------------------------------------------------- */

static void conn_drop(struct store *s, struct conn **c)
{
    if (*c && !s->ops->conn_alive(*c)) {
        s->ops->conn_close(*c);
        *c = NULL;
    }
}

/* Begins a transaction on *c, which is opened when it is NULL, and opened again when it turns out
 * that the database closed it while it was idle. */
static enum td_err conn_begin(struct store *s, enum conn_kind kind, enum txn_op op, struct conn **c,
                              struct errinfo *ei)
{
    enum td_err e = TD_DB;
    for (int i = 0; i < 2 && (i == 0 || !*c); i++) {
        if (!*c)
            TD_TRY(s->ops->conn_open(s->engine, kind, c, ei));
        e = s->ops->txn(*c, op, ei);
        if (e != TD_OK)
            conn_drop(s, c);
    }
    return e;
}

/* --- writing --------------------------------------------------------------------------------- */

/* Runs one job in a savepoint; false when the transaction around it does not stand. */
static bool job_run(struct writer *w, struct job *j)
{
    struct store *s = w->s;
    struct tx tx = {.ops = s->ops, .stmts = &s->stmts, .conn = w->conn, .write = true};
    memset(j->ei, 0, sizeof *j->ei);
    j->err = s->ops->txn(w->conn, TXN_SAVE, j->ei);
    if (j->err == TD_OK && s->twice) {
        (void)tx_run(&tx, j->fn, j->ctx, j->ei);
        memset(j->ei, 0, sizeof *j->ei);
        tx = (struct tx){.ops = s->ops, .stmts = &s->stmts, .conn = w->conn, .write = true};
        j->err = s->ops->txn(w->conn, TXN_UNDO, j->ei);
    }
    if (j->err == TD_OK)
        j->err = tx_run(&tx, j->fn, j->ctx, j->ei);
    w->status |= tx.status;
    enum txn_fate fate = s->ops->fate(w->conn);
    if (fate == TXN_STANDS && j->err != TD_OK && s->ops->txn(w->conn, TXN_UNDO, NULL) != TD_OK)
        fate = TXN_LOST;
    if (fate == TXN_STANDS) {
        struct errinfo ei = {0};
        enum td_err e = s->ops->txn(w->conn, TXN_RELEASE, &ei);
        if (e == TD_OK)
            return true;
        if (j->err == TD_OK) {
            j->err = e;
            *j->ei = ei;
        }
        fate = TXN_LOST;
    }
    if (j->err == TD_OK)
        j->err = err_set(j->ei, TD_DB, "the transaction was lost");
    j->final = fate == TXN_LOST;
    return false;
}

static void fail_unfinished(struct job *const *jobs, size_t n, enum td_err e,
                            const struct errinfo *ei)
{
    for (size_t i = 0; i < n; i++) {
        if (jobs[i]->final)
            continue;
        jobs[i]->err = e;
        *jobs[i]->ei = *ei;
    }
}

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

uint64_t store_epoch(const struct store *s)
{
    return s->ops->epoch ? s->ops->epoch(s->engine) : 0;
}

static enum td_err commit(struct writer *w, struct errinfo *ei)
{
    struct store *s = w->s;
    bool status = w->status && s->ops->status_begin;
    if (status)
        TD_TRY(s->ops->status_begin(s->engine, ei));
    enum td_err e = s->ops->txn(w->conn, TXN_COMMIT, ei);
    if (status)
        s->ops->status_end(s->engine);
    return e;
}

/* Commits what the jobs did. *again when another try may succeed. */
static enum td_err batch_commit(struct writer *w, size_t ok, bool *again, struct errinfo *ei)
{
    const struct engine_ops *ops = w->s->ops;
    if (ok == 0)
        return ops->txn(w->conn, TXN_ROLLBACK, ei);
    int64_t from = now_us();
    enum td_err e = commit(w, ei);
    if (e != TD_OK) {
        *again = ops->fate(w->conn) == TXN_RACED;
        return e;
    }
    metrics_observe(METRIC_STORE_COMMIT_TIME, now_us() - from);
    metrics_add(METRIC_STORE_BATCHES, 1);
    metrics_add(METRIC_STORE_JOBS, (int64_t)ok);
    return TD_OK;
}

/* One transaction over all jobs that are not final. An error is that of the whole batch; *again
 * says that the jobs are to be run once more instead. */
static enum td_err batch_try(struct writer *w, struct job *const *jobs, size_t n, bool alone,
                             bool *again, struct errinfo *ei)
{
    struct store *s = w->s;
    *again = w->status = false;
    enum txn_op begin = alone ? TXN_BEGIN_ALONE : TXN_BEGIN_WRITE;
    enum td_err e = conn_begin(s, CONN_WRITE, begin, &w->conn, ei);
    if (!w->conn)
        return e;
    size_t ok = 0;
    for (size_t i = 0; i < n && e == TD_OK && !*again; i++) {
        if (jobs[i]->final)
            continue;
        if (!job_run(w, jobs[i])) {
            *again = true;
            *ei = *jobs[i]->ei;
            e = jobs[i]->err;
        } else if (jobs[i]->err == TD_OK) {
            ok++;
        }
    }
    if (e == TD_OK)
        e = batch_commit(w, ok, again, ei);
    if (e != TD_OK)
        (void)s->ops->txn(w->conn, TXN_ROLLBACK, NULL);
    conn_drop(s, &w->conn);
    return e;
}

static void batch_run(struct writer *w, struct job *const *jobs, size_t n)
{
    struct errinfo ei;
    enum td_err e;
    bool again = false;
    unsigned attempt = 0;
    do {
        memset(&ei, 0, sizeof ei);
        if (attempt > 0)
            metrics_add(METRIC_STORE_RETRIES, 1);
        e = batch_try(w, jobs, n, attempt >= BATCH_ALONE, &again, &ei);
    } while (again && ++attempt < BATCH_ATTEMPTS);
    if (e != TD_OK)
        fail_unfinished(jobs, n, e, &ei);
    int64_t failed = 0;
    for (size_t i = 0; i < n; i++)
        failed += jobs[i]->err != TD_OK;
    if (failed)
        metrics_add(METRIC_STORE_FAILED, failed);
}

/* Takes what waits, at most a batch; 0 when the store closes and nothing is left. */
static size_t take(struct store *s, struct job **out)
{
    pthread_mutex_lock(&s->lock);
    while (!s->head && !s->closing)
        pthread_cond_wait(&s->wake, &s->lock);
    size_t n = 0;
    while (s->head && n < s->batch_max) {
        out[n++] = s->head;
        s->head = s->head->next;
    }
    if (!s->head)
        s->tail = &s->head;
    s->queued -= (unsigned)n;
    pthread_mutex_unlock(&s->lock);
    return n;
}

static void *writer_main(void *arg)
{
    struct writer *w = arg;
    size_t n;
    while ((n = take(w->s, w->batch)) > 0) {
        batch_run(w, w->batch, n);
        for (size_t i = 0; i < n; i++)
            sem_post(&w->batch[i]->done);
    }
    return NULL;
}

static bool on_writer(const struct store *s)
{
    for (unsigned i = 0; i < s->nwriters; i++)
        if (pthread_equal(pthread_self(), s->writers[i].thread))
            return true;
    return false;
}

enum td_err store_write(struct store *s, store_fn fn, void *ctx, struct errinfo *ei)
{
    if (on_writer(s))
        return err_set(ei, TD_INTERNAL, "a write inside a write job");
    struct errinfo own = {0};
    struct job j = {.fn = fn, .ctx = ctx, .ei = ei ? ei : &own};
    sem_init(&j.done, 0, 0);
    pthread_mutex_lock(&s->lock);
    bool taken = !s->closing && s->queued < s->queue_max;
    if (taken) {
        *s->tail = &j;
        /* cppcheck-suppress autoVariables ; off the queue before this function returns */
        s->tail = &j.next;
        s->queued++;
        pthread_cond_signal(&s->wake); /* under the lock: store_close may free it right after */
    }
    pthread_mutex_unlock(&s->lock);
    while (taken && sem_wait(&j.done) != 0)
        ; /* a signal came */
    sem_destroy(&j.done);
    if (!taken)
        return err_set(ei, TD_BUSY, "the store takes no more writes now");
    return j.err;
}

unsigned store_queued(struct store *s)
{
    pthread_mutex_lock(&s->lock);
    unsigned n = s->queued;
    pthread_mutex_unlock(&s->lock);
    return n;
}

/* --- reading --------------------------------------------------------------------------------- */

/* TD_BUSY when no connection becomes free in time; else the caller gives it back. */
static enum td_err reader_take(struct store *s, unsigned wait_ms, struct conn **ret,
                               struct errinfo *ei)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += wait_ms / 1000;
    until.tv_nsec += (long)(wait_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_mutex_lock(&s->rlock);
    int rc = 0;
    while (s->nidle == 0 && wait_ms && rc == 0)
        rc = pthread_cond_timedwait(&s->rwake, &s->rlock, &until);
    bool taken = s->nidle > 0;
    if (taken)
        *ret = s->idle[--s->nidle];
    pthread_mutex_unlock(&s->rlock);
    return taken ? TD_OK : err_set(ei, TD_BUSY, "no reading connection became free");
}

static void reader_give(struct store *s, struct conn *c)
{
    pthread_mutex_lock(&s->rlock);
    s->idle[s->nidle++] = c;
    pthread_cond_signal(&s->rwake); /* store_close frees the lock when all are back */
    pthread_mutex_unlock(&s->rlock);
}

static enum td_err read_within(struct store *s, unsigned wait_ms, store_fn fn, void *ctx,
                               struct errinfo *ei)
{
    if (on_writer(s))
        return err_set(ei, TD_INTERNAL, "a read of its own inside a write job");
    struct conn *c = NULL;
    TD_TRY(reader_take(s, wait_ms, &c, ei));
    enum td_err e = conn_begin(s, CONN_READ, TXN_BEGIN_READ, &c, ei);
    if (e == TD_OK) {
        struct tx tx = {.ops = s->ops, .stmts = &s->stmts, .conn = c};
        e = tx_run(&tx, fn, ctx, ei);
    }
    if (c)
        (void)s->ops->txn(c, TXN_ROLLBACK, NULL);
    conn_drop(s, &c);
    reader_give(s, c);
    return e;
}

enum td_err store_read(struct store *s, store_fn fn, void *ctx, struct errinfo *ei)
{
    return read_within(s, s->read_wait_ms, fn, ctx, ei);
}

enum td_err store_try_read(struct store *s, store_fn fn, void *ctx, struct errinfo *ei)
{
    if (s->ops->remote)
        return err_set(ei, TD_BUSY, "a read would wait for the network");
    return read_within(s, 0, fn, ctx, ei);
}

bool store_shared(const struct store *s)
{
    return s->ops->lead != NULL;
}

bool store_lead(struct store *s, enum store_job job)
{
    return !s->ops->lead || s->ops->lead(s->engine, job);
}

/* --- opening and closing --------------------------------------------------------------------- */

static void locks_init(struct store *s)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->rlock, NULL);
    pthread_cond_init(&s->wake, &attr);
    pthread_cond_init(&s->rwake, &attr);
    pthread_condattr_destroy(&attr);
}

const struct engine_ops *store_engine_find(const char *url, const char **where, struct errinfo *ei)
{
    for (size_t i = 0; i < TD_NITEMS(engines); i++) {
        size_t n = strlen(engines[i]->scheme);
        if (url && strncmp(url, engines[i]->scheme, n) == 0) {
            *where = url + n;
            return engines[i];
        }
    }
    (void)err_set(ei, TD_INVAL,
                  "no storage engine for this url (sqlite:/path/to/file, postgres://...)");
    return NULL;
}

/* Every statement must fit the schema before the first request. */
static enum td_err prepare_all(struct store *s, struct conn *c, struct errinfo *ei)
{
    for (size_t i = 0; i < s->stmts.n; i++)
        TD_TRY(s->ops->prepare(c, i, s->stmts.list[i], ei));
    return TD_OK;
}

static enum td_err writer_start(struct store *s, struct writer *w, struct errinfo *ei)
{
    w->s = s;
    w->batch = calloc(s->batch_max, sizeof(struct job *));
    if (!w->batch)
        return TD_NOMEM;
    TD_TRY(s->ops->conn_open(s->engine, CONN_WRITE, &w->conn, ei));
    if (w == s->writers) /* the others prepare what they use */
        TD_TRY(prepare_all(s, w->conn, ei));
    int rc = pthread_create(&w->thread, NULL, writer_main, w);
    if (rc)
        return err_sys(ei, TD_NOMEM, rc, "writer thread");
    w->started = true;
    return TD_OK;
}

static enum td_err start(struct store *s, const struct store_conf *conf, const char *where,
                         const struct migration *list, size_t n, struct errinfo *ei)
{
    TD_TRY(stmt_table_init(&s->stmts, conf->sets, conf->nsets, ei));
    TD_TRY(s->ops->open(conf, where, s->stmts.n, &s->engine, ei));
    TD_TRY(migrate_run(s->ops, s->engine, &s->stmts, list, n, clock_now(conf->clock), ei));
    s->nreaders = conf->readers ? conf->readers : 1;
    s->idle = calloc(s->nreaders, sizeof(struct conn *));
    if (!s->idle)
        return TD_NOMEM;
    s->nidle = s->nreaders; /* each opens at its first use */
    unsigned writers = s->ops->writers;
    if (writers > 1 && conf->writers)
        writers = conf->writers < WRITERS_MAX ? conf->writers : WRITERS_MAX;
    for (unsigned i = 0; i < writers; i++) {
        s->nwriters = i + 1;
        TD_TRY(writer_start(s, &s->writers[i], ei));
    }
    return store_ping(s, ei);
}

enum td_err store_open_with(const struct store_conf *conf, const struct migration *list, size_t n,
                            struct store **ret, struct errinfo *ei)
{
    const char *where = NULL;
    const struct engine_ops *ops = store_engine_find(conf->url, &where, ei);
    if (!ops)
        return TD_INVAL;
    struct store *s = calloc(1, sizeof *s);
    if (!s)
        return TD_NOMEM;
    s->ops = ops;
    s->tail = &s->head;
    s->batch_max = conf->batch ? conf->batch : 1;
    if (ops->batch_max && s->batch_max > ops->batch_max)
        s->batch_max = ops->batch_max;
    s->queue_max = conf->queue ? conf->queue : 1;
    s->twice = conf->twice;
    s->read_wait_ms = conf->read_wait_ms ? conf->read_wait_ms : READ_WAIT_MS;
    locks_init(s);
    enum td_err e = start(s, conf, where, list, n, ei);
    if (e != TD_OK) {
        store_close(s);
        return e;
    }
    *ret = s;
    return TD_OK;
}

enum td_err store_open(const struct store_conf *conf, struct store **ret, struct errinfo *ei)
{
    return store_open_with(conf, store_migrations, store_nmigrations, ret, ei);
}

static void writers_stop(struct store *s)
{
    pthread_mutex_lock(&s->lock);
    s->closing = true;
    pthread_cond_broadcast(&s->wake);
    pthread_mutex_unlock(&s->lock);
    for (unsigned i = 0; i < s->nwriters; i++)
        if (s->writers[i].started)
            pthread_join(s->writers[i].thread, NULL);
}

static void readers_stop(struct store *s)
{
    if (!s->idle)
        return;
    pthread_mutex_lock(&s->rlock);
    while (s->nidle < s->nreaders)
        pthread_cond_wait(&s->rwake, &s->rlock);
    pthread_mutex_unlock(&s->rlock);
    for (unsigned i = 0; i < s->nreaders; i++)
        if (s->idle[i])
            s->ops->conn_close(s->idle[i]);
}

void store_close(struct store *s)
{
    if (!s)
        return;
    writers_stop(s);
    readers_stop(s);
    /* a writing connection is the last to go: it checkpoints */
    for (unsigned i = 0; i < s->nwriters; i++) {
        if (s->writers[i].conn)
            s->ops->conn_close(s->writers[i].conn);
        free(s->writers[i].batch);
    }
    if (s->engine)
        s->ops->close(s->engine);
    stmt_table_free(&s->stmts);
    pthread_cond_destroy(&s->wake);
    pthread_cond_destroy(&s->rwake);
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->rlock);
    free(s->idle);
    free(s);
}
