/* What binds certificate profiles to the inventory and the enrolments: who may have one, what is
 * known of a device, which identity takes the place of which. */
#ifndef TD_WEB_SERVER_BIND_PROFILES_H
#define TD_WEB_SERVER_BIND_PROFILES_H

#include "acme/ca/profiles.h"
#include "mdm/core/core.h"
#include "web/server/bind.h"

/* The context of enroll_ops. */
struct bind_enroll {
    struct bind_identity *identity;
    struct ca_profiles *profiles;
};

/* acme_ops: a profile that is switched off has no directory. ctx is the struct ca_profiles. */
enum td_err bind_profile_policy(void *ctx, const char *profile, struct acme_policy *ret,
                                struct errinfo *ei);

/* acme_ops: whether the device may have a certificate of the profile. facts: the JSON that
 * attest_facts_json wrote, NULL before the attestation. ctx is the struct ca_profiles. */
enum td_err bind_profile_allows(void *ctx, struct tx *tx, const char *profile, const char *serial,
                                const char *facts, struct errinfo *ei);

/* acme_ops: what the inventory knows, and what the evidence says (facts as above, or NULL), for
 * the templates of the profile; in the arena. No ctx. */
enum td_err bind_device_facts(void *ctx, struct tx *tx, const char *serial, const char *facts,
                              struct arena *a, struct profile_facts *ret, struct errinfo *ei);

/* enroll_ops; ctx is the struct bind_enroll. */
enum td_err bind_enroll_sign(void *ctx, struct span content, struct arena *a, struct span *ret,
                             struct errinfo *ei);
enum td_err bind_client_id_renewal(void *ctx, struct tx *tx, const char *id, const char *serial,
                                   const char *profile, struct span renews, int64_t now,
                                   int64_t expires, struct errinfo *ei);
enum td_err bind_enroll_allows(void *ctx, struct tx *tx, const char *profile, bool access,
                               const char *serial, struct errinfo *ei);
enum td_err bind_profile_newest(void *ctx, struct tx *tx, const char *serial, const char *profile,
                                struct arena *a, struct span *ret, struct errinfo *ei);

/* core_ops.cert_renewed; no ctx. */
enum td_err bind_cert_renewed(void *ctx, struct tx *tx, const uint8_t old[static SHA256_SIZE],
                              const uint8_t renewed[static SHA256_SIZE], int64_t now,
                              const char *txn, struct errinfo *ei);

#endif
