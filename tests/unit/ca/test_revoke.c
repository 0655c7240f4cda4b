/* Revocation, hold and release: what changes, what is refused, what is written down. */
#include "ca_test.h"

#include "acme/ca/ca_int.h"
#include "mdm/base/hex.h"

static struct span add(struct fixture *f, uint8_t n, const char *device, const char *purpose,
                       int64_t shard)
{
    static uint8_t serials[256][4];
    memcpy(serials[n], (uint8_t[]){0x41, 2, 3, n}, 4);
    struct ca_record r = {.serial = SPAN_ARR(serials[n]),
                          .device_serial = device,
                          .profile = purpose,
                          .purpose = purpose,
                          .der = SPAN_LIT("der"),
                          .not_before = 100,
                          .not_after = INT64_C(4000000000),
                          .created_at = 1000 + n,
                          .shard = shard,
                          .reason = -1};
    memset(r.sha256, 0x40 ^ n, SHA256_SIZE);
    memset(r.spki_sha256, 0xc0 ^ n, SHA256_SIZE);
    memset(r.issuer, 7, sizeof r.issuer);
    add_record(f, &r);
    return r.serial;
}

enum op { ONE, DEVICE, ACCESS, HOLD_DEVICE, RELEASE_DEVICE, LEAVE, BY_HASH };

struct job {
    enum op op;
    struct span serial;
    const char *device;
    struct ca_change c;
    bool changed;
    int64_t n;
};

static enum td_err job_fn(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct job *j = ctx;
    uint8_t hash[SHA256_SIZE];
    struct ca_change why = {.reason = 5, .now = j->c.now};
    switch (j->op) {
    case ONE:
        return ca_change_one(tx, j->serial, &j->c, &j->changed, ei);
    case DEVICE:
        return ca_change_device(tx, j->device, NULL, &j->c, &j->n, ei);
    case ACCESS:
        return ca_change_device(tx, j->device, "access", &j->c, &j->n, ei);
    case HOLD_DEVICE:
        return ca_hold_device(tx, j->device, true, &j->c, &j->n, ei);
    case RELEASE_DEVICE:
        return ca_hold_device(tx, j->device, false, &j->c, &j->n, ei);
    case LEAVE:
        return ca_revoke_device(tx, j->device, &why, &j->n, ei);
    case BY_HASH:
        memset(hash, 0x40 ^ j->serial.p[3], sizeof hash);
        why.reason = 4;
        return ca_revoke_one(tx, hash, &why, &j->n, ei);
    }
    return TD_INTERNAL;
}

static enum td_err run_job(struct fixture *f, struct job *j, struct errinfo *ei)
{
    if (j->c.if_match == 0)
        j->c.if_match = CA_IF_ANY;
    if (!j->c.now)
        j->c.now = 5000;
    j->c.actor = "test";
    j->c.txn = j->c.txn ? j->c.txn : "t1";
    *ei = (struct errinfo){0};
    return store_write(f->store, job_fn, j, ei);
}

static bool change(struct fixture *f, struct span serial, enum ca_act act, int reason, int64_t now)
{
    struct errinfo ei;
    struct job j = {.serial = serial, .c = {.act = act, .reason = reason, .now = now}};
    enum td_err e = run_job(f, &j, &ei);
    if (e != TD_OK)
        fail_msg("%s", err_msg(&ei, e));
    return j.changed;
}

static void refused(struct fixture *f, struct span serial, enum ca_act act, int reason,
                    enum td_err want, const char *why)
{
    struct errinfo ei;
    struct job j = {.serial = serial, .c = {.act = act, .reason = reason}};
    assert_int_equal(run_job(f, &j, &ei), want);
    assert_string_equal(ei.reason ? ei.reason : "", why);
}

struct look {
    struct span serial;
    struct arena *a;
    struct ca_record r;
};

static enum td_err look_fn(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct look *l = ctx;
    return ca_record_get(tx, l->serial, l->a, &l->r, ei);
}

static void is(struct fixture *f, struct span serial, enum ca_state state, int64_t at, int reason,
               int64_t rev)
{
    arena_auto a;
    arena_init(&a, 1 << 20);
    struct errinfo ei = {0};
    struct look l = {.serial = serial, .a = &a};
    assert_ok(store_read(f->store, look_fn, &l, &ei));
    assert_int_equal(l.r.state, state);
    assert_int_equal(l.r.revoked, state != CA_GOOD);
    assert_int_equal(l.r.revoked_at, at);
    assert_int_equal(l.r.reason, reason);
    assert_int_equal(l.r.rev, rev);
}

static int64_t changes(struct fixture *f)
{
    struct errinfo ei = {0};
    int64_t n = -1;
    assert_ok(ca_crl_changes(f->ca, &n, &ei));
    return n;
}

