/* Owning locals for OpenSSL objects, and its error queue as our errors. */
#ifndef TD_SIM_OSSL_H
#define TD_SIM_OSSL_H

#include "mdm/base/buf.h"

#include <openssl/cms.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#define OSSL_FREE(type, fn)                                                                        \
    static inline void ossl_free_##type(type **p)                                                  \
    {                                                                                              \
        fn(*p);                                                                                    \
    }
OSSL_FREE(EVP_PKEY, EVP_PKEY_free)
OSSL_FREE(X509, X509_free)
OSSL_FREE(X509_REQ, X509_REQ_free)
OSSL_FREE(X509_NAME, X509_NAME_free)
OSSL_FREE(X509_EXTENSION, X509_EXTENSION_free)
OSSL_FREE(ASN1_OBJECT, ASN1_OBJECT_free)
OSSL_FREE(ASN1_OCTET_STRING, ASN1_OCTET_STRING_free)
OSSL_FREE(BIO, BIO_free_all)
OSSL_FREE(CMS_ContentInfo, CMS_ContentInfo_free)
OSSL_FREE(ECDSA_SIG, ECDSA_SIG_free)
OSSL_FREE(EVP_MD_CTX, EVP_MD_CTX_free)

#define ossl_auto(type) __attribute__((cleanup(ossl_free_##type))) type *

/* TD_CRYPTO with "what: <first error of the queue>"; empties the queue. */
enum td_err ossl_fail(struct errinfo *ei, const char *what);

/* A new EC key on P-256 (bits 256) or P-384 (384); owned by the caller. NULL on failure. */
EVP_PKEY *ossl_ec_key(int bits);

/* The uncompressed X9.63 point of an EC key, at most 97 bytes. */
enum td_err ossl_point(EVP_PKEY *key, uint8_t out[static 97], size_t *ret_n, struct errinfo *ei);

/* DER of a certificate appended. */
enum td_err ossl_cert_der(X509 *cert, struct buf *b, struct errinfo *ei);

/* PEM text appended. */
enum td_err ossl_cert_pem(X509 *cert, struct buf *b, struct errinfo *ei);
enum td_err ossl_key_pem(EVP_PKEY *key, struct buf *b, struct errinfo *ei);

/* The first certificate / the private key of a PEM text; owned by the caller. TD_PARSE. */
enum td_err ossl_cert_from_pem(struct span pem, X509 **ret, struct errinfo *ei);
enum td_err ossl_key_from_pem(struct span pem, EVP_PKEY **ret, struct errinfo *ei);

#endif
