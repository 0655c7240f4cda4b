/* The plans of every statement of the server, as the engines would run them: no table is walked
 * from end to end and nothing is sorted, but where `allowed` says why that does no harm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "mdm/base/log.h"
#include "mdm/crypt/digest.h"
#include "mdm/store/store_int.h"
#include "tests/unit/engine.h"
#include "web/server/server.h"

enum engine_bit { SQLITE = 1, POSTGRES = 2, BOTH = 3 };

#define ONE_DEVICE "sorts what belongs to one device"
#define FEW_RULES "at most POSTURE_RULES_MAX rows"
#define FEW_HOOKS "at most HOOK_ENDPOINTS_MAX rows"

/* `part` is in the line of the plan that is let pass. */
static struct {
    enum engine_bit engines;
    const char *stmt, *part, *why;
    enum engine_bit seen;
} allowed[] = {
    {BOTH, "token.count", "api_tokens", "a table that people fill by hand; asked by init alone", 0},
    {SQLITE, "core.ENR_REPLACED", "FOR ORDER BY", ONE_DEVICE, 0},
    {POSTGRES, "core.ENR_REPLACED", "Sort", ONE_DEVICE, 0},
    {SQLITE, "core.CMD_LAST_SENT", "FOR ORDER BY", ONE_DEVICE, 0},
    {POSTGRES, "core.CMD_LAST_SENT", "Sort", ONE_DEVICE, 0},
    {SQLITE, "core.CMD_LIST", "FOR ORDER BY", ONE_DEVICE, 0},
    {POSTGRES, "core.CMD_LIST", "Sort", ONE_DEVICE, 0},
    {SQLITE, "ca.records_of", "FOR ORDER BY", ONE_DEVICE, 0},
    {POSTGRES, "ca.records_of", "Sort", ONE_DEVICE, 0},
    {SQLITE, "ca.records_list_device", "FOR ORDER BY", ONE_DEVICE, 0},
    {POSTGRES, "ca.records_list_device", "Sort", ONE_DEVICE, 0},
    {SQLITE, "ca.change_of", "FOR ORDER BY", ONE_DEVICE, 0},
    {POSTGRES, "ca.change_of", "Sort", ONE_DEVICE, 0},
    {BOTH, "hook.count", "webhooks", FEW_HOOKS, 0},
    {SQLITE, "hook.queue", "SCAN q", "what the LIMIT in it lets through", 0},
    {BOTH, "hook.every", "webhooks", FEW_HOOKS, 0},
    {BOTH, "hook.sealed_two", "webhooks", FEW_HOOKS, 0},
    {BOTH, "hook.oldest_of_all", " w", FEW_HOOKS, 0},
    {BOTH, "hook.recover", "webhook_states", FEW_HOOKS, 0},
    {SQLITE, "hook.due", "SCAN w", FEW_HOOKS, 0},
    {SQLITE, "hook.due", "FOR ORDER BY", FEW_HOOKS, 0},
    {POSTGRES, "hook.due", "webhooks w", FEW_HOOKS, 0},
    {POSTGRES, "hook.due", "Sort", FEW_HOOKS, 0},
    {POSTGRES, "hook.list", "webhook_states s", FEW_HOOKS, 0},
    {BOTH, "ca.crl_changes_all", "crl_changes", "a row for each part of each CA's CRL", 0},
    {BOTH, "posture.RULES", "posture_rules", FEW_RULES, 0},
    {BOTH, "posture.RULES_N", "posture_rules", FEW_RULES, 0},
    {BOTH, "posture.CAME", "posture_nonces_came", "an index of what is to be verified", 0},
    {BOTH, "posture.RESTORE", "posture_devices_restore", "an index of what is to be restored", 0},
    {BOTH, "seal.keys", "seal_keys", "a row a key of the seal key file; asked at the start", 0},
};

/* Statements of the queue and the lists, and the index each must go by. A wrong one may read as
 * much as no index: all commands by number to find those of one device. */
