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

static bool right(const struct ocsp_answer *got, const char *want)
{
    assert_true(got->cacheable);
    assert_int_equal(got->this_update, 1000);
    assert_int_equal(got->next_update, 2000);
    assert_string_equal(got->text.etag, "\"tag\"");
    if (want)
        assert_true(span_eq_str(got->der, want));
    return true;
}

static bool has(struct ocsp_cache *c, struct ocsp_single s, int64_t now, const char *want)
{
    arena_auto a;
    arena_init(&a, 65536);
    struct ocsp_answer got;
    return ocsp_cache_get(c, &s, 0, now, &a, &got) && right(&got, want);
}

/* What is answered without a look into the database. */
static bool fresh(struct ocsp_cache *c, const char *id, uint64_t epoch, int64_t now,
                  const char *want)
{
    arena_auto a;
    arena_init(&a, 65536);
    struct ocsp_answer got;
    return ocsp_cache_fresh(c, span_str(id), epoch, now, &a, &got) && right(&got, want);
}

static void put_until(struct ocsp_cache *c, struct ocsp_single s, uint64_t epoch, int64_t until,
                      struct span der)
{
    struct ocsp_answer ans = {.der = der, .text.etag = "\"tag\""};
    ocsp_cache_put(c, &s, epoch, until, &ans);
}

static void put(struct ocsp_cache *c, struct ocsp_single s, struct span der)
{
    put_until(c, s, 0, INT64_MAX, der);
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
    put(c, good, SPAN_LIT("answer"));
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
    put(c, gone, SPAN_LIT("revoked"));
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
        put(c, s, SPAN_LIT("x"));
        assert_true(has(c, s, 1000, "x")); /* the newest is always there */
    }
    for (int i = 0; i < 100 * ENTRIES; i++) {
        snprintf(id, sizeof id, "id-%d", i);
        kept += has(c, status(id, OCSP_GOOD, 0), 1000, "x");
    }
    assert_in_range(kept, 1, ENTRIES);
    static uint8_t big[OCSP_CACHE_ITEM_MAX];
    struct ocsp_single s = status("b", OCSP_GOOD, 0);
    put(c, s, span_of(big, OCSP_CACHE_ITEM_MAX)); /* one byte too many with its id */
    assert_false(has(c, s, 1000, NULL));
    put(c, s, span_of(big, OCSP_CACHE_ITEM_MAX - 1));
    assert_true(has(c, s, 1000, NULL));
    ocsp_cache_free(c);
}

static void test_epochs(void **state)
{
    (void)state;
    struct rng_seeded rng;
    struct ocsp_cache *c = NULL;
    rng_seeded_init(&rng, 3);
    assert_int_equal(ocsp_cache_new(ENTRIES, &rng.rng, &c), TD_OK);
    struct ocsp_single good = status("one", OCSP_GOOD, 0);
    put_until(c, good, 4, 1200, SPAN_LIT("good"));
    const struct {
        const char *id;
        uint64_t epoch;
        int64_t now;
        bool found;
    } rows[] = {
        {"one", 4, 1000, true},  {"one", 4, 1200, true},  {"one", 4, 1201, false},
        {"one", 4, 999, false},  {"one", 6, 1000, false}, {"one", 2, 1000, false},
        {"one", 0, 1000, false}, {"two", 4, 1000, false},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++)
        assert_int_equal(fresh(c, rows[i].id, rows[i].epoch, rows[i].now, "good"), rows[i].found);
    /* looked up in the next epoch, and found as it was */
    arena_auto a;
    arena_init(&a, 65536);
    struct ocsp_answer got;
    assert_true(ocsp_cache_get(c, &good, 6, 1000, &a, &got));
    assert_true(fresh(c, "one", 6, 1000, "good"));
    assert_false(fresh(c, "one", 4, 1000, "good"));
    /* found otherwise: the entry is of no use, in any epoch */
    struct ocsp_single gone = status("one", OCSP_REVOKED, 900);
    assert_false(ocsp_cache_get(c, &gone, 8, 1000, &a, &got));
    assert_false(fresh(c, "one", 8, 1000, NULL));
    /* an epoch that cannot be told is none */
    put(c, gone, SPAN_LIT("revoked"));
    assert_false(fresh(c, "one", 0, 1000, NULL));
    ocsp_cache_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_and_time),
        cmocka_unit_test(test_bounded),
        cmocka_unit_test(test_epochs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
