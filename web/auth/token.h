/* Bearer tokens of the REST API: "td_" and 43 characters, stored as SHA-256, with scopes and an
 * expiry. */
#ifndef TD_WEB_AUTH_TOKEN_H
#define TD_WEB_AUTH_TOKEN_H

#include "mdm/base/req.h"
#include "mdm/base/rng.h"
#include "mdm/base/route.h"
#include "mdm/store/sweep.h"

extern const struct store_stmts token_stmts;

#define TOKEN_TEXT_SIZE (RNG_TOKEN_SIZE + 3)

struct token_auth {
    struct store *store;
    const struct clock *clock;
};

/* Creates a token; the text is returned once. scopes: space-separated words of the table in
 * token.c, "admin" holds all; an unknown one is TD_INVAL. ttl in seconds, 0 = no expiry. Audited.
 */
TD_NODISCARD enum td_err token_create(struct store *s, const struct clock *clock, struct rng *rng,
                                      const char *name, const char *scopes, int64_t ttl,
                                      const char *actor, char ret_id[static RNG_ID_SIZE],
                                      char ret_text[static TOKEN_TEXT_SIZE], struct errinfo *ei);
TD_NODISCARD enum td_err token_delete(struct store *s, const struct clock *clock, const char *id,
                                      const char *actor, struct errinfo *ei);

/* A token as listed; strings live in the arena. expires_at 0: never. */
struct token {
    const char *id, *name, *scopes;
    int64_t created_at, expires_at;
};

/* Tokens with an id behind `after` ("" for the start), at most `max`. */
TD_NODISCARD enum td_err token_list(struct tx *tx, const char *after, size_t max, struct arena *a,
                                    struct token **ret, size_t *ret_n, struct errinfo *ei);

TD_NODISCARD enum td_err token_count(struct tx *tx, int64_t *ret, struct errinfo *ei);

/* Is `scope` one of the space-separated words? NULL holds none. "admin" is no wildcard here. */
bool token_has_scope(const char *scopes, struct span scope);

/* The http_hooks.authorize of the API: checks "Authorization: Bearer td_..." and the route's
 * scope; fills req->principal. ctx is a struct token_auth. TD_UNAUTH carries the challenge. */
enum td_err token_authorize(void *ctx, const struct route *r, struct req *req, struct errinfo *ei);

/* A step of the cleaner, over the end of a token. */
TD_NODISCARD enum td_err token_clean(struct tx *tx, struct sweep *s, struct errinfo *ei);

#endif
