#include "web/http/exchange.h"

#include <stdio.h>
#include <stdlib.h>

#include "mdm/base/limits.h"
#include "mdm/base/log.h"
#include "mdm/base/metrics.h"
#include "mdm/base/str.h"
#include "web/http/peer.h"
#include "web/http/problem.h"

/* A body up to this size is read even when its request is refused, so that the connection lives
 * and the client sees the answer; a larger one on a token's route waits for the token. */
#define SMALL_BODY 65536
/* A refused body up to this size is read and dropped: closing on a client that still sends would
 * reset the connection under the answer. */
#define DRAINED_BODY (4 * 1024 * 1024)
/* All request bodies in memory together; small ones are always taken. */
#define BODIES_MAX (256LL * 1024 * 1024)
/* The largest body that is parsed on an event thread: an Idle report, a status request. */
#define TRY_BODY 4096
#define LOG_PATH_MAX 200

void http_peer_free(struct http_peer *p)
{
    free(p->der);
    p->der = NULL;
}

void http_ex_begin(struct http_ex *x, struct http_shared *sh, const struct http_listener *l,
                   struct http_peer *peer, struct span url)
{
    *x = (struct http_ex){.sh = sh, .listener = l, .peer = peer};
    x->begun_ms = clock_mono(sh->conf.clock);
    arena_init(&x->arena, LIMIT_REQ_ARENA);
    resp_init(&x->resp, &x->arena, LIMIT_REQ_ARENA);
    buf_init(&x->body, 0);
    rng_id(sh->conf.rng, x->id);
    /* one byte over the limit is enough for the guard to see that it is over */
    x->url = arena_span(&x->arena, span_sub(url, 0, LIMIT_HTTP_URL + 1));
    x->req =
        (struct req){.listener = l->kind, .peer_addr = peer->addr, .id = x->id, .arena = &x->arena};
}

/* --- errors ----------------------------------------------------------------------------------- */

static void allow_header(struct http_ex *x)
{
    char text[64] = "";
    size_t n = 0;
    for (unsigned m = REQ_GET; m <= REQ_PATCH; m <<= 1)
        if (x->hit.allow & m)
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", n ? ", " : "",
                                  http_method_name((enum req_method)m));
    (void)resp_header(&x->resp, "Allow", text);
}

static bool has_header(const struct resp *r, const char *name)
{
    for (size_t i = 0; i < r->nheaders; i++)
        if (str_ieq(span_str(r->headers[i].name), span_str(name)))
            return true;
    return false;
}

/* The error in x->ei becomes the answer. */
static void answer_error(struct http_ex *x, enum td_err e)
{
    const struct route *r = x->hit.route;
    x->err = e;
    x->ei.code = e;
    x->answered = true;
    buf_free(&x->resp.body);
    x->resp.content_type = NULL;
    x->resp.status = http_status_of(e, &x->ei);
    const struct route *form = r ? r : x->hit.near;
    (form && form->problem ? form->problem : http_problem)(&x->req, &x->resp, e, &x->ei);
    int wait = x->ei.retry_after ? x->ei.retry_after : e == TD_BUSY;
    if (wait > 0 && !has_header(&x->resp, "Retry-After")) {
        char text[16];
        snprintf(text, sizeof text, "%d", wait);
        (void)resp_header(&x->resp, "Retry-After", text);
    }
    if (e == TD_UNAUTH && r && r->access == ROUTE_TOKEN)
        (void)resp_header(&x->resp, "WWW-Authenticate",
                          x->ei.reason ? "Bearer realm=\"testudo\", error=\"invalid_token\""
                                       : "Bearer realm=\"testudo\"");
    if (e == TD_METHOD && x->hit.allow)
        allow_header(x);
}

void http_ex_fail(struct http_ex *x, enum td_err e, const char *reason, const char *msg)
{
    err_reason(&x->ei, e, reason, "%s", msg);
    answer_error(x, e);
}

/* --- the head --------------------------------------------------------------------------------- */

