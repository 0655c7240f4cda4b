#include "web/hook/secrets.h"

#include "mdm/base/log.h"
#include "mdm/base/rd.h"

#define TWO (HOOK_SECRET + 8 + HOOK_SECRET)
#define TRIES 3
#define ARENA_MAX 65536

enum td_err hook_seal(const struct seal *seal, const char *id,
                      const uint8_t secret[static HOOK_SECRET], struct span before, int64_t until,
                      struct rng *rng, struct arena *a, struct span *ret, struct errinfo *ei)
{
    const struct seal_place at = {HOOK_PURPOSE, span_str(id)};
    buf_auto b; /* wiped as it is freed */
    buf_init(&b, TWO);
    buf_span(&b, span_of(secret, HOOK_SECRET));
    if (before.n) {
        buf_u64(&b, (uint64_t)until);
        buf_span(&b, before);
    }
    if (b.err != TD_OK)
        return err_set(ei, b.err, "no memory for a secret");
    return seal_wrap(seal, &at, buf_view(&b), rng, a, ret, ei);
}

enum td_err hook_unseal(const struct seal *seal, const char *id, struct span sealed,
                        struct hook_secrets *ret, struct errinfo *ei)
{
    const struct seal_place at = {HOOK_PURPOSE, span_str(id)};
    *ret = (struct hook_secrets){.until = 0};
    TD_TRY(seal_open(seal, &at, sealed, &ret->all, ei));
    struct span s = span_of(ret->all.p, ret->all.n);
    if (s.n != HOOK_SECRET && s.n != TWO) {
        hook_secrets_free(ret);
        return err_reason(ei, TD_DB, "seal-malformed", "a sealed value is not a webhook's secret");
    }
    struct rd r = rd_init(s);
    ret->now = rd_span(&r, HOOK_SECRET);
    if (s.n == TWO) {
        ret->until = (int64_t)rd_u64(&r);
        ret->before = rd_span(&r, HOOK_SECRET);
    }
    return TD_OK;
}

void hook_secrets_free(struct hook_secrets *s)
{
    secret_free(&s->all);
    *s = (struct hook_secrets){.until = 0};
}

int64_t hook_previous_until(const struct seal *seal, const struct hook *h)
{
    hook_secrets_auto s = {.until = 0};
    if (h->two.n == 0 || hook_unseal(seal, h->id, h->two, &s, NULL) != TD_OK)
        return 0;
    return s.until;
}

/* --- a new one ------------------------------------------------------------------------------- */

struct rotate_job {
    const char *id;
    const struct hook_cause *cause;
    struct arena *a;
    struct span was, sealed;
    int64_t until;
};

static enum td_err read_fn(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct rotate_job *j = ctx;
    return hook_sealed(tx, j->id, j->a, &j->was, ei);
}

static enum td_err write_fn(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct rotate_job *j = ctx;
    return hook_set_secret(tx, j->id, j->was, j->sealed, j->until, j->cause, ei);
}

/* One that does not open (its key was lost) has no overlap: the new one is the way out. */
static enum td_err rotate_once(struct store *s, const struct seal *seal, struct rng *rng,
                               const uint8_t secret[static HOOK_SECRET], struct rotate_job *j,
                               struct errinfo *ei)
{
    hook_secrets_auto old = {.until = 0};
    struct errinfo why = {0};
    TD_TRY(store_read(s, read_fn, j, ei));
    enum td_err e = j->until ? hook_unseal(seal, j->id, j->was, &old, &why) : TD_OK;
    if (e != TD_OK) {
        log_ev(LOG_ERROR, "webhook.secret", KV("webhook", j->id), KV("error", err_msg(&why, e)));
        j->until = 0;
    }
    TD_TRY(hook_seal(seal, j->id, secret, old.now, j->until, rng, j->a, &j->sealed, ei));
    return store_write(s, write_fn, j, ei);
}

enum td_err hook_rotate(struct store *s, const struct seal *seal, struct rng *rng, const char *id,
                        const uint8_t secret[static HOOK_SECRET], int64_t overlap,
                        const struct hook_cause *c, struct errinfo *ei)
{
    arena_auto a;
    arena_init(&a, ARENA_MAX);
    enum td_err e = TD_CONFLICT;
    for (int i = 0; i < TRIES && e == TD_CONFLICT; i++) { /* another one changed it meanwhile */
        struct rotate_job j = {.id = id, .cause = c, .a = &a};
        j.until = overlap ? c->now + overlap : 0;
        e = rotate_once(s, seal, rng, secret, &j, ei);
    }
    return e;
}

/* --- the end of an old one ------------------------------------------------------------------- */

struct forget_job {
    struct arena *a;
    struct hook_sealed list[HOOK_ENDPOINTS_MAX];
    size_t n;
    const struct hook_sealed *one;
    struct span sealed;
};

static enum td_err list_fn(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct forget_job *j = ctx;
    return hook_sealed_two(tx, j->a, j->list, &j->n, ei);
}

static enum td_err replace_fn(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct forget_job *j = ctx;
    return hook_sealed_replace(tx, j->one, j->sealed, ei);
}

static enum td_err forget_one(struct store *s, const struct seal *seal, struct rng *rng,
                              int64_t now, struct forget_job *j, struct errinfo *ei)
{
    hook_secrets_auto both = {.until = 0};
    const struct span none = {NULL, 0};
    if (hook_unseal(seal, j->one->id, j->one->sealed, &both, NULL) != TD_OK || both.until > now)
        return TD_OK; /* secrets.c of the server tells of what does not open */
    TD_TRY(hook_seal(seal, j->one->id, both.now.p, none, 0, rng, j->a, &j->sealed, ei));
    TD_TRY(store_write(s, replace_fn, j, ei));
    log_ev(LOG_INFO, "webhook.secret_ended", KV("webhook", j->one->id));
    return TD_OK;
}

enum td_err hook_forget(struct store *s, const struct seal *seal, struct rng *rng, int64_t now,
                        struct errinfo *ei)
{
    arena_auto a;
    arena_init(&a, ARENA_MAX);
    struct forget_job j = {.a = &a};
    TD_TRY(store_read(s, list_fn, &j, ei));
    for (size_t i = 0; i < j.n; i++) {
        j.one = &j.list[i];
        TD_TRY(forget_one(s, seal, rng, now, &j, ei));
    }
    return TD_OK;
}
