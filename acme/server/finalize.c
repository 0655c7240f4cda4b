#include "acme/server/finalize.h"

#include "acme/ca/client_id.h"
#include "acme/ca/renewal.h"
#include "acme/server/call.h"
#include "acme/server/ident.h"
#include "acme/server/order.h"
#include "acme/server/policy.h"
#include "acme/server/problem.h"
#include "acme/server/record.h"
#include "acme/server/replaces.h"
#include "acme/server/stmts.h"
#include "acme/server/url.h"
#include "mdm/base/b64.h"
#include "mdm/base/limits.h"
#include "mdm/base/log.h"

struct issue {
    struct acme_call *c;
    const char *id;
    struct acme_order o; /* as read */
    uint8_t evidence_sha256[SHA256_SIZE];
    const char *facts;          /* of the evidence, JSON */
    struct profile_facts known; /* those and the inventory's */
    struct span renews;         /* certificate whose place it takes, or empty */
    bool replaces;              /* on the client's word (RFC 9773), not of a renewal of ours */
    struct csr csr;
    struct ca_record rec;
    struct acme_order done; /* as it stands after the job */
};

static void issue_auto_free(struct issue *s)
{
    csr_free(&s->csr);
}

static enum td_err bad_csr(struct errinfo *ei, const char *reason, const char *what)
{
    return acme_refuse(ei, TD_INVAL, "badCSR", reason, "%s", what);
}

static enum td_err read_evidence(struct tx *tx, struct issue *s, struct errinfo *ei)
{
    struct cur row;
    TD_TRY(tx_row(tx, ACME_SQL(EVIDENCE_HASH), SV_LIST(SV_TEXT(s->o.evidence_id)), &row, ei));
    struct span hash = cur_span(&row, 0);
    bool ok = hash.n == sizeof s->evidence_sha256;
    if (ok)
        memcpy(s->evidence_sha256, hash.p, hash.n);
    s->facts = cur_dup(&row, 1, s->c->arena);
    cur_end(&row);
    if (!s->facts)
        return err_set(ei, TD_NOMEM, "reading an order");
    return ok ? TD_OK : err_set(ei, TD_DB, "an order's evidence is damaged");
}

/* The profile may be another since newOrder. */
static enum td_err check_names(const struct issue *s, struct errinfo *ei)
{
    struct acme_policy policy;
    if (!acme_ident_hw_type(s->o.id_type, s->o.identifier))
        return TD_OK;
    TD_TRY(acme_policy_get(s->c->acme, span_str(s->o.profile), s->c->arena, &policy, ei));
    return acme_policy_names(&policy, s->o.id_type, s->o.identifier, ei);
}

/* The order, its evidence, and whether the device is listed now and was so all the time. */
static enum td_err read_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct issue *s = ctx;
    const struct acme_ops *ops = &s->c->acme->conf.ops;
    TD_TRY(acme_order_get(tx, s->c, s->id, &s->o, ei));
    if (acme_order_expired(&s->o, s->c->now))
        return acme_refuse(ei, TD_EXPIRED, "orderNotReady", "order-expired",
                           "the order is expired");
    if (s->o.state.order != ACME_READY || !s->o.evidence_id)
        return acme_refuse(ei, TD_STATE, "orderNotReady", "order-not-ready",
                           "the order is not ready");
    TD_TRY(acme_check_listed(s->c->acme, tx, s->o.serial, ei));
    TD_TRY(client_id_check(tx, s->id, ei));
    TD_TRY(read_evidence(tx, s, ei));
    TD_TRY(acme_policy_allows(s->c->acme, tx, s->o.profile, s->o.serial, s->facts, ei));
    TD_TRY(client_id_renews(tx, s->id, s->c->arena, &s->renews, ei));
    s->replaces = s->renews.n == 0;
    if (s->replaces)
        TD_TRY(acme_replaces_serial(tx, s->c, &s->o, &s->renews, ei));
    if (!ops->device_facts)
        return TD_OK;
    return ops->device_facts(ops->ctx, tx, s->o.serial, s->facts, s->c->arena, &s->known, ei);
}

static enum td_err read_csr(struct issue *s, struct errinfo *ei)
{
    struct json *p;
    const char *text;
    struct span der;
    TD_TRY(acme_call_json(s->c, &p, ei));
    if (json_get_str(p, "csr", &text) != TD_OK)
        return bad_csr(ei, "csr-malformed", "the payload has no csr");
    enum td_err e = b64_dec(s->c->arena, span_str(text), &der);
    if (e == TD_PARSE)
        return bad_csr(ei, "csr-malformed", "csr is not base64url");
    if (e != TD_OK)
        return e;
    if (der.n > LIMIT_CSR)
        return bad_csr(ei, "csr-malformed", "the csr is too long");
    e = csr_parse(der, s->c->arena, &s->csr, NULL);
    if (e == TD_NOMEM || e == TD_INTERNAL)
        return err_set(ei, e, "parsing a CSR");
    if (e != TD_OK)
        return bad_csr(ei, e == TD_CRYPTO ? "csr-signature" : "csr-malformed",
                       e == TD_CRYPTO ? "the csr's own signature does not hold"
                                      : "the csr is malformed or its key is not supported");
    return TD_OK;
}

