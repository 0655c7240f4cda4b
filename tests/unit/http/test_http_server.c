/* The server's behaviour over sockets: bodies, workers, the bounded queue, deadlines, the drain. */
#include "mdm/base/metrics.h"
#include "tests/unit/http/fixture.h"

#define HOST " HTTP/1.1\r\nHost: x\r\n"

static struct http_listener tcp = {.name = "t", .kind = REQ_ON_PUBLIC, .address = "127.0.0.1:0"};

struct server {
    struct world w;
    struct route_set set;
    struct http_conf conf;
};

static struct server *server_new(void)
{
    static struct server s;
    world_init(&s.w);
    log_setup(LOG_MAX, LOG_FORMAT_LOGFMT, 2);
    s.conf = world_conf(&s.w, &tcp, 1, &s.set);
    return &s;
}

static void server_start(struct server *s)
{
    struct errinfo ei = {0};
    if (http_start(&s->conf, &s->w.http, &ei) != TD_OK)
        fail_msg("%s", ei.msg);
}

/* Sends one request on a new connection and returns its answer. */
static const char *ask(const struct server *s, const char *req)
{
    static char out[70000];
    int fd = dial(s->w.http, 0);
    say_str(fd, req);
    hear_one(fd, out, sizeof out, strncmp(req, "HEAD", 4) == 0);
    close(fd);
    return out;
}

static void test_answers(void **state)
{
    (void)state;
    struct server *s = server_new();
    server_start(s);
    static const struct {
        const char *req;
        int status;
        const char *has, *hasnt;
    } cases[] = {
        {"GET /echo" HOST "\r\n", 200, "\r\nX-Content-Type-Options: nosniff\r\n", "Server:"},
        {"GET /echo" HOST "\r\n", 200, "\r\nCache-Control: no-store\r\n", "Strict-Transport"},
        {"GET /echo" HOST "\r\n", 200, "\r\nX-Request-Id: ", "Connection: close"},
        {"HEAD /echo" HOST "\r\n", 200, "\r\nContent-Length: 4\r\n", "none"},
        {"GET /nothing" HOST "\r\n", 404, "application/problem+json", "Connection: close"},
        {"DELETE /echo" HOST "\r\n", 405, "\r\nAllow: GET, HEAD, POST\r\n", "Connection: close"},
        {"OPTIONS /work" HOST "\r\n", 405, "\r\nAllow: GET, POST\r\n", "Connection: close"},
        {"POST /echo" HOST "Content-Length: 4194305\r\n\r\n", 413, "body-too-large", "none"},
        {"GET /plain" HOST "Content-Length: 0\r\n\r\n", 200, "none", "close"},
        {"GET /plain" HOST "Content-Length: 1\r\n\r\nx", 413, "body-too-large", "\r\nnone"},
        {"POST /nothing" HOST "Content-Length: 3\r\n\r\nabc", 404, "Not Found",
         "Connection: close"},
        {"GET /fail/db" HOST "\r\n", 503, "database unavailable", "/var/lib"},
        {"GET /fail/db" HOST "\r\n", 503, "\r\nReplay-Nonce: abc\r\n", "half an answer"},
        {"GET /fail/busy" HOST "\r\n", 503, "\r\nRetry-After: 7\r\n", "half"},
        {"GET /fail/x" HOST "\r\n", 409, "it is \\\"changed\\\"", "half"},
        {"GET /fail/x" HOST "\r\n", 409, "\"reason\":\"rev-mismatch\"", "text/plain"},
        {"GET /token" HOST "\r\n", 401, "\r\nWWW-Authenticate: Bearer realm=\"testudo\"\r\n",
         "none"},
        {"GET /token" HOST "Authorization: Bearer bad\r\n\r\n", 401, "error=\"invalid_token\"",
         "none"},
        {"GET /token" HOST "Authorization: Bearer good\r\n\r\n", 200, "none", "WWW"},
        {"GET /peer" HOST "Client-Cert: :YWJj:\r\n\r\n", 200,
         "cert=0 proxy=0 addr=127.0.0.1:", "cert=3"},
    };
    for (size_t i = 0; i < TD_NITEMS(cases); i++) {
        const char *out = ask(s, cases[i].req);
        if (status_of(out) != cases[i].status || !strstr(out, cases[i].has) ||
            strstr(out, cases[i].hasnt))
            fail_msg("%s\n%s", cases[i].req, out);
    }
    http_stop(s->w.http);
}