static void test_reasons(void **state)
{
    (void)state;
    static const bool allowed[] = {true,  true,  false, true, true,  true,
                                   false, false, false, true, false, false};
    struct errinfo ei = {0};
    for (int i = -1; i < (int)TD_NITEMS(allowed); i++) {
        int back = -5;
        const char *name = ca_reason_name(i);
        assert_int_equal(ca_reason_allowed(i), i >= 0 && allowed[i]);
        assert_int_equal(name != NULL, i >= 0 && i <= 10 && i != 7);
        if (name && allowed[i]) {
            assert_ok(ca_reason_parse(span_str(name), &back, &ei));
            assert_int_equal(back, i);
        } else if (name) {
            assert_int_equal(ca_reason_parse(span_str(name), &back, &ei), TD_INVAL);
        }
    }
    int r;
    assert_int_equal(ca_reason_parse(SPAN_LIT("keycompromise"), &r, &ei), TD_INVAL);
    assert_string_equal(ei.reason, "revocation-reason");
    enum ca_state s;
    assert_true(ca_state_parse(SPAN_LIT("held"), &s) && s == CA_HELD);
    assert_false(ca_state_parse(SPAN_LIT("Held"), &s));
}

static void test_revoke(void **state)
{
    struct fixture *f = *state;
    struct span s = add(f, 1, "REV1", "access", 1);
    int64_t before = changes(f);
    assert_true(change(f, s, CA_ACT_REVOKE, 1, 5000));
    is(f, s, CA_REVOKED, 5000, 1, 1);
    assert_int_equal(changes(f), before + 1);
    /* the same again is no change, and not an error */
    assert_false(change(f, s, CA_ACT_REVOKE, 1, 6000));
    is(f, s, CA_REVOKED, 5000, 1, 1);
    assert_int_equal(changes(f), before + 1);
    refused(f, s, CA_ACT_REVOKE, 4, TD_STATE, "already-revoked");
    refused(f, s, CA_ACT_HOLD, 0, TD_STATE, "already-revoked");
    refused(f, s, CA_ACT_RELEASE, 0, TD_STATE, "already-revoked");
    refused(f, SPAN_LIT("\x41\xff"), CA_ACT_REVOKE, 1, TD_NOTFOUND, "");
    struct span other = add(f, 2, "REV1", "access", 1);
    static const int bad[] = {-1, 2, 6, 7, 8, 10, 11};
    for (size_t i = 0; i < TD_NITEMS(bad); i++)
        refused(f, other, CA_ACT_REVOKE, bad[i], TD_INVAL, "revocation-reason");
    is(f, other, CA_GOOD, 0, -1, 0);
}

static void test_hold_and_release(void **state)
{
    struct fixture *f = *state;
    struct span s = add(f, 3, "HOLD1", "access", 2);
    int64_t before = changes(f);
    assert_false(change(f, s, CA_ACT_RELEASE, 0, 5000)); /* good already */
    assert_true(change(f, s, CA_ACT_HOLD, 0, 5000));
    is(f, s, CA_HELD, 5000, 6, 1);
    assert_false(change(f, s, CA_ACT_HOLD, 0, 5001));
    assert_true(change(f, s, CA_ACT_RELEASE, 0, 5002));
    is(f, s, CA_GOOD, 0, -1, 2);
    assert_true(change(f, s, CA_ACT_HOLD, 0, 5003));
    assert_int_equal(changes(f), before + 3);
    /* revoked while on hold: the date of the hold stands */
    assert_true(change(f, s, CA_ACT_REVOKE, 9, 6000));
    is(f, s, CA_REVOKED, 5003, 9, 4);
}

static void test_if_match(void **state)
{
    struct fixture *f = *state;
    struct errinfo ei;
    struct span s = add(f, 4, "MATCH1", "access", 0);
    struct job j = {.serial = s, .c = {.act = CA_ACT_HOLD, .if_match = 1}};
    assert_int_equal(run_job(f, &j, &ei), TD_CONFLICT);
    assert_int_equal(ei.http, 412);
    assert_true(change(f, s, CA_ACT_HOLD, 0, 5000));
    assert_ok(run_job(f, &j, &ei)); /* held at rev 1 already */
    assert_false(j.changed);
    j.c.act = CA_ACT_RELEASE;
    assert_ok(run_job(f, &j, &ei));
    assert_true(j.changed);
    assert_int_equal(run_job(f, &j, &ei), TD_CONFLICT);
}

