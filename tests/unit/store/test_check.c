/* Each rule finds the row that breaks it, and a sound database breaks none. */
#include "store_test.h"

#include <fcntl.h>

#include "mdm/base/log.h"
#include "mdm/store/check.h"
#include "mdm/store/tool.h"

static struct place place;

static int setup(void **state)
{
    (void)state;
    place_init(&place);
    place.conf.nsets = 0;
    struct store *s = NULL;
    assert_int_equal(store_open(&place.conf, &s, NULL), TD_OK);
    store_close(s);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    place_end(&place);
    return 0;
}

static enum td_err script_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    return tx->ops->script(tx->conn, span_str(ctx), ei);
}

static void script(const char *sql)
{
    static char text[65536];
    struct errinfo ei = {0};
    struct tool t;
    snprintf(text, sizeof text, "%s", sql);
    if (tool_open(&t, &place.conf, CONN_WRITE, NULL, 0, &ei) != TD_OK ||
        tool_write(&t, script_job, text, &ei) != TD_OK)
        fail_msg("%s: %s", sql, ei.msg);
    tool_close(&t);
}

struct found {
    unsigned n, more;
    char rule[64], what[64], unseen[200];
};

static void note(void *ctx, const struct check_finding *f)
{
    struct found *all = ctx;
    all->n++;
    all->more += f->more;
    snprintf(all->rule, sizeof all->rule, "%s", f->rule);
    if (!f->more)
        snprintf(all->what, sizeof all->what, "%s", f->what);
    assert_true(f->doc[0] != '\0');
}

static void unseen(void *ctx, const char *what)
{
    struct found *all = ctx;
    snprintf(all->unseen, sizeof all->unseen, "%s", what);
}

static enum td_err check(struct found *ret, struct errinfo *ei)
{
    size_t rules = 0, findings = 0;
    *ret = (struct found){0};
    memset(ei, 0, sizeof *ei);
    const struct check_conf c = {3, note, unseen, ret};
    enum td_err e = store_check(&place.conf, &c, &rules, &findings, ei);
    if (e == TD_OK) {
        assert_int_equal(findings, ret->n);
        assert_true(rules > check_nrules);
    }
    return e;
}

#define HOOK(enabled)                                                                              \
    "INSERT INTO webhooks (id, name, url, types, enabled, secret, rev, created_by, created_at, "   \
    "updated_at) VALUES ('W1', '', 'u', '', " enabled ", CAST('s' AS @BLOB@), 1, '', 1, 1)"

