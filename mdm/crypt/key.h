/* Public and private keys. A struct key is immutable and reference-counted; any thread. */
#ifndef TD_CRYPT_KEY_H
#define TD_CRYPT_KEY_H

#include "mdm/base/arena.h"
#include "mdm/base/buf.h"
#include "mdm/base/secret.h"
#include "mdm/crypt/digest.h"

struct key;

enum key_type { KEY_P256, KEY_P384, KEY_P521, KEY_RSA, KEY_ED25519, KEY_OTHER };

struct key *key_ref(struct key *k);
void key_free(struct key *k); /* drops one reference; NULL is fine */
void key_auto_free(struct key **k);
#define key_auto __attribute__((cleanup(key_auto_free))) struct key

enum key_type key_type(const struct key *k);
int key_bits(const struct key *k);
/* The same public key (canonical form); false when one is NULL. */
bool key_equal(const struct key *a, const struct key *b);

/* From DER SubjectPublicKeyInfo; trailing bytes are refused. RSA of 1024 to 4096 bit and named
 * curves; types that OpenSSL alone knows become KEY_OTHER. TD_PARSE, TD_UNSUPPORTED. */
TD_NODISCARD enum td_err key_from_spki(struct span der, struct key **ret, struct errinfo *ei);
/* The same for keys that a certificate is asked for: another type is TD_UNSUPPORTED, and OpenSSL's
 * decoders of the many there are never see it. */
TD_NODISCARD enum td_err key_from_spki_known(struct span der, struct key **ret, struct errinfo *ei);

/* From the members of a JWK: EC coordinates (exactly the curve's size, on the curve), RSA modulus
 * and exponent (2048 to 4096 bit, exponent odd and >= 3), Ed25519 x. */
TD_NODISCARD enum td_err key_from_ec(enum key_type t, struct span x, struct span y,
                                     struct key **ret, struct errinfo *ei);
TD_NODISCARD enum td_err key_from_rsa(struct span n, struct span e, struct key **ret,
                                      struct errinfo *ei);
TD_NODISCARD enum td_err key_from_ed25519(struct span x, struct key **ret, struct errinfo *ei);

/* A new private key: P256, P384 or RSA (2048 bit). */
TD_NODISCARD enum td_err key_generate(enum key_type t, struct key **ret, struct errinfo *ei);

/* A private key from PEM (PKCS#8, encrypted when a passphrase is given). */
TD_NODISCARD enum td_err key_from_pem(struct span pem, const struct secret *pass, struct key **ret,
                                      struct errinfo *ei);
/* To PKCS#8 PEM, encrypted (AES-256-CBC, PBKDF2) when pass is not NULL. */
TD_NODISCARD enum td_err key_to_pem(const struct key *k, const struct secret *pass, struct buf *ret,
                                    struct errinfo *ei);

/* A private key that is kept elsewhere, as in a hardware module: key_sign hands the digest to
 * `sign` and gets R || S, each padded to the curve's size. `drop` is called with the last
 * reference. */
struct key_module {
    enum td_err (*sign)(void *ctx, struct span md, uint8_t *rs, size_t nrs, struct errinfo *ei);
    void (*drop)(void *ctx);
    void *ctx;
};
/* For the public key of an EC key pair; takes the module, also on failure. */
TD_NODISCARD enum td_err key_from_module(const struct key *pub, const struct key_module *take,
                                         struct key **ret, struct errinfo *ei);

/* DER SubjectPublicKeyInfo in the canonical form (named curve, uncompressed). */
TD_NODISCARD enum td_err key_spki(const struct key *k, struct arena *a, struct span *ret,
                                  struct errinfo *ei);
/* The uncompressed point (X9.63) of an EC key. */
TD_NODISCARD enum td_err key_ec_point(const struct key *k, struct arena *a, struct span *ret,
                                      struct errinfo *ei);

/* Signs; ECDSA as DER, RSA PKCS#1 v1.5, Ed25519 raw (alg ignored). */
TD_NODISCARD enum td_err key_sign(const struct key *k, enum digest_alg alg, struct span data,
                                  struct arena *a, struct span *ret, struct errinfo *ei);

/* Verifies the same forms; TD_CRYPTO when the signature does not hold. */
TD_NODISCARD enum td_err key_verify(const struct key *k, enum digest_alg alg, struct span data,
                                    struct span sig, struct errinfo *ei);

/* Verifies a JWS signature (RFC 7518 section 3.4: R || S, fixed size). For P-256 alone it also
 * takes a signature of 60 to 63 bytes from Apple clients that strip leading zero octets of R or S
 * (iOS 16-17): each split with |r|,|s| <= 32 is tried. All other sizes are refused unseen, and so
 * is a digest that is not the curve's own (ES256, ES384, ES512). */
TD_NODISCARD enum td_err key_verify_jws_ecdsa(const struct key *k, enum digest_alg alg,
                                              struct span data, struct span sig,
                                              struct errinfo *ei);

#endif
