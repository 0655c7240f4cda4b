/* The inside of struct key. Internal to mdm/crypt. */
#ifndef TD_CRYPT_KEY_INT_H
#define TD_CRYPT_KEY_INT_H

#include "mdm/crypt/key.h"
#include "mdm/crypt/ossl_int.h"

#include <stdatomic.h>

/* Sizes of RSA: what a certificate may have that exists in the field (Apple's device CAs have
 * RSA-1024 in their chain), and what a new key may have. */
#define KEY_RSA_MIN_SPKI 1024
#define KEY_RSA_MIN 2048
#define KEY_RSA_MAX 4096

enum key_op { KEY_OP_SIGN, KEY_OP_VERIFY, KEY_OP_MAX };

struct key {
    atomic_uint refs;
    EVP_PKEY *pkey; /* provider-native: OpenSSL exports its legacy kind anew for each key */
    enum key_type type;
    int bits;
    struct key_module module; /* sign NULL: the private key, if any, is in pkey */
    uint8_t *spki;            /* canonical */
    size_t nspki;
    /* Operations set up once and duplicated per use: setting one up fetches the algorithm, which
     * takes a lock and more time than the rest. Filled on first use; for the natural digest. */
    _Atomic(EVP_PKEY_CTX *) tmpl[KEY_OP_MAX];
};

struct key_curve {
    enum key_type type;
    const char *group, *group2; /* names OpenSSL knows the curve by */
    struct span oid;            /* content octets */
    size_t size;                /* of a coordinate */
    enum digest_alg digest;     /* the one that goes with it: ES256, ES384, ES512 */
};

/* NULL when t is no curve of ours. */
const struct key_curve *key_curve_of(enum key_type t);
const struct key_curve *key_curve_by_oid(struct span oid);
const struct key_curve *key_curve_by_group(const char *name);

/* Takes the EVP_PKEY and the canonical SPKI (in *spki, emptied). */
enum td_err key_make(EVP_PKEY *take, enum key_type type, struct buf *spki, struct key **ret,
                     struct errinfo *ei);

/* A key for an EVP_PKEY from generation or PEM (taken, freed on failure). */
enum td_err key_wrap(EVP_PKEY *take, struct key **ret, struct errinfo *ei);

/* Public keys from their numbers; sizes already judged by the caller where they matter. */
enum td_err key_from_point(const struct key_curve *c, struct span point, struct key **ret,
                           struct errinfo *ei);
enum td_err key_from_rsa_min(struct span n, struct span e, size_t min_bits, struct key **ret,
                             struct errinfo *ei);

/* Content octets of the subjectPublicKey BIT STRING in the canonical SPKI; borrowed. */
struct span key_bits_octets(const struct key *k);

/* Appends the SubjectPublicKeyInfo. */
void key_put_ec_spki(struct buf *b, const struct key_curve *c, struct span point);
void key_put_rsa_spki(struct buf *b, struct span n, struct span e);
void key_put_ed25519_spki(struct buf *b, struct span x);

#define KEY_SPKI_MAX 16384

#endif
