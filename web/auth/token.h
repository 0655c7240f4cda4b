/* Bearer tokens of the REST API: "td_" and 43 characters, stored as SHA-256, with scopes and an
 * expiry. */
#ifndef TD_WEB_AUTH_TOKEN_H
#define TD_WEB_AUTH_TOKEN_H

#include "mdm/base/req.h"
#include "mdm/base/rng.h"
#include "mdm/base/route.h"
#include "mdm/store/store.h"

extern const struct store_stmts token_stmts;

#define TOKEN_TEXT_SIZE (RNG_TOKEN_SIZE + 3)

struct token_auth {
    struct store *store;
    const struct clock *clock;
};

/* Creates a token; the text is returned once. scopes: space-separated words, "admin" holds all.
 * ttl 0 = no expiry. ret_id holds RNG_ID_SIZE. */
TD_NODISCARD enum td_err token_create(struct store *s, const struct clock *clock, struct rng *rng,
                                      const char *name, const char *scopes, int64_t ttl,
                                      const char *actor, char ret_id[static RNG_ID_SIZE],
                                      char ret_text[static TOKEN_TEXT_SIZE], struct errinfo *ei);
TD_NODISCARD enum td_err token_delete(struct store *s, const struct clock *clock, const char *id,
                                      const char *actor, struct errinfo *ei);

/* The http_hooks.authorize of the API: checks "Authorization: Bearer td_..." and the route's
 * scope; fills req->principal. ctx is a struct token_auth. TD_UNAUTH carries the challenge. */
enum td_err token_authorize(void *ctx, const struct route *r, struct req *req,
                            struct errinfo *ei);

#endif
