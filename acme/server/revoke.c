#include "acme/server/revoke.h"

#include "acme/ca/revoke.h"
#include "acme/server/account.h"
#include "acme/server/call.h"
#include "acme/server/problem.h"
#include "acme/server/record.h"
#include "acme/server/stmts.h"
#include "acme/server/url.h"
#include "mdm/base/b64.h"
#include "mdm/base/log.h"
#include "mdm/base/metrics.h"

struct ask {
    struct acme_call *c;
    uint8_t sha256[SHA256_SIZE];
    int reason;
    char txn[RNG_ID_SIZE];
    bool proven; /* signed by the certificate's own key */
    struct ca_record rec;
    bool revoked;
};

/* RFC 5280 section 5.3.1. cACompromise, holds and what is for CRLs alone are not a subscriber's to
 * say. */
static bool reason_allowed(int64_t r)
{
    static const int allowed[] = {0, 1, 3, 4, 5};
    for (size_t i = 0; i < TD_NITEMS(allowed); i++)
        if (r == allowed[i])
            return true;
    return false;
}

static enum td_err malformed(struct errinfo *ei, const char *what)
{
    return acme_refuse(ei, TD_PARSE, "malformed", "payload-malformed", "%s", what);
}

/* --- authorisation ---------------------------------------------------------------------------- */

/* The certificate must be the one that was issued, whole: its hash finds the record. */
static enum td_err read_payload(struct ask *q, struct errinfo *ei)
{
    struct json *p;
    const char *text;
    struct span der = {NULL, 0};
    int64_t reason = 0;
    cert_auto *cert = NULL;
    TD_TRY(acme_call_json(q->c, &p, ei));
    if (json_get_str(p, "certificate", &text) != TD_OK)
        return malformed(ei, "the payload has no certificate");
    enum td_err e = b64url_dec(q->c->arena, span_str(text), &der);
    if (e == TD_OK)
        e = cert_parse(der, &cert, NULL);
    if (e == TD_NOMEM || e == TD_INTERNAL)
        return err_set(ei, e, "revocation");
    if (e != TD_OK)
        return malformed(ei, "certificate is not base64url of a certificate");
    e = json_get_int(p, "reason", &reason);
    if (e != TD_OK && e != TD_NOTFOUND)
        return malformed(ei, "reason is no number");
    if (!reason_allowed(reason))
        return acme_refuse(ei, TD_INVAL, "badRevocationReason", "revocation-reason",
                           "a subscriber's reasons are 0, 1, 3, 4 and 5");
    q->reason = (int)reason;
    cert_sha256(cert, q->sha256);
    q->proven = !q->c->account_id && key_equal(cert_key(cert), q->c->jwk.key);
    return TD_OK;
}

static enum td_err has_row(struct tx *tx, const struct store_stmt *st, const struct sval *args,
                           size_t nargs, bool *ret, struct errinfo *ei)
{
    struct cur row;
    enum td_err e = tx_row(tx, st, args, nargs, &row, ei);
    *ret = e == TD_OK;
    if (e == TD_OK)
        cur_end(&row);
    return e == TD_NOTFOUND ? TD_OK : e;
}

static enum td_err may_revoke(struct tx *tx, const struct ask *q, struct errinfo *ei)
{
    const struct acme_call *c = q->c;
    bool ok = q->proven;
    if (c->account_id) {
        TD_TRY(acme_account_check(tx, c, NULL, ei));
        if (q->rec.order_id)
            TD_TRY(has_row(tx, ACME_SQL(ORDER_OF_ACCOUNT),
                           SV_LIST(SV_TEXT(q->rec.order_id), SV_TEXT(c->account_id)), &ok, ei));
        if (!ok)
            TD_TRY(has_row(
                tx, ACME_SQL(AUTHZ_OF_ACCOUNT),
                SV_LIST(SV_TEXT(c->account_id), SV_TEXT(q->rec.device_serial), SV_INT(c->now)), &ok,
                ei));
    }
    if (!ok)
        return acme_refuse(ei, TD_FORBIDDEN, "unauthorized", "revocation-foreign",
                           "this key may not revoke that certificate");
    return TD_OK;
}

/* --- the transaction -------------------------------------------------------------------------- */

static enum td_err already(struct errinfo *ei)
{
    return acme_refuse(ei, TD_INVAL, "alreadyRevoked", "already-revoked",
                       "the certificate is revoked already");
}

/* The one place that tells the CA, which writes the audit trail. One on hold can be revoked. */
static enum td_err revoke(struct tx *tx, struct ask *q, struct errinfo *ei)
{
    const char *actor = q->c->account_id ? arena_printf(q->c->arena, "acme:%s", q->c->account_id)
                                         : "acme:certificate-key";
    struct ca_change change = {.act = CA_ACT_REVOKE,
                               .reason = q->reason,
                               .if_match = CA_IF_ANY,
                               .now = q->c->now,
                               .actor = actor,
                               .txn = q->txn};
    if (!actor)
        return err_set(ei, TD_NOMEM, "revocation");
    enum td_err e = ca_change_one(tx, q->rec.serial, &change, &q->revoked, ei);
    if (e == TD_STATE || (e == TD_OK && !q->revoked))
        return already(ei);
    return e;
}

static enum td_err job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct ask *q = ctx;
    q->rec = (struct ca_record){0};
    q->revoked = false;
    enum td_err e = ca_record_by_hash(tx, q->sha256, q->c->arena, &q->rec, ei);
    if (e == TD_NOTFOUND)
        return acme_refuse(ei, e, "malformed", "certificate-unknown",
                           "the certificate is none of ours");
    if (e != TD_OK)
        return e;
    TD_TRY(may_revoke(tx, q, ei));
    return revoke(tx, q, ei);
}

enum td_err acme_revoke(const struct req *r, struct resp *resp, struct errinfo *ei)
{
    struct acme_call c;
    struct ask q = {.c = &c};
    struct errinfo why = {0};
    TD_TRY(acme_call_either(r, resp, &c, ei));
    TD_TRY(read_payload(&q, ei));
    rng_id(c.acme->conf.rng, q.txn);
    enum td_err e = store_write(c.acme->conf.store, job, &q, &why);
    if (e != TD_OK) {
        if (ei)
            *ei = why;
        return q.rec.device_serial ? acme_record_refusal(&c, q.rec.device_serial, NULL, e, &why)
                                   : e;
    }
    metrics_add(METRIC_CERTS_REVOKED, 1);
    log_ev(LOG_INFO, "acme.revoked", KV("serial", q.rec.device_serial));
    resp->status = 200;
    return TD_OK;
}
