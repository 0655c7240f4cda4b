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

/* keep_until of what an administrator ends, and no cleaner. */
#define ACME_KEEP_EVER INT64_C(253402300799)

/* One request whose JWS was verified. Everything lives in the request's arena. */
struct acme_call {
    struct acme *acme;
    const struct req *req;
    struct resp *resp;
    struct arena *arena;
    int64_t now;
    struct jws jws;
    const char *account_id; /* by kid; NULL when signed by jwk */
    /* of the key that the request was verified with: the account must still have it in the
     * transaction that acts (acme_account_check) */
    uint8_t thumbprint[SHA256_SIZE];
    struct jwk jwk; /* by jwk */
};

#endif
