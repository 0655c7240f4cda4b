/* room: http */
#include <stdlib.h>

#include "web/http/http_strict.h"
#include "web/http/router.h"

/* First byte: method and listener; the rest: the path. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum td_err fn(const struct req *r, struct resp *resp, struct errinfo *ei)
{
    (void)r, (void)resp, (void)ei;
    return TD_OK;
}

#define ROW(m, p, f)                                                                               \
    {                                                                                              \
        .methods = (m), .listeners = REQ_ON_PUBLIC | REQ_ON_STATUS, .path = (p),                   \
        .access = ROUTE_OPEN, .fn = fn, .flags = (f)                                               \
    }
static const struct route table[] = {
    ROW(REQ_GET, "/", 0),
    ROW(REQ_GET | REQ_POST, "/a", 0),
    ROW(REQ_GET, "/a/{x}", 0),
    ROW(REQ_PUT, "/a/b", 0),
    ROW(REQ_GET, "/a/{x}/b/{y}", 0),
    ROW(REQ_GET, "/{a}/{b}/{c}/{d}", 0),
    ROW(REQ_GET, "/e/{token}", 0),
    ROW(REQ_GET, "/s/{*}", 0),
    ROW(REQ_GET, "/o/{*}", ROUTE_RAW_TAIL),
};

static void must(bool ok)
{
    if (!ok)
        abort();
}

static bool inside(struct span part, struct span whole)
{
    return part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct router *r;
    const struct route_set set = {table, TD_NITEMS(table), NULL};
    if (!r && router_new(&set, 1, &r, NULL) != TD_OK)
        abort();
    if (size < 1)
        return 0;
    enum req_method m = (enum req_method)(1u << (data[0] & 7u) & 63u);
    enum req_listener on = data[0] & 8    ? REQ_ON_STATUS
                           : data[0] & 16 ? REQ_ON_DEVICE
                                          : REQ_ON_PUBLIC;
    struct span path = span_of(data + 1, size - 1);
    size_t raw = router_raw_from(r, path);
    must(raw <= path.n && router_public_len(r, path) <= path.n);
    if (http_strict_path(path, raw, NULL) != TD_OK)
        return 0;
    struct router_hit hit;
    enum td_err e = router_match(r, on, m, path, &hit);
    must(e == TD_OK || e == TD_NOTFOUND || e == TD_METHOD);
    must((e == TD_METHOD) == (e != TD_OK && hit.allow != 0));
    if (e == TD_OK) {
        must((hit.route->methods & (unsigned)m) && (hit.route->listeners & (unsigned)on));
        must(inside(hit.tail, path));
        for (size_t i = 0; i < REQ_PARAMS_MAX; i++)
            must(inside(hit.params[i], path) &&
                 (hit.params[i].n == 0 || !memchr(hit.params[i].p, '/', hit.params[i].n)));
    }
    return 0;
}
