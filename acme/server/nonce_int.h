/* The form of a nonce: 64 bits under a tag, enciphered, so that what was issued needs no memory.
 * Internal to acme/server/nonce*.c. */
#ifndef TD_ACME_SERVER_NONCE_INT_H
#define TD_ACME_SERVER_NONCE_INT_H

#include <stdint.h>

#include "acme/server/nonce.h"

struct sip_key {
    uint64_t k0, k1;
};

struct nonce_keys {
    struct sip_key tag, cipher;
};

void nonce_seal(const struct nonce_keys *k, uint64_t plain, char out[static NONCE_SIZE]);

/* False when it is not one sealed with these keys. One text for each nonce. */
bool nonce_unseal(const struct nonce_keys *k, struct span text, uint64_t *ret_plain);

#endif
