#include "web/device/device.h"

#include <stdio.h>

#include "mdm/base/b64.h"
#include "mdm/base/limits.h"
#include "mdm/base/str.h"
#include "mdm/crypt/cms.h"

#define CHECKIN_TYPE "application/x-apple-aspen-mdm-checkin"

/* The certificate that signed the body (Mdm-Signature: a detached CMS, base64). *ret_found is
 * false when the header is absent. Which certificates are ours is the core's question. */
static enum td_err signer(const struct req *req, bool *ret_found,
                          uint8_t sha256[static SHA256_SIZE], struct errinfo *ei)
{
    struct span text = req_header(req, "Mdm-Signature", ret_found);
    if (!*ret_found)
        return TD_OK;
    struct span cms;
    if (text.n > LIMIT_CMS_SIGNATURE * 4 / 3 + 1024)
        return err_reason(ei, TD_LIMIT, "signature-large", "Mdm-Signature is too long");
    enum td_err e = b64_dec(req->arena, text, &cms);
    if (e == TD_NOMEM)
        return err_set(ei, e, "no memory for the signature");
    if (e != TD_OK || !cms.n || cms.n > LIMIT_CMS_SIGNATURE)
        return err_reason(ei, TD_PARSE, "signature-malformed", "Mdm-Signature is not base64");
    cert_auto *cert = NULL;
    struct errinfo why = {0};
    e = cms_verify_detached(cms, req->body, &cert, &why);
    if (e == TD_PARSE || e == TD_CRYPTO || e == TD_LIMIT || e == TD_UNSUPPORTED)
        return err_reason(ei, e, "signature-invalid", "Mdm-Signature: %s", err_msg(&why, e));
    if (e != TD_OK)
        return err_set(ei, e, "Mdm-Signature: %s", err_msg(&why, e));
    cert_sha256(cert, sha256);
    return TD_OK;
}

/* Who speaks, by the transport's certificate, the signature, or both when they agree. None is 400:
 * a missing certificate may be a fault of ours or of a proxy, and 401 would unenrol (MB-2). */
static enum td_err identify(const struct req *req, struct core_ident *ret, struct errinfo *ei)
{
    bool signed_ = false;
    uint8_t sha256[SHA256_SIZE];
    *ret = (struct core_ident){.peer = req->peer_addr};
    TD_TRY(signer(req, &signed_, sha256, ei));
    if (!signed_ && !req->peer_cert.n)
        return err_reason(ei, TD_INVAL, "identity-missing",
                          "neither a client certificate nor Mdm-Signature");
    if (signed_) {
        memcpy(ret->cert_sha256, sha256, SHA256_SIZE);
        ret->how = "signature";
    }
    if (!req->peer_cert.n)
        return TD_OK;
    digest_sha256(req->peer_cert, ret->cert_sha256);
    ret->how = req->peer_from_proxy ? "proxy" : "mtls";
    if (signed_ && memcmp(sha256, ret->cert_sha256, SHA256_SIZE) != 0)
        return err_reason(ei, TD_FORBIDDEN, "identity-mismatch",
                          "client certificate and Mdm-Signature are of two identities");
    return TD_OK;
}

typedef enum td_err (*core_fn)(struct core *c, const struct core_ident *id, struct span body,
                               struct arena *a, struct buf *reply, struct errinfo *ei);

static enum td_err serve(const struct req *req, struct resp *resp, core_fn fn, struct errinfo *ei)
{
    const struct device_web *w = req->ctx;
    struct core_ident id;
    bool is_signed = false;
    (void)req_header(req, "Mdm-Signature", &is_signed);
    /* a check-in is a commit, a signature is long to verify; so is a refusal, which is recorded */
    if (req->no_wait && (is_signed || fn == core_checkin || !req->peer_cert.n))
        return TD_AGAIN;
    TD_TRY(identify(req, &id, ei));
    id.no_wait = req->no_wait;
    TD_TRY(fn(w->core, &id, req->body, req->arena, &resp->body, ei));
    resp->status = 200;
    resp->content_type = resp->body.n ? "application/xml" : NULL;
    return TD_OK;
}

static enum td_err device_checkin(const struct req *req, struct resp *resp, struct errinfo *ei)
{
    return serve(req, resp, core_checkin, ei);
}

static enum td_err device_connect(const struct req *req, struct resp *resp, struct errinfo *ei)
{
    return serve(req, resp, core_connect, ei);
}

/* One URL for both: the content type tells (Apple, Check-in). */
static enum td_err combined(const struct req *req, struct resp *resp, struct errinfo *ei)
{
    struct span prefix = SPAN_LIT(CHECKIN_TYPE);
    if (!str_ieq(span_sub(req->content_type, 0, prefix.n), prefix))
        return device_connect(req, resp, ei);
    if (req->body.n > LIMIT_BODY_CHECKIN)
        return err_reason(ei, TD_LIMIT, "message-large", "the check-in message is too long");
    return device_checkin(req, resp, ei);
}

/* Never 401 (MB-2); the body com.apple.unrecognized.device only on the deliberate path (MB-4). */
static void problem(const struct req *req, struct resp *resp, enum td_err e,
                    const struct errinfo *ei)
{
    (void)req;
    static const char unrecognized[] =
        "{\"code\":\"com.apple.unrecognized.device\","
        "\"description\":\"The device is no longer managed by this server.\","
        "\"message\":\"This device is no longer managed by your organization.\"}";
    int status = ei && ei->http ? ei->http : err_http(e);
    const char *reason = ei && ei->reason ? ei->reason : err_name(e);
    if (status == 401 || status < 400)
        status = status == 401 ? 400 : 500;
    if (e == TD_FORBIDDEN && strcmp(reason, CORE_REASON_UNRECOGNIZED) == 0) {
        if (resp_body(resp, 403, "application/json", SPAN_LIT(unrecognized)) == TD_OK)
            return;
        status = 503; /* a 403 without its body would say something else */
    }
    char text[80];
    int n = snprintf(text, sizeof text, "%s\n", reason);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    if (resp_body(resp, status, "text/plain; charset=utf-8", span_of(text, len)) != TD_OK)
        resp->status = status;
}

#define ROUTE(p, max, how, handler, text)                                                          \
    {                                                                                              \
        .methods = REQ_PUT | REQ_POST, .listeners = REQ_ON_DEVICE | REQ_ON_PUBLIC, .path = (p),    \
        .access = ROUTE_DEVICE, .body_max = (max), .flags = (how), .fn = (handler),                \
        .problem = problem, .doc = (text)                                                          \
    }

const struct route device_routes[] = {
    ROUTE("/mdm/checkin", LIMIT_BODY_CHECKIN, 0, device_checkin, "MDM check-in"),
    ROUTE("/mdm/connect", LIMIT_BODY_CONNECT, ROUTE_TRY, device_connect, "MDM command reports"),
    ROUTE("/mdm", LIMIT_BODY_CONNECT, ROUTE_TRY, combined,
          "MDM check-in and command reports in one"),
};
const size_t device_nroutes = TD_NITEMS(device_routes);
