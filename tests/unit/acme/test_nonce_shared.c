/* Nonces that several nodes on one database share. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>

#include "../engine.h"
#include "acme/server/acme.h"
#include "acme/server/nonce_int.h"
#include "mdm/base/log.h"

#define TTL 600
#define START 1800000000

static struct clock_fixed now, ahead;
static char dir[64], url[TEST_URL_SIZE];
static struct store *store;

static void open_store(void)
{
    const struct store_conf conf = {.twice = test_twice(),
                                    .url = url,
                                    .readers = 2,
                                    .batch = 16,
                                    .queue = 64,
                                    .sets = &acme_stmts,
                                    .nsets = 1,
                                    .clock = &clock_system};
    struct errinfo ei = {0};
    if (store_open(&conf, &store, &ei) != TD_OK)
        fail_msg("%s", ei.msg);
}

static int setup(void **state)
{
    (void)state;
    char file[100];
    snprintf(dir, sizeof dir, "/tmp/td-nonce-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(file, sizeof file, "%s/t.db", dir);
    test_store_url(file, url);
    clock_fixed_init(&now, START);
    clock_fixed_init(&ahead, START + 200);
    open_store();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    store_close(store);
    char path[100];
    static const char *const ends[] = {"t.db", "t.db-wal", "t.db-shm", "t.db.lock"};
    for (size_t i = 0; i < TD_NITEMS(ends); i++) {
        snprintf(path, sizeof path, "%s/%s", dir, ends[i]);
        unlink(path);
    }
    return rmdir(dir);
}

static const struct nonce_ops *node(const struct clock_fixed *clock)
{
    const struct nonce_ops *ops;
    struct errinfo ei = {0};
    if (nonce_shared_new(store, &clock->clock, &rng_system, TTL, &ops, &ei) != TD_OK)
        fail_msg("%s", ei.msg);
    return ops;
}

static enum td_err take(const struct nonce_ops *ops, const char *n)
{
    return ops->take(ops->ctx, span_str(n), NULL);
}

/* Any node takes what any other issued, also one that started later; once among all. */
static void across_nodes(void **state)
{
    (void)state;
    const struct nonce_ops *a = node(&now), *b = node(&ahead);
    char n[4][NONCE_SIZE];
    for (size_t i = 0; i < 4; i++)
        (i % 2 ? b : a)->issue((i % 2 ? b : a)->ctx, n[i]);
    assert_int_equal(take(b, n[0]), TD_OK);
    assert_int_equal(take(a, n[0]), TD_REPLAY);
    assert_int_equal(take(b, n[0]), TD_REPLAY);
    assert_int_equal(take(a, n[1]), TD_OK);
    assert_int_equal(take(b, n[1]), TD_REPLAY);
    assert_int_equal(take(a, n[2]), TD_OK);
    nonce_close(a);
    nonce_close(b);
    const struct nonce_ops *c = node(&now);
    assert_int_equal(take(c, n[0]), TD_REPLAY);
    assert_int_equal(take(c, n[3]), TD_OK);
    nonce_close(c);
}

static void distinct(void **state)
{
    (void)state;
    const struct nonce_ops *ops[] = {node(&now), node(&now)};
    char n[200][NONCE_SIZE];
    for (size_t i = 0; i < TD_NITEMS(n); i++) {
        ops[i % 2]->issue(ops[i % 2]->ctx, n[i]);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(n[i], n[k]);
    }
    nonce_close(ops[0]);
    nonce_close(ops[1]);
}

static void life(void **state)
{
    (void)state;
    const struct nonce_ops *a = node(&now);
    char n[4][NONCE_SIZE];
    for (size_t i = 0; i < 4; i++)
        a->issue(a->ctx, n[i]);
    now.at = START + TTL - 1;
    assert_int_equal(take(a, n[0]), TD_OK);
    now.at = START + TTL;
    assert_int_equal(take(a, n[1]), TD_REPLAY);
    now.at = START - 300; /* a node whose clock is behind */
    assert_int_equal(take(a, n[2]), TD_OK);
    now.at = START - 301;
    assert_int_equal(take(a, n[3]), TD_REPLAY);
    nonce_close(a);
}

