#include "tests/sim/http.h"

#include "mdm/base/num.h"
#include "tests/sim/pool.h"
#include "tests/sim/stats.h"

enum { NAP_MIN_US = 10000, NAP_MAX_US = 500000 };

static enum td_err fill(void *ctx, void *p, size_t n, size_t *ret_n, struct errinfo *ei)
{
    return tls_read(ctx, p, n, ret_n, ei);
}

static bool copy(char *out, size_t n, struct span s)
{
    if (s.n >= n)
        return false;
    if (s.n)
        memcpy(out, s.p, s.n);
    out[s.n] = 0;
    return true;
}

/* Where the host ends: behind the bracket of an IPv6 literal, else at the first of ":/?". */
static struct span host_part(struct span s)
{
    if (s.n && s.p[0] == '[') {
        const uint8_t *end = memchr(s.p, ']', s.n);
        return end ? span_sub(s, 1, (size_t)(end - s.p) - 1) : (struct span){NULL, 0};
    }
    size_t i = 0;
    while (i < s.n && s.p[i] != ':' && s.p[i] != '/' && s.p[i] != '?')
        i++;
    return span_sub(s, 0, i);
}

/* Cuts the scheme off *s; sets ->tls and the scheme's port. */
static bool scheme(struct span *s, struct http_url *u, uint64_t *ret_port)
{
    static const struct {
        struct span text;
        bool tls;
        uint64_t port;
    } known[] = {{SPAN_LIT("https://"), true, 443}, {SPAN_LIT("http://"), false, 80}};
    for (size_t i = 0; i < TD_NITEMS(known); i++) {
        if (!span_starts(*s, known[i].text))
            continue;
        *s = span_sub(*s, known[i].text.n, s->n);
        u->tls = known[i].tls;
        *ret_port = known[i].port;
        return true;
    }
    return false;
}

/* Cuts ":port" off *s when it is there. */
static bool port_part(struct span *s, uint64_t *port)
{
    size_t i = 1;
    if (s->n == 0 || s->p[0] != ':')
        return true;
    while (i < s->n && s->p[i] != '/' && s->p[i] != '?')
        i++;
    if (num_u64(span_sub(*s, 1, i - 1), 65535, port) != TD_OK)
        return false;
    *s = span_sub(*s, i, s->n);
    return true;
}

/* What is left is empty, a path or a query. */
static bool target_part(struct span s, struct http_url *u)
{
    bool query = s.n && s.p[0] == '?';
    if ((s.n && s.p[0] != '/' && !query) || s.n + 2 > sizeof(u->target))
        return false;
    snprintf(u->target, sizeof(u->target), "%s%.*s", query || s.n == 0 ? "/" : "", (int)s.n,
             s.n ? (const char *)s.p : "");
    return true;
}

enum td_err http_url_parse(const char *url, struct http_url *ret, struct errinfo *ei)
{
    struct http_url u = {0};
    struct span s = span_str(url);
    uint64_t port = 0;
    if (!scheme(&s, &u, &port))
        return err_set(ei, TD_PARSE, "not an http URL: '%.80s'", url);
    bool bracket = s.n && s.p[0] == '[';
    struct span host = host_part(s);
    s = span_sub(s, host.n + (bracket ? 2 : 0), s.n);
    if (host.n == 0 || !copy(u.host, sizeof(u.host), host) || !port_part(&s, &port) ||
        !target_part(s, &u))
        return err_set(ei, TD_PARSE, "bad URL '%.80s'", url);
    snprintf(u.port, sizeof(u.port), "%u", (unsigned)port);
    *ret = u;
    return TD_OK;
}

void http_init(struct http_client *c, SSL_CTX *tls, const char *user_agent, int timeout_ms)
{
    *c = (struct http_client){
        .tls = tls, .user_agent = user_agent, .timeout_ms = timeout_ms, .conn = {.fd = -1}};
}

void http_close(struct http_client *c)
{
    tls_close(&c->conn);
    c->rd.at = c->rd.n = 0;
}

static bool same_peer(const struct http_url *a, const struct http_url *b)
{
    return a->tls == b->tls && strcmp(a->host, b->host) == 0 && strcmp(a->port, b->port) == 0;
}

