#include "acme/server/nonce.h"

#include <pthread.h>
#include <stdlib.h>

#define SHARDS 16
#define KEY_SIZE 16
#define NIL UINT32_MAX

/* One live nonce: in a hash chain, and in a list by age (a constant lifetime makes age order the
 * order of expiry). Free slots are chained through `next`. */
struct slot {
    uint8_t key[KEY_SIZE];
    int64_t expires; /* monotonic, ms */
    uint32_t next, older, newer;
};

struct shard {
    pthread_mutex_t lock;
    struct slot *slots;
    uint32_t *buckets;
    uint32_t free, used; /* head of the free list; slots ever used */
    uint32_t oldest, newest;
};

struct nonces {
    struct nonce_ops ops;
    const struct clock *clock;
    struct rng *rng;
    int64_t ttl_ms;
    uint32_t cap, mask; /* slots of a shard; its buckets - 1 */
    struct shard shards[SHARDS];
};

static int digit(uint8_t c)
{
    static const char abc[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const char *at = c ? strchr(abc, c) : NULL;
    return at ? (int)(at - abc) : -1;
}

/* 22 characters to 16 bytes, strictly: one text for each key. */
static bool decode(struct span s, uint8_t key[static KEY_SIZE])
{
    uint32_t v = 0;
    unsigned bits = 0;
    size_t n = 0;
    if (s.n != NONCE_SIZE - 1)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        int d = digit(s.p[i]);
        if (d < 0)
            return false;
        v = v << 6 | (uint32_t)d;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            key[n++] = (uint8_t)(v >> bits);
        }
    }
    return n == KEY_SIZE && (v & 15) == 0;
}

static uint32_t *bucket(const struct nonces *ns, struct shard *sh, const uint8_t *key)
{
    uint32_t h;
    memcpy(&h, key + 1, sizeof h); /* random already */
    return &sh->buckets[h & ns->mask];
}

static void age_unlink(struct shard *sh, struct slot *s)
{
    if (s->older != NIL)
        sh->slots[s->older].newer = s->newer;
    else
        sh->oldest = s->newer;
    if (s->newer != NIL)
        sh->slots[s->newer].older = s->older;
    else
        sh->newest = s->older;
}

/* Takes a slot out of its chain and of the age list and frees it. `link` points to its index. */
static void drop(struct shard *sh, uint32_t *link)
{
    uint32_t i = *link;
    *link = sh->slots[i].next;
    age_unlink(sh, &sh->slots[i]);
    sh->slots[i].next = sh->free;
    sh->free = i;
}

static uint32_t *find(const struct nonces *ns, struct shard *sh, const uint8_t *key)
{
    uint32_t *link = bucket(ns, sh, key);
    while (*link != NIL && memcmp(sh->slots[*link].key, key, KEY_SIZE) != 0)
        link = &sh->slots[*link].next;
    return link;
}

static uint32_t slot_get(const struct nonces *ns, struct shard *sh, int64_t now)
{
    bool full = sh->free == NIL && sh->used == ns->cap;
    if (sh->oldest != NIL && (full || sh->slots[sh->oldest].expires <= now))
        drop(sh, find(ns, sh, sh->slots[sh->oldest].key));
    if (sh->free == NIL)
        return sh->used++;
    uint32_t i = sh->free;
    sh->free = sh->slots[i].next;
    return i;
}

static void issue(void *ctx, char out[static NONCE_SIZE])
{
    struct nonces *ns = ctx;
    uint8_t key[KEY_SIZE];
    rng_id(ns->rng, out);
    (void)decode(span_of(out, NONCE_SIZE - 1), key);
    struct shard *sh = &ns->shards[key[0] % SHARDS];
    int64_t now = clock_mono(ns->clock);
    pthread_mutex_lock(&sh->lock);
    uint32_t i = slot_get(ns, sh, now);
    uint32_t *b = bucket(ns, sh, key);
    struct slot *s = &sh->slots[i];
    memcpy(s->key, key, KEY_SIZE);
    s->expires = now + ns->ttl_ms;
    s->next = *b;
    s->older = sh->newest;
    s->newer = NIL;
    *b = i;
    if (sh->newest != NIL)
        sh->slots[sh->newest].newer = i;
    else
        sh->oldest = i;
    sh->newest = i;
    pthread_mutex_unlock(&sh->lock);
}

static bool take(void *ctx, struct span nonce)
{
    struct nonces *ns = ctx;
    uint8_t key[KEY_SIZE];
    if (!decode(nonce, key))
        return false;
    struct shard *sh = &ns->shards[key[0] % SHARDS];
    int64_t now = clock_mono(ns->clock);
    bool live = false;
    pthread_mutex_lock(&sh->lock);
    uint32_t *link = find(ns, sh, key);
    if (*link != NIL) {
        live = sh->slots[*link].expires > now;
        drop(sh, link);
    }
    pthread_mutex_unlock(&sh->lock);
    return live;
}

static void free_all(const struct nonce_ops *ops)
{
    struct nonces *ns = ops->ctx;
    for (size_t i = 0; i < SHARDS; i++) {
        free(ns->shards[i].slots);
        free(ns->shards[i].buckets);
        pthread_mutex_destroy(&ns->shards[i].lock);
    }
    free(ns);
}

/* Slots and buckets are taken at once, so that issuing cannot fail; the kernel gives the pages as
 * they are touched. */
static bool shard_init(const struct nonces *ns, struct shard *sh)
{
    pthread_mutex_init(&sh->lock, NULL);
    sh->free = sh->oldest = sh->newest = NIL;
    sh->slots = calloc(ns->cap, sizeof *sh->slots);
    sh->buckets = malloc(((size_t)ns->mask + 1) * sizeof *sh->buckets);
    if (!sh->slots || !sh->buckets)
        return false;
    memset(sh->buckets, 0xff, ((size_t)ns->mask + 1) * sizeof *sh->buckets);
    return true;
}

enum td_err nonce_memory_new(const struct clock *clock, struct rng *rng, int64_t ttl, size_t max,
                             const struct nonce_ops **ret, struct errinfo *ei)
{
    if (max < SHARDS || max > UINT32_MAX / 2 || ttl <= 0)
        return err_set(ei, TD_INVAL, "nonces: %zu at most, for %lld s", max, (long long)ttl);
    struct nonces *ns = calloc(1, sizeof *ns);
    if (!ns)
        return err_set(ei, TD_NOMEM, "nonces");
    ns->ops = (struct nonce_ops){ns, issue, take, free_all};
    ns->clock = clock;
    ns->rng = rng;
    ns->ttl_ms = ttl * 1000;
    ns->cap = (uint32_t)(max / SHARDS);
    for (ns->mask = 15; ns->mask < ns->cap; ns->mask = ns->mask << 1 | 1)
        ;
    bool ok = true;
    for (size_t i = 0; i < SHARDS; i++)
        ok &= shard_init(ns, &ns->shards[i]);
    if (!ok) {
        free_all(&ns->ops);
        return err_set(ei, TD_NOMEM, "nonces");
    }
    *ret = &ns->ops;
    return TD_OK;
}

void nonce_close(const struct nonce_ops *ops)
{
    if (ops)
        ops->close(ops);
}