static void forged(void **state)
{
    (void)state;
    const struct nonce_ops *a = node(&now);
    char n[NONCE_SIZE], bent[NONCE_SIZE];
    a->issue(a->ctx, n);
    for (size_t i = 0; i < NONCE_SIZE - 1; i++) {
        memcpy(bent, n, sizeof bent);
        bent[i] = bent[i] == 'A' ? 'B' : 'A';
        assert_int_equal(take(a, bent), TD_REPLAY);
    }
    static const char *const bad[] = {"", "A", "AAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAAA",
                                      "AAAAAAAAAAAAAAAAAAAAAA"};
    for (size_t i = 0; i < TD_NITEMS(bad); i++)
        assert_int_equal(take(a, bad[i]), TD_REPLAY);
    assert_int_equal(take(a, n), TD_OK);
    nonce_close(a);
}

struct taker {
    const struct nonce_ops *ops;
    char (*n)[NONCE_SIZE];
    pthread_t thread;
    atomic_int *won;
};

#define RACES 20

static void *taker_main(void *arg)
{
    struct taker *t = arg;
    for (size_t i = 0; i < RACES; i++)
        if (take(t->ops, t->n[i]) == TD_OK)
            atomic_fetch_add(&t->won[i], 1);
    return NULL;
}

static void race(void **state)
{
    (void)state;
    const struct nonce_ops *ops[] = {node(&now), node(&now)};
    char n[RACES][NONCE_SIZE];
    atomic_int won[RACES] = {0};
    for (size_t i = 0; i < RACES; i++)
        ops[0]->issue(ops[0]->ctx, n[i]);
    struct taker t[6];
    for (size_t i = 0; i < TD_NITEMS(t); i++) {
        t[i] = (struct taker){.ops = ops[i % 2], .n = n, .won = won};
        assert_int_equal(pthread_create(&t[i].thread, NULL, taker_main, &t[i]), 0);
    }
    for (size_t i = 0; i < TD_NITEMS(t); i++)
        pthread_join(t[i].thread, NULL);
    for (size_t i = 0; i < RACES; i++)
        assert_int_equal(atomic_load(&won[i]), 1);
    nonce_close(ops[0]);
    nonce_close(ops[1]);
}

static enum td_err clean(struct tx *tx, void *ctx, struct errinfo *ei)
{
    return nonce_clean(tx, ctx, ei);
}

/* What is forgotten could not be used any more. */
static void cleaned(void **state)
{
    (void)state;
    const struct nonce_ops *a = node(&now);
    char n[5][NONCE_SIZE];
    for (size_t i = 0; i < 5; i++) {
        now.at = START + (int64_t)i;
        a->issue(a->ctx, n[i]);
        assert_int_equal(take(a, n[i]), TD_OK);
    }
    static const int64_t want[] = {2, 1, 0};
    for (size_t i = 0; i < TD_NITEMS(want); i++) {
        struct sweep c = {.before = START + 3 + NONCE_KEEP, .max = 2};
        assert_int_equal(store_write(store, clean, &c, NULL), TD_OK);
        assert_int_equal(c.gone, want[i]);
        assert_int_equal(c.more, i == 0);
    }
    now.at = START + 3 + TTL + NONCE_KEEP - 300; /* the slowest clock when a round comes this far */
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(take(a, n[i]), TD_REPLAY);
    nonce_close(a);
}

/* Used and unused nonces outlive the process that issued them. */
static void restart(void **state)
{
    (void)state;
    const struct nonce_ops *a = node(&now);
    char n[2][NONCE_SIZE];
    a->issue(a->ctx, n[0]);
    a->issue(a->ctx, n[1]);
    assert_int_equal(take(a, n[0]), TD_OK);
    nonce_close(a);
    store_close(store);
    open_store();
    a = node(&now);
    assert_int_equal(take(a, n[0]), TD_REPLAY);
    assert_int_equal(take(a, n[1]), TD_OK);
    nonce_close(a);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    log_setup(LOG_ERROR, LOG_FORMAT_LOGFMT, 2);
    const struct CMUnitTest tests[] = {T(across_nodes), T(distinct), T(life),   T(forged),
                                       T(race),         T(cleaned),  T(restart)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
