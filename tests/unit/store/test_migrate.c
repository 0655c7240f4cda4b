#include "store_test.h"

#include <fcntl.h>
#include <sys/wait.h>

#include "mdm/base/fs.h"
#include "mdm/base/log.h"

static struct place place;

static int setup(void **state)
{
    (void)state;
    place_init(&place);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    place_end(&place);
    return 0;
}

static struct migration sql(int64_t version, const char *name, const char *text)
{
    const uint8_t *p = (const uint8_t *)text;
    return (struct migration){version, name, p, p + strlen(text)};
}

static enum td_err try_open(struct errinfo *ei)
{
    struct store *s = NULL;
    memset(ei, 0, sizeof *ei);
    enum td_err e = store_open_with(&place.conf, place.list, place.n, &s, ei);
    store_close(s);
    return e;
}

/* Every relation by its storage, and the migrations on record. */
static void pg_fingerprint(uint8_t out[static SHA256_SIZE])
{
    PGconn *c = PQconnectdb(place.url);
    PGresult *r =
        PQexec(c, "SELECT (SELECT string_agg(relname || relfilenode, ' ' ORDER BY relname) FROM "
                  "pg_class WHERE relnamespace = 'public'::regnamespace) || (SELECT "
                  "string_agg(m::text, ' ' ORDER BY version) FROM schema_migrations m)");
    assert_int_equal(PQresultStatus(r), PGRES_TUPLES_OK);
    digest_sha256(span_str(PQgetvalue(r, 0, 0)), out);
    PQclear(r);
    PQfinish(c);
}

/* The bytes of the database file, as a digest. */
static void fingerprint(uint8_t out[static SHA256_SIZE])
{
    struct errinfo ei = {0};
    if (test_on_pg()) {
        pg_fingerprint(out);
        return;
    }
    buf_auto b;
    if (fs_read(place.path, 64 << 20, &b, &ei) != TD_OK)
        fail_msg("%s", ei.msg);
    digest_sha256(buf_view(&b), out);
}

/* Opens, expects TD_STATE with these words, and nothing touched. */
static void expect_refused(const char *words)
{
    uint8_t before[SHA256_SIZE], after[SHA256_SIZE];
    struct errinfo ei;
    fingerprint(before);
    enum td_err e = try_open(&ei);
    fingerprint(after);
    if (e != TD_STATE || !strstr(ei.msg, words))
        fail_msg("%s: %s", err_name(e), ei.msg);
    assert_memory_equal(before, after, SHA256_SIZE);
}

static void test_again_is_nothing(void **state)
{
    (void)state;
    uint8_t before[SHA256_SIZE], after[SHA256_SIZE];
    struct errinfo ei;
    assert_int_equal(try_open(&ei), TD_OK);
    fingerprint(before);
    assert_int_equal(try_open(&ei), TD_OK);
    fingerprint(after);
    assert_memory_equal(before, after, SHA256_SIZE);
}

static void test_newer_is_refused(void **state)
{
    (void)state;
    struct errinfo ei;
    place.list[2] = sql(3, "0003_more", "CREATE TABLE more (\n    a TEXT NOT NULL\n);\n");
    place.n = 3;
    assert_int_equal(try_open(&ei), TD_OK);
    place.n = 2;
    expect_refused("newer testudo");
    place.n = 3;
    assert_int_equal(try_open(&ei), TD_OK);
}

static void test_upgrade_keeps_rows(void **state)
{
    (void)state;
    struct store *s = place_open(&place);
    int64_t k = 5;
    assert_int_equal(store_write(s, t_insert, &k, NULL), TD_OK);
    store_close(s);
    place.list[2] = sql(3, "0003_more", "ALTER TABLE t ADD COLUMN extra TEXT;\n");
    place.n = 3;
    s = place_open(&place);
    assert_true(t_has(s, 5));
    store_close(s);
}

static void test_changed_is_refused(void **state)
{
    (void)state;
    struct errinfo ei;
    assert_int_equal(try_open(&ei), TD_OK);
    struct migration good = place.list[1];
    place.list[1] = sql(2, good.name, T_DDL " ");
    expect_refused("not the one of this program");
    place.list[1] = good;
    place.list[1].name = "0002_other";
    expect_refused("not the one of this program");
    place.list[1] = good;
    place.list[1].version = 4;
    expect_refused("lacks migration");
}

