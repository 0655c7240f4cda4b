#include "web/http/mhd.h"

#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mdm/base/limits.h"
#include "mdm/base/log.h"
#include "mdm/base/metrics.h"
#include "mdm/base/str.h"
#include "web/http/listen.h"
#include "web/http/mhd_tls.h"

struct mhd {
    struct http_shared *sh;
    const struct http_listener *l;
    struct deadlines *deadlines;
    struct MHD_Daemon *daemon;
    struct http_sock sock;
    struct mhd_tls *tls;
};

enum step {
    STEP_HEAD,   /* the library calls with the head next */
    STEP_AUTH,   /* suspended: the token is checked before the body */
    STEP_AUTHED, /* resumed from that: the library calls with the head again */
    STEP_BODY,
    STEP_RUN, /* suspended: the handler runs on a worker */
    STEP_READY
};

enum { DEADLINE_IDLE, DEADLINE_REQUEST, DEADLINE_SEND };

struct conn {
    struct deadline deadline;
    struct mhd *m;
    struct MHD_Connection *c;
    int fd;
    void *session; /* gnutls_session_t, NULL without TLS */
    struct mhd_tls_cred *cred;
    struct http_peer peer;
    struct http_ex ex;
    struct span raw_url; /* where the library keeps it */
    enum step step;
};

static int64_t now_ms(const struct conn *k)
{
    return clock_mono(k->m->sh->conf.clock);
}

/* --- connections ------------------------------------------------------------------------------ */

static const union MHD_ConnectionInfo *info(struct MHD_Connection *c,
                                            enum MHD_ConnectionInfoType what)
{
    return MHD_get_connection_info(c, what);
}

/* Between requests: the library's own timeout takes the silent peer, this one the dripping one. */
static bool arm_idle(struct conn *k)
{
    const struct http_conf *conf = &k->m->sh->conf;
    return deadline_arm(&k->deadline, DEADLINE_IDLE,
                        now_ms(k) + 1000LL * (conf->idle_timeout + conf->body_timeout));
}

static int64_t peer_uid(int fd)
{
    struct ucred cred;
    socklen_t n = sizeof cred;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) == 0 ? (int64_t)cred.uid : -1;
}

