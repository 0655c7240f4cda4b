/* Which certificates are due, who may take them, and what ends when. */
#include "ca_test.h"

#include "acme/ca/renewal.h"

#define HOUR INT64_C(3600)

static void record(struct ca_record *r, uint8_t n, const char *device, const char *purpose,
                   int64_t renew_at, uint8_t renews)
{
    static uint8_t serials[256][4];
    memcpy(serials[n], (uint8_t[]){0x50, 1, 2, n}, 4);
    *r = (struct ca_record){.serial = SPAN_ARR(serials[n]),
                            .device_serial = device,
                            .profile = purpose,
                            .purpose = purpose,
                            .der = SPAN_LIT("der"),
                            .not_before = 100,
                            .not_after = 100000,
                            .created_at = 1000 + n,
                            .renew_at = renew_at,
                            .reason = -1};
    if (renews)
        r->renews = SPAN_ARR(serials[renews]);
    memset(r->sha256, n, SHA256_SIZE);
    memset(r->spki_sha256, 0x80 | n, SHA256_SIZE);
}

static void add(struct fixture *f, uint8_t n, const char *device, const char *purpose,
                int64_t renew_at, uint8_t renews)
{
    struct ca_record r;
    struct errinfo ei = {0};
    record(&r, n, device, purpose, renew_at, renews);
    struct write_record w = {.r = &r};
    assert_ok(store_write(f->store, write_record_fn, &w, &ei));
}

struct ask {
    struct arena *a;
    int64_t now, next;
    const char *command;
    struct ca_due list[4];
    size_t n;
    bool there;
    int64_t count;
    uint8_t old, renewed;
    struct span newest;
    struct ca_record one;
};

static enum td_err due(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct ask *q = ctx;
    return ca_renewal_due(tx, q->now, TD_NITEMS(q->list), q->a, q->list, &q->n, ei);
}

static enum td_err claim(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct ask *q = ctx;
    return ca_renewal_claim(tx, &q->list[0], q->next, q->command, ei);
}

static enum td_err done(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct ask *q = ctx;
    return ca_renewal_done(tx, &q->list[0], q->next, ei);
}

static enum td_err successor(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct ask *q = ctx;
    return ca_renewal_successor(tx, &q->list[0], &q->there, ei);
}

static enum td_err retire(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct ask *q = ctx;
    return ca_renewal_retire(tx, q->now, 10, &q->count, ei);
}

static enum td_err used(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct ask *q = ctx;
    uint8_t old[SHA256_SIZE], renewed[SHA256_SIZE];
    memset(old, q->old, sizeof old);
    memset(renewed, q->renewed, sizeof renewed);
    return ca_renewal_used(tx, old, renewed, q->now, "txn", &q->count, ei);
}

static enum td_err newest(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct ask *q = ctx;
    return ca_renewal_newest(tx, "REN2", "access", q->a, &q->newest, ei);
}

static enum td_err end(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct ask *q = ctx;
    const struct ca_change why = {.reason = 5, .now = q->now};
    return ca_renewal_end(tx, "REN2", "access", &why, &q->count, ei);
}

static enum td_err get(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct ask *q = ctx;
    uint8_t hash[SHA256_SIZE];
    memset(hash, q->old, sizeof hash);
    return ca_record_by_hash(tx, hash, q->a, &q->one, ei);
}

static bool revoked(struct fixture *f, struct arena *a, uint8_t n)
{
    struct ask q = {.a = a, .old = n};
    struct errinfo ei = {0};
    assert_ok(store_read(f->store, get, &q, &ei));
    return q.one.revoked;
}

static void test_claims(void **state)
{
    struct fixture *f = *state;
    arena_auto a;
    arena_init(&a, 1 << 20);
    struct errinfo ei = {0};
    add(f, 1, "REN1", "management", 5000, 0);
    add(f, 2, "REN1", "management", 0, 0); /* nothing to do, ever */
    struct ask q = {.a = &a, .now = 4999};
    assert_ok(store_read(f->store, due, &q, &ei));
    assert_int_equal(q.n, 0);
    q.now = 5000;
    assert_ok(store_read(f->store, due, &q, &ei));
    assert_int_equal(q.n, 1);
    assert_string_equal(q.list[0].device_serial, "REN1");
    assert_true(q.list[0].good && !q.list[0].access);
    assert_int_equal(q.list[0].tries, 0);
    assert_null(q.list[0].command);
    /* of two nodes that saw the same, one gets it */
    struct ask other = q;
    q.next = 6000;
    q.command = "UUID-1";
    assert_ok(store_write(f->store, claim, &q, &ei));
    other.next = 6001;
    other.command = "UUID-2";
    assert_int_equal(store_write(f->store, claim, &other, &ei), TD_AGAIN);
    assert_int_equal(store_write(f->store, done, &other, &ei), TD_AGAIN);
    q.now = 5999;
    assert_ok(store_read(f->store, due, &q, &ei));
    assert_int_equal(q.n, 0);
    q.now = 6000;
    assert_ok(store_read(f->store, due, &q, &ei));
    assert_int_equal(q.n, 1);
    assert_int_equal(q.list[0].tries, 1);
    assert_string_equal(q.list[0].command, "UUID-1");
    /* put off: the command of the last try stays known */
    q.next = 7000;
    q.command = NULL;
    assert_ok(store_write(f->store, claim, &q, &ei));
    q.now = 7000;
    assert_ok(store_read(f->store, due, &q, &ei));
    assert_string_equal(q.list[0].command, "UUID-1");
    q.next = 0;
    assert_ok(store_write(f->store, done, &q, &ei));
    q.now = INT64_MAX / 2;
    assert_ok(store_read(f->store, due, &q, &ei));
    assert_int_equal(q.n, 0);
}