/* The limit of a body and one over, with a length and chunked, on both kinds of route. */
/* ROUTE_TRY: on the event thread first, and anew on a worker when the handler has to wait. */
static void test_try(void **state)
{
    (void)state;
    struct server *s = server_new();
    server_start(s);
    static const struct {
        const char *req;
        size_t body;
        int status;
        const char *has;
        int tried, waited;
    } cases[] = {
        {"GET /try/now" HOST "\r\n", 0, 200, "\r\n\r\ntried", 1, 0},
        {"GET /try/later" HOST "\r\n", 0, 200, "\r\n\r\nwaited", 1, 1},
        {"GET /try/never" HOST "\r\n", 0, 503, "application/problem+json", 1, 1},
        {"POST /try/now" HOST "Content-Length: 4096\r\n\r\n", 4096, 200, "tried", 1, 0},
        {"POST /try/now" HOST "Content-Length: 4097\r\n\r\n", 4097, 200, "waited", 0, 1},
        {"GET /trytoken/now" HOST "Authorization: Bearer good\r\n\r\n", 0, 200, "waited", 0, 1},
        {"GET /trytoken/now" HOST "\r\n", 0, 401, "Bearer", 0, 0},
    };
    for (size_t i = 0; i < TD_NITEMS(cases); i++) {
        char req[8192];
        size_t n = strlen(cases[i].req);
        memcpy(req, cases[i].req, n);
        memset(req + n, 'x', cases[i].body);
        req[n + cases[i].body] = 0;
        atomic_store(&s->w.tried, 0);
        atomic_store(&s->w.waited, 0);
        const char *out = ask(s, req);
        if (status_of(out) != cases[i].status || !strstr(out, cases[i].has) ||
            strstr(out, "X-First") || strstr(out, "half") || strstr(out, "of the first run"))
            fail_msg("%s\ngave\n%s", cases[i].req, out);
        assert_int_equal(atomic_load(&s->w.tried), cases[i].tried);
        assert_int_equal(atomic_load(&s->w.waited), cases[i].waited);
    }
    http_stop(s->w.http);
}

static void test_body_limits(void **state)
{
    (void)state;
    struct server *s = server_new();
    server_start(s);
    static char req[20000];
    static const char *const paths[] = {"/echo", "/work"};
    for (size_t p = 0; p < 2; p++)
        for (size_t size = 4095; size <= 4097; size++)
            for (int chunked = 0; chunked < 2; chunked++) {
                int n = snprintf(req, sizeof req, "POST %s" HOST, paths[p]);
                if (chunked)
                    n += snprintf(req + n, sizeof req - (size_t)n,
                                  "Transfer-Encoding: chunked\r\n\r\n%zx\r\n", size);
                else
                    n += snprintf(req + n, sizeof req - (size_t)n, "Content-Length: %zu\r\n\r\n",
                                  size);
                memset(req + n, 'b', size);
                n += (int)size;
                snprintf(req + n, sizeof req - (size_t)n, "%s", chunked ? "\r\n0\r\n\r\n" : "");
                const char *out = ask(s, req);
                assert_int_equal(status_of(out), size > 4096 ? 413 : 200);
                if (size <= 4096)
                    assert_int_equal(strlen(body_of(out)), size);
            }
    http_stop(s->w.http);
}

/* A large body on a token's route waits for the token; a small one is drained and the connection
 * lives on. */
static void test_token_before_large_body(void **state)
{
    (void)state;
    struct server *s = server_new();
    server_start(s);
    char out[8192];
    int fd = dial(s->w.http, 0);
    say_str(fd, "POST /token" HOST "Content-Length: 1000000\r\n\r\n"); /* and nothing of it */
    hear_all(fd, out, sizeof out);
    close(fd);
    assert_int_equal(status_of(out), 401);
    assert_non_null(strcasestr(out, "Connection: close"));

    static char body[200000];
    static char big[300000];
    memset(body, 'x', sizeof body - 1);
    fd = dial(s->w.http, 0);
    say_str(fd, "POST /token" HOST "Authorization: Bearer good\r\nContent-Length: 199999\r\n\r\n");
    say(fd, body, sizeof body - 1);
    hear_one(fd, big, sizeof big, false);
    assert_int_equal(status_of(big), 200);
    assert_string_equal(body_of(big), body);
    /* authorised once, not again before the handler */
    assert_int_equal(atomic_load(&s->w.authorized), 2);
    say_str(fd, "POST /token" HOST "Content-Length: 3\r\n\r\nabc");
    hear_one(fd, out, sizeof out, false);
    assert_int_equal(status_of(out), 401);
    say_str(fd, "GET /echo" HOST "\r\n");
    hear_one(fd, out, sizeof out, false);
    assert_int_equal(status_of(out), 200);
    close(fd);
    http_stop(s->w.http);
}

