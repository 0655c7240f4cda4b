/* A database copied into another: every row, from wherever it was interrupted, or a clear no. */
#include "store_test.h"

#include <signal.h>
#include <sys/wait.h>

#include "mdm/base/fs.h"
#include "mdm/base/hex.h"
#include "mdm/base/log.h"
#include "mdm/base/rng.h"
#include "mdm/store/copy.h"
#include "mdm/store/copy_sql.h"
#include "mdm/store/tool.h"

#define ROWS 5000 /* more than one transaction of the copy */

/* a table with a key of two columns, neither of them a number */
static const char u_ddl[] = "CREATE TABLE u (\n"
                            "    n BIGINT,\n"
                            "    b @BLOB@ NOT NULL,\n"
                            "    a TEXT NOT NULL,\n"
                            "    PRIMARY KEY (a, b)\n"
                            ");\n";

enum { U_INS, U_DEL_T, U_SET_T, U_INS_ID, U_MAX };

static const struct store_stmt u_stmts[U_MAX] = {
    [U_INS] = {"u.ins", "INSERT INTO u (a, b, n) VALUES (?1, ?2, ?3)", "tbI", ""},
    [U_DEL_T] = {"u.del_t", "DELETE FROM t WHERE k = ?1", "i", ""},
    [U_SET_T] = {"u.set_t", "UPDATE t SET txt = ?2 WHERE k = ?1", "it", ""},
    [U_INS_ID] = {"u.ins_id", "INSERT INTO t (k) VALUES (?1) RETURNING id", "i", "i"},
};

struct pair {
    struct place from, to;
    struct store_stmts sets[2];
};

static struct pair pair;
static bool from_pg, to_pg; /* the engines of this round */

static void side_init(struct place *p)
{
    place_init(p);
    if (!(p == &pair.from ? from_pg : to_pg))
        snprintf(p->url, sizeof p->url, "sqlite:%s", p->path);
    p->list[2] = (struct migration){3, "0003_u", (const uint8_t *)u_ddl,
                                    (const uint8_t *)u_ddl + sizeof u_ddl - 1};
    p->n = 3;
    pair.sets[0] = t_set;
    pair.sets[1] = (struct store_stmts){u_stmts, U_MAX};
    p->conf.sets = pair.sets;
    p->conf.nsets = 2;
    p->conf.sync_full = false;
}

/* Skips a test of what files alone can be. */
static void files_only(void)
{
    if (from_pg || to_pg)
        skip();
}

/* A place knows its own address. */
static void side_move(struct place *to, const struct place *from)
{
    *to = *from;
    to->conf.url = to->url;
}

static int setup(void **state)
{
    (void)state;
    side_init(&pair.from);
    side_init(&pair.to);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    place_end(&pair.from);
    place_end(&pair.to);
    return 0;
}

static enum td_err copy(const struct store_progress *p, struct errinfo *ei)
{
    memset(ei, 0, sizeof *ei);
    return copy_run(&pair.from.conf, &pair.to.conf, pair.from.list, pair.from.n, p, ei);
}

static void copy_well(void)
{
    struct errinfo ei;
    enum td_err e = copy(NULL, &ei);
    if (e != TD_OK)
        fail_msg("%s: %s", err_name(e), ei.msg);
}

static void expect(enum td_err want, const char *words)
{
    struct errinfo ei;
    enum td_err e = copy(NULL, &ei);
    if (e != want || !strstr(ei.msg, words))
        fail_msg("%s: %s", err_name(e), ei.msg);
}

/* --- what is in a source -----------------------------------------------------------------------
 */

static enum td_err fill_t(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const int64_t *range = ctx;
    char text[40];
    for (int64_t k = range[0]; k < range[1]; k++) {
        snprintf(text, sizeof text, "row \xc3\xa9 %lld", (long long)k);
        TD_TRY(tx_exec(tx, &t_stmts[T_INS],
                       SV_LIST(SV_INT(k), k % 3 ? SV_TEXT(text) : SV_NULL,
                               k % 2 ? SV_BLOB(span_of("\0\xff", 2)) : SV_NULL),
                       NULL, ei));
    }
    return TD_OK;
}

