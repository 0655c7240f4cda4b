/* The signature algorithms of certificates, requests and OCSP answers. Internal to mdm/crypt. */
#ifndef TD_CRYPT_SIGALG_INT_H
#define TD_CRYPT_SIGALG_INT_H

#include "mdm/crypt/key.h"

enum sigalg_family { SIGALG_ECDSA, SIGALG_RSA, SIGALG_ED25519 };

struct sigalg {
    enum sigalg_family family;
    enum digest_alg digest;
    struct span oid; /* content octets */
    struct span der; /* the whole AlgorithmIdentifier, as written */
};

/* By the content octets of an AlgorithmIdentifier; NULL when the algorithm or its parameters are
 * not among ours. SHA-1 and RSA-PSS are not. */
const struct sigalg *sigalg_find(struct span algid);

/* What a key of this type signs with; NULL for KEY_OTHER. */
const struct sigalg *sigalg_of_key(const struct key *k);

/* True when the key can have made signatures of this algorithm. */
bool sigalg_fits(const struct sigalg *s, const struct key *k);

#endif