/* Two devices in good order: one enrolled over ACME with its commands, one that left. */
static const char sound[] =
    "INSERT INTO inv_devices (serial, name, model, owner, source, rev, created_at, updated_at) "
    "VALUES ('S1', '', '', '', 'api', 1, 1, 1);"
    "INSERT INTO acme_accounts (id, thumbprint, jwk, status, created_at) VALUES ('A1', "
    "CAST('t1' AS @BLOB@), '{}', 'valid', 1);"
    "INSERT INTO evidence (id, serial, format, spki_sha256, sha256, leaf, chain, facts, "
    "created_at) VALUES ('V1', 'S1', 'apple', CAST('k1' AS @BLOB@), CAST('h' AS @BLOB@), "
    "CAST('l' AS @BLOB@), CAST('c' AS @BLOB@), '{}', 1);"
    "INSERT INTO certificates (serial, device_serial, profile, purpose, sha256, spki_sha256, "
    "der, not_before, not_after, status, order_id, evidence_id, created_at) VALUES (CAST('c1' "
    "AS @BLOB@), 'S1', 'management', 'management', CAST('h1' AS @BLOB@), CAST('k1' AS @BLOB@), "
    "CAST('d' AS @BLOB@), 1, 2, 0, 'O1', 'V1', 1);"
    "INSERT INTO certificates (serial, device_serial, profile, purpose, sha256, spki_sha256, "
    "der, not_before, not_after, status, revoked_at, reason, created_at) VALUES (CAST('c2' AS "
    "@BLOB@), 'S2', 'management', 'management', CAST('h2' AS @BLOB@), CAST('k2' AS @BLOB@), "
    "CAST('d' AS @BLOB@), 1, 2, 1, 5, 5, 1);"
    "INSERT INTO acme_orders (id, account_id, profile, identifier, serial, status, "
    "authz_status, chal_status, token, evidence_id, cert_serial, created_at, expires_at) "
    "VALUES ('O1', 'A1', 'management', 'i', 'S1', 'valid', 'valid', 'valid', 't', 'V1', "
    "CAST('c1' AS @BLOB@), 1, 2);"
    "INSERT INTO acme_orders (id, account_id, profile, identifier, serial, status, "
    "authz_status, chal_status, token, created_at, expires_at) VALUES ('O2', 'A1', "
    "'management', 'i', 'S1', 'pending', 'pending', 'pending', 't', 1, 2);"
    "INSERT INTO client_ids (hash, serial, profile, created_at, expires_at, order_id, "
    "consumed_at) VALUES (CAST('i1' AS @BLOB@), 'S1', 'management', 1, 9, 'O1', 3);"
    "INSERT INTO client_ids (hash, serial, profile, created_at, expires_at, consumed_at) "
    "VALUES (CAST('i2' AS @BLOB@), 'S2', 'management', 1, 5, 5);"
    "INSERT INTO enrollments (id, serial, cert_sha256, state, topic, push_magic, push_token, "
    "awaiting, tally, device_name, model, product, os_version, build, authenticate, "
    "authenticated_at, enrolled_at, last_seen_at) VALUES ('E1', 'S1', CAST('h1' AS @BLOB@), "
    "'enrolled', 't', 'm', CAST('p' AS @BLOB@), 0, 1, '', '', '', '', '',CAST('a' AS @BLOB@), "
    "1, 2, 2);"
    "INSERT INTO enrollments (id, serial, cert_sha256, state, topic, awaiting, tally, "
    "device_name, model, product, os_version, build, authenticate, authenticated_at, left_at, "
    "last_seen_at) VALUES ('E2', 'S2', CAST('h2' AS @BLOB@), 'removed', 't', 0, 1, '', '', '', "
    "'', '',CAST('a' AS @BLOB@), 1, 5, 2);"
    "INSERT INTO commands (uuid, enrollment_id, request_type, body, state, notnow_count, "
    "created_by, created_at) VALUES ('C1', 'E1', 'x', CAST('b' AS @BLOB@), 'queued', 0, 'a', "
    "1);"
    "INSERT INTO commands (uuid, enrollment_id, request_type, body, state, notnow_count, "
    "created_by, created_at, done_at) VALUES ('C2', 'E2', 'x', CAST('b' AS @BLOB@), "
    "'cancelled', 0, 'a', 1, 5);"
    "INSERT INTO push_outbox (enrollment_id, requested_at) VALUES ('E1', 1);";

#define B(text) "CAST('" text "' AS @BLOB@)"
#define POSTURE(serial, state)                                                                     \
    "INSERT INTO posture_devices (serial, state, since, hold_at, revoke_at, exempt_until, "        \
    "asked_at, judged_at, due_at, rules_rev, restore) VALUES ('" serial "', " state                \
    ", 0, 0, 0, 0, 0, 0, 0, 0, 0)"

