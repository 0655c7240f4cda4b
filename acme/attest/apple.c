#include "acme/attest/apple.h"

#include "acme/attest/attobj.h"
#include "acme/attest/critical.h"
#include "acme/attest/facts.h"
#include "acme/attest/refuse.h"
#include "acme/attest/roots.h"
#include "mdm/base/limits.h"
#include "mdm/base/secret.h"

#define OID_FRESHNESS "1.2.840.113635.100.8.11.1"
#define OID_SERIAL "1.2.840.113635.100.8.9.1"

struct check {
    const struct attest_roots *roots;
    const struct attest_expect *want;
    struct arena *arena;
    struct attest_result *ret;
    struct span x5c[LIMIT_X5C_COUNT];
    size_t n;
};

typedef enum td_err (*step_fn)(struct check *c, struct errinfo *ei);

/* Step 2: Apple sends leaf and Sub CA. */
static enum td_err step_count(struct check *c, struct errinfo *ei)
{
    if (c->n < 2)
        return attest_refuse(ei, "x5c-malformed", "x5c holds one certificate, two are needed");
    return TD_OK;
}

static enum td_err step_parse(struct check *c, struct errinfo *ei)
{
    enum td_err e = cert_parse(c->x5c[0], &c->ret->leaf, NULL);
    if (e == TD_NOMEM)
        return err_set(ei, e, "parsing an attestation leaf");
    if (e != TD_OK)
        return attest_refuse(ei, "x5c-malformed", "x5c[0] is no certificate");
    cert_spki_sha256(c->ret->leaf, c->ret->spki_sha256);
    buf_auto b;
    buf_init(&b, (size_t)LIMIT_X5C_COUNT * LIMIT_X5C_CERT);
    for (size_t i = 1; i < c->n; i++)
        (void)buf_span(&b, c->x5c[i]);
    c->ret->chain_der = arena_span(c->arena, buf_view(&b));
    if (b.err || !c->ret->chain_der.p)
        return err_set(ei, TD_NOMEM, "keeping an attestation chain");
    return TD_OK;
}

/* Step 3: leaf <- x5c[1] <- a root. Nothing else may stand in x5c but that root itself. The leaf
 * carries no AKI, so strict path building would refuse it: the links are checked one by one. */
static enum td_err step_chain(struct check *c, struct errinfo *ei)
{
    cert_auto *ca = NULL;
    size_t root;
    TD_TRY(attest_subca_verify(c->roots, c->x5c[1], c->want->now, &ca, &root, ei));
    for (size_t i = 2; i < c->n; i++)
        if (!span_eq(c->x5c[i], cert_der(c->roots->anchors[root].cert)))
            return attest_refuse(ei, "chain-untrusted", "x5c[%zu] is not part of the chain", i);
    enum td_err e = cert_check_issued(c->ret->leaf, ca, NULL);
    if (e == TD_NOMEM)
        return err_set(ei, e, "verifying an attestation leaf");
    if (e != TD_OK)
        return attest_refuse(ei, "chain-untrusted", "x5c[1] did not issue the leaf");
    attest_facts_read(c->ret->leaf, &c->ret->facts);
    return TD_OK;
}

/* Step 3: validity at now; Apple dates the leaf back by 24 hours and gives it 90 days. */
static enum td_err step_dates(struct check *c, struct errinfo *ei)
{
    if (c->want->now < cert_not_before(c->ret->leaf))
        return attest_refuse(ei, "leaf-expired", "the attestation is not valid yet");
    if (c->want->now > cert_not_after(c->ret->leaf))
        return attest_refuse(ei, "leaf-expired", "the attestation is expired");
    return TD_OK;
}

/* Step 3: a CA certificate attests no device. */
static enum td_err step_end_entity(struct check *c, struct errinfo *ei)
{
    if (cert_is_ca(c->ret->leaf))
        return attest_refuse(ei, "leaf-is-ca", "x5c[0] is a CA certificate");
    return TD_OK;
}

