#include "store_test.h"

#include "mdm/base/log.h"

static struct place place;
static struct store *store;

static int setup(void **state)
{
    (void)state;
    place_init(&place);
    store = place_open(&place);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    store_close(store);
    store = NULL;
    place_end(&place);
    return 0;
}

static void reopen(void)
{
    store_close(store);
    store = place_open(&place);
}

static void put(int64_t k)
{
    struct errinfo ei = {0};
    if (store_write(store, t_insert, &k, &ei) != TD_OK)
        fail_msg("insert %lld: %s", (long long)k, ei.msg);
}

/* --- durable, readable ------------------------------------------------------------------------ */

static void test_write_read_reopen(void **state)
{
    (void)state;
    for (int64_t k = 0; k < 10; k++)
        put(k);
    assert_int_equal(t_count(store), 10);
    reopen();
    assert_int_equal(t_count(store), 10);
    assert_true(t_intact(store));
    assert_int_equal(store_ping(store, NULL), TD_OK);
}

static void test_file_mode(void **state)
{
    (void)state;
    sqlite_only();
    put(1);
    struct stat st;
    assert_int_equal(stat(place.path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    char wal[128];
    snprintf(wal, sizeof wal, "%s-wal", place.path);
    assert_int_equal(stat(wal, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

static void test_exists_is_unchanged(void **state)
{
    (void)state;
    int64_t k = 7;
    put(k);
    struct errinfo ei = {0};
    assert_int_equal(store_write(store, t_insert, &k, &ei), TD_EXISTS);
    assert_int_equal(ei.code, TD_EXISTS);
    assert_non_null(strstr(ei.msg, "t.ins"));
    assert_int_equal(store_write(store, t_insert, &k, NULL), TD_EXISTS);
    assert_int_equal(t_count(store), 1);
}

static enum td_err own_error(struct tx *tx, void *ctx, struct errinfo *ei)
{
    TD_TRY(t_insert(tx, ctx, ei));
    struct errinfo full = {.code = TD_FORBIDDEN,
                           .http = 451,
                           .retry_after = 9,
                           .reason = "because",
                           .acme = "rejectedIdentifier",
                           .msg = "words"};
    *ei = full;
    return TD_FORBIDDEN;
}

static void test_own_error_comes_back_whole(void **state)
{
    (void)state;
    int64_t k = 1;
    struct errinfo ei = {0};
    assert_int_equal(store_write(store, own_error, &k, &ei), TD_FORBIDDEN);
    assert_int_equal(ei.http, 451);
    assert_int_equal(ei.retry_after, 9);
    assert_string_equal(ei.reason, "because");
    assert_string_equal(ei.acme, "rejectedIdentifier");
    assert_string_equal(ei.msg, "words");
    assert_int_equal(t_count(store), 0);
}

/* --- values ----------------------------------------------------------------------------------- */

struct value_case {
    struct sval txt, bin;
    enum td_err want;
};

static enum td_err value_write(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct value_case *v = ctx;
    return tx_exec(tx, &t_stmts[T_INS], SV_LIST(SV_INT(1), v->txt, v->bin), NULL, ei);
}

static enum td_err value_check(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct value_case *v = ctx;
    arena_auto a;
    arena_init(&a, 4096);
    struct cur c;
    TD_TRY(tx_row(tx, &t_stmts[T_GET], SV_LIST(SV_INT(1)), &c, ei));
    assert_int_equal(cur_int(&c, 0), 1);
    assert_int_equal(cur_is_null(&c, 1), v->txt.kind == SVAL_NULL);
    assert_int_equal(cur_is_null(&c, 2), v->bin.kind == SVAL_NULL);
    assert_true(span_eq(cur_span(&c, 1), v->txt.s));
    assert_true(span_eq(cur_span(&c, 2), v->bin.s));
    char *txt = cur_dup(&c, 1, &a);
    assert_int_equal(txt == NULL, v->txt.kind == SVAL_NULL);
    if (txt)
        assert_true(span_eq_str(v->txt.s, txt));
    struct span bin = cur_span_dup(&c, 2, &a);
    assert_true(span_eq(bin, v->bin.s));
    assert_int_equal(bin.p == NULL, v->bin.kind == SVAL_NULL);
    assert_int_equal(cur_next(&c, ei), TD_NOTFOUND);
    cur_end(&c);
    return TD_OK;
}

static void test_values(void **state)
{
    (void)state;
    const struct value_case cases[] = {
        {SV_TEXT("hello"), SV_BLOB(SPAN_LIT("\0\1\2\xff")), TD_OK},
        {SV_TEXT(""), SV_BLOB(SPAN_LIT("")), TD_OK},
        {SV_NULL, SV_NULL, TD_OK},
        {SV_TEXT0(NULL), SV_BLOB0(span_of(NULL, 0)), TD_OK},
        {SV_TEXT(NULL), SV_BLOB(span_of(NULL, 0)), TD_OK},
        {SV_TEXT("\xf0\x9f\x93\xb1 \xc3\xa9"), SV_NULL, TD_OK},
        {SV_SPAN(SPAN_LIT("a\0b")), SV_NULL, TD_INVAL},
        {SV_TEXT("\xff"), SV_NULL, TD_INVAL},
        {SV_TEXT("12345678\xc3"), SV_NULL, TD_INVAL},
        {SV_TEXT("\xed\xa0\x80"), SV_NULL, TD_INVAL},
        {SV_INT(1), SV_NULL, TD_INTERNAL},
        {SV_BLOB(SPAN_LIT("a")), SV_NULL, TD_INTERNAL},
        {SV_NULL, SV_TEXT("a"), TD_INTERNAL},
    };
    for (size_t i = 0; i < TD_NITEMS(cases); i++) {
        struct value_case v = cases[i];
        enum td_err e = store_write(store, value_write, &v, NULL);
        if (e != v.want)
            fail_msg("case %zu: %s", i, err_name(e));
        if (e != TD_OK)
            continue;
        assert_int_equal(store_read(store, value_check, &v, NULL), TD_OK);
        reopen();
        assert_int_equal(store_read(store, value_check, &v, NULL), TD_OK);
        teardown(NULL);
        setup(NULL);
    }
}

/* --- what a job may not do ---------------------------------------------------------------------
 */

static enum td_err few_args(struct tx *tx, void *ctx, struct errinfo *ei)
{
    (void)ctx;
    return tx_exec(tx, &t_stmts[T_INS], SV_LIST(SV_INT(1)), NULL, ei);
}

static enum td_err null_key(struct tx *tx, void *ctx, struct errinfo *ei)
{
    (void)ctx;
    return tx_exec(tx, &t_stmts[T_INS], SV_LIST(SV_NULL, SV_NULL, SV_NULL), NULL, ei);
}

static enum td_err exec_of_query(struct tx *tx, void *ctx, struct errinfo *ei)
{
    (void)ctx;
    return tx_exec(tx, &t_stmts[T_COUNT], NULL, 0, NULL, ei);
}

static enum td_err query_of_exec(struct tx *tx, void *ctx, struct errinfo *ei)
{
    (void)ctx;
    struct cur c;
    return tx_query(tx, &t_stmts[T_DEL], SV_LIST(SV_INT(1)), &c, ei);
}

static enum td_err not_registered(struct tx *tx, void *ctx, struct errinfo *ei)
{
    (void)ctx;
    static const struct store_stmt st = {"other", "SELECT 1", "", "i"};
    struct cur c;
    return tx_row(tx, &st, NULL, 0, &c, ei);
}

static enum td_err same_cursor_twice(struct tx *tx, void *ctx, struct errinfo *ei)
{
    (void)ctx;
    struct cur a, b;
    TD_TRY(tx_row(tx, &t_stmts[T_COUNT], NULL, 0, &a, ei));
    return tx_row(tx, &t_stmts[T_COUNT], NULL, 0, &b, ei); /* and left open */
}

static enum td_err goes_on(struct tx *tx, void *ctx, struct errinfo *ei)
{
    (void)ctx;
    int64_t k = 1;
    TD_TRY(t_insert(tx, &k, ei));
    if (t_insert(tx, &k, ei) != TD_EXISTS)
        return TD_OK;
    k = 2;
    return t_insert(tx, &k, ei);
}

static enum td_err swallows(struct tx *tx, void *ctx, struct errinfo *ei)
{
    (void)ctx;
    int64_t k = 1;
    TD_TRY(t_insert(tx, &k, ei));
    return t_insert(tx, &k, ei) == TD_EXISTS ? TD_OK : TD_STATE;
}

static enum td_err wrong_column(struct tx *tx, void *ctx, struct errinfo *ei)
{
    (void)ctx;
    struct cur c;
    TD_TRY(tx_row(tx, &t_stmts[T_COUNT], NULL, 0, &c, ei));
    cur_span(&c, 0);
    cur_end(&c);
    return TD_OK;
}

static enum td_err column_out_of_range(struct tx *tx, void *ctx, struct errinfo *ei)
{
    (void)ctx;
    struct cur c;
    TD_TRY(tx_row(tx, &t_stmts[T_COUNT], NULL, 0, &c, ei));
    int64_t v = cur_int(&c, 1) + cur_int(&c, -1);
    cur_end(&c);
    return v ? TD_STATE : TD_OK;
}

static enum td_err write_in_write(struct tx *tx, void *ctx, struct errinfo *ei)
{
    (void)tx;
    (void)ctx;
    int64_t k = 1;
    return store_write(store, t_insert, &k, ei);
}

static enum td_err read_in_write(struct tx *tx, void *ctx, struct errinfo *ei)
{
    (void)tx;
    (void)ctx;
    int64_t n;
    return store_read(store, t_count_fn, &n, ei);
}

static void test_misuse(void **state)
{
    (void)state;
    static const store_fn fns[] = {
        few_args, null_key, exec_of_query, query_of_exec,       not_registered, same_cursor_twice,
        goes_on,  swallows, wrong_column,  column_out_of_range, write_in_write, read_in_write};
    for (size_t i = 0; i < TD_NITEMS(fns); i++) {
        struct errinfo ei = {0};
        enum td_err e = store_write(store, fns[i], NULL, &ei);
        if (e != TD_INTERNAL || ei.msg[0] == '\0')
            fail_msg("case %zu: %s %s", i, err_name(e), ei.msg);
    }
    put(5); /* nothing is stuck */
    assert_int_equal(t_count(store), 1);
}

static void test_read_cannot_write(void **state)
{
    (void)state;
    int64_t k = 1;
    assert_int_equal(store_read(store, t_insert, &k, NULL), TD_INTERNAL);
    assert_int_equal(t_count(store), 0);
}

/* --- cursors -----------------------------------------------------------------------------------
 */

static enum td_err walk(struct tx *tx, void *ctx, struct errinfo *ei)
{
    int64_t *sum = ctx;
    *sum = 0;
    int64_t from = 3;
    struct cur c, inner;
    TD_TRY(tx_query(tx, &t_stmts[T_ALL], SV_LIST(SV_INT(from)), &c, ei));
    enum td_err e;
    while ((e = cur_next(&c, ei)) == TD_OK) {
        int64_t k = cur_int(&c, 0);
        TD_TRY(tx_row(tx, &t_stmts[T_GET], SV_LIST(SV_INT(k)), &inner, ei));
        *sum += cur_int(&inner, 0);
        cur_end(&inner);
    }
    assert_int_equal(cur_next(&c, ei), TD_NOTFOUND);
    cur_end(&c);
    return e == TD_NOTFOUND ? TD_OK : e;
}

static void test_nested_cursors(void **state)
{
    (void)state;
    for (int64_t k = 0; k < 10; k++)
        put(k);
    int64_t sum = 0;
    assert_int_equal(store_read(store, walk, &sum, NULL), TD_OK);
    assert_int_equal(sum, 3 + 4 + 5 + 6 + 7 + 8 + 9);
}

static enum td_err left_open(struct tx *tx, void *ctx, struct errinfo *ei)
{
    (void)ctx;
    struct cur c;
    TD_TRY(tx_query(tx, &t_stmts[T_ALL], SV_LIST(SV_INT(0)), &c, ei));
    TD_TRY(cur_next(&c, ei));
    return TD_CONFLICT;
}

static void test_cursor_left_open(void **state)
{
    (void)state;
    put(1);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(store_read(store, left_open, NULL, NULL), TD_CONFLICT);
        assert_int_equal(store_write(store, left_open, NULL, NULL), TD_CONFLICT);
    }
    put(2);
    assert_int_equal(t_count(store), 2);
}

static enum td_err returning(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct cur c;
    TD_TRY(tx_row(tx, &t_stmts[T_RETURNING], SV_LIST(SV_INT(5), SV_TEXT("five")), &c, ei));
    *(int64_t *)ctx = cur_int(&c, 0);
    bool same = span_eq_str(cur_span(&c, 1), "five");
    cur_end(&c);
    return same ? TD_OK : TD_STATE;
}

static void test_returning(void **state)
{
    (void)state;
    int64_t id = 0;
    assert_int_equal(store_write(store, returning, &id, NULL), TD_OK);
    assert_true(id > 0);
    assert_true(t_has(store, 5));
}

static enum td_err upsert(struct tx *tx, void *ctx, struct errinfo *ei)
{
    return tx_exec(tx, &t_stmts[T_UPSERT], SV_LIST(SV_INT(1)), ctx, ei);
}

#define MANY 3000

struct many {
    int64_t again; /* this row comes twice */
    bool gives_up; /* the job fails behind it by itself */
};

static enum td_err many(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct many *m = ctx;
    static const uint8_t filler[500];
    for (int64_t k = 0; k < MANY; k++)
        for (int n = 0; n < 1 + (k == m->again); n++)
            TD_TRY(tx_exec_many(tx, &t_stmts[T_INS],
                                SV_LIST(SV_INT(k), SV_TEXT("x"), SV_BLOB(span_of(filler, 500))),
                                ei));
    return m->gives_up ? err_set(ei, TD_EXISTS, "no") : TD_OK;
}

/* Many rows without an answer for each: all of them, or, whenever an error shows, none. */
static void test_many(void **state)
{
    (void)state;
    for (int64_t at = 0; at < MANY; at += MANY / 3) {
        for (int up = 0; up < 2; up++) {
            struct many bad = {at, up};
            assert_int_equal(store_write(store, many, &bad, NULL), TD_EXISTS);
            assert_int_equal(t_count(store), 0);
        }
    }
    struct many good = {-1, false};
    assert_int_equal(store_write(store, many, &good, NULL), TD_OK);
    assert_int_equal(t_count(store), MANY);
}

static void test_changes(void **state)
{
    (void)state;
    int64_t n = -1;
    assert_int_equal(store_write(store, upsert, &n, NULL), TD_OK);
    assert_int_equal(n, 1);
    assert_int_equal(store_write(store, upsert, &n, NULL), TD_OK);
    assert_int_equal(n, 0);
}

/* --- a snapshot --------------------------------------------------------------------------------
 */

static enum td_err snapshot(struct tx *tx, void *ctx, struct errinfo *ei)
{
    (void)ctx;
    int64_t before, after, k = 100;
    TD_TRY(t_count_fn(tx, &before, ei));
    TD_TRY(store_write(store, t_insert, &k, ei)); /* on the writer, beside this read */
    TD_TRY(t_count_fn(tx, &after, ei));
    return before == after ? TD_OK : TD_CONFLICT;
}

static void test_snapshot(void **state)
{
    (void)state;
    put(1);
    assert_int_equal(store_read(store, snapshot, NULL, NULL), TD_OK);
    assert_int_equal(t_count(store), 2);
}

/* --- opening -----------------------------------------------------------------------------------
 */

static void test_bad_url(void **state)
{
    (void)state;
    static const char *const urls[] = {
        NULL, "", "postgres:x", "sqlite:", "sqlite::memory:", "/tmp/x.db"};
    for (size_t i = 0; i < TD_NITEMS(urls); i++) {
        struct store_conf conf = place.conf;
        conf.url = urls[i];
        struct store *s = NULL;
        assert_int_equal(store_open(&conf, &s, NULL), TD_INVAL);
        assert_null(s);
    }
    struct store_conf conf = place.conf;
    conf.url = "sqlite:/nonexistent-td/x.db";
    struct store *s = NULL;
    assert_int_equal(store_open(&conf, &s, NULL), TD_IO);
    store_close(NULL);
}

static void test_bad_statements(void **state)
{
    (void)state;
    static const struct store_stmt bad[] = {
        {"bad.table", "SELECT a FROM missing", "", "i"},
        {"bad.column", "SELECT nope FROM t", "", "i"},
        {"bad.in", "SELECT k FROM t WHERE k = ?1", "", "i"},
        {"bad.in2", "SELECT k FROM t WHERE k = ?2", "i", "i"},
        {"bad.out", "SELECT k FROM t", "", "ii"},
        {"bad.two", "DELETE FROM t; DELETE FROM t", "", ""},
        {"bad.empty", "", "", ""},
        {"bad.letter", "SELECT k FROM t", "", "x"},
        {"t.ins", "SELECT k FROM t", "", "i"},
        {"bad.null", "SELECT k FROM t", "", NULL},
    };
    for (size_t i = 0; i < TD_NITEMS(bad); i++) {
        struct store_stmts sets[2] = {t_set, {&bad[i], 1}};
        struct store_conf conf = place.conf;
        conf.sets = sets;
        conf.nsets = 2;
        struct store *s = NULL;
        struct errinfo ei = {0};
        enum td_err e = store_open_with(&conf, place.list, place.n, &s, &ei);
        if (e != TD_INTERNAL || !strstr(ei.msg, bad[i].name))
            fail_msg("%s: %s %s", bad[i].name, err_name(e), ei.msg);
    }
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    log_setup(LOG_ERROR, LOG_FORMAT_LOGFMT, 2);
    const struct CMUnitTest tests[] = {
        T(test_write_read_reopen),
        T(test_file_mode),
        T(test_exists_is_unchanged),
        T(test_own_error_comes_back_whole),
        T(test_values),
        T(test_misuse),
        T(test_read_cannot_write),
        T(test_nested_cursors),
        T(test_cursor_left_open),
        T(test_returning),
        T(test_changes),
        T(test_many),
        T(test_snapshot),
        T(test_bad_url),
        T(test_bad_statements),
    };
    return cmocka_run_group_tests(tests, crypt_setup, NULL);
}
