/* From tables of routes to the one that serves a request: a trie of path segments, built once,
 * immutable then (any thread). Literal segments go before {name}, {name} before {*}. */
#ifndef TD_WEB_HTTP_ROUTER_H
#define TD_WEB_HTTP_ROUTER_H

#include "mdm/base/route.h"

struct router;

struct router_hit {
    const struct route *route;
    void *ctx;
    struct span params[REQ_PARAMS_MAX]; /* as received */
    struct span tail;
    unsigned allow;           /* on TD_METHOD: what the path allows */
    const struct route *near; /* on TD_METHOD: one that has the path, for the form of the refusal */
    void *near_ctx;
};

/* Builds from the tables, which must outlive the router. TD_INVAL names the row that has no access
 * rule, no scope for a token, no method, no listener, no handler, a malformed or too long path, or
 * clashes with another. */
TD_NODISCARD enum td_err router_new(const struct route_set *sets, size_t nsets, struct router **ret,
                                    struct errinfo *ei);
void router_free(struct router *r);

/* TD_OK with *ret filled; TD_NOTFOUND; TD_METHOD with ret->allow when the path exists on that
 * listener with other methods only. The path was judged by http_strict_path. */
TD_NODISCARD enum td_err router_match(const struct router *r, enum req_listener listener,
                                      enum req_method method, struct span path,
                                      struct router_hit *ret);

/* Where the raw tail of a path begins: path.n when no ROUTE_RAW_TAIL route can match. */
size_t router_raw_from(const struct router *r, struct span path);

/* How many bytes of a path may be logged: up to a segment that stands where a route has {token},
 * on any listener, whether the request matched or not. */
size_t router_public_len(const struct router *r, struct span path);

/* True when a route needs the token hook. */
bool router_needs_token(const struct router *r);

#endif
