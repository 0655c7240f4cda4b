#include "tests/unit/sim/simtest.h"

#include "tests/sim/stats.h"

static void empty(void **state)
{
    static struct stats_hist h;
    (void)state;
    assert_int_equal(stats_pct(&h, 0.5), 0);
}

/* Small values are exact, large ones within 1/32 and never over the maximum. */
static void percentiles(void **state)
{
    static struct stats_hist h;
    (void)state;
    for (uint64_t i = 1; i <= 10000; i++)
        stats_add(&h, i);
    static const struct {
        double q;
        uint64_t want;
    } rows[] = {{0.001, 10}, {0.5, 5000}, {0.9, 9000}, {0.99, 9900}, {1.0, 10000}};
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        uint64_t got = stats_pct(&h, rows[i].q);
        assert_in_range(got, rows[i].want, rows[i].want + rows[i].want / 31);
        assert_true(got <= 10000);
    }
    assert_int_equal(stats_pct(&h, 0.001), 10);
    assert_int_equal(atomic_load(&h.max), 10000);
}

static void huge(void **state)
{
    static struct stats_hist h;
    (void)state;
    stats_add(&h, UINT64_MAX);
    stats_add(&h, 0);
    assert_int_equal(stats_pct(&h, 0.5), 0);
    assert_true(stats_pct(&h, 1.0) > 1000000000U);
}

static void causes(void **state)
{
    static struct stats_causes c;
    char text[32];
    (void)state;
    stats_causes_init(&c);
    stats_cause(&c, "a");
    stats_cause(&c, "b");
    stats_cause(&c, "a");
    assert_int_equal(c.nrows, 2);
    assert_int_equal(c.row[0].n, 2);
    for (int i = 0; i < 200; i++) {
        snprintf(text, sizeof(text), "cause %d", i);
        stats_cause(&c, text);
    }
    assert_int_equal(c.nrows, STATS_CAUSES);
    assert_string_equal(c.row[STATS_CAUSES - 1].text, "other");
    uint64_t sum = 0;
    for (size_t i = 0; i < c.nrows; i++)
        sum += c.row[i].n;
    assert_int_equal(sum, 203);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty),
        cmocka_unit_test(percentiles),
        cmocka_unit_test(huge),
        cmocka_unit_test(causes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
