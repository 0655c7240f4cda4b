#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <unistd.h>

#include "mdm/base/log.h"
#include "mdm/crypt/digest.h"
#include "mdm/store/audit.h"
#include "tests/unit/engine.h"
#include "web/server/clean.h"
#include "web/server/server.h"

#define NOW 1800000000
#define ENR_COLUMNS                                                                                \
    "INSERT INTO enrollments (id, serial, cert_sha256, state, topic, awaiting, tally, "            \
    "device_name, model, product, os_version, build, authenticate, authenticated_at, "             \
    "last_seen_at, left_at) VALUES (?1, ?1, ?2, "
#define ENR_REST ", 't', 0, 1, '', '', '', '', '', ?2, 1, 1, "
#define CMD_COLUMNS                                                                                \
    "INSERT INTO commands (uuid, enrollment_id, request_type, body, state, notnow_count, "         \
    "created_by, created_at, done_at) VALUES ("
#define CERT_COLUMNS                                                                               \
    "INSERT INTO certificates (serial, device_serial, profile, purpose, sha256, spki_sha256, "     \
    "der, not_before, status, created_at, evidence_id, not_after) VALUES (?2, ?1, 'p', 'access', " \
    "?2, ?2, ?2, 1, 0, 1, "
#define IN "tbi"
/* One cleaner: how a row with key ?1 (?2 as bytes) and time ?3 comes about, another row that keeps
 * it, a row that has no end, and the keys of what is left. */
struct spec {
    const char *name, *insert, *keep, *endless, *left;
};

