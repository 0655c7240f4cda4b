#include "web/http/router.h"

#include <stdlib.h>

#include "mdm/base/limits.h"
#include "mdm/base/str.h"

#define METHODS_ALL (REQ_GET | REQ_HEAD | REQ_POST | REQ_PUT | REQ_DELETE | REQ_PATCH)
#define LISTENERS_ALL (REQ_ON_PUBLIC | REQ_ON_DEVICE | REQ_ON_STATUS)

struct leaf {
    struct leaf *next;
    const struct route *route;
    void *ctx;
};

struct node {
    struct node *next; /* sibling */
    struct span name;  /* literal segment, borrowed from the table */
    struct node *literals, *param;
    struct leaf *leaves, *tails;
    bool secret; /* a {token} */
};

/* A literal prefix, from '/' to '/', of a route whose tail is raw. */
struct raw_prefix {
    struct raw_prefix *next;
    struct span prefix;
};

struct router {
    struct node root;
    struct raw_prefix *raw;
    bool needs_token;
};

enum seg_kind { SEG_LITERAL, SEG_PARAM, SEG_TAIL, SEG_BAD };

static enum seg_kind seg_kind(struct span seg)
{
    if (span_eq_str(seg, "{*}"))
        return SEG_TAIL;
    bool open = seg.n > 0 && seg.p[0] == '{';
    if (open && seg.n > 2 && seg.p[seg.n - 1] == '}')
        return SEG_PARAM;
    return open || seg.n == 0 ? SEG_BAD : SEG_LITERAL;
}

static void node_free(struct node *n)
{
    for (struct node *c = n->literals, *next; c; c = next) {
        next = c->next;
        node_free(c);
        free(c);
    }
    if (n->param) {
        node_free(n->param);
        free(n->param);
    }
    struct leaf *lists[] = {n->leaves, n->tails};
    for (size_t i = 0; i < TD_NITEMS(lists); i++)
        for (struct leaf *l = lists[i], *next; l; l = next) {
            next = l->next;
            free(l);
        }
}

void router_free(struct router *r)
{
    if (!r)
        return;
    node_free(&r->root);
    for (struct raw_prefix *p = r->raw, *next; p; p = next) {
        next = p->next;
        free(p);
    }
    free(r);
}

static struct node *literal(const struct node *n, struct span name)
{
    for (struct node *c = n->literals; c; c = c->next)
        if (span_eq(c->name, name))
            return c;
    return NULL;
}

static struct node *child(struct node *n, struct span seg, enum seg_kind kind)
{
    struct node *c = kind == SEG_PARAM ? n->param : literal(n, seg);
    if (!c) {
        c = calloc(1, sizeof *c);
        if (!c)
            return NULL;
        if (kind == SEG_PARAM) {
            n->param = c;
        } else {
            c->name = seg;
            c->next = n->literals;
            n->literals = c;
        }
    }
    if (kind == SEG_PARAM && span_eq_str(seg, "{token}"))
        c->secret = true;
    return c;
}

static const char *row_fault(const struct route *r)
{
    if (!r->path || r->path[0] != '/')
        return "has no absolute path";
    if (r->access != ROUTE_OPEN && r->access != ROUTE_DEVICE && r->access != ROUTE_TOKEN)
        return "has no access rule";
    if (r->access == ROUTE_TOKEN && (!r->scope || !r->scope[0]))
        return "has no scope";
    if (r->methods == 0 || (r->methods & ~(unsigned)METHODS_ALL))
        return "has no method";
    if (r->listeners == 0 || (r->listeners & ~(unsigned)LISTENERS_ALL))
        return "has no listener";
    return r->fn ? NULL : "has no handler";
}

static enum td_err row_err(const struct route *r, const char *fault, struct errinfo *ei)
{
    return err_set(ei, TD_INVAL, "route %s %s", r->path ? r->path : "(null)", fault);
}

static enum td_err add_leaf(struct leaf **list, const struct route *r, void *ctx,
                            struct errinfo *ei)
{
    for (const struct leaf *l = *list; l; l = l->next)
        if ((l->route->methods & r->methods) && (l->route->listeners & r->listeners))
            return row_err(r, "clashes with another", ei);
    struct leaf *l = calloc(1, sizeof *l);
    if (!l)
        return err_set(ei, TD_NOMEM, "no memory for the routes");
    *l = (struct leaf){*list, r, ctx};
    *list = l;
    return TD_OK;
}

static enum td_err add_raw(struct router *r, const struct route *row, size_t prefix_n,
                           struct errinfo *ei)
{
    struct span prefix = span_of(row->path, prefix_n);
    for (size_t i = 0; i < prefix.n; i++)
        if (prefix.p[i] == '{')
            return row_err(row, "has a raw tail behind a parameter", ei);
    struct raw_prefix *p = calloc(1, sizeof *p);
    if (!p)
        return err_set(ei, TD_NOMEM, "no memory for the routes");
    *p = (struct raw_prefix){r->raw, prefix};
    r->raw = p;
    return TD_OK;
}

