/* The judgement over time: which value counts, what goes on failing, when something follows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mdm/posture/eval.h"

#define HOUR 3600

static struct posture_rule rule(void)
{
    struct posture_rule r = {
        .op = POSTURE_EQ, .confirm = 2, .enforce = true, .enabled = true, .fact = "sip"};
    snprintf(r.name, sizeof r.name, "r");
    snprintf(r.values, sizeof r.values, "true");
    return r;
}

static struct posture_obs obs(enum posture_source source, const char *value, int64_t at)
{
    return (struct posture_obs){.name = "sip", .source = source, .value = value, .at = at};
}

static enum posture_verdict judge(const struct posture_rule *r, const struct posture_obs *list,
                                  size_t n, int64_t now)
{
    struct posture_result res;
    posture_judge(r, list, n, now, &res);
    return res.verdict;
}

static void test_which_value_counts(void **state)
{
    (void)state;
    struct posture_rule r = rule();
    struct posture_obs other = obs(POSTURE_ATTESTED, "true", 100);
    other.name = "filevault";
    assert_int_equal(judge(&r, NULL, 0, 100), POSTURE_UNKNOWN);
    assert_int_equal(judge(&r, &other, 1, 100), POSTURE_UNKNOWN);
    struct posture_obs two[] = {obs(POSTURE_ATTESTED, "false", 100),
                                obs(POSTURE_REPORTED, "true", 101)};
    assert_int_equal(judge(&r, two, 2, 200), POSTURE_PASS); /* the newer */
    two[1].at = 100;
    assert_int_equal(judge(&r, two, 2, 200), POSTURE_FAIL); /* the weightier */
    two[1].at = 101;
    r.attested = true;
    assert_int_equal(judge(&r, two, 2, 200), POSTURE_FAIL);
    assert_int_equal(judge(&r, two + 1, 1, 200), POSTURE_UNKNOWN);
    r.max_age = 50;
    struct posture_result res;
    posture_judge(&r, two, 2, 150, &res);
    assert_int_equal(res.verdict, POSTURE_FAIL);
    assert_int_equal(res.until, 151);
    assert_int_equal(judge(&r, two, 2, 151), POSTURE_UNKNOWN);
}

/* A track as `value` is judged at `now`; NULL: nothing is known. */
static struct posture_track next(const struct posture_rule *r, struct posture_track t,
                                 enum posture_source source, const char *value, bool fresh,
                                 int64_t now)
{
    struct posture_obs o = obs(source, value ? value : "", now);
    struct posture_result res;
    struct posture_track ret;
    o.fresh = fresh;
    posture_judge(r, &o, value != NULL, now, &res);
    posture_track_next(r, &res, 300, now, &t, &ret);
    return ret;
}

static void test_confirmation(void **state)
{
    (void)state;
    const struct posture_rule r = rule();
    struct posture_track t = {.verdict = POSTURE_PASS};
    t = next(&r, t, POSTURE_REPORTED, "false", true, 1000);
    assert_int_equal(t.readings, 1);
    t = next(&r, t, POSTURE_REPORTED, "false", true, 1299); /* too soon to be another */
    assert_int_equal(t.readings, 1);
    t = next(&r, t, POSTURE_REPORTED, "false", false, 1300); /* no reading, a look */
    assert_int_equal(t.readings, 1);
    t = next(&r, t, POSTURE_REPORTED, "false", true, 1300);
    assert_int_equal(t.readings, 2);
    assert_int_equal(t.since, 1000);
    t = next(&r, t, POSTURE_REPORTED, NULL, false, 9000); /* silent: it goes on failing */
    assert_int_equal(t.verdict, POSTURE_FAIL);
    assert_int_equal(t.readings, 2);
    t = next(&r, t, POSTURE_REPORTED, "true", true, 9001);
    assert_int_equal(t.verdict, POSTURE_PASS);
    t = next(&r, t, POSTURE_REPORTED, "false", true, 9002); /* from the beginning */
    assert_int_equal(t.readings, 1);
    assert_int_equal(t.since, 9002);
    /* what the hardware says needs no second reading, and is not taken back by a report */
    t = next(&r, t, POSTURE_ATTESTED, "false", true, 9003);
    assert_int_equal(t.readings, POSTURE_CONFIRM_LIMIT);
    t = next(&r, t, POSTURE_REPORTED, "false", true, 9999);
    assert_int_equal(t.readings, POSTURE_CONFIRM_LIMIT);
    for (int64_t i = 0; i < 20; i++)
        t = next(&r, t, POSTURE_REPORTED, "false", true, 20000 + 300 * i);
    assert_int_equal(t.readings, POSTURE_CONFIRM_LIMIT);
}