static const struct spec specs[] = {
    {"waiting", CMD_COLUMNS "?1, 'e', 't', ?2, 'queued', 0, '', ?3, NULL)", NULL,
     /* finished: not waiting however old */
     CMD_COLUMNS "?1, 'e', 't', ?2, 'error', 0, '', 1, ?3)",
     "SELECT uuid FROM commands WHERE done_at IS NULL OR state <> 'cancelled' ORDER BY uuid"},
    {"commands", CMD_COLUMNS "?1, 'e', 't', ?2, 'acknowledged', 0, '', 1, ?3)", NULL,
     CMD_COLUMNS "?1, 'e', 't', ?2, 'sent', 0, '', ?3 - ?3, NULL)",
     "SELECT uuid FROM commands ORDER BY uuid"},
    {"removed", ENR_COLUMNS "'removed'" ENR_REST "?3)",
     CMD_COLUMNS "?1, ?1, 't', ?2, 'cancelled', 0, '', 1, ?3)",
     ENR_COLUMNS "'leaving'" ENR_REST "?3)", "SELECT id FROM enrollments ORDER BY id"},
    {"leaving", ENR_COLUMNS "'leaving'" ENR_REST "?3)",
     CMD_COLUMNS "?1, ?1, 't', ?2, 'cancelled', 0, '', 1, ?3)",
     ENR_COLUMNS "'removed'" ENR_REST "?3)", "SELECT id FROM enrollments ORDER BY id"},
    {"orders",
     "INSERT INTO acme_orders (id, account_id, profile, identifier, serial, status, authz_status, "
     "chal_status, token, spki_sha256, created_at, expires_at, keep_until) VALUES (?1, 'a', 'p', "
     "'i', 's', 'valid', 'valid', 'valid', 't', ?2, 1, 1, ?3)",
     NULL, NULL, "SELECT id FROM acme_orders ORDER BY id"},
    {"accounts",
     "INSERT INTO acme_accounts (id, thumbprint, jwk, status, created_at, keep_until) VALUES (?1, "
     "?2, '{}', 'valid', 1, ?3)",
     "INSERT INTO acme_orders (id, account_id, profile, identifier, serial, status, authz_status, "
     "chal_status, token, spki_sha256, created_at, expires_at) VALUES (?1, ?1, 'p', 'i', 's', "
     "'valid', 'valid', 'valid', 't', ?2, 1, ?3)",
     NULL, "SELECT id FROM acme_accounts ORDER BY id"},
    {"eab_keys",
     "INSERT INTO eab_keys (id, name, profile, secret, created_at, expires_at, keep_until) VALUES "
     "(?1, 'n', '', ?2, 1, 1, ?3)",
     NULL, NULL, "SELECT id FROM eab_keys ORDER BY id"},
    {"client_ids",
     "INSERT INTO client_ids (hash, serial, profile, created_at, expires_at) VALUES (?2, ?1, 'p', "
     "1, ?3)",
     NULL, NULL, "SELECT serial FROM client_ids ORDER BY serial"},
    {"certificates", CERT_COLUMNS "NULL, ?3)", ENR_COLUMNS "'enrolled'" ENR_REST "?3 - ?3)", NULL,
     "SELECT device_serial FROM certificates ORDER BY device_serial"},
    {"evidence",
     "INSERT INTO evidence (id, serial, format, spki_sha256, sha256, leaf, chain, facts, "
     "created_at) VALUES (?1, 's', 'f', ?2, ?2, ?2, ?2, '{}', ?3)",
     CERT_COLUMNS "?1, ?3)", NULL, "SELECT id FROM evidence ORDER BY id"},
    {.name = "nonces"}, /* a row has no key but its time: acme/test_nonce_shared.c */
    {"invitations",
     "INSERT INTO invitations (id, token_hash, serial, created_by, created_at, expires_at) VALUES "
     "(?1, ?2, 's', '', 1, ?3)",
     NULL, NULL, "SELECT id FROM invitations ORDER BY id"},
    {"attempts",
     "INSERT INTO attempts (serial, at, source, outcome, reason, detail, device_error, order_id, "
     "peer) SELECT ?1, ?3, '', '', '', '', '', '', '' WHERE ?2 IS NOT NULL",
     NULL, NULL, "SELECT serial FROM attempts ORDER BY serial"},
    {"audit",
     "INSERT INTO audit (at, txn, actor, action, subject, detail) SELECT ?3, '', '', '', ?1, '' "
     "WHERE ?2 IS NOT NULL",
     NULL,
     "INSERT INTO audit (at, txn, actor, action, subject, detail) SELECT ?3, '', '', "
     "'" AUDIT_CA_ACTIVATED "', ?1, '' WHERE ?2 IS NOT NULL",
     "SELECT subject FROM audit ORDER BY subject"},
    {"events",
     "INSERT INTO outbox (id, at, txn, type, actor, device, certificate, data) SELECT ?1, ?3, '', "
     "'', '', '', '', '{}' WHERE ?2 IS NOT NULL",
     NULL, NULL, "SELECT id FROM outbox ORDER BY id"},
    {"tokens",
     "INSERT INTO api_tokens (id, hash, name, scopes, created_at, expires_at) VALUES (?1, ?2, '', "
     "'', 1, ?3)",
     NULL,
     "INSERT INTO api_tokens (id, hash, name, scopes, created_at, expires_at) VALUES (?1, ?2, '', "
     "'', ?3, NULL)",
     "SELECT id FROM api_tokens ORDER BY id"},
};
#define NSPECS TD_NITEMS(specs)

/* Tables without a cleaner, and why they do not grow without end. */
static const struct {
    const char *table, *why;
} bounded[] = {
    {"cert_profiles", "one row for a certificate profile, which is a file of the administrator's"},
    {"inv_device_groups", "goes with its device"},
    {"access_profiles", "a row that an administrator made; goes with its device"},
    {"acme_nonce_keys", "one row"},
    {"ca_holds", "a row a listed device on hold; it goes when the device leaves"},
    {"crl_changes", "a row for each part of each issuing CA's CRL"},
    {"crls", "likewise"},
    {"outbox_queue", "goes with its event, or when it is delivered"},
    {"outbox_types", "a row for each type an endpoint wants"},
    {"webhooks", "endpoints that administrators made; a bounded number"},
    {"webhook_states", "a row for each of those"},
    {"inv_devices", "the devices that the organisation owns"},
    {"posture_devices", "a row a listed device; it goes when the device leaves"},
    {"posture_facts", "likewise, one for each source"},
    {"posture_nonces", "a row a listed device; it goes with the attestation, or the device"},
    {"posture_rules", "rules that administrators made; a bounded number"},
    {"posture_state", "one row"},
    {"posture_verdicts", "goes with its device, or when the rule is satisfied or gone"},
    {"push_outbox", "a row an enrolment; the pump deletes what it sent or cannot send"},
    {"schema_migrations", "a row a migration"},
    {"seal_keys", "a row a key of the seal key file"},
    {"sqlite_sequence", "the engine's, a row a table"},
    {"store_commits", "the engine's, a row a writer; it deletes what is a day old"},
};

