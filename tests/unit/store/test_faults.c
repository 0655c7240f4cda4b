/* A disk that is full or broken: each operation of each kind fails once, and from then on, until a
 * whole run meets no failure. What was refused is not there, what was acknowledged is, and the
 * store is well again as soon as the disk is. */
#include "shim_vfs.h"
#include "store_test.h"

#include "mdm/base/log.h"

#define RUNS_MAX 3000
#define WRITES 6

static const struct fault {
    const char *name;
    enum shim_op op;
    int rc;
} faults[] = {
    {"write: full", SHIM_WRITE, SQLITE_FULL},
    {"write: I/O error", SHIM_WRITE, SQLITE_IOERR_WRITE},
    {"sync: I/O error", SHIM_SYNC, SQLITE_IOERR_FSYNC},
    {"truncate: I/O error", SHIM_TRUNCATE, SQLITE_IOERR_TRUNCATE},
    {"read: I/O error", SHIM_READ, SQLITE_IOERR_READ},
    {"open: cannot", SHIM_OPEN, SQLITE_CANTOPEN},
};

/* What a store may say of a disk; never one that changes a device's fate. */
static void assert_of_disk(const char *name, enum td_err e)
{
    if (e != TD_DB && e != TD_IO)
        fail_msg("%s: %s", name, err_text(e));
}

static enum td_err pragma(struct tx *tx, void *ctx, struct errinfo *ei)
{
    (void)ctx;
    struct cur c;
    TD_TRY(tx_row(tx, &t_stmts[T_PAGES], NULL, 0, &c, ei));
    cur_end(&c);
    return TD_OK;
}

static enum td_err insert_large(struct tx *tx, void *ctx, struct errinfo *ei)
{
    static const uint8_t filler[5000];
    return tx_exec(tx, &t_stmts[T_INS],
                   SV_LIST(SV_INT(*(int64_t *)ctx), SV_TEXT("x"), SV_BLOB(SPAN_ARR(filler))), NULL,
                   ei);
}

struct known {
    int64_t next, there;
};

/* Some writes and a read; each write is there afterwards exactly when it was acknowledged. */
static void writes(struct store *s, const char *name, struct known *k, bool well)
{
    enum td_err e[WRITES];
    for (int i = 0; i < WRITES; i++) {
        int64_t v = k->next + i;
        e[i] = store_write(s, insert_large, &v, NULL);
        if (e[i] != TD_OK) {
            assert_false(well);
            assert_of_disk(name, e[i]);
        }
        int64_t n;
        enum td_err r = store_read(s, t_count_fn, &n, NULL);
        if (r != TD_OK) {
            assert_false(well);
            assert_of_disk(name, r);
        }
    }
    shim_disarm();
    for (int i = 0; i < WRITES; i++) {
        if (t_has(s, k->next + i) != (e[i] == TD_OK))
            fail_msg("%s: write %d gave %s and is %sthere", name, i, err_text(e[i]),
                     e[i] == TD_OK ? "not " : "");
        k->there += e[i] == TD_OK;
    }
    k->next += WRITES;
}

static void in_use(const struct fault *f, bool stays)
{
    struct place p;
    struct known k = {0};
    place_init(&p);
    t_stmts[T_PAGES].sql = "PRAGMA wal_autocheckpoint = 4";
    struct store *s = place_open(&p);
    assert_int_equal(store_write(s, pragma, NULL, NULL), TD_OK);
    long n = 0, hits = 1, struck = 0;
    for (; n < RUNS_MAX && hits; n++) {
        shim_arm(f->op, f->rc, n, stays);
        writes(s, f->name, &k, false);
        hits = atomic_load(&shim_fault.hits);
        struck += hits != 0;
        writes(s, f->name, &k, true);
        assert_int_equal(t_count(s), k.there);
        /* the pragma is of a connection: it may have been opened again */
        assert_int_equal(store_write(s, pragma, NULL, NULL), TD_OK);
    }
    assert_true(n < RUNS_MAX);
    assert_true(t_intact(s));
    store_close(s);
    s = place_open(&p);
    assert_int_equal(t_count(s), k.there);
    assert_true(t_intact(s));
    store_close(s);
    place_end(&p);
    print_message("%s%s: %ld points struck, %lld writes there\n", f->name, stays ? ", stays" : "",
                  struck, (long long)k.there);
}

static void test_in_use(void **state)
{
    (void)state;
    sqlite_only();
    for (size_t i = 0; i < TD_NITEMS(faults); i++)
        in_use(&faults[i], false);
}

static void test_in_use_stays(void **state)
{
    (void)state;
    sqlite_only();
    for (size_t i = 0; i < TD_NITEMS(faults); i++)
        in_use(&faults[i], true);
}

/* The store is opened on a disk that fails, by a new file or an old one: an error and no harm. */
static void opening(const struct fault *f, bool old)
{
    long n = 0, hits = 1;
    for (; n < RUNS_MAX && hits; n += 1 + n / 16) { /* hundreds of points: ever larger steps */
        struct place p;
        int64_t one = 1;
        place_init(&p);
        if (old) {
            struct store *s = place_open(&p);
            assert_int_equal(store_write(s, t_insert, &one, NULL), TD_OK);
            store_close(s);
        }
        struct store *s = NULL;
        shim_arm(f->op, f->rc, n, true);
        enum td_err e = store_open_with(&p.conf, p.list, p.n, &s, NULL);
        hits = shim_disarm();
        if (e != TD_OK && e != TD_STATE) /* an unreadable file is not ours */
            assert_of_disk(f->name, e);
        if (e == TD_OK)
            store_close(s);
        s = place_open(&p);
        assert_int_equal(t_count(s), old ? 1 : 0);
        assert_true(t_intact(s));
        store_close(s);
        place_end(&p);
    }
    assert_true(n < RUNS_MAX);
}

static void test_opening(void **state)
{
    (void)state;
    sqlite_only();
    for (size_t i = 0; i < TD_NITEMS(faults); i++) {
        opening(&faults[i], false);
        opening(&faults[i], true);
    }
}

int main(void)
{
    log_setup(LOG_ERROR, LOG_FORMAT_LOGFMT, 2);
    if (!test_on_pg())
        shim_register();
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_in_use),
                                       cmocka_unit_test(test_in_use_stays),
                                       cmocka_unit_test(test_opening)};
    return cmocka_run_group_tests(tests, crypt_setup, NULL);
}
