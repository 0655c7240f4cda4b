/* The issuing CAs a server knows: the active one and those that rotation left. */
#include "acme/ca/ca_int.h"

#include "acme/signer/proto/issuer_life.h"
#include "mdm/base/hex.h"
#include "mdm/base/limits.h"
#include "mdm/base/metrics.h"

#define PEM_MAX 65536

static enum td_err make_ids(struct ca_issuer *is, struct errinfo *ei)
{
    arena_auto a;
    arena_init(&a, 4096);
    struct span point;
    if (!cert_key(is->cert))
        return err_set(ei, TD_CRYPTO, "the issuing CA's public key is not readable");
    TD_TRY(key_ec_point(cert_key(is->cert), &a, &point, ei));
    static const enum digest_alg want[] = {DIGEST_SHA1, DIGEST_SHA256};
    for (size_t i = 0; i < TD_NITEMS(want); i++) {
        digest(want[i], cert_subject_der(is->cert), is->ids[want[i]].name);
        digest(want[i], point, is->ids[want[i]].key);
    }
    return TD_OK;
}

static void clear(struct ca_issuer *is)
{
    cert_free(is->cert);
    buf_free(&is->pem);
    *is = (struct ca_issuer){0};
}

static enum td_err fill(struct ca_issuer *is, struct cert *c, struct errinfo *ei)
{
    *is = (struct ca_issuer){.cert = cert_ref(c)};
    buf_init(&is->pem, PEM_MAX);
    if (!cert_ski(c, is->id))
        return err_set(ei, TD_CRYPTO, "an issuing CA has no subject key identifier");
    hex_enc(SPAN_ARR(is->id), is->hex);
    TD_TRY(make_ids(is, ei));
    return cert_to_pem(c, &is->pem);
}

/* The place of a certificate in the list, which takes it in when it is new. */
static enum td_err place_of(struct ca *ca, struct cert *c, size_t *ret, struct errinfo *ei)
{
    size_t n = atomic_load(&ca->nissuers);
    for (size_t i = 0; i < n; i++) {
        if (span_eq(cert_der(ca->issuers[i].cert), cert_der(c))) {
            *ret = i;
            return TD_OK;
        }
    }
    if (n == CA_ISSUERS_MAX)
        return err_set(ei, TD_LIMIT, "more than %d issuing CAs: restart testudo", CA_ISSUERS_MAX);
    enum td_err e = fill(&ca->issuers[n], c, ei);
    if (e != TD_OK) {
        clear(&ca->issuers[n]);
        return e;
    }
    atomic_store(&ca->nissuers, n + 1);
    *ret = n;
    return TD_OK;
}

static enum td_err take_all(struct ca *ca, const struct signer_certs *all, struct errinfo *ei)
{
    size_t active = 0;
    bool there[CA_ISSUERS_MAX] = {false};
    for (size_t i = all->n; i-- > 0;) { /* the active one last: whatever it signs is known then */
        TD_TRY(place_of(ca, all->issuing[i], &active, ei));
        there[active] = true;
    }
    atomic_store(&ca->active, active);
    metrics_set(METRIC_CA_ISSUING_END, cert_not_after(ca->issuers[active].cert));
    for (size_t i = 0; i < atomic_load(&ca->nissuers); i++)
        atomic_store(&ca->gone[i], !there[i]);
    return TD_OK;
}

bool ca_issuer_gone(const struct ca *ca, const struct ca_issuer *is)
{
    return atomic_load(&ca->gone[is - ca->issuers]);
}

enum td_err ca_refresh(struct ca *ca, struct errinfo *ei)
{
    struct signer_certs all;
    signer_client_certs(ca->conf.signer, &all);
    enum td_err e = all.n ? TD_OK : err_set(ei, TD_STATE, "the signer is not ready");
    if (e == TD_OK && !ca->root) {
        ca->root = cert_ref(all.root);
        memcpy(ca->crl_url, all.crl_url, sizeof ca->crl_url);
        buf_init(&ca->root_crl, LIMIT_SIGNER_MSG);
        e = buf_span(&ca->root_crl, buf_view(&all.root_crl));
    }
    if (e == TD_OK) {
        atomic_store(&ca->crl_shards, all.crl_shards);
        pthread_mutex_lock(&ca->mu);
        e = take_all(ca, &all, ei);
        pthread_mutex_unlock(&ca->mu);
    }
    signer_certs_free(&all);
    return e;
}

void ca_issuers_free(struct ca *ca)
{
    for (size_t i = 0; i < atomic_load(&ca->nissuers); i++)
        clear(&ca->issuers[i]);
}

size_t ca_issuing_n(const struct ca *ca)
{
    return atomic_load(&ca->nissuers);
}

/* The active one first, the others from the newest on. */
const struct ca_issuer *ca_issuer_at(const struct ca *ca, size_t i)
{
    size_t active = atomic_load(&ca->active), n = atomic_load(&ca->nissuers);
    if (i == 0)
        return &ca->issuers[active];
    size_t at = n - i; /* from the end, the active one left out */
    return &ca->issuers[at > active ? at : at - 1];
}

const struct cert *ca_issuing_at(const struct ca *ca, size_t i)
{
    return ca_issuer_at(ca, i)->cert;
}

const struct cert *ca_issuing(const struct ca *ca)
{
    return ca_issuing_at(ca, 0);
}

enum td_err ca_can_issue(const struct ca *ca, struct errinfo *ei)
{
    return issuer_life(ca_issuing(ca), clock_now(ca->conf.clock), ei);
}

const struct ca_issuer *ca_issuer_by_id(const struct ca *ca, const uint8_t id[static CERT_SKI_SIZE])
{
    for (size_t i = 0; i < atomic_load(&ca->nissuers); i++)
        if (memcmp(ca->issuers[i].id, id, CERT_SKI_SIZE) == 0)
            return &ca->issuers[i];
    return NULL;
}

const struct ca_issuer *ca_issuer_of_certid(const struct ca *ca, const struct ocsp_certid *id)
{
    if (id->hash != DIGEST_SHA1 && id->hash != DIGEST_SHA256)
        return NULL;
    size_t n = digest_size(id->hash);
    for (size_t i = 0; i < atomic_load(&ca->nissuers); i++) {
        const struct ca_ids *ids = &ca->issuers[i].ids[id->hash];
        if (span_eq(id->name_hash, span_of(ids->name, n)) &&
            span_eq(id->key_hash, span_of(ids->key, n)))
            return &ca->issuers[i];
    }
    return NULL;
}

enum td_err ca_check_client(const struct ca *ca, const struct cert *leaf, struct errinfo *ei)
{
    enum td_err e = err_set(ei, TD_CRYPTO, "not a certificate of our issuing CAs");
    for (size_t i = 0; i < ca_issuing_n(ca); i++) {
        const struct cert *issuer = ca_issuing_at(ca, i);
        if (!span_eq(cert_issuer_der(leaf), cert_subject_der(issuer)))
            continue;
        e = cert_check_client(leaf, issuer, ei);
        if (e == TD_OK)
            return TD_OK;
    }
    return e;
}
