#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../engine.h"
#include "mdm/base/limits.h"
#include "mdm/base/log.h"
#include "mdm/crypt/digest.h"
#include "mdm/inventory/devices.h"
#include "mdm/store/audit.h"

static char dir[64], url[TEST_URL_SIZE];
static struct store *store;
static struct event_bus bus;
static struct clock_fixed now;
static struct rng_seeded seeded;
static struct inventory inv;

static struct {
    int calls;
    char serial[80], txn[RNG_ID_SIZE], actor[20];
    int64_t now;
    enum td_err answer;
} heard;

static const struct store_stmt own[] = {
    {"test.audit", "SELECT count(*) FROM audit WHERE action = ?1", "t", "i"},
    {"test.txn", "SELECT count(*) FROM audit WHERE txn = ?1", "t", "i"},
    {"test.count", "SELECT count(*) FROM inv_devices", "", "i"},
};

static enum td_err on_leaving(void *ctx, const void *payload, struct errinfo *ei)
{
    (void)ctx;
    const struct inv_event *l = payload;
    heard.calls++;
    snprintf(heard.serial, sizeof heard.serial, "%s", l->serial);
    snprintf(heard.txn, sizeof heard.txn, "%s", l->txn);
    snprintf(heard.actor, sizeof heard.actor, "%s", l->actor);
    heard.now = l->now;
    TD_TRY(audit_add(l->tx, l->now, l->txn, l->actor, "certificates.revoke", l->serial, "", ei));
    return heard.answer == TD_OK ? TD_OK : err_set(ei, heard.answer, "no");
}

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/td-inv-XXXXXX");
    assert_non_null(mkdtemp(dir));
    char file[100];
    snprintf(file, sizeof file, "%s/t.db", dir);
    test_store_url(file, url);
    const struct store_stmts sets[] = {
        inventory_stmts, audit_stmts, outbox_stmts, {own, TD_NITEMS(own)}};
    const struct store_conf conf = {.twice = test_twice(),
                                    .url = url,
                                    .readers = 2,
                                    .batch = 16,
                                    .queue = 64,
                                    .sets = sets,
                                    .nsets = TD_NITEMS(sets),
                                    .clock = &clock_system};
    struct errinfo ei = {0};
    if (store_open(&conf, &store, &ei) != TD_OK)
        fail_msg("%s", ei.msg);
    event_bus_init(&bus);
    memset(&heard, 0, sizeof heard);
    assert_int_equal(event_subscribe(&bus, EVENT_DEVICE_LEAVING, on_leaving, NULL), TD_OK);
    clock_fixed_init(&now, 1000);
    rng_seeded_init(&seeded, 7);
    inv = (struct inventory){store, &bus, &now.clock, &seeded.rng};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    store_close(store);
    static const char *const names[] = {"t.db", "t.db-wal", "t.db-shm"};
    char path[96];
    for (size_t i = 0; i < TD_NITEMS(names); i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
    return 0;
}

/* --- short forms -------------------------------------------------------------------------------
 */

struct query {
    const struct store_stmt *st;
    const char *arg;
    int64_t n;
};

static enum td_err query_fn(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct query *q = ctx;
    struct cur c;
    TD_TRY(tx_row(tx, q->st, (const struct sval[]){SV_TEXT(q->arg)}, q->arg ? 1 : 0, &c, ei));
    q->n = cur_int(&c, 0);
    cur_end(&c);
    return TD_OK;
}

static int64_t count(int which, const char *arg)
{
    struct query q = {.st = &own[which], .arg = arg};
    assert_int_equal(store_read(store, query_fn, &q, NULL), TD_OK);
    return q.n;
}

struct get {
    const char *serial;
    struct arena *a;
    struct inv_device d;
};

static enum td_err get_fn(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct get *g = ctx;
    return inv_get(tx, g->serial, g->a, &g->d, ei);
}

static enum td_err get(const char *serial, struct arena *a, struct inv_device *ret)
{
    struct get g = {.serial = serial, .a = a};
    enum td_err e = store_read(store, get_fn, &g, NULL);
    *ret = g.d;
    return e;
}

static enum td_err put(const char *serial, const char *name, int64_t if_match, int64_t *ret_rev,
                       bool *ret_created, struct errinfo *ei)
{
    const struct inv_device d = {.serial = serial, .name = name, .source = "api"};
    return inv_put(&inv, &d, if_match, "admin", ret_rev, ret_created, ei);
}

