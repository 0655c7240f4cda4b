/* OCSP answers (RFC 6960, RFC 5019, RFC 9654). */
#include "acme/ca/ca.h"

#include "acme/ca/ca_int.h"
#include "acme/signer/proto/issuer_life.h"
#include "mdm/base/limits.h"
#include "mdm/base/metrics.h"

#define WINDOW 86400         /* thisUpdate to nextUpdate, nearly */
#define WINDOW_UNKNOWN 300   /* a number not issued yet may be issued in a moment */
#define BACKDATE 300         /* clients' clocks are behind */
#define SERIAL_OCTETS_MAX 64 /* beyond it no certificate of ours; the signer's bound too */
#define LIVE_MAX 64          /* of the signer's slots: issuing is never starved by questions */

enum { MALFORMED = 1, INTERNAL_ERROR = 2, TRY_LATER = 3, UNAUTHORIZED = 6 };

struct asked {
    const struct ocsp_req *req;
    const struct ca_issuer *by;
    bool no_wait;
    uint64_t epoch; /* before the statuses were read */
    struct ca_status status[OCSP_IDS_MAX];
};

/* A number is known under the CA that issued it and no other. */
static void judge_issuer(const struct ca_issuer *by, struct ca_status *st)
{
    static const uint8_t unfilled[CERT_SKI_SIZE];
    if (memcmp(st->issuer, by->id, sizeof st->issuer) != 0 &&
        memcmp(st->issuer, unfilled, sizeof st->issuer) != 0)
        *st = (struct ca_status){.reason = -1};
}

/* Every status of the request from one snapshot. */
static enum td_err read_statuses(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct asked *q = ctx;
    for (size_t i = 0; i < q->req->nids; i++)
        TD_TRY(ca_status_get(tx, q->req->ids[i].serial, &q->status[i], ei));
    for (size_t i = 0; i < q->req->nids; i++)
        judge_issuer(q->by, &q->status[i]);
    return TD_OK;
}

/* The CA that every CertID of the request names, as one key signs the answer; NULL when that is
 * none of ours. */
static const struct ca_issuer *asked_issuer(const struct ca *ca, const struct ocsp_req *req)
{
    const struct ca_issuer *by = NULL;
    for (size_t i = 0; i < req->nids; i++) {
        const struct ca_issuer *x = ca_issuer_of_certid(ca, &req->ids[i]);
        if (!x || ca_issuer_gone(ca, x) || (by && by != x) ||
            req->ids[i].serial.n > SERIAL_OCTETS_MAX)
            return NULL;
        by = x;
    }
    return by;
}

static struct ocsp_single single(const struct ocsp_certid *id, const struct ca_status *st,
                                 int64_t now)
{
    bool known = st->known && now - st->not_after <= ISSUER_KEPT;
    struct ocsp_single s = {
        .certid_der = id->der,
        .status = !known        ? OCSP_UNKNOWN
                  : st->revoked ? OCSP_REVOKED
                                : OCSP_GOOD,
        .reason = -1,
        .this_update = now - BACKDATE,
        .next_update = now + (known ? WINDOW : WINDOW_UNKNOWN),
    };
    if (s.status == OCSP_REVOKED) {
        /* a node's clock may be ahead of another's: never a time to come */
        s.revoked_at = st->revoked_at > now ? now : st->revoked_at;
        s.reason = st->reason;
    }
    return s;
}

static enum td_err sign(struct ca *ca, const struct asked *q, const struct ocsp_single *s,
                        struct arena *a, struct span *ret)
{
    struct errinfo ei;
    enum td_err e = TD_BUSY;
    if (atomic_fetch_add(&ca->live, 1) < LIVE_MAX)
        e = signer_ocsp(ca->conf.signer, q->by->id, s, q->req->nids, q->req->nonce, a, ret, &ei);
    atomic_fetch_sub(&ca->live, 1);
    if (e == TD_OK)
        metrics_add(METRIC_OCSP_SIGNED, 1);
    return e;
}

static void answer_error(struct ocsp_answer *ret, int status)
{
    *ret = (struct ocsp_answer){.der = ocsp_error(status)};
}

/* RFC 5019 section 2.1.1: one certificate, no nonce is what may be kept. */
static bool plain(const struct ocsp_req *req)
{
    return req->nids == 1 && !req->has_nonce;
}

