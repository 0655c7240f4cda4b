#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "mdm/base/log.h"

#define NOW INT64_C(1700000000123)
#define END                                                                                        \
    {                                                                                              \
        .kind = LOG_KV_END                                                                         \
    }

static void logfmt(void **state)
{
    (void)state;
    char out[512];
    const struct log_kv kv[] = {
        KV("plain", "a/b:c"), KV("space", "a b"),     KV("empty", ""),          KV("null", NULL),
        KV("eq", "a=b"),      KV("quote", "a\"b\\c"), KV("nl", "a\nb\r\tx"),    KV_I64("n", -7),
        KV("bad key=", "v"),  KV("utf", "\xc3\xa9"),  KV("raw", "\xff\x1b[0m"), END};
    size_t n = log_format(out, sizeof out, LOG_FORMAT_LOGFMT, NOW, LOG_WARN, "r1", "cmd.acked", kv);
    out[n] = 0;
    assert_string_equal(out, "time=2023-11-14T22:13:20.123Z level=warn event=cmd.acked req=r1 "
                             "plain=a/b:c space=\"a b\" empty=\"\" null=null eq=\"a=b\" "
                             "quote=\"a\\\"b\\\\c\" nl=\"a\\nb\\u000d\\u0009x\" n=-7 bad_key_=v "
                             "utf=\"\xc3\xa9\" raw=\"\\ufffd\\u001b[0m\"\n");
}

static void json(void **state)
{
    (void)state;
    char out[512];
    const struct log_kv kv[] = {KV("a", "x\"\n"),
                                KV_SPAN("s", SPAN_LIT("a\0b")),
                                KV_SPAN("none", ((struct span){NULL, 0})),
                                KV_I64("n", INT64_MIN),
                                KV("null", NULL),
                                END};
    size_t n = log_format(out, sizeof out, LOG_FORMAT_JSON, NOW, LOG_ERROR, "", "x.y", kv);
    out[n] = 0;
    assert_string_equal(out, "{\"time\":\"2023-11-14T22:13:20.123Z\",\"level\":\"error\","
                             "\"event\":\"x.y\",\"a\":\"x\\\"\\n\",\"s\":\"a\\u0000b\","
                             "\"none\":\"\",\"n\":-9223372036854775808,\"null\":null}\n");
    n = log_format(out, sizeof out, LOG_FORMAT_JSON, NOW, LOG_DEBUG, NULL, "e", NULL);
    out[n] = 0;
    assert_string_equal(out, "{\"time\":\"2023-11-14T22:13:20.123Z\",\"level\":\"debug\","
                             "\"event\":\"e\"}\n");
}

/* What a terminal or a line reader could act upon never goes out as it is. */
static void escapes(void **state)
{
    (void)state;
    static const char *const values[] = {("\xc2\x9b"
                                          "31m"),
                                         "\xe2\x80\xa8",
                                         "\xe2\x80\xae",
                                         "\x7f",
                                         "\x1b]0;x\x07",
                                         "\n",
                                         "\xe2\x81\xa6"};
    for (size_t i = 0; i < TD_NITEMS(values); i++)
        for (int f = 0; f < 2; f++) {
            char out[512];
            const struct log_kv kv[] = {KV("v", values[i]), END};
            size_t n = log_format(out, sizeof out, f ? LOG_FORMAT_JSON : LOG_FORMAT_LOGFMT, NOW,
                                  LOG_INFO, "", "e", kv);
            for (size_t c = 0; c + 1 < n; c++)
                if ((uint8_t)out[c] < 0x20 || (uint8_t)out[c] >= 0x7f)
                    fail_msg("value %zu: byte %02x", i, (uint8_t)out[c]);
        }
}

static bool balanced(const char *line, size_t n)
{
    bool quoted = false;
    for (size_t i = 0; i < n; i++) {
        if (quoted && line[i] == '\\')
            i++;
        else if (line[i] == '"')
            quoted = !quoted;
    }
    return !quoted;
}

