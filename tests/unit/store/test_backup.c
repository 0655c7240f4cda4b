/* A database into a file and back: whole, checked, or nothing happened. */
#include "store_test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "mdm/base/fs.h"
#include "mdm/base/log.h"
#include "mdm/store/audit.h"
#include "mdm/store/backup.h"
#include "mdm/store/tool.h"

static struct place place;
static char file[128];

enum { A_COUNT, A_HAS, A_MAX };

static const struct store_stmt a_stmts[A_MAX] = {
    [A_COUNT] = {"a.count", "SELECT count(*) FROM audit", "", "i"},
    [A_HAS] = {"a.has", "SELECT id FROM audit WHERE subject = ?1", "t", "i"},
};

static struct store_stmts sets[3];

static int setup(void **state)
{
    (void)state;
    place_init(&place);
    sets[0] = audit_stmts;
    sets[1] = outbox_stmts;
    sets[2] = (struct store_stmts){a_stmts, A_MAX};
    place.conf.sets = sets;
    place.conf.nsets = TD_NITEMS(sets);
    snprintf(file, sizeof file, "%s/backup", place.dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    place_end(&place);
    return 0;
}

static struct store *open_url(const char *path, enum store_use use)
{
    static char url[256];
    struct store_conf conf = place.conf;
    struct store *s = NULL;
    struct errinfo ei = {0};
    snprintf(url, sizeof url, "sqlite:%s", path);
    if (strcmp(path, place.path) != 0 || !test_on_pg())
        conf.url = url;
    conf.use = use;
    if (store_open(&conf, &s, &ei) != TD_OK)
        fail_msg("%s: %s", path, ei.msg);
    return s;
}

static enum td_err put_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    return audit_add(tx, 1, "T", "test", "invitation.create", ctx, "", ei);
}

static void put(struct store *s, int64_t k)
{
    char subject[32];
    struct errinfo ei = {0};
    snprintf(subject, sizeof subject, "S%lld", (long long)k);
    if (store_write(s, put_job, subject, &ei) != TD_OK)
        fail_msg("%s", ei.msg);
}

static enum td_err count_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct cur c;
    TD_TRY(tx_row(tx, &a_stmts[A_COUNT], NULL, 0, &c, ei));
    *(int64_t *)ctx = cur_int(&c, 0);
    cur_end(&c);
    return TD_OK;
}

static int64_t count_of(const char *path)
{
    struct store *s = open_url(path, STORE_SHARED);
    int64_t n = -1;
    assert_int_equal(store_read(s, count_job, &n, NULL), TD_OK);
    store_close(s);
    return n;
}

static void make(int64_t rows)
{
    struct store *s = open_url(place.path, STORE_SHARED);
    for (int64_t k = 0; k < rows; k++)
        put(s, k);
    store_close(s);
}

static enum td_err bulk_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    static char detail[1001];
    memset(detail, 'd', sizeof detail - 1);
    for (int64_t k = 0; k < *(int64_t *)ctx; k++)
        TD_TRY(audit_add(tx, 1, "T", "test", "invitation.create", "B", detail, ei));
    return TD_OK;
}

/* A database of some megabytes: more than a step of a backup copies. */
static void make_bulk(int64_t rows)
{
    struct store *s = open_url(place.path, STORE_SHARED);
    struct errinfo ei = {0};
    if (store_write(s, bulk_job, &rows, &ei) != TD_OK)
        fail_msg("%s", ei.msg);
    store_close(s);
}

/* Names in the directory that end so. */
static unsigned left(const char *end)
{
    DIR *d = opendir(place.dir);
    unsigned n = 0;
    for (struct dirent *e; (e = readdir(d));) {
        size_t a = strlen(e->d_name), b = strlen(end);
        n += a >= b && strcmp(e->d_name + a - b, end) == 0;
    }
    closedir(d);
    return n;
}

