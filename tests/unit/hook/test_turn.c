/* Claims, leases, order, and what a turn leaves in the database. */
#include "hook_test.h"

static struct hook_turn claim(const char *id, int64_t now, bool want)
{
    struct hook_turn t = {.keep = 100};
    bool ours = !want;
    snprintf(t.id, sizeof t.id, "%s", id);
    assert_ok(hook_turn_begin(w.store, &t, now, &rng_system, &ours, NULL));
    assert_int_equal(ours, want);
    return t;
}

static size_t due(int64_t now)
{
    struct hook_due d = {.n = 0};
    assert_ok(hook_turn_due(w.store, now, &d, NULL));
    return d.n;
}

static struct hook_work work(const struct hook_turn *t)
{
    struct hook_work work;
    assert_ok(hook_turn_read(w.store, t, &w.a, &work, NULL));
    return work;
}

static void one_node_at_a_time(void **state)
{
    (void)state;
    add_hook("w1", "device.added");
    assert_int_equal(due(HOOK_NOW), 0); /* nothing waits */
    add_event("S1");
    add_event("S2");
    assert_int_equal(due(HOOK_NOW), 1);
    struct hook_turn a = claim("w1", HOOK_NOW, true);
    assert_int_equal(due(HOOK_NOW), 0);
    (void)claim("w1", HOOK_NOW + 99, false);
    struct hook_work got = work(&a);
    assert_int_equal(got.n, 2);
    assert_string_equal(got.events[0].device, "S1");
    assert_string_equal(got.events[1].device, "S2");
    bool ours = false;
    assert_ok(hook_turn_done(w.store, &a, got.events[0].id, HOOK_NOW + 50, &ours, NULL));
    assert_true(ours); /* and the lease begins anew */
    (void)claim("w1", HOOK_NOW + 149, false);
    assert_ok(hook_turn_end(w.store, &a, HOOK_NOW, NULL));
    struct hook_turn b = claim("w1", HOOK_NOW + 51, true);
    assert_int_equal(work(&b).n, 1);
}

/* Node A dies, or hangs: B goes on behind the lease, and what A says later changes nothing but
 * that what it delivered is delivered. */
static void lease_takeover(void **state)
{
    (void)state;
    add_hook("w1", "device.added");
    add_event("S1");
    add_event("S2");
    struct hook_turn a = claim("w1", HOOK_NOW, true);
    struct hook_work of_a = work(&a);
    struct hook_turn b = claim("w1", HOOK_NOW + 100, true);
    struct hook_work none;
    assert_int_equal(hook_turn_read(w.store, &a, &w.a, &none, NULL), TD_NOTFOUND);
    const struct hook_failure f = {
        .event = of_a.events[0].id, .error = "late", .next_at = HOOK_NOW + 9999, .drop = true};
    assert_ok(hook_turn_failed(w.store, &a, &f, HOOK_NOW + 101, NULL));
    assert_string_equal(view("w1").last_error, "");
    assert_int_equal(work(&b).n, 2);
    bool ours = true;
    assert_ok(hook_turn_done(w.store, &a, of_a.events[0].id, HOOK_NOW + 101, &ours, NULL));
    assert_false(ours);
    assert_int_equal(work(&b).n, 1);
    assert_ok(hook_turn_end(w.store, &a, HOOK_NOW, NULL));
    (void)claim("w1", HOOK_NOW + 150, false); /* B's still */
    assert_ok(hook_turn_recover(w.store, NULL));
    (void)claim("w1", HOOK_NOW + 150, true);
}