static void test_unknown(void **state)
{
    (void)state;
    struct posture_rule r = rule();
    struct posture_track t = {.verdict = POSTURE_PASS};
    t = next(&r, t, POSTURE_REPORTED, NULL, false, 100);
    assert_int_equal(t.verdict, POSTURE_UNKNOWN);
    struct posture_track fails = next(&r, t, POSTURE_REPORTED, "false", true, 200);
    assert_int_equal(fails.since, 200); /* it begins now */
    r.unknown_fails = true;
    fails = next(&r, t, POSTURE_REPORTED, "false", true, 200);
    assert_int_equal(fails.since, 100); /* it was not satisfied before either */
    assert_int_equal(fails.readings, POSTURE_CONFIRM_LIMIT);
}

static struct posture_plan plan(const struct posture_rule *r, const struct posture_track *t)
{
    struct posture_plan p = {0};
    const struct posture_result res = {.verdict = t->verdict};
    posture_plan_add(&p, r, &res, t, 300);
    return p;
}

static void test_plan(void **state)
{
    (void)state;
    struct posture_rule r = rule();
    struct posture_track t = {POSTURE_FAIL, 1000, 1100, 2};
    struct posture_plan p = plan(&r, &t);
    assert_int_equal(p.failing, 1);
    assert_int_equal(p.hold_at, 1000);
    assert_int_equal(p.revoke_at, 0);
    assert_int_equal(p.ask_at, 0);
    r.grace = HOUR;
    r.revoke_after = 2 * HOUR;
    p = plan(&r, &t);
    assert_int_equal(p.hold_at, 1000 + HOUR);
    assert_int_equal(p.revoke_at, 1000 + 3 * HOUR);
    /* not confirmed: it is asked, and in the end acts all the same */
    t.readings = 1;
    r.grace = 60;
    p = plan(&r, &t);
    assert_int_equal(p.ask_at, 1100 + 300);
    assert_int_equal(p.hold_at, 1000 + POSTURE_CONFIRM_MAX);
    r.grace = 2 * POSTURE_CONFIRM_MAX;
    p = plan(&r, &t);
    assert_int_equal(p.hold_at, 1000 + 2 * POSTURE_CONFIRM_MAX);
    r.enforce = false;
    p = plan(&r, &t);
    assert_int_equal(p.failing, 0);
    assert_int_equal(p.hold_at, 0);
    assert_int_equal(p.ask_at, 1100 + 300);
    /* unknown */
    r = rule();
    t = (struct posture_track){POSTURE_UNKNOWN, 1000, 0, 0};
    assert_int_equal(plan(&r, &t).failing, 0);
    r.unknown_fails = true;
    r.grace = 60;
    assert_int_equal(plan(&r, &t).hold_at, 1060);
    t.verdict = POSTURE_PASS;
    assert_int_equal(plan(&r, &t).failing, 0);
}

static void test_states(void **state)
{
    (void)state;
    struct posture_plan p = {.failing = 1, .hold_at = 100, .revoke_at = 200};
    assert_int_equal(posture_plan_state(&p, POSTURE_PASSING, 99), POSTURE_FAILING);
    assert_int_equal(posture_plan_state(&p, POSTURE_FAILING, 100), POSTURE_HELD);
    assert_int_equal(posture_plan_state(&p, POSTURE_HELD, 199), POSTURE_HELD);
    assert_int_equal(posture_plan_state(&p, POSTURE_HELD, 200), POSTURE_REVOKED);
    p.revoke_at = 0;
    assert_int_equal(posture_plan_state(&p, POSTURE_REVOKED, 300), POSTURE_REVOKED);
    p.hold_at = 400; /* another rule, in its time of grace */
    assert_int_equal(posture_plan_state(&p, POSTURE_HELD, 300), POSTURE_FAILING);
    p.failing = 0;
    assert_int_equal(posture_plan_state(&p, POSTURE_REVOKED, 300), POSTURE_PASSING);
    p = (struct posture_plan){.hold_at = 100, .revoke_at = 200, .ask_at = 150, .next_change = 90};
    assert_int_equal(posture_plan_due(&p, 89), 90);
    assert_int_equal(posture_plan_due(&p, 90), 100);
    assert_int_equal(posture_plan_due(&p, 150), 200);
    assert_int_equal(posture_plan_due(&p, 200), 0);
    enum posture_state s;
    for (int i = POSTURE_PASSING; i <= POSTURE_REVOKED; i++) {
        assert_true(posture_state_parse(span_str(posture_state_name((enum posture_state)i)), &s));
        assert_int_equal(s, i);
    }
    assert_false(posture_state_parse(SPAN_LIT("Held"), &s));
    assert_false(posture_state_parse(SPAN_LIT(""), &s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_which_value_counts),
        cmocka_unit_test(test_confirmation),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_plan),
        cmocka_unit_test(test_states),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