static void expect_backup(enum td_err want, const char *words)
{
    struct errinfo ei = {0};
    enum td_err e = store_backup(&place.conf, file, false, NULL, &ei);
    if (e != want || !strstr(ei.msg, words))
        fail_msg("%s: %s", err_name(e), ei.msg);
    assert_int_equal(left(".partial"), 0);
}

static void backup_well(bool replace)
{
    struct errinfo ei = {0};
    if (store_backup(&place.conf, file, replace, NULL, &ei) != TD_OK)
        fail_msg("%s", ei.msg);
    assert_int_equal(left(".partial"), 0);
}

static enum td_err restore(bool aside, const char **kept, struct errinfo *ei)
{
    static struct arena a;
    arena_init(&a, 4096);
    static char copy[256];
    memset(ei, 0, sizeof *ei);
    enum td_err e = store_restore(&place.conf, file, aside, NULL, &a, kept, ei);
    snprintf(copy, sizeof copy, "%s", *kept ? *kept : "");
    *kept = *kept ? copy : NULL;
    arena_free(&a);
    assert_int_equal(left(".partial"), 0);
    return e;
}

static void expect_restore(enum td_err want, const char *words)
{
    struct errinfo ei;
    const char *kept;
    enum td_err e = restore(true, &kept, &ei);
    if (e != want || !strstr(ei.msg, words))
        fail_msg("%s: %s", err_name(e), ei.msg);
    assert_null(kept);
}

/* --- backup ------------------------------------------------------------------------------------
 */

static void test_one_private_file(void **state)
{
    (void)state;
    struct stat st;
    make(10);
    backup_well(false);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(left("backup-wal") + left("backup-shm") + left("backup.lock"), 0);
    /* the header says: no log (file format, section 1.3) */
    buf_auto b = {0};
    assert_int_equal(fs_read(file, 64 << 20, &b, NULL), TD_OK);
    assert_int_equal(b.p[18], 1);
    assert_int_equal(b.p[19], 1);
    assert_int_equal(count_of(file), 10);
    assert_int_equal(count_of(place.path), 10);
}

struct busy {
    struct store *s;
    pthread_t thread;
    atomic_bool stop;
    atomic_llong done;
};

static void *busy_main(void *arg)
{
    struct busy *b = arg;
    for (int64_t k = 1000000; !b->stop; k++) {
        put(b->s, k);
        b->done++;
    }
    return NULL;
}

struct steps {
    struct store *s;
    unsigned n;
};

/* Writes between two steps; a backup that began again for that would never end. */
static bool count_steps(void *ctx, const struct store_step *step)
{
    struct steps *st = ctx;
    if (step->phase != STORE_PAGES)
        return true;
    put(st->s, 500000 + st->n);
    return ++st->n < 50;
}

/* Somebody writes without a pause: the backup ends all the same and has what was there before. */
static void test_while_written(void **state)
{
    (void)state;
    make_bulk(3000);
    struct busy b = {.s = open_url(place.path, STORE_SERVE)};
    assert_int_equal(pthread_create(&b.thread, NULL, busy_main, &b), 0);
    while (b.done < 20)
        ;
    int64_t between = 0;
    for (int i = 0; i < 3; i++) {
        struct errinfo ei = {0};
        struct steps steps = {b.s, 0};
        const struct store_progress p = {count_steps, &steps};
        long long before = b.done;
        if (store_backup(&place.conf, file, true, &p, &ei) != TD_OK)
            fail_msg("%s", ei.msg);
        assert_int_equal(steps.n > 2, !test_on_pg()); /* rows there, pages here */
        between += steps.n;
        int64_t n = count_of(file);
        assert_true(n >= 3000 + before);
    }
    b.stop = true;
    pthread_join(b.thread, NULL);
    store_close(b.s);
    assert_int_equal(count_of(place.path), 3000 + b.done + between);
}

