#include <stdatomic.h>
#include <stdlib.h>

#include "acme/server/nonce_int.h"
#include "acme/server/stmts.h"

/* Here the 64 bits are the second of the issue, the node, and a count within it: no two nodes issue
 * the same, and what was used lies in the order of time. */
#define NODE_BITS 12
#define COUNT_BITS 20
#define SKEW 300 /* between the nodes' clocks */

struct shared {
    struct nonce_ops ops;
    struct store *store;
    const struct clock *clock;
    struct rng *rng;
    int64_t ttl;
    uint32_t node;
    atomic_uint_least32_t next;
    struct nonce_keys keys;
};

static void issue(void *ctx, char out[static NONCE_SIZE])
{
    struct shared *s = ctx;
    uint32_t count = atomic_fetch_add(&s->next, 1) & ((1U << COUNT_BITS) - 1);
    uint64_t plain = (uint64_t)clock_now(s->clock) << 32 | s->node << COUNT_BITS | count;
    nonce_seal(&s->keys, plain, out);
}

static enum td_err take_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    int64_t changes = 0;
    TD_TRY(
        tx_exec(tx, ACME_SQL(NONCE_TAKE), SV_LIST(SV_INT(*(const uint64_t *)ctx)), &changes, ei));
    return changes == 1 ? TD_OK : TD_REPLAY;
}

static enum td_err take(void *ctx, struct span nonce, struct errinfo *ei)
{
    struct shared *s = ctx;
    uint64_t plain;
    if (!nonce_unseal(&s->keys, nonce, &plain))
        return TD_REPLAY;
    int64_t age = clock_now(s->clock) - (int64_t)(plain >> 32);
    if (age < -SKEW || age >= s->ttl)
        return TD_REPLAY;
    return store_write(s->store, take_job, &plain, ei);
}

/* The keys, made by the first node of all; and a number for this one, which comes round after 4096
 * starts. */
static enum td_err join(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct shared *s = ctx;
    struct nonce_keys fresh;
    struct cur c;
    rng_fill(s->rng, &fresh, sizeof fresh);
    enum td_err e = tx_exec(tx, ACME_SQL(NONCE_KEYS_ADD),
                            SV_LIST(SV_BLOB(span_of(&fresh, sizeof fresh))), NULL, ei);
    explicit_bzero(&fresh, sizeof fresh);
    TD_TRY(e);
    TD_TRY(tx_row(tx, ACME_SQL(NONCE_JOIN), NULL, 0, &c, ei));
    struct span keys = cur_span(&c, 0);
    bool whole = keys.n == sizeof s->keys;
    if (whole)
        memcpy(&s->keys, keys.p, sizeof s->keys);
    s->node = (uint32_t)cur_int(&c, 1) & ((1U << NODE_BITS) - 1);
    cur_end(&c);
    return whole ? TD_OK : err_set(ei, TD_DB, "the nonce keys in the database are damaged");
}

static void free_all(const struct nonce_ops *ops)
{
    struct shared *s = ops->ctx;
    explicit_bzero(&s->keys, sizeof s->keys);
    free(s);
}

enum td_err nonce_shared_new(struct store *store, const struct clock *clock, struct rng *rng,
                             int64_t ttl, const struct nonce_ops **ret, struct errinfo *ei)
{
    struct shared *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(ei, TD_NOMEM, "nonces");
    *s = (struct shared){.store = store, .clock = clock, .rng = rng, .ttl = ttl};
    s->ops = (struct nonce_ops){.ctx = s, .issue = issue, .take = take, .close = free_all};
    enum td_err e = store_write(store, join, s, ei);
    if (e != TD_OK) {
        free_all(&s->ops);
        return e;
    }
    *ret = &s->ops;
    return TD_OK;
}

enum td_err nonce_clean(struct tx *tx, struct sweep *s, struct errinfo *ei)
{
    int64_t before = s->before > NONCE_KEEP ? s->before - NONCE_KEEP : 0, last = 0;
    size_t n = 0;
    struct cur c;
    enum td_err e;
    TD_TRY(tx_query(tx, ACME_SQL(NONCE_PAGE),
                    SV_LIST(SV_INT((uint64_t)before << 32), SV_INT(s->max)), &c, ei));
    for (; (e = cur_next(&c, ei)) == TD_OK; n++)
        last = cur_int(&c, 0);
    if (e != TD_NOTFOUND)
        return e;
    s->more = n == s->max;
    s->gone = 0;
    return n ? tx_exec(tx, ACME_SQL(NONCE_DROP), SV_LIST(SV_INT(last)), &s->gone, ei) : TD_OK;
}