static void fill(struct store *s, int64_t from, int64_t to)
{
    int64_t range[] = {from, to};
    struct errinfo ei = {0};
    if (store_write(s, fill_t, range, &ei) != TD_OK)
        fail_msg("%s", ei.msg);
}

/* Keys that sort badly when one confuses text, bytes and their lengths. */
static enum td_err fill_u(struct tx *tx, void *ctx, struct errinfo *ei)
{
    static const char *const a[] = {"", "A", "a", "aa", "a b", "B", "\xc3\xa9", "z", "~"};
    static const struct span b[] = {SPAN_LIT(""),     SPAN_LIT("\0"),   SPAN_LIT("\0\0"),
                                    SPAN_LIT("\x7f"), SPAN_LIT("\x80"), SPAN_LIT("\xff\xff")};
    (void)ctx;
    for (size_t i = 0; i < TD_NITEMS(a); i++)
        for (size_t k = 0; k < TD_NITEMS(b); k++)
            TD_TRY(tx_exec(tx, &u_stmts[U_INS],
                           SV_LIST(SV_TEXT(a[i]), SV_BLOB(b[k]),
                                   k ? SV_INT(i % 2 ? INT64_MIN : INT64_MAX) : SV_NULL),
                           NULL, ei));
    return TD_OK;
}

static struct store *source(int64_t rows)
{
    struct store *s = place_open(&pair.from);
    fill(s, 0, rows);
    assert_int_equal(store_write(s, fill_u, NULL, NULL), TD_OK);
    return s;
}

static int64_t target_count(void)
{
    struct store *s = place_open(&pair.to);
    int64_t n = t_count(s);
    store_close(s);
    return n;
}

/* --- all of it -----------------------------------------------------------------------------------
 */

struct seen {
    unsigned copied, same, changed, calls;
    int64_t t_rows;
    char t_sum[MIGRATE_TEXT];
};

static bool see(void *ctx, const struct store_step *step)
{
    struct seen *s = ctx;
    s->calls++;
    s->copied += step->phase == STORE_COPIED;
    s->changed += step->phase == STORE_CHANGED;
    s->same += step->phase == STORE_SAME;
    if (step->phase == STORE_SAME && strcmp(step->table, "t") == 0) {
        s->t_rows = step->done;
        snprintf(s->t_sum, sizeof s->t_sum, "%s", step->digest);
    }
    return true;
}

static void test_every_row(void **state)
{
    (void)state;
    struct errinfo ei;
    struct seen seen = {0};
    const struct store_progress p = {see, &seen};
    store_close(source(ROWS));
    assert_int_equal(copy(&p, &ei), TD_OK);
    assert_int_equal(target_count(), ROWS);
    assert_int_equal(seen.t_rows, ROWS);
    assert_int_equal(seen.copied, seen.same);
    assert_true(seen.copied >= 15);
    /* back again: the digests are of the rows, not of the place */
    struct place old;
    side_move(&old, &pair.from);
    struct seen back = {0};
    const struct store_progress q = {see, &back};
    side_move(&pair.from, &pair.to);
    to_pg = !to_pg; /* on whatever it was before */
    side_init(&pair.to);
    to_pg = !to_pg;
    assert_int_equal(copy(&q, &ei), TD_OK);
    assert_string_equal(back.t_sum, seen.t_sum);
    place_end(&old);
}

static void test_empty_source(void **state)
{
    (void)state;
    store_close(place_open(&pair.from));
    copy_well();
    assert_int_equal(target_count(), 0);
}

static enum td_err insert_id(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct cur c;
    TD_TRY(tx_row(tx, &u_stmts[U_INS_ID], SV_LIST(SV_INT(*(int64_t *)ctx)), &c, ei));
    *(int64_t *)ctx = cur_int(&c, 0);
    cur_end(&c);
    return TD_OK;
}