static void test_expect_continue(void **state)
{
    (void)state;
    struct server *s = server_new();
    server_start(s);
    char out[8192];
    int fd = dial(s->w.http, 0);
    say_str(fd, "POST /work" HOST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    size_t n = hear_one(fd, out, sizeof out, true);
    assert_true(n > 12 && memcmp(out, "HTTP/1.1 100", 12) == 0);
    say_str(fd, "{}");
    hear_one(fd, out, sizeof out, false);
    assert_int_equal(status_of(out), 200);
    close(fd);
    /* too large a body is refused before it is sent */
    fd = dial(s->w.http, 0);
    say_str(fd, "POST /work" HOST "Expect: 100-continue\r\nContent-Length: 5000\r\n\r\n");
    hear_all(fd, out, sizeof out);
    assert_int_equal(status_of(out), 413);
    close(fd);
    http_stop(s->w.http);
}

/* Two workers stand, two jobs wait: the fifth gets 503 at once, an inline route is not hindered,
 * and the four are answered when the gate opens. */
static void test_queue_full(void **state)
{
    (void)state;
    struct server *s = server_new();
    server_start(s);
    int fd[4];
    char out[8192];
    for (size_t i = 0; i < 2; i++) {
        fd[i] = dial(s->w.http, 0);
        say_str(fd[i], "GET /slow" HOST "\r\n");
    }
    gate_until_waiting(&s->w.gate, 2);
    /* the queue takes two more; which two of these is open, so ask until two were refused */
    int64_t busy = metrics_get(METRIC_HTTP_BUSY);
    int waiting = 0, refused = 0;
    while (refused < 2) {
        int k = dial(s->w.http, 0);
        say_str(k, "GET /slow" HOST "\r\n");
        struct pollfd p = {.fd = k, .events = POLLIN};
        if (waiting < 2 && poll(&p, 1, 300) == 0) {
            fd[2 + waiting++] = k;
            continue;
        }
        hear_one(k, out, sizeof out, false);
        assert_int_equal(status_of(out), 503);
        assert_non_null(strstr(out, "\r\nRetry-After: 1\r\n"));
        /* the connection lives */
        say_str(k, "GET /echo" HOST "\r\n");
        hear_one(k, out, sizeof out, false);
        assert_int_equal(status_of(out), 200);
        close(k);
        refused++;
    }
    assert_int_equal(waiting, 2);
    assert_true(metrics_get(METRIC_HTTP_BUSY) >= busy + 2);
    gate_open(&s->w.gate);
    for (size_t i = 0; i < 4; i++) {
        hear_one(fd[i], out, sizeof out, false);
        assert_int_equal(status_of(out), 200);
        assert_string_equal(body_of(out), "slow");
        close(fd[i]);
    }
    http_stop(s->w.http);
}

static void *stop_thread(void *arg)
{
    http_stop(arg);
    return NULL;
}

/* A stop answers what is under way, takes nothing new and loses no byte of a large answer. */
static void test_drain(void **state)
{
    (void)state;
    struct server *s = server_new();
    server_start(s);
    static char big[1200000];
    char out[8192];
    int slow = dial(s->w.http, 0), large = dial(s->w.http, 0);
    unsigned port = http_port(s->w.http, 0);
    say_str(slow, "GET /slow" HOST "\r\n");
    gate_until_waiting(&s->w.gate, 1);
    say_str(large, "GET /big" HOST "\r\n");
    struct pollfd p = {.fd = large, .events = POLLIN};
    assert_int_equal(poll(&p, 1, WAIT_MS), 1); /* on its way, and not read */
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, stop_thread, s->w.http), 0);
    /* wait until the listener is gone: a new connection is refused */
    for (;;) {
        struct sockaddr_in a = {.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        int rc = connect(fd, (struct sockaddr *)&a, sizeof a);
        close(fd);
        if (rc != 0)
            break;
    }
    gate_open(&s->w.gate);
    hear_all(slow, out, sizeof out);
    assert_int_equal(status_of(out), 200);
    assert_string_equal(body_of(out), "slow");
    assert_non_null(strcasestr(out, "Connection: close"));
    hear_one(large, big, sizeof big, false);
    assert_int_equal(strlen(body_of(big)), 1048576);
    pthread_join(t, NULL);
    close(slow);
    close(large);
}

