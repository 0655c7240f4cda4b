/* A process that writes is killed at random points: what it was told is durable must be there. With
 * a loss of power on top, in which what was not synced goes or comes torn, the same. */
#include "shim_vfs.h"
#include "store_test.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "mdm/base/log.h"
#include "mdm/base/rng.h"

#define ROUNDS 20
#define POWER_ROUNDS 16 /* on one file, which grows */
#define POWER_FILES 12
#define WRITERS 8
#define PER_WRITER INT64_C(1000000)

struct child {
    struct store *store;
    int64_t from;
    int out;
};

/* A row that fills some of a page, so that the WAL grows to a checkpoint within a round. */
static enum td_err insert_large(struct tx *tx, void *ctx, struct errinfo *ei)
{
    static const uint8_t filler[1500];
    return tx_exec(tx, &t_stmts[T_INS],
                   SV_LIST(SV_INT(*(int64_t *)ctx), SV_TEXT("x"), SV_BLOB(SPAN_ARR(filler))), NULL,
                   ei);
}

static enum td_err small_wal(struct tx *tx, void *ctx, struct errinfo *ei)
{
    (void)ctx;
    struct cur c;
    TD_TRY(tx_row(tx, &t_stmts[T_PAGES], NULL, 0, &c, ei));
    cur_end(&c);
    return TD_OK;
}

/* Writes numbers and reports each one acknowledged; never returns. */
static void *child_writer(void *arg)
{
    struct child *c = arg;
    for (int64_t k = c->from;; k++) {
        if (store_write(c->store, shim_power ? insert_large : t_insert, &k, NULL) != TD_OK)
            _exit(3);
        if (write(c->out, &k, sizeof k) != sizeof k) /* below PIPE_BUF: whole or not at all */
            _exit(4);
    }
    return NULL;
}

static void child_main(struct place *p, int round, int out)
{
    struct store *s = NULL;
    if (store_open_with(&p->conf, p->list, p->n, &s, NULL) != TD_OK)
        _exit(2);
    if (shim_power && store_write(s, small_wal, NULL, NULL) != TD_OK)
        _exit(6);
    static struct child c[WRITERS];
    pthread_t t;
    for (int i = 0; i < WRITERS; i++) {
        c[i] = (struct child){s, (round * WRITERS + i) * PER_WRITER, out};
        if (pthread_create(&t, NULL, child_writer, &c[i]) != 0)
            _exit(5);
    }
    for (;;)
        pause();
}

struct acks {
    int64_t *k;
    size_t n, cap;
};

static bool ack_read(int fd, struct acks *a)
{
    int64_t k;
    ssize_t n;
    do
        n = read(fd, &k, sizeof k);
    while (n < 0 && errno == EINTR);
    if (n != sizeof k)
        return false;
    if (a->n == a->cap) {
        a->cap = a->cap ? a->cap * 2 : 1024;
        a->k = realloc(a->k, a->cap * sizeof *a->k);
        assert_non_null(a->k);
    }
    a->k[a->n++] = k;
    return true;
}

static enum td_err check_acks(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct acks *a = ctx;
    for (size_t i = 0; i < a->n; i++) {
        int64_t k = a->k[i];
        if (t_has_fn(tx, &k, ei) != TD_OK)
            return err_set(ei, TD_NOTFOUND, "%lld was acknowledged and is lost", (long long)k);
    }
    return TD_OK;
}

static void run_round(struct place *p, int round, uint64_t kill_after, uint64_t spin,
                      struct acks *a)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(fds[0]);
        child_main(p, round, fds[1]);
    }
    close(fds[1]);
    for (uint64_t i = 0; i < kill_after; i++)
        assert_true(ack_read(fds[0], a));
    for (volatile uint64_t i = 0; i < spin; i = i + 1)
        ; /* some way into the next commit */
    kill(pid, SIGKILL);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    while (ack_read(fds[0], a))
        ; /* what it had still reported */
    close(fds[0]);
}