static enum td_err delete_t(struct tx *tx, void *ctx, struct errinfo *ei)
{
    return tx_exec(tx, &u_stmts[U_DEL_T], SV_LIST(SV_INT(*(int64_t *)ctx)), NULL, ei);
}

/* The next key of the copy is one that was never given out, here or there. */
static void test_keys_go_on(void **state)
{
    (void)state;
    struct store *s = source(20);
    for (int64_t k = 15; k < 20; k++)
        assert_int_equal(store_write(s, delete_t, &k, NULL), TD_OK);
    store_close(s);
    copy_well();
    s = place_open(&pair.to);
    int64_t id = 1000;
    assert_int_equal(store_write(s, insert_id, &id, NULL), TD_OK);
    assert_int_equal(id, 21);
    store_close(s);
}

/* The same when every row is gone. */
static void test_keys_go_on_without_rows(void **state)
{
    (void)state;
    struct store *s = source(3);
    for (int64_t k = 0; k < 3; k++)
        assert_int_equal(store_write(s, delete_t, &k, NULL), TD_OK);
    store_close(s);
    copy_well();
    s = place_open(&pair.to);
    int64_t id = 1000;
    assert_int_equal(store_write(s, insert_id, &id, NULL), TD_OK);
    assert_int_equal(id, 4);
    store_close(s);
}

/* --- one snapshot ------------------------------------------------------------------------------
 */

static bool write_meanwhile(void *ctx, const struct store_step *step)
{
    struct store *s = ctx;
    static int64_t k = 100000;
    if (step->phase == STORE_COPIED) {
        int64_t gone = k - 100000;
        fill(s, k, k + 1);
        assert_int_equal(store_write(s, delete_t, &gone, NULL), TD_OK);
        k++;
    }
    return true;
}

static void test_snapshot_while_serving(void **state)
{
    (void)state;
    struct errinfo ei;
    struct store *s = source(100);
    const struct store_progress p = {write_meanwhile, s};
    assert_int_equal(copy(&p, &ei), TD_OK);
    assert_int_equal(target_count(), 100);
    store_close(s);
}

static bool nobody_opens(void *ctx, const struct store_step *step)
{
    struct store_conf conf = pair.from.conf;
    struct store *s = NULL;
    struct errinfo ei = {0};
    conf.use = STORE_SHARED;
    if (step->phase != STORE_COPIED)
        return true;
    if (store_open_with(&conf, pair.from.list, pair.from.n, &s, &ei) == TD_OK ||
        !strstr(ei.msg, "being copied"))
        fail_msg("%s", ei.msg);
    ++*(int *)ctx;
    return true;
}

/* A copy that wants the source for itself does not begin while a server has it open, and none opens
 * it before the copy ends. So with the target. */
static void test_alone(void **state)
{
    (void)state;
    int tried = 0;
    const struct store_progress p = {nobody_opens, &tried};
    struct errinfo ei;
    struct store *s = source(10);
    pair.from.conf.use = pair.to.conf.use = STORE_ALONE;
    expect(TD_STATE, from_pg ? "testudo serves" : "in use");
    store_close(s);
    pair.to.conf.use = STORE_SHARED;
    assert_int_equal(store_open_with(&pair.to.conf, pair.to.list, pair.to.n, &s, &ei), TD_OK);
    pair.to.conf.use = STORE_ALONE;
    expect(TD_STATE, to_pg ? "testudo serves" : "in use");
    store_close(s);
    if (copy(&p, &ei) != TD_OK)
        fail_msg("%s", ei.msg);
    assert_true(tried > 0);
    pair.from.conf.use = pair.to.conf.use = STORE_SHARED;
    assert_int_equal(target_count(), 10);
}

/* --- interrupted -------------------------------------------------------------------------------
 */

static bool stop_at(void *ctx, const struct store_step *step)
{
    unsigned *left = ctx;
    (void)step;
    return (*left)-- > 0;
}