/* A stop does not wait for idle connections. */
static void test_stop_with_idle(void **state)
{
    (void)state;
    struct server *s = server_new();
    server_start(s);
    char out[8192];
    int idle = dial(s->w.http, 0), used = dial(s->w.http, 0);
    say_str(used, "GET /work" HOST "\r\n");
    hear_one(used, out, sizeof out, false);
    int64_t before = clock_mono(&clock_system);
    http_stop(s->w.http);
    assert_true(clock_mono(&clock_system) - before < 5000);
    assert_int_equal(hear_all(idle, out, sizeof out), 0);
    assert_int_equal(hear_all(used, out, sizeof out), 0);
    close(idle);
    close(used);
}

/* A body that stops, one that drips, and a head that drips: 408 at the deadline, not at the idle
 * timeout. */
static void test_slow_requests(void **state)
{
    (void)state;
    struct server *s = server_new();
    s->conf.body_timeout = 1;
    server_start(s);
    static const char *const starts[] = {
        "POST /work" HOST "Content-Length: 100\r\n\r\nabc",
        "POST /echo" HOST "Transfer-Encoding: chunked\r\n\r\n64\r\nabc",
        "GET /echo" HOST "X-Never: ends",
    };
    char out[8192];
    for (size_t i = 0; i < TD_NITEMS(starts); i++) {
        int fd = dial(s->w.http, 0);
        say_str(fd, starts[i]);
        int64_t until = clock_mono(&clock_system) + WAIT_MS;
        struct pollfd p = {.fd = fd, .events = POLLIN};
        while (poll(&p, 1, 100) == 0 && clock_mono(&clock_system) < until)
            say_str(fd, "x"); /* never silent */
        hear_all(fd, out, sizeof out);
        close(fd);
        assert_int_equal(status_of(out), 408);
        const char *len = strstr(out, "Content-Length: ");
        char want[64];
        snprintf(want, sizeof want, "Content-Length: %zu\r\n", strlen(body_of(out)));
        assert_true(len && strncmp(len, want, strlen(want)) == 0);
    }
    http_stop(s->w.http);
}

static void test_idle_timeout(void **state)
{
    (void)state;
    struct server *s = server_new();
    s->conf.idle_timeout = 1;
    server_start(s);
    char out[8192];
    int silent = dial(s->w.http, 0), used = dial(s->w.http, 0);
    say_str(used, "GET /echo" HOST "\r\n");
    hear_one(used, out, sizeof out, false);
    assert_int_equal(hear_all(silent, out, sizeof out), 0);
    assert_int_equal(hear_all(used, out, sizeof out), 0);
    close(silent);
    close(used);
    http_stop(s->w.http);
}

static void test_abort_while_running(void **state)
{
    (void)state;
    struct server *s = server_new();
    server_start(s);
    int fd = dial(s->w.http, 0);
    say_str(fd, "GET /slow" HOST "\r\n");
    gate_until_waiting(&s->w.gate, 1);
    close(fd); /* the client is gone, the handler goes on */
    gate_open(&s->w.gate);
    const char *out = ask(s, "GET /work" HOST "\r\n");
    assert_int_equal(status_of(out), 200);
    fd = dial(s->w.http, 0);
    say_str(fd, "POST /work" HOST "Content-Length: 10\r\n\r\nabc");
    close(fd); /* gone in the middle of a body */
    out = ask(s, "GET /echo" HOST "\r\n");
    assert_int_equal(status_of(out), 200);
    http_stop(s->w.http);
}

