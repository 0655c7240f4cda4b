#include "acme/server/nonce_int.h"

#include <stdatomic.h>
#include <stdlib.h>

/* A nonce is a number and the time of its issue, sealed: what was issued needs no memory, so that
 * no flood of requests for nonces drives out the one that a device is about to use. Of each number
 * one bit says whether it was used; the numbers come back after `window`. */
#define RAW_SIZE 16
#define WINDOW_MIN 1024
#define WINDOW_MAX (UINT32_C(1) << 31)

struct nonces {
    struct nonce_ops ops;
    const struct clock *clock;
    struct nonce_keys keys;
    uint32_t ttl_ms, window;
    atomic_uint_least32_t next;
    _Atomic uint64_t used[]; /* window / 64 */
};

static uint64_t rotl(uint64_t v, unsigned n)
{
    return v << n | v >> (64 - n);
}

static void sip_round(uint64_t v[static 4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] = rotl(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] = rotl(v[2], 32);
}

/* SipHash-2-4 (Aumasson, Bernstein 2012) of one word. */
static uint64_t sip(const struct sip_key *k, uint64_t m)
{
    uint64_t v[4] = {k->k0 ^ UINT64_C(0x736f6d6570736575), k->k1 ^ UINT64_C(0x646f72616e646f6d),
                     k->k0 ^ UINT64_C(0x6c7967656e657261), k->k1 ^ UINT64_C(0x7465646279746573)};
    const uint64_t words[] = {m, UINT64_C(8) << 56}; /* the last block has the length */
    for (size_t i = 0; i < TD_NITEMS(words); i++) {
        v[3] ^= words[i];
        sip_round(v);
        sip_round(v);
        v[0] ^= words[i];
    }
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static const char abc[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void encode(const uint8_t raw[static RAW_SIZE], char out[static NONCE_SIZE])
{
    uint32_t v = 0;
    unsigned bits = 0;
    size_t n = 0;
    for (size_t i = 0; i < RAW_SIZE; i++) {
        v = v << 8 | raw[i];
        for (bits += 8; bits >= 6; bits -= 6)
            out[n++] = abc[v >> (bits - 6) & 63];
    }
    out[n++] = abc[v << (6 - bits) & 63];
    out[n] = 0;
}

/* 22 characters to 16 bytes, strictly: one text for each nonce. */
static bool decode(struct span s, uint8_t raw[static RAW_SIZE])
{
    uint32_t v = 0;
    unsigned bits = 0;
    size_t n = 0;
    if (s.n != NONCE_SIZE - 1)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        const char *at = s.p[i] ? strchr(abc, s.p[i]) : NULL;
        if (!at)
            return false;
        v = v << 6 | (uint32_t)(at - abc);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            raw[n++] = (uint8_t)(v >> bits);
        }
    }
    return n == RAW_SIZE && (v & 15) == 0;
}

void nonce_seal(const struct nonce_keys *k, uint64_t plain, char out[static NONCE_SIZE])
{
    uint8_t raw[RAW_SIZE];
    uint64_t tag = sip(&k->tag, plain), hidden = plain ^ sip(&k->cipher, tag);
    memcpy(raw, &tag, sizeof tag);
    memcpy(raw + sizeof tag, &hidden, sizeof hidden);
    encode(raw, out);
}

bool nonce_unseal(const struct nonce_keys *k, struct span text, uint64_t *ret_plain)
{
    uint8_t raw[RAW_SIZE];
    uint64_t tag, hidden;
    if (!decode(text, raw))
        return false;
    memcpy(&tag, raw, sizeof tag);
    memcpy(&hidden, raw + sizeof tag, sizeof hidden);
    *ret_plain = hidden ^ sip(&k->cipher, tag);
    return sip(&k->tag, *ret_plain) == tag;
}

static uint32_t now_ms(const struct nonces *ns)
{
    return (uint32_t)clock_mono(ns->clock); /* ages are taken modulo 2^32 ms, 49 days */
}

static _Atomic uint64_t *word_of(struct nonces *ns, uint32_t number, uint64_t *ret_bit)
{
    uint32_t i = number & (ns->window - 1);
    *ret_bit = UINT64_C(1) << (i & 63);
    return &ns->used[i >> 6];
}

static void issue(void *ctx, char out[static NONCE_SIZE])
{
    struct nonces *ns = ctx;
    uint32_t number = atomic_fetch_add(&ns->next, 1);
    uint64_t bit;
    _Atomic uint64_t *word = word_of(ns, number, &bit);
    atomic_fetch_and(word, ~bit); /* of the one a window ago, which no longer counts */
    nonce_seal(&ns->keys, (uint64_t)number << 32 | now_ms(ns), out);
}

static enum td_err take(void *ctx, struct span nonce, struct errinfo *ei)
{
    (void)ei;
    struct nonces *ns = ctx;
    uint64_t plain, bit;
    if (!nonce_unseal(&ns->keys, nonce, &plain))
        return TD_REPLAY;
    uint32_t number = (uint32_t)(plain >> 32);
    /* near its end the window is being cleared by those who issue now */
    if (atomic_load(&ns->next) - number > ns->window - ns->window / 16)
        return TD_REPLAY;
    _Atomic uint64_t *word = word_of(ns, number, &bit);
    bool first = !(atomic_fetch_or(word, bit) & bit); /* an expired one is spent too */
    return first && now_ms(ns) - (uint32_t)plain < ns->ttl_ms ? TD_OK : TD_REPLAY;
}

static void give_back(void *ctx, struct span nonce)
{
    struct nonces *ns = ctx;
    uint64_t plain, bit;
    if (nonce_unseal(&ns->keys, nonce, &plain)) {
        _Atomic uint64_t *word = word_of(ns, (uint32_t)(plain >> 32), &bit);
        atomic_fetch_and(word, ~bit);
    }
}

static void free_all(const struct nonce_ops *ops)
{
    struct nonces *ns = ops->ctx;
    explicit_bzero(&ns->keys, sizeof ns->keys);
    free(ns);
}

enum td_err nonce_memory_new(const struct clock *clock, struct rng *rng, int64_t ttl, size_t max,
                             const struct nonce_ops **ret, struct errinfo *ei)
{
    uint32_t window = WINDOW_MIN;
    if (max < WINDOW_MIN || max > WINDOW_MAX || ttl <= 0 || ttl > INT32_MAX / 1000)
        return err_set(ei, TD_INVAL, "nonces: %zu at most, for %lld s", max, (long long)ttl);
    while (window < max)
        window *= 2;
    /* the kernel gives the pages as numbers come to them */
    struct nonces *ns = calloc(1, sizeof *ns + window / 64 * sizeof ns->used[0]);
    if (!ns)
        return err_set(ei, TD_NOMEM, "nonces");
    ns->ops = (struct nonce_ops){
        .ctx = ns, .issue = issue, .take = take, .give_back = give_back, .close = free_all};
    ns->clock = clock;
    ns->ttl_ms = (uint32_t)ttl * 1000;
    ns->window = window;
    rng_fill(rng, &ns->keys, sizeof ns->keys);
    *ret = &ns->ops;
    return TD_OK;
}

void nonce_close(const struct nonce_ops *ops)
{
    if (ops)
        ops->close(ops);
}