static void put_new(const char *serial, const char *name)
{
    int64_t rev;
    bool created;
    assert_int_equal(put(serial, name, 0, &rev, &created, NULL), TD_OK);
    assert_true(created && rev == 1);
}

/* --- one device --------------------------------------------------------------------------------
 */

static void test_put_get(void **state)
{
    (void)state;
    arena_auto a;
    arena_init(&a, 1 << 16);
    struct inv_device d;
    assert_int_equal(get("S1", &a, &d), TD_NOTFOUND);
    const struct inv_device in = {.serial = "S1",
                                  .name = "Desk \xc3\xa9",
                                  .model = "iPhone17,1",
                                  .owner = "ana",
                                  .source = "api"};
    int64_t rev;
    bool created;
    assert_int_equal(inv_put(&inv, &in, -1, "admin", &rev, &created, NULL), TD_OK);
    assert_true(created);
    assert_int_equal(rev, 1);
    assert_int_equal(get("S1", &a, &d), TD_OK);
    assert_string_equal(d.serial, "S1");
    assert_string_equal(d.name, "Desk \xc3\xa9");
    assert_string_equal(d.model, "iPhone17,1");
    assert_string_equal(d.owner, "ana");
    assert_string_equal(d.source, "api");
    assert_int_equal(d.rev, 1);
    assert_int_equal(d.created_at, 1000);
    assert_int_equal(d.updated_at, 1000);
    assert_int_equal(get("s1", &a, &d), TD_NOTFOUND); /* case is kept */
}

static void test_rev(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int64_t if_match;
        enum td_err want;
        int64_t rev;
    } steps[] = {
        {"a", 1, TD_CONFLICT, 0},             /* not there yet */
        {"a", INV_IF_LISTED, TD_CONFLICT, 0}, /* nor is there anything to change */
        {"a", 0, TD_OK, 1},                   /* create only */
        {"a", 0, TD_CONFLICT, 0},             /* again */
        {"a", -1, TD_OK, 1},                  /* equal: nothing changes */
        {"a", 1, TD_OK, 1},                   /* equal, with the right rev */
        {"b", 1, TD_OK, 2},                   /* seen and changed */
        {"c", 1, TD_CONFLICT, 0},             /* seen before the change */
        {"c", 3, TD_CONFLICT, 0},             /* from the future */
        {"c", -1, TD_OK, 3},                  /* whatever is there */
        {"", INV_IF_LISTED, TD_OK, 4},        /* emptied */
        {NULL, -1, TD_OK, 4},                 /* NULL is empty */
    };
    for (size_t i = 0; i < TD_NITEMS(steps); i++) {
        struct errinfo ei = {0};
        int64_t rev = 0;
        bool created = false;
        enum td_err e = put("S1", steps[i].name, steps[i].if_match, &rev, &created, &ei);
        if (e != steps[i].want || rev != steps[i].rev || created != (i == 2))
            fail_msg("step %zu: %s rev %d", i, err_name(e), (int)rev);
        if (e == TD_CONFLICT)
            assert_int_equal(ei.http, 412);
    }
    assert_int_equal(count(0, "inventory.create"), 1);
    assert_int_equal(count(0, "inventory.update"), 3);
}

static void test_put_refused(void **state)
{
    (void)state;
    char long_name[INV_TEXT_MAX + 2], long_serial[LIMIT_SERIAL + 2];
    memset(long_name, 'n', sizeof long_name);
    long_name[INV_TEXT_MAX + 1] = '\0';
    memset(long_serial, 'S', sizeof long_serial);
    long_serial[LIMIT_SERIAL + 1] = '\0';
    const struct {
        const char *serial, *name, *reason;
    } cases[] = {
        {NULL, "", "invalid-serial"},       {"", "", "invalid-serial"},
        {"A B", "", "invalid-serial"},      {"A/B", "", "invalid-serial"},
        {"A%41", "", "invalid-serial"},     {"A\\", "", "invalid-serial"},
        {"A\"", "", "invalid-serial"},      {"A'", "", "invalid-serial"},
        {"A\x7f", "", "invalid-serial"},    {"A\n", "", "invalid-serial"},
        {"\xc3\xa9", "", "invalid-serial"}, {long_serial, "", "invalid-serial"},
        {"A", "x\ny", "invalid-text"},      {"A", "\xff", "invalid-text"},
        {"A", "\xc2\x80", "invalid-text"},  {"A", long_name, "invalid-text"},
    };
    for (size_t i = 0; i < TD_NITEMS(cases); i++) {
        struct errinfo ei = {0};
        int64_t rev;
        bool created;
        enum td_err e = put(cases[i].serial, cases[i].name, -1, &rev, &created, &ei);
        if (e != TD_INVAL || !ei.reason || strcmp(ei.reason, cases[i].reason) != 0)
            fail_msg("case %zu: %s", i, err_name(e));
    }
    long_name[INV_TEXT_MAX] = '\0';
    long_serial[LIMIT_SERIAL] = '\0';
    put_new(long_serial, long_name);
    assert_int_equal(count(2, NULL), 1);
}

