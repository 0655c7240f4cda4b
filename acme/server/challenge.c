#include "acme/server/challenge.h"

#include "acme/ca/client_id.h"
#include "acme/server/call.h"
#include "acme/server/order.h"
#include "acme/server/policy.h"
#include "acme/server/problem.h"
#include "acme/server/record.h"
#include "acme/server/stmts.h"
#include "acme/server/url.h"
#include "mdm/base/b64.h"
#include "mdm/base/limits.h"
#include "mdm/base/log.h"
#include "mdm/base/metrics.h"

enum td_err acme_challenge_json(const struct acme_call *c, const struct acme_order *o,
                                struct json_w *w, struct errinfo *ei)
{
    const char *url = acme_url(c->acme, c->arena, "/acme/chal/%s", o->id);
    if (!url)
        return err_set(ei, TD_NOMEM, "answer");
    json_open(w);
    json_kv_str(w, "type", "device-attest-01");
    json_kv_str(w, "url", url);
    json_kv_str(w, "status", acme_status_name(acme_order_state(o, c->now).chal));
    json_kv_str(w, "token", o->token);
    if (o->validated_at)
        json_kv_time(w, "validated", o->validated_at);
    if (o->error)
        json_kv_raw(w, "error", span_str(o->error));
    json_close(w);
    return TD_OK;
}

static enum td_err reply(struct acme_call *c, const struct acme_order *o, struct errinfo *ei)
{
    struct json_w w;
    TD_TRY(acme_reply_url(
        c, "Link",
        arena_printf(c->arena, "<%s/acme/authz/%s>;rel=\"up\"", c->acme->conf.base_url, o->id),
        ei));
    acme_reply(c, 200, &w);
    TD_TRY(acme_challenge_json(c, o, &w, ei));
    return acme_reply_end(c, ei);
}

/* One answer of the device and what became of it. */
struct answer {
    struct acme_call *c;
    struct acme_order o;      /* as read */
    const char *device_error; /* Apple's own words, NULL */
    struct attest_result att;
    const char *facts; /* JSON */
    char evidence_id[RNG_ID_SIZE];
    enum td_err verdict; /* of the attestation */
    struct errinfo why;
    struct acme_order done; /* as it stands after the job */
    struct errinfo done_why;
    bool accepted;
};

static void result_auto_free(struct answer *s)
{
    attest_result_free(&s->att);
}

static enum td_err missing(struct errinfo *ei, const char *what)
{
    return acme_refuse(ei, TD_FORBIDDEN, "badAttestationStatement", "attestation-missing", "%s",
                       what);
}

/* The payload's attestation object. Apple sends `error` with an empty statement when it could not
 * get an attestation, and `{}` when the profile asked for none. Padding and line ends inside the
 * base64 occur in the field. */
static enum td_err att_obj(struct answer *s, const struct json *p, struct span *ret,
                           struct errinfo *ei)
{
    const struct json *err = json_member(p, "error"), *obj = json_member(p, "attObj");
    if (err && json_kind(err) != JSON_K_NULL) {
        const char *words = json_str(err);
        s->device_error = words ? words : "(not a text)";
        return missing(ei, "the device reports that it could not be attested");
    }
    if (!obj)
        return missing(ei, "the device sent no attestation");
    const char *text = json_str(obj);
    enum td_err e = text ? b64_dec(s->c->arena, span_str(text), ret) : TD_PARSE;
    if (e == TD_PARSE)
        return acme_refuse(ei, TD_FORBIDDEN, "badAttestationStatement", "cbor-malformed",
                           "attObj is not base64");
    return e;
}

static enum td_err facts_text(struct answer *s, struct errinfo *ei)
{
    buf_auto b;
    buf_init(&b, 4096);
    TD_TRY(attest_facts_json(&s->att.facts, &b));
    s->facts = arena_dup(s->c->arena, buf_view(&b));
    return s->facts ? TD_OK : err_set(ei, TD_NOMEM, "attestation");
}

/* Freshness is SHA-256 of the token alone (MB-38), not of the key authorization. */
static enum td_err verify(struct answer *s, const struct json *p, struct errinfo *ei)
{
    struct span obj = {NULL, 0};
    uint8_t freshness[SHA256_SIZE];
    TD_TRY(att_obj(s, p, &obj, ei));
    digest_sha256(span_str(s->o.token), freshness);
    struct attest_expect want = {.freshness = SPAN_ARR(freshness),
                                 .serial = s->o.serial,
                                 .now = s->c->now,
                                 .formats_off = s->c->acme->conf.formats_off};
    TD_TRY(attest_verify(s->c->acme->conf.roots, obj, &want, s->c->arena, &s->att, ei));
    return facts_text(s, ei);
}

/* A refusal ends the challenge; everything else is our fault and leaves it pending. */
static bool is_refusal(enum td_err e, const struct errinfo *ei)
{
    return e == TD_FORBIDDEN && ei->reason && ei->acme;
}

