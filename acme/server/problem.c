#include "acme/server/problem.h"

#include <stdio.h>

#include "acme/server/policy.h"
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
    {"alreadyReplaced", 409},
    {"alreadyRevoked", 400},
    {"badAttestationStatement", 400},
    {"badCSR", 400},
    {"badNonce", 400},
    {"badPublicKey", 400},
    {"badRevocationReason", 400},
    {"badSignatureAlgorithm", 400},
    {"externalAccountRequired", 403},
    {"invalidContact", 400},
    {"orderNotReady", 403},
    {"rateLimited", 429},
    {"rejectedIdentifier", 400},
    {"unauthorized", 403},
    {"unsupportedContact", 400},
    {"unsupportedIdentifier", 400},
    {"userActionRequired", 403},
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

static void write_type(struct json_w *w, const char *type)
{
    char urn[80];
    snprintf(urn, sizeof urn, URN "%s", type);
    json_kv_str(w, "type", urn);
}

static void write_algorithms(struct json_w *w)
{
    json_array_key(w, "algorithms");
    for (size_t i = 0; jws_alg_name(i); i++)
        json_v_str(w, jws_alg_name(i));
    json_array_end(w);
}

static void write_subproblems(struct json_w *w, const struct acme_subproblem *sub, size_t n)
{
    json_array_key(w, "subproblems");
    for (size_t i = 0; i < n; i++) {
        json_open(w);
        write_type(w, sub[i].type);
        json_kv_str(w, "detail", sub[i].detail);
        json_open_key(w, "identifier");
        json_kv_str(w, "type", sub[i].id_type);
        json_kv_str(w, "value", sub[i].id_value);
        json_close(w);
        json_close(w);
    }
    json_array_end(w);
}

/* `instance` (NULL for none): where a person finds out what to do (section 6.7). */
static enum td_err write_problem(enum td_err e, const struct errinfo *ei, const char *instance,
                                 const struct acme_subproblem *sub, size_t nsub, struct buf *b)
{
    const char *type = type_of(e, ei);
    int status = acme_problem_status(e, ei);
    struct json_w w;
    json_w_init(&w, b);
    json_open(&w);
    write_type(&w, type);
    json_kv_str(&w, "detail", status >= 500 ? err_text(e) : err_msg(ei, e));
    json_kv_int(&w, "status", status);
    if (ei && ei->reason && status < 500)
        json_kv_str(&w, "reason", ei->reason);
    if (strcmp(type, "badSignatureAlgorithm") == 0)
        write_algorithms(&w);
    if (strcmp(type, "userActionRequired") == 0 && instance)
        json_kv_str(&w, "instance", instance);
    if (nsub)
        write_subproblems(&w, sub, nsub);
    json_close(&w);
    return b->err;
}

enum td_err acme_problem_json(enum td_err e, const struct errinfo *ei, struct buf *b)
{
    return write_problem(e, ei, NULL, NULL, 0, b);
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

/* The directory that Link rel="index" names: of the profile in the URL, else the default one. */
static const char *index_of(const struct acme *a, const struct req *r)
{
    struct acme_policy policy;
    struct span name = r->params[0];
    if (!name.n || acme_policy_get(a, name, r->arena, &policy, NULL) != TD_OK)
        name = SPAN_LIT(ACME_DEFAULT_PROFILE);
    return arena_printf(r->arena, "<%s/acme/%.*s/directory>;rel=\"index\"", a->conf.base_url,
                        (int)name.n, (const char *)name.p);
}

void acme_headers(const struct req *r, struct resp *resp)
{
    const struct acme *a = r->ctx;
    if (!is_directory(r->path) && !has_header(resp, "Link")) {
        const char *link = index_of(a, r);
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

static void answer(const struct req *r, struct resp *resp, enum td_err e, const struct errinfo *ei,
                   const struct acme_subproblem *sub, size_t nsub)
{
    const struct acme *a = r->ctx;
    buf_auto b;
    buf_init(&b, 65536);
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
    if (write_problem(e, ei, a->conf.terms, sub, nsub, &b) == TD_OK)
        (void)resp_body(resp, status, ACME_PROBLEM_TYPE, buf_view(&b));
}

void acme_problem(const struct req *r, struct resp *resp, enum td_err e, const struct errinfo *ei)
{
    answer(r, resp, e, ei, NULL, 0);
}

enum td_err acme_problem_answer(const struct req *r, struct resp *resp, enum td_err e,
                                const struct errinfo *ei, const struct acme_subproblem *sub,
                                size_t nsub)
{
    answer(r, resp, e, ei, sub, nsub);
    return TD_OK;
}