static struct conn *conn_new(struct mhd *m, struct MHD_Connection *c)
{
    struct conn *k = calloc(1, sizeof *k);
    if (!k)
        return NULL;
    k->m = m;
    k->c = c;
    k->fd = info(c, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    k->peer.uid = m->sock.local ? peer_uid(k->fd) : -1;
    http_addr_text(m->sock.local ? NULL : info(c, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr,
                   k->peer.addr);
    if (m->tls) {
        k->session = info(c, MHD_CONNECTION_INFO_GNUTLS_SESSION)->tls_session;
        k->cred = mhd_tls_session(m->tls, k->session);
        if (!k->cred) {
            free(k);
            return NULL;
        }
        k->peer.chain = mhd_tls_chain;
        k->peer.transport = k->session;
    }
    return k;
}

static void on_connection(void *cls, struct MHD_Connection *c, void **ctx,
                          enum MHD_ConnectionNotificationCode what)
{
    struct mhd *m = cls;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        struct conn *k = conn_new(m, c);
        *ctx = k;
        if (!k)
            return; /* each of its requests is closed unanswered */
        deadline_add(m->deadlines, &k->deadline);
        (void)arm_idle(k);
        metrics_add(METRIC_HTTP_CONNECTIONS, 1);
        return;
    }
    struct conn *k = *ctx;
    if (!k)
        return;
    *ctx = NULL;
    deadline_remove(m->deadlines, &k->deadline);
    http_ex_end(&k->ex);
    http_peer_free(&k->peer);
    mhd_tls_release(k->cred);
    metrics_add(METRIC_HTTP_CONNECTIONS, -1);
    free(k);
}

#define TOO_LATE                                                                                   \
    "{\"type\":\"about:blank\",\"title\":\"Request Timeout\",\"status\":408,"                      \
    "\"detail\":\"the request did not come in time\"}\n"

/* How many bytes were written to out[n]. */
static size_t too_late(char *out, size_t n)
{
    int len = snprintf(out, n,
                       "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n"
                       "Cache-Control: no-store\r\nContent-Type: application/problem+json\r\n"
                       "Content-Length: %zu\r\n\r\n" TOO_LATE,
                       sizeof TOO_LATE - 1);
    return len > 0 && (size_t)len < n ? (size_t)len : 0;
}

/* On the deadline thread: the library sends nothing while it receives, and cannot be asked to
 * answer in the middle of a body. */
void mhd_expired(struct deadline *d)
{
    struct conn *k = (struct conn *)((char *)d - offsetof(struct conn, deadline));
    log_ev(LOG_INFO, "http.timeout", KV("listener", k->m->l->name), KV("peer", k->peer.addr),
           KV("while", d->kind == DEADLINE_REQUEST ? "request"
                       : d->kind == DEADLINE_SEND  ? "answer"
                                                   : "idle"));
    char out[512];
    struct span text = span_of(out, too_late(out, sizeof out));
    if (d->kind == DEADLINE_REQUEST && k->session)
        mhd_tls_send(k->session, text);
    else if (d->kind == DEADLINE_REQUEST)
        (void)send(k->fd, text.p, text.n, MSG_DONTWAIT | MSG_NOSIGNAL);
    shutdown(k->fd, SHUT_RDWR); /* the event thread sees the end and cleans up */
}

/* --- requests --------------------------------------------------------------------------------- */

/* The first the library tells of a request: its URL before it is cut and decoded. */
static void *on_url(void *cls, const char *url, struct MHD_Connection *c)
{
    struct mhd *m = cls;
    struct conn *k = info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    if (!k)
        return NULL;
    http_ex_end(&k->ex);
    k->raw_url = span_str(url);
    k->step = STEP_HEAD;
    http_ex_begin(&k->ex, m->sh, m->l, &k->peer, k->raw_url);
    (void)deadline_arm(&k->deadline, DEADLINE_REQUEST,
                       now_ms(k) + 1000LL * m->sh->conf.body_timeout);
    return k;
}

static void on_completed(void *cls, struct MHD_Connection *c, void **ctx,
                         enum MHD_RequestTerminationCode why)
{
    (void)cls, (void)c, (void)why;
    struct conn *k = *ctx;
    if (!k)
        return;
    http_ex_end(&k->ex);
    k->step = STEP_HEAD;
    (void)arm_idle(k);
}

static void free_body(void *p)
{
    free(p);
}

static struct MHD_Response *make_response(struct http_ex *x, const struct http_extra *more)
{
    size_t n = 0;
    uint8_t *body = buf_take(&x->resp.body, &n);
    struct MHD_Response *r =
        body ? MHD_create_response_from_buffer_with_free_callback_cls(n, body, free_body, body)
             : MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    if (!r) {
        free(body);
        return NULL;
    }
    for (size_t i = 0; i < more->n; i++)
        (void)MHD_add_response_header(r, more->h[i].name, more->h[i].value);
    for (size_t i = 0; i < x->resp.nheaders; i++)
        (void)MHD_add_response_header(r, x->resp.headers[i].name, x->resp.headers[i].value);
    return r;
}

static enum MHD_Result answer(struct conn *k)
{
    struct http_ex *x = &k->ex;
    struct http_extra more;
    http_ex_finish(x, &more);
    const struct http_conf *conf = &k->m->sh->conf;
    /* a reader slower than 16 KiB a second does not hold the answer */
    int64_t grace =
        1000LL * (conf->idle_timeout + conf->body_timeout) + (int64_t)(x->resp.body.n / 16);
    if (!deadline_arm(&k->deadline, DEADLINE_SEND, now_ms(k) + grace))
        return MHD_NO;
    struct MHD_Response *r = make_response(x, &more);
    if (!r)
        return MHD_NO;
    enum MHD_Result ok = MHD_queue_response(k->c, (unsigned)x->resp.status, r);
    MHD_destroy_response(r);
    return ok;
}

static void auth_job(void *arg)
{
    struct conn *k = arg;
    struct MHD_Connection *c = k->c;
    http_ex_authorize(&k->ex);
    k->step = STEP_AUTHED;
    MHD_resume_connection(c); /* from here on the event thread owns k */
}

static void run_job(void *arg)
{
    struct conn *k = arg;
    struct MHD_Connection *c = k->c;
    http_ex_run(&k->ex);
    k->step = STEP_READY;
    MHD_resume_connection(c);
}

/* Suspended before the job is queued: a worker may resume at once. */
static enum MHD_Result hand_over(struct conn *k, enum step now, enum step then, void (*job)(void *))
{
    k->step = now;
    MHD_suspend_connection(k->c);
    if (http_submit(k->m->sh, job, k) == TD_OK)
        return MHD_YES;
    metrics_add(METRIC_HTTP_BUSY, 1);
    http_ex_fail(&k->ex, TD_BUSY, "queue-full", "too many requests are waiting");
    k->step = then;
    MHD_resume_connection(k->c);
    return MHD_YES;
}

struct head_list {
    struct req_header *h;
    size_t n, max;
};

static enum MHD_Result add_header(void *cls, enum MHD_ValueKind kind, const char *name,
                                  size_t name_n, const char *value, size_t value_n)
{
    (void)kind;
    struct head_list *l = cls;
    if (l->n == l->max)
        return MHD_NO;
    l->h[l->n++] = (struct req_header){span_of(name, name_n), span_of(value, value_n)};
    return MHD_YES;
}

static const char *layout_fault(const struct conn *k, struct span method, struct span version,
                                const struct head_list *l)
{
#if MHD_VERSION < 0x01000000
    const union MHD_ConnectionInfo *size = info(k->c, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    const struct http_layout layout = {.method = method,
                                       .url = k->raw_url,
                                       .version = version,
                                       .headers = l->h,
                                       .nheaders = l->n,
                                       .head_size = size ? size->header_size : 0};
    return http_layout_check(&layout);
#else
    /* 1.0 has its own CLIENT_DISCIPLINE_LVL and another layout */
    (void)k, (void)method, (void)version, (void)l;
    return NULL;
#endif
}

static enum MHD_Result on_head(struct conn *k, const char *method, const char *version)
{
    struct http_ex *x = &k->ex;
    /* one more than allowed, for the guard to count */
    struct head_list l = {.max = LIMIT_HTTP_HEADERS + 1};
    l.h = arena_alloc(&x->arena, l.max * sizeof *l.h);
    if (!l.h)
        return MHD_NO;
    (void)MHD_get_connection_values_n(k->c, MHD_HEADER_KIND, add_header, &l);
    struct span m = span_str(method), v = span_str(version);
    const char *fault = layout_fault(k, m, v, &l);
    for (size_t i = 0; i < l.n; i++)
        l.h[i].value = str_trim(l.h[i].value);
    switch (http_ex_head(x, m, v, l.h, l.n, fault)) {
    case HTTP_NEXT_CLOSE:
        return answer(k);
    case HTTP_NEXT_AUTHORIZE:
        return hand_over(k, STEP_AUTH, STEP_AUTHED, auth_job);
    case HTTP_NEXT_BODY:
    case HTTP_NEXT_DRAIN:
        break;
    }
    k->step = STEP_BODY;
    return MHD_YES;
}

static enum MHD_Result on_body_done(struct conn *k)
{
    struct http_ex *x = &k->ex;
    if (!deadline_disarm(&k->deadline))
        return MHD_NO;
    bool trailers = MHD_get_connection_values_n(k->c, MHD_FOOTER_KIND, NULL, NULL) > 0;
    http_ex_body_done(x, trailers);
    return http_ex_try(x) ? answer(k) : hand_over(k, STEP_RUN, STEP_READY, run_job);
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *n, void **ctx)
{
    (void)cls, (void)c, (void)url;
    struct conn *k = *ctx;
    if (!k)
        return MHD_NO;
    switch (k->step) {
    case STEP_HEAD:
        return on_head(k, method, version);
    case STEP_AUTHED:
        if (k->ex.answered) {
            k->ex.close = true; /* the body was not read */
            return answer(k);
        }
        k->step = STEP_BODY;
        return MHD_YES;
    case STEP_BODY:
        if (*n == 0)
            return on_body_done(k);
        http_ex_body(&k->ex, span_of(data, *n));
        *n = 0;
        return MHD_YES;
    case STEP_READY:
        return answer(k);
    case STEP_AUTH:
    case STEP_RUN:
        break;
    }
    return MHD_NO; /* suspended: the library does not call */
}

/* Query and path stay as they came: decoding is ours. */
static size_t on_unescape(void *cls, struct MHD_Connection *c, char *s)
{
    (void)cls, (void)c;
    return strlen(s);
}

static void __attribute__((format(printf, 2, 0))) on_log(void *cls, const char *fmt, va_list ap)
{
    const struct mhd *m = cls;
    bool grave = strstr(fmt, "accept") || strstr(fmt, "epoll") || strstr(fmt, "limit");
    enum log_level level = grave ? LOG_WARN : LOG_DEBUG;
    /* three lines for each answer on a unix socket, which has no TCP_CORK */
    if (level < log_level_get() || strstr(fmt, "Setting %s option"))
        return;
    char text[256];
    vsnprintf(text, sizeof text, fmt, ap);
    log_ev(level, "http.mhd", KV("listener", m->l->name), KV_SPAN("msg", str_trim(span_str(text))));
}

static void on_panic(void *cls, const char *file, unsigned line, const char *reason)
{
    (void)cls;
    log_ev(LOG_ERROR, "http.mhd_panic", KV("file", file), KV_I64("line", line),
           KV("reason", reason ? reason : ""));
    abort();
}

/* --- the listener ----------------------------------------------------------------------------- */

static unsigned event_threads(const struct http_conf *conf)
{
    if (conf->threads)
        return conf->threads;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores < 1 ? 1 : cores > 4 ? 4 : (unsigned)cores;
}

static struct MHD_Daemon *start(struct mhd *m)
{
    const struct http_conf *conf = &m->sh->conf;
    unsigned flags = MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    /* with epoll, 0.9.75 turns in a circle while a TLS handshake waits for the client */
    flags |= m->tls ? MHD_USE_POLL_INTERNAL_THREAD : MHD_USE_EPOLL_INTERNAL_THREAD;
    unsigned threads = event_threads(conf);
    /* the library divides the connections among its threads */
    unsigned connections = conf->connections < threads ? threads : conf->connections;
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_PRIORITIES, 0, NULL},
        {MHD_OPTION_HTTPS_CERT_CALLBACK, 0, NULL},
        {MHD_OPTION_END, 0, NULL},
    };
    if (m->tls) {
        flags |= MHD_USE_TLS;
        mhd_tls_fn fn = mhd_tls_cert_callback();
        memcpy(&tls[1].ptr_value, &fn, sizeof fn);
        const char *priorities = mhd_tls_priorities;
        memcpy(&tls[0].ptr_value, &priorities, sizeof priorities);
    } else {
        tls[0].option = MHD_OPTION_END;
    }
    return MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, m, MHD_OPTION_EXTERNAL_LOGGER, on_log, m,
        MHD_OPTION_LISTEN_SOCKET, m->sock.fd, MHD_OPTION_THREAD_POOL_SIZE, threads,
        MHD_OPTION_CONNECTION_LIMIT, connections, MHD_OPTION_CONNECTION_TIMEOUT, conf->idle_timeout,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)LIMIT_HTTP_HEADER_POOL,
        MHD_OPTION_CONNECTION_MEMORY_INCREMENT, (size_t)4096, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, m, MHD_OPTION_URI_LOG_CALLBACK, on_url, m, MHD_OPTION_NOTIFY_COMPLETED,
        on_completed, m, MHD_OPTION_UNESCAPE_CALLBACK, on_unescape, m,
