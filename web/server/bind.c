#include "web/server/bind.h"

#include <stdio.h>

#include "acme/attest/udid.h"
#include "acme/ca/client_id.h"
#include "acme/server/evidence.h"
#include "mdm/base/fs.h"
#include "mdm/base/log.h"
#include "mdm/base/metrics.h"
#include "mdm/crypt/cms.h"
#include "mdm/posture/posture.h"
#include "mdm/store/audit.h"
#include "profiles/enroll/push.h"

#define PEM_MAX 65536
#define SMALL_ARENA ((size_t)256 * 1024)

void bind_identity_init(struct bind_identity *id, const struct clock *clock)
{
    *id = (struct bind_identity){.clock = clock};
    pthread_rwlock_init(&id->lock, NULL);
}

static void drop(struct bind_identity *id)
{
    cert_free(id->cert);
    for (size_t i = 0; i < id->nchain; i++)
        cert_free(id->chain[i]);
    key_free(id->key);
    id->cert = NULL;
    id->key = NULL;
    id->nchain = 0;
}

void bind_identity_free(struct bind_identity *id)
{
    drop(id);
    pthread_rwlock_destroy(&id->lock);
}

/* The certificates of a PEM file: the first into cert, the others into chain. */
static enum td_err read_chain(const char *path, struct bind_identity *ret, struct errinfo *ei)
{
    struct cert *certs[TD_NITEMS(ret->chain) + 1];
    size_t n = 0;
    buf_auto pem;
    TD_TRY(fs_read(path, PEM_MAX, &pem, ei));
    TD_TRY(cert_all_from_pem(buf_view(&pem), certs, TD_NITEMS(certs), &n, ei));
    ret->cert = certs[0];
    ret->nchain = n - 1;
    for (size_t i = 0; i < ret->nchain; i++)
        ret->chain[i] = certs[i + 1];
    return TD_OK;
}

enum td_err bind_identity_load(struct bind_identity *id, const struct settings *s,
                               struct errinfo *ei)
{
    struct bind_identity fresh = {0};
    enum td_err e = read_chain(s->tls_cert, &fresh, ei);
    if (e == TD_OK) {
        buf_auto pem;
        e = fs_read(s->tls_key, PEM_MAX, &pem, ei);
        if (e == TD_OK)
            e = key_from_pem(buf_view(&pem), NULL, &fresh.key, ei);
        /* as in the middle of a renewal, when one of the two files is in place */
        if (e == TD_OK && !key_equal(cert_key(fresh.cert), fresh.key))
            e = err_set(ei, TD_CONFLICT, "%s is not the key of %s", s->tls_key, s->tls_cert);
    }
    if (e != TD_OK) {
        drop(&fresh);
        return e;
    }
    pthread_rwlock_wrlock(&id->lock);
    drop(id);
    id->cert = fresh.cert;
    memcpy(id->chain, fresh.chain, sizeof fresh.chain);
    id->nchain = fresh.nchain;
    id->key = fresh.key;
    pthread_rwlock_unlock(&id->lock);
    return TD_OK;
}

enum td_err bind_sign(void *ctx, struct span content, struct arena *a, struct span *ret,
                      struct errinfo *ei)
{
    struct bind_identity *id = ctx;
    pthread_rwlock_rdlock(&id->lock);
    enum td_err e = cms_sign(id->cert, id->key, id->chain, id->nchain, content,
                             clock_now(id->clock), a, ret, ei);
    pthread_rwlock_unlock(&id->lock);
    return e;
}

enum td_err bind_client_id_add(void *ctx, struct tx *tx, const char *id, const char *serial,
                               const char *profile, int64_t now, int64_t expires,
                               struct errinfo *ei)
{
    (void)ctx;
    return client_id_add(tx, id, serial, profile, now, expires, ei);
}

enum td_err bind_device_listed(void *ctx, struct tx *tx, const char *serial, struct errinfo *ei)
{
    (void)ctx;
    arena_auto a;
    arena_init(&a, SMALL_ARENA);
    struct inv_device d;
    return inv_get(tx, serial, &a, &d, ei);
}