/* Stopped at each of its steps once; the next run goes on, and nobody opens the copy meanwhile. */
static void test_stopped_everywhere(void **state)
{
    (void)state;
    struct errinfo ei;
    enum td_err e = TD_GONE;
    unsigned runs = 0;
    store_close(source(ROWS));
    for (unsigned n = 0; e == TD_GONE; n += test_on_pg() ? 9 : 1, runs++) {
        unsigned left = n;
        const struct store_progress p = {stop_at, &left};
        e = copy(&p, &ei);
        if (e == TD_OK)
            break;
        assert_int_equal(e, TD_GONE);
        struct store *s = NULL;
        struct errinfo no = {0};
        assert_int_equal(store_open_with(&pair.to.conf, pair.to.list, pair.to.n, &s, &no),
                         TD_STATE);
        assert_non_null(strstr(no.msg, "unfinished copy"));
    }
    assert_int_equal(e, TD_OK);
    assert_true(runs > (test_on_pg() ? 4 : 30));
    assert_int_equal(target_count(), ROWS);
}

static bool die_at(void *ctx, const struct store_step *step)
{
    unsigned *left = ctx;
    (void)step;
    if ((*left)-- == 0)
        kill(getpid(), SIGKILL);
    return true;
}

static bool killed_run(unsigned after)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct errinfo ei;
        const struct store_progress p = {die_at, &after};
        _exit(copy(&p, &ei) == TD_OK ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) || status == 0);
    return WIFSIGNALED(status);
}

static void test_killed(void **state)
{
    (void)state;
    store_close(source(ROWS));
    unsigned kills = 0;
    for (unsigned n = 1; killed_run(n); n += test_on_pg() ? 15 : 3)
        kills++;
    assert_true(kills > (test_on_pg() ? 2 : 10));
    assert_int_equal(target_count(), ROWS);
    expect(TD_STATE, "data of its own"); /* complete: no longer a copy to go on with */
}

/* Between two runs the source goes on living. */
static enum td_err change_source(struct tx *tx, void *ctx, struct errinfo *ei)
{
    (void)ctx;
    TD_TRY(tx_exec(tx, &u_stmts[U_DEL_T], SV_LIST(SV_INT(7)), NULL, ei));
    TD_TRY(tx_exec(tx, &u_stmts[U_SET_T], SV_LIST(SV_INT(8), SV_TEXT("new")), NULL, ei));
    return tx_exec(tx, &u_stmts[U_INS],
                   SV_LIST(SV_TEXT("0 first"), SV_BLOB(SPAN_LIT("x")), SV_NULL), NULL, ei);
}

static bool stop_when_all_copied(void *ctx, const struct store_step *step)
{
    (void)ctx;
    return step->phase != STORE_CHECKING;
}

static void test_source_changed_between_runs(void **state)
{
    (void)state;
    struct errinfo ei;
    struct store *s = source(ROWS);
    const struct store_progress p = {stop_when_all_copied, NULL};
    assert_int_equal(copy(&p, &ei), TD_GONE);
    assert_int_equal(store_write(s, change_source, NULL, NULL), TD_OK);
    fill(s, ROWS, ROWS + 10);
    store_close(s);
    struct seen seen = {0};
    const struct store_progress q = {see, &seen};
    assert_int_equal(copy(&q, &ei), TD_OK);
    assert_int_equal(seen.changed, 2); /* t and u */
    s = place_open(&pair.to);
    assert_int_equal(t_count(s), ROWS + 9);
    assert_false(t_has(s, 7));
    store_close(s);
}

/* --- somebody touches the copy -----------------------------------------------------------------
 */

static enum td_err tamper_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    return tx_exec(tx, ctx, NULL, 0, NULL, ei);
}

struct tamper {
    struct store_stmt st;
    bool done;
};

