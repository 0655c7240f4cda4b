/* Body and signature, and which addresses are taken. */
#include "hook_test.h"

static void signature(void **state)
{
    (void)state;
    /* the example that the libraries of Standard Webhooks test themselves with */
    static const uint8_t key[] = {0x31, 0xf2, 0x90, 0xf6, 0xbf, 0x06, 0x29, 0x8a,
                                  0xab, 0x4f, 0x08, 0xd4, 0x3c, 0x3f, 0x08, 0x2c,
                                  0xf6, 0x48, 0xa3, 0x62, 0xda, 0x2d, 0xa4, 0xb0};
    buf_auto b;
    buf_init(&b, 256);
    assert_ok(hook_sign(SPAN_ARR(key), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330,
                        SPAN_LIT("{\"test\": 2432232314}"), &b, NULL));
    assert_string_equal(buf_cstr(&b), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

static void signed_size(void **state)
{
    (void)state;
    static uint8_t body[HOOK_BODY_MAX + 512];
    buf_auto b;
    buf_init(&b, 256);
    assert_ok(hook_sign(SPAN_LIT("k"), "i", 1, span_of(body, HOOK_BODY_MAX), &b, NULL));
    buf_reset(&b);
    assert_int_equal(hook_sign(SPAN_LIT("k"), "i", 1, SPAN_ARR(body), &b, NULL), TD_LIMIT);
}

static void secret_text(void **state)
{
    (void)state;
    uint8_t secret[HOOK_SECRET];
    char text[HOOK_SECRET_TEXT];
    memset(secret, 0xff, sizeof secret);
    assert_ok(hook_secret_text(secret, text));
    assert_string_equal(text, "whsec_//////////////////////////////////////////8=");
}

static void body(void **state)
{
    (void)state;
    struct hook_event ev = {"i\"", "device.left", "t", "", "S1", "", "{\"a\":1}", 0};
    buf_auto b;
    buf_init(&b, HOOK_BODY_MAX);
    ev.at = 1795586400;
    assert_ok(hook_body(&ev, &b));
    assert_string_equal(buf_cstr(&b),
                        "{\"id\":\"i\\\"\",\"type\":\"device.left\",\"time\":\"2026-11-25T06:00:"
                        "00Z\",\"txn\":\"t\",\"actor\":null,\"device\":\"S1\",\"certificate\":null,"
                        "\"data\":{\"a\":1}}");
}

static void waits(void **state)
{
    (void)state;
    static const int64_t least[] = {5, 30, 120, 300, 900, 1800, 3600, 3600, 3600};
    struct rng_seeded rng;
    rng_seeded_init(&rng, 5);
    for (int64_t i = 0; i < (int64_t)TD_NITEMS(least); i++) {
        bool differs = false;
        for (int k = 0; k < 200; k++) {
            int64_t got = hook_wait(i, 0, &rng.rng);
            assert_in_range(got, least[i], least[i] + least[i] / 5);
            differs |= got != least[i];
        }
        assert_true(differs);
    }
    assert_in_range(hook_wait(0, 100, &rng.rng), 100, 120); /* Retry-After */
    assert_in_range(hook_wait(0, INT64_MAX, &rng.rng), 3600, 4320);
    assert_in_range(hook_wait(3, 1, &rng.rng), 300, 360);
    assert_in_range(hook_wait(0, -5, &rng.rng), 5, 6);
    assert_in_range(hook_wait(-1, 0, &rng.rng), 5, 6);
    assert_in_range(hook_wait(INT64_MAX, 0, &rng.rng), 3600, 4320);
}

static void addresses(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        bool taken;
    } rows[] = {
        {"https://h/", true},
        {"https://h:8443/a?b=c", true},
        {"https://192.0.2.1/", true},
        {"https://[2001:db8::1]/", true},
        {"http://localhost/", true},
        {"http://127.0.0.1:80/", true},
        {"http://[::1]/", true},
        {"http://h/", false},
        {"http://127.0.0.2/", false},
        {"http://[::2]/", false},
        {"http://localhost.x/", false},
        {"https://u@h/", false},
        {"https://u:p@h/", false},
        {"https://:p@h/", false},
        {"https://h/#f", false},
        {"https://", false},
        {"", false},
        {"h", false},
        {"//h/", false},
        {"file:///etc/passwd", false},
        {"ftp://h/", false},
        {"https://h/ x", false},
        {"https://h/\n", false},
        {"https://h:99999/", false},
        {"https://h/\xc3\xa9", false},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++)
        if ((hook_url_check(rows[i].url, NULL) == TD_OK) != rows[i].taken)
            fail_msg("%s", rows[i].url);
    char url[HOOK_URL_MAX + 2];
    memset(url, 'x', sizeof url);
    memcpy(url, "https://h/", 10);
    url[HOOK_URL_MAX] = 0;
    assert_ok(hook_url_check(url, NULL));
    url[HOOK_URL_MAX] = 'x';
    url[HOOK_URL_MAX + 1] = 0;
    struct errinfo ei = {0};
    assert_int_equal(hook_url_check(url, &ei), TD_INVAL);
    assert_string_equal(ei.reason, "webhook-url");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signature), cmocka_unit_test(signed_size), cmocka_unit_test(secret_text),
        cmocka_unit_test(body),      cmocka_unit_test(waits),       cmocka_unit_test(addresses),
    };
    return cmocka_run_group_tests(tests, group_setup, NULL);
}
