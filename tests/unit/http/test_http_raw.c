/* The measured attacks on libmicrohttpd 0.9.75, byte for byte, against the running server: each is
 * 400 with the connection closed, and what was smuggled behind it is never served. */
#include "tests/unit/http/fixture.h"

#define L(s) s, sizeof(s) - 1

static struct world world;

static int setup(void **state)
{
    (void)state;
    static struct http_listener l = {.name = "t", .kind = REQ_ON_PUBLIC, .address = "127.0.0.1:0"};
    static struct route_set set;
    world_init(&world);
    log_setup(LOG_MAX, LOG_FORMAT_LOGFMT, 2);
    struct http_conf c = world_conf(&world, &l, 1, &set);
    struct errinfo ei = {0};
    assert_int_equal(http_start(&c, &world.http, &ei), TD_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    http_stop(world.http);
    return 0;
}

#define NEXT "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"

static const struct {
    const char *name, *bytes;
    size_t n;
    int status;
} attacks[] = {
    {"length and encoding",
     L("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n"
       "0\r\n\r\n" NEXT),
     400},
    {"encoding and length",
     L("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n"
       "0\r\n\r\n" NEXT),
     400},
    {"two lengths",
     L("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 36\r\n\r\n" NEXT),
     400},
    {"two equal lengths",
     L("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n" NEXT),
     400},
    {"length with a space before the colon",
     L("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length : 36\r\n\r\n" NEXT), 400},
    {"length with a tab before the colon",
     L("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length\t: 36\r\n\r\n" NEXT), 400},
    {"length list", L("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 0, 36\r\n\r\n" NEXT), 400},
    {"signed length", L("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: +0\r\n\r\n" NEXT), 400},
    {"hex length", L("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 0x0\r\n\r\n" NEXT), 400},
    {"empty length", L("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\n" NEXT), 400},
    {"negative length", L("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n" NEXT),
     400},
    {"length behind NUL",
     L("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 0\0"
       "36\r\n\r\n" NEXT),
     400},
    {"NUL in a value", L("GET /echo HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n" NEXT), 400},
    {"NUL at the end of a value", L("GET /echo HTTP/1.1\r\nHost: x\r\nX: a\0\r\n\r\n" NEXT), 400},
    {"NUL in the last value", L("GET /echo HTTP/1.1\r\nHost: x\0Content-Length: 36\r\n\r\n" NEXT),
     400},
    {"NUL in a name", L("GET /echo HTTP/1.1\r\nHost: x\r\nX\0Y: a\r\n\r\n" NEXT), 400},
    {"a line that begins with NUL", L("GET /echo HTTP/1.1\r\nHost: x\r\n\0X: y\r\n" NEXT), 400},
    {"NUL in the path", L("GET /echo\0x HTTP/1.1\r\nHost: x\r\n\r\n" NEXT), 400},
    {"control character in a value", L("GET /echo HTTP/1.1\r\nHost: x\r\nX: a\001b\r\n\r\n" NEXT),
     400},
    {"bare CR in a value", L("GET /echo HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n" NEXT), 400},
    {"folded value", L("GET /echo HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n" NEXT), 400},
    {"folded with a tab", L("GET /echo HTTP/1.1\r\nHost: x\r\nX: a\r\n\tb\r\n\r\n" NEXT), 400},
    {"folded last header", L("GET /echo HTTP/1.1\r\nX: a\r\nHost: x\r\n b\r\n\r\n" NEXT), 400},
    {"a fold that makes a name",
     L("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Len: 36\r\n gth\r\n\r\n" NEXT), 400},
    {"a fold that hides a name",
     L("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 36\r\n x\r\n\r\n" NEXT), 400},
    {"an empty fold", L("GET /echo HTTP/1.1\r\nHost: x\r\nX: a\r\n \r\nY: b\r\n\r\n" NEXT), 400},
    {"first header folded", L("GET /echo HTTP/1.1\r\n Host: x\r\nHost: x\r\n\r\n" NEXT), 400},
    {"bare LF behind a header", L("GET /echo HTTP/1.1\r\nHost: x\nX: a\r\n\r\n" NEXT), 400},
    {"bare LF behind the request line", L("GET /echo HTTP/1.1\nHost: x\r\n\r\n" NEXT), 400},
    {"bare LF at the end", L("GET /echo HTTP/1.1\r\nHost: x\r\n\n" NEXT), 400},
    {"two hosts", L("GET /echo HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n" NEXT), 400},
    {"no host", L("GET /echo HTTP/1.1\r\nX: y\r\n\r\n" NEXT), 400},
    {"no header at all", L("GET /echo HTTP/1.1\r\n\r\n" NEXT), 400},
    {"host with a path", L("GET /echo HTTP/1.1\r\nHost: x/y\r\n\r\n" NEXT), 400},
    {"bare name", L("GET /echo HTTP/1.1\r\nHost: x\r\nbare\r\n\r\n" NEXT), 400},
    {"empty name", L("GET /echo HTTP/1.1\r\nHost: x\r\n: a\r\n\r\n" NEXT), 400},
    {"space in a name", L("GET /echo HTTP/1.1\r\nHost: x\r\nX Y: a\r\n\r\n" NEXT), 400},
    {"two encodings",
     L("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
       "Transfer-Encoding: identity\r\n\r\n0\r\n\r\n" NEXT),
     400},
    {"other encoding",
     L("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" NEXT),
     400},
    {"encoding with a vertical tab",
     L("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n" NEXT),
     400},
    {"chunked in HTTP/1.0",
     L("POST /echo HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n"
       "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" NEXT),
     400},
    {"trailer",
     L("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: "
       "y\r\n\r\n" NEXT),
     400},
    {"two authorizations",
     L("GET /token HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\n"
       "Authorization: Bearer other\r\n\r\n" NEXT),
     400},
    {"encoded NUL in the path", L("GET /p/a%00b HTTP/1.1\r\nHost: x\r\n\r\n" NEXT), 400},
    {"encoded NUL in the query", L("GET /echo?a=%00 HTTP/1.1\r\nHost: x\r\n\r\n" NEXT), 400},
    {"dot segments", L("GET /p/../smuggled HTTP/1.1\r\nHost: x\r\n\r\n" NEXT), 400},
    {"single dot", L("GET /./echo HTTP/1.1\r\nHost: x\r\n\r\n" NEXT), 400},
    {"dots at the end", L("GET /p/.. HTTP/1.1\r\nHost: x\r\n\r\n" NEXT), 400},
    {"encoded dots", L("GET /p/%2e%2E/smuggled HTTP/1.1\r\nHost: x\r\n\r\n" NEXT), 400},
    {"half encoded dots", L("GET /p/.%2e/smuggled HTTP/1.1\r\nHost: x\r\n\r\n" NEXT), 400},
    {"dots in a raw tail", L("GET /raw/../smuggled HTTP/1.1\r\nHost: x\r\n\r\n" NEXT), 400},
    {"dots behind an encoded slash in a raw tail",
     L("GET /raw/a%2f..%2fsmuggled HTTP/1.1\r\nHost: x\r\n\r\n" NEXT), 400},
    {"NUL in a raw tail", L("GET /raw/a%00 HTTP/1.1\r\nHost: x\r\n\r\n" NEXT), 400},
    {"empty segment", L("GET //echo HTTP/1.1\r\nHost: x\r\n\r\n" NEXT), 400},
    {"empty segment inside", L("GET /tail//a HTTP/1.1\r\nHost: x\r\n\r\n" NEXT), 400},
    {"encoded slash", L("GET /p/a%2Fb HTTP/1.1\r\nHost: x\r\n\r\n" NEXT), 400},
    {"backslash", L("GET /p\\echo HTTP/1.1\r\nHost: x\r\n\r\n" NEXT), 400},
    {"encoded backslash", L("GET /p/a%5cb HTTP/1.1\r\nHost: x\r\n\r\n" NEXT), 400},
    {"broken escape", L("GET /p/a%2 HTTP/1.1\r\nHost: x\r\n\r\n" NEXT), 400},
    {"absolute form", L("GET http://x/echo HTTP/1.1\r\nHost: x\r\n\r\n" NEXT), 400},
    {"asterisk", L("GET * HTTP/1.1\r\nHost: x\r\n\r\n" NEXT), 400},
    {"two spaces behind the method", L("GET  /echo HTTP/1.1\r\nHost: x\r\n\r\n" NEXT), 400},
    {"two spaces before the version", L("GET /echo  HTTP/1.1\r\nHost: x\r\n\r\n" NEXT), 400},
    {"space in the URL", L("GET /echo x HTTP/1.1\r\nHost: x\r\n\r\n" NEXT), 400},
    {"fragment", L("GET /echo#x HTTP/1.1\r\nHost: x\r\n\r\n" NEXT), 400},
    {"8-bit in the URL", L("GET /p/\xc3\xa4 HTTP/1.1\r\nHost: x\r\n\r\n" NEXT), 400},
    {"HTTP/1.2", L("GET /echo HTTP/1.2\r\nHost: x\r\n\r\n" NEXT), 505},
};

static void test_attacks(void **state)
{
    (void)state;
    char out[8192];
    for (size_t i = 0; i < TD_NITEMS(attacks); i++) {
        int before = atomic_load(&world.smuggled);
        int fd = dial(world.http, 0);
        say(fd, attacks[i].bytes, attacks[i].n);
        hear_all(fd, out, sizeof out);
        close(fd);
        if (status_of(out) != attacks[i].status || !strcasestr(out, "\r\nConnection: close\r\n") ||
            strstr(out, "smuggled") || atomic_load(&world.smuggled) != before)
            fail_msg("%s: %s", attacks[i].name, out);
    }
}

/* What the library itself closes on. */
static void test_closed(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
    } cases[] = {
        {L("GET\r\n\r\n" NEXT)},
        {L("GET /echo\r\n\r\n" NEXT)},
        {L("GET /echo HTTP/3.7\r\nHost: x\r\n\r\n" NEXT)},
        {L("GET /echo HTTP/1.1 x\r\nHost: x\r\n\r\n" NEXT)},
        {L("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n" NEXT)},
    };
    char out[8192];
    for (size_t i = 0; i < TD_NITEMS(cases); i++) {
        int before = atomic_load(&world.smuggled);
        int fd = dial(world.http, 0);
        say(fd, cases[i].bytes, cases[i].n);
        shutdown(fd, SHUT_WR);
        hear_all(fd, out, sizeof out);
        close(fd);
        if ((out[0] && status_of(out) < 400) || atomic_load(&world.smuggled) != before)
            fail_msg("%zu: %s", i, out);
    }
}

