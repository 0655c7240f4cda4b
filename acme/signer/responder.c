#include "acme/signer/responder.h"

#include "acme/signer/proto/issuer_life.h"
#include "mdm/base/log.h"
#include "mdm/base/rd.h"

#define SERIAL_OCTETS_MAX 64 /* 20 by RFC 5280; who asks for more gets `unknown` */

enum { DER_INTEGER = 0x02, DER_OCTETS = 0x04, DER_SEQUENCE = 0x30 };

/* The content of the next DER value when it has that tag; lengths in one or two octets are all a
 * CertID needs. */
static struct span der_take(struct rd *r, uint8_t tag)
{
    if (rd_u8(r) != tag)
        r->bad = true;
    size_t n = rd_u8(r);
    if (n == 0x81) {
        n = rd_u8(r);
        r->bad = r->bad || n < 0x80;
    } else if (n > 0x7f) {
        r->bad = true;
    }
    return rd_span(r, n);
}

/* AlgorithmIdentifier contents; parameters are NULL or absent (RFC 5754 section 2 asks to take
 * both). */
static const struct {
    enum digest_alg alg;
    uint8_t der[13];
    size_t n;
} algs[] = {
    {DIGEST_SHA1, {0x06, 5, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00}, 9},
    {DIGEST_SHA1, {0x06, 5, 0x2b, 0x0e, 0x03, 0x02, 0x1a}, 7},
    {DIGEST_SHA256,
     {0x06, 9, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00},
     13},
    {DIGEST_SHA256, {0x06, 9, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01}, 11},
};

static enum digest_alg alg_of(struct span s)
{
    for (size_t i = 0; i < TD_NITEMS(algs); i++)
        if (span_eq(s, span_of(algs[i].der, algs[i].n)))
            return algs[i].alg;
    return DIGEST_MAX;
}

enum td_err responder_check_certid(const struct responder *r, struct span der, struct errinfo *ei)
{
    struct rd outer = rd_init(der);
    struct rd in = rd_init(der_take(&outer, DER_SEQUENCE));
    struct span alg = der_take(&in, DER_SEQUENCE);
    struct span name = der_take(&in, DER_OCTETS);
    struct span key = der_take(&in, DER_OCTETS);
    struct span serial = der_take(&in, DER_INTEGER);
    if (!rd_done(&outer) || !rd_done(&in) || serial.n == 0 || serial.n > SERIAL_OCTETS_MAX)
        return err_reason(ei, TD_PARSE, "certid-malformed", "not a DER CertID");
    enum digest_alg d = alg_of(alg);
    if (d == DIGEST_MAX)
        return err_reason(ei, TD_FORBIDDEN, "certid-hash", "CertID with an unknown hash");
    const struct responder_ids *own = &r->ids[d];
    if (!span_eq(name, span_of(own->name, digest_size(d))) ||
        !span_eq(key, span_of(own->key, digest_size(d))))
        return err_reason(ei, TD_FORBIDDEN, "certid-issuer", "CertID of another issuer");
    return TD_OK;
}

enum td_err responder_check_window(const struct ocsp_single *s, int64_t now, struct errinfo *ei)
{
    if (s->this_update < now - RESPONDER_PAST_MAX || s->this_update > now + RESPONDER_FUTURE_MAX)
        return err_reason(ei, TD_INVAL, "window", "thisUpdate is not now");
    if (s->next_update <= now || s->next_update - s->this_update > RESPONDER_WINDOW_MAX)
        return err_reason(ei, TD_INVAL, "window", "nextUpdate is past or too far away");
    if (s->status == OCSP_REVOKED &&
        (s->revoked_at <= 0 || s->revoked_at > now + RESPONDER_FUTURE_MAX))
        return err_reason(ei, TD_INVAL, "window", "revoked at no time of the past");
    return TD_OK;
}

/* Hashes of the issuing CA's name and of its public key's bits, for an EC key the point (RFC 6960
 * section 4.1.1). */
