/* Certificates and certificate requests, parsed once into plain data. */
#ifndef TD_CRYPT_X509_H
#define TD_CRYPT_X509_H

#include "mdm/base/arena.h"
#include "mdm/crypt/key.h"

struct cert; /* immutable, reference-counted */

struct cert *cert_ref(struct cert *c);
void cert_free(struct cert *c);
void cert_auto_free(struct cert **c);
#define cert_auto __attribute__((cleanup(cert_auto_free))) struct cert

/* Parses exactly one certificate in strict DER (trailing bytes are TD_PARSE, over 64 KiB is
 * TD_LIMIT). The key and OpenSSL's own form are made on first use only, so that parsing is cheap;
 * what OpenSSL alone can refuse is refused by trust_verify. */
TD_NODISCARD enum td_err cert_parse(struct span der, struct cert **ret, struct errinfo *ei);
/* The first certificate of a PEM text. */
TD_NODISCARD enum td_err cert_from_pem(struct span pem, struct cert **ret, struct errinfo *ei);
/* The first `max` certificates of a PEM text, in order, at least one; each is owned by the
 * caller. TD_PARSE (and none returned) when one of them is malformed. */
TD_NODISCARD enum td_err cert_all_from_pem(struct span pem, struct cert **ret, size_t max,
                                           size_t *ret_n, struct errinfo *ei);

struct span cert_der(const struct cert *c);    /* borrowed from the cert */
struct span cert_serial(const struct cert *c); /* content octets of the INTEGER */
struct span cert_subject_der(const struct cert *c);
struct span cert_issuer_der(const struct cert *c);
struct span cert_spki(const struct cert *c); /* DER as it stands in the certificate */
void cert_sha256(const struct cert *c, uint8_t out[static SHA256_SIZE]);
void cert_spki_sha256(const struct cert *c, uint8_t out[static SHA256_SIZE]);
int64_t cert_not_before(const struct cert *c);
int64_t cert_not_after(const struct cert *c);
bool cert_is_ca(const struct cert *c); /* basicConstraints CA:TRUE */
/* The subject key identifier as it stands in the certificate; false unless it has 20 octets. */
#define CERT_SKI_SIZE 20
bool cert_ski(const struct cert *c, uint8_t out[static CERT_SKI_SIZE]);
/* The public key; borrowed. NULL when OpenSSL does not know its type. */
const struct key *cert_key(const struct cert *c);
/* The same, telling a key that is none of ours from a fault of ours (TD_NOMEM): see
 * key_from_spki. */
TD_NODISCARD enum td_err cert_get_key(const struct cert *c, const struct key **ret,
                                      struct errinfo *ei);
/* The subject's (first) common name, in the arena; NULL when absent. */
char *cert_cn(const struct cert *c, struct arena *a);
/* One line "CN=..., O=..." for logs. */
char *cert_subject_text(const struct cert *c, struct arena *a);

/* How many extensions have this OID (dotted text), and the content of the first one's extnValue
 * OCTET STRING (borrowed). */
int cert_ext(const struct cert *c, const char *oid, struct span *ret_value);

/* PEM text appended. */
TD_NODISCARD enum td_err cert_to_pem(const struct cert *c, struct buf *b);

/* --- certificate requests --- */
struct csr {
    struct key *key;  /* csr_free */
    struct span spki; /* in the arena */
};

/* Parses one DER PKCS#10 request and verifies its self-signature (proof of possession). The
 * subject and the requested extensions are ignored: the server writes the certificate. TD_PARSE,
 * TD_LIMIT (over LIMIT_CSR), TD_CRYPTO (bad signature), TD_UNSUPPORTED (a key that is not P-256,
 * P-384, P-521, RSA of 2048 to 4096 bit or Ed25519; SHA-1 and RSA-PSS signatures). */
TD_NODISCARD enum td_err csr_parse(struct span der, struct arena *a, struct csr *ret,
                                   struct errinfo *ei);
void csr_free(struct csr *c);

/* --- chains --- */
struct trust; /* immutable once built; any thread */

/* A set of trusted roots. */
TD_NODISCARD enum td_err trust_new(struct cert *const *roots, size_t n, struct trust **ret,
                                   struct errinfo *ei);
void trust_free(struct trust *t);

struct trust_opts {
    int64_t at;          /* verification time; notAfter itself counts as expired */
    bool no_time;        /* ignore validity periods (MB-30) */
    const char *purpose; /* "sslclient", "any" */
    /* Do not ask for key identifiers, which RFC 5280 section 4.2.1.1 demands and which Apple's
     * attestation leaves lack (no AKI). Everything else stays strict. */
    bool lax_ids;
    /* Take SHA-1 signatures and keys of under 112 bit (RSA-1024): Apple's device CAs (MB-33). */
    bool weak_algs;
};

/* Builds and verifies leaf <- chain... <- a root, strictly (X509_V_FLAG_X509_STRICT, no partial
 * chains). TD_CRYPTO with OpenSSL's words in *ei otherwise. */
TD_NODISCARD enum td_err trust_verify(const struct trust *t, const struct cert *leaf,
                                      const struct cert *const *chain, size_t nchain,
                                      const struct trust_opts *o, struct errinfo *ei);

/* Verifies the signature of one certificate by another's key, and that the names chain octet by
 * octet. TD_CRYPTO, or TD_UNSUPPORTED for SHA-1, RSA-PSS and unknown algorithms. */
TD_NODISCARD enum td_err cert_check_issued(const struct cert *c, const struct cert *issuer,
                                           struct errinfo *ei);

/* The same, and that it is an end entity's for TLS clients: no CA, digitalSignature and clientAuth
 * named, no critical extension that this does not know. For leaves right below a CA that was
 * verified before; validity dates are not looked at. A third of trust_verify's cost. */
TD_NODISCARD enum td_err cert_check_client(const struct cert *c, const struct cert *issuer,
                                           struct errinfo *ei);

#endif
