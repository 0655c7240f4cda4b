#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <unistd.h>

#include "mdm/base/conf.h"

struct settings {
    const char *listen, *name, *mode, *password;
    bool tls;
    int64_t workers, offset, timeout, body, free;
};

#define KEY(s, k, t, m)                                                                            \
    .section = (s), .key = (k), .type = (t), .offset = offsetof(struct settings, m)

static const struct conf_key keys[] = {
    {KEY("http", "listen", CONF_STR, listen), .dflt = ":8443", .doc = "Where to listen"},
    {KEY("http", "tls", CONF_BOOL, tls), .dflt = "yes"},
    {KEY("http", "max_workers", CONF_INT, workers), .dflt = "4", .min = 1, .max = 64},
    {KEY("http", "timeout", CONF_DURATION, timeout), .dflt = "30s", .min = 1, .max = 3600},
    {KEY("http", "body-max", CONF_SIZE, body), .dflt = "1m", .min = 1, .max = 1 << 30},
    {KEY("store", "name", CONF_STR, name)},
    {KEY("store", "mode", CONF_ENUM, mode), .dflt = "full", .choices = "full normal off"},
    {KEY("store", "password", CONF_STR, password), .secret = true},
    {KEY("store", "offset", CONF_INT, offset), .dflt = "-3", .min = -5, .max = 5},
    {KEY("store", "free", CONF_INT, free)},
};
static const struct conf_table table = {keys, TD_NITEMS(keys)};

static struct arena arena;
static struct settings conf;
static struct errinfo ei;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 1 << 20);
    conf = (struct settings){0};
    ei = (struct errinfo){0};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

static void defaults(void **state)
{
    (void)state;
    memset(&conf, 0xff, sizeof conf);
    assert_int_equal(conf_parse(&table, SPAN_LIT(""), &arena, &conf, &ei), TD_OK);
    assert_string_equal(conf.listen, ":8443");
    assert_string_equal(conf.name, "");
    assert_string_equal(conf.mode, "full");
    assert_string_equal(conf.password, "");
    assert_true(conf.tls);
    assert_int_equal(conf.workers, 4);
    assert_int_equal(conf.timeout, 30);
    assert_int_equal(conf.body, 1 << 20);
    assert_int_equal(conf.offset, -3);
    assert_int_equal(conf.free, 0);
}

static void text(void **state)
{
    (void)state;
    static const char file[] = "\xef\xbb\xbf# a comment\r\n"
                               "[http]\r\n"
                               "listen = unix:/run/x y ; a comment\n"
                               "  ; an indented comment\n"
                               "tls: off\n"
                               "max_workers=64\n"
                               "timeout = 10m\n"
                               "body-max = 64k\n"
                               "\n"
                               "[store]\n"
                               "mode = off\n"
                               "password = a=b;c#d\n"
                               "offset = -5\n"
                               "[http]\n"
                               "[store]\n"
                               "free = 9223372036854775807";
    if (conf_parse(&table, SPAN_LIT(file), &arena, &conf, &ei) != TD_OK)
        fail_msg("%s", ei.msg);
    assert_string_equal(conf.listen, "unix:/run/x y");
    assert_false(conf.tls);
    assert_int_equal(conf.workers, 64);
    assert_int_equal(conf.timeout, 600);
    assert_int_equal(conf.body, 65536);
    assert_string_equal(conf.mode, "off");
    assert_string_equal(conf.password, "a=b;c#d");
    assert_int_equal(conf.offset, -5);
    assert_true(conf.free == INT64_MAX);
}

