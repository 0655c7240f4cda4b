/* Many writers at once, transactions that are lost, disks that refuse. */
#include "store_test.h"

#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <time.h>

#include "mdm/base/log.h"
#include "mdm/base/metrics.h"

static struct place place;
static struct store *store;

static int setup(void **state)
{
    (void)state;
    place_init(&place);
    store = place_open(&place);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    store_close(store);
    store = NULL;
    place_end(&place);
    return 0;
}

static void reopen(void)
{
    store_close(store);
    store = place_open(&place);
}

static void put(int64_t k)
{
    struct errinfo ei = {0};
    if (store_write(store, t_insert, &k, &ei) != TD_OK)
        fail_msg("insert %lld: %s", (long long)k, ei.msg);
}

/* --- the batch ---------------------------------------------------------------------------------
 */

struct gate {
    sem_t in, go;
};

static enum td_err wait_at(struct tx *tx, void *ctx, struct errinfo *ei)
{
    (void)tx;
    (void)ei;
    struct gate *g = ctx;
    sem_post(&g->in);
    while (sem_wait(&g->go) != 0)
        ;
    return TD_OK;
}

struct call {
    pthread_t thread;
    store_fn fn;
    void *ctx;
    int64_t k;
    enum td_err e;
    struct errinfo ei;
    sem_t *busy;
};

static void *call_main(void *arg)
{
    struct call *c = arg;
    c->e = store_write(store, c->fn, c->ctx ? c->ctx : &c->k, &c->ei);
    if (c->e == TD_BUSY && c->busy)
        sem_post(c->busy);
    return NULL;
}

static void call_start(struct call *c)
{
    assert_int_equal(pthread_create(&c->thread, NULL, call_main, c), 0);
}

/* Holds the writer inside a job until gate_open. */
static void gate_shut(struct gate *g, struct call *blocker)
{
    sem_init(&g->in, 0, 0);
    sem_init(&g->go, 0, 0);
    *blocker = (struct call){.fn = wait_at, .ctx = g};
    call_start(blocker);
    while (sem_wait(&g->in) != 0)
        ;
}

static void gate_open(struct gate *g, struct call *blocker)
{
    sem_post(&g->go);
    pthread_join(blocker->thread, NULL);
    assert_int_equal(blocker->e, TD_OK);
}

static void wait_queued(unsigned n)
{
    time_t until = time(NULL) + 20;
    while (store_queued(store) < n && time(NULL) < until)
        sched_yield();
    assert_int_equal(store_queued(store), n);
}

static enum td_err insert_then_fail(struct tx *tx, void *ctx, struct errinfo *ei)
{
    TD_TRY(t_insert(tx, ctx, ei));
    return err_reason(ei, TD_GONE, "changed-my-mind", "no %d", (int)*(int64_t *)ctx);
}

static enum td_err insert_then_lose(struct tx *tx, void *ctx, struct errinfo *ei)
{
    TD_TRY(t_insert(tx, ctx, ei));
    return tx_exec(tx, &t_stmts[T_ROLLBACK], NULL, 0, NULL, ei);
}

#define JOBS 30

/* Runs jobs in one batch, every third of them `bad`, which gets `want`. */
static void one_batch(store_fn bad, enum td_err want)
{
    struct gate g;
    struct call blocker, calls[JOBS];
    gate_shut(&g, &blocker);
    int64_t batches = metrics_get(METRIC_STORE_BATCHES), failed = metrics_get(METRIC_STORE_FAILED);
    for (int i = 0; i < JOBS; i++) {
        calls[i] = (struct call){.fn = i % 3 ? t_insert : bad, .k = 1000 + i};
        call_start(&calls[i]);
    }
    wait_queued(JOBS);
    gate_open(&g, &blocker);
    for (int i = 0; i < JOBS; i++)
        pthread_join(calls[i].thread, NULL);
    assert_int_equal(metrics_get(METRIC_STORE_BATCHES) - batches, 2); /* the gate's, and this */
    assert_int_equal(metrics_get(METRIC_STORE_FAILED) - failed, JOBS / 3);
    for (int i = 0; i < JOBS; i++) {
        if (calls[i].e != (i % 3 ? TD_OK : want))
            fail_msg("job %d: %s %s", i, err_name(calls[i].e), calls[i].ei.msg);
        assert_int_equal(t_has(store, 1000 + i), i % 3 != 0);
    }
    assert_int_equal(t_count(store), JOBS - JOBS / 3);
}