/* Whatever hides in the chunks, nothing behind a chunked body is served. */
static void test_chunked_ends_connection(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "5\r\nhello\r\n0\r\n\r\n",
        "5;x=y\r\nhello\r\n0\r\n\r\n",
        "5;\nhello\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
    };
    char req[1024], out[8192];
    for (size_t i = 0; i < TD_NITEMS(bodies); i++) {
        int before = atomic_load(&world.smuggled);
        snprintf(req, sizeof req,
                 "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n%s" NEXT,
                 bodies[i]);
        int fd = dial(world.http, 0);
        say_str(fd, req);
        hear_all(fd, out, sizeof out);
        close(fd);
        assert_int_equal(status_of(out), 200);
        assert_string_equal(body_of(out), "hello");
        assert_non_null(strcasestr(out, "Connection: close"));
        assert_int_equal(atomic_load(&world.smuggled), before);
    }
    int fd = dial(world.http, 0);
    say_str(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" NEXT);
    hear_all(fd, out, sizeof out);
    close(fd);
    assert_int_equal(status_of(out), 400);
    assert_null(strstr(out, "smuggled"));
}

/* The head is judged the same when it comes in pieces, and legal oddities pass. */
static void test_accepted(void **state)
{
    (void)state;
    static const struct {
        const char *req;
        const char *body;
    } cases[] = {
        {"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n", "none"},
        {"\r\nGET /echo HTTP/1.1\r\nHost: x\r\n\r\n", "none"},
        {"GET /echo?a=b&c=%41&d HTTP/1.1\r\nhost:\t x:80 \t\r\nX:\r\nY:  a b \t \r\n\r\n", "none"},
        {"POST /echo HTTP/1.1\r\nHost: [::1]:8443\r\nContent-Length: 2\r\n\r\n{}", "{}"},
        {"GET /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", "{}"},
        {"GET /work HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", "{}"},
        {"GET /echo HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "none"},
        {"GET /raw/MEI%2B//a%2Fb+c== HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
         "MEI%2B//a%2Fb+c=="},
        {"GET /raw//a HTTP/1.1\r\nHost:\r\n\r\n", "/a"},
        {"GET /tail/a/b%20c HTTP/1.1\r\nHost: x\r\n\r\n", "a/b%20c"},
        {"GET /p/C02%2BX HTTP/1.1\r\nHost: x\r\n\r\n", "C02%2BX"},
        {"GET /p/... HTTP/1.1\r\nHost: x\r\n\r\n", "..."},
        {"GET /echo HTTP/1.1\r\nHost: x\r\nCookie: a=b; c\r\nX: \xc3\xa4\r\n\r\n", "none"},
    };
    char out[8192];
    int fd = dial(world.http, 0), bytewise = dial(world.http, 0);
    for (size_t i = 0; i < TD_NITEMS(cases); i++) {
        say_str(fd, cases[i].req);
        hear_one(fd, out, sizeof out, false);
        if (status_of(out) != 200 || strcmp(body_of(out), cases[i].body) != 0)
            fail_msg("%zu: %s", i, out);
        for (const char *c = cases[i].req; *c; c++)
            say(bytewise, c, 1);
        hear_one(bytewise, out, sizeof out, false);
        if (status_of(out) != 200 || strcmp(body_of(out), cases[i].body) != 0)
            fail_msg("bytewise %zu: %s", i, out);
    }
    close(fd);
    close(bytewise);
}

/* Two requests at once on one connection are both answered, in order. */
static void test_pipelined(void **state)
{
    (void)state;
    char out[8192];
    int fd = dial(world.http, 0);
    say_str(fd, "POST /work HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\none"
                "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\ntwo"
                "GET /work HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    hear_all(fd, out, sizeof out);
    close(fd);
    const char *one = strstr(out, "\r\n\r\none"), *two = strstr(out, "\r\n\r\ntwo");
    assert_non_null(one);
    assert_non_null(two);
    assert_true(one < two && strstr(two, "\r\n\r\nnone"));
}

/* A header of 45 KB (a CMS in Mdm-Signature) passes, whole and in pieces; 80 KB does not. */
static void test_large_header(void **state)
{
    (void)state;
    static char req[100000];
    char out[8192];
    for (int pieces = 0; pieces < 2; pieces++) {
        int n = snprintf(req, sizeof req, "GET /echo HTTP/1.1\r\nHost: x\r\nMdm-Signature: ");
        memset(req + n, 'A', 45000);
        n += 45000;
        n += snprintf(req + n, sizeof req - (size_t)n, "\r\nX: y\r\n\r\n");
        int fd = dial(world.http, 0);
        for (int at = 0, step = pieces ? 777 : n; at < n; at += step)
            say(fd, req + at, (size_t)(n - at < step ? n - at : step));
        hear_one(fd, out, sizeof out, false);
        close(fd);
        assert_int_equal(status_of(out), 200);
    }
    int n = snprintf(req, sizeof req, "GET /echo HTTP/1.1\r\nHost: x\r\nX: ");
    memset(req + n, 'A', 80000);
    int fd = dial(world.http, 0);
    say(fd, req, (size_t)n + 80000);
    shutdown(fd, SHUT_WR);
    hear_all(fd, out, sizeof out);
    close(fd);
    assert_true(out[0] == 0 || status_of(out) == 431);
}

static void test_limits(void **state)
{
    (void)state;
    static char req[20000];
    char out[8192];
    /* Host and n - 1 more; the URL's limit in bytes */
    static const struct {
        int headers, url, status;
    } cases[] = {
        {LIMIT_HTTP_HEADERS, 100, 200},  {LIMIT_HTTP_HEADERS + 1, 100, 431},
        {1, LIMIT_HTTP_URL, 200},        {1, LIMIT_HTTP_URL + 1, 414},
        {1, LIMIT_HTTP_URL + 5000, 414},
    };
    for (size_t i = 0; i < TD_NITEMS(cases); i++) {
        int n = snprintf(req, sizeof req, "GET /echo?");
        memset(req + n, 'a', (size_t)cases[i].url - 6);
        n += cases[i].url - 6;
        n += snprintf(req + n, sizeof req - (size_t)n, " HTTP/1.1\r\nHost: x\r\n");
        for (int h = 1; h < cases[i].headers; h++)
            n += snprintf(req + n, sizeof req - (size_t)n, "X%d: y\r\n", h);
        n += snprintf(req + n, sizeof req - (size_t)n, "\r\n");
        int fd = dial(world.http, 0);
        say(fd, req, (size_t)n);
        hear_one(fd, out, sizeof out, false);
        close(fd);
        assert_int_equal(status_of(out), cases[i].status);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attacks),
        cmocka_unit_test(test_closed),
        cmocka_unit_test(test_chunked_ends_connection),
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_pipelined),
        cmocka_unit_test(test_large_header),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