static void test_unix_proxy(void **state)
{
    (void)state;
    struct server *s = server_new();
    char dir[] = "/tmp/td-http-XXXXXX", path[64], address[80];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/p.sock", dir);
    snprintf(address, sizeof address, "unix:%s", path);
    struct http_listener l[] = {
        {.name = "proxy", .kind = REQ_ON_DEVICE, .address = address, .proxy = true}};
    s->conf.listeners = l;
    server_start(s);
    static const struct {
        const char *headers;
        int status;
        const char *has;
    } cases[] = {
        {"", 200, "cert=0 proxy=0 addr=unix"},
        {"Client-Cert: :YWJj:\r\n", 200, "cert=3 proxy=1 addr=unix"},
        {"Client-Cert: :QkFEMQ==:\r\n", 200, "cert=0 proxy=0 addr=unix"}, /* the hook says no */
        {"Client-Cert: YWJj\r\n", 400, "client-cert-header"},
        {"Client-Cert: :YWJj:\r\nClient-Cert: :YWJj:\r\n", 400, "client-cert-header"},
        {"X-Forwarded-For: 9.9.9.9\r\n", 200, "addr=unix"},
    };
    char req[512], out[8192];
    for (size_t i = 0; i < TD_NITEMS(cases); i++) {
        int fd = dial_unix(path);
        snprintf(req, sizeof req, "GET /peer" HOST "%s\r\n", cases[i].headers);
        say_str(fd, req);
        hear_one(fd, out, sizeof out, false);
        close(fd);
        if (status_of(out) != cases[i].status || !strstr(out, cases[i].has))
            fail_msg("%zu: %s", i, out);
    }
    assert_int_equal(http_port(s->w.http, 0), 0);
    /* a live socket is not taken over */
    struct http *other;
    struct errinfo ei = {0};
    assert_int_equal(http_start(&s->conf, &other, &ei), TD_INVAL);
    http_stop(s->w.http);
    assert_int_not_equal(access(path, F_OK), 0);
    /* a stale one is */
    int stale = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    assert_int_equal(bind(stale, (struct sockaddr *)&a, sizeof a), 0);
    close(stale);
    server_start(s);
    http_stop(s->w.http);
    rmdir(dir);
}

static void test_refused_configurations(void **state)
{
    (void)state;
    struct server *s = server_new();
    struct http *h;
    struct errinfo ei = {0};
    const struct http_conf good = s->conf;
    static const char *const addresses[] = {
        "",        "127.0.0.1", "127.0.0.1:",   "x:80",        "127.0.0.1:65536",
        "[::1:80", "unix:rel",  "192.0.2.1:80", "127.0.0.1:+1"};
    for (size_t i = 0; i < TD_NITEMS(addresses); i++) {
        struct http_listener l = tcp;
        l.address = addresses[i];
        s->conf.listeners = &l;
        if (http_start(&s->conf, &h, &ei) != TD_INVAL)
            fail_msg("%s was taken", addresses[i]);
    }
    s->conf = good;
    s->conf.hooks.authorize = NULL; /* while a route needs it */
    assert_int_equal(http_start(&s->conf, &h, &ei), TD_INVAL);
    s->conf = good;
    struct http_listener proxy = tcp;
    proxy.proxy = true; /* on TCP */
    s->conf.listeners = &proxy;
    assert_int_equal(http_start(&s->conf, &h, &ei), TD_INVAL);
    struct http_listener ask_cert = tcp;
    ask_cert.ask_client_cert = true; /* without TLS */
    s->conf.listeners = &ask_cert;
    assert_int_equal(http_start(&s->conf, &h, &ei), TD_INVAL);
    struct http_listener two[] = {tcp, tcp}; /* the second cannot start: the first is undone */
    two[1].tls = true;
    two[1].cert_file = two[1].key_file = "/nonexistent.pem";
    s->conf.listeners = two;
    s->conf.nlisteners = 2;
    assert_int_not_equal(http_start(&s->conf, &h, &ei), TD_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_try),
        cmocka_unit_test(test_body_limits),
        cmocka_unit_test(test_token_before_large_body),
        cmocka_unit_test(test_expect_continue),
        cmocka_unit_test(test_queue_full),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_stop_with_idle),
        cmocka_unit_test(test_slow_requests),
        cmocka_unit_test(test_idle_timeout),
        cmocka_unit_test(test_abort_while_running),
        cmocka_unit_test(test_unix_proxy),
        cmocka_unit_test(test_refused_configurations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
