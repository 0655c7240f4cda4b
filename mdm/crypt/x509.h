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

/* Parses exactly one DER certificate (trailing bytes are TD_PARSE). */
TD_NODISCARD enum td_err cert_parse(struct span der, struct cert **ret, struct errinfo *ei);
/* The first certificate of a PEM text. */
TD_NODISCARD enum td_err cert_from_pem(struct span pem, struct cert **ret, struct errinfo *ei);

struct span cert_der(const struct cert *c);        /* borrowed from the cert */
struct span cert_serial(const struct cert *c);     /* content octets of the INTEGER */
struct span cert_subject_der(const struct cert *c);
struct span cert_issuer_der(const struct cert *c);
struct span cert_spki(const struct cert *c);       /* DER as it stands in the certificate */
void cert_sha256(const struct cert *c, uint8_t out[static SHA256_SIZE]);
void cert_spki_sha256(const struct cert *c, uint8_t out[static SHA256_SIZE]);
int64_t cert_not_before(const struct cert *c);
int64_t cert_not_after(const struct cert *c);
bool cert_is_ca(const struct cert *c);             /* basicConstraints CA:TRUE */
/* The public key; borrowed. NULL when OpenSSL does not know its type. */
const struct key *cert_key(const struct cert *c);
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
    struct key *key;      /* csr_free */
    struct span spki;     /* in the arena */
};

/* Parses one DER PKCS#10 request and verifies its self-signature (proof of possession). The
 * subject and the requested extensions are ignored: the server writes the certificate. TD_PARSE,
 * TD_CRYPTO (bad signature), TD_UNSUPPORTED (key type). */
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
    int64_t at;          /* verification time */
    bool no_time;        /* ignore validity periods (MB-30) */
    const char *purpose; /* "sslclient", "any" */
};

/* Builds and verifies leaf <- chain... <- a root, strictly (X509_V_FLAG_X509_STRICT, no partial
 * chains). TD_CRYPTO with OpenSSL's words in *ei otherwise. */
TD_NODISCARD enum td_err trust_verify(const struct trust *t, const struct cert *leaf,
                                      const struct cert *const *chain, size_t nchain,
                                      const struct trust_opts *o, struct errinfo *ei);

/* Verifies the signature of one certificate by another's key, and that the names chain. */
TD_NODISCARD enum td_err cert_check_issued(const struct cert *c, const struct cert *issuer,
                                           struct errinfo *ei);

#endif
