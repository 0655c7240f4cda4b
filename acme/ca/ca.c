#include "acme/ca/ca.h"

#include <stdlib.h>

#include "acme/ca/ca_int.h"
#include "mdm/base/metrics.h"

#define PEM_MAX 65536

/* What a certificate of each profile is for; the signer has its own table of what is in it. */
static const struct {
    const char *profile, *purpose;
} purposes[] = {{"management", "management"}, {"access", "access"}};

static const char *purpose_of(const char *profile)
{
    for (size_t i = 0; profile && i < TD_NITEMS(purposes); i++)
        if (strcmp(purposes[i].profile, profile) == 0)
            return purposes[i].purpose;
    return NULL;
}

static enum td_err make_ids(struct ca *ca, struct errinfo *ei)
{
    arena_auto a;
    arena_init(&a, 4096);
    struct span point;
    if (!cert_key(ca->issuing))
        return err_set(ei, TD_CRYPTO, "the issuing CA's public key is not readable");
    TD_TRY(key_ec_point(cert_key(ca->issuing), &a, &point, ei));
    static const enum digest_alg want[] = {DIGEST_SHA1, DIGEST_SHA256};
    for (size_t i = 0; i < TD_NITEMS(want); i++) {
        digest(want[i], cert_subject_der(ca->issuing), ca->ids[want[i]].name);
        digest(want[i], point, ca->ids[want[i]].key);
    }
    return TD_OK;
}

static enum td_err copy_cert(const struct cert *c, struct cert **ret, struct errinfo *ei)
{
    if (!c)
        return err_set(ei, TD_STATE, "the signer is not ready");
    return cert_parse(cert_der(c), ret, ei);
}

enum td_err ca_open(const struct ca_conf *conf, struct ca **ret, struct errinfo *ei)
{
    struct ca *ca = calloc(1, sizeof *ca);
    if (!ca)
        return err_set(ei, TD_NOMEM, "no memory");
    ca->conf = *conf;
    buf_init(&ca->issuing_pem, PEM_MAX);
    enum td_err e = copy_cert(signer_client_root(conf->signer), &ca->root, ei);
    if (e == TD_OK)
        e = copy_cert(signer_client_issuing(conf->signer), &ca->issuing, ei);
    if (e == TD_OK)
        e = make_ids(ca, ei);
    if (e == TD_OK)
        e = cert_to_pem(ca->issuing, &ca->issuing_pem);
    if (e == TD_OK)
        e = ocsp_cache_new(OCSP_CACHE_ENTRIES, conf->rng, &ca->cache);
    if (e != TD_OK) {
        ca_close(ca);
        return e;
    }
    *ret = ca;
    return TD_OK;
}

void ca_close(struct ca *ca)
{
    if (!ca)
        return;
    ocsp_cache_free(ca->cache);
    buf_free(&ca->issuing_pem);
    cert_free(ca->root);
    cert_free(ca->issuing);
    free(ca);
}

const struct cert *ca_root(const struct ca *ca)
{
    return ca->root;
}

const struct cert *ca_issuing(const struct ca *ca)
{
    return ca->issuing;
}

/* Whether the certificate's key is the one asked for, which may have been written another way. */
static bool same_key(const struct cert *c, struct span spki, struct arena *a)
{
    if (span_eq(cert_spki(c), spki))
        return true;
    key_auto *key = NULL;
    struct span canonical;
    return key_from_spki(spki, &key, NULL) == TD_OK &&
           key_spki(key, a, &canonical, NULL) == TD_OK && span_eq(cert_spki(c), canonical);
}

/* What came back is for the key and of the CA that were asked. */
static enum td_err fill_record(const struct ca *ca, const struct ca_grant *g, struct span der,
                               struct arena *a, struct ca_record *r, struct errinfo *ei)
{
    cert_auto *c = NULL;
    TD_TRY(cert_parse(der, &c, ei));
    if (!same_key(c, g->spki, a) || !span_eq(cert_issuer_der(c), cert_subject_der(ca->issuing)))
        return err_set(ei, TD_INTERNAL, "the signer's certificate is not the one asked for");
    r->serial = arena_span(a, cert_serial(c));
    r->device_serial = arena_strdup(a, g->device_serial);
    r->profile = arena_strdup(a, g->profile);
    r->purpose = purpose_of(g->profile);
    r->order_id = g->order_id ? arena_strdup(a, g->order_id) : NULL;
    r->evidence_id = g->evidence_id ? arena_strdup(a, g->evidence_id) : NULL;
    if (!r->serial.p || !r->device_serial || !r->profile || (g->order_id && !r->order_id) ||
        (g->evidence_id && !r->evidence_id))
        return err_set(ei, TD_NOMEM, "no memory for the certificate's record");
    cert_sha256(c, r->sha256);
    cert_spki_sha256(c, r->spki_sha256);
    r->der = der;
    r->not_before = cert_not_before(c);
    r->not_after = cert_not_after(c);
    r->created_at = clock_now(ca->conf.clock);
    return TD_OK;
}

enum td_err ca_issue(struct ca *ca, const struct ca_grant *g, struct arena *a,
                     struct ca_record *ret, struct errinfo *ei)
{
    if (!g->profile || !g->device_serial || !purpose_of(g->profile))
        return err_reason(ei, TD_UNSUPPORTED, "profile-unknown", "no such certificate profile");
    struct signer_issue ask = {
        .profile = g->profile,
        .device_serial = g->device_serial,
        .spki = g->spki,
        .evidence_sha256 = SPAN_ARR(g->evidence_sha256),
    };
    struct span der;
    TD_TRY(signer_issue(ca->conf.signer, &ask, a, &der, ei));
    struct ca_record r = {.reason = -1};
    TD_TRY(fill_record(ca, g, der, a, &r, ei));
    metrics_add(METRIC_CERTS_ISSUED, 1);
    *ret = r;
    return TD_OK;
}

enum td_err ca_chain_pem(struct ca *ca, struct span leaf_der, struct buf *b, struct errinfo *ei)
{
    cert_auto *leaf = NULL;
    TD_TRY(cert_parse(leaf_der, &leaf, ei));
    TD_TRY(cert_to_pem(leaf, b));
    return buf_span(b, buf_view(&ca->issuing_pem));
}