/* Step 3: a critical extension that we do not know refuses the certificate (RFC 5280 section 4.2).
 */
static enum td_err step_critical(struct check *c, struct errinfo *ei)
{
    if (!attest_critical_known(cert_der(c->ret->leaf)))
        return attest_refuse(ei, "chain-untrusted", "the leaf has an unknown critical extension");
    return TD_OK;
}

/* Step 4: exactly one freshness extension with exactly the expected bytes, never DER-wrapped
 * (MB-38). Absent is refused: elsewhere that let replayed attestations pass. */
static enum td_err step_freshness(struct check *c, struct errinfo *ei)
{
    struct span v;
    int n = cert_ext(c->ret->leaf, OID_FRESHNESS, &v);
    if (n == 0)
        return attest_refuse(ei, "freshness-missing", "the attestation carries no freshness code");
    if (n != 1 || !secret_eq(v, c->want->freshness))
        return attest_refuse(ei, "freshness-mismatch",
                             "the freshness code is not the one asked for");
    return TD_OK;
}

/* Step 5: the serial number the server bound to the order; case-sensitive, untrimmed. */
static enum td_err step_serial(struct check *c, struct errinfo *ei)
{
    struct span v;
    int n = cert_ext(c->ret->leaf, OID_SERIAL, &v);
    if (n == 0)
        return attest_refuse(ei, "serial-missing", "the attestation names no serial number");
    if (n != 1 || !secret_eq(attest_fact_text(v), span_str(c->want->serial)))
        return attest_refuse(ei, "serial-mismatch", "the attestation names another serial number");
    return TD_OK;
}

/* Step 7; whether the key served another order is the caller's check. Step 6 (policy on the facts)
 * is posture's; steps 8 and 9 (store, finalize) are the caller's. */
static enum td_err step_key(struct check *c, struct errinfo *ei)
{
    const struct key *k = NULL;
    enum td_err e = cert_get_key(c->ret->leaf, &k, NULL);
    if (e == TD_NOMEM)
        return err_set(ei, e, "reading an attested key");
    if (e != TD_OK || (key_type(k) != KEY_P256 && key_type(k) != KEY_P384))
        return attest_refuse(ei, "key-unsupported", "the attested key is not EC P-256 or P-384");
    return TD_OK;
}

static const step_fn steps[] = {
    step_count,    step_parse,     step_chain,  step_dates, step_end_entity,
    step_critical, step_freshness, step_serial, step_key,
};

static enum td_err verify(struct check *c, struct errinfo *ei)
{
    for (size_t i = 0; i < TD_NITEMS(steps); i++)
        TD_TRY(steps[i](c, ei));
    return TD_OK;
}

enum td_err attest_apple(const struct attest_roots *roots, struct span att_stmt,
                         const struct attest_expect *want, struct arena *a,
                         struct attest_result *ret, struct errinfo *ei)
{
    struct check c = {.roots = roots, .want = want, .arena = a, .ret = ret};
    TD_TRY(attobj_x5c(att_stmt, c.x5c, LIMIT_X5C_COUNT, &c.n, ei));
    return verify(&c, ei);
}

enum td_err attest_apple_chain(const struct attest_roots *roots, const struct span *x5c, size_t n,
                               const struct attest_expect *want, struct arena *a,
                               struct attest_result *ret, struct errinfo *ei)
{
    struct check c = {.roots = roots, .want = want, .arena = a, .ret = ret, .n = n};
    if (n == 0)
        return attest_refuse(ei, "attestation-missing", "the device sent no attestation");
    if (n > LIMIT_X5C_COUNT)
        return attest_refuse(ei, "x5c-malformed", "over %d certificates", LIMIT_X5C_COUNT);
    for (size_t i = 0; i < n; i++) {
        if (x5c[i].n == 0 || x5c[i].n > LIMIT_X5C_CERT)
            return attest_refuse(ei, "x5c-malformed", "x5c[%zu] is no certificate", i);
        c.x5c[i] = x5c[i];
    }
    return verify(&c, ei);
}
