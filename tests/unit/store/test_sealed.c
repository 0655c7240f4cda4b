/* Which keys the secrets of a database need, and the walks that seal them anew. */
#include "store_test.h"

#include "mdm/base/fs.h"
#include "mdm/store/sealed.h"

#define KEY_A "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"
#define KEY_B "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE\n"
#define PURPOSE "test"
#define CLEAR 8

enum { T_PAGE, T_PUT, T_ADD, T_ONE, T_KEYS, T_N };

/* The table of keys for external account binding stands for all. */
static const struct store_stmt own[T_N] = {
    [T_PAGE] = {"test.page",
                "SELECT id, secret FROM eab_keys WHERE secret IS NOT NULL AND id > ?1 ORDER BY id "
                "LIMIT ?2",
                "ti", "tb"},
    [T_PUT] = {"test.put", "UPDATE eab_keys SET secret = ?3 WHERE id = ?1 AND secret = ?2", "tbb",
               ""},
    [T_ADD] = {"test.add",
               "INSERT INTO eab_keys (id, name, profile, secret, created_at, expires_at, "
               "keep_until) VALUES (?1, '', '', ?2, 0, 0, 0) ON CONFLICT (id) DO UPDATE SET "
               "secret = excluded.secret",
               "tb", ""},
    [T_ONE] = {"test.one", "SELECT secret FROM eab_keys WHERE id = ?1", "t", "b"},
    [T_KEYS] = {"test.keys", "SELECT count(*) FROM seal_keys", "", "i"},
};

static const struct sealed_column column = {PURPOSE, CLEAR, &own[T_PAGE], &own[T_PUT]};

static struct place place;
static struct store *store;
static struct arena arena;
static char file[128];

static int setup(void **state)
{
    (void)state;
    const struct store_stmts sets[] = {sealed_stmts, {own, T_N}};
    place_init(&place);
    place.conf.sets = sets;
    place.conf.nsets = TD_NITEMS(sets);
    place.conf.twice = test_twice();
    arena_init(&arena, 1 << 20);
    snprintf(file, sizeof file, "%s/seal.key", place.dir);
    return store_open(&place.conf, &store, NULL) == TD_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    store_close(store);
    arena_free(&arena);
    place_end(&place);
    return 0;
}

static enum td_err opened(const char *path, struct seal **ret, struct errinfo *ei)
{
    return sealed_open(store, path, &clock_system, ret, ei);
}

static struct seal *with_file(const char *text)
{
    struct errinfo ei = {0};
    struct seal *s = NULL;
    assert_int_equal(fs_write(file, span_str(text), 0600, true, NULL), TD_OK);
    if (opened(file, &s, &ei) != TD_OK)
        fail_msg("%s", ei.msg);
    return s;
}

static enum td_err keys_fn(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct cur c;
    TD_TRY(tx_row(tx, &own[T_KEYS], NULL, 0, &c, ei));
    *(int64_t *)ctx = cur_int(&c, 0);
    cur_end(&c);
    return TD_OK;
}

static int64_t keys(void)
{
    int64_t n = -1;
    assert_int_equal(store_read(store, keys_fn, &n, NULL), TD_OK);
    return n;
}

/* --- the file -------------------------------------------------------------------------------- */

static void file_made_once(void **state)
{
    (void)state;
    seal_auto *first = NULL, *again = NULL;
    assert_int_equal(opened(file, &first, NULL), TD_OK);
    assert_int_equal(opened(file, &again, NULL), TD_OK);
    assert_true(span_eq(seal_key_id(first, 0), seal_key_id(again, 0)));
    assert_int_equal(keys(), 1);

    /* lost: another would open nothing */
    struct errinfo ei = {0};
    struct seal *none = NULL;
    unlink(file);
    assert_int_equal(opened(file, &none, &ei), TD_STATE);
    assert_non_null(strstr(ei.msg, "copy the file"));
    assert_false(fs_exists(file));
}

static void node_with_another_file(void **state)
{
    (void)state;
    char other[160];
    struct seal *none = NULL;
    seal_auto *first = NULL, *copy = NULL;
    assert_int_equal(opened(file, &first, NULL), TD_OK);
    snprintf(other, sizeof other, "%s/other.key", place.dir);
    assert_int_equal(seal_create(other, &rng_system, NULL), TD_OK);
    assert_int_equal(opened(other, &none, NULL), TD_STATE);
    assert_int_equal(keys(), 1);
    assert_int_equal(opened(file, &copy, NULL), TD_OK);
    assert_int_equal(fs_write(other, SPAN_LIT("nonsense\n"), 0600, true, NULL), TD_OK);
    assert_int_equal(opened(other, &none, NULL), TD_PARSE);
}

