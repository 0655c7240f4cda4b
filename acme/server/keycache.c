#include "acme/server/keycache.h"

#include <pthread.h>
#include <stdlib.h>

#include "mdm/base/rng.h"

#define WAYS 4
#define LOCKS 16
#define ID_LEN (RNG_ID_SIZE - 1)

struct entry {
    char id[ID_LEN];
    uint8_t thumbprint[SHA256_SIZE];
    struct key *key;
};

/* Set-associative: an id has one set, a set keeps its newest entries in front. */
struct keycache {
    pthread_mutex_t locks[LOCKS];
    size_t mask; /* sets - 1 */
    struct entry entries[][WAYS];
};

enum td_err keycache_new(size_t entries, struct keycache **ret, struct errinfo *ei)
{
    size_t sets = LOCKS;
    while (sets * WAYS < entries)
        sets *= 2;
    struct keycache *c = calloc(1, sizeof *c + sets * sizeof c->entries[0]);
    if (!c)
        return err_set(ei, TD_NOMEM, "account keys");
    for (size_t i = 0; i < LOCKS; i++)
        pthread_mutex_init(&c->locks[i], NULL);
    c->mask = sets - 1;
    *ret = c;
    return TD_OK;
}

void keycache_free(struct keycache *c)
{
    if (!c)
        return;
    for (size_t i = 0; i <= c->mask; i++)
        for (size_t w = 0; w < WAYS; w++)
            key_free(c->entries[i][w].key);
    for (size_t i = 0; i < LOCKS; i++)
        pthread_mutex_destroy(&c->locks[i]);
    free(c);
}

/* FNV-1a; ids are random and of our making. */
static size_t set_of(const struct keycache *c, struct span id)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < id.n; i++)
        h = (h ^ id.p[i]) * 16777619u;
    return (h ^ h >> 16) & c->mask;
}

struct key *keycache_get(struct keycache *c, struct span id, uint8_t thumbprint[static SHA256_SIZE])
{
    if (id.n != ID_LEN)
        return NULL;
    size_t set = set_of(c, id);
    struct key *found = NULL;
    pthread_mutex_lock(&c->locks[set % LOCKS]);
    for (size_t w = 0; w < WAYS && !found; w++) {
        struct entry *e = &c->entries[set][w];
        if (e->key && memcmp(e->id, id.p, ID_LEN) == 0) {
            found = key_ref(e->key);
            memcpy(thumbprint, e->thumbprint, SHA256_SIZE);
        }
    }
    pthread_mutex_unlock(&c->locks[set % LOCKS]);
    return found;
}

/* The entry to give up: the id's own, else the oldest. */
static size_t victim(const struct entry *e, struct span id)
{
    for (size_t w = 0; w < WAYS; w++)
        if (e[w].key && memcmp(e[w].id, id.p, ID_LEN) == 0)
            return w;
    return WAYS - 1;
}

void keycache_put(struct keycache *c, struct span id, struct key *k,
                  const uint8_t thumbprint[static SHA256_SIZE])
{
    if (id.n != ID_LEN)
        return;
    size_t set = set_of(c, id);
    pthread_mutex_lock(&c->locks[set % LOCKS]);
    struct entry *e = c->entries[set];
    size_t w = victim(e, id);
    key_free(e[w].key);
    memmove(e + 1, e, w * sizeof *e);
    memcpy(e[0].id, id.p, ID_LEN);
    memcpy(e[0].thumbprint, thumbprint, SHA256_SIZE);
    e[0].key = key_ref(k);
    pthread_mutex_unlock(&c->locks[set % LOCKS]);
}