/* Makes the nodes of a row's path: the last one, and whether {*} stands behind it. */
static enum td_err add_path(struct router *r, const struct route *row, struct node **ret,
                            bool *ret_tail, struct errinfo *ei)
{
    struct node *n = &r->root;
    struct span rest = span_str(row->path + 1);
    size_t nparams = 0, depth = 0;
    bool tail = false;
    while (rest.p && !(rest.n == 0 && depth == 0)) {
        struct span seg = str_cut(&rest, '/');
        enum seg_kind kind = seg_kind(seg);
        if (kind == SEG_BAD || tail || ++depth > LIMIT_HTTP_SEGMENTS)
            return row_err(row, "has a malformed path", ei);
        tail = kind == SEG_TAIL;
        if (tail)
            continue;
        if (kind == SEG_PARAM && ++nparams > REQ_PARAMS_MAX)
            return row_err(row, "has too many parameters", ei);
        n = child(n, seg, kind);
        if (!n)
            return err_set(ei, TD_NOMEM, "no memory for the routes");
    }
    *ret = n;
    *ret_tail = tail;
    return TD_OK;
}

static enum td_err add_route(struct router *r, const struct route *row, void *ctx,
                             struct errinfo *ei)
{
    const char *fault = row_fault(row);
    struct node *n = &r->root;
    bool tail = false;
    if (fault)
        return row_err(row, fault, ei);
    TD_TRY(add_path(r, row, &n, &tail, ei));
    if ((row->flags & ROUTE_RAW_TAIL) && !tail)
        return row_err(row, "has no tail to be raw", ei);
    if (row->flags & ROUTE_RAW_TAIL)
        TD_TRY(add_raw(r, row, strlen(row->path) - strlen("{*}"), ei));
    r->needs_token |= row->access == ROUTE_TOKEN;
    return add_leaf(tail ? &n->tails : &n->leaves, row, ctx, ei);
}

enum td_err router_new(const struct route_set *sets, size_t nsets, struct router **ret,
                       struct errinfo *ei)
{
    struct router *r = calloc(1, sizeof *r);
    if (!r)
        return err_set(ei, TD_NOMEM, "no memory for the routes");
    for (size_t s = 0; s < nsets; s++)
        for (size_t i = 0; i < sets[s].n; i++) {
            enum td_err e = add_route(r, &sets[s].routes[i], sets[s].ctx, ei);
            if (e != TD_OK) {
                router_free(r);
                return e;
            }
        }
    *ret = r;
    return TD_OK;
}

struct search {
    enum req_listener listener;
    enum req_method method;
    struct router_hit *hit;
    struct span params[REQ_PARAMS_MAX];
    size_t nparams;
};

static bool take_leaf(struct search *s, const struct leaf *list, struct span tail)
{
    for (const struct leaf *l = list; l; l = l->next) {
        if (!(l->route->listeners & (unsigned)s->listener))
            continue;
        s->hit->allow |= l->route->methods;
        if (!(l->route->methods & (unsigned)s->method)) {
            s->hit->near = l->route;
            s->hit->near_ctx = l->ctx;
            continue;
        }
        s->hit->route = l->route;
        s->hit->ctx = l->ctx;
        s->hit->tail = tail;
        memcpy(s->hit->params, s->params, sizeof s->params);
        return true;
    }
    return false;
}

/* `rest` is what follows the slash; p NULL when the path ended. Depth is bounded by the trie. */
static bool walk(struct search *s, const struct node *n, struct span rest)
{
    if (!rest.p)
        return take_leaf(s, n->leaves, rest);
    struct span after = rest, seg = str_cut(&after, '/');
    const struct node *c = literal(n, seg);
    if (c && walk(s, c, after))
        return true;
    if (n->param && seg.n > 0 && seg.n <= LIMIT_HTTP_SEGMENT && s->nparams < REQ_PARAMS_MAX) {
        s->params[s->nparams++] = seg;
        if (walk(s, n->param, after))
            return true;
        s->params[--s->nparams] = (struct span){NULL, 0};
    }
    return take_leaf(s, n->tails, rest);
}

enum td_err router_match(const struct router *r, enum req_listener listener, enum req_method method,
                         struct span path, struct router_hit *ret)
{
    *ret = (struct router_hit){0};
    if (path.n == 0)
        return TD_NOTFOUND;
    struct search s = {.listener = listener, .method = method, .hit = ret};
    struct span rest = span_of(path.p + 1, path.n - 1);
    bool found = rest.n == 0
                     ? take_leaf(&s, r->root.leaves, rest) || take_leaf(&s, r->root.tails, rest)
                     : walk(&s, &r->root, rest);
    if (found)
        return TD_OK;
    return ret->allow ? TD_METHOD : TD_NOTFOUND;
}

size_t router_raw_from(const struct router *r, struct span path)
{
    for (const struct raw_prefix *p = r->raw; p; p = p->next)
        if (span_starts(path, p->prefix))
            return p->prefix.n;
    return path.n;
}

/* The least offset at which a secret can stand, over all ways through the trie. */
static size_t secret_at(const struct node *n, struct span rest, const uint8_t *base, size_t least)
{
    if (!rest.p)
        return least;
    size_t here = (size_t)(rest.p - base);
    struct span after = rest, seg = str_cut(&after, '/');
    if (n->param && n->param->secret && here < least)
        least = here;
    const struct node *c = literal(n, seg);
    if (c)
        least = secret_at(c, after, base, least);
    if (n->param)
        least = secret_at(n->param, after, base, least);
    return least;
}

size_t router_public_len(const struct router *r, struct span path)
{
    if (path.n < 2)
        return path.n;
    return secret_at(&r->root, span_of(path.p + 1, path.n - 1), path.p, path.n);
}

bool router_needs_token(const struct router *r)
{
    return r->needs_token;
}
