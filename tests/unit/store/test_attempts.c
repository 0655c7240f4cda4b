#include "store_test.h"

#include "mdm/base/log.h"
#include "mdm/store/attempts.h"
#include "mdm/store/audit.h"

static struct place place;
static struct store *store;

static const struct store_stmt audit_rows = {
    "test.audit", "SELECT at, txn, actor, action, subject, detail FROM audit ORDER BY id", "",
    "ittttt"};

static int setup(void **state)
{
    (void)state;
    place_init(&place);
    place_outbox(&place);
    struct store_stmts sets[] = {attempt_stmts, audit_stmts, outbox_stmts, {&audit_rows, 1}, t_set};
    place.conf.sets = sets;
    place.conf.nsets = TD_NITEMS(sets);
    store = place_open(&place);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    store_close(store);
    place_end(&place);
    return 0;
}

static enum td_err add(struct tx *tx, void *ctx, struct errinfo *ei)
{
    return attempt_add(tx, ctx, ei);
}

static void put(int64_t at, const char *serial, const char *device_error)
{
    struct attempt t = {.at = at,
                        .serial = serial,
                        .source = "acme",
                        .outcome = "refused",
                        .reason = "freshness-missing",
                        .device_error = device_error};
    assert_int_equal(store_write(store, add, &t, NULL), TD_OK);
}

struct page {
    const char *serial;
    int64_t before;
    size_t max;
    struct arena *a;
    struct attempt *list;
    size_t n;
};

static enum td_err list(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct page *p = ctx;
    return attempt_list(tx, p->serial, p->before, p->max, p->a, &p->list, &p->n, ei);
}

static void test_pages(void **state)
{
    (void)state;
    for (int i = 0; i < 7; i++)
        put(100 + i, i % 2 ? "B" : "A", NULL);
    arena_auto a;
    arena_init(&a, 1 << 20);
    struct page p = {.serial = "A", .before = INT64_MAX, .max = 3, .a = &a};
    assert_int_equal(store_read(store, list, &p, NULL), TD_OK);
    assert_int_equal(p.n, 3);
    assert_int_equal(p.list[0].at, 106);
    assert_int_equal(p.list[2].at, 102);
    assert_string_equal(p.list[0].serial, "A");
    assert_string_equal(p.list[0].source, "acme");
    assert_string_equal(p.list[0].outcome, "refused");
    assert_string_equal(p.list[0].reason, "freshness-missing");
    assert_string_equal(p.list[0].detail, "");
    assert_string_equal(p.list[0].peer, "");
    p.before = p.list[2].id;
    assert_int_equal(store_read(store, list, &p, NULL), TD_OK);
    assert_int_equal(p.n, 1);
    assert_int_equal(p.list[0].at, 100);
    p = (struct page){.before = INT64_MAX, .max = 100, .a = &a};
    assert_int_equal(store_read(store, list, &p, NULL), TD_OK);
    assert_int_equal(p.n, 7);
    p.max = 0;
    assert_int_equal(store_read(store, list, &p, NULL), TD_OK);
    assert_int_equal(p.n, 0);
    p = (struct page){.serial = "none", .before = INT64_MAX, .max = 5, .a = &a};
    assert_int_equal(store_read(store, list, &p, NULL), TD_OK);
    assert_int_equal(p.n, 0);
}

static void test_arena_too_small(void **state)
{
    (void)state;
    put(1, "A", "words of the device that do not fit");
    arena_auto a;
    arena_init(&a, sizeof(struct attempt) * 2 + 8);
    struct page p = {.before = INT64_MAX, .max = 2, .a = &a};
    assert_int_equal(store_read(store, list, &p, NULL), TD_NOMEM);
    assert_int_equal(store_ping(store, NULL), TD_OK);
}

