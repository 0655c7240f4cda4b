/* Signed OCSP answers without a nonce, kept until half of their window. What may be answered is
 * decided by the database: an entry made for another status does not count, and one is believed
 * without a look there only while store_epoch says that no status changed. Bounded; any thread. */
#ifndef TD_ACME_CA_OCSP_CACHE_H
#define TD_ACME_CA_OCSP_CACHE_H

#include "mdm/base/arena.h"
#include "mdm/base/rng.h"
#include "mdm/crypt/ocsp.h"

#define OCSP_CACHE_ENTRIES 65536
#define OCSP_CACHE_ITEM_MAX 4096 /* CertID and answer; larger ones are not kept */

#define OCSP_ETAG_SIZE (2 * SHA256_SIZE + 3)
#define OCSP_DATE_SIZE 32

struct ocsp_cache;

/* An answer with what its HTTP headers need (RFC 5019 section 6.2). */
struct ocsp_answer {
    struct span der;
    bool cacheable; /* the rest holds */
    int64_t this_update, next_update;
    struct ocsp_text {
        char etag[OCSP_ETAG_SIZE], this_update[OCSP_DATE_SIZE], next_update[OCSP_DATE_SIZE];
    } text;
};

/* `entries` is a power of two, at least 64. The generator seeds the hash, so that nobody outside
 * can choose what collides. */
TD_NODISCARD enum td_err ocsp_cache_new(size_t entries, struct rng *rng, struct ocsp_cache **ret);
void ocsp_cache_free(struct ocsp_cache *c); /* NULL is fine */

/* The answer for that CertID, when there is one good at `now` whose status was last looked up in
 * the same epoch (not 0): a copy in the arena. */
bool ocsp_cache_fresh(struct ocsp_cache *c, struct span certid_der, uint64_t epoch, int64_t now,
                      struct arena *a, struct ocsp_answer *ret);

/* The answer for this status (its CertID is the key), which was looked up behind `epoch`. */
bool ocsp_cache_get(struct ocsp_cache *c, const struct ocsp_single *want, uint64_t epoch,
                    int64_t now, struct arena *a, struct ocsp_answer *ret);

/* Keeps a copy of the answer made for that status, in any case until `until`; the least recently
 * used of its set goes. A failure to allocate is no error. */
void ocsp_cache_put(struct ocsp_cache *c, const struct ocsp_single *s, uint64_t epoch,
                    int64_t until, const struct ocsp_answer *ans);

#endif
