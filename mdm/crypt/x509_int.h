/* The inside of struct cert. Internal to mdm/crypt. */
#ifndef TD_CRYPT_X509_INT_H
#define TD_CRYPT_X509_INT_H

#include "mdm/crypt/sigalg_int.h"
#include "mdm/crypt/x509.h"

#include <openssl/x509.h>
#include <stdatomic.h>

#define CERT_EXTS_MAX 64

struct cert_ext {
    struct span oid; /* content octets */
    struct span val; /* inside the OCTET STRING */
    bool critical;
};

/* What is made from the bytes on first use only: most certificates are pinned by their digest and
 * never need it. The first maker wins. */
struct cert_lazy {
    _Atomic(X509 *) x509;
    _Atomic(struct key *) key;
};

struct cert {
    atomic_uint refs;
    struct span der, tbs, serial, issuer, subject, spki, sig;
    struct span algid; /* content octets of signatureAlgorithm */
    int64_t not_before, not_after;
    bool ca;
    struct cert_lazy *lazy;
    struct cert_ext *exts;
    size_t nexts;
};

/* OpenSSL's form of the certificate, borrowed; NULL (queue filled) when OpenSSL refuses it. */
X509 *cert_x509(const struct cert *c);

/* The first extension with these content octets, NULL when absent. */
const struct cert_ext *cert_find_ext(const struct cert *c, struct span oid);

/* Content octets of the subjectPublicKey BIT STRING; {NULL,0} when it is not one. */
struct span cert_key_octets(const struct cert *c);

#endif