static void bad_text(void **state)
{
    (void)state;
#define ROW(t, m)                                                                                  \
    {                                                                                              \
        t, sizeof(t) - 1, m                                                                        \
    }
    static const struct {
        const char *text;
        size_t n;
        const char *msg;
    } rows[] = {
        ROW("[http]\nlisten = a\n\nnope = 1\n", "config:4: unknown key nope"),
        ROW("[nope]\na = 1\n", "config:2: unknown section nope"),
        ROW("listen = a\n", "config:1: unknown section"),
        ROW("[http]\nlisten = a\n[store]\n[http]\nlisten = b\n", "config:5: given twice: listen"),
        ROW("[http]\nLISTEN = a\n", "config:2: unknown key LISTEN"),
        ROW("[http]\nlisten\n", "config:2: neither"),
        ROW("[http\nlisten = a\n", "config:1: a section line"),
        ROW("[http] x\n", "config:1: a section line"),
        ROW("\n[http]\nlisten = a\n  more\n", "config:4: the line is indented"),
        ROW("[http]\n tls = yes\n", "config:2: the line is indented"),
        ROW("[http]\nlisten = a\0b\n", "config:2: a NUL byte"),
        ROW("junk\n[http]\nnope = 1\n", "config:1: neither"),
        ROW("[http]\ntls = maybe\n", "config:2: http.tls must be yes or no"),
        ROW("[http]\ntls =\n", "config:2: http.tls must be"),
        ROW("[http]\nmax_workers = 0\n", "must be a whole number from 1 to 64"),
        ROW("[http]\nmax_workers = 65\n", "must be a whole number from 1 to 64"),
        ROW("[http]\nmax_workers = 5x\n", "must be a whole number"),
        ROW("[http]\nmax_workers = -5\n", "must be a whole number"),
        ROW("[http]\nmax_workers = 99999999999999999999\n", "must be a whole number"),
        ROW("[http]\ntimeout = 61m\n", "must be a duration"),
        ROW("[http]\ntimeout = 10 m\n", "must be a duration"),
        ROW("[http]\nbody-max = 2g\n", "must be a size"),
        ROW("[store]\nmode = FULL\n", "must be one of: full normal off"),
        ROW("[store]\nmode = full normal\n", "must be one of"),
        ROW("[store]\nmode =\n", "must be one of"),
        ROW("[store]\noffset = -6\n", "from -5 to 5"),
        ROW("[store]\noffset = -\n", "from -5 to 5"),
        ROW("[store]\nfree = -1\n", "must be a whole number"),
    };
#undef ROW
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct span s = span_of(rows[i].text, rows[i].n);
        if (conf_parse(&table, s, &arena, &conf, &ei) != TD_INVAL || !strstr(ei.msg, rows[i].msg))
            fail_msg("row %zu: %s", i, ei.msg);
    }
}

static void long_lines(void **state)
{
    (void)state;
    for (size_t n = 196; n <= 199; n++) {
        buf_auto b;
        buf_init(&b, 65536);
        buf_str(&b, "[http]\nlisten=");
        while (b.n < 7 + n)
            buf_u8(&b, 'x');
        buf_str(&b, "\ntls = no\n");
        conf.listen = "";
        enum td_err e = conf_parse(&table, buf_view(&b), &arena, &conf, &ei);
        if (n <= 197) {
            assert_int_equal(e, TD_OK);
            assert_int_equal(strlen(conf.listen), n - 7);
        } else {
            assert_int_equal(e, TD_INVAL);
            assert_non_null(strstr(ei.msg, "config:2: the line is too long"));
        }
    }
    for (size_t over = 0; over < 2; over++) {
        buf_auto b;
        buf_init(&b, 2 << 20);
        while (b.n < (1 << 20) + over)
            buf_u8(&b, '\n');
        assert_int_equal(conf_parse(&table, buf_view(&b), &arena, &conf, &ei),
                         over ? TD_LIMIT : TD_OK);
    }
}