/* --- the rows -------------------------------------------------------------------------------- */

struct one {
    char id[16];
    struct span secret;
};

static enum td_err add_fn(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct one *o = ctx;
    return tx_exec(tx, &own[T_ADD], SV_LIST(SV_TEXT(o->id), SV_BLOB(o->secret)), NULL, ei);
}

static enum td_err one_fn(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct one *o = ctx;
    struct cur c;
    TD_TRY(tx_row(tx, &own[T_ONE], SV_LIST(SV_TEXT(o->id)), &c, ei));
    o->secret = cur_span_dup(&c, 0, &arena);
    cur_end(&c);
    return TD_OK;
}

static void put(int i, struct span secret)
{
    struct one o = {.secret = secret};
    snprintf(o.id, sizeof o.id, "row-%04d", i);
    assert_int_equal(store_write(store, add_fn, &o, NULL), TD_OK);
}

static struct span get(int i)
{
    struct one o;
    snprintf(o.id, sizeof o.id, "row-%04d", i);
    assert_int_equal(store_read(store, one_fn, &o, NULL), TD_OK);
    return o.secret;
}

static struct span sealed(const struct seal *s, const char *id, const char *secret)
{
    struct span out;
    const struct seal_place at = {PURPOSE, span_str(id)};
    assert_int_equal(seal_wrap(s, &at, span_str(secret), &rng_system, &arena, &out, NULL), TD_OK);
    return out;
}

static void is(const struct seal *s, int i, const char *want)
{
    char id[16];
    secret_auto out = {NULL, 0};
    snprintf(id, sizeof id, "row-%04d", i);
    const struct seal_place at = {PURPOSE, span_str(id)};
    assert_int_equal(seal_open(s, &at, get(i), &out, NULL), TD_OK);
    assert_true(span_eq_str(span_of(out.p, out.n), want));
}

static struct sealed_count walk(const struct seal *s)
{
    struct errinfo ei = {0};
    struct sealed_count n = {0};
    if (sealed_renew(store, s, &column, &rng_system, &n, &ei) != TD_OK)
        fail_msg("%s", ei.msg);
    return n;
}

static void clear_rows_are_sealed(void **state)
{
    (void)state;
    enum { ROWS = 230 }; /* more than two pages */
    seal_auto *s = with_file(KEY_A);
    char text[ROWS][16];
    for (int i = 0; i < ROWS; i++) {
        snprintf(text[i], sizeof text[i], "s%07d", i);
        put(i, span_of(text[i], CLEAR));
    }
    put(ROWS, sealed(s, "row-0230", "another"));
    assert_int_equal(walk(s).renewed, ROWS);
    for (int i = 0; i < ROWS; i++)
        is(s, i, text[i]);
    is(s, ROWS, "another");
    struct sealed_count again = walk(s);
    assert_int_equal(again.renewed, 0);
    assert_int_equal(again.broken, 0);
}

static void rotation(void **state)
{
    (void)state;
    seal_auto *old = with_file(KEY_A);
    put(0, sealed(old, "row-0000", "first"));
    put(1, sealed(old, "row-0001", "second"));
    put(2, sealed(old, "row-0001", "moved"));
    seal_auto *both = with_file(KEY_B KEY_A);
    assert_int_equal(keys(), 2);
    struct sealed_count n = walk(both);
    assert_int_equal(n.renewed, 2);
    assert_int_equal(n.broken, 1); /* and the others were done all the same */
    is(both, 0, "first");
    assert_true(seal_is_current(both, get(1)));
    assert_false(seal_is_current(both, get(2)));

    put(2, sealed(old, "row-0002", "right"));
    assert_int_equal(walk(both).broken, 0);
    assert_int_equal(sealed_forget(store, both, NULL), TD_OK);
    assert_int_equal(keys(), 1);
    seal_auto *fresh = with_file(KEY_B);
    is(fresh, 2, "right");
    struct seal *none = NULL;
    assert_int_equal(fs_write(file, SPAN_LIT(KEY_A), 0600, true, NULL), TD_OK);
    assert_int_equal(opened(file, &none, NULL), TD_STATE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(file_made_once, setup, teardown),
        cmocka_unit_test_setup_teardown(node_with_another_file, setup, teardown),
        cmocka_unit_test_setup_teardown(clear_rows_are_sealed, setup, teardown),
        cmocka_unit_test_setup_teardown(rotation, setup, teardown),
    };
    return cmocka_run_group_tests(tests, crypt_setup, NULL);
}
