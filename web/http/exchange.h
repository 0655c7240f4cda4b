/* One request and its answer, whatever library carries them: strict checks, routing, body limits,
 * authorisation, the handler, the error body, the default headers, the log line.
 *
 * An exchange belongs to one thread at a time: the event thread, or the worker it was handed to.
 * Order of calls: begin, head, (authorize), body*, run, finish, end. */
#ifndef TD_WEB_HTTP_EXCHANGE_H
#define TD_WEB_HTTP_EXCHANGE_H

#include <pthread.h>
#include <stdatomic.h>

#include "mdm/base/work.h"
#include "web/http/http.h"
#include "web/http/http_strict.h"
#include "web/http/layout.h"
#include "web/http/router.h"

/* What all listeners share; immutable but for the counters. */
struct http_shared {
    struct http_conf conf;
    struct router *router;
    struct work *work;
    atomic_int active;       /* requests with a complete head, not yet delivered */
    atomic_bool stopping;    /* answers end their connection */
    atomic_bool closed;      /* nothing goes to the workers any more */
    atomic_int submitting;   /* threads at the queue */
    pthread_mutex_t lock;    /* for idle alone */
    pthread_cond_t idle;     /* active fell to 0 while stopping */
    atomic_llong body_bytes; /* request bodies in memory */
};

/* What is known of the other end of a connection; lives as long as that. */
struct http_peer {
    char addr[64];
    int64_t uid;  /* of a unix socket's other end, -1 */
    bool asked;   /* the client certificate was looked at */
    uint8_t *der; /* owned; NULL: none, or not verified */
    size_t der_n;
    /* Fetches the chain shown in the TLS handshake, leaf first; returns how many, at most `max`.
     * NULL without TLS. */
    size_t (*chain)(void *transport, struct span *ret, size_t max);
    void *transport;
};
void http_peer_free(struct http_peer *p);

enum http_next {
    HTTP_NEXT_BODY,      /* feed the body, then run */
    HTTP_NEXT_AUTHORIZE, /* the body is large: authorize on a worker before it is read */
    HTTP_NEXT_DRAIN,     /* refused; read the body away, then answer on a living connection */
    HTTP_NEXT_CLOSE      /* refused; answer now and close */
};

struct http_ex {
    struct http_shared *sh;
    const struct http_listener *listener;
    struct http_peer *peer;
    struct arena arena;
    struct req req;
    struct resp resp;
    struct errinfo ei;
    enum td_err err;
    struct http_framing framing;
    struct router_hit hit;
    struct span url; /* copy */
    struct buf body;
    char id[RNG_ID_SIZE];
    int64_t begun_ms;
    bool authorized, answered;
    bool counted; /* in sh->active */
    bool close;   /* the connection ends with this answer */
};

/* Starts an exchange for a request whose URL just came. TD_LIMIT and TD_NOMEM are remembered and
 * answered by head. */
void http_ex_begin(struct http_ex *x, struct http_shared *sh, const struct http_listener *l,
                   struct http_peer *peer, struct span url);

/* The head is complete. `layout_fault` is http_layout_check's (NULL: fine). The headers are
 * borrowed until end. */
enum http_next http_ex_head(struct http_ex *x, struct span method, struct span version,
                            const struct req_header *headers, size_t n, const char *layout_fault);

/* Body bytes as they come; over the limit they are dropped and the answer becomes 413. */
void http_ex_body(struct http_ex *x, struct span piece);

/* The whole body came; `trailers` tells whether trailer fields stood behind it: refused. */
void http_ex_body_done(struct http_ex *x, bool trailers);

/* Runs on the event thread what may run there. False when the handler needs a worker. */
bool http_ex_try(struct http_ex *x);

/* Checks the token before the body. May block. */
void http_ex_authorize(struct http_ex *x);

/* Runs the handler, unless there is an answer already. May block. */
void http_ex_run(struct http_ex *x);

/* Queues a job for the workers: TD_BUSY when the queue is full or closed. */
TD_NODISCARD enum td_err http_submit(struct http_shared *sh, void (*job)(void *), void *arg);

/* Answers with an error instead of running. */
void http_ex_fail(struct http_ex *x, enum td_err e, const char *reason, const char *msg);

#define HTTP_EXTRA_MAX 8
struct http_extra {
    struct {
        const char *name, *value;
    } h[HTTP_EXTRA_MAX];
    size_t n;
};

/* Completes the answer in x->resp: the headers every answer has go to *ret; counts and logs. */
void http_ex_finish(struct http_ex *x, struct http_extra *ret);

/* Frees everything of the request. An exchange that never began is fine. */
void http_ex_end(struct http_ex *x);

#endif