#if MHD_VERSION >= 0x01000000
        MHD_OPTION_CLIENT_DISCIPLINE_LVL, 2,
#endif
        MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
}

enum td_err mhd_open(struct http_shared *sh, const struct http_listener *l,
                     struct deadlines *deadlines, struct mhd **ret, struct errinfo *ei)
{
    struct mhd *m = calloc(1, sizeof *m);
    if (!m)
        return err_set(ei, TD_NOMEM, "no memory for listener %s", l->name);
    *m = (struct mhd){.sh = sh, .l = l, .deadlines = deadlines, .sock.fd = -1};
    MHD_set_panic_func(on_panic, NULL);
    enum td_err e = http_sock_open(l->address, &m->sock, ei);
    if (e == TD_OK && l->tls)
        e = mhd_tls_open(l->cert_file, l->key_file, l->ask_client_cert, &m->tls, ei);
    if (e == TD_OK) {
        m->daemon = start(m);
        if (!m->daemon)
            e = err_set(ei, TD_INVAL, "listener %s does not start", l->name);
    }
    if (e != TD_OK) {
        mhd_close(m);
        return e;
    }
    *ret = m;
    return TD_OK;
}

unsigned mhd_port(const struct mhd *m)
{
    return m->sock.port;
}

enum td_err mhd_reload(struct mhd *m, struct errinfo *ei)
{
    return m->tls ? mhd_tls_reload(m->tls, ei) : TD_OK;
}

void mhd_quiesce(struct mhd *m)
{
    if (m->daemon)
        (void)MHD_quiesce_daemon(m->daemon);
    http_sock_close(&m->sock);
}

void mhd_close(struct mhd *m)
{
    if (!m)
        return;
    if (m->daemon) {
        mhd_quiesce(m); /* else the library would close our socket */
        MHD_stop_daemon(m->daemon);
    }
    http_sock_close(&m->sock);
    mhd_tls_close(m->tls);
    free(m);
}
