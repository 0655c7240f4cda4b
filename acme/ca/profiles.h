/* The certificate profiles there are: their content as the CA directory says (and the signer
 * enforces), their policy as the database says. The truth for directories, purposes and renewal. */
#ifndef TD_ACME_CA_PROFILES_H
#define TD_ACME_CA_PROFILES_H

#include "acme/ca/profile_policy.h"
#include "acme/signer/proto/profile_conf.h"
#include "mdm/base/rng.h"

struct ca_profiles; /* any thread */

/* Reads the files below ca_dir and the policies. The store must outlive it. */
TD_NODISCARD enum td_err ca_profiles_open(const char *ca_dir, struct store *store,
                                          const struct clock *clock, struct rng *rng,
                                          struct ca_profiles **ret, struct errinfo *ei);
void ca_profiles_close(struct ca_profiles *ps);

/* The files again, as the signer does when it is started anew; on error the old ones stay. */
TD_NODISCARD enum td_err ca_profiles_reload(struct ca_profiles *ps, struct errinfo *ei);

/* The policies again: what other nodes changed. */
TD_NODISCARD enum td_err ca_profiles_refresh(struct ca_profiles *ps, struct errinfo *ei);

/* What is asked often, without waiting for anything. The policy is as this node saw it last:
 * whoever issues asks ca_profiles_allows, which reads it anew. */
struct ca_profile {
    bool access; /* purpose: access, else management */
    bool attestation, enabled, eab_required;
    int64_t renew;                  /* percent of the life */
    char hardware[PROFILE_OID_MAX]; /* hwType of its HardwareModuleName; "" */
};
TD_NODISCARD enum td_err ca_profiles_get(struct ca_profiles *ps, const char *name,
                                         struct ca_profile *ret);

/* Whether the device may have such a certificate at this moment, in the caller's transaction.
 * TD_FORBIDDEN as ca_policy_allows, and "profile-unknown". */
TD_NODISCARD enum td_err ca_profiles_allows(struct ca_profiles *ps, struct tx *tx, const char *name,
                                            const struct ca_candidate *c, struct errinfo *ei);

/* Sets a policy and refreshes. TD_NOTFOUND: no such profile. */
TD_NODISCARD enum td_err ca_profiles_set(struct ca_profiles *ps, const char *name,
                                         struct ca_policy *p, int64_t if_match, const char *actor,
                                         struct errinfo *ei);

/* Calls fn for each profile by name, or for that one (TD_NOTFOUND); it must not call back. */
enum td_err ca_profiles_each(struct ca_profiles *ps, const char *only,
                             void (*fn)(void *ctx, const struct profile_conf *conf,
                                        const struct ca_policy *policy),
                             void *ctx);

#endif
