/* HTTP listeners: the only room that sees libmicrohttpd and GnuTLS. Strict checks before anything
 * else (http_strict.h), a router built from tables, handlers on workers through suspend and
 * resume, bounded everything, graceful drain. */
#ifndef TD_WEB_HTTP_HTTP_H
#define TD_WEB_HTTP_HTTP_H

#include "mdm/base/clock.h"
#include "mdm/base/rng.h"
#include "mdm/base/route.h"

struct http;

struct http_listener {
    const char *name;       /* for the log: "public" */
    enum req_listener kind; /* which routes it serves */
    const char *address;    /* "127.0.0.1:8443", "[::]:8443", or "unix:/path" */
    bool tls;
    const char *cert_file, *key_file; /* PEM; read at start and at http_reload */
    bool ask_client_cert;             /* TLS: request (never require) a client certificate */
    bool proxy;                       /* unix only: believe the Client-Cert header (RFC 9440) */
};

struct http_hooks {
    void *ctx;
    /* For ROUTE_TOKEN routes: fills req->principal or returns TD_UNAUTH / TD_FORBIDDEN. Must exist
     * when such a route exists. */
    enum td_err (*authorize)(void *ctx, const struct route *r, struct req *req, struct errinfo *ei);
    /* Once per TLS connection with a client certificate (leaf first, DER): TD_OK keeps it as
     * req->peer_cert; an error leaves peer_cert empty (logged) and the connection goes on. Also
     * asked for each Client-Cert header of a proxy. */
    enum td_err (*verify_peer)(void *ctx, const struct span *chain, size_t n, struct errinfo *ei);
};

struct http_conf {
    const struct http_listener *listeners;
    size_t nlisteners;
    const struct route_set *sets;
    size_t nsets;
    struct http_hooks hooks;
    unsigned threads;      /* event threads of each listener (0: min(4, cores)) */
    unsigned workers;      /* handler threads, shared */
    unsigned queue;        /* handler jobs waiting: beyond it 503 with Retry-After */
    unsigned connections;  /* per listener */
    unsigned idle_timeout; /* seconds without a byte: the connection is closed */
    unsigned body_timeout; /* seconds from the first header to the last byte of the body: 408 */
    const struct clock *clock;
    struct rng *rng;
};

/* Starts every listener; TD_INVAL when a route has no access rule, clashes, or a listener's
 * address is unusable. */
TD_NODISCARD enum td_err http_start(const struct http_conf *conf, struct http **ret,
                                    struct errinfo *ei);

/* The port a TCP listener got (for ":0"), 0 for a unix socket. */
unsigned http_port(const struct http *h, size_t listener);

/* Reads the certificate files again; on error the old ones stay in use. Any thread. */
TD_NODISCARD enum td_err http_reload(struct http *h, struct errinfo *ei);

/* Stops accepting, answers every request under way, closes, frees. */
void http_stop(struct http *h);

#endif
