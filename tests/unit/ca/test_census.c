/* The count of certificates by state and purpose, in steps of any size. */
#include "ca_test.h"

#define NOW 5000

enum { SET, STMT_MAX };

static const struct store_stmt stmts[STMT_MAX] = {
    [SET] = {"test.set",
             "UPDATE certificates SET status = ?2, renew_at = ?3, renew_tries = ?4 WHERE "
             "serial = ?1",
             "biIi", ""},
};

struct row {
    const char *purpose;
    int64_t not_after, status, renew_at, tries; /* renew_at 0: none */
};

static const struct row rows[] = {
    {"management", NOW + 1, CA_GOOD, NOW + 1, 0},
    {"management", NOW + 1, CA_GOOD, NOW, 0},        /* due */
    {"management", NOW + 9, CA_GOOD, NOW + 1, 2},    /* waiting */
    {"access", NOW + 1, CA_GOOD, NOW - 1, 3},        /* due again */
    {"management", NOW + 1, CA_REVOKED, NOW + 1, 1}, /* replaced by what was pushed */
    {"access", NOW + 1, CA_HELD, 0, 0},
    {"access", NOW + 1, 77, 0, 0},  /* what is none of them reads as revoked */
    {"access", NOW, CA_GOOD, 0, 4}, /* expired */
    {"management", 4000, CA_REVOKED, 0, 0} /* expired, revoked or not */,
};

static struct span serial_of(size_t i)
{
    static uint8_t serials[TD_NITEMS(rows)][4];
    memcpy(serials[i], (uint8_t[]){0x60, 1, 2, (uint8_t)i}, 4);
    return SPAN_ARR(serials[i]);
}

static enum td_err fill(struct tx *tx, void *ctx, struct errinfo *ei)
{
    (void)ctx;
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct ca_record r = {.serial = serial_of(i),
                              .device_serial = "CENSUS1",
                              .profile = rows[i].purpose,
                              .purpose = rows[i].purpose,
                              .der = SPAN_LIT("der"),
                              .not_before = 100,
                              .not_after = rows[i].not_after,
                              .created_at = 100,
                              .reason = -1};
        memset(r.sha256, (int)i, SHA256_SIZE);
        TD_TRY(ca_record_add(tx, &r, ei));
        TD_TRY(tx_exec(tx, &stmts[SET],
                       SV_LIST(SV_BLOB(r.serial), SV_INT(rows[i].status),
                               rows[i].renew_at ? SV_INT(rows[i].renew_at) : SV_NULL,
                               SV_INT(rows[i].tries)),
                       NULL, ei));
    }
    return TD_OK;
}

struct ask {
    size_t max;
    struct ca_census c;
};

static enum td_err step(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct ask *q = ctx;
    struct ca_census next = q->c;
    TD_TRY(ca_census_step(tx, NOW, q->max, &next, ei));
    q->c = next;
    return TD_OK;
}

static void test_counts(void **state)
{
    struct fixture *f = *state;
    static const int64_t want[CENSUS_STATES][CENSUS_PURPOSES] = {
        [CA_GOOD] = {3, 1}, [CA_REVOKED] = {1, 1}, [CA_HELD] = {0, 1}, [CENSUS_EXPIRED] = {1, 1}};
    static const size_t sizes[] = {1, 2, TD_NITEMS(rows), TD_NITEMS(rows) + 1};
    struct errinfo ei = {0};
    struct ask none = {.max = 5};
    assert_ok(store_read(f->store, step, &none, &ei));
    assert_true(none.c.done);
    assert_int_equal(none.c.n[CA_GOOD][CENSUS_MANAGEMENT], 0);
    assert_ok(store_write(f->store, fill, NULL, &ei));
    for (size_t i = 0; i < TD_NITEMS(sizes); i++) {
        struct ask q = {.max = sizes[i]};
        size_t steps = 0;
        for (; !q.c.done; steps++)
            assert_ok(store_read(f->store, step, &q, &ei));
        assert_int_equal(steps, TD_NITEMS(rows) / sizes[i] + 1);
        assert_memory_equal(q.c.n, want, sizeof want);
        assert_int_equal(q.c.due, 2);
        assert_int_equal(q.c.waiting, 1);
    }
}

static int up(void **state)
{
    fixture_stmts = (struct store_stmts){stmts, STMT_MAX};
    return fixture_up(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_counts)};
    return cmocka_run_group_tests(tests, up, fixture_down);
}
