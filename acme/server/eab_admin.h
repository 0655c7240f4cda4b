/* The administrator's side of external account binding. */
#ifndef TD_ACME_SERVER_EAB_ADMIN_H
#define TD_ACME_SERVER_EAB_ADMIN_H

#include "mdm/base/rng.h"
#include "mdm/store/store.h"

/* A key without its secret. Strings live in the arena it was read into. */
struct acme_eab_key {
    const char *id, *name, *profile;                      /* profile "": any */
    const char *account_id;                               /* NULL until it binds one */
    int64_t created_at, expires_at, bound_at, revoked_at; /* the last two 0 when not */
};

/* Makes a key: id (22 characters) and secret come from the caller, drawn and sealed (acme_eab_seal)
 * before the transaction. Writes the audit trail. */
TD_NODISCARD enum td_err acme_eab_add(struct tx *tx, const struct acme_eab_key *k,
                                      struct span sealed, const char *actor, struct errinfo *ei);

/* By id, behind `after` ("" for the first), at most `max`. */
TD_NODISCARD enum td_err acme_eab_list(struct tx *tx, const char *after, size_t max,
                                       struct arena *a, struct acme_eab_key **ret, size_t *ret_n,
                                       struct errinfo *ei);

/* Ends a key, and deactivates the account that it bound. Harmless when it is revoked already;
 * TD_NOTFOUND. Writes the audit trail. */
TD_NODISCARD enum td_err acme_eab_revoke(struct tx *tx, const char *id, int64_t now,
                                         const char *actor, struct errinfo *ei);

#endif