enum { INSERT, KEEP, ENDLESS, LEFT, KINDS };
#define CLEANERS_MAX 32
static struct store_stmt stmts[NSPECS * KINDS], wipes[CLEANERS_MAX];
static char wipe_sql[CLEANERS_MAX][64], wipe_names[CLEANERS_MAX][32];
static char names[NSPECS * KINDS][40];
static struct store_stmt tables = {
    "test.tables", "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name", "", "t"};
#define TABLES_PG                                                                                  \
    "SELECT CAST(table_name AS TEXT) FROM information_schema.tables WHERE table_schema = 'public'"

static struct {
    char dir[64], url[TEST_URL_SIZE];
    struct store *store;
    struct clock_fixed clock;
    struct settings settings;
} fx;

static const char *sql_of(const struct spec *s, size_t kind)
{
    const char *const sql[KINDS] = {s->insert, s->keep, s->endless, s->left};
    return sql[kind];
}

/* Statement `kind` of a spec; NULL when it has none. */
static const struct store_stmt *stmt_of(const struct spec *s, size_t kind)
{
    struct store_stmt *st = &stmts[(size_t)(s - specs) * KINDS + kind];
    return st->sql ? st : NULL;
}

static void make_stmts(void)
{
    for (size_t i = 0; i < NSPECS * KINDS; i++) {
        const char *sql = sql_of(&specs[i / KINDS], i % KINDS);
        if (!sql)
            continue;
        snprintf(names[i], sizeof names[i], "test.%s_%zu", specs[i / KINDS].name, i % KINDS);
        bool list = i % KINDS == LEFT;
        stmts[i] = (struct store_stmt){names[i], sql, list ? "" : IN, list ? "t" : ""};
    }
}

static void open_store(void)
{
    struct store_stmts sets[128];
    size_t n = server_stmts(sets, TD_NITEMS(sets));
    assert_in_range(n, 1, TD_NITEMS(sets) - NSPECS * KINDS - 1);
    make_stmts();
    if (test_on_pg())
        tables.sql = TABLES_PG;
    for (size_t i = 0; i < ncleaners; i++) {
        snprintf(wipe_names[i], sizeof wipe_names[i], "test.wipe%zu", i);
        snprintf(wipe_sql[i], sizeof wipe_sql[i], "DELETE FROM %s", cleaners[i].table);
        wipes[i] = (struct store_stmt){wipe_names[i], wipe_sql[i], "", ""};
    }
    sets[n++] = (struct store_stmts){wipes, ncleaners};
    for (size_t i = 0; i < NSPECS * KINDS; i++)
        if (stmts[i].sql)
            sets[n++] = (struct store_stmts){&stmts[i], 1};
    sets[n++] = (struct store_stmts){&tables, 1};
    struct store_conf conf = {.twice = test_twice(),
                              .url = fx.url,
                              .readers = 2,
                              .batch = 64,
                              .queue = 256,
                              .sets = sets,
                              .nsets = n,
                              .clock = &fx.clock.clock};
    struct errinfo ei = {0};
    if (store_open(&conf, &fx.store, &ei) != TD_OK)
        fail_msg("store_open: %s", ei.msg);
}

static int setup(void **state)
{
    (void)state;
    snprintf(fx.dir, sizeof fx.dir, "/tmp/td-clean-XXXXXX");
    assert_non_null(mkdtemp(fx.dir));
    char path[96];
    snprintf(path, sizeof path, "%s/db", fx.dir);
    test_store_url(path, fx.url);
    clock_fixed_init(&fx.clock, NOW);
    arena_auto a;
    arena_init(&a, 1 << 20);
    char public[] = "--server-public-url=https://a", device[] = "--server-device-url=https://a",
         status[] = "--server-status-url=http://a";
    char *const flags[] = {public, device, status};
    assert_int_equal(settings_load(NULL, NULL, 3, flags, &a, &fx.settings, NULL), TD_OK);
    open_store();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    store_close(fx.store);
    static const char *const tails[] = {"/db", "/db-wal", "/db-shm", "/db.lock"};
    for (size_t i = 0; i < TD_NITEMS(tails); i++) {
        char path[96];
        snprintf(path, sizeof path, "%s%s", fx.dir, tails[i]);
        unlink(path);
    }
    return rmdir(fx.dir);
}

