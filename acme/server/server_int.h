/* What the files of this room share: the server itself and one authenticated request. */
#ifndef TD_ACME_SERVER_SERVER_INT_H
#define TD_ACME_SERVER_SERVER_INT_H

#include "acme/server/acme.h"
#include "acme/server/jwk.h"
#include "acme/server/jws.h"
#include "acme/server/keycache.h"
#include "acme/server/nonce.h"

struct record_gate;

struct acme {
    struct acme_conf conf;
    const struct nonce_ops *nonces; /* owned */
    struct keycache *keys;          /* account id -> parsed key */
    struct record_gate *gate;       /* owned: bounds the records of refusals */
};

/* The profiles that have a directory; the first one is the default (Link rel="index"). */
extern const char *const acme_profiles[];
bool acme_profile_known(struct span name);

/* One request whose JWS was verified. Everything lives in the request's arena. */
struct acme_call {
    struct acme *acme;
    const struct req *req;
    struct resp *resp;
    struct arena *arena;
    int64_t now;
    struct jws jws;
    const char *account_id; /* by kid; NULL when signed by jwk */
    struct jwk jwk;         /* by jwk */
};

#endif