static const struct {
    const char *rule, *what, *sql;
} plants[] = {
    {"enrollment-not-listed", "E1",
     "UPDATE enrollments SET serial = 'S9' WHERE id = 'E1';"
     "UPDATE certificates SET device_serial = 'S9', status = 1,"
     " revoked_at = 1, reason = 1 WHERE device_serial = 'S1';"
     "DELETE FROM acme_orders"},
    {"enrollment-state", "E2", "UPDATE enrollments SET state = 'Enrolled' WHERE id = 'E2'"},
    {"enrollment-without-certificate", "E1",
     "UPDATE enrollments SET cert_sha256 = " B("h9") " WHERE id = 'E1'"},
    {"enrollment-of-other-device", "E2", "UPDATE enrollments SET serial = 'S1' WHERE id = 'E2'"},
    {"enrollment-without-push", "E1", "UPDATE enrollments SET push_token = NULL WHERE id = 'E1'"},
    {"enrollment-without-push", "E1", "UPDATE enrollments SET push_magic = NULL WHERE id = 'E1'"},
    {"enrollment-left-without-time", "E2", "UPDATE enrollments SET left_at = NULL WHERE id = 'E2'"},
    {"pin-shared", "6832", /* h2 */
     "ALTER TABLE enrollments RENAME TO e0; CREATE TABLE enrollments AS SELECT * FROM e0;"
     "INSERT INTO enrollments SELECT * FROM e0 WHERE id = 'E2'; DROP TABLE e0"},
    {"command-of-nobody", "C2", "UPDATE commands SET enrollment_id = 'E9' WHERE uuid = 'C2'"},
    {"command-state", "C1", "UPDATE commands SET state = '' WHERE uuid = 'C1'"},
    {"command-open-but-done", "C1", "UPDATE commands SET done_at = 1 WHERE uuid = 'C1'"},
    {"command-done-without-time", "C2", "UPDATE commands SET done_at = NULL WHERE uuid = 'C2'"},
    {"push-of-nobody", "E9",
     "INSERT INTO push_outbox (enrollment_id, requested_at) VALUES ('E9', 1)"},
    {"certificate-of-unlisted", "6332", /* c2 */
     "UPDATE certificates SET status = 0, revoked_at = NULL, reason = NULL WHERE device_serial ="
     " 'S2'"},
    {"revoked-without-time", "6332",
     "UPDATE certificates SET revoked_at = NULL WHERE device_serial = 'S2'"},
    {"revoked-without-time", "6332",
     "UPDATE certificates SET reason = NULL WHERE device_serial = 'S2'"},
    {"good-but-revoked", "6331",
     "UPDATE certificates SET revoked_at = 1 WHERE device_serial = 'S1'"},
    {"certificate-without-evidence", "6331",
     "UPDATE certificates SET evidence_id = 'V9' WHERE device_serial = 'S1'"},
    {"held-by-nobody", "6332", "UPDATE certificates SET status = 2 WHERE device_serial = 'S2'"},
    {"held-by-nobody", "6331", "UPDATE certificates SET holders = 1 WHERE device_serial = 'S1'"},
    {"posture-of-unlisted", "S9", POSTURE("S9", "0")},
    {"good-though-held", "S1",
     POSTURE("S1", "3") ";UPDATE certificates SET purpose = 'access' WHERE device_serial = 'S1'"},
    {"order-of-nobody", "O2", "UPDATE acme_orders SET account_id = 'A9' WHERE id = 'O2'"},
    {"order-without-certificate", "O1",
     "UPDATE acme_orders SET cert_serial = " B("c9") " WHERE id = 'O1'"},
    {"order-without-certificate", "O1",
     "UPDATE acme_orders SET cert_serial = " B("c2") " WHERE id = 'O1'"},
    {"order-without-certificate", "O1",
     "UPDATE acme_orders SET cert_serial = NULL WHERE id = 'O1'"},
    {"order-without-evidence", "O2", "UPDATE acme_orders SET status = 'ready' WHERE id = 'O2'"},
    {"identifier-without-order", "6931",
     "UPDATE client_ids SET order_id = NULL WHERE order_id = 'O1'"},
    {"webhook-without-state", "W1", HOOK("0")},
    {"webhook-not-told", "W1",
     HOOK("1") ";INSERT INTO webhook_states (id, lease, lease_until, next_at, tries, "
               "failing_since, last_success_at, last_error_at, last_error, delivered, dropped) "
               "VALUES ('W1', '', 0, 0, 0, 0, 0, 0, '', 0, 0)"},
    {"delivery-of-nothing", "E1",
     "INSERT INTO outbox_queue (sink, event, seq, at) VALUES ('W1', 'E1', 1, 1)"},
};