static enum td_err store_evidence(struct tx *tx, const struct answer *s, struct errinfo *ei)
{
    int64_t added;
    TD_TRY(tx_exec(tx, ACME_SQL(EVIDENCE_ADD),
                   SV_LIST(SV_TEXT(s->evidence_id), SV_TEXT(s->o.serial), SV_TEXT("apple"),
                           SV_BLOB(SPAN_ARR(s->att.spki_sha256)), SV_BLOB(SPAN_ARR(s->att.sha256)),
                           SV_BLOB(cert_der(s->att.leaf)), SV_BLOB(s->att.chain_der),
                           SV_TEXT(s->facts), SV_INT(s->c->now)),
                   &added, ei));
    if (added == 1)
        return TD_OK;
    return acme_refuse(ei, TD_FORBIDDEN, "badAttestationStatement", "key-reused",
                       "the attested key served another order");
}

/* The last word, inside the transaction: listed at this moment and ever since newOrder, key unused.
 */
static enum td_err judge(struct tx *tx, const struct answer *s, struct errinfo *ei)
{
    if (s->verdict != TD_OK) {
        *ei = s->why;
        return s->verdict;
    }
    TD_TRY(acme_policy_allows(s->c->acme, tx, s->o.profile, s->o.serial, s->facts, ei));
    TD_TRY(client_id_check(tx, s->o.id, ei));
    return store_evidence(tx, s, ei);
}

static enum td_err refuse_order(struct tx *tx, struct answer *s, enum td_err e, struct errinfo *ei)
{
    buf_auto b;
    buf_init(&b, 2048);
    TD_TRY(acme_problem_json(e, &s->done_why, &b));
    s->done.error = arena_dup(s->c->arena, buf_view(&b));
    if (!s->done.error)
        return err_set(ei, TD_NOMEM, "challenge");
    TD_TRY(acme_order_move(tx, &s->done, ACME_EV_REFUSED, ei));
    struct attempt t = acme_attempt(s->c, s->o.serial, s->o.id, "refused", &s->done_why);
    t.device_error = s->device_error;
    return attempt_add(tx, &t, ei);
}

static enum td_err accept_order(struct tx *tx, struct answer *s, struct errinfo *ei)
{
    s->done.validated_at = s->c->now;
    s->done.spki_sha256 = SPAN_ARR(s->att.spki_sha256);
    s->done.evidence_id = s->evidence_id;
    TD_TRY(acme_order_move(tx, &s->done, ACME_EV_VALIDATED, ei));
    const struct acme_news news = {s->o.serial, s->facts, s->c->now, s->o.id};
    TD_TRY(acme_tell(s->c->acme, tx, &news, ei));
    struct attempt t = acme_attempt(s->c, s->o.serial, s->o.id, "accepted", NULL);
    t.detail = "attestation verified";
    return attempt_add(tx, &t, ei);
}

static enum td_err answer_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct answer *s = ctx;
    s->done = s->o;
    s->done_why = (struct errinfo){0};
    enum td_err e = judge(tx, s, &s->done_why);
    s->accepted = e == TD_OK;
    if (e == TD_OK)
        return accept_order(tx, s, ei);
    if (is_refusal(e, &s->done_why))
        return refuse_order(tx, s, e, ei);
    if (ei)
        *ei = s->done_why;
    return e;
}

static void tell(const struct answer *s)
{
    if (s->accepted) {
        log_ev(LOG_INFO, "acme.attested", KV("order", s->o.id), KV("serial", s->o.serial));
        return;
    }
    metrics_add(METRIC_ACME_REFUSED, 1);
    log_ev(LOG_WARN, "acme.refused", KV("order", s->o.id), KV("serial", s->o.serial),
           KV("reason", s->done_why.reason), KV("detail", s->done_why.msg),
           KV("device_error", s->device_error ? s->device_error : ""));
}

static enum td_err respond(struct answer *s, struct errinfo *ei)
{
    struct json *p;
    struct store *store = s->c->acme->conf.store;
    TD_TRY(acme_call_json(s->c, &p, ei));
    s->verdict = verify(s, p, &s->why);
    if (s->verdict != TD_OK && !is_refusal(s->verdict, &s->why)) {
        if (ei)
            *ei = s->why;
        return s->verdict;
    }
    rng_id(s->c->acme->conf.rng, s->evidence_id);
    enum td_err e = store_write(store, answer_job, s, ei);
    if (e == TD_STATE) { /* another answer came first: its outcome stands */
        TD_TRY(acme_order_read(s->c, s->o.id, &s->o, ei));
        return reply(s->c, &s->o, ei);
    }
    if (e != TD_OK)
        return e;
    tell(s);
    return reply(s->c, &s->done, ei);
}

enum td_err acme_challenge(const struct req *r, struct resp *resp, struct errinfo *ei)
{
    struct acme_call c;
    const char *id;
    TD_TRY(acme_call_kid(r, resp, &c, ei));
    TD_TRY(acme_id_param(r, &id, ei));
    __attribute__((cleanup(result_auto_free))) struct answer s = {.c = &c};
    TD_TRY(acme_order_read(&c, id, &s.o, ei));
    if (c.jws.payload.n == 0 || s.o.state.chal != ACME_PENDING || s.o.state.order != ACME_PENDING)
        return reply(&c, &s.o, ei);
    if (acme_order_expired(&s.o, c.now)) {
        struct errinfo why = {0};
        enum td_err e =
            acme_refuse(&why, TD_EXPIRED, "malformed", "order-expired", "the order is expired");
        if (ei)
            *ei = why;
        return acme_record_refusal(&c, s.o.serial, id, e, &why);
    }
    return respond(&s, ei);
}