/* Whatever the room: one line, in form, marked as cut when something is missing. */
static void cut(void **state)
{
    (void)state;
    char full[2048], out[2048], value[300];
    memset(value, 'x', sizeof value - 1);
    value[sizeof value - 1] = 0;
    for (size_t i = 3; i < sizeof value - 2; i += 5)
        value[i] = i % 2 ? '"' : '\n';
    const struct log_kv kv[] = {KV("first", "a b"), KV("long", value), KV_I64("n", 5),
                                KV("plain", "yyyyyyyyyyyyyyyyyyyyyyy"), END};
    for (int f = 0; f < 2; f++) {
        enum log_format format = f ? LOG_FORMAT_JSON : LOG_FORMAT_LOGFMT;
        size_t whole = log_format(full, sizeof full, format, NOW, LOG_INFO, "r", "e", kv);
        assert_null(memmem(full, whole, "cut", 3));
        for (size_t n = 0; n <= whole + 40; n++) {
            memset(out, '#', sizeof out);
            size_t got = log_format(out, n, format, NOW, LOG_INFO, "r", "e", kv);
            assert_in_range(got, 0, n);
            assert_int_equal(out[n], '#');
            if (got == 0) {
                assert_in_range(n, 0, 32);
                continue;
            }
            assert_int_equal(out[got - 1], '\n');
            assert_ptr_equal(memchr(out, '\n', got), out + got - 1);
            assert_true(balanced(out, got));
            assert_true(!f || (out[0] == '{' && out[got - 2] == '}'));
            assert_true(memmem(out, got, "cut", 3) || got == whole);
        }
    }
}

static void levels(void **state)
{
    (void)state;
    static const char *const names[] = {"debug", "info", "warn", "error"};
    for (unsigned i = 0; i < LOG_MAX; i++) {
        enum log_level l = LOG_MAX;
        assert_int_equal(log_level_parse(names[i], &l), TD_OK);
        assert_int_equal(l, i);
    }
    enum log_level l = LOG_MAX;
    assert_int_equal(log_level_parse("INFO", &l), TD_PARSE);
    assert_int_equal(log_level_parse("", &l), TD_PARSE);
    assert_int_equal(log_level_parse(NULL, &l), TD_PARSE);
    assert_int_equal(l, LOG_MAX);
}

static void *other_thread(void *arg)
{
    (void)arg;
    log_ev(LOG_INFO, "other");
    return NULL;
}

static void writing(void **state)
{
    (void)state;
    int fd[2];
    assert_int_equal(pipe(fd), 0);
    log_setup(LOG_INFO, LOG_FORMAT_LOGFMT, fd[1]);
    assert_int_equal(log_level_get(), LOG_INFO);
    log_request("0123456789012345678901234567890123456789");
    log_ev(LOG_DEBUG, "hidden", KV("k", "v"));
    errno = ENOENT;
    log_ev(LOG_INFO, "seen", KV("k", "v"), KV_I64("n", 3));
    assert_int_equal(errno, ENOENT);
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, other_thread, NULL), 0);
    pthread_join(t, NULL);
    log_request(NULL);
    log_ev(LOG_ERROR, "bare");
    log_setup(LOG_INFO, LOG_FORMAT_LOGFMT, 2);
    close(fd[1]);
    char out[2048];
    ssize_t n = read(fd[0], out, sizeof out - 1);
    close(fd[0]);
    assert_true(n > 0);
    out[n] = 0;
    assert_null(strstr(out, "hidden"));
    assert_non_null(strstr(out, " event=seen req=0123456789012345678901234567890 k=v n=3\n"));
    assert_non_null(strstr(out, " event=other\n"));
    assert_non_null(strstr(out, " level=error event=bare\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logfmt), cmocka_unit_test(json),   cmocka_unit_test(escapes),
        cmocka_unit_test(cut),    cmocka_unit_test(levels), cmocka_unit_test(writing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