/* A migration that fails half-way leaves nothing of itself. */
static void test_failing_migration(void **state)
{
    (void)state;
    struct errinfo ei;
    place.list[2] = sql(3, "0003_bad",
                        "CREATE TABLE half (\n    a TEXT NOT NULL\n);\n"
                        "INSERT INTO half VALUES ('x');\nINSERT INTO nowhere VALUES (1);\n");
    place.n = 3;
    assert_int_not_equal(try_open(&ei), TD_OK);
    assert_non_null(strstr(ei.msg, "nowhere"));
    place.list[2] = sql(3, "0003_good", "CREATE TABLE half (\n    a TEXT NOT NULL\n);\n");
    assert_int_equal(try_open(&ei), TD_OK);
}

static void write_file(struct span content)
{
    struct errinfo ei = {0};
    if (fs_write(place.path, content, 0600, true, &ei) != TD_OK)
        fail_msg("%s", ei.msg);
}

static void test_damaged_file(void **state)
{
    (void)state;
    sqlite_only();
    static uint8_t junk[8192];
    memset(junk, 'x', sizeof junk);
    write_file(SPAN_ARR(junk));
    expect_refused("damaged");
    write_file(SPAN_LIT("short"));
    expect_refused("damaged");
}

static void test_truncated_file(void **state)
{
    (void)state;
    sqlite_only();
    struct errinfo ei;
    assert_int_equal(try_open(&ei), TD_OK);
    assert_int_equal(truncate(place.path, 4096 + 100), 0);
    assert_int_not_equal(try_open(&ei), TD_OK);
    assert_true(ei.msg[0] != '\0');
}

/* A database with the layout of one, but made by somebody else. */
static void test_foreign_database(void **state)
{
    (void)state;
    sqlite_only();
    struct errinfo ei;
    assert_int_equal(try_open(&ei), TD_OK);
    buf_auto b;
    assert_int_equal(fs_read(place.path, 64 << 20, &b, &ei), TD_OK);
    b.p[71] ^= 1; /* application_id: file format, section 1.3 */
    write_file(buf_view(&b));
    expect_refused("another program");
    memset(b.p + 68, 0, 4);
    write_file(buf_view(&b));
    expect_refused("another program");
}

static void test_empty_file_is_new(void **state)
{
    (void)state;
    sqlite_only();
    struct errinfo ei;
    write_file(span_of(NULL, 0));
    assert_int_equal(try_open(&ei), TD_OK);
}

/* Several processes start at once on no database: each of them comes up. */
static void test_race(void **state)
{
    (void)state;
    pid_t pids[4];
    for (size_t i = 0; i < TD_NITEMS(pids); i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            struct errinfo ei;
            enum td_err e = try_open(&ei);
            if (e != TD_OK)
                fprintf(stderr, "%s: %s\n", err_name(e), ei.msg);
            _exit(e == TD_OK ? 0 : 1);
        }
    }
    for (size_t i = 0; i < TD_NITEMS(pids); i++) {
        int status;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    struct store *s = place_open(&place);
    assert_int_equal(t_count(s), 0);
    store_close(s);
}

/* What is embedded is what is in the tree now. */
static void test_embedded(void **state)
{
    (void)state;
    struct errinfo ei = {0};
    for (size_t i = 0; i < store_nmigrations; i++) {
        const struct migration *m = &store_migrations[i];
        assert_int_equal(m->version, i + 1);
        char path[300];
        int root = (int)(sizeof TD_VECTORS - sizeof "tests/vectors");
        snprintf(path, sizeof path, "%.*smdm/store/migrations/%s.sql", root, TD_VECTORS, m->name);
        if (!fs_exists(path))
            skip();
        buf_auto b;
        assert_int_equal(fs_read(path, 1 << 20, &b, &ei), TD_OK);
        assert_true(span_eq(buf_view(&b), span_of(m->from, (size_t)(m->to - m->from))));
    }
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    log_setup(LOG_ERROR, LOG_FORMAT_LOGFMT, 2);
    const struct CMUnitTest tests[] = {
        T(test_again_is_nothing),   T(test_newer_is_refused),
        T(test_upgrade_keeps_rows), T(test_changed_is_refused),
        T(test_failing_migration),  T(test_damaged_file),
        T(test_truncated_file),     T(test_foreign_database),
        T(test_empty_file_is_new),  T(test_race),
        T(test_embedded),
    };
    return cmocka_run_group_tests(tests, crypt_setup, NULL);
}