/* Quarantine: access alone, what is issued meanwhile too, and back. */
static void test_device(void **state)
{
    struct fixture *f = *state;
    struct errinfo ei;
    struct span mgmt = add(f, 10, "DEV1", "management", 1), a1 = add(f, 11, "DEV1", "access", 2),
                a2 = add(f, 12, "DEV1", "access", 3), other = add(f, 13, "DEV2", "access", 3);
    assert_true(change(f, a2, CA_ACT_REVOKE, 4, 4000));
    struct job j = {.op = HOLD_DEVICE, .device = "DEV1"};
    assert_ok(run_job(f, &j, &ei));
    assert_int_equal(j.n, 1);
    is(f, mgmt, CA_GOOD, 0, -1, 0);
    is(f, a1, CA_HELD, 5000, 6, 1);
    is(f, a2, CA_REVOKED, 4000, 4, 1);
    is(f, other, CA_GOOD, 0, -1, 0);
    int64_t before = changes(f);
    struct span late = add(f, 14, "DEV1", "access", 4),
                late_mgmt = add(f, 15, "DEV1", "management", 4);
    is(f, late, CA_HELD, 1014, 6, 1); /* at created_at */
    is(f, late_mgmt, CA_GOOD, 0, -1, 0);
    assert_int_equal(changes(f), before + 1);
    assert_ok(run_job(f, &j, &ei)); /* again */
    assert_int_equal(j.n, 0);
    j.op = RELEASE_DEVICE;
    assert_ok(run_job(f, &j, &ei));
    assert_int_equal(j.n, 2);
    is(f, a1, CA_GOOD, 0, -1, 2);
    is(f, late, CA_GOOD, 0, -1, 2);
    is(f, add(f, 16, "DEV1", "access", 4), CA_GOOD, 0, -1, 0);
    /* leaving takes all, held ones with the date of their hold */
    assert_true(change(f, a1, CA_ACT_HOLD, 0, 7000));
    j = (struct job){.op = LEAVE, .device = "DEV1", .c.now = 8000};
    before = changes(f);
    assert_ok(run_job(f, &j, &ei));
    assert_int_equal(j.n, 5);
    assert_int_equal(changes(f), before + 5);
    is(f, mgmt, CA_REVOKED, 8000, 5, 1);
    is(f, a1, CA_REVOKED, 7000, 5, 4);
    is(f, a2, CA_REVOKED, 4000, 4, 1);
    is(f, other, CA_GOOD, 0, -1, 0);
    j = (struct job){.op = BY_HASH, .serial = other};
    assert_ok(run_job(f, &j, &ei));
    assert_int_equal(j.n, 1);
    is(f, other, CA_REVOKED, 5000, 4, 1);
    assert_ok(run_job(f, &j, &ei));
    assert_int_equal(j.n, 0);
}

/* An administrator and posture hold; it ends when both let go. */
static void test_two_holders(void **state)
{
    struct fixture *f = *state;
    struct errinfo ei;
    struct span a = add(f, 40, "TWO1", "access", 1), b = add(f, 41, "TWO1", "access", 1);
    struct job j = {.op = HOLD_DEVICE, .device = "TWO1", .c.by = CA_BY_POSTURE};
    assert_true(change(f, a, CA_ACT_HOLD, 0, 4000));
    int64_t before = changes(f);
    assert_ok(run_job(f, &j, &ei));
    assert_int_equal(j.n, 1); /* the other was held already */
    is(f, a, CA_HELD, 4000, 6, 2);
    is(f, b, CA_HELD, 5000, 6, 1);
    assert_int_equal(changes(f), before + 1);
    refused(f, b, CA_ACT_RELEASE, 0, TD_STATE, "held-by-another");
    is(f, b, CA_HELD, 5000, 6, 1);
    /* what comes now is held by posture; an administrator's release of the device changes nothing
     * but takes his own hold away */
    struct span late = add(f, 42, "TWO1", "access", 1);
    j = (struct job){.op = RELEASE_DEVICE, .device = "TWO1"};
    assert_ok(run_job(f, &j, &ei));
    assert_int_equal(j.n, 0);
    is(f, a, CA_HELD, 4000, 6, 3);
    is(f, late, CA_HELD, 1042, 6, 1);
    /* both hold the device; posture lets go first */
    j = (struct job){.op = HOLD_DEVICE, .device = "TWO1"};
    assert_ok(run_job(f, &j, &ei));
    j = (struct job){.op = RELEASE_DEVICE, .device = "TWO1", .c.by = CA_BY_POSTURE};
    assert_ok(run_job(f, &j, &ei));
    assert_int_equal(j.n, 0);
    struct span later = add(f, 43, "TWO1", "access", 1);
    is(f, later, CA_HELD, 1043, 6, 1);
    j.c.by = CA_BY_ADMIN;
    assert_ok(run_job(f, &j, &ei));
    assert_int_equal(j.n, 4);
    is(f, later, CA_GOOD, 0, -1, 2);
    is(f, add(f, 44, "TWO1", "access", 1), CA_GOOD, 0, -1, 0);
}