/* Opens the connection unless the right one is open; *ret_reused tells which. */
static enum td_err connect_to(struct http_client *c, const struct http_url *u, bool *ret_reused,
                              struct errinfo *ei)
{
    *ret_reused = c->conn.fd >= 0 && same_peer(&c->peer, u);
    if (*ret_reused)
        return TD_OK;
    http_close(c);
    struct tls_dial d = {.ctx = u->tls ? c->tls : NULL,
                         .host = u->host,
                         .port = u->port,
                         .cert = c->cert,
                         .key = c->key,
                         .timeout_ms = c->timeout_ms};
    if (u->tls && !c->tls)
        return err_set(ei, TD_INVAL, "%s needs --cacert", u->host);
    TD_TRY(tls_open(&d, &c->conn, ei));
    c->peer = *u;
    c->rd.fill = fill;
    c->rd.ctx = &c->conn;
    return TD_OK;
}

/* The bytes of a request, headers in the order of Apple's URL loader. */
static enum td_err render(const struct http_client *c, const struct http_req *q,
                          const struct http_url *u, struct buf *b)
{
    bool v6 = strchr(u->host, ':') != NULL, usual = strcmp(u->port, u->tls ? "443" : "80") == 0;
    buf_printf(b, "%s %s HTTP/1.1\r\nHost: %s%s%s%s%s\r\n", q->method, u->target, v6 ? "[" : "",
               u->host, v6 ? "]" : "", usual ? "" : ":", usual ? "" : u->port);
    if (q->content_type)
        buf_printf(b, "Content-Type: %s\r\n", q->content_type);
    buf_printf(b, "Connection: keep-alive\r\nAccept: %s\r\n", q->accept ? q->accept : "*/*");
    if (c->user_agent)
        buf_printf(b, "User-Agent: %s\r\n", c->user_agent);
    if (q->header_name)
        buf_printf(b, "%s: %s\r\n", q->header_name, q->header_value);
    if (q->has_body || q->body.n)
        buf_printf(b, "Content-Length: %zu\r\n", q->body.n);
    buf_str(b, "\r\n");
    return buf_span(b, q->body);
}

static enum td_err once(struct http_client *c, const struct http_req *q, const struct http_url *u,
                        struct span bytes, struct httpread_resp *ret, bool *ret_stale,
                        struct errinfo *ei)
{
    bool reused = false, keep = false, started = false;
    *ret = (struct httpread_resp){0};
    *ret_stale = false;
    TD_TRY(connect_to(c, u, &reused, ei));
    enum td_err e = tls_write(&c->conn, bytes, ei);
    if (e == TD_OK)
        e = httpread_response(&c->rd, strcmp(q->method, "HEAD") == 0, ret, &keep, &started, ei);
    if (e != TD_OK || !keep)
        http_close(c);
    *ret_stale = e == TD_UPSTREAM && reused && !started;
    return e;
}

/* Once, or twice when the kept connection turns out to be closed. */
static enum td_err attempt(struct http_client *c, const struct http_req *q,
                           const struct http_url *u, struct span bytes, struct httpread_resp *ret,
                           struct errinfo *ei)
{
    bool stale = false;
    enum td_err e = once(c, q, u, bytes, ret, &stale, ei);
    if (!stale || (c->post_once && strcmp(q->method, "POST") == 0))
        return e;
    httpread_free(ret);
    return once(c, q, u, bytes, ret, &stale, ei);
}

bool http_try_again(enum td_err e, int status)
{
    return e == TD_UPSTREAM || e == TD_TIMEOUT || (status >= 502 && status <= 504);
}

enum td_err http_do(struct http_client *c, const struct http_req *req, struct httpread_resp *ret,
                    struct errinfo *ei)
{
    struct http_url u;
    buf_auto b;
    buf_init(&b, 33554432);
    *ret = (struct httpread_resp){0};
    TD_TRY(http_url_parse(req->url, &u, ei));
    if (render(c, req, &u, &b) != TD_OK)
        return err_set(ei, b.err, "the request is too large");
    uint64_t until = stats_now_us() + (uint64_t)c->retry_ms * 1000, nap = NAP_MIN_US;
    for (;;) {
        enum td_err e = attempt(c, req, &u, buf_view(&b), ret, ei);
        if (!http_try_again(e, ret->status) || stats_now_us() + nap > until)
            return e;
        pool_pause(nap);
        httpread_free(ret);
        nap = nap * 2 < NAP_MAX_US ? nap * 2 : NAP_MAX_US;
        c->retries++;
    }
}
