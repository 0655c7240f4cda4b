#include "acme/attest/subca.h"

#include <pthread.h>
#include <stdlib.h>

#include "acme/attest/critical.h"
#include "acme/attest/refuse.h"
#include "acme/attest/roots.h"
#include "mdm/base/rd.h"

/* Apple has one Sub CA today. Only verified ones get in, so strangers cannot fill it. */
#define SUBCA_MAX 16

struct entry {
    uint8_t sha256[SHA256_SIZE];
    struct cert *cert;
    size_t root;
};

struct attest_subca {
    pthread_mutex_t lock;
    struct entry entries[SUBCA_MAX];
    size_t n, next;
    uint64_t hits;
};

enum td_err attest_subca_new(struct attest_subca **ret)
{
    struct attest_subca *c = calloc(1, sizeof *c);
    if (!c)
        return TD_NOMEM;
    pthread_mutex_init(&c->lock, NULL);
    *ret = c;
    return TD_OK;
}

void attest_subca_free(struct attest_subca *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n; i++)
        cert_free(c->entries[i].cert);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

void attest_subca_stats(const struct attest_roots *roots, size_t *ret_held, uint64_t *ret_hits)
{
    struct attest_subca *c = roots->subca;
    pthread_mutex_lock(&c->lock);
    *ret_held = c->n;
    *ret_hits = c->hits;
    pthread_mutex_unlock(&c->lock);
}

static struct cert *lookup(struct attest_subca *c, const uint8_t *sha256, size_t *ret_root)
{
    struct cert *found = NULL;
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < c->n && !found; i++)
        if (memcmp(c->entries[i].sha256, sha256, SHA256_SIZE) == 0) {
            found = cert_ref(c->entries[i].cert);
            *ret_root = c->entries[i].root;
            c->hits++;
        }
    pthread_mutex_unlock(&c->lock);
    return found;
}

static void remember(struct attest_subca *c, const uint8_t *sha256, struct cert *cert, size_t root)
{
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < c->n; i++)
        if (memcmp(c->entries[i].sha256, sha256, SHA256_SIZE) == 0) { /* another thread did */
            pthread_mutex_unlock(&c->lock);
            return;
        }
    struct entry *e = &c->entries[c->next];
    cert_free(e->cert);
    memcpy(e->sha256, sha256, SHA256_SIZE);
    e->cert = cert_ref(cert);
    e->root = root;
    c->next = (c->next + 1) % SUBCA_MAX;
    if (c->n < SUBCA_MAX)
        c->n++;
    pthread_mutex_unlock(&c->lock);
}

static bool valid_at(const struct cert *c, int64_t now)
{
    return now >= cert_not_before(c) && now <= cert_not_after(c);
}

/* keyUsage present with keyCertSign (RFC 5280 section 4.2.1.3): BIT STRING, bit 5. */
static bool may_sign_certs(const struct cert *c)
{
    struct span ku;
    if (cert_ext(c, "2.5.29.15", &ku) != 1)
        return false;
    struct rd r = rd_init(ku);
    uint8_t tag = rd_u8(&r), len = rd_u8(&r), unused = rd_u8(&r), bits = rd_u8(&r);
    return !r.bad && tag == 3 && len >= 2 && len == ku.n - 2 && unused < 8 && (bits & 4);
}

/* Constraints on what it issues (names, policies: RFC 5280 sections 4.2.1.10 to 14) would have to
 * be applied to the leaf, which OpenSSL never sees. Apple's Sub CA has none; one that has is
 * refused.
 */
static bool constrained(const struct cert *c)
{
    static const char *const oids[] = {"2.5.29.30", "2.5.29.36", "2.5.29.54"};
    struct span v;
    for (size_t i = 0; i < TD_NITEMS(oids); i++)
        if (cert_ext(c, oids[i], &v) != 0)
            return true;
    return !attest_critical_known(cert_der(c));
}

/* The anchor that issued it, by name and signature. */
static enum td_err find_root(const struct attest_roots *roots, const struct cert *c, int64_t now,
                             size_t *ret_root, struct errinfo *ei)
{
    struct trust_opts o = {.at = now, .purpose = "any"};
    struct errinfo why = {0};
    for (size_t i = 0; i < roots->n; i++) {
        const struct attest_anchor *a = &roots->anchors[i];
        if (!span_eq(cert_issuer_der(c), cert_subject_der(a->cert)))
            continue;
        enum td_err e = trust_verify(a->trust, c, NULL, 0, &o, &why);
        if (e == TD_OK) {
            *ret_root = i;
            return TD_OK;
        }
        if (e == TD_NOMEM)
            return err_set(ei, e, "verifying an attestation CA");
    }
    return attest_refuse(ei, "chain-untrusted", "no trusted root issued the attestation CA%s%.120s",
                         why.msg[0] ? ": " : "", why.msg);
}

static enum td_err verify(const struct attest_roots *roots, struct span der, int64_t now,
                          struct cert **ret, size_t *ret_root, struct errinfo *ei)
{
    cert_auto *c = NULL;
    enum td_err e = cert_parse(der, &c, NULL);
    if (e == TD_NOMEM)
        return err_set(ei, e, "parsing an attestation CA");
    if (e != TD_OK)
        return attest_refuse(ei, "x5c-malformed", "x5c[1] is no certificate");
    if (!cert_is_ca(c) || !may_sign_certs(c))
        return attest_refuse(ei, "chain-untrusted", "x5c[1] may not issue certificates");
    if (constrained(c))
        return attest_refuse(ei, "chain-untrusted",
                             "x5c[1] is bound by constraints not known here");
    TD_TRY(find_root(roots, c, now, ret_root, ei));
    *ret = cert_ref(c);
    return TD_OK;
}

enum td_err attest_subca_verify(const struct attest_roots *roots, struct span der, int64_t now,
                                struct cert **ret, size_t *ret_root, struct errinfo *ei)
{
    uint8_t sha256[SHA256_SIZE];
    digest_sha256(der, sha256);
    size_t root = 0;
    cert_auto *c = lookup(roots->subca, sha256, &root);
    if (!c) {
        TD_TRY(verify(roots, der, now, &c, &root, ei));
        remember(roots->subca, sha256, c, root);
    }
    if (!valid_at(c, now) || !valid_at(roots->anchors[root].cert, now))
        return attest_refuse(ei, "chain-untrusted", "the attestation CA or its root is expired");
    *ret = cert_ref(c);
    *ret_root = root;
    return TD_OK;
}