static void test_failed_job_rolls_back_alone(void **state)
{
    (void)state;
    one_batch(insert_then_fail, TD_GONE);
    reopen();
    assert_int_equal(t_count(store), JOBS - JOBS / 3);
}

/* A job that takes the transaction down: the others run again and are not harmed. */
static void test_lost_transaction(void **state)
{
    (void)state;
    struct gate g;
    struct call blocker, calls[3];
    gate_shut(&g, &blocker);
    for (int i = 0; i < 3; i++) {
        calls[i] = (struct call){.fn = i == 1 ? insert_then_lose : t_insert, .k = i};
        call_start(&calls[i]);
        wait_queued((unsigned)i + 1);
    }
    gate_open(&g, &blocker);
    for (int i = 0; i < 3; i++)
        pthread_join(calls[i].thread, NULL);
    assert_int_equal(calls[0].e, TD_OK);
    assert_int_equal(calls[1].e, TD_DB);
    assert_int_equal(calls[2].e, TD_OK);
    assert_true(t_has(store, 0) && !t_has(store, 1) && t_has(store, 2));
}

/* When most jobs take it down, all get an answer and the store goes on. */
static void test_lost_again_and_again(void **state)
{
    (void)state;
    struct gate g;
    struct call blocker, calls[JOBS];
    gate_shut(&g, &blocker);
    for (int i = 0; i < JOBS; i++) {
        calls[i] = (struct call){.fn = i % 2 ? insert_then_lose : t_insert, .k = i};
        call_start(&calls[i]);
    }
    wait_queued(JOBS);
    gate_open(&g, &blocker);
    int64_t ok = 0;
    for (int i = 0; i < JOBS; i++) {
        pthread_join(calls[i].thread, NULL);
        assert_true(calls[i].e == TD_OK || calls[i].e == TD_DB);
        assert_int_equal(t_has(store, i), calls[i].e == TD_OK);
        ok += calls[i].e == TD_OK;
    }
    put(1000);
    assert_int_equal(t_count(store), ok + 1);
}

static void test_queue_full(void **state)
{
    (void)state;
    teardown(NULL);
    place_init(&place);
    place.conf.queue = 1;
    store = place_open(&place);
    struct gate g;
    struct call blocker, calls[4];
    gate_shut(&g, &blocker);
    sem_t busy;
    sem_init(&busy, 0, 0);
    for (int i = 0; i < 4; i++) {
        calls[i] = (struct call){.fn = t_insert, .k = i, .busy = &busy};
        call_start(&calls[i]);
    }
    for (int i = 0; i < 3; i++)
        while (sem_wait(&busy) != 0)
            ;
    gate_open(&g, &blocker);
    int ok = 0;
    for (int i = 0; i < 4; i++) {
        pthread_join(calls[i].thread, NULL);
        ok += calls[i].e == TD_OK;
    }
    assert_int_equal(ok, 1);
    assert_int_equal(t_count(store), 1);
}

/* store_close finishes what is queued. */
static void *close_main(void *arg)
{
    store_close(arg);
    return NULL;
}

static void test_close_finishes(void **state)
{
    (void)state;
    struct gate g;
    struct call blocker, calls[8];
    gate_shut(&g, &blocker);
    for (int i = 0; i < 8; i++) {
        calls[i] = (struct call){.fn = t_insert, .k = i};
        call_start(&calls[i]);
    }
    wait_queued(8);
    pthread_t closer;
    assert_int_equal(pthread_create(&closer, NULL, close_main, store), 0);
    gate_open(&g, &blocker);
    for (int i = 0; i < 8; i++) {
        pthread_join(calls[i].thread, NULL);
        assert_int_equal(calls[i].e, TD_OK);
    }
    pthread_join(closer, NULL);
    store = place_open(&place);
    assert_int_equal(t_count(store), 8);
}

static void *read_main(void *arg)
{
    struct call *c = arg;
    c->e = store_read(store, wait_at, c->ctx, NULL);
    return NULL;
}

static void test_readers_busy(void **state)
{
    (void)state;
    teardown(NULL);
    place_init(&place);
    place.conf.readers = 1;
    place.conf.read_wait_ms = 20;
    store = place_open(&place);
    struct gate g;
    sem_init(&g.in, 0, 0);
    sem_init(&g.go, 0, 0);
    struct call c = {.ctx = &g};
    assert_int_equal(pthread_create(&c.thread, NULL, read_main, &c), 0);
    while (sem_wait(&g.in) != 0)
        ;
    int64_t n;
    assert_int_equal(store_read(store, t_count_fn, &n, NULL), TD_BUSY);
    assert_int_equal(store_try_read(store, t_count_fn, &n, NULL), TD_BUSY);
    assert_int_equal(store_ping(store, NULL), TD_BUSY);
    put(1); /* writes go on */
    sem_post(&g.go);
    pthread_join(c.thread, NULL);
    assert_int_equal(c.e, TD_OK);
    /* over the network every read would wait */
    enum td_err want = test_on_pg() ? TD_BUSY : TD_OK;
    assert_int_equal(store_try_read(store, t_count_fn, &n, NULL), want);
    assert_int_equal(store_read(store, t_count_fn, &n, NULL), TD_OK);
    assert_int_equal(n, 1);
}

