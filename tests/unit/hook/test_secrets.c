/* A new secret: both sign for some time, then the old one is gone, from the database too. */
#include "hook_test.h"

#define OVERLAP 600

static void fill(uint8_t secret[static HOOK_SECRET], uint8_t value)
{
    memset(secret, value, HOOK_SECRET);
}

static enum td_err rotate(const char *id, uint8_t value, int64_t overlap)
{
    uint8_t secret[HOOK_SECRET];
    const struct hook_cause c = {w.clock.at, "test", "T"};
    fill(secret, value);
    return hook_rotate(w.store, w.seal, &rng_system, id, secret, overlap, &c, NULL);
}

/* Delivers an event; its signature header is by these secrets and no other, in this order. */
static void signed_by(size_t n, const uint8_t *values)
{
    static int serial;
    char device[16], stamp[64];
    snprintf(device, sizeof device, "S%d", serial++);
    add_event(device);
    assert_int_equal(hook_round(&w.conf), 1);
    char *header = strstr(w.receiver.last, "Webhook-Signature: ");
    char *id = strstr(w.receiver.last, "Webhook-Id: ");
    char *body = strstr(w.receiver.last, "\r\n\r\n");
    snprintf(stamp, sizeof stamp, "Webhook-Timestamp: %lld\r\n", (long long)w.clock.at);
    assert_true(header && id && body && strstr(w.receiver.last, stamp));
    header += strlen("Webhook-Signature: ");
    id += strlen("Webhook-Id: ");
    body += 4;
    *strchr(header, '\r') = 0;
    *strchr(id, '\r') = 0;
    buf_auto want;
    buf_init(&want, 512);
    for (size_t i = 0; i < n; i++) {
        uint8_t secret[HOOK_SECRET];
        fill(secret, values[i]);
        buf_str(&want, i ? " " : "");
        assert_ok(hook_sign(SPAN_ARR(secret), id, w.clock.at, span_str(body), &want, NULL));
    }
    assert_string_equal(header, buf_cstr(&want));
}
#define SIGNED_BY(...)                                                                             \
    signed_by(sizeof((const uint8_t[]){__VA_ARGS__}), (const uint8_t[]){__VA_ARGS__})

static int64_t previous_until(const char *id)
{
    struct hook h = view(id);
    return hook_previous_until(w.seal, &h);
}

static void overlap(void **state)
{
    (void)state;
    add_hook("w1", "device.added");
    SIGNED_BY(7);
    assert_int_equal(previous_until("w1"), 0);
    assert_ok(rotate("w1", 8, OVERLAP));
    assert_int_equal(previous_until("w1"), HOOK_NOW + OVERLAP);
    SIGNED_BY(8, 7);
    w.clock.at = HOOK_NOW + OVERLAP - 1;
    SIGNED_BY(8, 7);
    assert_true(view("w1").two.n > 0);
    w.clock.at++;
    SIGNED_BY(8);
    assert_int_equal(view("w1").two.n, 0); /* forgotten */
    assert_int_equal(previous_until("w1"), 0);
}

/* Forgotten without a delivery too, and without a change of what administrators see. */
static void forgotten(void **state)
{
    (void)state;
    add_hook("w1", "device.added");
    add_hook("w2", "device.added");
    assert_ok(rotate("w1", 8, OVERLAP));
    assert_ok(rotate("w2", 9, 2 * OVERLAP));
    int64_t rev = view("w1").rev;
    w.clock.at += OVERLAP;
    assert_int_equal(hook_round(&w.conf), 0);
    assert_int_equal(view("w1").two.n, 0);
    assert_int_equal(view("w1").rev, rev);
    assert_int_equal(previous_until("w2"), HOOK_NOW + 2 * OVERLAP);
}

/* The second rotation ends what the first one replaced; without an overlap the old one ends at
 * once.
 */
static void again(void **state)
{
    (void)state;
    add_hook("w1", "device.added");
    assert_ok(rotate("w1", 8, OVERLAP));
    assert_ok(rotate("w1", 9, OVERLAP));
    SIGNED_BY(9, 8);
    assert_ok(rotate("w1", 10, 0));
    SIGNED_BY(10);
    assert_int_equal(view("w1").two.n, 0);
    assert_int_equal(rotate("nobody", 1, OVERLAP), TD_NOTFOUND);
}

/* A change between reading and writing: the other one's is what stays beside the new one. */
static enum td_err lost_fn(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct hook_cause c = {HOOK_NOW, "test", "T"};
    (void)ctx;
    return hook_set_secret(tx, "w1", SPAN_LIT("what it was"), SPAN_LIT("new"), 0, &c, ei);
}

static void lost_race(void **state)
{
    (void)state;
    struct errinfo ei = {0};
    add_hook("w1", "device.added");
    assert_int_equal(store_write(w.store, lost_fn, NULL, &ei), TD_CONFLICT);
    SIGNED_BY(7);
}

struct racer {
    pthread_t thread;
    uint8_t value;
    enum td_err e;
};

static void *race(void *arg)
{
    struct racer *r = arg;
    r->e = rotate("w1", r->value, OVERLAP);
    return NULL;
}

/* Of two at once each succeeds, and the later one has the other beside it. */
static void together(void **state)
{
    (void)state;
    add_hook("w1", "device.added");
    struct racer r[2] = {{.value = 8}, {.value = 9}};
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&r[i].thread, NULL, race, &r[i]), 0);
    for (size_t i = 0; i < 2; i++) {
        pthread_join(r[i].thread, NULL);
        assert_ok(r[i].e);
    }
    struct hook h = view("w1");
    hook_secrets_auto s = {.until = 0};
    assert_ok(hook_unseal(w.seal, "w1", h.two, &s, NULL));
    assert_int_equal(s.now.p[0] + s.before.p[0], 8 + 9);
    assert_int_equal(s.until, HOOK_NOW + OVERLAP);
}

/* What does not open, as when the key is lost, is replaced, and has no overlap. */
static void broken(void **state)
{
    (void)state;
    add_hook("w1", "device.added");
    seal_auto *other = NULL;
    assert_ok(seal_parse(SPAN_LIT("BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA"), &other, NULL));
    const struct hook_cause c = {HOOK_NOW, "test", "T"};
    uint8_t secret[HOOK_SECRET];
    fill(secret, 8);
    assert_ok(hook_rotate(w.store, other, &rng_system, "w1", secret, OVERLAP, &c, NULL));
    assert_int_equal(view("w1").two.n, 0);
    w.conf.seal = other;
    SIGNED_BY(8);
    w.conf.seal = w.seal;
}

/* Neither a longer nor a shorter value is taken for a secret. */
static void malformed(void **state)
{
    (void)state;
    static const uint8_t bytes[HOOK_SECRET + 8 + HOOK_SECRET + 1] = {0};
    static const size_t sizes[] = {1, HOOK_SECRET - 1, HOOK_SECRET + 1, sizeof bytes - 2,
                                   sizeof bytes};
    const struct seal_place at = {HOOK_PURPOSE, SPAN_LIT("w1")};
    for (size_t i = 0; i < TD_NITEMS(sizes); i++) {
        struct span sealed;
        struct hook_secrets s;
        assert_ok(
            seal_wrap(w.seal, &at, span_of(bytes, sizes[i]), &rng_system, &w.a, &sealed, NULL));
        assert_int_equal(hook_unseal(w.seal, "w1", sealed, &s, NULL), TD_DB);
        assert_null(s.all.p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {T(overlap),  T(forgotten), T(again),    T(lost_race),
                                       T(together), T(broken),    T(malformed)};
    return cmocka_run_group_tests(tests, group_setup, NULL);
}