static bool tamper(void *ctx, const struct store_step *step)
{
    struct tamper *t = ctx;
    if (step->phase != STORE_CHECKING || t->done)
        return true;
    t->done = true;
    struct errinfo ei = {0};
    struct store_conf conf = pair.to.conf;
    conf.use = STORE_NOLOCK;
    struct tool tool;
    enum td_err e = tool_open(&tool, &conf, CONN_WRITE, &t->st, 1, &ei);
    if (e == TD_OK)
        e = tool_write(&tool, tamper_job, &t->st, &ei);
    if (e != TD_OK)
        fail_msg("%s", ei.msg);
    tool_close(&tool);
    return true;
}

static void test_altered_copy(void **state)
{
    (void)state;
    static const struct {
        const char *sql, *words;
    } cases[] = {
        {"UPDATE t SET txt = 'x' WHERE k = 4", "table t differs: 50 rows in the source, 50"},
        {"UPDATE t SET bin = NULL WHERE k = 5", "table t differs"},
        {"DELETE FROM t WHERE k = 4", "table t differs: 50 rows in the source, 49"},
        {"INSERT INTO t (k) VALUES (9999)", "table t differs: 50 rows in the source, 51"},
        {"UPDATE u SET n = 1 WHERE a = 'B'", "table u differs"},
        {"INSERT INTO push_outbox (enrollment_id, requested_at) VALUES ('x', 1)",
         "table push_outbox differs"},
    };
    for (size_t i = 0; i < TD_NITEMS(cases); i++) {
        struct errinfo ei;
        struct tamper t = {.st = {"tamper", cases[i].sql, "", ""}};
        const struct store_progress p = {tamper, &t};
        store_close(source(50));
        enum td_err e = copy(&p, &ei);
        if (e != TD_CONFLICT || !strstr(ei.msg, cases[i].words))
            fail_msg("%s: %s %s", cases[i].sql, err_name(e), ei.msg);
        struct store *s = NULL;
        assert_int_equal(store_open_with(&pair.to.conf, pair.to.list, pair.to.n, &s, NULL),
                         TD_STATE);
        copy_well(); /* once more mends it */
        assert_int_equal(target_count(), 50);
        teardown(NULL);
        setup(NULL);
    }
}

/* --- targets that are not taken ----------------------------------------------------------------
 */

static void fingerprint(const char *path, uint8_t out[static SHA256_SIZE])
{
    struct errinfo ei = {0};
    buf_auto b;
    if (fs_read(path, 64 << 20, &b, &ei) != TD_OK)
        fail_msg("%s", ei.msg);
    digest_sha256(buf_view(&b), out);
}

static void expect_untouched(enum td_err want, const char *words)
{
    uint8_t before[SHA256_SIZE] = {0}, after[SHA256_SIZE] = {0};
    if (!to_pg)
        fingerprint(pair.to.path, before);
    expect(want, words);
    if (!to_pg)
        fingerprint(pair.to.path, after);
    assert_memory_equal(before, after, SHA256_SIZE);
}

static void test_target_with_data(void **state)
{
    (void)state;
    store_close(source(5));
    struct store *s = place_open(&pair.to);
    fill(s, 1, 2);
    store_close(s);
    expect_untouched(TD_STATE, "data of its own (table t)");
}

static void test_target_empty_but_there(void **state)
{
    (void)state;
    store_close(source(5));
    store_close(place_open(&pair.to));
    copy_well();
    assert_int_equal(target_count(), 5);
}

static void test_target_older_and_empty(void **state)
{
    (void)state;
    store_close(source(5));
    pair.to.n = 1;
    pair.to.conf.nsets = 0;
    store_close(place_open(&pair.to));
    pair.to.n = 3;
    pair.to.conf.nsets = 2;
    copy_well();
    assert_int_equal(target_count(), 5);
}

static void test_target_newer(void **state)
{
    (void)state;
    pair.from.n = 2;
    struct store_stmts only_t[] = {t_set};
    pair.from.conf.sets = only_t;
    pair.from.conf.nsets = 1;
    store_close(place_open(&pair.from));
    store_close(place_open(&pair.to));
    expect_untouched(TD_STATE, "newer");
}

