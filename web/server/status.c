#include "web/server/status.h"

#include "mdm/base/metrics.h"

#define TEXT "text/plain; charset=utf-8"

static enum td_err healthz(const struct req *req, struct resp *resp, struct errinfo *ei)
{
    (void)req;
    (void)ei;
    return resp_body(resp, 200, TEXT, SPAN_LIT("ok\n"));
}

static enum td_err readyz(const struct req *req, struct resp *resp, struct errinfo *ei)
{
    struct status *s = req->ctx;
    TD_TRY(store_ping(s->store, ei));
    if (!signer_client_alive(s->signer))
        return err_reason(ei, TD_BUSY, "signer-away", "testudo-signer is being started again");
    struct errinfo why = {0};
    if (ca_can_issue(s->ca, &why) == TD_OK)
        return resp_body(resp, 200, TEXT, SPAN_LIT("ready\n"));
    /* a balancer that took the node out would end OCSP, CRLs and MDM with issuing */
    resp->status = 200;
    resp->content_type = TEXT;
    return buf_printf(&resp->body, "degraded: nothing is issued: %s\n", why.msg);
}

static enum td_err metrics(const struct req *req, struct resp *resp, struct errinfo *ei)
{
    (void)req;
    (void)ei;
    resp->content_type = "text/plain; version=0.0.4; charset=utf-8";
    return metrics_render(&resp->body);
}

/* OCSP makes the status listener public; the figures are for this machine. */
static enum td_err metrics_local(const struct req *req, struct resp *resp, struct errinfo *ei)
{
    static const char *const loopback[] = {"127.0.0.1:", "[::1]:", "[::ffff:127.0.0.1]:"};
    for (size_t i = 0; i < TD_NITEMS(loopback); i++)
        if (strncmp(req->peer_addr, loopback[i], strlen(loopback[i])) == 0)
            return metrics(req, resp, ei);
    return err_set(ei, TD_FORBIDDEN,
                   "metrics are served to this machine alone, or on the public "
                   "listener with a token");
}

#define ANYWHERE (REQ_ON_STATUS | REQ_ON_PUBLIC | REQ_ON_DEVICE)

const struct route status_routes[] = {
    {.methods = REQ_GET | REQ_HEAD,
     .listeners = ANYWHERE,
     .path = "/healthz",
     .access = ROUTE_OPEN,
     .flags = ROUTE_INLINE,
     .fn = healthz,
     .doc = "The process answers"},
    {.methods = REQ_GET | REQ_HEAD,
     .listeners = ANYWHERE,
     .path = "/readyz",
     .access = ROUTE_OPEN,
     .fn = readyz,
     .doc = "The store reads and the signer is there; 503 otherwise; degraded when the issuing CA "
            "is outside its life"},
    {.methods = REQ_GET,
     .listeners = REQ_ON_STATUS,
     .path = "/metrics",
     .access = ROUTE_OPEN,
     .flags = ROUTE_INLINE,
     .fn = metrics_local,
     .doc = "Prometheus metrics, to loopback alone"},
    {.methods = REQ_GET,
     .listeners = REQ_ON_PUBLIC,
     .path = "/metrics",
     .access = ROUTE_TOKEN,
     .scope = "metrics:read",
     .fn = metrics,
     .doc = "Prometheus metrics"},
};
const size_t status_nroutes = TD_NITEMS(status_routes);