static enum td_err strict(struct http_ex *x, struct span method, struct span version,
                          const char *layout_fault)
{
    const struct http_head head = {method, version, x->url, x->req.headers, x->req.nheaders};
    if (!x->url.p)
        return err_reason(&x->ei, TD_PARSE, "http-line", "a request line without a URL");
    TD_TRY(http_strict_head(&head, &x->framing, &x->ei));
    if (layout_fault)
        return err_reason(&x->ei, TD_PARSE, layout_fault,
                          "a folded line, a NUL, a bare LF or extra spaces in the head");
    TD_TRY(
        http_strict_path(x->framing.path, router_raw_from(x->sh->router, x->framing.path), &x->ei));
    x->req.method = x->framing.method;
    x->req.path = x->framing.path;
    x->req.query = x->framing.query;
    return TD_OK;
}

static enum td_err route(struct http_ex *x)
{
    enum td_err e =
        router_match(x->sh->router, x->listener->kind, x->req.method, x->req.path, &x->hit);
    if (e == TD_METHOD) {
        memcpy(x->req.params, x->hit.params, sizeof x->req.params);
        x->req.ctx = x->hit.near_ctx;
        return err_set(&x->ei, e, "the method is not allowed here");
    }
    if (e != TD_OK)
        return err_set(&x->ei, e, "there is nothing at this address");
    memcpy(x->req.params, x->hit.params, sizeof x->req.params);
    x->req.tail = x->hit.tail;
    x->req.ctx = x->hit.ctx;
    x->body.max = x->hit.route->body_max;
    if (x->framing.length > x->body.max || (x->framing.chunked && x->body.max == 0))
        return err_reason(&x->ei, TD_LIMIT, "body-too-large", "the body may have %zu bytes",
                          x->body.max);
    return TD_OK;
}

enum http_next http_ex_head(struct http_ex *x, struct span method, struct span version,
                            const struct req_header *headers, size_t n, const char *layout_fault)
{
    x->req.headers = headers;
    x->req.nheaders = n;
    x->counted = true;
    atomic_fetch_add(&x->sh->active, 1);
    enum td_err e = strict(x, method, version, layout_fault);
    if (e != TD_OK) {
        metrics_add(METRIC_HTTP_REFUSED, 1);
        answer_error(x, e);
        x->close = true;
        return HTTP_NEXT_CLOSE;
    }
    /* a bare LF or an extension inside the chunks is not seen by us: nothing follows such a body */
    x->close = x->framing.chunked;
    bool large = x->framing.chunked || x->framing.length > SMALL_BODY;
    e = route(x);
    if (e != TD_OK) {
        answer_error(x, e);
        /* who waits for 100 Continue has sent nothing of the body yet */
        bool expects = false;
        (void)req_header(&x->req, "expect", &expects);
        bool cut = expects || x->framing.chunked || x->framing.length > DRAINED_BODY;
        x->close |= cut;
        return cut ? HTTP_NEXT_CLOSE : HTTP_NEXT_DRAIN;
    }
    struct span type = req_header(&x->req, "content-type", NULL);
    x->req.content_type = str_trim(str_cut(&type, ';'));
    return large && x->hit.route->access == ROUTE_TOKEN ? HTTP_NEXT_AUTHORIZE : HTTP_NEXT_BODY;
}

/* --- the body --------------------------------------------------------------------------------- */

static void drop_body(struct http_ex *x)
{
    atomic_fetch_sub(&x->sh->body_bytes, (long long)x->body.n);
    buf_free(&x->body);
}

