/* Parsed account keys, so that the signed requests of one enrolment parse the key once. What is
 * kept may be old, as another node can change an account's key: whether the account stands and
 * still has this key is asked of the database with every request. Bounded; any thread. */
#ifndef TD_ACME_SERVER_KEYCACHE_H
#define TD_ACME_SERVER_KEYCACHE_H

#include "mdm/crypt/key.h"

struct keycache;

/* Holds `entries` keys, rounded up to a power of two and at least 64. */
TD_NODISCARD enum td_err keycache_new(size_t entries, struct keycache **ret, struct errinfo *ei);
void keycache_free(struct keycache *c);

/* A reference (key_free) and the key's thumbprint, or NULL. `id` has 22 characters. */
struct key *keycache_get(struct keycache *c, struct span id,
                         uint8_t thumbprint[static SHA256_SIZE]);

/* Remembers a key (taking a reference of its own); it takes the place of an older one of that id.
 */
void keycache_put(struct keycache *c, struct span id, struct key *k,
                  const uint8_t thumbprint[static SHA256_SIZE]);

#endif
