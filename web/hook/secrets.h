/* The secrets of an endpoint. A new one takes the place of the old one at once; for some time each
 * delivery carries a signature by either, so that the receiver may change over when it likes.
 *
 * Both lie in one sealed value: 32 bytes of the secret; where there is one before it, the second of
 * its end (8 bytes, big-endian) and its 32 bytes behind that. */
#ifndef TD_WEB_HOOK_SECRETS_H
#define TD_WEB_HOOK_SECRETS_H

#include "web/hook/hooks.h"

#define HOOK_OVERLAP_MAX (30 * INT64_C(86400))

struct hook_secrets {
    struct secret all;
    struct span now, before; /* in it; before is empty when there is none */
    int64_t until;           /* from this second on `before` signs nothing */
};

/* Seals the secret of an endpoint, and the one before it (empty for none); outside of a job. */
TD_NODISCARD enum td_err hook_seal(const struct seal *seal, const char *id,
                                   const uint8_t secret[static HOOK_SECRET], struct span before,
                                   int64_t until, struct rng *rng, struct arena *a,
                                   struct span *ret, struct errinfo *ei);

/* Opens what hook_seal sealed. */
TD_NODISCARD enum td_err hook_unseal(const struct seal *seal, const char *id, struct span sealed,
                                     struct hook_secrets *ret, struct errinfo *ei);
void hook_secrets_free(struct hook_secrets *s);
#define hook_secrets_auto __attribute__((cleanup(hook_secrets_free))) struct hook_secrets

/* When the secret before the present one ends, of a row that hook_get or hook_list read; 0 when
 * there is none. */
int64_t hook_previous_until(const struct seal *seal, const struct hook *h);

/* A new secret; the old one signs beside it for `overlap` seconds, 0 for not at all. One that the
 * old one had replaced ends now. TD_NOTFOUND. */
TD_NODISCARD enum td_err hook_rotate(struct store *s, const struct seal *seal, struct rng *rng,
                                     const char *id, const uint8_t secret[static HOOK_SECRET],
                                     int64_t overlap, const struct hook_cause *c,
                                     struct errinfo *ei);

/* Takes those out of the database whose time is over. */
TD_NODISCARD enum td_err hook_forget(struct store *s, const struct seal *seal, struct rng *rng,
                                     int64_t now, struct errinfo *ei);

#endif
