#include "web/server/bind_profiles.h"

#include "acme/ca/client_id.h"
#include "acme/ca/renewal.h"
#include "mdm/base/metrics.h"
#include "mdm/wire/json.h"

#define ARENA_MAX ((size_t)256 * 1024)

/* The texts of enum profile_fact_id as attest_facts_json names them. */
static const struct {
    enum profile_fact_id id;
    const char *member;
} attested[] = {
    {FACT_SERIAL, "serial"},
    {FACT_UDID, "udid"},
    {FACT_MODEL, "sw_update_id"},
    {FACT_OS_VERSION, "os_version"},
    {FACT_SEPOS_VERSION, "sepos_version"},
    {FACT_LLB_VERSION, "llb_version"},
    {FACT_SIP, "sip"},
    {FACT_SECURE_BOOT, "secure_boot"},
    {FACT_KEXTS, "kexts"},
};

static enum td_err take_evidence(const char *facts, struct arena *a, struct profile_facts *ret,
                                 struct errinfo *ei)
{
    struct json *root;
    TD_TRY(json_parse(span_str(facts), a, &root, ei));
    for (size_t i = 0; i < TD_NITEMS(attested); i++) {
        const char *text = json_str(json_member(root, attested[i].member));
        if (text && strlen(text) <= PROFILE_FACT_VALUE_MAX)
            profile_fact_set(ret, attested[i].id, span_str(text), FACT_FROM_EVIDENCE);
    }
    return TD_OK;
}

enum td_err bind_device_facts(void *ctx, struct tx *tx, const char *serial, const char *facts,
                              struct arena *a, struct profile_facts *ret, struct errinfo *ei)
{
    struct inv_device d;
    (void)ctx;
    *ret = (struct profile_facts){0};
    TD_TRY(inv_get(tx, serial, a, &d, ei));
    const struct {
        enum profile_fact_id id;
        const char *text;
    } known[] = {{FACT_SERIAL, d.serial},
                 {FACT_OWNER, d.owner},
                 {FACT_NAME, d.name},
                 {FACT_GROUPS, d.groups}};
    for (size_t i = 0; i < TD_NITEMS(known); i++)
        profile_fact_set(ret, known[i].id, span_str(known[i].text), FACT_FROM_INVENTORY);
    return facts ? take_evidence(facts, a, ret, ei) : TD_OK;
}

enum td_err bind_profile_policy(void *ctx, const char *profile, struct acme_policy *ret,
                                struct errinfo *ei)
{
    struct ca_profile p;
    if (ca_profiles_get(ctx, profile, &p) != TD_OK || !p.enabled)
        return err_set(ei, TD_NOTFOUND, "no such certificate profile");
    *ret =
        (struct acme_policy){.eab_required = p.eab_required, .renew_permille = (int)p.renew * 10};
    _Static_assert(sizeof p.hardware <= sizeof ret->hardware, "an OID fits");
    memcpy(ret->hardware, p.hardware, sizeof p.hardware);
    return TD_OK;
}

/* The product is the device's own word at check-in; before it enrolled there is the inventory's. */
static enum td_err product_of(struct tx *tx, const char *serial, struct arena *a, const char **ret,
                              struct errinfo *ei)
{
    struct core_enrollment v = {0};
    enum td_err e = core_enrollment_get(tx, serial, a, &v, ei);
    *ret = e == TD_OK ? v.product : "";
    return e == TD_NOTFOUND ? TD_OK : e;
}

enum td_err bind_profile_allows(void *ctx, struct tx *tx, const char *profile, const char *serial,
                                const char *facts, struct errinfo *ei)
{
    struct ca_profiles *profiles = ctx;
    arena_auto a;
    arena_init(&a, ARENA_MAX);
    struct inv_device d;
    struct profile_facts known = {0};
    const char *product;
    TD_TRY(inv_get(tx, serial, &a, &d, ei));
    TD_TRY(product_of(tx, serial, &a, &product, ei));
    if (facts)
        TD_TRY(take_evidence(facts, &a, &known, ei));
    const struct ca_candidate c = {
        .platform = inv_platform(product, d.model),
        .groups = span_str(d.groups),
        .attested = facts != NULL,
        .os_version = known.of[FACT_OS_VERSION].value,
    };
    return ca_profiles_allows(profiles, tx, profile, &c, ei);
}

enum td_err bind_enroll_sign(void *ctx, struct span content, struct arena *a, struct span *ret,
                             struct errinfo *ei)
{
    const struct bind_enroll *b = ctx;
    return bind_sign(b->identity, content, a, ret, ei);
}

enum td_err bind_client_id_renewal(void *ctx, struct tx *tx, const char *id, const char *serial,
                                   const char *profile, struct span renews, int64_t now,
                                   int64_t expires, struct errinfo *ei)
{
    (void)ctx;
    return client_id_add_renewal(tx, id, serial, profile, renews, now, expires, ei);
}

enum td_err bind_enroll_allows(void *ctx, struct tx *tx, const char *profile, bool access,
                               const char *serial, struct errinfo *ei)
{
    const struct bind_enroll *b = ctx;
    struct ca_profile p;
    if (ca_profiles_get(b->profiles, profile, &p) != TD_OK || p.access != access)
        return err_reason(ei, TD_NOTFOUND, "profile-unknown", "no such %s profile",
                          access ? "access" : "management");
    return bind_profile_allows(b->profiles, tx, profile, serial, NULL, ei);
}

enum td_err bind_profile_newest(void *ctx, struct tx *tx, const char *serial, const char *profile,
                                struct arena *a, struct span *ret, struct errinfo *ei)
{
    (void)ctx;
    return ca_renewal_newest(tx, serial, profile, a, ret, ei);
}

enum td_err bind_cert_renewed(void *ctx, struct tx *tx, const uint8_t old[static SHA256_SIZE],
                              const uint8_t renewed[static SHA256_SIZE], int64_t now,
                              const char *txn, struct errinfo *ei)
{
    (void)ctx;
    int64_t revoked = 0;
    TD_TRY(ca_renewal_used(tx, old, renewed, now, txn, &revoked, ei));
    metrics_add(METRIC_CERTS_REVOKED, revoked);
    return TD_OK;
}
