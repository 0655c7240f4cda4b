#include "mdm/base/rng.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static void system_fill(struct rng *r, void *out, size_t n)
{
    (void)r;
    uint8_t *p = out;
    while (n > 0) {
        ssize_t got = getrandom(p, n, 0);
        if (got < 0) {
            if (errno == EINTR)
                continue;
            abort();
        }
        p += got;
        n -= (size_t)got;
    }
}

struct rng rng_system = {system_fill};

static void seeded_fill(struct rng *r, void *out, size_t n)
{
    struct rng_seeded *s = (struct rng_seeded *)(void *)r;
    uint8_t *p = out;
    for (size_t i = 0; i < n; i++) {
        s->state ^= s->state << 13;
        s->state ^= s->state >> 7;
        s->state ^= s->state << 17;
        p[i] = (uint8_t)(s->state >> 24);
    }
}

void rng_seeded_init(struct rng_seeded *r, uint64_t seed)
{
    *r = (struct rng_seeded){{seeded_fill}, seed | 1};
}

/* The base64url form of so many random bytes: the last digit holds `last` bits. */
static void text(struct rng *r, char *out, size_t digits, unsigned last)
{
    static const char abc[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint8_t raw[RNG_TOKEN_SIZE];
    rng_fill(r, raw, digits);
    raw[digits - 1] = (uint8_t)(raw[digits - 1] << (6 - last));
    for (size_t i = 0; i < digits; i++)
        out[i] = abc[raw[i] & 63];
    out[digits] = 0;
    explicit_bzero(raw, sizeof raw);
}

void rng_id(struct rng *r, char out[static RNG_ID_SIZE])
{
    text(r, out, RNG_ID_SIZE - 1, 2); /* 21 * 6 + 2 = 128 */
}

void rng_token(struct rng *r, char out[static RNG_TOKEN_SIZE])
{
    text(r, out, RNG_TOKEN_SIZE - 1, 4); /* 42 * 6 + 4 = 256 */
}