/* --- rows ------------------------------------------------------------------------------------ */

struct put {
    const struct store_stmt *st;
    const char *prefix;
    int64_t first; /* time of the first, the others follow by the second */
    size_t n;
};

static enum td_err put_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct put *p = ctx;
    for (size_t i = 0; i < p->n; i++) {
        char key[32];
        uint8_t hash[SHA256_SIZE];
        snprintf(key, sizeof key, "%s%06zu", p->prefix, i);
        digest_sha256(span_str(key), hash);
        TD_TRY(
            tx_exec(tx, p->st,
                    SV_LIST(SV_TEXT(key), SV_BLOB(SPAN_ARR(hash)), SV_INT(p->first + (int64_t)i)),
                    NULL, ei));
    }
    return TD_OK;
}

static void put(const struct store_stmt *st, const char *prefix, int64_t first, size_t n)
{
    struct put p = {st, prefix, first, n};
    struct errinfo ei = {0};
    if (store_write(fx.store, put_job, &p, &ei) != TD_OK)
        fail_msg("%s: %s", st->name, ei.msg);
}

struct listing {
    const struct store_stmt *st;
    struct buf text;
};

static enum td_err list_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct listing *l = ctx;
    struct cur c;
    enum td_err e;
    buf_reset(&l->text);
    TD_TRY(tx_query(tx, l->st, NULL, 0, &c, ei));
    while ((e = cur_next(&c, ei)) == TD_OK) {
        buf_span(&l->text, cur_span(&c, 0));
        buf_u8(&l->text, ' ');
    }
    return e == TD_NOTFOUND ? l->text.err : e;
}

static void list(const struct store_stmt *st, struct listing *l)
{
    l->st = st;
    buf_init(&l->text, 1 << 22);
    assert_int_equal(store_read(fx.store, list_job, l, NULL), TD_OK);
}

static size_t count(const struct spec *s, const char *prefix)
{
    struct listing l;
    list(stmt_of(s, LEFT), &l);
    size_t n = 0;
    for (const char *p = buf_cstr(&l.text); (p = strstr(p, prefix)); p++)
        n++;
    buf_free(&l.text);
    return n;
}

static const struct spec *spec_of(const char *name)
{
    for (size_t i = 0; i < NSPECS; i++)
        if (strcmp(specs[i].name, name) == 0)
            return &specs[i];
    fail_msg("cleaner %s: add a row to `specs` that shows what it deletes and what it keeps", name);
    return &specs[0]; /* not reached */
}

static struct sweep begin(const struct cleaner *c, size_t max)
{
    return (struct sweep){.now = NOW, .before = cleaner_before(c, &fx.settings, NOW), .max = max};
}

static enum td_err wipe_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    (void)ctx;
    for (size_t i = 0; i < ncleaners; i++)
        TD_TRY(tx_exec(tx, &wipes[i], NULL, 0, NULL, ei));
    return TD_OK;
}

/* What kept the rows of one cleaner may lie in the next one's table. */
static void wipe(void)
{
    assert_int_equal(store_write(fx.store, wipe_job, NULL, NULL), TD_OK);
}

/* --- tests ----------------------------------------------------------------------------------- */

/* Exactly what is old goes, the oldest first, no more than the step may; what another row keeps,
 * what has no end and what is young by a second stays. */
