/* The extensions of certificates that we write. Internal to mdm/crypt. */
#ifndef TD_CRYPT_X509_EXT_INT_H
#define TD_CRYPT_X509_EXT_INT_H

#include "mdm/crypt/x509_build.h"

#define X509_KEYID_SIZE 20

/* RFC 7093 section 2 method 1: the leftmost 160 bits of SHA-256 over the key's BIT STRING. */
void x509_keyid(struct span key_octets, uint8_t out[static X509_KEYID_SIZE]);

/* The issuer's own identifier where it has one, else what we would have given it (into `own`). */
struct span x509_issuer_keyid(const struct cert *issuer, uint8_t own[static X509_KEYID_SIZE]);

/* Appends the extension list ([3] EXPLICIT); an empty aki is left out. TD_INVAL for what cannot be
 * encoded. */
TD_NODISCARD enum td_err x509_put_exts(struct buf *b, const struct x509_spec *spec,
                                       bool empty_subject, struct span ski, struct span aki,
                                       struct errinfo *ei);

#endif
