#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "acme/server/keycache.h"
#include "acme/server/nonce.h"

static struct clock_fixed now;

static const struct nonce_ops *start(size_t max)
{
    const struct nonce_ops *ops;
    clock_fixed_init(&now, 1000);
    assert_int_equal(nonce_memory_new(&now.clock, &rng_system, 600, max, &ops, NULL), TD_OK);
    return ops;
}

static bool take(const struct nonce_ops *ops, const char *n)
{
    return ops->take(ops->ctx, span_str(n), NULL) == TD_OK;
}

static void once(void **state)
{
    (void)state;
    const struct nonce_ops *ops = start(1600);
    char n[NONCE_SIZE], m[NONCE_SIZE];
    ops->issue(ops->ctx, n);
    ops->issue(ops->ctx, m);
    assert_string_not_equal(n, m);
    assert_true(take(ops, m));
    assert_false(take(ops, m));
    assert_true(take(ops, n));
    assert_false(take(ops, n));
    nonce_close(ops);
}

/* A request that did nothing and runs anew has its nonce again, once. */
static void given_back(void **state)
{
    (void)state;
    const struct nonce_ops *ops = start(1600);
    char n[NONCE_SIZE];
    ops->issue(ops->ctx, n);
    assert_true(take(ops, n));
    ops->give_back(ops->ctx, span_str(n));
    assert_true(take(ops, n));
    assert_false(take(ops, n));
    ops->give_back(ops->ctx, SPAN_LIT("AAAAAAAAAAAAAAAAAAAAAA")); /* none of ours */
    nonce_close(ops);
}