static void expect_sound(void)
{
    struct found f;
    struct errinfo ei;
    if (check(&f, &ei) != TD_OK)
        fail_msg("%s", ei.msg);
    if (f.n)
        fail_msg("%s: %s", f.rule, f.what);
}

static void test_sound(void **state)
{
    (void)state;
    expect_sound();
    script(sound);
    expect_sound();
}

static void test_each_rule(void **state)
{
    (void)state;
    struct found f;
    struct errinfo ei;
    for (size_t i = 0; i < TD_NITEMS(plants); i++) {
        script(sound);
        script(plants[i].sql);
        if (check(&f, &ei) != TD_OK)
            fail_msg("%s: %s", plants[i].rule, ei.msg);
        if (f.n != 1 || strcmp(f.rule, plants[i].rule) != 0 || strcmp(f.what, plants[i].what) != 0)
            fail_msg("%s: %u findings, %s %s", plants[i].sql, f.n, f.rule, f.what);
        teardown(NULL);
        setup(NULL);
    }
    /* no rule without a plant */
    for (size_t i = 0; i < check_nrules; i++) {
        size_t k = 0;
        while (k < TD_NITEMS(plants) && strcmp(plants[k].rule, check_rules[i].name) != 0)
            k++;
        if (k == TD_NITEMS(plants))
            fail_msg("nothing breaks %s", check_rules[i].name);
    }
}

static void test_many(void **state)
{
    (void)state;
    struct found f;
    struct errinfo ei;
    static const unsigned want[] = {2, 3, 4, 4};
    script("INSERT INTO push_outbox (enrollment_id, requested_at) VALUES ('1', 1)");
    for (size_t i = 0; i < TD_NITEMS(want); i++) {
        char sql[120];
        snprintf(sql, sizeof sql,
                 "INSERT INTO push_outbox (enrollment_id, requested_at) VALUES ('%zu', 1)", i + 2);
        script(sql);
        assert_int_equal(check(&f, &ei), TD_OK);
        assert_int_equal(f.n, want[i]);
        assert_int_equal(f.more, want[i] > 3);
        assert_string_equal(f.rule, "push-of-nobody");
    }
}

/* The engine's own findings: an index that lacks a row. */
static void test_damaged_index(void **state)
{
    (void)state;
    sqlite_only();
    struct found f;
    struct errinfo ei;
    script("INSERT INTO inv_devices (serial, name, model, owner, source, rev, created_at, "
           "updated_at) VALUES ('S1', '', '', '', 'api', 1, 1, 1)");
    int fd = open(place.path, O_RDWR);
    off_t size = lseek(fd, 0, SEEK_END);
    char page[4096];
    unsigned hits = 0;
    for (off_t at = 4096; at < size; at += 4096) {
        assert_int_equal(pread(fd, page, sizeof page, at), sizeof page);
        /* the page of the table's key is an index page (0x0a) with one cell that holds S1 */
        if (page[0] != 0x0a || page[4] != 1 || !memmem(page, sizeof page, "S1", 2))
            continue;
        char *cell = memmem(page, sizeof page, "S1", 2);
        cell[1] = '2';
        assert_int_equal(pwrite(fd, page, sizeof page, at), sizeof page);
        hits++;
    }
    close(fd);
    assert_int_equal(hits, 1);
    assert_int_equal(check(&f, &ei), TD_OK);
    assert_true(f.n > 0);
    assert_string_equal(f.rule, "sqlite.integrity");
    assert_non_null(strstr(f.what, "inv_devices"));
}

