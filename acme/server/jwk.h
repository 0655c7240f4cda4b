/* Public keys as JWK (RFC 7517, 8037), and their thumbprint (RFC 7638). */
#ifndef TD_ACME_SERVER_JWK_H
#define TD_ACME_SERVER_JWK_H

#include "mdm/crypt/key.h"
#include "mdm/wire/json.h"

struct jwk {
    struct key *key;       /* freed with the arena; key_ref to keep it */
    const char *canonical; /* the required members alone, ordered: what the thumbprint is of */
    uint8_t thumbprint[SHA256_SIZE];
};

/* EC P-256 and P-384, RSA of 2048 to 4096 bit, Ed25519. Other members are ignored, those of a
 * private key refused. A refusal has ACME type "badPublicKey" and reason "jwk-malformed" or
 * "jwk-unsupported". */
TD_NODISCARD enum td_err jwk_parse(const struct json *jwk, struct arena *a, struct jwk *ret,
                                   struct errinfo *ei);

#endif