static void strict(void **state)
{
    (void)state;
    const struct nonce_ops *ops = start(1600);
    char n[NONCE_SIZE];
    ops->issue(ops->ctx, n);
    static const char *const bad[] = {"",
                                      "A",
                                      "AAAAAAAAAAAAAAAAAAAAA",
                                      "AAAAAAAAAAAAAAAAAAAAAA",
                                      "AAAAAAAAAAAAAAAAAAAAAAA",
                                      "AAAAAAAAAAAAAAAAAAAAAB",
                                      "AAAAAAAAAA+AAAAAAAAAAA",
                                      "AAAAAAAAAAAAAAAAAAAAA="};
    for (size_t i = 0; i < TD_NITEMS(bad); i++)
        assert_false(take(ops, bad[i]));
    assert_int_equal(ops->take(ops->ctx, span_of(NULL, 0), NULL), TD_REPLAY);
    assert_int_equal(
        ops->take(ops->ctx, span_of("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 22), NULL),
        TD_REPLAY);
    /* another spelling of the same bits is another nonce: the last digit has 4 idle bits */
    char twin[NONCE_SIZE];
    memcpy(twin, n, sizeof n);
    twin[21] = twin[21] == 'A' ? 'B' : 'x';
    assert_false(take(ops, twin));
    assert_true(take(ops, n));
    nonce_close(ops);
}

static void lifetime(void **state)
{
    (void)state;
    const struct nonce_ops *ops = start(1600);
    char n[3][NONCE_SIZE];
    for (size_t i = 0; i < 3; i++)
        ops->issue(ops->ctx, n[i]);
    now.at = 1599;
    assert_true(take(ops, n[0]));
    now.at = 1600;
    assert_false(take(ops, n[1]));
    now.at = 1000; /* it is gone, whatever the clock says now */
    assert_false(take(ops, n[1]));
    assert_true(take(ops, n[2]));
    nonce_close(ops);
}

/* Others' requests for nonces drive none out before the window is full; behind it the oldest no
 * longer count, used or not, and it works on. */
static void bounded(void **state)
{
    (void)state;
    enum { MAX = 2048, LIVE = MAX - MAX / 16, N = 8000 };
    const struct nonce_ops *ops = start(MAX);
    char(*n)[NONCE_SIZE] = calloc(N, sizeof *n);
    char first[NONCE_SIZE], second[NONCE_SIZE];
    ops->issue(ops->ctx, first);
    ops->issue(ops->ctx, second);
    for (size_t i = 0; i < LIVE - 2; i++) {
        ops->issue(ops->ctx, n[i]);
        assert_true(take(ops, n[i]));
    }
    assert_true(take(ops, first));
    ops->issue(ops->ctx, n[0]);
    ops->issue(ops->ctx, n[1]);
    assert_false(take(ops, second));
    for (size_t i = 0; i < N; i++)
        ops->issue(ops->ctx, n[i]);
    assert_false(take(ops, first)); /* its bit was cleared long ago */
    size_t live = 0;
    for (size_t i = 0; i < N; i++)
        live += take(ops, n[i]);
    assert_int_equal(live, LIVE);
    for (size_t i = 0; i < N; i++)
        assert_false(take(ops, n[i]));
    ops->issue(ops->ctx, first);
    assert_true(take(ops, first));
    free(n);
    nonce_close(ops);
    static const size_t bad[] = {0, 3, 1023, (size_t)1 << 32};
    for (size_t i = 0; i < TD_NITEMS(bad); i++)
        assert_int_not_equal(nonce_memory_new(&now.clock, &rng_system, 600, bad[i], &ops, NULL),
                             TD_OK);
    assert_int_not_equal(nonce_memory_new(&now.clock, &rng_system, 0, 1024, &ops, NULL), TD_OK);
    assert_int_not_equal(nonce_memory_new(&now.clock, &rng_system, INT64_MAX, 1024, &ops, NULL),
                         TD_OK);
    nonce_close(NULL);
}

/* Nobody makes one, and each run has its own. */
static void not_forged(void **state)
{
    (void)state;
    static const char abc[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const struct nonce_ops *ops = start(1024), *other = start(1024);
    char n[NONCE_SIZE], forged[NONCE_SIZE];
    ops->issue(ops->ctx, n);
    other->issue(other->ctx, forged);
    assert_false(take(ops, forged));
    for (size_t i = 0; i < NONCE_SIZE - 1; i++)
        for (const char *c = abc; *c; c++) {
            memcpy(forged, n, sizeof n);
            forged[i] = *c;
            if (*c != n[i])
                assert_false(take(ops, forged));
        }
    assert_true(take(ops, n));
    nonce_close(ops);
    nonce_close(other);
}

/* The clock of the nonces, 2^32 ms, and their numbers run over without a nonce being lost. */
static void overflow(void **state)
{
    (void)state;
    const struct nonce_ops *ops = start(1024);
    char n[NONCE_SIZE];
    now.at = 4294967; /* 2^32 ms and 296 */
    ops->issue(ops->ctx, n);
    now.at += 599;
    assert_true(take(ops, n));
    ops->issue(ops->ctx, n);
    now.at += 600;
    assert_false(take(ops, n));
    nonce_close(ops);
}

#define SHARED 4000

struct crowd {
    const struct nonce_ops *ops;
    char n[SHARED][NONCE_SIZE];
    atomic_size_t taken;
};

static void *grab(void *p)
{
    struct crowd *c = p;
    char own[NONCE_SIZE];
    for (size_t i = 0; i < SHARED; i++) {
        if (take(c->ops, c->n[i]))
            atomic_fetch_add(&c->taken, 1);
        c->ops->issue(c->ops->ctx, own);
        if (!take(c->ops, own))
            return p;
    }
    return NULL;
}

/* Every thread asks for every nonce: each is given once. */
static void threads(void **state)
{
    (void)state;
    struct crowd *c = calloc(1, sizeof *c);
    pthread_t t[4];
    void *failed;
    c->ops = start(65536);
    for (size_t i = 0; i < SHARED; i++)
        c->ops->issue(c->ops->ctx, c->n[i]);
    for (size_t i = 0; i < TD_NITEMS(t); i++)
        assert_int_equal(pthread_create(&t[i], NULL, grab, c), 0);
    for (size_t i = 0; i < TD_NITEMS(t); i++) {
        pthread_join(t[i], &failed);
        assert_null(failed);
    }
    assert_int_equal(atomic_load(&c->taken), SHARED);
    nonce_close(c->ops);
    free(c);
}

/* The account keys: found again, of bounded number. */
static void key_cache(void **state)
{
    (void)state;
    enum { N = 1000 };
    struct keycache *c;
    struct key *k;
    uint8_t thumb[SHA256_SIZE] = {7}, got[SHA256_SIZE];
    char(*ids)[RNG_ID_SIZE] = calloc(N, sizeof *ids);
    assert_int_equal(crypt_init(NULL), TD_OK);
    assert_int_equal(key_generate(KEY_P256, &k, NULL), TD_OK);
    assert_int_equal(keycache_new(64, &c, NULL), TD_OK);
    assert_null(keycache_get(c, SPAN_LIT("AAAAAAAAAAAAAAAAAAAAAA"), got));
    assert_null(keycache_get(c, SPAN_LIT(""), got));
    keycache_put(c, SPAN_LIT("short"), k, thumb);
    assert_null(keycache_get(c, SPAN_LIT("short"), got));
    size_t held = 0;
    for (size_t i = 0; i < N; i++) {
        rng_id(&rng_system, ids[i]);
        keycache_put(c, span_str(ids[i]), k, thumb);
        struct key *again = keycache_get(c, span_str(ids[i]), got);
        assert_ptr_equal(again, k);
        assert_memory_equal(got, thumb, sizeof thumb);
        key_free(again);
    }
    for (size_t i = 0; i < N; i++) {
        struct key *again = keycache_get(c, span_str(ids[i]), got);
        held += again != NULL;
        key_free(again);
    }
    assert_in_range(held, 32, 64);
    /* a changed key takes the old one's place */
    struct key *fresh;
    assert_int_equal(key_generate(KEY_P384, &fresh, NULL), TD_OK);
    thumb[0] = 8;
    for (int round = 0; round < 10; round++) {
        keycache_put(c, span_str(ids[N - 1]), round % 2 ? k : fresh, thumb);
        struct key *again = keycache_get(c, span_str(ids[N - 1]), got);
        assert_ptr_equal(again, round % 2 ? k : fresh);
        assert_int_equal(got[0], 8);
        key_free(again);
    }
    key_free(fresh);
    keycache_free(c);
    keycache_free(NULL);
    key_free(k);
    free(ids);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(once),     cmocka_unit_test(given_back), cmocka_unit_test(strict),
        cmocka_unit_test(lifetime), cmocka_unit_test(bounded),    cmocka_unit_test(not_forged),
        cmocka_unit_test(overflow), cmocka_unit_test(threads),    cmocka_unit_test(key_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