static void test_engine_findings_pg(void **state)
{
    (void)state;
    static const struct {
        const char *sql, *rule, *what;
    } cases[] = {
        {"UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'audit_subject'::regclass",
         "pg.invalid-index", "audit_subject is not valid: REINDEX makes it anew"},
        {"ALTER TABLE audit ADD CONSTRAINT positive CHECK (at > 0) NOT VALID",
         "pg.invalid-constraint", "positive was never validated"},
        {"ALTER TABLE audit ADD COLUMN word text", "pg.collation",
         "audit.word is not compared bytewise"},
    };
    if (!test_on_pg())
        skip();
    for (size_t i = 0; i < TD_NITEMS(cases); i++) {
        struct found f;
        struct errinfo ei;
        script(cases[i].sql);
        assert_int_equal(check(&f, &ei), TD_OK);
        if (f.n != 1 || strcmp(f.rule, cases[i].rule) != 0 || strcmp(f.what, cases[i].what) != 0)
            fail_msg("%s: %u findings, %s %s", cases[i].sql, f.n, f.rule, f.what);
        teardown(NULL);
        setup(NULL);
    }
}

/* An index that lacks a row, as amcheck finds it; without amcheck, or without leave to call it,
 * that is said. */
static void test_damaged_index_pg(void **state)
{
    (void)state;
    struct found f;
    struct errinfo ei;
    if (!test_on_pg())
        skip();
    assert_int_equal(check(&f, &ei), TD_OK);
    assert_non_null(strstr(f.unseen, "CREATE EXTENSION amcheck"));
    script("CREATE EXTENSION amcheck");
    assert_int_equal(check(&f, &ei), TD_OK);
    assert_int_equal(f.n, 0);
    assert_string_equal(f.unseen, "");
    script("UPDATE pg_index SET indisready = false WHERE indexrelid = "
           "to_regclass('invitations_serial')");
    script("INSERT INTO invitations (id, token_hash, serial, created_by, created_at, expires_at) "
           "VALUES ('i', 'h', 's', 'c', 1, 2)");
    script("UPDATE pg_index SET indisready = true WHERE indexrelid = "
           "to_regclass('invitations_serial')");
    assert_int_equal(check(&f, &ei), TD_OK);
    assert_int_equal(f.n, 1);
    assert_string_equal(f.rule, "index-damaged");
    script("REINDEX INDEX invitations_serial");
    assert_int_equal(check(&f, &ei), TD_OK);
    assert_int_equal(f.n, 0);
}

static void expect_cannot(enum td_err want, const char *words)
{
    struct found f;
    struct errinfo ei;
    enum td_err e = check(&f, &ei);
    if (e != want || !strstr(ei.msg, words))
        fail_msg("%s: %s", err_name(e), ei.msg);
    assert_int_equal(f.n, 0);
}

static void test_cannot(void **state)
{
    (void)state;
    script("INSERT INTO schema_migrations (version, name, sha256, applied_at)"
           " VALUES (1000000, 'unfinished-copy', 'x', 1)");
    expect_cannot(TD_STATE, "unfinished copy");
    script("DELETE FROM schema_migrations WHERE version > 1");
    expect_cannot(TD_STATE, "schema version 1");
    script("UPDATE schema_migrations SET name = 'x'");
    expect_cannot(TD_STATE, "not the one of this program");
    if (test_on_pg())
        return;
    assert_int_equal(truncate(place.path, 0), 0);
    expect_cannot(TD_NOTFOUND, "no database");
    assert_int_equal(unlink(place.path), 0);
    expect_cannot(TD_NOTFOUND, "no database");
    assert_int_equal(access(place.path, F_OK), -1);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    log_setup(LOG_ERROR, LOG_FORMAT_LOGFMT, 2);
    const struct CMUnitTest tests[] = {
        T(test_sound),         T(test_each_rule),          T(test_many),
        T(test_damaged_index), T(test_engine_findings_pg), T(test_damaged_index_pg),
        T(test_cannot),
    };
    return cmocka_run_group_tests(tests, crypt_setup, NULL);
}