/* Whatever the device wrote is kept as far as a row can hold it. */
static void test_device_words(void **state)
{
    (void)state;
    char at_limit[1001], over[1003], split[1003];
    memset(at_limit, 'a', 1000);
    at_limit[1000] = '\0';
    memset(over, 'a', 1002);
    over[1002] = '\0';
    memset(split, 'a', 1002);
    memcpy(split + 998, "\xe2\x82\xac", 3); /* its third byte would be the 1001st */
    split[1002] = '\0';
    const struct {
        const char *in, *start;
        size_t n;
    } cases[] = {
        {NULL, "", 0},           {"", "", 0},
        {"plain", "plain", 5},   {"\xff\xfe x", "?? x", 4},
        {"a\xc3", "a?", 2},      {"\xe2\x82\xac", "\xe2\x82\xac", 3},
        {at_limit, "aaa", 1000}, {over, "aaa", 1000},
        {split, "aaa", 998},
    };
    for (size_t i = 0; i < TD_NITEMS(cases); i++) {
        put((int64_t)i, "S", cases[i].in);
        arena_auto a;
        arena_init(&a, 1 << 16);
        struct page p = {.serial = "S", .before = INT64_MAX, .max = 1, .a = &a};
        assert_int_equal(store_read(store, list, &p, NULL), TD_OK);
        assert_int_equal(p.n, 1);
        const char *got = p.list[0].device_error;
        if (strlen(got) != cases[i].n || strncmp(got, cases[i].start, strlen(cases[i].start)) != 0)
            fail_msg("case %zu: %zu bytes: %.20s", i, strlen(got), got);
    }
}

static enum td_err clean(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct sweep s = {.before = *(int64_t *)ctx, .max = 2};
    return attempt_clean(tx, &s, ei);
}

static void test_clean(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++)
        put(i, "A", NULL);
    arena_auto a;
    arena_init(&a, 1 << 16);
    struct page p = {.before = INT64_MAX, .max = 10, .a = &a};
    const size_t want[] = {3, 2, 2}; /* two at a time, and only what is older than 3 */
    for (size_t i = 0; i < TD_NITEMS(want); i++) {
        int64_t before = 3;
        assert_int_equal(store_write(store, clean, &before, NULL), TD_OK);
        assert_int_equal(store_read(store, list, &p, NULL), TD_OK);
        assert_int_equal(p.n, want[i]);
    }
    assert_int_equal(p.list[1].at, 3);
}

static enum td_err audit_two(struct tx *tx, void *ctx, struct errinfo *ei)
{
    (void)ctx;
    TD_TRY(audit_add(tx, 7, "T1", "admin", "inventory.delete", "S1", "{}", ei));
    return audit_add(tx, 7, "T1", "admin", "certificate.revoke", "S1", NULL, ei);
}

static enum td_err audit_then_fail(struct tx *tx, void *ctx, struct errinfo *ei)
{
    TD_TRY(audit_two(tx, ctx, ei));
    return TD_CONFLICT;
}

static enum td_err audit_check(struct tx *tx, void *ctx, struct errinfo *ei)
{
    (void)ctx;
    struct cur c;
    TD_TRY(tx_query(tx, &audit_rows, NULL, 0, &c, ei));
    TD_TRY(cur_next(&c, ei));
    assert_int_equal(cur_int(&c, 0), 7);
    assert_true(span_eq_str(cur_span(&c, 3), "inventory.delete"));
    TD_TRY(cur_next(&c, ei));
    assert_true(span_eq_str(cur_span(&c, 1), "T1"));
    assert_true(span_eq_str(cur_span(&c, 2), "admin"));
    assert_true(span_eq_str(cur_span(&c, 4), "S1"));
    assert_true(span_eq_str(cur_span(&c, 5), ""));
    return cur_next(&c, ei) == TD_NOTFOUND ? TD_OK : TD_CONFLICT;
}

/* The trail holds what happened, and nothing of what was undone. */
static void test_audit(void **state)
{
    (void)state;
    assert_int_equal(store_write(store, audit_then_fail, NULL, NULL), TD_CONFLICT);
    assert_int_equal(store_write(store, audit_two, NULL, NULL), TD_OK);
    assert_int_equal(store_read(store, audit_check, NULL, NULL), TD_OK);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    log_setup(LOG_ERROR, LOG_FORMAT_LOGFMT, 2);
    const struct CMUnitTest tests[] = {
        T(test_pages), T(test_arena_too_small), T(test_device_words), T(test_clean), T(test_audit),
    };
    return cmocka_run_group_tests(tests, crypt_setup, NULL);
}