static const struct {
    const char *stmt, *sqlite, *postgres;
} expected[] = {
    {"core.CMD_OPEN", "commands_queue", "commands_queue"},
    {"core.CMD_NEXT_SENT", "commands_queue", "commands_queue"},
    {"core.CMD_NEXT_FRESH", "commands_queue", "commands_queue"},
    {"core.CMD_NEXT_AGAIN", "commands_queue", "commands_queue"},
    {"core.CMD_REQUEUE", "commands_queue", "commands_queue"},
    {"core.CMD_LIST", "commands_queue", "commands_queue"},
    {"core.CMD_CLEAN", "commands_done", "commands_done"},
    {"core.CMD_PAGE", "commands_done", "commands_done"},
    {"core.WAITING_PAGE", "commands_waiting", "commands_waiting"},
    {"core.WAITING_CANCEL", "commands_waiting", "commands_waiting"},
    {"core.ENR_NEWEST", "enrollments_newest", "enrollments_newest"},
    {"core.VIEW_GET", "enrollments_newest", "enrollments_newest"},
    {"core.VIEW_LIST", "enrollments_newest", "enrollments_newest"},
    {"core.LEFT_PAGE", "enrollments_left", "enrollments_left"},
    {"core.PUSH_DUE", "push_due", "push_due"},
    {"attempt.list_of", "attempts_serial", "attempts_serial"},
    {"attempt.clean", "attempts_at", "attempts_at"},
    {"audit.clean", "audit_at", "audit_at"},
    {"outbox.clean", "outbox_at", "outbox_at"},
    {"outbox.clean_queue", "outbox_queue_seq", "outbox_queue_seq"},
    {"hook.events", "outbox_queue_order", "outbox_queue_order"},
    {"hook.queue", "outbox_queue_order", "outbox_queue_order"},
    {"hook.oldest", "outbox_queue_order", "outbox_queue_order"},
    {"ca.records_list_state", "certificates_status", "certificates_status"},
    {"ca.crl_list", "certificates_listed", "certificates_listed"},
    {"acme.EAB_PAGE", "eab_keys_secret", "eab_keys_secret"},
    {"ca.crl_list_ca", "certificates_listed", "certificates_listed"},
};

static struct store_stmts sets[64];
static size_t nsets;
static char dir[64], path[96];

/* --- judging --------------------------------------------------------------------------------- */

struct verdict {
    enum engine_bit engine;
    const struct store_stmt *st;
    size_t faults;
};

static void fault(struct verdict *v, const char *line)
{
    for (size_t i = 0; i < TD_NITEMS(allowed); i++)
        if ((allowed[i].engines & v->engine) && strcmp(allowed[i].stmt, v->st->name) == 0 &&
            strstr(line, allowed[i].part)) {
            allowed[i].seen |= v->engine;
            return;
        }
    v->faults++;
    print_error("%s %s: %s\n", v->engine == SQLITE ? "sqlite" : "postgres", v->st->name, line);
}

static void judge_index(struct verdict *v, const char *plan)
{
    for (size_t i = 0; i < TD_NITEMS(expected); i++) {
        const char *want = v->engine == SQLITE ? expected[i].sqlite : expected[i].postgres;
        if (strcmp(expected[i].stmt, v->st->name) == 0 && !strstr(plan, want)) {
            v->faults++;
            print_error("%s %s does not go by %s:\n%s\n",
                        v->engine == SQLITE ? "sqlite" : "postgres", v->st->name, want, plan);
        }
    }
}

static void judge_lists(enum engine_bit engine)
{
    for (size_t i = 0; i < TD_NITEMS(allowed); i++)
        if ((allowed[i].engines & engine) && !(allowed[i].seen & engine))
            fail_msg("%s (%s) needs no leave any more", allowed[i].stmt, allowed[i].part);
    for (size_t i = 0; i < TD_NITEMS(expected); i++) {
        bool found = false;
        for (size_t s = 0; s < nsets; s++)
            for (size_t k = 0; k < sets[s].n; k++)
                found |= strcmp(sets[s].stmts[k].name, expected[i].stmt) == 0;
        if (!found)
            fail_msg("no statement is called %s", expected[i].stmt);
    }
}

/* Runs `fn` for each statement; fails when any plan has a fault. */
static void judge_all(enum engine_bit engine, void (*fn)(struct verdict *v, void *db), void *db)
{
    size_t faults = 0, n = 0;
    for (size_t s = 0; s < nsets; s++)
        for (size_t k = 0; k < sets[s].n; k++, n++) {
            struct verdict v = {engine, &sets[s].stmts[k], 0};
            fn(&v, db);
            faults += v.faults;
        }
    assert_true(n > 50);
    assert_int_equal(faults, 0);
    judge_lists(engine);
}

/* --- SQLite ---------------------------------------------------------------------------------- */

static void plan_sqlite(struct verdict *v, void *db)
{
    buf_auto sql, plan;
    buf_init(&sql, 65536);
    buf_init(&plan, 65536);
    buf_printf(&sql, "EXPLAIN QUERY PLAN %s", v->st->sql);
    sqlite3_stmt *h = NULL;
    if (sqlite3_prepare_v2(db, buf_cstr(&sql), -1, &h, NULL) != SQLITE_OK)
        fail_msg("%s: %s", v->st->name, sqlite3_errmsg(db));
    while (sqlite3_step(h) == SQLITE_ROW) {
        const char *line = (const char *)sqlite3_column_text(h, 3);
        buf_printf(&plan, "  %s\n", line);
        bool scan = strncmp(line, "SCAN ", 5) == 0 && strcmp(line, "SCAN CONSTANT ROW") != 0;
        if (scan || strstr(line, "TEMP B-TREE"))
            fault(v, line);
    }
    sqlite3_finalize(h);
    judge_index(v, buf_cstr(&plan));
}

