/* A PKCS#11 module, loaded and spoken to directly (Cryptoki 2.40). The only file that sees its
 * header; runs in the module's process alone. */
#ifndef TD_ACME_SIGNER_PKCS11_H
#define TD_ACME_SIGNER_PKCS11_H

#include "acme/signer/p11uri.h"
#include "mdm/base/secret.h"
#include "mdm/crypt/key.h"

struct pkcs11;

/* Loads the module; pin is borrowed (empty: tokens without login). TD_NOTFOUND when it cannot be
 * loaded. */
TD_NODISCARD enum td_err pkcs11_open(const char *module, const struct secret *pin,
                                     struct pkcs11 **ret, struct errinfo *ei);
void pkcs11_close(struct pkcs11 *p);

/* Finds the one private key and its public half; *ret_pub is owned. The number is for
 * pkcs11_sign. TD_CRYPTO: the PIN; TD_NOTFOUND, TD_CONFLICT: none or several tokens or keys. */
TD_NODISCARD enum td_err pkcs11_key(struct pkcs11 *p, const struct p11uri *u, uint32_t *ret_number,
                                    struct key **ret_pub, struct errinfo *ei);

/* Makes a P-256 key pair that cannot leave the token, with the label and id of *u. */
TD_NODISCARD enum td_err pkcs11_make(struct pkcs11 *p, const struct p11uri *u, struct errinfo *ei);

/* R || S over the digest; TD_IO when the module fails: it is to be loaded anew. */
TD_NODISCARD enum td_err pkcs11_sign(struct pkcs11 *p, uint32_t number, struct span md, uint8_t *rs,
                                     size_t cap, size_t *ret_n, struct errinfo *ei);

#endif