static void test_existing_file(void **state)
{
    (void)state;
    make(3);
    assert_int_equal(fs_write(file, SPAN_LIT("precious"), 0644, true, NULL), TD_OK);
    expect_backup(TD_EXISTS, "exists");
    buf_auto b = {0};
    assert_int_equal(fs_read(file, 100, &b, NULL), TD_OK);
    assert_true(span_eq_str(buf_view(&b), "precious"));
    backup_well(true);
    assert_int_equal(count_of(file), 3);
}

static void test_bad_destinations(void **state)
{
    (void)state;
    make(3);
    char keep[128];
    snprintf(keep, sizeof keep, "%s", file);
    assert_int_equal(mkdir(file, 0700), 0);
    expect_backup(TD_INVAL, "is not a file");
    assert_int_equal(rmdir(file), 0);
    assert_int_equal(symlink(place.path, file), 0);
    expect_backup(TD_INVAL, "is not a file");
    assert_int_equal(unlink(file), 0);
    assert_int_equal(link(place.path, file), 0);
    expect_backup(TD_INVAL, "the database itself");
    assert_int_equal(unlink(file), 0);
    snprintf(file, sizeof file, "/nonexistent-td/backup");
    expect_backup(TD_IO, "cannot write");
    file[0] = '\0';
    expect_backup(TD_INVAL, "empty");
    memset(file, 'x', sizeof file - 1);
    expect_backup(TD_OK, ""); /* in the directory of the process, a long name */
    assert_int_equal(unlink(file), 0);
    snprintf(file, sizeof file, "%s", keep);
}

static bool stop_at(void *ctx, const struct store_step *step)
{
    (void)ctx;
    (void)step;
    return false;
}

static void test_stopped(void **state)
{
    (void)state;
    make(3);
    const struct store_progress p = {stop_at, NULL};
    assert_int_equal(store_backup(&place.conf, file, false, &p, NULL), TD_GONE);
    assert_false(fs_exists(file));
    assert_int_equal(left(".partial"), 0);
}

/* Overwrites bytes in the middle of each page but the first. */
static void damage(const char *path)
{
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    off_t size = lseek(fd, 0, SEEK_END);
    for (off_t at = 4096; at < size; at += 4096)
        assert_int_equal(pwrite(fd, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, at), 8);
    close(fd);
}

static void test_bad_sources(void **state)
{
    (void)state;
    expect_backup(TD_NOTFOUND, "there is no database");
    assert_false(fs_exists(place.path));
    assert_int_equal(fs_write(place.path, SPAN_LIT("short"), 0600, true, NULL), TD_OK);
    expect_backup(TD_STATE, "damaged or not a database");
    assert_int_equal(unlink(place.path), 0);
    make(3);
    damage(place.path);
    struct errinfo ei = {0};
    assert_int_not_equal(store_backup(&place.conf, file, false, NULL, &ei), TD_OK);
    assert_false(fs_exists(file));
    assert_int_equal(left(".partial"), 0);
}

/* Damage that only a look at every page finds gives no backup either. */
static void test_damaged_deep_inside(void **state)
{
    (void)state;
    make_bulk(2000);
    int fd = open(place.path, O_RDWR);
    assert_true(fd >= 0);
    off_t at = lseek(fd, 0, SEEK_END) / 4096 / 4 * 3 * 4096;
    assert_int_equal(pwrite(fd, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, at), 8);
    close(fd);
    expect_backup(TD_STATE, "damaged: ");
    assert_false(fs_exists(file));
}

/* Runs with the backup on a disk of so many kilobytes; false when this process may not mount. */
static bool on_small_disk(const char *size, enum td_err *ret, struct errinfo *ei)
{
    char dir[80], options[32];
    snprintf(dir, sizeof dir, "%s/small", place.dir);
    snprintf(options, sizeof options, "size=%s", size);
    assert_int_equal(mkdir(dir, 0700), 0);
    if (mount("tmpfs", dir, "tmpfs", 0, options) != 0) {
        rmdir(dir);
        return false;
    }
    snprintf(file, sizeof file, "%s/small/backup", place.dir);
    memset(ei, 0, sizeof *ei);
    *ret = store_backup(&place.conf, file, false, NULL, ei);
    bool there = fs_exists(file);
    assert_int_equal(umount(dir), 0);
    rmdir(dir);
    assert_int_equal(there, *ret == TD_OK);
    return true;
}