static void test_kill(void **state)
{
    (void)state;
    struct place p;
    place_init(&p);
    struct acks acks = {0};
    struct rng_seeded r;
    rng_seeded_init(&r, 42);
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t v[2];
        rng_fill(&r.rng, v, sizeof v);
        run_round(&p, round, v[0] % 300, v[1] % 2000000, &acks);
        struct store *s = place_open(&p);
        struct errinfo ei = {0};
        if (store_read(s, check_acks, &acks, &ei) != TD_OK)
            fail_msg("round %d: %s", round, ei.msg);
        assert_true(t_count(s) >= (int64_t)acks.n);
        assert_true(t_intact(s));
        store_close(s);
    }
    print_message("%zu acknowledged writes over %d kills, all there\n", acks.n, ROUNDS);
    assert_true(acks.n > ROUNDS);
    free(acks.k);
    place_end(&p);
}

/* What a round of power loss left: nothing lost and the file whole, or not. */
static bool survived(struct place *p, struct acks *acks, size_t from)
{
    struct store *s = NULL;
    struct errinfo ei = {0};
    if (store_open_with(&p->conf, p->list, p->n, &s, &ei) != TD_OK) {
        print_message("not opened: %s\n", ei.msg);
        return false;
    }
    struct acks newest = {acks->k + from, acks->n - from, 0};
    bool there = store_read(s, check_acks, &newest, &ei) == TD_OK, whole = t_intact(s);
    int64_t rows = t_count(s);
    if (!there || !whole || rows < (int64_t)acks->n)
        print_message("%s; %s; %lld rows of %zu\n", there ? "the newest are there" : ei.msg,
                      whole ? "whole" : "damaged", (long long)rows, acks->n);
    store_close(s);
    return there && whole && rows >= (int64_t)acks->n;
}

/* Kills under the layer that forgets what was not synced; rounds until something was lost. */
static int power_rounds(struct place *p, uint64_t seed, struct acks *acks)
{
    struct rng_seeded r;
    char wal[sizeof p->path + 8], shm[sizeof p->path + 8];
    rng_seeded_init(&r, seed);
    snprintf(wal, sizeof wal, "%s-wal", p->path);
    snprintf(shm, sizeof shm, "%s-shm", p->path);
    struct store *s = place_open(p);
    store_close(s); /* the schema is there, and synced */
    for (int round = 0; round < POWER_ROUNDS; round++) {
        uint64_t v[2];
        rng_fill(&r.rng, v, sizeof v);
        size_t from = acks->n;
        shim_power = true;
        run_round(p, round, v[0] % 200, v[1] % 400000, acks);
        shim_power = false;
        shim_power_cut(p->path, &r.rng);
        shim_power_cut(wal, &r.rng);
        unlink(shm); /* memory */
        if (!survived(p, acks, from))
            return round;
    }
    return POWER_ROUNDS;
}

/* Rounds until something was lost, at most POWER_ROUNDS, on a file of their own. */
static int power_file(uint64_t seed, bool sync, size_t *acknowledged)
{
    struct place p;
    struct acks acks = {0};
    place_init(&p);
    p.conf.sync_full = sync;
    t_stmts[T_PAGES].sql = "PRAGMA wal_autocheckpoint = 60";
    int done = power_rounds(&p, seed, &acks);
    *acknowledged += acks.n;
    free(acks.k);
    place_end(&p);
    return done;
}

static void test_power_loss(void **state)
{
    (void)state;
    sqlite_only();
    size_t n = 0;
    for (uint64_t seed = 1; seed <= POWER_FILES; seed++)
        if (power_file(seed, true, &n) != POWER_ROUNDS)
            fail_msg("something acknowledged was lost: file %d", (int)seed);
    print_message("%zu acknowledged writes over %d losses of power, all there\n", n,
                  POWER_ROUNDS * POWER_FILES);
}

/* The layer is worth something: without the syncs the same rounds lose what was acknowledged. */
static void test_power_loss_without_sync(void **state)
{
    (void)state;
    sqlite_only();
    size_t n = 0;
    assert_true(power_file(1, false, &n) < POWER_ROUNDS);
}

int main(void)
{
    log_setup(LOG_ERROR, LOG_FORMAT_LOGFMT, 2);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kill),
                                       cmocka_unit_test(test_power_loss),
                                       cmocka_unit_test(test_power_loss_without_sync)};
    if (!test_on_pg())
        shim_register();
    return cmocka_run_group_tests(tests, crypt_setup, NULL);
}
