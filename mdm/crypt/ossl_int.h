/* What the files of this room share of OpenSSL. Internal to mdm/crypt. */
#ifndef TD_CRYPT_OSSL_INT_H
#define TD_CRYPT_OSSL_INT_H

#include "mdm/crypt/digest.h"

#include <openssl/bio.h>
#include <openssl/evp.h>

/* The digest fetched once; never NULL (a library without it aborts). Any thread. */
const EVP_MD *crypt_md(enum digest_alg alg);

/* A key on that curve (OpenSSL's name) still without its numbers, the caller's to free; NULL for
 * want of memory. Any thread. */
EVP_PKEY *crypt_curve(const char *name);

/* Fills *ei with `what` and the newest reason of OpenSSL's queue, empties the queue, returns e. */
enum td_err crypt_fail(struct errinfo *ei, enum td_err e, const char *what);

void crypt_pkey_auto(EVP_PKEY **p);
void crypt_pctx_auto(EVP_PKEY_CTX **p);
void crypt_bio_auto(BIO **p);
#define pkey_auto __attribute__((cleanup(crypt_pkey_auto))) EVP_PKEY
#define pctx_auto __attribute__((cleanup(crypt_pctx_auto))) EVP_PKEY_CTX
#define bio_auto __attribute__((cleanup(crypt_bio_auto))) BIO

#endif