static void each_cleaner(void **state)
{
    (void)state;
    for (size_t i = 0; i < ncleaners; i++) {
        const struct cleaner *c = &cleaners[i];
        const struct spec *s = spec_of(c->name);
        if (!s->insert)
            continue;
        struct sweep step = begin(c, 3);
        put(stmt_of(s, INSERT), "old-", step.before - 7, 7);
        put(stmt_of(s, INSERT), "young-", step.before, 3);
        if (s->keep) {
            put(stmt_of(s, INSERT), "kept-", step.before - 100, 4);
            put(stmt_of(s, KEEP), "kept-", step.before - 100, 4);
        }
        if (s->endless)
            put(stmt_of(s, ENDLESS), "endless-", step.before - 50, 2);
        size_t steps = 0, before = 7;
        do {
            assert_true(++steps < 10);
            assert_int_equal(cleaner_step(c, fx.store, &step, NULL), TD_OK);
            assert_in_range(step.gone, 0, 3);
            size_t left = count(s, "old-");
            if (before - left != (size_t)step.gone)
                fail_msg("%s: says %d rows went, not %zu", c->name, (int)step.gone, before - left);
            before = left;
        } while (step.more);
        print_message("%s: %zu steps\n", c->name, steps);
        assert_int_equal(before, 0);
        assert_int_equal(count(s, "young-"), 3);
        assert_int_equal(count(s, "kept-"), s->keep ? 4 : 0);
        assert_int_equal(count(s, "endless-"), s->endless ? 2 : 0);
        /* the next round finds nothing */
        step = begin(c, 3);
        do
            assert_int_equal(cleaner_step(c, fx.store, &step, NULL), TD_OK);
        while (step.gone == 0 && step.more);
        assert_int_equal(step.gone, 0);
        wipe();
    }
    for (size_t i = 0; i < NSPECS; i++) {
        size_t k = 0;
        while (k < ncleaners && strcmp(cleaners[k].name, specs[i].name) != 0)
            k++;
        if (k == ncleaners)
            fail_msg("no cleaner is called %s", specs[i].name);
    }
}

/* Many rows of one second: none is jumped over, none is looked at for ever. */
static void one_second(void **state)
{
    (void)state;
    for (size_t i = 0; i < ncleaners; i++) {
        const struct spec *s = spec_of(cleaners[i].name);
        if (!s->insert)
            continue;
        struct sweep step = begin(&cleaners[i], 4);
        for (int k = 0; k < 9; k++) {
            char prefix[16];
            snprintf(prefix, sizeof prefix, "old%d-", k);
            put(stmt_of(s, INSERT), prefix, step.before - 1, 1);
        }
        size_t gone = 0, steps = 0;
        do {
            assert_int_equal(cleaner_step(&cleaners[i], fx.store, &step, NULL), TD_OK);
            gone += (size_t)step.gone;
        } while (step.more && ++steps < 9);
        assert_int_equal(gone, 9);
        wipe();
    }
}

/* Every table of the schema has a cleaner, or a reason to need none. */
static void every_table(void **state)
{
    (void)state;
    struct listing l;
    list(&tables, &l);
    char *save = NULL, *text = (char *)l.text.p;
    for (char *t = strtok_r(text, " ", &save); t; t = strtok_r(NULL, " ", &save)) {
        size_t cleaned = 0, reasons = 0;
        for (size_t i = 0; i < ncleaners; i++)
            cleaned += strcmp(cleaners[i].table, t) == 0;
        for (size_t i = 0; i < TD_NITEMS(bounded); i++)
            reasons += strcmp(bounded[i].table, t) == 0;
        if (!cleaned && !reasons)
            fail_msg("table %s grows without end: give it a cleaner (web/server/cleaners.c), or a "
                     "reason here",
                     t);
        if (cleaned && reasons)
            fail_msg("table %s has a cleaner, and a reason to need none", t);
    }
    buf_free(&l.text);
}

static void retention(void **state)
{
    (void)state;
    const struct cleaner *c = cleaners;
    while (strcmp(c->name, "client_ids") != 0)
        c++;
    struct settings s = {.keep_client_ids = 100, .acme_order_ttl = 60};
    assert_int_equal(cleaner_before(c, &s, NOW), NOW - 100);
    s.acme_order_ttl = 1000;
    assert_int_equal(cleaner_before(c, &s, NOW), NOW - 1000);
    for (c = cleaners; c < cleaners + ncleaners; c++) /* each has its own, a sane one */
        assert_in_range(NOW - cleaner_before(c, &fx.settings, NOW), 600, 1100 * 86400);
}

struct pauses {
    size_t n, stop_at;
    int64_t us;
};

static bool pause_fn(void *ctx, int64_t us)
{
    struct pauses *p = ctx;
    assert_true(us >= 0);
    p->us += us;
    return ++p->n != p->stop_at;
}

static int64_t cleaned(const char *name, struct clean_count *counts)
{
    for (size_t i = 0; i < ncleaners; i++)
        if (strcmp(cleaners[i].name, name) == 0)
            return counts[i].rows;
    return -1;
}

