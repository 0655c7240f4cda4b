/* A server with a few routes, and a raw client, for the tests of this folder. */
#ifndef TD_TESTS_HTTP_FIXTURE_H
#define TD_TESTS_HTTP_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "mdm/base/limits.h"
#include "mdm/base/log.h"
#include "web/http/http.h"

#define WAIT_MS 10000

/* A gate that handlers of /slow stand at. */
struct gate {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool open;
    int waiting;
};

struct world {
    struct http *http;
    struct gate gate;
    atomic_int smuggled, echoed, verified;
    atomic_int authorized;
    atomic_int tried, waited; /* by h_try */
};

static inline void gate_wait(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    g->waiting++;
    pthread_cond_broadcast(&g->cond);
    while (!g->open)
        pthread_cond_wait(&g->cond, &g->lock);
    pthread_mutex_unlock(&g->lock);
}

static inline void gate_until_waiting(struct gate *g, int n)
{
    pthread_mutex_lock(&g->lock);
    while (g->waiting < n)
        pthread_cond_wait(&g->cond, &g->lock);
    pthread_mutex_unlock(&g->lock);
}

static inline void gate_open(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    g->open = true;
    pthread_cond_broadcast(&g->cond);
    pthread_mutex_unlock(&g->lock);
}

static inline enum td_err h_echo(const struct req *r, struct resp *resp, struct errinfo *ei)
{
    (void)ei;
    atomic_fetch_add(&((struct world *)r->ctx)->echoed, 1);
    return resp_body(resp, 200, "text/plain", r->body.n ? r->body : SPAN_LIT("none"));
}

static inline enum td_err h_smuggled(const struct req *r, struct resp *resp, struct errinfo *ei)
{
    (void)ei;
    atomic_fetch_add(&((struct world *)r->ctx)->smuggled, 1);
    return resp_body(resp, 200, "text/plain", SPAN_LIT("smuggled"));
}

static inline enum td_err h_slow(const struct req *r, struct resp *resp, struct errinfo *ei)
{
    (void)ei;
    gate_wait(&((struct world *)r->ctx)->gate);
    return resp_body(resp, 200, "text/plain", SPAN_LIT("slow"));
}

static inline enum td_err h_tail(const struct req *r, struct resp *resp, struct errinfo *ei)
{
    (void)ei;
    return resp_body(resp, 200, "text/plain", r->tail);
}

static inline enum td_err h_param(const struct req *r, struct resp *resp, struct errinfo *ei)
{
    (void)ei;
    return resp_body(resp, 200, "text/plain", r->params[0]);
}

static inline enum td_err h_fail(const struct req *r, struct resp *resp, struct errinfo *ei)
{
    (void)resp_header(resp, "Replay-Nonce", "abc");
    (void)resp_body(resp, 200, "text/plain", SPAN_LIT("half an answer"));
    if (span_eq_str(r->params[0], "db"))
        return err_set(ei, TD_DB, "secret path /var/lib/db is broken");
    if (span_eq_str(r->params[0], "busy")) {
        err_set(ei, TD_BUSY, "busy");
        ei->retry_after = 7;
        return TD_BUSY;
    }
    return err_reason(ei, TD_CONFLICT, "rev-mismatch", "it is \"%s\"", "changed");
}

static inline enum td_err h_peer(const struct req *r, struct resp *resp, struct errinfo *ei)
{
    (void)ei;
    char text[128];
    snprintf(text, sizeof text, "cert=%zu proxy=%d addr=%s", r->peer_cert.n, r->peer_from_proxy,
             r->peer_addr);
    return resp_body(resp, 200, "text/plain", span_str(text));
}

static inline enum td_err h_big(const struct req *r, struct resp *resp, struct errinfo *ei)
{
    (void)r, (void)ei;
    for (int i = 0; i < 1024; i++)
        (void)buf_printf(&resp->body, "%01023d\n", i);
    resp->content_type = "text/plain";
    return TD_OK;
}