/* The source of an older version is copied as it is; the next start brings it up. */
static void test_source_older(void **state)
{
    (void)state;
    struct store_stmts only_t[] = {t_set};
    pair.from.n = 2;
    pair.from.conf.sets = only_t;
    pair.from.conf.nsets = 1;
    struct store *s = place_open(&pair.from);
    fill(s, 0, 3);
    store_close(s);
    pair.from.n = 3;
    copy_well();
    assert_int_equal(target_count(), 3);
}

static void test_target_is_copy_of_other(void **state)
{
    (void)state;
    struct errinfo ei;
    unsigned left = 5;
    const struct store_progress p = {stop_at, &left};
    store_close(source(5));
    assert_int_equal(copy(&p, &ei), TD_GONE);
    struct place first;
    side_move(&first, &pair.from);
    side_init(&pair.from);
    struct clock_fixed later;
    clock_fixed_init(&later, 4000000000);
    pair.from.conf.clock = &later.clock;
    store_close(source(5));
    expect_untouched(TD_STATE, "copy of another database");
    place_end(&first);
}

static void test_target_foreign(void **state)
{
    (void)state;
    static uint8_t junk[8192];
    store_close(source(5));
    if (to_pg) {
        struct tamper t = {.st = {"tamper", "CREATE TABLE other (a TEXT)", "", ""}};
        assert_true(tamper(&t, &(struct store_step){.phase = STORE_CHECKING}));
        t = (struct tamper){.st = {"tamper", "DROP TABLE schema_migrations", "", ""}};
        assert_true(tamper(&t, &(struct store_step){.phase = STORE_CHECKING}));
        expect(TD_STATE, "tables of another program");
        return;
    }
    memset(junk, 'x', sizeof junk);
    assert_int_equal(fs_write(pair.to.path, SPAN_ARR(junk), 0600, true, NULL), TD_OK);
    expect_untouched(TD_STATE, "damaged or not a database");
}

static void test_target_has_more_tables(void **state)
{
    (void)state;
    store_close(source(5));
    store_close(place_open(&pair.to));
    struct tamper t = {.st = {"tamper", "CREATE TABLE mine (a TEXT PRIMARY KEY NOT NULL)", "", ""}};
    assert_true(tamper(&t, &(struct store_step){.phase = STORE_CHECKING}));
    expect(TD_STATE, "table mine is not the same on both sides");
}

/* --- sources that are not taken ----------------------------------------------------------------
 */

static void test_bad_sources(void **state)
{
    (void)state;
    files_only();
    expect(TD_NOTFOUND, "there is no database at");
    assert_false(fs_exists(pair.to.path));
    assert_int_equal(fs_write(pair.from.path, SPAN_LIT(""), 0600, true, NULL), TD_OK);
    expect(TD_NOTFOUND, "there is no database at");
    assert_int_equal(fs_write(pair.from.path, SPAN_LIT("short"), 0600, true, NULL), TD_OK);
    expect(TD_STATE, "damaged or not a database");
    assert_int_equal(unlink(pair.from.path), 0);
    assert_int_equal(mkdir(pair.from.path, 0700), 0);
    struct errinfo ei;
    assert_int_not_equal(copy(NULL, &ei), TD_OK);
    assert_int_equal(rmdir(pair.from.path), 0);
    assert_false(fs_exists(pair.to.path));
}

static void test_source_newer(void **state)
{
    (void)state;
    store_close(source(5));
    pair.from.n = 2;
    expect(TD_STATE, "newer testudo");
    if (!to_pg)
        assert_false(fs_exists(pair.to.path));
}

