/* Signed OCSP answers without a nonce, kept until half of their window. What may be answered is
 * decided by the database on every request; an entry made for another status does not count.
 * Bounded; any thread. */
#ifndef TD_ACME_CA_OCSP_CACHE_H
#define TD_ACME_CA_OCSP_CACHE_H

#include "mdm/base/arena.h"
#include "mdm/base/rng.h"
#include "mdm/crypt/ocsp.h"

#define OCSP_CACHE_ENTRIES 65536
#define OCSP_CACHE_ITEM_MAX 4096 /* CertID and answer; larger ones are not kept */

struct ocsp_cache;

/* `entries` is a power of two, at least 64. The generator seeds the hash, so that nobody outside
 * can choose what collides. */
TD_NODISCARD enum td_err ocsp_cache_new(size_t entries, struct rng *rng, struct ocsp_cache **ret);
void ocsp_cache_free(struct ocsp_cache *c); /* NULL is fine */

/* The answer for this status (its CertID is the key), when there is one that is good at `now`: a
 * copy in the arena and its times. */
bool ocsp_cache_get(struct ocsp_cache *c, const struct ocsp_single *want, int64_t now,
                    struct arena *a, struct span *ret_der, int64_t *ret_this, int64_t *ret_next);

/* Keeps a copy; the least recently used of its set goes. A failure to allocate is no error. */
void ocsp_cache_put(struct ocsp_cache *c, const struct ocsp_single *s, struct span der);

#endif