/* "later" needs a worker; everything else is answered wherever it runs. */
static inline enum td_err h_try(const struct req *r, struct resp *resp, struct errinfo *ei)
{
    struct world *w = r->ctx;
    atomic_fetch_add(r->no_wait ? &w->tried : &w->waited, 1);
    if (r->no_wait && span_eq_str(r->params[0], "later")) {
        (void)resp_header(resp, "X-First", "yes");
        (void)resp_body(resp, 404, "text/html", SPAN_LIT("half an answer"));
        return err_reason(ei, TD_AGAIN, "first", "of the first run");
    }
    if (span_eq_str(r->params[0], "never"))
        return TD_AGAIN;
    return resp_body(resp, 200, "text/plain", r->no_wait ? SPAN_LIT("tried") : SPAN_LIT("waited"));
}

#define ANY (REQ_ON_PUBLIC | REQ_ON_DEVICE | REQ_ON_STATUS)
static const struct route test_routes[] = {
    {REQ_GET | REQ_HEAD | REQ_POST, ANY, "/echo", ROUTE_OPEN, NULL, 4096, ROUTE_INLINE, h_echo,
     NULL, "echo"},
    {REQ_GET | REQ_POST, ANY, "/work", ROUTE_OPEN, NULL, 4096, 0, h_echo, NULL, "on a worker"},
    {REQ_POST, ANY, "/large", ROUTE_OPEN, NULL, 1048576, 0, h_echo, NULL, "large bodies"},
    {REQ_GET, ANY, "/plain", ROUTE_OPEN, NULL, 0, ROUTE_INLINE, h_echo, NULL, "no body"},
    {REQ_GET | REQ_POST, ANY, "/smuggled", ROUTE_OPEN, NULL, 0, ROUTE_INLINE, h_smuggled, NULL,
     "must not be reached"},
    {REQ_GET, ANY, "/slow", ROUTE_OPEN, NULL, 0, 0, h_slow, NULL, "stands at the gate"},
    {REQ_GET, ANY, "/raw/{*}", ROUTE_OPEN, NULL, 0, ROUTE_INLINE | ROUTE_RAW_TAIL, h_tail, NULL,
     "raw tail"},
    {REQ_GET, ANY, "/tail/{*}", ROUTE_OPEN, NULL, 0, ROUTE_INLINE, h_tail, NULL, "tail"},
    {REQ_GET, ANY, "/p/{name}", ROUTE_OPEN, NULL, 0, ROUTE_INLINE, h_param, NULL, "parameter"},
    {REQ_GET, ANY, "/fail/{how}", ROUTE_OPEN, NULL, 0, 0, h_fail, NULL, "fails"},
    {REQ_GET | REQ_POST, ANY, "/token", ROUTE_TOKEN, "x:read", 1048576, 0, h_echo, NULL, "token"},
    {REQ_GET, ANY, "/peer", ROUTE_DEVICE, NULL, 0, 0, h_peer, NULL, "peer"},
    {REQ_GET | REQ_POST, ANY, "/try/{how}", ROUTE_OPEN, NULL, 8192, ROUTE_TRY, h_try, NULL, "try"},
    {REQ_GET, ANY, "/trytoken/{how}", ROUTE_TOKEN, "x:read", 0, ROUTE_TRY, h_try, NULL, "try"},
    {REQ_GET, ANY, "/big", ROUTE_OPEN, NULL, 0, 0, h_big, NULL, "1 MiB"},
};

static inline enum td_err hook_authorize(void *ctx, const struct route *r, struct req *req,
                                         struct errinfo *ei)
{
    (void)r;
    bool found;
    struct span v = req_header(req, "authorization", &found);
    atomic_fetch_add(&((struct world *)ctx)->authorized, 1);
    if (!found)
        return err_set(ei, TD_UNAUTH, "a token is needed");
    if (!span_eq_str(v, "Bearer good"))
        return err_reason(ei, TD_UNAUTH, "token-unknown", "the token is not known");
    return TD_OK;
}