/* A round pauses behind each step, counts, and ends when it is told to. */
static void rounds(void **state)
{
    (void)state;
    struct sweep_pos pos[CLEANERS_MAX] = {{0}};
    struct clean_count counts[CLEANERS_MAX];
    const struct clean_conf conf = {fx.store, &fx.settings, &fx.clock.clock, 0};
    const struct spec *s = spec_of("attempts");
    put(stmt_of(s, INSERT), "old-", 1000, 2 * CLEAN_STEP_MAX + 1);
    int64_t before = metrics_get(METRIC_CLEANED_ATTEMPTS);
    struct pauses p = {.stop_at = 1};
    clean_round(&conf, pos, counts, pause_fn, &p);
    assert_int_equal(p.n, 1);
    assert_int_equal(count(s, "old-"), 2 * CLEAN_STEP_MAX + 1);
    p = (struct pauses){0};
    clean_round(&conf, pos, counts, pause_fn, &p);
    assert_int_equal(p.n, ncleaners + 2);
    assert_true(p.us > 0);
    assert_int_equal(cleaned("attempts", counts), 2 * CLEAN_STEP_MAX + 1);
    assert_int_equal(metrics_get(METRIC_CLEANED_ATTEMPTS) - before, 2 * CLEAN_STEP_MAX + 1);
    clean_round(&conf, pos, counts, NULL, NULL);
    assert_int_equal(cleaned("attempts", counts), 0);
}

/* A mountain does not keep the others from their turn: the round's bound comes before its end, and
 * the next round goes on where the sweep stood. */
static void mountain(void **state)
{
    (void)state;
    enum { BOUND = 100 * CLEAN_STEP_MAX, MORE = 700 };
    if (test_on_pg()) /* 50,000 rows one by one; the bound is not the engine's */
        skip();
    struct sweep_pos pos[CLEANERS_MAX] = {{0}};
    struct clean_count counts[CLEANERS_MAX];
    const struct clean_conf conf = {fx.store, &fx.settings, &fx.clock.clock, 0};
    put(stmt_of(spec_of("evidence"), INSERT), "old-", 1000, BOUND + MORE);
    put(stmt_of(spec_of("audit"), INSERT), "old-", 1000, 1);
    clean_round(&conf, pos, counts, NULL, NULL);
    assert_int_equal(cleaned("evidence", counts), BOUND);
    assert_int_equal(cleaned("audit", counts), 1);
    size_t i = 0;
    while (strcmp(cleaners[i].name, "evidence") != 0)
        i++;
    assert_true(counts[i].more);
    assert_int_equal(pos[i].at, 1000 + BOUND - 1);
    clean_round(&conf, pos, counts, NULL, NULL);
    assert_int_equal(cleaned("evidence", counts), MORE);
    assert_false(counts[i].more);
    assert_int_equal(pos[i].at, 0); /* the next round begins at the beginning */
}

/* The thread does its rounds, also those that follow at once, and stops in the middle of one. */
static void thread(void **state)
{
    (void)state;
    struct clean *c = NULL;
    const struct clean_conf conf = {fx.store, &fx.settings, &fx.clock.clock, 5};
    const struct spec *s = spec_of("attempts");
    put(stmt_of(s, INSERT), "old-", 1000, CLEAN_STEP_MAX + 1);
    put(stmt_of(s, INSERT), "young-", NOW, 2);
    assert_int_equal(clean_start(&conf, &c, NULL), TD_OK);
    for (int64_t deadline = clock_mono(&clock_system) + 20000; count(s, "old-") != 0;) {
        assert_true(clock_mono(&clock_system) < deadline);
        usleep(2000);
    }
    clean_stop(c);
    assert_int_equal(count(s, "young-"), 2);
    /* long before its first round */
    const struct clean_conf slow = {fx.store, &fx.settings, &fx.clock.clock, 0};
    assert_int_equal(clean_start(&slow, &c, NULL), TD_OK);
    clean_stop(c);
    clean_stop(NULL);
}

int main(void)
{
    log_setup(LOG_ERROR, LOG_FORMAT_LOGFMT, 2);
    if (crypt_init(NULL) != TD_OK || ncleaners > CLEANERS_MAX)
        return 1;
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(each_cleaner), T(one_second), T(every_table), T(retention),
        T(rounds),       T(mountain),   T(thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