static enum td_err make_ids(struct responder *r, const struct cert *issuing, struct errinfo *ei)
{
    arena_auto a;
    arena_init(&a, 4096);
    struct span point;
    if (!cert_key(issuing))
        return err_set(ei, TD_CRYPTO, "the issuing CA's public key is not readable");
    TD_TRY(key_ec_point(cert_key(issuing), &a, &point, ei));
    static const enum digest_alg want[] = {DIGEST_SHA1, DIGEST_SHA256};
    for (size_t i = 0; i < TD_NITEMS(want); i++) {
        digest(want[i], cert_subject_der(issuing), r->ids[want[i]].name);
        digest(want[i], point, r->ids[want[i]].key);
    }
    return TD_OK;
}

static enum td_err make_cert(const struct cadir_issuing *by, struct issuer *is,
                             struct key **ret_key, struct cert **ret_cert, struct errinfo *ei)
{
    key_auto *key = NULL;
    TD_TRY(key_generate(KEY_P256, &key, ei));
    arena_auto a;
    arena_init(&a, 65536);
    struct profile_subject who = {.name = "OCSP Responder", .public_key = key};
    const struct profile *p = profile_find(SPAN_LIT("ocsp-responder"));
    struct span der;
    TD_TRY(issue_cert(is, by, p, &who, (struct span){NULL, 0}, &a, &der, ei));
    TD_TRY(audit_log_flush(is->audit, ei));
    TD_TRY(cert_parse(der, ret_cert, ei));
    *ret_key = key;
    key = NULL;
    return TD_OK;
}

static void drop(struct responder *r)
{
    key_free(r->key);
    cert_free(r->cert);
    r->key = NULL;
    r->cert = NULL;
    r->renew_at = INT64_MIN;
}

static void sign_directly(struct responder *r, const struct errinfo *why)
{
    drop(r);
    if (!r->direct)
        log_ev(LOG_WARN, "signer.responder", KV("issuer", r->by->hex),
               KV("signs", "the issuing CA itself"), KV("why", why->msg));
    r->direct = true;
}

enum td_err responder_rotate(struct responder *r, struct issuer *is, struct errinfo *ei)
{
    int64_t now = clock_now(is->clock);
    struct errinfo why = {0};
    if (issuer_life(r->by->cert, now, &why) != TD_OK) {
        sign_directly(r, &why);
        return TD_OK;
    }
    if (now < r->renew_at)
        return TD_OK;
    struct key *key;
    struct cert *cert;
    TD_TRY(make_cert(r->by, is, &key, &cert, ei));
    drop(r);
    r->key = key;
    r->cert = cert;
    r->direct = false;
    r->renew_at = cert_not_before(cert) + (cert_not_after(cert) - cert_not_before(cert)) / 2;
    log_ev(LOG_INFO, "signer.responder", KV("issuer", r->by->hex),
           KV_I64("not_after", cert_not_after(cert)), KV_I64("signed", r->signed_count));
    return TD_OK;
}

enum td_err responder_init(struct responder *r, const struct cadir_issuing *by, struct issuer *is,
                           struct errinfo *ei)
{
    *r = (struct responder){.by = by, .renew_at = INT64_MIN};
    TD_TRY(make_ids(r, by->cert, ei));
    return responder_rotate(r, is, ei);
}

void responder_free(struct responder *r)
{
    drop(r);
    *r = (struct responder){0};
}

const struct cert *responder_cert(const struct responder *r)
{
    return r->cert ? r->cert : r->by->cert;
}

enum td_err responder_handle(struct responder *r, const struct signer_msg_ocsp *m, int64_t now,
                             struct arena *a, struct signer_msg_signed *ret, struct errinfo *ei)
{
    for (size_t i = 0; i < m->n; i++) {
        TD_TRY(responder_check_certid(r, m->singles[i].certid_der, ei));
        TD_TRY(responder_check_window(&m->singles[i], now, ei));
    }
    struct ocsp_resp_spec spec = {
        .singles = m->singles, .nsingles = m->n, .nonce = m->nonce, .produced_at = now};
    const struct key *key = r->cert ? r->key : r->by->key;
    TD_TRY(ocsp_resp_build(&spec, responder_cert(r), key, a, &ret->der, ei));
    memcpy(ret->issuer, r->by->id, sizeof ret->issuer);
    r->signed_count++;
    return TD_OK;
}
