/* Posture in the database, with a clock that the test sets: what is heard, what follows, what is
 * asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../clock.h"
#include "../engine.h"
#include "mdm/base/log.h"
#include "mdm/crypt/digest.h"
#include "mdm/posture/posture.h"
#include "mdm/store/audit.h"

#define DEV "MAC1"

static char dir[64], url[TEST_URL_SIZE];
static struct store *store;
static struct event_bus bus;
static struct test_clock now;
static struct rng_seeded seeded;
static struct inventory inv;
static struct core *core;
static struct posture *posture;

/* What was done to access, in a table: jobs may run twice, and what was undone does not count. */
static const struct store_stmt own[] = {
    {"test.act",
     "INSERT INTO audit (at, txn, actor, action, subject, detail) VALUES (?1, ?2, '', "
     "?3, ?4, '')",
     "ittt", ""},
    {"test.acts", "SELECT COUNT(*) FROM audit WHERE action = ?1", "t", "i"},
    {"test.enrol",
     "INSERT INTO enrollments (id, serial, cert_sha256, state, topic, awaiting, tally, "
     "device_name, model, product, os_version, build, authenticate, authenticated_at, "
     "last_seen_at) VALUES (?1, ?1, ?2, 'enrolled', '', 0, 1, '', '', 'Mac15,3', '', '', ?2, ?3, "
     "?3)",
     "tbi", ""},
    {"test.seen", "UPDATE enrollments SET last_seen_at = ?1", "i", ""},
    {"test.queued", "SELECT COUNT(*) FROM commands WHERE state = 'queued' AND request_type = ?1",
     "t", "i"},
    {"test.answered", "UPDATE commands SET state = 'acknowledged', done_at = 1", "", ""},
};

static enum td_err act(struct tx *tx, const struct posture_cause *c, const char *what,
                       struct errinfo *ei)
{
    return tx_exec(tx, &own[0],
                   SV_LIST(SV_INT(c->now), SV_TEXT(c->txn), SV_TEXT(what), SV_TEXT(c->serial)),
                   NULL, ei);
}

static enum td_err hold(void *ctx, struct tx *tx, const struct posture_cause *c, bool held,
                        struct errinfo *ei)
{
    (void)ctx;
    return act(tx, c, held ? "hold" : "release", ei);
}

static enum td_err do_revoke(void *ctx, struct tx *tx, const struct posture_cause *c,
                             struct errinfo *ei)
{
    (void)ctx;
    return act(tx, c, "revoke", ei);
}

static int restored;
static enum td_err restore_answer;

static enum td_err restore(void *ctx, const char *serial, struct errinfo *ei)
{
    (void)ctx;
    assert_string_equal(serial, DEV);
    restored++;
    return restore_answer == TD_OK ? TD_OK : err_set(ei, restore_answer, "not now");
}

/* The core is here for its queue; no device speaks. */
static enum td_err no_cert(void *ctx, struct tx *tx, const uint8_t sha256[static SHA256_SIZE],
                           struct core_cert *ret, struct errinfo *ei)
{
    (void)ctx, (void)tx, (void)sha256, (void)ret;
    return err_set(ei, TD_NOTFOUND, "no");
}

static enum td_err no_device(void *ctx, struct tx *tx, const char *serial, struct errinfo *ei)
{
    (void)ctx, (void)tx, (void)serial;
    return err_set(ei, TD_NOTFOUND, "no");
}

static enum td_err no_end(void *ctx, struct tx *tx, const uint8_t sha256[static SHA256_SIZE],
                          int64_t at, const char *txn, struct errinfo *ei)
{
    (void)ctx, (void)tx, (void)sha256, (void)at, (void)txn, (void)ei;
    return TD_OK;
}

static enum td_err no_push(void *ctx, const struct push_target *t, struct errinfo *ei)
{
    (void)ctx, (void)t, (void)ei;
    return TD_OK;
}

/* --- short forms ----------------------------------------------------------------------------- */

struct job {
    enum td_err (*fn)(struct tx *tx, struct job *j, struct errinfo *ei);
    const char *a, *b;
    int64_t i;
    struct posture_rule rule;
    struct posture_view view;
    struct arena *arena;
};

static enum td_err run(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct job *j = ctx;
    return j->fn(tx, j, ei);
}

static enum td_err write_job(struct job *j, struct errinfo *ei)
{
    *ei = (struct errinfo){0};
    return store_write(store, run, j, ei);
}

