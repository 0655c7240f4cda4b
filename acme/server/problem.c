#include "acme/server/problem.h"

#include <stdio.h>

#include "acme/server/server_int.h"
#include "acme/server/url.h"
#include "mdm/base/metrics.h"

#define URN "urn:ietf:params:acme:error:"

/* Reference section 3.2. A type without a row takes the error's own status (malformed,
 * unauthorized, serverInternal). */
static const struct {
    const char *type;
    int http;
} types[] = {
    {"accountDoesNotExist", 400},
    {"alreadyRevoked", 400},
    {"badAttestationStatement", 400},
    {"badCSR", 400},
    {"badNonce", 400},
    {"badPublicKey", 400},
    {"badSignatureAlgorithm", 400},
    {"orderNotReady", 403},
    {"rateLimited", 429},
    {"rejectedIdentifier", 400},
    {"unsupportedIdentifier", 400},
    {"unauthorized", 403},
};

enum td_err acme_refuse(struct errinfo *ei, enum td_err e, const char *type, const char *reason,
                        const char *fmt, ...)
{
    if (!ei)
        return e;
    char msg[sizeof ei->msg];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    (void)err_reason(ei, e, reason, "%s", msg);
    ei->acme = type;
    return e;
}

enum td_err acme_not_found(struct errinfo *ei)
{
    return acme_refuse(ei, TD_NOTFOUND, "malformed", "not-found", "no such resource");
}

static const char *type_of(enum td_err e, const struct errinfo *ei)
{
    return ei && ei->acme ? ei->acme : err_acme(e);
}

int acme_problem_status(enum td_err e, const struct errinfo *ei)
{
    int status = err_http(e);
    const char *type = type_of(e, ei);
    for (size_t i = 0; i < TD_NITEMS(types); i++)
        if (strcmp(type, types[i].type) == 0)
            status = types[i].http;
    if (ei && ei->http)
        status = ei->http;
    return status == 401 ? 403 : status;
}

enum td_err acme_problem_json(enum td_err e, const struct errinfo *ei, struct buf *b)
{
    const char *type = type_of(e, ei);
    int status = acme_problem_status(e, ei);
    char urn[80];
    snprintf(urn, sizeof urn, URN "%s", type);
    struct json_w w;
    json_w_init(&w, b);
    json_open(&w);
    json_kv_str(&w, "type", urn);
    json_kv_str(&w, "detail", status >= 500 ? err_text(e) : err_msg(ei, e));
    json_kv_int(&w, "status", status);
    if (ei && ei->reason && status < 500)
        json_kv_str(&w, "reason", ei->reason);
    if (strcmp(type, "badSignatureAlgorithm") == 0) {
        json_array_key(&w, "algorithms");
        for (size_t i = 0; jws_alg_name(i); i++)
            json_v_str(&w, jws_alg_name(i));
        json_array_end(&w);
    }
    json_close(&w);
    return b->err;
}

static bool has_header(const struct resp *resp, const char *name)
{
    for (size_t i = 0; i < resp->nheaders; i++)
        if (strcmp(resp->headers[i].name, name) == 0)
            return true;
    return false;
}

static bool is_directory(struct span path)
{
    static const char end[] = "/directory";
    size_t n = sizeof end - 1;
    return path.n >= n && memcmp(path.p + path.n - n, end, n) == 0;
}

void acme_headers(const struct req *r, struct resp *resp)
{
    const struct acme *a = r->ctx;
    if (!is_directory(r->path) && !has_header(resp, "Link")) {
        const char *profile = acme_profiles[0];
        for (size_t i = 0; acme_profiles[i]; i++)
            if (span_eq_str(r->params[0], acme_profiles[i]))
                profile = acme_profiles[i];
        char *link = arena_printf(r->arena, "<%s/acme/%s/directory>;rel=\"index\"",
                                  a->conf.base_url, profile);
        if (link)
            (void)resp_header(resp, "Link", link);
    }
    if (r->method == REQ_POST && !has_header(resp, "Replay-Nonce")) {
        char nonce[NONCE_SIZE];
        a->nonces->issue(a->nonces->ctx, nonce);
        (void)resp_header(resp, "Replay-Nonce", nonce);
        (void)resp_header(resp, "Cache-Control", "no-store");
    }
}

void acme_problem(const struct req *r, struct resp *resp, enum td_err e, const struct errinfo *ei)
{
    buf_auto b;
    buf_init(&b, 2048);
    int status = acme_problem_status(e, ei);
    acme_headers(r, resp);
    if (status == 503 || status == 429) {
        char after[16];
        snprintf(after, sizeof after, "%d", ei && ei->retry_after > 0 ? ei->retry_after : 5);
        (void)resp_header(resp, "Retry-After", after);
    }
    if (status < 500)
        metrics_add(METRIC_ACME_REFUSED, 1);
    resp->status = status;
    if (acme_problem_json(e, ei, &b) == TD_OK)
        (void)resp_body(resp, status, ACME_PROBLEM_TYPE, buf_view(&b));
}