/* The schema, and every statement prepared: by the engine itself. */
static void make_schema(const char *url)
{
    struct store_conf conf = {.twice = test_twice(),
                              .url = url,
                              .readers = 1,
                              .batch = 1,
                              .queue = 1,
                              .sets = sets,
                              .nsets = nsets,
                              .clock = &clock_system};
    struct store *store = NULL;
    struct errinfo ei = {0};
    if (store_open(&conf, &store, &ei) != TD_OK)
        fail_msg("%s", ei.msg);
    store_close(store);
}

static void plans_sqlite(void **state)
{
    (void)state;
    char url[112];
    snprintf(url, sizeof url, "sqlite:%s", path);
    make_schema(url);
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    judge_all(SQLITE, plan_sqlite, db);
    sqlite3_close(db);
}

/* --- PostgreSQL ------------------------------------------------------------------------------ */

enum { ROWS = 20000 };

static PGresult *run(PGconn *pg, const char *sql)
{
    PGresult *r = PQexec(pg, sql);
    ExecStatusType s = PQresultStatus(r);
    if (s != PGRES_COMMAND_OK && s != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(pg));
    return r;
}

static void do_sql(PGconn *pg, const char *sql)
{
    PQclear(run(pg, sql));
}

/* What a column of the synthetic rows holds, where it is not a value of its own in each row. */
static const struct {
    const char *table, *column, *sql;
} fill[] = {
    {"commands", "state", "CASE WHEN i % 20 = 0 THEN 'queued' ELSE 'acknowledged' END"},
    {"commands", "enrollment_id", "'x' || (i % 1000 + 1)"},
    {"commands", "done_at", "CASE WHEN i % 20 = 0 THEN NULL ELSE i END"},
    {"enrollments", "state", "CASE WHEN i % 20 = 0 THEN 'removed' ELSE 'enrolled' END"},
    {"enrollments", "left_at", "CASE WHEN i % 20 = 0 THEN i END"},
    {"certificates", "status", "CASE WHEN i % 20 = 0 THEN 1 ELSE 0 END"},
    {"acme_orders", "status", "'valid'"},
    {"acme_accounts", "status", "'valid'"},
    {"posture_state", "id", "i + 1"},
    {"posture_devices", "restore", "CASE WHEN i % 1000 = 0 THEN 1 ELSE 0 END"},
};

static void value_of(struct buf *b, const char *table, const char *column, const char *type)
{
    for (size_t i = 0; i < TD_NITEMS(fill); i++)
        if (strcmp(fill[i].table, table) == 0 && strcmp(fill[i].column, column) == 0) {
            buf_str(b, fill[i].sql);
            return;
        }
    buf_str(b, strcmp(type, "text") == 0    ? "'x' || i"
               : strcmp(type, "bytea") == 0 ? "sha256(i::text::bytea)"
                                            : "i");
}

/* Rows for every table, whatever its columns: the n-th rows of all belong together. */
static void fill_tables(PGconn *pg)
{
    PGresult *r =
        run(pg, "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE "
                "table_schema = 'public' AND is_identity = 'NO' AND table_name NOT IN "
                "('schema_migrations', 'store_commits') ORDER BY table_name, "
                "ordinal_position");
    int n = PQntuples(r);
    for (int i = 0; i < n;) {
        buf_auto names, values, sql;
        buf_init(&names, 4096);
        buf_init(&values, 4096);
        buf_init(&sql, 16384);
        const char *table = PQgetvalue(r, i, 0);
        for (; i < n && strcmp(PQgetvalue(r, i, 0), table) == 0; i++) {
            buf_printf(&names, "%s%s", names.n ? ", " : "", PQgetvalue(r, i, 1));
            buf_str(&values, values.n ? ", " : "");
            value_of(&values, table, PQgetvalue(r, i, 1), PQgetvalue(r, i, 2));
        }
        buf_printf(&sql, "INSERT INTO %s (%s) SELECT %s FROM generate_series(1, %d) i", table,
                   buf_cstr(&names), buf_cstr(&values), ROWS);
        do_sql(pg, buf_cstr(&sql));
    }
    PQclear(r);
    do_sql(pg, "ANALYZE");
}

static bool is_node(const char *line)
{
    const char *p = line + strspn(line, " ");
    return p == line || strncmp(p, "->", 2) == 0;
}