/* --- the disk ----------------------------------------------------------------------------------
 */

static enum td_err few_pages(struct tx *tx, void *ctx, struct errinfo *ei)
{
    (void)ctx;
    struct cur c;
    enum td_err e = tx_row(tx, &t_stmts[T_PAGES], NULL, 0, &c, ei);
    cur_end(&c);
    return e;
}

static enum td_err insert_big(struct tx *tx, void *ctx, struct errinfo *ei)
{
    static const uint8_t big[20000];
    return tx_exec(tx, &t_stmts[T_INS],
                   SV_LIST(SV_INT(*(int64_t *)ctx), SV_NULL, SV_BLOB(SPAN_ARR(big))), NULL, ei);
}

static enum td_err delete_all(struct tx *tx, void *ctx, struct errinfo *ei)
{
    return tx_exec(tx, &t_stmts[T_DEL], SV_LIST(SV_INT(*(int64_t *)ctx)), NULL, ei);
}

static void test_disk_full(void **state)
{
    (void)state;
    sqlite_only();
    assert_int_equal(store_write(store, few_pages, NULL, NULL), TD_OK);
    int64_t k = 0;
    enum td_err e = TD_OK;
    struct errinfo ei = {0};
    for (; k < 1000 && e == TD_OK; k++)
        e = store_write(store, insert_big, &k, &ei);
    assert_int_equal(e, TD_DB);
    assert_int_equal(err_http(e), 503);
    k--; /* the one that failed */
    assert_true(k > 2);
    assert_int_equal(t_count(store), k);
    int64_t from = 1;
    assert_int_equal(store_write(store, delete_all, &from, NULL), TD_OK);
    assert_int_equal(store_write(store, insert_big, &k, NULL), TD_OK);
    assert_int_equal(t_count(store), 2);
    assert_true(t_intact(store));
    reopen();
    assert_true(t_has(store, 0) && t_has(store, k));
}

static void file_limit(rlim_t n)
{
    struct rlimit r;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &r), 0);
    r.rlim_cur = n < r.rlim_max ? n : r.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &r), 0);
}

/* The file system refuses to write: the commit fails, every job of the batch learns it. */
static void test_commit_fails(void **state)
{
    (void)state;
    sqlite_only();
    signal(SIGXFSZ, SIG_IGN);
    put(1);
    struct gate g;
    struct call blocker, calls[8];
    gate_shut(&g, &blocker);
    for (int i = 0; i < 8; i++) {
        calls[i] = (struct call){.fn = i ? t_insert : insert_then_fail, .k = 10 + i};
        call_start(&calls[i]);
    }
    wait_queued(8);
    file_limit(4096);
    gate_open(&g, &blocker);
    for (int i = 0; i < 8; i++)
        pthread_join(calls[i].thread, NULL);
    int64_t k = 50;
    enum td_err later = store_write(store, t_insert, &k, NULL);
    file_limit(RLIM_INFINITY);
    for (int i = 0; i < 8; i++) {
        assert_true(calls[i].e == TD_IO || calls[i].e == TD_DB);
        assert_int_equal(err_http(calls[i].e), 503);
        assert_true(calls[i].ei.msg[0] != '\0');
        assert_false(t_has(store, calls[i].k));
    }
    assert_int_equal(err_http(later), 503);
    for (k = 10; k < 20; k++)
        put(k);
    assert_true(t_intact(store));
    reopen();
    assert_int_equal(t_count(store), 11);
    assert_true(t_has(store, 1));
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    log_setup(LOG_ERROR, LOG_FORMAT_LOGFMT, 2);
    const struct CMUnitTest tests[] = {
        T(test_failed_job_rolls_back_alone),
        T(test_lost_transaction),
        T(test_lost_again_and_again),
        T(test_queue_full),
        T(test_close_finishes),
        T(test_readers_busy),
        T(test_disk_full),
        T(test_commit_fails),
    };
    return cmocka_run_group_tests(tests, crypt_setup, NULL);
}