static void precedence(void **state)
{
    (void)state;
    char path[] = "/tmp/td-conf-XXXXXX";
    int fd = mkstemp(path);
    static const char file[] = "[http]\nlisten = file\nmax_workers = 5\ntimeout = 5\n";
    assert_int_equal(write(fd, file, sizeof file - 1), sizeof file - 1);
    close(fd);
    static char e1[] = "HOME=/", e2[] = "TESTUDO_HTTP_LISTEN=env", e3[] = "TESTUDO_HTTP_TIMEOUT=6",
                e4[] = "TESTUDO_HTTP_BODY_MAX=6k", e5[] = "TESTUDO_PORT_8443_TCP=x",
                e6[] = "TESTUDO_CONFIG=y", e7[] = "TESTUDO_STORE_NAME=";
    char *const env[] = {e1, e2, e3, e4, e5, e6, e7, NULL};
    static char f1[] = "--http-timeout=7", f2[] = "--http-max-workers=8", f3[] = "--http-timeout=9",
                f4[] = "--", f5[] = "--rest";
    char *const flags[] = {f1, f2, f3, f4, f5};
    int used = -1;
    if (conf_load(&table, path, env, 5, flags, &used, &arena, &conf, &ei) != TD_OK)
        fail_msg("%s", ei.msg);
    assert_string_equal(conf.listen, "env");
    assert_int_equal(conf.workers, 8);
    assert_int_equal(conf.timeout, 9);
    assert_int_equal(conf.body, 6144);
    assert_string_equal(conf.name, "");
    assert_int_equal(used, 4);

    assert_int_equal(conf_load(&table, path, NULL, 0, NULL, NULL, &arena, &conf, &ei), TD_OK);
    assert_string_equal(conf.listen, "file");
    assert_int_equal(conf.workers, 5);
    unlink(path);
    assert_int_equal(conf_load(&table, path, NULL, 0, NULL, &used, &arena, &conf, &ei),
                     TD_NOTFOUND);
    assert_non_null(strstr(ei.msg, path));
    static char word[] = "serve";
    char *const words[] = {word, f1};
    assert_int_equal(conf_load(&table, NULL, NULL, 2, words, &used, &arena, &conf, &ei), TD_OK);
    assert_int_equal(used, 0);
}

static void file_named(void **state)
{
    (void)state;
    char path[] = "/tmp/td-conf-XXXXXX", want[64];
    int fd = mkstemp(path);
    assert_int_equal(write(fd, "[http]\ntls = 2\n", 15), 15);
    close(fd);
    assert_int_equal(conf_load(&table, path, NULL, 0, NULL, NULL, &arena, &conf, &ei), TD_INVAL);
    snprintf(want, sizeof want, "%s:2: http.tls", path);
    assert_non_null(strstr(ei.msg, want));
    unlink(path);
}

static void bad_env_and_flags(void **state)
{
    (void)state;
    static const struct {
        const char *env, *flag, *msg;
    } rows[] = {
        {"TESTUDO_HTTP_NOPE=1", NULL, "environment: unknown key TESTUDO_HTTP_NOPE"},
        {"TESTUDO_HTTP_TLS=maybe", NULL, "environment: http.tls must be"},
        /* what the file could not hold: testudo init writes it there */
        {"TESTUDO_HTTP_LISTEN=a ;b", NULL, "http.listen must be one line"},
        {"TESTUDO_HTTP_LISTEN=;b", NULL, "http.listen must be one line"},
        {"TESTUDO_HTTP_LISTEN=a\nb", NULL, "http.listen must be one line"},
        {"TESTUDO_HTTP_LISTEN= a", NULL, "http.listen must be one line"},
        {"TESTUDO_HTTP_LISTEN=a ", NULL, "http.listen must be one line"},
        {"TESTUDO_HTTP_TLS", NULL, "environment: http.tls must be"},
        {"TESTUDO_HTTP_TLS_X=1", NULL, "environment: unknown key"},
        {NULL, "--nope=1", "unknown option --nope"},
        {NULL, "--http-nope=1", "unknown option --http-nope"},
        {NULL, "--http-tls", "no value for --http-tls"},
        {NULL, "--http-tls=maybe", "command line: http.tls must be"},
        {NULL, "--HTTP-TLS=yes", "unknown option"},
        {NULL, "--=x", "unknown option"},
        {NULL, "--store-password", "no value for"},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        char env[64], flag[64];
        snprintf(env, sizeof env, "%s", rows[i].env ? rows[i].env : "A=b");
        snprintf(flag, sizeof flag, "%s", rows[i].flag ? rows[i].flag : "x");
        char *const envp[] = {env, NULL}, *const flags[] = {flag};
        int used = -1;
        if (conf_load(&table, NULL, envp, 1, flags, &used, &arena, &conf, &ei) != TD_INVAL ||
            !strstr(ei.msg, rows[i].msg))
            fail_msg("row %zu: %s", i, ei.msg);
        assert_int_equal(used, -1);
    }
}