static void failures(void **state)
{
    (void)state;
    add_hook("w1", "device.added");
    add_event("S1");
    add_event("S2");
    struct hook_turn t = claim("w1", HOOK_NOW, true);
    struct hook_failure f = {.error = "down", .next_at = HOOK_NOW + 30};
    assert_ok(hook_turn_failed(w.store, &t, &f, HOOK_NOW + 1, NULL));
    struct hook h = view("w1");
    assert_int_equal(h.failing_since, HOOK_NOW + 1);
    assert_int_equal(h.queue, 2);
    assert_int_equal(due(HOOK_NOW + 29), 0);
    (void)claim("w1", HOOK_NOW + 29, false);
    assert_int_equal(due(HOOK_NOW + 30), 1);
    t = claim("w1", HOOK_NOW + 30, true);
    struct hook_work got = work(&t);
    assert_int_equal(got.tries, 1);
    f = (struct hook_failure){
        .event = got.events[0].id, .error = "no", .next_at = HOOK_NOW + 60, .drop = true};
    assert_ok(hook_turn_failed(w.store, &t, &f, HOOK_NOW + 31, NULL));
    h = view("w1");
    assert_int_equal(h.failing_since, HOOK_NOW + 1); /* since the first */
    assert_int_equal(h.last_error_at, HOOK_NOW + 31);
    assert_int_equal(h.dropped, 1);
    assert_int_equal(h.queue, 1);
    t = claim("w1", HOOK_NOW + 60, true);
    got = work(&t);
    assert_string_equal(got.events[0].device, "S2");
    bool ours;
    assert_ok(hook_turn_done(w.store, &t, got.events[0].id, HOOK_NOW + 61, &ours, NULL));
    h = view("w1");
    assert_int_equal(h.failing_since, 0);
    assert_int_equal(h.delivered, 1);
    assert_int_equal(h.oldest_at, 0);
    assert_string_equal(h.last_error, "no");
}

static void gone(void **state)
{
    (void)state;
    add_hook("w1", "device.added");
    add_event("S1");
    struct hook_turn t = claim("w1", HOOK_NOW, true);
    struct hook_failure f = {
        .error = "answered 410", .next_at = HOOK_NOW, .gone = true, .url = "http://other/"};
    assert_ok(hook_turn_failed(w.store, &t, &f, HOOK_NOW, NULL));
    assert_true(view("w1").enabled); /* that was the old address */
    t = claim("w1", HOOK_NOW, true);
    f.url = w.hook_url;
    assert_ok(hook_turn_failed(w.store, &t, &f, HOOK_NOW, NULL));
    assert_false(view("w1").enabled);
    assert_int_equal(due(HOOK_NOW + 1000), 0);
    add_event("S2");
    assert_int_equal(view("w1").queue, 1); /* nobody is told any more */
    struct hook_job j = hook_job("w1");
    j.what = PING;
    assert_int_equal(hook_do(&j), TD_STATE);
}

/* A change ends the turn that is under way, and makes due what waits. */
static void changes(void **state)
{
    (void)state;
    add_hook("w1", "");
    add_hook("w2", "device.left ca.rotated");
    add_event("S1");
    assert_int_equal(view("w1").queue, 1);
    assert_int_equal(view("w2").queue, 0);
    struct hook_turn t = claim("w1", HOOK_NOW, true);
    struct hook_job j = hook_job("w1");
    j.what = PUT;
    j.if_match = 7;
    assert_int_equal(hook_do(&j), TD_CONFLICT);
    j.if_match = 1;
    j.h.types = "device.left";
    assert_ok(hook_do(&j));
    struct hook_work none;
    assert_int_equal(hook_turn_read(w.store, &t, &w.a, &none, NULL), TD_NOTFOUND);
    assert_int_equal(due(HOOK_NOW), 1);
    add_event("S2"); /* not its type any more */
    assert_int_equal(view("w1").queue, 1);
    j = hook_job("w1");
    j.what = DROP;
    assert_ok(hook_do(&j));
    assert_int_equal(hook_do(&j), TD_NOTFOUND);
    j.what = GET;
    assert_int_equal(hook_do(&j), TD_NOTFOUND);
    assert_int_equal(due(HOOK_NOW), 0);
    /* w2 alone is left; an endpoint that wants all gets what a later version adds */
    add_hook("w3", "");
    assert_ok(store_write(w.store, hook_refresh, NULL, NULL));
    add_event("S3");
    assert_int_equal(view("w3").queue, 1);
    assert_int_equal(view("w2").queue, 0);
}

static void limit(void **state)
{
    (void)state;
    for (int i = 0; i < HOOK_ENDPOINTS_MAX; i++) {
        char id[16];
        snprintf(id, sizeof id, "w%d", i);
        add_hook(id, "device.added");
    }
    struct hook_job j = hook_job("more");
    j.sealed = SPAN_LIT("x");
    assert_int_equal(hook_do(&j), TD_STATE);
    add_event("S1");
    assert_int_equal(due(HOOK_NOW), HOOK_ENDPOINTS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(one_node_at_a_time), T(lease_takeover), T(failures), T(gone), T(changes), T(limit),
    };
    return cmocka_run_group_tests(tests, group_setup, NULL);
}
