/* What a certificate profile asks of ACME clients, through the server's ops. */
#ifndef TD_ACME_SERVER_POLICY_H
#define TD_ACME_SERVER_POLICY_H

#include "acme/server/server_int.h"

/* TD_NOTFOUND "not-found" when the profile has no directory. The name is copied to `arena`. */
TD_NODISCARD enum td_err acme_policy_get(const struct acme *a, struct span profile,
                                         struct arena *arena, struct acme_policy *ret,
                                         struct errinfo *ei);

/* The inventory's and the profile's word in this transaction: whether that device may have such a
 * certificate. facts: JSON, NULL before the attestation. TD_FORBIDDEN "rejectedIdentifier" with the
 * reason ("device-not-listed", "profile-not-allowed", "os-too-old" ...); a fault is passed on. */
TD_NODISCARD enum td_err acme_policy_allows(const struct acme *a, struct tx *tx,
                                            const char *profile, const char *serial,
                                            const char *facts, struct errinfo *ei);

#endif