enum td_err bind_cert_lookup(void *ctx, struct tx *tx, const uint8_t sha256[static SHA256_SIZE],
                             struct core_cert *ret, struct errinfo *ei)
{
    (void)ctx;
    arena_auto a;
    arena_init(&a, SMALL_ARENA);
    struct ca_record r;
    TD_TRY(ca_record_by_hash(tx, sha256, &a, &r, ei));
    *ret = (struct core_cert){.revoked = r.revoked, .not_after = r.not_after};
    if (r.renews.n) {
        struct ca_record old;
        enum td_err e = ca_record_get(tx, r.renews, &a, &old, ei);
        if (e != TD_OK && e != TD_NOTFOUND)
            return e;
        ret->renews = e == TD_OK;
        if (ret->renews)
            memcpy(ret->renews_sha256, old.sha256, SHA256_SIZE);
    }
    int n = snprintf(ret->device_serial, sizeof ret->device_serial, "%s", r.device_serial);
    int m = snprintf(ret->purpose, sizeof ret->purpose, "%s", r.purpose);
    if (n < 0 || (size_t)n >= sizeof ret->device_serial || m < 0 ||
        (size_t)m >= sizeof ret->purpose)
        return err_set(ei, TD_INTERNAL, "a certificate record is too long");
    return TD_OK;
}

enum td_err bind_udid_allowed(void *ctx, struct tx *tx, const uint8_t sha256[static SHA256_SIZE],
                              const char *udid, struct errinfo *ei)
{
    (void)ctx;
    arena_auto a;
    arena_init(&a, SMALL_ARENA);
    struct ca_record r;
    struct json *facts;
    const char *text;
    TD_TRY(ca_record_by_hash(tx, sha256, &a, &r, ei));
    if (!r.evidence_id)
        return TD_OK;
    enum td_err e = acme_evidence_facts(tx, r.evidence_id, &a, &text, ei);
    if (e != TD_OK)
        return e == TD_NOTFOUND ? TD_OK : e; /* behind its retention */
    TD_TRY(json_parse(span_str(text), &a, &facts, ei));
    if (attest_udid_agrees(facts, span_str(udid)))
        return TD_OK;
    return err_reason(ei, TD_FORBIDDEN, "attested-udid-mismatch",
                      "the device attested the UDID %.60s and calls itself %.60s",
                      json_str(json_member(facts, "udid")), udid);
}

enum td_err bind_cert_supersede(void *ctx, struct tx *tx, const uint8_t sha256[static SHA256_SIZE],
                                int64_t now, const char *txn, struct errinfo *ei)
{
    (void)ctx;
    const struct ca_change why = {
        .reason = 4 /* superseded */, .now = now, .actor = "device", .txn = txn};
    int64_t revoked = 0;
    TD_TRY(ca_revoke_one(tx, sha256, &why, &revoked, ei));
    metrics_add(METRIC_CERTS_REVOKED, revoked);
    return TD_OK;
}

enum td_err bind_leaving(void *ctx, const void *payload, struct errinfo *ei)
{
    (void)ctx;
    const struct inv_event *l = payload;
    const struct ca_change why = {
        .reason = 5 /* cessationOfOperation */, .now = l->now, .actor = l->actor, .txn = l->txn};
    int64_t revoked = 0;
    TD_TRY(ca_revoke_device(l->tx, l->serial, &why, &revoked, ei));
    TD_TRY(client_id_cancel(l->tx, l->serial, l->now, ei));
    TD_TRY(enroll_cancel(l->tx, l->serial, l->now, ei));
    TD_TRY(enroll_unassign_all(l->tx, l->serial, ei));
    TD_TRY(core_leave(l->tx, l->serial, l->now, ei));
    TD_TRY(posture_forget(l->tx, l->serial, ei));
    metrics_add(METRIC_CERTS_REVOKED, revoked);
    char detail[48];
    snprintf(detail, sizeof detail, "certificates=%lld", (long long)revoked);
    return audit_add(l->tx, l->now, l->txn, l->actor, "certificates.revoke", l->serial, detail, ei);
}

enum td_err bind_verify_peer(struct bind_peer *p, const struct span *chain, size_t n,
                             struct errinfo *ei)
{
    if (n == 0)
        return err_set(ei, TD_INVAL, "no certificate");
    cert_auto *leaf = NULL;
    TD_TRY(cert_parse(chain[0], &leaf, ei));
    return ca_check_client(p->ca, leaf, ei);
}