/* Takes every certificate that does not begin with "BAD". */
static inline enum td_err hook_verify(void *ctx, const struct span *chain, size_t n,
                                      struct errinfo *ei)
{
    atomic_fetch_add(&((struct world *)ctx)->verified, 1);
    if (n == 0 || span_starts(chain[0], SPAN_LIT("BAD")))
        return err_reason(ei, TD_CRYPTO, "chain-untrusted", "not ours");
    return TD_OK;
}

static inline struct http_conf world_conf(struct world *w, const struct http_listener *l, size_t n,
                                          struct route_set *set)
{
    *set = (struct route_set){test_routes, TD_NITEMS(test_routes), w};
    return (struct http_conf){.listeners = l,
                              .nlisteners = n,
                              .sets = set,
                              .nsets = 1,
                              .hooks = {w, hook_authorize, hook_verify},
                              .threads = 2,
                              .workers = 2,
                              .queue = 2,
                              .connections = 64,
                              .idle_timeout = 20,
                              .body_timeout = 20,
                              .clock = &clock_system,
                              .rng = &rng_system};
}

static inline void world_init(struct world *w)
{
    *w = (struct world){0};
    pthread_mutex_init(&w->gate.lock, NULL);
    pthread_cond_init(&w->gate.cond, NULL);
}

/* --- a client ----------------------------------------------------------------------------------*/

static inline int dial(const struct http *h, size_t listener)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)http_port(h, listener)),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_not_equal(fd, -1);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

static inline int dial_unix(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_not_equal(fd, -1);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

static inline void say(int fd, const void *p, size_t n)
{
    const char *s = p;
    while (n > 0) {
        ssize_t k = send(fd, s, n, MSG_NOSIGNAL);
        if (k <= 0)
            return; /* the server may refuse before it read all */
        s += k;
        n -= (size_t)k;
    }
}

static inline void say_str(int fd, const char *s)
{
    say(fd, s, strlen(s));
}

/* Reads until the peer closes (or resets); fails after WAIT_MS. A NUL is put behind. */
static inline size_t hear_all(int fd, char *out, size_t cap)
{
    size_t n = 0;
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&p, 1, WAIT_MS), 1);
        assert_true(n + 1 < cap);
        ssize_t k = recv(fd, out + n, cap - n - 1, 0);
        if (k <= 0)
            break;
        n += (size_t)k;
    }
    out[n] = 0;
    return n;
}

/* Reads one answer with a Content-Length from a living connection (none for HEAD and 204). */
static inline size_t hear_one(int fd, char *out, size_t cap, bool head_only)
{
    size_t n = 0, want = 0;
    for (;;) {
        if (want && n >= want)
            break;
        struct pollfd p = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&p, 1, WAIT_MS), 1);
        ssize_t k = recv(fd, out + n, want ? want - n : 1, 0);
        if (k <= 0)
            break;
        n += (size_t)k;
        out[n] = 0;
        assert_true(n + 1 < cap);
        if (!want && n >= 4 && memcmp(out + n - 4, "\r\n\r\n", 4) == 0) {
            const char *len = strcasestr(out, "\r\nContent-Length:");
            size_t body = 0;
            for (const char *c = len ? len + 17 : ""; *c == ' ' || (*c >= '0' && *c <= '9'); c++)
                if (*c != ' ')
                    body = body * 10 + (size_t)(*c - '0');
            want = n + (head_only ? 0 : body);
            assert_true(want < cap);
        }
    }
    out[n] = 0;
    return n;
}

static inline int status_of(const char *answer)
{
    if (strncmp(answer, "HTTP/1.1 ", 9) != 0 && strncmp(answer, "HTTP/1.0 ", 9) != 0)
        return 0;
    return (answer[9] - '0') * 100 + (answer[10] - '0') * 10 + (answer[11] - '0');
}

static inline const char *body_of(const char *answer)
{
    const char *b = strstr(answer, "\r\n\r\n");
    return b ? b + 4 : "";
}

#endif
