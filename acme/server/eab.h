/* External account binding (RFC 8555 section 7.3.4): keys that an administrator hands out, each for
 * one account.
 *
 * The MAC needs the secret itself, so no hash will do. It lies sealed in the database from the
 * making of the key until it binds an account, and no longer: binding and revoking erase it, and an
 * expired key is deleted. */
#ifndef TD_ACME_SERVER_EAB_H
#define TD_ACME_SERVER_EAB_H

#include "acme/server/server_int.h"

#define ACME_EAB_SECRET 32 /* bytes */

/* Seals a new key's secret for its row; *ret lives in the arena. */
TD_NODISCARD enum td_err acme_eab_seal(const struct seal *seal, const char *id,
                                       const uint8_t secret[static ACME_EAB_SECRET],
                                       struct rng *rng, struct arena *a, struct span *ret,
                                       struct errinfo *ei);

/* A binding whose MAC was verified. */
struct acme_eab {
    const char *key_id; /* in the request's arena */
};

/* Verifies the member of a newAccount payload: HS256 with a key of ours that is free, the url of
 * the request, and the very key that signs the request as its payload. Reasons "jws-malformed",
 * "eab-url", "eab-payload" (malformed); "eab-unknown", "eab-used", "eab-ended", "eab-profile",
 * "eab-mac" (unauthorized). Opens a read transaction. */
TD_NODISCARD enum td_err acme_eab_verify(const struct acme_call *c, const struct json *binding,
                                         struct acme_eab *ret, struct errinfo *ei);

/* Spends the key on an account and erases its secret; "eab-used" or "eab-ended" when another
 * request was faster. */
TD_NODISCARD enum td_err acme_eab_bind(struct tx *tx, const struct acme_eab *b,
                                       const char *account_id, int64_t now, struct errinfo *ei);

#endif
