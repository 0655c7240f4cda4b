/* Routes as data. Each room exports one table; web/http builds the router from all of them. */
#ifndef TD_BASE_ROUTE_H
#define TD_BASE_ROUTE_H

#include "mdm/base/req.h"

/* Who may call. There is no default: a row that names none does not start (default deny). */
enum route_access {
    ROUTE_ACCESS_UNSET,
    ROUTE_OPEN,   /* anyone: the handler itself checks what it needs (JWS, invitation, OCSP) */
    ROUTE_DEVICE, /* a device: the handler identifies it by certificate */
    ROUTE_TOKEN   /* bearer token with `scope` */
};

enum route_flags {
    ROUTE_INLINE = 1,   /* short and never blocking: runs on the listener's thread */
    ROUTE_RAW_TAIL = 2, /* the {*} may hold "//" and %2F (base64 in an OCSP GET) */
    /* Mostly short: a small request is tried on the listener's thread with req->no_wait set. A
     * handler that would have to wait returns TD_AGAIN, having changed nothing, and is run anew on
     * a worker. Not for ROUTE_TOKEN, whose check reads the store. */
    ROUTE_TRY = 4
};

typedef enum td_err (*route_fn)(const struct req *, struct resp *, struct errinfo *);

/* How an error becomes the body of the answer; per route, as ACME, MDM and REST differ. The
 * handler's partial answer was dropped (headers kept). Must not fail: at worst an empty body. */
typedef void (*route_problem_fn)(const struct req *, struct resp *, enum td_err,
                                 const struct errinfo *);

struct route {
    unsigned methods;   /* REQ_* mask; HEAD is not implied by GET */
    unsigned listeners; /* REQ_ON_* mask */
    /* Segments: literal or {name}; a final {*} takes the rest. "/api/v1/devices/{serial}". */
    const char *path;
    enum route_access access;
    const char *scope; /* for ROUTE_TOKEN */
    size_t body_max;   /* bytes; 0 = a body is refused */
    unsigned flags;
    route_fn fn;
    route_problem_fn problem; /* NULL: RFC 9457 application/problem+json */
    const char *doc;          /* one line for the API description */
};

struct route_set {
    const struct route *routes;
    size_t n;
    void *ctx; /* becomes req->ctx */
};

#endif
