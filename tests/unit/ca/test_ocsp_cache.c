/* The cache of OCSP answers: bounded, and never wiser than the database. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "acme/ca/ocsp_cache.h"

#define ENTRIES 64

static struct ocsp_single status(const char *id, enum ocsp_status st, int64_t revoked_at)
{
    return (struct ocsp_single){.certid_der = span_str(id),
                                .status = st,
                                .revoked_at = revoked_at,
                                .reason = st == OCSP_REVOKED ? 5 : -1,
                                .this_update = 1000,
                                .next_update = 2000};
}

static bool has(struct ocsp_cache *c, struct ocsp_single s, int64_t now, const char *want)
{
    arena_auto a;
    arena_init(&a, 65536);
    struct span got;
    int64_t from, to;
    bool found = ocsp_cache_get(c, &s, now, &a, &got, &from, &to);
    if (found) {
        assert_int_equal(from, 1000);
        assert_int_equal(to, 2000);
        if (want)
            assert_true(span_eq_str(got, want));
    }
    return found;
}

static void test_status_and_time(void **state)
{
    (void)state;
    struct rng_seeded rng;
    struct ocsp_cache *c = NULL;
    rng_seeded_init(&rng, 1);
    assert_int_equal(ocsp_cache_new(ENTRIES - 1, &rng.rng, &c), TD_INVAL);
    assert_int_equal(ocsp_cache_new(ENTRIES / 2, &rng.rng, &c), TD_INVAL);
    assert_int_equal(ocsp_cache_new(ENTRIES, &rng.rng, &c), TD_OK);
    struct ocsp_single good = status("one", OCSP_GOOD, 0);
    assert_false(has(c, good, 1000, NULL));
    ocsp_cache_put(c, &good, SPAN_LIT("answer"));
    const struct {
        struct ocsp_single s;
        int64_t now;
        bool found;
    } rows[] = {
        {good, 1000, true},
        {good, 1499, true},
        {good, 1500, false}, /* half of the window */
        {good, 999, false},  /* a clock that went back */
        {status("one", OCSP_REVOKED, 900), 1000, false},
        {status("two", OCSP_GOOD, 0), 1000, false},
        {status("on", OCSP_GOOD, 0), 1000, false},
        {status("onea", OCSP_GOOD, 0), 1000, false},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++)
        assert_int_equal(has(c, rows[i].s, rows[i].now, "answer"), rows[i].found);
    struct ocsp_single gone = status("one", OCSP_REVOKED, 900);
    ocsp_cache_put(c, &gone, SPAN_LIT("revoked"));
    assert_true(has(c, gone, 1000, "revoked"));
    assert_false(has(c, good, 1000, NULL)); /* one entry a CertID */
    assert_false(has(c, status("one", OCSP_REVOKED, 901), 1000, NULL));
    struct ocsp_single why = gone;
    why.reason = 1;
    assert_false(has(c, why, 1000, NULL));
    ocsp_cache_free(c);
    ocsp_cache_free(NULL);
}

static void test_bounded(void **state)
{
    (void)state;
    struct rng_seeded rng;
    struct ocsp_cache *c = NULL;
    rng_seeded_init(&rng, 2);
    assert_int_equal(ocsp_cache_new(ENTRIES, &rng.rng, &c), TD_OK);
    size_t kept = 0;
    char id[16];
    for (int i = 0; i < 100 * ENTRIES; i++) {
        snprintf(id, sizeof id, "id-%d", i);
        struct ocsp_single s = status(id, OCSP_GOOD, 0);
        ocsp_cache_put(c, &s, SPAN_LIT("x"));
        assert_true(has(c, s, 1000, "x")); /* the newest is always there */
    }
    for (int i = 0; i < 100 * ENTRIES; i++) {
        snprintf(id, sizeof id, "id-%d", i);
        kept += has(c, status(id, OCSP_GOOD, 0), 1000, "x");
    }
    assert_in_range(kept, 1, ENTRIES);
    static uint8_t big[OCSP_CACHE_ITEM_MAX];
    struct ocsp_single s = status("b", OCSP_GOOD, 0);
    ocsp_cache_put(c, &s, span_of(big, OCSP_CACHE_ITEM_MAX)); /* one byte too many with its id */
    assert_false(has(c, s, 1000, NULL));
    ocsp_cache_put(c, &s, span_of(big, OCSP_CACHE_ITEM_MAX - 1));
    assert_true(has(c, s, 1000, NULL));
    ocsp_cache_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_and_time),
        cmocka_unit_test(test_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
