/* Replay nonces (RFC 8555 section 6.5) behind a small interface, so that several nodes can share
 * a backend later. */
#ifndef TD_ACME_SERVER_NONCE_H
#define TD_ACME_SERVER_NONCE_H

#include "mdm/base/clock.h"
#include "mdm/base/rng.h"

#define NONCE_SIZE RNG_ID_SIZE

struct nonce_ops {
    void *ctx;
    /* Writes a fresh nonce that cannot be guessed: 22 characters and a NUL. Never fails. */
    void (*issue)(void *ctx, char out[static NONCE_SIZE]);
    /* Consumes one: true exactly once for a live nonce. */
    bool (*take)(void *ctx, struct span nonce);
    void (*close)(const struct nonce_ops *ops);
};

/* Of this process: each lives `ttl` seconds, unless `max` (1024 to 2^31, rounded up to a power of
 * two) less a sixteenth were issued since; an eighth of a byte of memory for each of the `max`. A
 * restart ends them all: its keys are new. Any thread, no lock. */
TD_NODISCARD enum td_err nonce_memory_new(const struct clock *clock, struct rng *rng, int64_t ttl,
                                          size_t max, const struct nonce_ops **ret,
                                          struct errinfo *ei);

/* NULL is fine. */
void nonce_close(const struct nonce_ops *ops);

#endif