static void test_retiring(void **state)
{
    struct fixture *f = *state;
    arena_auto a;
    arena_init(&a, 1 << 20);
    struct errinfo ei = {0};
    add(f, 10, "REN2", "access", 5000, 0);
    struct ask q = {.a = &a, .now = 5000};
    assert_ok(store_read(f->store, due, &q, &ei));
    assert_true(q.list[0].access);
    assert_ok(store_read(f->store, successor, &q, &ei));
    assert_false(q.there);
    add(f, 11, "REN2", "access", 0, 10);
    assert_ok(store_read(f->store, successor, &q, &ei));
    assert_true(q.there);
    assert_ok(store_read(f->store, newest, &q, &ei));
    assert_int_equal(q.newest.p[3], 11);
    q.next = 8000; /* the grace */
    assert_ok(store_write(f->store, done, &q, &ei));
    q.now = 7999;
    assert_ok(store_write(f->store, retire, &q, &ei));
    assert_int_equal(q.count, 0);
    assert_false(revoked(f, &a, 10));
    q.now = 8000;
    assert_ok(store_write(f->store, retire, &q, &ei));
    assert_int_equal(q.count, 1);
    assert_true(revoked(f, &a, 10));
    assert_false(revoked(f, &a, 11));
    assert_ok(store_write(f->store, retire, &q, &ei)); /* once */
    assert_int_equal(q.count, 0);
    assert_ok(store_write(f->store, end, &q, &ei));
    assert_int_equal(q.count, 1);
    assert_true(revoked(f, &a, 11));
    assert_ok(store_read(f->store, newest, &q, &ei));
    assert_int_equal(q.newest.n, 0);
}

static enum td_err replaced(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct ask *q = ctx;
    return ca_renewal_replaced(tx, q->newest, q->next, ei);
}

/* By a client of its own accord (RFC 9773). */
static void test_replaced(void **state)
{
    struct fixture *f = *state;
    arena_auto a;
    arena_init(&a, 1 << 20);
    struct errinfo ei = {0};
    struct ca_record r;
    add(f, 30, "REN5", "access", 5000, 0);
    add(f, 31, "REN5", "management", 5001, 0);
    struct ask q = {.a = &a, .now = 6000};
    for (uint8_t n = 30; n <= 31; n++) {
        record(&r, n, "REN5", "access", 0, 0);
        q.newest = r.serial;
        q.next = n == 30 ? 200000 : 7000; /* behind its end, 100000; and no matter */
        assert_ok(store_write(f->store, replaced, &q, &ei));
    }
    assert_ok(store_read(f->store, due, &q, &ei));
    assert_int_equal(q.n, 1); /* the access certificate is not renewed by us any more */
    assert_string_equal(q.list[0].profile, "management");
    q.now = 99999;
    assert_ok(store_write(f->store, retire, &q, &ei));
    assert_int_equal(q.count, 0);
    q.now = 100000;
    assert_ok(store_write(f->store, retire, &q, &ei));
    assert_int_equal(q.count, 1);
    assert_true(revoked(f, &a, 30));
    assert_false(revoked(f, &a, 31)); /* that is for its first use */
    q.next = 0;
    assert_ok(store_write(f->store, done, &q, &ei)); /* of 31, for the tests behind */
}

/* The first use ends the old one and what else was issued for the same renewal. */
static void test_first_use(void **state)
{
    struct fixture *f = *state;
    arena_auto a;
    arena_init(&a, 1 << 20);
    struct errinfo ei = {0};
    add(f, 20, "REN3", "management", 0, 0);
    add(f, 21, "REN3", "management", 0, 20); /* lost on its way */
    add(f, 22, "REN3", "management", 0, 20);
    add(f, 23, "REN3", "access", 0, 0);
    add(f, 24, "REN4", "management", 0, 0);
    struct ask q = {.a = &a, .now = 9000, .old = 20, .renewed = 22};
    assert_ok(store_write(f->store, used, &q, &ei));
    assert_int_equal(q.count, 2);
    static const struct {
        uint8_t n;
        bool over;
    } rows[] = {{20, true}, {21, true}, {22, false}, {23, false}, {24, false}};
    for (size_t i = 0; i < TD_NITEMS(rows); i++)
        assert_int_equal(revoked(f, &a, rows[i].n), rows[i].over);
    q.old = 99;
    assert_int_equal(store_write(f->store, used, &q, &ei), TD_NOTFOUND);
}

static void test_waiting(void **state)
{
    (void)state;
    static const struct {
        int64_t first, tries, wait;
    } rows[] = {{HOUR, 0, HOUR},
                {HOUR, 1, 2 * HOUR},
                {HOUR, 4, 16 * HOUR},
                {HOUR, 5, 24 * HOUR},
                {HOUR, 1000000, 24 * HOUR},
                {1, 0, 1},
                {1, 16, 65536},
                {1, 17, 86400},
                {48 * HOUR, 0, 24 * HOUR}};
    for (size_t i = 0; i < TD_NITEMS(rows); i++)
        assert_int_equal(ca_renewal_wait(rows[i].first, rows[i].tries), rows[i].wait);
}

static int up(void **state)
{
    fixture_stmts = ca_renewal_stmts;
    return fixture_up(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_claims),   cmocka_unit_test(test_retiring),
        cmocka_unit_test(test_replaced), cmocka_unit_test(test_first_use),
        cmocka_unit_test(test_waiting),
    };
    return cmocka_run_group_tests(tests, up, fixture_down);
}
