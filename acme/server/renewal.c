#include "acme/server/renewal.h"

#include "acme/server/certid.h"
#include "acme/server/problem.h"
#include "mdm/wire/json.h"

#define HOUR 3600
#define RETRY_AFTER "21600" /* RFC 9773 section 4.3: six hours is what clients fall back to */

struct acme_window acme_renewal_window(const struct ca_record *r, const struct acme_policy *p,
                                       int64_t now)
{
    int64_t life = r->not_after - r->not_before;
    struct acme_window w;
    if (r->state == CA_REVOKED) {
        w.end = (r->revoked_at < now ? r->revoked_at : now) - 1;
        w.start = w.end - HOUR;
        return w;
    }
    w.start = r->not_before + (p->renew_permille > 0 && p->renew_permille < 1000
                                   ? life * p->renew_permille / 1000
                                   : life * 2 / 3);
    w.end = w.start + (r->not_after - w.start) / 2;
    if (w.end <= w.start)
        w.end = w.start + 1;
    return w;
}

struct ask {
    const struct req *r;
    struct ca_record rec;
};

static enum td_err find(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct ask *q = ctx;
    return acme_certid_find(tx, q->r->params[0], q->r->arena, &q->rec, ei);
}

enum td_err acme_renewal_info(const struct req *r, struct resp *resp, struct errinfo *ei)
{
    const struct acme *a = r->ctx;
    struct ask q = {.r = r};
    struct acme_policy policy;
    acme_headers(r, resp);
    enum td_err e = store_read(a->conf.store, find, &q, ei);
    if (e == TD_NOTFOUND)
        return acme_refuse(ei, e, "malformed", "certificate-unknown",
                           "the certificate is none of ours");
    if (e != TD_OK)
        return e;
    /* a profile that is gone still has certificates */
    e = acme_policy_get(a, span_str(q.rec.profile), r->arena, &policy, ei);
    if (e != TD_OK && e != TD_NOTFOUND)
        return e;
    struct acme_window w = acme_renewal_window(&q.rec, &policy, clock_now(a->conf.clock));
    struct json_w j;
    json_w_init(&j, &resp->body);
    json_open(&j);
    json_open_key(&j, "suggestedWindow");
    json_kv_time(&j, "start", w.start);
    json_kv_time(&j, "end", w.end);
    json_close(&j);
    json_close(&j);
    resp->status = 200;
    resp->content_type = "application/json";
    TD_TRY(resp_header(resp, "Retry-After", RETRY_AFTER));
    return resp->body.err;
}