static void bad_tables(void **state)
{
    (void)state;
    static const struct conf_key wrong[] = {
        {KEY("a", "b", CONF_INT, free), .dflt = "x"},
    };
    const struct conf_table t = {wrong, 1}, large = {keys, 513};
    assert_int_equal(conf_parse(&t, SPAN_LIT(""), &arena, &conf, &ei), TD_INVAL);
    assert_non_null(strstr(ei.msg, "default: a.b"));
    assert_int_equal(conf_parse(&large, SPAN_LIT(""), &arena, &conf, &ei), TD_LIMIT);
}

static void show(void **state)
{
    (void)state;
    buf_auto b, again;
    buf_init(&b, 4096);
    buf_init(&again, 4096);
    static const char file[] = "[store]\npassword = hunter2\nname = n\n[http]\ntls = no\n";
    assert_int_equal(conf_parse(&table, SPAN_LIT(file), &arena, &conf, &ei), TD_OK);
    assert_int_equal(conf_show(&table, &conf, false, &b), TD_OK);
    assert_string_equal(buf_cstr(&b),
                        "[http]\n# Where to listen\nlisten = :8443\ntls = no\nmax_workers = 4\n"
                        "timeout = 30\nbody-max = 1048576\n\n[store]\nname = n\nmode = full\n"
                        "# password = (set)\noffset = -3\nfree = 0\n");
    assert_int_equal(conf_parse(&table, buf_view(&b), &arena, &conf, &ei), TD_OK);
    assert_string_equal(conf.password, "");
    assert_int_equal(conf_show(&table, &conf, false, &again), TD_OK);
    assert_non_null(strstr(buf_cstr(&again), "\npassword = \n"));
    buf_auto small;
    buf_init(&small, 10);
    assert_int_equal(conf_show(&table, &conf, false, &small), TD_LIMIT);
}

/* Of an URL only the password is a secret, wherever it stands. */
static void show_urls(void **state)
{
    (void)state;
    static const struct {
        const char *value, *shown;
    } cases[] = {
        {"postgres://u:hunter2@h1,h2:5432/db?a=b@c", "url = postgres://u:***@h1,h2:5432/db?a=b@c"},
        {"postgres://u@h/db", "url = postgres://u@h/db"},
        {"postgres://h:5432/db", "url = postgres://h:5432/db"},
        {"postgres://:hunter2@h/db", "url = postgres://:***@h/db"},
        {"postgres:///db?user=u&password=hunter2", "# url = (set)"},
        {"sqlite:/x", "url = sqlite:/x"},
    };
    for (size_t i = 0; i < TD_NITEMS(cases); i++) {
        buf_auto b;
        buf_init(&b, 4096);
        static const struct conf_key url = {.section = "a", .key = "url", .type = CONF_URL};
        static const struct conf_table t = {&url, 1};
        const char *value = cases[i].value;
        assert_int_equal(conf_show(&t, &value, false, &b), TD_OK);
        if (!strstr(buf_cstr(&b), cases[i].shown) || strstr(buf_cstr(&b), "hunter2"))
            fail_msg("%s: %s", cases[i].value, buf_cstr(&b));
        buf_reset(&b);
        assert_int_equal(conf_show(&t, &value, true, &b), TD_OK);
        assert_non_null(strstr(buf_cstr(&b), cases[i].value));
    }
}

static void no_memory(void **state)
{
    (void)state;
    arena_auto small;
    arena_init(&small, 32);
    assert_int_equal(
        conf_parse(&table, SPAN_LIT("[store]\nname = a name of some length\n"), &small, &conf, &ei),
        TD_NOMEM);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(defaults),   TEST(text),       TEST(bad_text),          TEST(long_lines),
        TEST(precedence), TEST(file_named), TEST(bad_env_and_flags), TEST(bad_tables),
        TEST(show),       TEST(show_urls),  TEST(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
