#include "acme/ca/ocsp_cache.h"

#include <pthread.h>
#include <stdlib.h>

#define WAYS 4
#define LOCKS 64

struct item {
    uint64_t hash, used; /* used: the set's clock at the last use; 0 = empty */
    enum ocsp_status status;
    int reason;
    int64_t revoked_at, this_update, next_update, until;
    uint64_t epoch; /* in which the status was found so */
    struct kept *kept;
    size_t nid, nder;
};

struct kept {
    struct ocsp_text text;
    uint8_t bytes[]; /* CertID, then the answer */
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
            free(c->sets[i].items[w].kept);
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

static bool is_for(const struct item *it, uint64_t hash, struct span certid)
{
    return it->used != 0 && it->hash == hash && span_eq(span_of(it->kept->bytes, it->nid), certid);
}

static bool same_status(const struct item *it, const struct ocsp_single *s)
{
    return it->status == s->status && it->revoked_at == s->revoked_at && it->reason == s->reason;
}

static bool in_time(const struct item *it, int64_t now)
{
    int64_t half = it->this_update + (it->next_update - it->this_update) / 2;
    return now >= it->this_update && now < half && now <= it->until;
}

static bool take(struct set *set, struct item *it, struct arena *a, struct ocsp_answer *ret)
{
    struct span der = arena_span(a, span_of(it->kept->bytes + it->nid, it->nder));
    if (!der.p)
        return false;
    it->used = ++set->clock;
    *ret = (struct ocsp_answer){.der = der,
                                .cacheable = true,
                                .this_update = it->this_update,
                                .next_update = it->next_update,
                                .text = it->kept->text};
    return true;
}

/* `want` NULL: whatever was found in this epoch. */
static bool find(struct ocsp_cache *c, struct span certid, const struct ocsp_single *want,
                 uint64_t epoch, int64_t now, struct arena *a, struct ocsp_answer *ret)
{
    uint64_t h = hash_of(c, certid);
    size_t n = h & (c->nsets - 1);
    struct set *set = &c->sets[n];
    bool found = false;
    pthread_mutex_lock(&c->locks[n % LOCKS]);
    for (size_t w = 0; w < WAYS; w++) {
        struct item *it = &set->items[w];
        if (!is_for(it, h, certid))
            continue;
        bool right = want ? same_status(it, want) : epoch != 0 && it->epoch == epoch;
        if (right && want)
            it->epoch = epoch;
        found = right && in_time(it, now) && take(set, it, a, ret);
        break;
    }
    pthread_mutex_unlock(&c->locks[n % LOCKS]);
    return found;
}

bool ocsp_cache_fresh(struct ocsp_cache *c, struct span certid_der, uint64_t epoch, int64_t now,
                      struct arena *a, struct ocsp_answer *ret)
{
    return find(c, certid_der, NULL, epoch, now, a, ret);
}

bool ocsp_cache_get(struct ocsp_cache *c, const struct ocsp_single *want, uint64_t epoch,
                    int64_t now, struct arena *a, struct ocsp_answer *ret)
{
    return find(c, want->certid_der, want, epoch, now, a, ret);
}

/* The entry of the same CertID, else the one used longest ago. */
static struct item *victim(struct set *set, uint64_t h, struct span certid)
{
    struct item *oldest = &set->items[0];
    for (size_t w = 0; w < WAYS; w++) {
        if (is_for(&set->items[w], h, certid))
            return &set->items[w];
        if (set->items[w].used < oldest->used)
            oldest = &set->items[w];
    }
    return oldest;
}

void ocsp_cache_put(struct ocsp_cache *c, const struct ocsp_single *s, uint64_t epoch,
                    int64_t until, const struct ocsp_answer *ans)
{
    size_t nid = s->certid_der.n, nder = ans->der.n;
    if (nid == 0 || nder == 0 || nid + nder > OCSP_CACHE_ITEM_MAX)
        return;
    struct kept *k = malloc(sizeof *k + nid + nder);
    if (!k)
        return;
    k->text = ans->text;
    memcpy(k->bytes, s->certid_der.p, nid);
    memcpy(k->bytes + nid, ans->der.p, nder);
    uint64_t h = hash_of(c, s->certid_der);
    size_t n = h & (c->nsets - 1);
    struct set *set = &c->sets[n];
    pthread_mutex_lock(&c->locks[n % LOCKS]);
    struct item *it = victim(set, h, s->certid_der);
    struct kept *old = it->kept;
    *it = (struct item){.hash = h,
                        .used = ++set->clock,
                        .status = s->status,
                        .reason = s->reason,
                        .revoked_at = s->revoked_at,
                        .this_update = s->this_update,
                        .next_update = s->next_update,
                        .until = until,
                        .epoch = epoch,
                        .kept = k,
                        .nid = nid,
                        .nder = nder};
    pthread_mutex_unlock(&c->locks[n % LOCKS]);
    free(old);
}