static void keep(struct ca *ca, const struct asked *q, const struct ocsp_single *s,
                 struct ocsp_answer *ans)
{
    ans->cacheable = true;
    ans->this_update = s->this_update;
    ans->next_update = s->next_update;
    ca_etag(ans->der, ans->text.etag);
    ca_http_date(ans->this_update, ans->text.this_update);
    ca_http_date(ans->next_update, ans->text.next_update);
    ocsp_cache_put(ca->cache, s, q->epoch, q->status[0].not_after + ISSUER_KEPT, ans);
}

/* False when the signer would have to be waited for. */
static bool answer_signed(struct ca *ca, const struct asked *q, struct arena *a,
                          struct ocsp_answer *ret)
{
    const struct ocsp_req *req = q->req;
    int64_t now = clock_now(ca->conf.clock);
    struct ocsp_single s[OCSP_IDS_MAX] = {0};
    for (size_t i = 0; i < req->nids; i++)
        s[i] = single(&req->ids[i], &q->status[i], now);
    bool cacheable = plain(req) && s[0].status != OCSP_UNKNOWN;
    if (cacheable && ocsp_cache_get(ca->cache, &s[0], q->epoch, now, a, ret))
        return true;
    if (q->no_wait)
        return false;
    struct ocsp_answer ans = {0};
    enum td_err e = sign(ca, q, s, a, &ans.der);
    if (e != TD_OK) {
        bool away = e == TD_BUSY || e == TD_TIMEOUT;
        answer_error(ret, away ? TRY_LATER : INTERNAL_ERROR);
        return true;
    }
    if (cacheable)
        keep(ca, q, &s[0], &ans);
    *ret = ans;
    return true;
}

static bool answer(struct ca *ca, struct span req_der, bool no_wait, struct arena *a,
                   struct ocsp_answer *ret)
{
    struct errinfo ei = {0};
    struct ocsp_req *req = arena_alloc(a, sizeof *req);
    if (!req) {
        answer_error(ret, INTERNAL_ERROR);
        return true;
    }
    enum td_err e = req_der.n > LIMIT_BODY_OCSP ? TD_LIMIT : ocsp_req_parse(req_der, a, req, &ei);
    if (e != TD_OK) {
        answer_error(ret, e == TD_NOMEM ? INTERNAL_ERROR : MALFORMED);
        return true;
    }
    const struct ca_issuer *by = asked_issuer(ca, req);
    if (!by) {
        answer_error(ret, UNAUTHORIZED);
        return true;
    }
    if (no_wait && !plain(req))
        return false; /* never in the cache */
    struct asked q = {
        .req = req, .by = by, .no_wait = no_wait, .epoch = store_epoch(ca->conf.store)};
    if (plain(req) &&
        ocsp_cache_fresh(ca->cache, req->ids[0].der, q.epoch, clock_now(ca->conf.clock), a, ret))
        return true;
    e = (no_wait ? store_try_read : store_read)(ca->conf.store, read_statuses, &q, &ei);
    if (e != TD_OK && no_wait)
        return false;
    if (e != TD_OK) {
        answer_error(ret, TRY_LATER);
        return true;
    }
    return answer_signed(ca, &q, a, ret);
}

void ca_ocsp_answer(struct ca *ca, struct span req_der, struct arena *a, struct ocsp_answer *ret)
{
    metrics_add(METRIC_OCSP_REQUESTS, 1);
    (void)answer(ca, req_der, false, a, ret);
}

bool ca_ocsp_try(struct ca *ca, struct span req_der, struct arena *a, struct ocsp_answer *ret)
{
    if (!answer(ca, req_der, true, a, ret))
        return false;
    metrics_add(METRIC_OCSP_REQUESTS, 1);
    return true;
}

struct span ca_ocsp(struct ca *ca, struct span req_der, struct arena *a, int64_t *ret_max_age)
{
    struct ocsp_answer ans = {0};
    ca_ocsp_answer(ca, req_der, a, &ans);
    int64_t left = ans.cacheable ? ans.next_update - clock_now(ca->conf.clock) : 0;
    *ret_max_age = left > 0 ? left : 0;
    return ans.der;
}