static void must(struct job *j)
{
    struct errinfo ei;
    enum td_err e = write_job(j, &ei);
    if (e != TD_OK)
        fail_msg("%s", err_msg(&ei, e));
}

static struct posture_cause cause(void)
{
    return (struct posture_cause){DEV, now.at, "t1"};
}

static enum td_err hear_fn(struct tx *tx, struct job *j, struct errinfo *ei)
{
    const struct posture_obs o = {.name = j->a, .value = j->b, .at = now.at};
    const struct posture_said said = {.serial = DEV,
                                      .source = (enum posture_source)j->i,
                                      .obs = &o,
                                      .n = 1,
                                      .now = now.at,
                                      .txn = "t1"};
    return posture_hear(posture, tx, &said, ei);
}

static void hear(enum posture_source source, const char *fact, const char *value)
{
    must(&(struct job){.fn = hear_fn, .a = fact, .b = value, .i = source});
}

static enum td_err rule_fn(struct tx *tx, struct job *j, struct errinfo *ei)
{
    const struct posture_change c = {.if_match = -1, .now = now.at, .actor = "t", .txn = j->b};
    bool created;
    return posture_rule_put(tx, &j->rule, &c, &created, ei);
}

static void put_rule(const char *name, const char *text)
{
    static int changes;
    char stamp[16];
    arena_auto a;
    arena_init(&a, 1 << 20);
    struct json *body;
    struct errinfo ei = {0};
    struct job j = {.fn = rule_fn, .b = stamp};
    snprintf(stamp, sizeof stamp, "rule%d", changes++);
    assert_int_equal(json_parse(span_str(text), &a, &body, &ei), TD_OK);
    if (posture_rule_parse(span_str(name), body, &j.rule, &ei) != TD_OK)
        fail_msg("%s", ei.msg);
    must(&j);
}

static enum td_err view_fn(struct tx *tx, struct job *j, struct errinfo *ei)
{
    return posture_view_get(posture, tx, DEV, j->arena, &j->view, ei);
}

static struct posture_device device(void)
{
    arena_auto a;
    arena_init(&a, 1 << 22);
    struct job j = {.fn = view_fn, .arena = &a};
    struct errinfo ei = {0};
    assert_int_equal(store_read(store, run, &j, &ei), TD_OK);
    return j.view.device;
}

static size_t facts(void)
{
    arena_auto a;
    arena_init(&a, 1 << 22);
    struct job j = {.fn = view_fn, .arena = &a};
    struct errinfo ei = {0};
    assert_int_equal(store_read(store, run, &j, &ei), TD_OK);
    return j.view.nfacts;
}

static enum td_err count_fn(struct tx *tx, struct job *j, struct errinfo *ei)
{
    struct cur c;
    TD_TRY(
        tx_row(tx, strcmp(j->b, "acts") == 0 ? &own[1] : &own[4], SV_LIST(SV_TEXT(j->a)), &c, ei));
    j->i = cur_int(&c, 0);
    cur_end(&c);
    return TD_OK;
}

static int64_t count(const char *of, const char *what)
{
    struct job j = {.fn = count_fn, .a = what, .b = of};
    must(&j);
    return j.i;
}

static void acts(int64_t holds, int64_t releases, int64_t revocations)
{
    assert_int_equal(count("acts", "hold"), holds);
    assert_int_equal(count("acts", "release"), releases);
    assert_int_equal(count("acts", "revoke"), revocations);
}

static size_t sweep(void)
{
    size_t n;
    struct errinfo ei = {0};
    enum td_err e = posture_sweep(posture, &n, &ei);
    if (e != TD_OK)
        fail_msg("%s", err_msg(&ei, e));
    return n;
}

static void is(enum posture_state want)
{
    assert_string_equal(posture_state_name(device().state), posture_state_name(want));
}

static enum td_err exec_fn(struct tx *tx, struct job *j, struct errinfo *ei)
{
    const struct sval seen[] = {SV_INT(j->i)};
    return tx_exec(tx, &own[j->a ? 3 : 5], seen, j->a ? 1 : 0, NULL, ei);
}