static void test_source_unfinished(void **state)
{
    (void)state;
    struct errinfo ei;
    unsigned left = 5;
    const struct store_progress p = {stop_at, &left};
    store_close(source(5));
    assert_int_equal(copy(&p, &ei), TD_GONE);
    struct place old;
    side_move(&old, &pair.from);
    side_move(&pair.from, &pair.to);
    side_init(&pair.to);
    expect(TD_STATE, "itself an unfinished copy");
    place_end(&old);
}

static void test_onto_itself(void **state)
{
    (void)state;
    store_close(source(5));
    struct store_conf to = pair.from.conf;
    struct errinfo ei = {0};
    assert_int_equal(copy_run(&pair.from.conf, &to, pair.from.list, pair.from.n, NULL, &ei),
                     TD_STATE);
    to.use = STORE_ALONE;
    pair.from.conf.use = from_pg ? STORE_SHARED : STORE_ALONE;
    assert_int_equal(copy_run(&pair.from.conf, &to, pair.from.list, pair.from.n, NULL, &ei),
                     TD_STATE);
    pair.from.conf.use = STORE_SHARED;
    struct store *s = place_open(&pair.from);
    assert_int_equal(t_count(s), 5);
    store_close(s);
}

/* --- the digest --------------------------------------------------------------------------------
 */

/* The form is fixed: anybody can compute it. Made with Python's hashlib:
 * d = sha256(d + b"\x01" + (-2).to_bytes(8, "big", signed=True) + b"\x00" + b"\x02" +
 *            len(t).to_bytes(8, "big") + t + b"\x03" + len(b).to_bytes(8, "big") + b) */
static void test_digest_form(void **state)
{
    (void)state;
    const struct sval row[] = {SV_INT(-2), SV_NULL, SV_TEXT("t\xc3\xa9"),
                               SV_BLOB(SPAN_LIT("\0\1"))};
    struct copy_digest d;
    char sum[MIGRATE_TEXT];
    copy_digest_init(&d);
    for (int i = 0; i < 2; i++)
        assert_int_equal(copy_digest_row(&d, TD_NITEMS(row), row), TD_OK);
    hex_enc(SPAN_ARR(d.sum), sum);
    assert_string_equal(sum, "e2abe5973ac83c81dd317b94c07009fff8f6cee1cc07375103ea6f11ef01e2ee");
    assert_int_equal(d.rows, 2);
    copy_digest_free(&d);
}

static void test_page_sizes(void **state)
{
    (void)state;
    struct copy_page p = {.limit = 16, .bytes = 100};
    for (int i = 0; i < 10; i++)
        p.limit = copy_page_next(&p);
    assert_int_equal(p.limit, 256);
    p.bytes = 100 << 20;
    for (int i = 0; i < 10; i++)
        p.limit = copy_page_next(&p);
    assert_int_equal(p.limit, 1);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    log_setup(LOG_ERROR, LOG_FORMAT_LOGFMT, 2);
    const struct CMUnitTest tests[] = {
        T(test_every_row),
        T(test_empty_source),
        T(test_keys_go_on),
        T(test_keys_go_on_without_rows),
        T(test_snapshot_while_serving),
        T(test_stopped_everywhere),
        T(test_killed),
        T(test_source_changed_between_runs),
        T(test_altered_copy),
        T(test_alone),
        T(test_target_with_data),
        T(test_target_empty_but_there),
        T(test_target_older_and_empty),
        T(test_target_newer),
        T(test_source_older),
        T(test_target_is_copy_of_other),
        T(test_target_foreign),
        T(test_target_has_more_tables),
        T(test_bad_sources),
        T(test_source_newer),
        T(test_source_unfinished),
        T(test_onto_itself),
        T(test_digest_form),
        T(test_page_sizes),
    };
    if (!test_on_pg())
        return cmocka_run_group_tests(tests, crypt_setup, NULL);
    to_pg = true;
    int failed = cmocka_run_group_tests_name("to PostgreSQL", tests, crypt_setup, NULL);
    from_pg = true;
    to_pg = false;
    return failed + cmocka_run_group_tests_name("from PostgreSQL", tests, crypt_setup, NULL);
}
