#include "acme/ca/ocsp_cache.h"

#include <pthread.h>
#include <stdlib.h>

#define WAYS 4
#define LOCKS 64

struct item {
    uint64_t hash, used; /* used: the set's clock at the last use; 0 = empty */
    enum ocsp_status status;
    int reason;
    int64_t revoked_at, this_update, next_update;
    uint8_t *bytes; /* CertID, then the answer */
    size_t nid, nder;
};

struct set {
    struct item items[WAYS];
    uint64_t clock;
};

struct ocsp_cache {
    uint64_t seed;
    size_t nsets;
    pthread_mutex_t locks[LOCKS];
    struct set sets[];
};

enum td_err ocsp_cache_new(size_t entries, struct rng *rng, struct ocsp_cache **ret)
{
    size_t nsets = entries / WAYS;
    if (entries < LOCKS || (entries & (entries - 1)) != 0)
        return TD_INVAL;
    struct ocsp_cache *c = calloc(1, sizeof *c + nsets * sizeof c->sets[0]);
    if (!c)
        return TD_NOMEM;
    c->nsets = nsets;
    rng_fill(rng, &c->seed, sizeof c->seed);
    for (size_t i = 0; i < LOCKS; i++)
        pthread_mutex_init(&c->locks[i], NULL);
    *ret = c;
    return TD_OK;
}

void ocsp_cache_free(struct ocsp_cache *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->nsets; i++)
        for (size_t w = 0; w < WAYS; w++)
            free(c->sets[i].items[w].bytes);
    for (size_t i = 0; i < LOCKS; i++)
        pthread_mutex_destroy(&c->locks[i]);
    free(c);
}

static uint64_t mix(uint64_t h)
{
    h ^= h >> 32;
    h *= UINT64_C(0xd6e8feb86659fd93);
    h ^= h >> 29;
    return h;
}

/* Eight bytes a step. The seed is secret; entries are compared in full all the same. */
static uint64_t hash_of(const struct ocsp_cache *c, struct span s)
{
    uint64_t h = c->seed ^ s.n;
    for (size_t i = 0; i < s.n; i += sizeof h) {
        uint64_t word = 0;
        memcpy(&word, s.p + i, s.n - i < sizeof word ? s.n - i : sizeof word);
        h = mix((h ^ word) * UINT64_C(0x9e3779b97f4a7c15));
    }
    return mix(h ^ c->seed);
}

static bool is_for(const struct item *it, uint64_t hash, const struct ocsp_single *s)
{
    return it->used != 0 && it->hash == hash && span_eq(span_of(it->bytes, it->nid), s->certid_der);
}

static bool same_status(const struct item *it, const struct ocsp_single *s)
{
    return it->status == s->status && it->revoked_at == s->revoked_at && it->reason == s->reason;
}

bool ocsp_cache_get(struct ocsp_cache *c, const struct ocsp_single *want, int64_t now,
                    struct arena *a, struct span *ret_der, int64_t *ret_this, int64_t *ret_next)
{
    uint64_t h = hash_of(c, want->certid_der);
    size_t n = h & (c->nsets - 1);
    struct set *set = &c->sets[n];
    struct span der = {NULL, 0};
    pthread_mutex_lock(&c->locks[n % LOCKS]);
    for (size_t w = 0; w < WAYS; w++) {
        struct item *it = &set->items[w];
        if (!is_for(it, h, want))
            continue;
        int64_t half = it->this_update + (it->next_update - it->this_update) / 2;
        if (!same_status(it, want) || now < it->this_update || now >= half)
            break;
        it->used = ++set->clock;
        der = arena_span(a, span_of(it->bytes + it->nid, it->nder));
        *ret_this = it->this_update;
        *ret_next = it->next_update;
        break;
    }
    pthread_mutex_unlock(&c->locks[n % LOCKS]);
    if (der.p)
        *ret_der = der;
    return der.p != NULL;
}

/* The entry of the same CertID, else the one used longest ago. */
static struct item *victim(struct set *set, uint64_t h, const struct ocsp_single *s)
{
    struct item *oldest = &set->items[0];
    for (size_t w = 0; w < WAYS; w++) {
        if (is_for(&set->items[w], h, s))
            return &set->items[w];
        if (set->items[w].used < oldest->used)
            oldest = &set->items[w];
    }
    return oldest;
}

void ocsp_cache_put(struct ocsp_cache *c, const struct ocsp_single *s, struct span der)
{
    size_t nid = s->certid_der.n;
    if (nid == 0 || der.n == 0 || nid + der.n > OCSP_CACHE_ITEM_MAX)
        return;
    uint8_t *bytes = malloc(nid + der.n);
    if (!bytes)
        return;
    memcpy(bytes, s->certid_der.p, nid);
    memcpy(bytes + nid, der.p, der.n);
    uint64_t h = hash_of(c, s->certid_der);
    size_t n = h & (c->nsets - 1);
    struct set *set = &c->sets[n];
    pthread_mutex_lock(&c->locks[n % LOCKS]);
    struct item *it = victim(set, h, s);
    uint8_t *old = it->bytes;
    *it = (struct item){.hash = h,
                        .used = ++set->clock,
                        .status = s->status,
                        .reason = s->reason,
                        .revoked_at = s->revoked_at,
                        .this_update = s->this_update,
                        .next_update = s->next_update,
                        .bytes = bytes,
                        .nid = nid,
                        .nder = der.n};
    pthread_mutex_unlock(&c->locks[n % LOCKS]);
    free(old);
}
