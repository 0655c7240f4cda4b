/* Rounds against a receiver that answers as it is told: retries, giving up, poison. */
#include "hook_test.h"

static void round_gives(size_t arrived, int requests)
{
    int before = atomic_load(&w.receiver.requests);
    assert_int_equal(hook_round(&w.conf), arrived);
    assert_int_equal(atomic_load(&w.receiver.requests) - before, requests);
}

static void arrives(void **state)
{
    (void)state;
    add_hook("w1", "device.added");
    round_gives(0, 0);
    for (int i = 0; i < HOOK_TURN_EVENTS + 3; i++)
        add_event("S");
    round_gives(HOOK_TURN_EVENTS, HOOK_TURN_EVENTS);
    round_gives(3, 3);
    round_gives(0, 0);
    assert_int_equal(view("w1").delivered, HOOK_TURN_EVENTS + 3);
}

/* A failure holds up what is behind it, until it is old. */
static void given_up(void **state)
{
    (void)state;
    add_hook("w1", "device.added");
    add_event("S1");
    add_event("S2");
    w.receiver.answer = ANSWER("503 Busy");
    int tries = 0;
    while (view("w1").dropped == 0) {
        round_gives(0, 1);
        round_gives(0, 0); /* not due */
        struct hook h = view("w1");
        assert_int_equal(h.last_error_at, w.clock.at);
        assert_true(h.next_at > w.clock.at && h.next_at <= w.clock.at + 4320);
        w.clock.at = h.next_at;
        assert_in_range(++tries, 1, 40);
    }
    assert_in_range(tries, 20, 32); /* a day of it */
    assert_true(w.clock.at - HOOK_NOW >= w.conf.give_up);
    assert_string_equal(view("w1").last_error, "answered 503");
    w.receiver.answer = ANSWER("200 OK");
    round_gives(1, 1);
}

/* An event that the endpoint refuses does not hold up the others for a day. */
static void poison(void **state)
{
    (void)state;
    add_hook("w1", "device.added");
    add_event("S1");
    add_event("S2");
    w.receiver.answer = ANSWER("400 Bad Request");
    for (int i = 0; i < HOOK_REFUSALS; i++) {
        assert_int_equal(view("w1").queue, 2);
        round_gives(0, 1);
        w.clock.at = view("w1").next_at;
    }
    assert_int_equal(view("w1").queue, 1);
    assert_int_equal(view("w1").dropped, 1);
    assert_true(w.clock.at - HOOK_NOW < 3600);
    w.receiver.answer = ANSWER("204 No Content");
    round_gives(1, 1);
}

static void retry_after(void **state)
{
    (void)state;
    add_hook("w1", "device.added");
    add_event("S1");
    w.receiver.answer =
        "HTTP/1.1 429 Slow\r\nRetry-After: 600\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    round_gives(0, 1);
    assert_in_range(view("w1").next_at, HOOK_NOW + 600, HOOK_NOW + 720);
}

/* What is no HTTP, or only its beginning, or a header without an end. */
static void nonsense(void **state)
{
    (void)state;
    static char header[200000] = "HTTP/1.1 200 OK\r\n";
    for (size_t n = strlen(header); n + 40 < sizeof header; n += 24)
        memcpy(header + n, "X-Header: xxxxxxxxxxxx\r\n", 25);
    static const char *const answers[] = {
        "",
        "220 smtp.example.com ESMTP\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        ANSWER("199 Odd"),
        header};
    add_hook("w1", "device.added");
    add_event("S1");
    for (size_t i = 0; i < TD_NITEMS(answers); i++) {
        w.receiver.answer = answers[i];
        assert_int_equal(hook_round(&w.conf), 0);
        assert_string_not_equal(view("w1").last_error, "");
        w.clock.at = view("w1").next_at;
    }
    assert_int_equal(view("w1").queue, 1);
}

/* The secret was sealed with a key that is not ours: nothing is sent, and it is said. */
static void foreign_seal(void **state)
{
    (void)state;
    struct seal *other;
    add_hook("w1", "device.added");
    add_event("S1");
    assert_ok(seal_parse(SPAN_LIT("BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA"), &other, NULL));
    w.conf.seal = other;
    round_gives(0, 0);
    struct hook h = view("w1");
    assert_true(strstr(h.last_error, "not sent") && h.failing_since && h.queue == 1);
    seal_free(other);
}

/* One whose queue never ends leaves the others their turns. */
static void fair(void **state)
{
    (void)state;
    add_hook("w1", "device.added");
    add_hook("w2", "device.added");
    for (int i = 0; i < 2 * HOOK_TURN_EVENTS; i++)
        add_event("S");
    round_gives(HOOK_TURN_EVENTS, HOOK_TURN_EVENTS);
    w.clock.at++;
    round_gives(HOOK_TURN_EVENTS, HOOK_TURN_EVENTS);
    assert_int_equal(view("w1").delivered, HOOK_TURN_EVENTS);
    assert_int_equal(view("w2").delivered, HOOK_TURN_EVENTS);
}

/* An event that cannot be written as a body goes when it is old; those behind it arrive. */
static void too_large(void **state)
{
    (void)state;
    static char device[HOOK_BODY_MAX + 1];
    memset(device, 'x', sizeof device - 1);
    add_hook("w1", "device.added");
    add_event(device);
    add_event("S2");
    round_gives(0, 0);
    assert_int_equal(view("w1").queue, 2);
    w.clock.at = HOOK_NOW + w.conf.give_up;
    round_gives(0, 0);
    assert_int_equal(view("w1").dropped, 1);
    w.clock.at = view("w1").next_at;
    round_gives(1, 1);
}

/* Threads: several endpoints, and a stop. */
static void threads(void **state)
{
    (void)state;
    add_hook("w1", "device.added");
    add_hook("w2", "device.added");
    for (int i = 0; i < 40; i++)
        add_event("S");
    struct hook_sender *s;
    assert_ok(hook_sender_start(&w.conf, &s, NULL));
    const struct timespec tick = {.tv_nsec = 5000000};
    for (int i = 0; i < 4000 && view("w1").delivered + view("w2").delivered < 80; i++)
        clock_nanosleep(CLOCK_MONOTONIC, 0, &tick, NULL);
    hook_sender_stop(s);
    assert_string_equal(view("w1").last_error, "");
    assert_string_equal(view("w2").last_error, "");
    assert_int_equal(atomic_load(&w.receiver.requests), 80);
    assert_int_equal(view("w1").delivered + view("w2").delivered, 80);
    assert_int_equal(view("w1").queue + view("w2").queue, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(arrives),      T(given_up), T(poison),    T(retry_after), T(nonsense),
        T(foreign_seal), T(fair),     T(too_large), T(threads),
    };
    return cmocka_run_group_tests(tests, group_setup, NULL);
}