static void test_disk_full(void **state)
{
    (void)state;
    enum td_err e;
    struct errinfo ei;
    make(2000);
    if (!on_small_disk("100k", &e, &ei)) {
        print_message("SKIP: mounting a small disk needs root\n");
        skip();
    }
    if (e != (test_on_pg() ? TD_DB : TD_IO))
        fail_msg("%s: %s", err_name(e), ei.msg);
    assert_non_null(strstr(ei.msg, "full"));
    assert_true(on_small_disk("8m", &e, &ei));
    assert_int_equal(e, TD_OK);
    assert_int_equal(count_of(place.path), 2000);
}

/* --- restore -----------------------------------------------------------------------------------
 */

static void test_there_and_back(void **state)
{
    (void)state;
    struct errinfo ei;
    const char *kept = "x";
    make(5);
    backup_well(false);
    make(3); /* three more */
    assert_int_equal(restore(false, &kept, &ei), TD_EXISTS);
    assert_null(kept);
    assert_int_equal(count_of(place.path), 8);
    if (restore(true, &kept, &ei) != TD_OK)
        fail_msg("%s", ei.msg);
    assert_int_equal(count_of(place.path), 5);
    assert_non_null(kept);
    assert_int_equal(count_of(kept), 8);
    assert_int_equal(count_of(file), 5);
    struct stat st;
    assert_int_equal(stat(place.path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

static void test_into_nothing(void **state)
{
    (void)state;
    struct errinfo ei;
    const char *kept;
    make(5);
    backup_well(false);
    for (int empty = 0; empty < 2; empty++) {
        assert_int_equal(unlink(place.path), 0);
        if (empty)
            assert_int_equal(fs_write(place.path, SPAN_LIT(""), 0600, true, NULL), TD_OK);
        assert_int_equal(restore(false, &kept, &ei), TD_OK);
        assert_null(kept);
        assert_int_equal(count_of(place.path), 5);
    }
}

/* Rows that are only in the log of a killed server stay with its database, and out of the other. */
static void test_log_of_a_killed_server(void **state)
{
    (void)state;
    struct errinfo ei;
    const char *kept;
    make(5);
    backup_well(false);
    pid_t pid = fork();
    if (pid == 0) {
        struct store *s = open_url(place.path, STORE_SERVE);
        for (int64_t k = 100; k < 110; k++)
            put(s, k);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(left("t.db-wal"), 1);
    if (restore(true, &kept, &ei) != TD_OK)
        fail_msg("%s", ei.msg);
    assert_int_equal(count_of(kept), 15);
    assert_int_equal(count_of(place.path), 5);
}

static void test_over_a_damaged_database(void **state)
{
    (void)state;
    struct errinfo ei;
    const char *kept;
    static uint8_t junk[8192];
    char path[160];
    make(5);
    backup_well(false);
    memset(junk, 'x', sizeof junk);
    assert_int_equal(fs_write(place.path, SPAN_ARR(junk), 0600, true, NULL), TD_OK);
    snprintf(path, sizeof path, "%s-wal", place.path);
    assert_int_equal(fs_write(path, SPAN_LIT("some log"), 0600, true, NULL), TD_OK);
    if (restore(true, &kept, &ei) != TD_OK)
        fail_msg("%s", ei.msg);
    assert_int_equal(count_of(place.path), 5);
    buf_auto b = {0};
    assert_int_equal(fs_read(kept, sizeof junk, &b, NULL), TD_OK);
    assert_true(span_eq(buf_view(&b), SPAN_ARR(junk)));
    buf_free(&b);
    snprintf(path, sizeof path, "%s-wal", kept);
    assert_true(fs_exists(path));
}

static void test_while_in_use(void **state)
{
    (void)state;
    static const enum store_use uses[] = {STORE_SERVE, STORE_SHARED};
    make(5);
    backup_well(false);
    for (size_t i = 0; i < TD_NITEMS(uses); i++) {
        struct store *s = open_url(place.path, uses[i]);
        expect_restore(TD_STATE, uses[i] == STORE_SERVE ? "serves" : "in use");
        put(s, 100 + (int64_t)i);
        store_close(s);
        assert_int_equal(count_of(place.path), 6 + (int64_t)i);
    }
}

/* A program that knows nothing of our lock, a shell say, is noticed too. */
static void test_while_in_use_by_others(void **state)
{
    (void)state;
    make(5);
    backup_well(false);
    struct store *s = open_url(place.path, STORE_NOLOCK);
    expect_restore(TD_BUSY, "locked");
    put(s, 100);
    store_close(s);
    assert_int_equal(count_of(place.path), 6);
}

static enum td_err script_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    return tx->ops->script(tx->conn, span_str(ctx), ei);
}

static void script_on(const char *path, const char *sql)
{
    char url[256], text[256];
    struct errinfo ei = {0};
    struct store_conf conf = place.conf;
    struct tool t;
    snprintf(url, sizeof url, "sqlite:%s", path);
    snprintf(text, sizeof text, "%s", sql);
    conf.url = url;
    conf.use = STORE_NOLOCK;
    if (tool_open(&t, &conf, CONN_WRITE, NULL, 0, &ei) != TD_OK ||
        tool_write(&t, script_job, text, &ei) != TD_OK)
        fail_msg("%s", ei.msg);
    tool_close(&t);
}

static void test_bad_files(void **state)
{
    (void)state;
    static const struct {
        const char *sql, *words;
    } changes[] = {
        {"UPDATE schema_migrations SET sha256 = 'x' WHERE version = 1", "not the one of this"},
        {"DELETE FROM schema_migrations WHERE version = 1", "lacks migration 1"},
        {"INSERT INTO schema_migrations (version, name, sha256, applied_at) VALUES (99, 'n', 'x',"
         " 1)",
         "newer testudo"},
        {"INSERT INTO schema_migrations (version, name, sha256, applied_at) VALUES (1000000,"
         " 'unfinished-copy', 'x', 1)",
         "unfinished copy"},
        {"DROP TABLE schema_migrations", "an empty database"},
    };
    make(5);
    expect_restore(TD_NOTFOUND, "No such file");
    for (size_t i = 0; i < TD_NITEMS(changes); i++) {
        backup_well(true);
        script_on(file, changes[i].sql);
        expect_restore(TD_STATE, changes[i].words);
    }
    backup_well(true);
    damage(file);
    struct errinfo ei;
    const char *kept;
    assert_int_equal(restore(true, &kept, &ei), TD_STATE);
    backup_well(true);
    assert_int_equal(truncate(file, 8192), 0);
    assert_int_equal(restore(true, &kept, &ei), TD_STATE);
    assert_int_equal(truncate(file, 100), 0);
    assert_int_equal(restore(true, &kept, &ei), TD_STATE);
    assert_int_equal(truncate(file, 0), 0);
    expect_restore(TD_NOTFOUND, "no database");
    assert_int_equal(unlink(file), 0);
    assert_int_equal(mkdir(file, 0700), 0);
    expect_restore(TD_INVAL, "is not a file");
    assert_int_equal(rmdir(file), 0);
    assert_int_equal(link(place.path, file), 0);
    expect_restore(TD_INVAL, "the database itself");
    assert_int_equal(count_of(place.path), 5);
}

/* Truncated at each page, a backup is refused each time. */
static void test_truncated_anywhere(void **state)
{
    (void)state;
    struct errinfo ei;
    const char *kept;
    struct stat st;
    make(200);
    backup_well(false);
    assert_int_equal(stat(file, &st), 0);
    for (off_t at = st.st_size - 4096; at > 0; at -= 4096 * 7) {
        assert_int_equal(truncate(file, at), 0);
        if (restore(true, &kept, &ei) != TD_STATE)
            fail_msg("at %lld: %s", (long long)at, ei.msg);
    }
    assert_int_equal(count_of(place.path), 200);
}

/* --- the other engine: rows into a file, rows out of one ----------------------------------------
 */

static void test_pg_there_and_back(void **state)
{
    (void)state;
    struct errinfo ei = {0};
    struct stat st;
    const char *kept;
    make(5);
    backup_well(false);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(left("-wal") + left("-shm") + left(".lock"), 0);
    assert_int_equal(count_of(file), 5);
    expect_restore(TD_STATE, "data of its own"); /* --force or not */
    expect_backup(TD_EXISTS, "exists");
    test_store_url(place.path, place.url); /* another database, empty */
    if (restore(false, &kept, &ei) != TD_OK)
        fail_msg("%s", ei.msg);
    assert_null(kept);
    assert_int_equal(count_of(place.path), 5);
    make(3);
    assert_int_equal(count_of(place.path), 8);
}

static bool stop_at_row(void *ctx, const struct store_step *step)
{
    (void)ctx;
    return step->phase != STORE_COPYING || strcmp(step->table, "audit") != 0;
}

static void test_pg_stopped(void **state)
{
    (void)state;
    const struct store_progress p = {stop_at_row, NULL};
    make(3);
    assert_int_equal(store_backup(&place.conf, file, false, &p, NULL), TD_GONE);
    assert_false(fs_exists(file));
    assert_int_equal(left(".partial"), 0);
    assert_int_equal(left("-wal") + left("-shm"), 0);
    backup_well(false);
    test_store_url(place.path, place.url);
    const char *kept;
    arena_auto a;
    arena_init(&a, 4096);
    assert_int_equal(store_restore(&place.conf, file, false, &p, &a, &kept, NULL), TD_GONE);
    struct store *s = NULL;
    assert_int_equal(store_open(&place.conf, &s, NULL), TD_STATE);
    assert_int_equal(store_restore(&place.conf, file, false, NULL, &a, &kept, NULL), TD_OK);
    assert_int_equal(count_of(place.path), 3);
}

static void test_pg_sources(void **state)
{
    (void)state;
    expect_backup(TD_STATE, "empty database");
    char keep[sizeof place.url];
    snprintf(keep, sizeof keep, "%s", place.url);
    test_pg_url("no_such_database", place.url);
    expect_backup(TD_DB, "does not exist");
    snprintf(place.url, sizeof place.url, "%s", keep);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    log_setup(LOG_ERROR, LOG_FORMAT_LOGFMT, 2);
    const struct CMUnitTest tests[] = {
        T(test_one_private_file),
        T(test_while_written),
        T(test_existing_file),
        T(test_bad_destinations),
        T(test_stopped),
        T(test_bad_sources),
        T(test_damaged_deep_inside),
        T(test_disk_full),
        T(test_there_and_back),
        T(test_into_nothing),
        T(test_log_of_a_killed_server),
        T(test_over_a_damaged_database),
        T(test_while_in_use),
        T(test_while_in_use_by_others),
        T(test_bad_files),
        T(test_truncated_anywhere),
    };
    const struct CMUnitTest pg_tests[] = {
        T(test_pg_there_and_back), T(test_while_written), T(test_existing_file),
        T(test_disk_full),         T(test_pg_stopped),    T(test_pg_sources),
    };
    if (test_on_pg())
        return cmocka_run_group_tests(pg_tests, crypt_setup, NULL);
    return cmocka_run_group_tests(tests, crypt_setup, NULL);
}