/* MB-37: the CSR's key is the attested one, byte for byte. */
static enum td_err check_key(const struct issue *s, struct errinfo *ei)
{
    uint8_t hash[SHA256_SIZE];
    digest_sha256(s->csr.spki, hash);
    if (!span_eq(SPAN_ARR(hash), s->o.spki_sha256))
        return bad_csr(ei, "csr-key-mismatch", "the csr's key is not the attested key");
    return TD_OK;
}

/* The order that issued, and its account, stay while the account may want to revoke. */
static enum td_err keep(struct tx *tx, const struct issue *s, struct errinfo *ei)
{
    int64_t until = s->c->now + s->c->acme->conf.keep_issued;
    if (until > s->rec.not_after)
        until = s->rec.not_after;
    if (until < s->o.expires_at)
        until = s->o.expires_at;
    TD_TRY(tx_exec(tx, ACME_SQL(ORDER_KEEP), SV_LIST(SV_TEXT(s->o.id), SV_INT(until)), NULL, ei));
    return tx_exec(tx, ACME_SQL(ACCOUNT_KEEP), SV_LIST(SV_TEXT(s->c->account_id), SV_INT(until)),
                   NULL, ei);
}

/* A device that is not in order gets its access on hold. */
static enum td_err look(struct tx *tx, const struct issue *s, struct errinfo *ei)
{
    const struct acme_news news = {s->o.serial, NULL, s->c->now, s->o.id};
    return strcmp(s->rec.purpose, "access") == 0 ? acme_tell(s->c->acme, tx, &news, ei) : TD_OK;
}

/* The certificate counts with this commit: order, record, identifier and attempt change together,
 * or none. Of two finalizations at once the second finds the order moved on. */
static enum td_err record_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct issue *s = ctx;
    s->done = s->o;
    s->done.cert_serial = s->rec.serial;
    TD_TRY(acme_policy_allows(s->c->acme, tx, s->o.profile, s->o.serial, s->facts, ei));
    TD_TRY(acme_order_move(tx, &s->done, ACME_EV_ISSUED, ei));
    TD_TRY(look(tx, s, ei));
    TD_TRY(ca_record_add(tx, &s->rec, ei));
    TD_TRY(client_id_consume(tx, s->o.id, s->c->now, ei));
    if (s->replaces && s->renews.n)
        TD_TRY(ca_renewal_replaced(tx, s->renews, s->c->now + s->c->acme->conf.replaced_grace, ei));
    TD_TRY(keep(tx, s, ei));
    struct attempt t = acme_attempt(s->c, s->o.serial, s->o.id, "issued", NULL);
    t.detail = s->rec.profile;
    return attempt_add(tx, &t, ei);
}

static enum td_err issue(struct issue *s, struct errinfo *ei)
{
    const struct acme_conf *conf = &s->c->acme->conf;
    TD_TRY(store_read(conf->store, read_job, s, ei));
    TD_TRY(check_names(s, ei));
    TD_TRY(read_csr(s, ei));
    TD_TRY(check_key(s, ei));
    struct ca_grant g = {.profile = s->o.profile,
                         .device_serial = s->o.serial,
                         .spki = s->csr.spki,
                         .order_id = s->o.id,
                         .evidence_id = s->o.evidence_id,
                         .facts = &s->known,
                         .renews = s->renews};
    memcpy(g.evidence_sha256, s->evidence_sha256, sizeof g.evidence_sha256);
    enum td_err e = ca_issue(conf->ca, &g, s->c->arena, &s->rec, ei);
    if (e != TD_OK)
        return acme_record_ours(s->c, s->o.serial, s->id, e, ei);
    return store_write(conf->store, record_job, s, ei);
}

enum td_err acme_finalize(const struct req *r, struct resp *resp, struct errinfo *ei)
{
    struct acme_call c;
    struct errinfo why = {0};
    const char *id;
    TD_TRY(acme_call_kid(r, resp, &c, ei));
    TD_TRY(acme_id_param(r, &id, ei));
    __attribute__((cleanup(issue_auto_free))) struct issue s = {.c = &c, .id = id};
    enum td_err e = issue(&s, &why);
    if (e != TD_OK) {
        if (ei)
            *ei = why;
        return s.o.serial ? acme_record_refusal(&c, s.o.serial, id, e, &why) : e;
    }
    log_ev(LOG_INFO, "acme.issued", KV("order", id), KV("serial", s.o.serial));
    return acme_reply_order(&c, 200, &s.done, ei);
}