static void test_act_on_device(void **state)
{
    struct fixture *f = *state;
    struct errinfo ei;
    struct span a = add(f, 20, "ACT1", "access", 1), m = add(f, 21, "ACT1", "management", 1);
    struct job j = {.op = ACCESS, .device = "ACT1", .c = {.act = CA_ACT_REVOKE, .reason = 9}};
    assert_ok(run_job(f, &j, &ei));
    assert_int_equal(j.n, 1);
    is(f, a, CA_REVOKED, 5000, 9, 1);
    is(f, m, CA_GOOD, 0, -1, 0);
    j.op = DEVICE;
    j.c.reason = 1; /* what is revoked stays as it is */
    assert_ok(run_job(f, &j, &ei));
    assert_int_equal(j.n, 1);
    is(f, a, CA_REVOKED, 5000, 9, 1);
    is(f, m, CA_REVOKED, 5000, 1, 1);
    j.device = "NOBODY";
    assert_ok(run_job(f, &j, &ei));
    assert_int_equal(j.n, 0);
}

/* A change that does not commit counts nowhere. */
static enum td_err fail_after(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct job *j = ctx;
    TD_TRY(ca_change_one(tx, j->serial, &j->c, &j->changed, ei));
    return err_set(ei, TD_CONFLICT, "undone");
}

static void test_undone(void **state)
{
    struct fixture *f = *state;
    struct errinfo ei = {0};
    struct span s = add(f, 30, "UNDO1", "access", 1);
    int64_t before = changes(f);
    struct job j = {
        .serial = s,
        .c = {.act = CA_ACT_HOLD, .if_match = CA_IF_ANY, .now = 1, .txn = "x", .actor = "x"}};
    assert_int_equal(store_write(f->store, fail_after, &j, &ei), TD_CONFLICT);
    is(f, s, CA_GOOD, 0, -1, 0);
    assert_int_equal(changes(f), before);
}

struct list_job {
    struct ca_filter filter;
    struct arena *a;
    struct ca_record *list;
    size_t n;
};

static enum td_err list_fn(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct list_job *j = ctx;
    return ca_records_list(tx, &j->filter, j->a, &j->list, &j->n, ei);
}

static size_t count(struct fixture *f, struct list_job *j)
{
    struct errinfo ei = {0};
    assert_ok(store_read(f->store, list_fn, j, &ei));
    for (size_t i = 1; i < j->n; i++)
        assert_true(memcmp(j->list[i - 1].serial.p, j->list[i].serial.p, 4) < 0);
    return j->n;
}

static void test_list(void **state)
{
    struct fixture *f = *state;
    arena_auto a;
    arena_init(&a, 1 << 20);
    for (uint8_t i = 0; i < 6; i++)
        add(f, (uint8_t)(200 + i), "LIST1", "access", 0);
    change(f, span_of((uint8_t[]){0x41, 2, 3, 201}, 4), CA_ACT_HOLD, 0, 5000);
    change(f, span_of((uint8_t[]){0x41, 2, 3, 203}, 4), CA_ACT_REVOKE, 1, 5000);
    struct list_job j = {.a = &a, .filter = {.device_serial = "LIST1", .state = -1, .max = 100}};
    assert_int_equal(count(f, &j), 6);
    j.filter.state = CA_GOOD;
    assert_int_equal(count(f, &j), 4);
    j.filter.state = CA_HELD;
    assert_int_equal(count(f, &j), 1);
    assert_int_equal(j.list[0].serial.p[3], 201);
    j.filter = (struct ca_filter){.state = CA_HELD, .max = 100};
    size_t held = count(f, &j);
    assert_true(held >= 1);
    for (size_t i = 0; i < held; i++)
        assert_int_equal(j.list[i].state, CA_HELD);
    /* page by page gives the same as at once */
    j.filter = (struct ca_filter){.state = -1, .max = 1000};
    size_t all = count(f, &j), seen = 0;
    j.filter.max = 4;
    while (count(f, &j) > 0) {
        seen += j.n;
        j.filter.after = j.list[j.n - 1].serial;
    }
    assert_int_equal(seen, all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_revoke),
        cmocka_unit_test(test_hold_and_release),
        cmocka_unit_test(test_if_match),
        cmocka_unit_test(test_device),
        cmocka_unit_test(test_act_on_device),
        cmocka_unit_test(test_two_holders),
        cmocka_unit_test(test_undone),
        cmocka_unit_test(test_list),
    };
    return cmocka_run_group_tests(tests, fixture_up, fixture_down);
}
