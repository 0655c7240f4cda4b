#include "acme/ca/ca.h"

#include <stdlib.h>

#include "acme/ca/ca_int.h"
#include "acme/signer/proto/signer_msg.h"
#include "mdm/base/log.h"
#include "mdm/base/metrics.h"

/* The profile as the registry has it; without one, the built-in ones. */
static enum td_err profile_of(const struct ca *ca, const char *name, struct ca_profile *ret)
{
    if (ca->conf.profiles)
        return ca_profiles_get(ca->conf.profiles, name, ret);
    for (size_t i = 0; profile_conf_builtin(i); i++) {
        const struct profile_conf *p = profile_conf_builtin(i);
        if (strcmp(p->name, name) != 0)
            continue;
        *ret = (struct ca_profile){.access = strcmp(p->purpose, "access") == 0, .renew = p->renew};
        return TD_OK;
    }
    return TD_NOTFOUND;
}

/* What rows without an issuer were issued by: the first CA there was. */
static const struct ca_issuer *oldest(const struct ca *ca)
{
    const struct ca_issuer *o = ca_issuer_at(ca, 0);
    for (size_t i = 1; i < ca_issuing_n(ca); i++)
        if (cert_not_before(ca_issuer_at(ca, i)->cert) < cert_not_before(o->cert))
            o = ca_issuer_at(ca, i);
    return o;
}

enum td_err ca_open(const struct ca_conf *conf, struct ca **ret, struct errinfo *ei)
{
    struct ca *ca = calloc(1, sizeof *ca);
    if (!ca)
        return err_set(ei, TD_NOMEM, "no memory");
    ca->conf = *conf;
    pthread_mutex_init(&ca->mu, NULL);
    pthread_mutex_init(&ca->crl_mu, NULL);
    enum td_err e = ca_refresh(ca, ei);
    if (e == TD_OK)
        e = ca_fill_issuer(conf->store, oldest(ca)->id, ei);
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
    ca_issuers_free(ca);
    cert_free(ca->root);
    pthread_mutex_destroy(&ca->mu);
    pthread_mutex_destroy(&ca->crl_mu);
    buf_free(&ca->root_crl);
    free(ca);
}

const struct cert *ca_root(const struct ca *ca)
{
    return ca->root;
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

/* The CA that signed. One this process has not seen yet is there when the signer was started again
 * with a new one. */
static enum td_err issuer_of(struct ca *ca, const uint8_t id[static CERT_SKI_SIZE],
                             const struct ca_issuer **ret, struct errinfo *ei)
{
    *ret = ca_issuer_by_id(ca, id);
    if (!*ret) {
        TD_TRY(ca_refresh(ca, ei));
        *ret = ca_issuer_by_id(ca, id);
    }
    return *ret ? TD_OK : err_set(ei, TD_INTERNAL, "the signer named an issuing CA it has not");
}

/* The same of a new certificate: only the active one issues. Another one here means that the signer
 * was started again behind a rotation. */
static enum td_err signed_by(struct ca *ca, const uint8_t id[static CERT_SKI_SIZE],
                             const struct ca_issuer **ret, struct errinfo *ei)
{
    TD_TRY(issuer_of(ca, id, ret, ei));
    if (*ret != ca_issuer_at(ca, 0) && ca_refresh(ca, NULL) != TD_OK)
        log_ev(LOG_WARN, "ca.refresh", KV("state", "the signer is away"));
    return TD_OK;
}

/* What came back is for the key that was asked, and of one of our CAs. */
static enum td_err fill_record(struct ca *ca, const struct ca_grant *g,
                               const struct signer_signed *made, struct arena *a,
                               struct ca_record *r, struct errinfo *ei)
{
    cert_auto *c = NULL;
    const struct ca_issuer *by;
    TD_TRY(cert_parse(made->der, &c, ei));
    TD_TRY(signed_by(ca, made->issuer, &by, ei));
    if (!same_key(c, g->spki, a) || !span_eq(cert_issuer_der(c), cert_subject_der(by->cert)))
        return err_set(ei, TD_INTERNAL, "the signer's certificate is not the one asked for");
    r->serial = arena_span(a, cert_serial(c));
    r->device_serial = arena_strdup(a, g->device_serial);
    r->profile = arena_strdup(a, g->profile);
    r->renews = g->renews.n ? arena_span(a, g->renews) : g->renews;
    r->order_id = g->order_id ? arena_strdup(a, g->order_id) : NULL;
    r->evidence_id = g->evidence_id ? arena_strdup(a, g->evidence_id) : NULL;
    if (!r->serial.p || !r->device_serial || !r->profile || (g->order_id && !r->order_id) ||
        (g->evidence_id && !r->evidence_id) || (g->renews.n && !r->renews.p))
        return err_set(ei, TD_NOMEM, "no memory for the certificate's record");
    cert_sha256(c, r->sha256);
    cert_spki_sha256(c, r->spki_sha256);
    memcpy(r->issuer, by->id, sizeof r->issuer);
    r->shard = signer_msg_crl_shard(r->serial, atomic_load(&ca->crl_shards));
    r->der = made->der;
    r->not_before = cert_not_before(c);
    r->not_after = cert_not_after(c);
    r->created_at = clock_now(ca->conf.clock);
    return TD_OK;
}

enum td_err ca_issue(struct ca *ca, const struct ca_grant *g, struct arena *a,
                     struct ca_record *ret, struct errinfo *ei)
{
    struct ca_profile p;
    if (!g->profile || !g->device_serial || profile_of(ca, g->profile, &p) != TD_OK)
        return err_reason(ei, TD_UNSUPPORTED, "profile-unknown", "no such certificate profile");
    struct signer_issue ask = {
        .profile = g->profile,
        .device_serial = g->device_serial,
        .spki = g->spki,
        .evidence_sha256 = SPAN_ARR(g->evidence_sha256),
        .facts = g->facts,
    };
    struct signer_signed made;
    TD_TRY(signer_issue(ca->conf.signer, &ask, a, &made, ei));
    struct ca_record r = {.reason = -1};
    TD_TRY(fill_record(ca, g, &made, a, &r, ei));
    r.purpose = p.access ? "access" : "management";
    r.renew_at = r.created_at + (r.not_after - r.created_at) * p.renew / 100;
    metrics_add(METRIC_CERTS_ISSUED, 1);
    *ret = r;
    return TD_OK;
}

enum td_err ca_chain_pem(struct ca *ca, const struct ca_record *r, struct buf *b,
                         struct errinfo *ei)
{
    cert_auto *leaf = NULL;
    const struct ca_issuer *by;
    TD_TRY(cert_parse(r->der, &leaf, ei));
    TD_TRY(issuer_of(ca, r->issuer, &by, ei));
    TD_TRY(cert_to_pem(leaf, b));
    return buf_span(b, buf_view(&by->pem));
}
