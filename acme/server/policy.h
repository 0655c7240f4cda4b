/* What a certificate profile asks of ACME clients, through the server's ops. */
#ifndef TD_ACME_SERVER_POLICY_H
#define TD_ACME_SERVER_POLICY_H

#include "acme/server/server_int.h"

/* TD_NOTFOUND "not-found" when the profile has no directory. The name is copied to `arena`. */
TD_NODISCARD enum td_err acme_policy_get(const struct acme *a, struct span profile,
                                         struct arena *arena, struct acme_policy *ret,
                                         struct errinfo *ei);

/* draft-ietf-acme-device-attest section 4: who orders a hardware-module gets a certificate that
 * names it. TD_FORBIDDEN "rejectedIdentifier" with "hardware-type" when the profile's certificates
 * name none, or another hwType. */
TD_NODISCARD enum td_err acme_policy_names(const struct acme_policy *p, const char *id_type,
                                           const char *identifier, struct errinfo *ei);

/* The inventory's and the profile's word in this transaction: whether that device may have such a
 * certificate. facts: JSON, NULL before the attestation. TD_FORBIDDEN "rejectedIdentifier" with the
 * reason ("device-not-listed", "profile-not-allowed", "os-too-old" ...); a fault is passed on. */
TD_NODISCARD enum td_err acme_policy_allows(const struct acme *a, struct tx *tx,
                                            const char *profile, const char *serial,
                                            const char *facts, struct errinfo *ei);

/* Tells ops.device_told. */
TD_NODISCARD enum td_err acme_tell(const struct acme *a, struct tx *tx, const struct acme_news *n,
                                   struct errinfo *ei);

#endif