/* A node of the plan is its line and the lines about it up to the next node's. */
static void judge_node(struct verdict *v, PGresult *r, int from, int to)
{
    const char *line = PQgetvalue(r, from, 0);
    bool bounded = false;
    for (int i = from + 1; i < to; i++)
        bounded |= strstr(PQgetvalue(r, i, 0), "Index Cond:") != NULL;
    bool by_index = strstr(line, "Index Scan") || strstr(line, "Index Only Scan");
    if (strstr(line, "Seq Scan") || strstr(line, "Sort") || (by_index && !bounded))
        fault(v, line);
}

static void plan_postgres(struct verdict *v, void *db)
{
    buf_auto sql, plan, args;
    buf_init(&sql, 65536);
    buf_init(&args, 4096);
    buf_init(&plan, 65536);
    buf_str(&sql, "PREPARE p");
    for (size_t i = 0; v->st->in[i]; i++) {
        char c = v->st->in[i];
        buf_printf(&sql, "%s%s", i ? ", " : " (",
                   c == 't' || c == 'T'   ? "text"
                   : c == 'i' || c == 'I' ? "bigint"
                                          : "bytea");
        buf_printf(&args, "%sNULL", i ? ", " : "(");
    }
    buf_printf(&sql, "%s AS ", v->st->in[0] ? ")" : "");
    for (const char *p = v->st->sql; *p; p++)
        buf_u8(&sql, *p == '?' ? '$' : (uint8_t)*p);
    do_sql(db, buf_cstr(&sql));
    buf_reset(&sql);
    buf_printf(&sql, "EXPLAIN (COSTS OFF) EXECUTE p%s%s", buf_cstr(&args), args.n ? ")" : "");
    PGresult *r = run(db, buf_cstr(&sql));
    int n = PQntuples(r), from = 0;
    for (int i = 0; i < n; i++)
        buf_printf(&plan, "  %s\n", PQgetvalue(r, i, 0));
    size_t before = v->faults;
    for (int i = 1; i <= n; i++)
        if (i == n || is_node(PQgetvalue(r, i, 0))) {
            judge_node(v, r, from, i);
            from = i;
        }
    if (v->faults > before)
        print_error("%s", buf_cstr(&plan));
    PQclear(r);
    judge_index(v, buf_cstr(&plan));
    do_sql(db, "DEALLOCATE p");
}

/* The settings that the engine gives each of its connections (mdm/store/pg_conn.c). */
#define ENGINE_SETTINGS                                                                            \
    "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET jit = off"

static void plans_postgres(void **state)
{
    (void)state;
    if (!secure_getenv("TD_TEST_PG")) {
        print_message("SKIP: no PostgreSQL cluster (TD_TEST_PG)\n");
        skip();
    }
    char url[TEST_URL_SIZE];
    test_pg_create(url);
    make_schema(url);
    PGconn *pg = PQconnectdb(url);
    if (PQstatus(pg) != CONNECTION_OK)
        fail_msg("%s", PQerrorMessage(pg));
    fill_tables(pg);
    do_sql(pg, ENGINE_SETTINGS);
    judge_all(POSTGRES, plan_postgres, pg);
    PQfinish(pg);
}

/* store_epoch goes by the statements that begin so: one that changes certificates in other words
 * would leave kept OCSP answers standing. */
static void status_is_watched(void **state)
{
    (void)state;
    struct stmt_table t;
    size_t watched = 0;
    assert_int_equal(stmt_table_init(&t, sets, nsets, NULL), TD_OK);
    for (size_t i = 0; i < t.n; i++) {
        const char *sql = t.list[i]->sql;
        bool reads = strncmp(sql, "SELECT", 6) == 0;
        bool adds = strncmp(sql, "INSERT INTO", 11) == 0 && !strstr(sql, "DO UPDATE");
        bool asks = strcmp(t.list[i]->name, "acme.CLEAN_EVIDENCE") == 0; /* and changes others */
        bool names = strstr(sql, "certificates") != NULL;
        if (t.status[i] != (names && !reads && !adds && !asks))
            fail_msg("%s: %s", t.list[i]->name, sql);
        watched += t.status[i];
    }
    assert_true(watched > 5);
    stmt_table_free(&t);
}

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/td-plans-XXXXXX");
    snprintf(path, sizeof path, "%s/db", mkdtemp(dir) ? dir : "");
    nsets = server_stmts(sets, TD_NITEMS(sets));
    return nsets <= TD_NITEMS(sets) && crypt_init(NULL) == TD_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    static const char *const tails[] = {"", "-wal", "-shm", ".lock"};
    for (size_t i = 0; i < TD_NITEMS(tails); i++) {
        char file[112];
        snprintf(file, sizeof file, "%s%s", path, tails[i]);
        unlink(file);
    }
    return rmdir(dir);
}

int main(void)
{
    log_setup(LOG_ERROR, LOG_FORMAT_LOGFMT, 2);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_is_watched),
        cmocka_unit_test(plans_sqlite),
        cmocka_unit_test(plans_postgres),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