/* --- leaving -----------------------------------------------------------------------------------
 */

static void test_delete(void **state)
{
    (void)state;
    put_new("S1", "a");
    put_new("S2", "b");
    struct errinfo ei = {0};
    assert_int_equal(inv_delete(&inv, "S3", -1, "admin", &ei), TD_NOTFOUND);
    assert_int_equal(inv_delete(&inv, "", -1, "admin", &ei), TD_NOTFOUND);
    assert_int_equal(inv_delete(&inv, "\xff", -1, "admin", &ei), TD_NOTFOUND);
    assert_int_equal(inv_delete(&inv, "S1", 2, "admin", &ei), TD_CONFLICT);
    assert_int_equal(ei.http, 412);
    assert_int_equal(heard.calls, 0);
    now.at = 2000;
    assert_int_equal(inv_delete(&inv, "S1", 1, "admin", &ei), TD_OK);
    assert_int_equal(heard.calls, test_runs(1));
    assert_string_equal(heard.serial, "S1");
    assert_string_equal(heard.actor, "admin");
    assert_int_equal(heard.now, 2000);
    assert_int_equal(count(1, heard.txn), 2); /* the deletion and what it caused */
    assert_int_equal(count(0, "inventory.delete"), 1);
    assert_int_equal(count(2, NULL), 1);
    assert_int_equal(inv_delete(&inv, "S1", -1, "admin", &ei), TD_NOTFOUND);
    put_new("S1", "again");
}

/* A subscriber that cannot do its part undoes the whole. */
static void test_delete_undone(void **state)
{
    (void)state;
    put_new("S1", "a");
    heard.answer = TD_DB;
    struct errinfo ei = {0};
    assert_int_equal(inv_delete(&inv, "S1", -1, "admin", &ei), TD_DB);
    assert_string_equal(ei.msg, "no");
    assert_int_equal(heard.calls, test_runs(1));
    assert_int_equal(count(2, NULL), 1);
    assert_int_equal(count(0, "inventory.delete"), 0);
    assert_int_equal(count(0, "certificates.revoke"), 0);
}

/* --- pages -------------------------------------------------------------------------------------
 */

struct page {
    const char *after;
    size_t max;
    struct arena *a;
    struct inv_device *list;
    size_t n;
};

static enum td_err list_fn(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct page *p = ctx;
    return inv_list(tx, p->after, p->max, p->a, &p->list, &p->n, ei);
}

static void test_list(void **state)
{
    (void)state;
    static const char *const serials[] = {"B", "a", "A", "AA", "Z"}; /* in byte order: A AA B Z a */
    for (size_t i = 0; i < TD_NITEMS(serials); i++)
        put_new(serials[i], "n");
    arena_auto a;
    arena_init(&a, 1 << 20);
    struct page p = {.after = "", .max = 2, .a = &a};
    char got[32] = "";
    size_t at = 0;
    for (;;) {
        assert_int_equal(store_read(store, list_fn, &p, NULL), TD_OK);
        if (p.n == 0)
            break;
        assert_true(p.n <= 2);
        for (size_t i = 0; i < p.n; i++)
            at += (size_t)snprintf(got + at, sizeof got - at, "%s ", p.list[i].serial);
        p.after = p.list[p.n - 1].serial;
    }
    assert_string_equal(got, "A AA B Z a ");
    p = (struct page){.after = "", .max = 0, .a = &a};
    assert_int_equal(store_read(store, list_fn, &p, NULL), TD_OK);
    assert_int_equal(p.n, 0);
    p = (struct page){.after = "", .max = LIMIT_PAGE_MAX + 1, .a = &a};
    assert_int_equal(store_read(store, list_fn, &p, NULL), TD_OK);
    assert_int_equal(p.n, 5);
}