void http_ex_body(struct http_ex *x, struct span piece)
{
    if (x->answered)
        return;
    if (piece.n > x->body.max - x->body.n) {
        drop_body(x);
        err_reason(&x->ei, TD_LIMIT, "body-too-large", "the body may have %zu bytes", x->body.max);
        answer_error(x, TD_LIMIT);
        x->close = true;
        return;
    }
    size_t had = x->body.n;
    long long all = atomic_fetch_add(&x->sh->body_bytes, (long long)piece.n);
    enum td_err e = TD_OK;
    if (all > BODIES_MAX && had + piece.n > SMALL_BODY) {
        buf_free(&x->body);
        e = TD_BUSY;
    } else {
        e = buf_span(&x->body, piece);
    }
    if (e == TD_OK)
        return;
    atomic_fetch_sub(&x->sh->body_bytes, (long long)(had + piece.n));
    http_ex_fail(x, e, "body-memory", "too many large requests at once");
    x->close = true;
}

void http_ex_body_done(struct http_ex *x, bool trailers)
{
    if (trailers && !x->answered) {
        http_ex_fail(x, TD_PARSE, "http-trailer", "trailer fields are not taken");
        x->close = true;
    }
    x->req.body = buf_view(&x->body);
}

/* --- the handler ------------------------------------------------------------------------------ */

void http_ex_authorize(struct http_ex *x)
{
    const struct http_hooks *hooks = &x->sh->conf.hooks;
    if (x->answered || x->authorized || x->hit.route->access != ROUTE_TOKEN)
        return;
    log_request(x->id);
    enum td_err e = hooks->authorize(hooks->ctx, x->hit.route, &x->req, &x->ei);
    if (e != TD_OK)
        answer_error(x, e);
    else
        x->authorized = true;
}

static bool verified(struct http_ex *x, const struct span *chain, size_t n)
{
    const struct http_hooks *hooks = &x->sh->conf.hooks;
    struct errinfo ei = {0};
    enum td_err e = hooks->verify_peer(hooks->ctx, chain, n, &ei);
    if (e != TD_OK)
        log_ev(LOG_INFO, "http.peer_cert_refused", KV("peer", x->peer->addr),
               KV("err", err_name(e)), KV("reason", ei.reason ? ei.reason : ""),
               KV("detail", err_msg(&ei, e)));
    return e == TD_OK;
}

/* The handshake is over when a request is here: the certificate is looked at once. */
static void tls_peer(struct http_ex *x)
{
    struct http_peer *p = x->peer;
    if (!p->asked && p->chain) {
        struct span chain[LIMIT_CERT_CHAIN];
        size_t n = p->chain(p->transport, chain, TD_NITEMS(chain));
        p->asked = true;
        if (n > 0 && chain[0].n <= LIMIT_X5C_CERT && verified(x, chain, n)) {
            p->der = malloc(chain[0].n);
            p->der_n = p->der ? chain[0].n : 0;
            if (p->der)
                memcpy(p->der, chain[0].p, chain[0].n);
        }
    }
    x->req.peer_cert = span_of(p->der, p->der ? p->der_n : 0);
}

static enum td_err find_peer(struct http_ex *x)
{
    if (x->listener->proxy) {
        struct span der;
        TD_TRY(http_peer_header(x->req.headers, x->req.nheaders, &x->arena, &der, &x->ei));
        if (der.n > 0 && verified(x, &der, 1)) {
            x->req.peer_cert = der;
            x->req.peer_from_proxy = true;
        }
    } else if (x->listener->ask_client_cert) {
        tls_peer(x);
    }
    return TD_OK;
}

enum td_err http_submit(struct http_shared *sh, void (*job)(void *), void *arg)
{
    /* http_stop sets closed, waits for submitting to fall to 0, and then frees the queue */
    atomic_fetch_add(&sh->submitting, 1);
    enum td_err e = atomic_load(&sh->closed) ? TD_BUSY : work_submit(sh->work, job, arg);
    atomic_fetch_sub(&sh->submitting, 1);
    return e;
}