static enum td_err enrol_fn(struct tx *tx, struct job *j, struct errinfo *ei)
{
    const struct posture_cause c = cause();
    (void)j;
    TD_TRY(tx_exec(tx, &own[2],
                   SV_LIST(SV_TEXT(DEV), SV_BLOB(SPAN_LIT("0123456789abcdef0123456789abcdef")),
                           SV_INT(now.at)),
                   NULL, ei));
    return posture_look(posture, tx, &c, ei);
}

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/td-posture-XXXXXX");
    assert_non_null(mkdtemp(dir));
    char file[100];
    snprintf(file, sizeof file, "%s/t.db", dir);
    test_store_url(file, url);
    const struct store_stmts sets[] = {inventory_stmts, audit_stmts,   outbox_stmts,
                                       core_stmts,      posture_stmts, {own, TD_NITEMS(own)}};
    test_clock_init(&now, 100000);
    const struct store_conf conf = {.twice = test_twice(),
                                    .url = url,
                                    .readers = 2,
                                    .batch = 16,
                                    .queue = 64,
                                    .sets = sets,
                                    .nsets = TD_NITEMS(sets),
                                    .clock = &now.clock};
    struct errinfo ei = {0};
    if (store_open(&conf, &store, &ei) != TD_OK)
        fail_msg("%s", ei.msg);
    event_bus_init(&bus);
    rng_seeded_init(&seeded, 7);
    inv = (struct inventory){store, &bus, &now.clock, &seeded.rng};
    const struct core_conf cc = {
        .store = store,
        .clock = &now.clock,
        .rng = &rng_system,
        .ops = {.cert_lookup = no_cert, .device_listed = no_device, .cert_supersede = no_end},
        .push = {.send = no_push},
        .topic = "t",
        .enrollment_profile = "p"};
    assert_int_equal(core_open(&cc, &core, &ei), TD_OK);
    const struct posture_conf pc = {.store = store,
                                    .clock = &now.clock,
                                    .rng = &rng_system,
                                    .ops = {.hold = hold, .revoke = do_revoke, .restore = restore},
                                    .refresh = 6 * 3600,
                                    .confirm_after = 300,
                                    .period_ms = 3600000};
    assert_int_equal(posture_open(&pc, &posture, &ei), TD_OK);
    restored = 0;
    restore_answer = TD_OK;
    int64_t rev;
    bool created;
    const struct inv_device d = {
        .serial = DEV, .name = "", .model = "MacBook Pro", .owner = "", .source = "t"};
    assert_int_equal(inv_put(&inv, &d, -1, "t", &rev, &created, &ei), TD_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    posture_stop(posture);
    core_close(core);
    posture_close(posture);
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

/* --- tests ----------------------------------------------------------------------------------- */

static void test_grace_revocation_restoration(void **state)
{
    (void)state;
    put_rule("r", "{\"fact\":\"filevault\",\"value\":true,\"confirm\":1,\"grace\":600,"
                  "\"revoke_after\":3600}");
    hear(POSTURE_REPORTED, "filevault", "true");
    is(POSTURE_PASSING);
    now.at += 10;
    hear(POSTURE_REPORTED, "filevault", "false");
    is(POSTURE_FAILING);
    const int64_t since = now.at;
    assert_int_equal(device().hold_at, since + 600);
    assert_int_equal(device().revoke_at, since + 4200);
    acts(0, 0, 0);
    now.at = since + 599;
    assert_int_equal(sweep(), 0);
    now.at = since + 600;
    assert_int_equal(sweep(), 1);
    is(POSTURE_HELD);
    acts(1, 0, 0);
    assert_int_equal(sweep(), 0);
    now.at = since + 4200;
    assert_int_equal(sweep(), 1);
    is(POSTURE_REVOKED);
    acts(1, 0, 1);
    assert_int_equal(count("acts", "posture.change"), 3);
    /* back in order; the push fails at first and is tried again */
    restore_answer = TD_BUSY;
    hear(POSTURE_REPORTED, "filevault", "true");
    is(POSTURE_PASSING);
    acts(1, 1, 1);
    sweep();
    assert_int_equal(restored, 1);
    restore_answer = TD_OK;
    sweep();
    assert_int_equal(restored, 2);
    sweep();
    assert_int_equal(restored, 2);
}

static void test_silence(void **state)
{
    (void)state;
    put_rule("old",
             "{\"fact\":\"filevault\",\"value\":true,\"max_age\":3600,\"unknown\":\"fail\"}");
    hear(POSTURE_REPORTED, "filevault", "true");
    is(POSTURE_PASSING);
    now.at += 3600;
    assert_int_equal(sweep(), 0);
    now.at += 1;
    assert_int_equal(sweep(), 1);
    is(POSTURE_HELD);
    hear(POSTURE_REPORTED, "filevault", "true");
    is(POSTURE_PASSING);
    acts(1, 1, 0);
}

static void test_late_news(void **state)
{
    (void)state;
    put_rule("sip", "{\"fact\":\"sip\",\"value\":true,\"attested\":true}");
    hear(POSTURE_ATTESTED, "sip", "true");
    now.at -= 10; /* asked for before, verified behind it */
    hear(POSTURE_ATTESTED, "sip", "false");
    is(POSTURE_PASSING);
    now.at += 10;
    hear(POSTURE_ATTESTED, "sip", "false");
    is(POSTURE_HELD);
}

static void test_seen(void **state)
{
    (void)state;
    put_rule("seen", "{\"fact\":\"seen\",\"value\":true,\"max_age\":86400,\"unknown\":\"fail\"}");
    must(&(struct job){.fn = enrol_fn});
    is(POSTURE_PASSING);
    now.at += 86401;
    must(&(struct job){.fn = exec_fn, .a = "seen", .i = now.at - 100});
    assert_int_equal(sweep(), 1); /* it was seen meanwhile */
    is(POSTURE_PASSING);
    now.at += 86302;
    assert_int_equal(sweep(), 1);
    is(POSTURE_HELD);
}

static void test_questions(void **state)
{
    (void)state;
    struct errinfo ei = {0};
    assert_int_equal(posture_start(posture, core, &ei), TD_OK);
    must(&(struct job){.fn = enrol_fn});
    sweep();
    assert_int_equal(count("queued", "SecurityInfo"), 0); /* no rule needs to know */
    put_rule("r", "{\"fact\":\"firewall\",\"value\":true}");
    sweep();
    assert_int_equal(count("queued", "SecurityInfo"), 1);
    assert_int_equal(count("queued", "DeviceInformation"), 1);
    assert_int_equal(count("acts", "command.queue"), 0);
    now.at += 6 * 3600;
    sweep(); /* it did not answer yet: it is not asked twice */
    assert_int_equal(count("queued", "SecurityInfo"), 1);
    must(&(struct job){.fn = exec_fn});
    hear(POSTURE_REPORTED, "firewall", "false");
    is(POSTURE_FAILING);
    sweep();
    assert_int_equal(count("queued", "SecurityInfo"), 0);
    now.at += 300; /* to confirm */
    sweep();
    assert_int_equal(count("queued", "SecurityInfo"), 1);
    must(&(struct job){.fn = exec_fn});
    hear(POSTURE_REPORTED, "firewall", "false");
    is(POSTURE_HELD);
}

static void test_unconfirmed(void **state)
{
    (void)state;
    put_rule("r", "{\"fact\":\"firewall\",\"value\":true}");
    hear(POSTURE_REPORTED, "firewall", "false");
    now.at += POSTURE_CONFIRM_MAX - 1;
    sweep();
    is(POSTURE_FAILING);
    now.at += 1;
    sweep();
    is(POSTURE_HELD); /* silence is no way out */
}

static enum td_err exempt_fn(struct tx *tx, struct job *j, struct errinfo *ei)
{
    const struct posture_cause c = cause();
    return posture_exempt(posture, tx, &c, j->i, "t", ei);
}

static void test_exemption(void **state)
{
    (void)state;
    put_rule("r", "{\"fact\":\"sip\",\"value\":true,\"attested\":true}");
    hear(POSTURE_ATTESTED, "sip", "false");
    is(POSTURE_HELD);
    must(&(struct job){.fn = exempt_fn, .i = now.at + 100});
    is(POSTURE_FAILING);
    acts(1, 1, 0);
    now.at += 99;
    assert_int_equal(sweep(), 0);
    now.at += 1;
    assert_int_equal(sweep(), 1);
    is(POSTURE_HELD);
    acts(2, 1, 0);
}

static enum td_err delete_fn(struct tx *tx, struct job *j, struct errinfo *ei)
{
    const struct posture_change c = {.if_match = -1, .now = now.at, .actor = "t", .txn = "gone"};
    return posture_rule_delete(tx, j->a, &c, ei);
}

static void test_rules_change(void **state)
{
    (void)state;
    struct errinfo ei;
    put_rule("r", "{\"fact\":\"external.a\",\"value\":true}");
    hear(POSTURE_EXTERNAL, "external.a", "false");
    is(POSTURE_HELD);
    /* about another fact: what the old one failed for does not stick */
    put_rule("r", "{\"fact\":\"external.b\",\"value\":true}");
    assert_int_equal(sweep(), 1);
    is(POSTURE_PASSING);
    put_rule("s", "{\"fact\":\"external.a\",\"value\":true}");
    assert_int_equal(sweep(), 1);
    is(POSTURE_HELD);
    put_rule("s", "{\"fact\":\"external.a\",\"value\":true,\"enabled\":false}");
    sweep();
    is(POSTURE_PASSING);
    put_rule("s", "{\"fact\":\"external.a\",\"value\":true,\"platforms\":[\"ios\"]}");
    sweep();
    is(POSTURE_PASSING);
    put_rule("s", "{\"fact\":\"external.a\",\"value\":false}");
    sweep();
    is(POSTURE_PASSING);
    must(&(struct job){.fn = delete_fn, .a = "s"});
    must(&(struct job){.fn = delete_fn, .a = "r"});
    assert_int_equal(write_job(&(struct job){.fn = delete_fn, .a = "r"}, &ei), TD_NOTFOUND);
    sweep();
    is(POSTURE_PASSING);
    acts(2, 2, 0);
}

static enum td_err external_fn(struct tx *tx, struct job *j, struct errinfo *ei)
{
    const struct posture_external x = {cause(), j->a, j->b, "t"};
    return posture_external_set(posture, tx, &x, ei);
}

static void test_external(void **state)
{
    (void)state;
    struct errinfo ei;
    char name[64];
    for (int i = 0; i < POSTURE_EXTERNAL_MAX; i++) {
        snprintf(name, sizeof name, "external.f%d", i);
        must(&(struct job){.fn = external_fn, .a = name, .b = "true"});
    }
    const size_t known = facts();
    assert_int_equal(
        write_job(&(struct job){.fn = external_fn, .a = "external.g", .b = "true"}, &ei), TD_LIMIT);
    assert_string_equal(ei.reason, "too-many-facts");
    must(&(struct job){.fn = external_fn, .a = "external.f3", .b = "false"});
    assert_int_equal(facts(), known);
    must(&(struct job){.fn = external_fn, .a = "external.f3"});
    assert_int_equal(facts(), known - 1);
    assert_int_equal(write_job(&(struct job){.fn = external_fn, .a = "external.f3"}, &ei),
                     TD_NOTFOUND);
    static const char *const bad[][2] = {
        {"sip", "true"}, {"external.", "true"}, {"external.f1", "yes"}, {"external.f1", ""}};
    for (size_t i = 0; i < TD_NITEMS(bad); i++) {
        struct job j = {.fn = external_fn, .a = bad[i][0], .b = bad[i][1]};
        assert_int_equal(write_job(&j, &ei), TD_INVAL);
        assert_string_equal(ei.reason, "invalid-fact");
    }
}

static enum td_err forget_fn(struct tx *tx, struct job *j, struct errinfo *ei)
{
    (void)j;
    return posture_forget(tx, DEV, ei);
}

static void test_it_leaves(void **state)
{
    (void)state;
    struct errinfo ei;
    put_rule("r", "{\"fact\":\"sip\",\"value\":true}");
    hear(POSTURE_ATTESTED, "sip", "false");
    assert_int_equal(inv_delete(&inv, DEV, -1, "t", &ei), TD_OK);
    must(&(struct job){.fn = forget_fn});
    hear(POSTURE_ATTESTED, "sip", "false"); /* a stranger: nothing is kept */
    acts(1, 0, 0);
    assert_int_equal(
        write_job(&(struct job){.fn = external_fn, .a = "external.x", .b = "true"}, &ei),
        TD_NOTFOUND);
    assert_int_equal(write_job(&(struct job){.fn = exempt_fn, .i = 1}, &ei), TD_NOTFOUND);
    put_rule("r", "{\"fact\":\"sip\",\"value\":false}");
    assert_int_equal(sweep(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_grace_revocation_restoration, setup, teardown),
        cmocka_unit_test_setup_teardown(test_silence, setup, teardown),
        cmocka_unit_test_setup_teardown(test_late_news, setup, teardown),
        cmocka_unit_test_setup_teardown(test_seen, setup, teardown),
        cmocka_unit_test_setup_teardown(test_questions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unconfirmed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_exemption, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rules_change, setup, teardown),
        cmocka_unit_test_setup_teardown(test_external, setup, teardown),
        cmocka_unit_test_setup_teardown(test_it_leaves, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