/* --- import ------------------------------------------------------------------------------------
 */

static void import_is(const char *csv, size_t created, size_t changed, size_t unchanged)
{
    struct inv_import r;
    struct errinfo ei = {0};
    if (inv_import_csv(&inv, span_str(csv), "csv", "admin", &r, &ei) != TD_OK)
        fail_msg("%s: %s", csv, ei.msg);
    assert_int_equal(r.created, created);
    assert_int_equal(r.changed, changed);
    assert_int_equal(r.unchanged, unchanged);
    assert_int_equal(r.line, 0);
}

static void rev_is(const char *serial, int64_t rev, const char *name, const char *owner)
{
    arena_auto a;
    arena_init(&a, 4096);
    struct inv_device d;
    assert_int_equal(get(serial, &a, &d), TD_OK);
    assert_int_equal(d.rev, rev);
    assert_string_equal(d.name, name);
    assert_string_equal(d.owner, owner);
}

static void test_import(void **state)
{
    (void)state;
    import_is("serial\n", 0, 0, 0);
    import_is("serial,name,model,owner\r\nA,a,m,ana\r\nB,b,m,bob\r\n", 2, 0, 0);
    import_is("serial,name,model,owner\r\nA,a,m,ana\r\nB,b,m,bob\r\n", 0, 0, 2);
    rev_is("A", 1, "a", "ana");
    import_is("serial,name\nA,a2\nC,\"c \"\"3\"\"\"\n", 1, 1, 0);
    rev_is("A", 2, "a2", "ana"); /* no column owner: what is stored stays */
    rev_is("B", 1, "b", "bob");  /* not in the file: stays */
    rev_is("C", 1, "c \"3\"", "");
    import_is("serial\nA\nB\nC\n", 0, 0, 3);
    import_is("serial,owner\nA,\n", 0, 1, 0); /* an empty field empties */
    rev_is("A", 3, "a2", "");
    assert_int_equal(count(0, "inventory.create"), 3);
    assert_int_equal(count(0, "inventory.update"), 2);
    assert_int_equal(count(0, "inventory.import"), 6);
    assert_int_equal(heard.calls, 0);
}

/* What the API wrote becomes the file's: the source is part of the row. */
static void test_import_takes_over(void **state)
{
    (void)state;
    put_new("A", "a");
    import_is("serial,name\nA,a\n", 0, 1, 0);
    import_is("serial,name\nA,a\n", 0, 0, 1);
}

static void test_import_all_or_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *csv, *source;
        enum td_err want;
        size_t line;
    } cases[] = {
        {"serial,name\nA,a\nB,b\n\"C,c\n", "csv", TD_PARSE, 4},
        {"serial,name\nA,a\nB,b\nC C,c\n", "csv", TD_INVAL, 4},
        {"serial,name\nA,a\nB,b\nA,c\n", "csv", TD_INVAL, 4},
        {"", "csv", TD_PARSE, 1},
        {"serial\nA\n", "", TD_INVAL, 0},
        {"serial\nA\n", "a name of a source that is far too long", TD_INVAL, 0},
    };
    for (size_t i = 0; i < TD_NITEMS(cases); i++) {
        struct inv_import r;
        struct errinfo ei = {0};
        enum td_err e =
            inv_import_csv(&inv, span_str(cases[i].csv), cases[i].source, "admin", &r, &ei);
        if (e != cases[i].want || r.line != cases[i].line)
            fail_msg("case %zu: %s line %zu: %s", i, err_name(e), r.line, ei.msg);
        assert_int_equal(count(2, NULL), 0);
    }
    assert_int_equal(count(0, "inventory.create"), 0);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

static int crypt_setup(void **state)
{
    (void)state;
    return crypt_init(NULL) == TD_OK ? 0 : -1;
}

int main(void)
{
    log_setup(LOG_ERROR, LOG_FORMAT_LOGFMT, 2);
    const struct CMUnitTest tests[] = {
        T(test_put_get),
        T(test_rev),
        T(test_put_refused),
        T(test_delete),
        T(test_delete_undone),
        T(test_list),
        T(test_import),
        T(test_import_takes_over),
        T(test_import_all_or_nothing),
    };
    return cmocka_run_group_tests(tests, crypt_setup, NULL);
}