void http_ex_run(struct http_ex *x)
{
    if (x->answered)
        return;
    log_request(x->id);
    enum td_err e = find_peer(x);
    if (e != TD_OK) {
        answer_error(x, e);
        return;
    }
    http_ex_authorize(x);
    if (x->answered)
        return;
    e = x->hit.route->fn(&x->req, &x->resp, &x->ei);
    if (e == TD_AGAIN && x->req.no_wait) {
        resp_free(&x->resp);
        resp_init(&x->resp, &x->arena, LIMIT_REQ_ARENA);
        x->ei = (struct errinfo){0};
        return;
    }
    if (e == TD_OK && x->resp.body.err != TD_OK)
        e = err_set(&x->ei, x->resp.body.err == TD_NOMEM ? TD_NOMEM : TD_INTERNAL,
                    "the answer did not fit");
    if (e != TD_OK)
        answer_error(x, e);
    x->answered = true;
}

bool http_ex_try(struct http_ex *x)
{
    if (x->answered)
        return true;
    const struct route *r = x->hit.route;
    bool may_wait = !(r->flags & ROUTE_INLINE);
    if (may_wait &&
        (!(r->flags & ROUTE_TRY) || r->access == ROUTE_TOKEN || x->req.body.n > TRY_BODY))
        return false;
    x->req.no_wait = may_wait;
    http_ex_run(x);
    log_request("");
    x->req.no_wait = false;
    return x->answered;
}

/* --- the end ---------------------------------------------------------------------------------- */

static void log_answer(const struct http_ex *x, int64_t ms)
{
    int status = x->resp.status;
    enum log_level level = status >= 500 ? LOG_ERROR : status >= 400 ? LOG_INFO : LOG_DEBUG;
    if (level < log_level_get())
        return;
    /* never the query; a token in the path stops it */
    struct span path = x->framing.path;
    size_t shown = router_public_len(x->sh->router, path);
    char text[LOG_PATH_MAX + 8];
    snprintf(text, sizeof text, "%.*s%s", (int)(shown < LOG_PATH_MAX ? shown : LOG_PATH_MAX),
             path.n ? (const char *)path.p : "", shown < path.n ? "***" : "");
    log_request(x->id);
    log_ev(level, "http.request", KV("listener", x->listener->name), KV("peer", x->peer->addr),
           KV_I64("peer_uid", x->peer->uid), KV("method", http_method_name(x->framing.method)),
           KV("path", text), KV_I64("status", status), KV_I64("ms", ms),
           KV("err", err_name(x->err)), KV("reason", x->ei.reason ? x->ei.reason : ""),
           KV("detail", x->err ? err_msg(&x->ei, x->err) : ""));
    log_request("");
}

static void extra(struct http_extra *e, const char *name, const char *value)
{
    e->h[e->n].name = name;
    e->h[e->n].value = value;
    e->n++;
}

void http_ex_finish(struct http_ex *x, struct http_extra *ret)
{
    *ret = (struct http_extra){0};
    x->close |= atomic_load(&x->sh->stopping);
    if (x->resp.content_type)
        extra(ret, "Content-Type", x->resp.content_type);
    extra(ret, "X-Request-Id", x->id);
    extra(ret, "X-Content-Type-Options", "nosniff");
    if (x->listener->tls)
        extra(ret, "Strict-Transport-Security", "max-age=31536000");
    if (!has_header(&x->resp, "Cache-Control"))
        extra(ret, "Cache-Control", "no-store");
    if (x->close)
        extra(ret, "Connection", "close");
    int64_t ms = clock_mono(x->sh->conf.clock) - x->begun_ms;
    metrics_add(METRIC_HTTP_REQUESTS, 1);
    metrics_observe(METRIC_HTTP_TIME, ms * 1000);
    log_answer(x, ms);
}

void http_ex_end(struct http_ex *x)
{
    if (!x->sh)
        return;
    drop_body(x);
    resp_free(&x->resp);
    arena_free(&x->arena);
    if (x->counted && atomic_fetch_sub(&x->sh->active, 1) == 1 && atomic_load(&x->sh->stopping)) {
        pthread_mutex_lock(&x->sh->lock);
        pthread_cond_broadcast(&x->sh->idle);
        pthread_mutex_unlock(&x->sh->lock);
    }
    x->sh = NULL;
}
