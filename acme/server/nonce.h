/* Replay nonces (RFC 8555 section 6.5) behind a small interface: of one process, or of all nodes.
 */
#ifndef TD_ACME_SERVER_NONCE_H
#define TD_ACME_SERVER_NONCE_H

#include "mdm/base/clock.h"
#include "mdm/base/rng.h"
#include "mdm/store/sweep.h"

#define NONCE_SIZE RNG_ID_SIZE

struct nonce_ops {
    void *ctx;
    /* Writes a fresh nonce that cannot be guessed: 22 characters and a NUL. Never fails. */
    void (*issue)(void *ctx, char out[static NONCE_SIZE]);
    /* Consumes one: TD_OK exactly once for a live nonce, TD_REPLAY for any other text; else a fault
     * of ours, and the nonce may be tried again. */
    enum td_err (*take)(void *ctx, struct span nonce, struct errinfo *ei);
    /* Undoes the take of a request that did nothing and runs again. NULL where taking blocks. */
    void (*give_back)(void *ctx, struct span nonce);
    void (*close)(const struct nonce_ops *ops);
};

/* Of this process: each lives `ttl` seconds, unless `max` (1024 to 2^31, rounded up to a power of
 * two) less a sixteenth were issued since; an eighth of a byte of memory for each of the `max`. A
 * restart ends them all: its keys are new. Any thread, no lock. */
TD_NODISCARD enum td_err nonce_memory_new(const struct clock *clock, struct rng *rng, int64_t ttl,
                                          size_t max, const struct nonce_ops **ret,
                                          struct errinfo *ei);

/* Of all nodes on one database: each node takes what any node issued. Issuing needs no database;
 * taking is a durable insert of eight bytes, as a nonce must not come back after a failover either.
 * A restart ends none. Nodes' clocks may differ by five minutes. Blocks. */
TD_NODISCARD enum td_err nonce_shared_new(struct store *store, const struct clock *clock,
                                          struct rng *rng, int64_t ttl,
                                          const struct nonce_ops **ret, struct errinfo *ei);

/* A cleaner's step: forgets nonces issued NONCE_KEEP before s->before, so that no clock can take
 * them for alive. */
#define NONCE_KEEP 600
TD_NODISCARD enum td_err nonce_clean(struct tx *tx, struct sweep *s, struct errinfo *ei);

/* NULL is fine. */
void nonce_close(const struct nonce_ops *ops);

#endif
