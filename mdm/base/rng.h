/* Randomness is injected: whoever needs it takes a struct rng. */
#ifndef TD_BASE_RNG_H
#define TD_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

struct rng {
    /* Fills out[n]; never fails (the system generator aborts when the kernel gives nothing). */
    void (*fill)(struct rng *, void *out, size_t n);
};

/* The kernel's generator; thread-safe. */
extern struct rng rng_system;

/* A deterministic generator for tests (xorshift); one thread. */
struct rng_seeded {
    struct rng rng;
    uint64_t state;
};
void rng_seeded_init(struct rng_seeded *r, uint64_t seed);

static inline void rng_fill(struct rng *r, void *out, size_t n)
{
    r->fill(r, out, n);
}

#define RNG_ID_SIZE 23

/* A random identifier of 128 bits in the URL-safe base64 alphabet: 22 characters and a NUL. */
void rng_id(struct rng *r, char out[static RNG_ID_SIZE]);

#define RNG_TOKEN_SIZE 44

/* A random secret of 256 bits in the URL-safe base64 alphabet: 43 characters and a NUL. */
void rng_token(struct rng *r, char out[static RNG_TOKEN_SIZE]);

#endif
