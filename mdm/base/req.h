/* A request and its answer as plain data: what a handler sees, whatever the transport.
 * A handler is unit-tested, fuzzed and timed on these without a socket. */
#ifndef TD_BASE_REQ_H
#define TD_BASE_REQ_H

#include "mdm/base/arena.h"
#include "mdm/base/buf.h"

enum req_method {
    REQ_GET = 1,
    REQ_HEAD = 2,
    REQ_POST = 4,
    REQ_PUT = 8,
    REQ_DELETE = 16,
    REQ_PATCH = 32,
    REQ_OTHER = 0
};

/* Which listener a request came in on; a route names the ones it is served on. */
enum req_listener {
    REQ_ON_PUBLIC = 1,
    REQ_ON_DEVICE = 2,
    REQ_ON_STATUS = 4,
};

struct req_header {
    struct span name, value;
};

/* Who asks, as far as the transport or the authorisation hook established it. */
struct req_principal {
    const char *id;     /* token id for the audit log, NULL when anonymous */
    const char *name;   /* its human name */
    const char *scopes; /* space-separated, NULL when anonymous */
};

#define REQ_PARAMS_MAX 4

struct req {
    enum req_method method;
    enum req_listener listener;
    struct span path;  /* as received, without the query */
    struct span query; /* behind '?', without it; empty when absent */
    struct span body;
    struct span content_type; /* without parameters, as received; empty when absent */
    const struct req_header *headers;
    size_t nheaders;
    struct span params[REQ_PARAMS_MAX]; /* the {..} segments in the order of the route */
    struct span tail;                   /* what a route's final {*} matched */
    /* The client certificate (DER) from mTLS or a trusted proxy, empty when none was shown.
     * Presented and possession proven, nothing more: whether it is ours is the handler's check. */
    struct span peer_cert;
    bool peer_from_proxy;
    const char *peer_addr; /* text, never NULL ("unix" on a unix socket) */
    const char *id;        /* request id for the log */
    bool no_wait; /* TD_AGAIN instead of a commit, the signer, a lock held long (ROUTE_TRY) */
    struct req_principal principal;
    struct arena *arena; /* life of the request */
    void *ctx;           /* the room's context, from its route_set */
};

/* The first header of that name (ASCII case-insensitive), or the empty span with *found false. */
struct span req_header(const struct req *r, const char *name, bool *found);

/* The value of the first query parameter of that name, in the arena; empty with *found false.
 * Percent escapes and + (a space) are decoded; a broken escape and %00 stay as they are, so that a
 * value never holds a NUL. A raw + is to be had from r->query alone. `found` may be NULL. */
struct span req_query(const struct req *r, const char *name, bool *found);

#define RESP_HEADERS_MAX 12

struct resp {
    int status;               /* 200 unless set */
    const char *content_type; /* static or arena; NULL sends none */
    struct buf body;          /* capped; the transport takes it out */
    struct {
        const char *name, *value; /* value in the arena or static */
    } headers[RESP_HEADERS_MAX];
    size_t nheaders;
    struct arena *arena;
};

/* An empty 200 whose strings live in `a`; the body is capped at `max` bytes. */
void resp_init(struct resp *r, struct arena *a, size_t max);
void resp_free(struct resp *r);

/* Adds a header; the value is copied. TD_LIMIT when full, TD_INVAL on CR, LF or NUL. */
enum td_err resp_header(struct resp *r, const char *name, const char *value);

/* Sets status, type and a copy of the body at once. */
enum td_err resp_body(struct resp *r, int status, const char *content_type, struct span body);

#endif
