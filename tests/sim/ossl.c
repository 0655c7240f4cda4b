#include "tests/sim/ossl.h"

#include <openssl/err.h>
#include <openssl/pem.h>

enum td_err ossl_fail(struct errinfo *ei, const char *what)
{
    unsigned long e = ERR_get_error();
    const char *reason = e ? ERR_reason_error_string(e) : NULL;
    ERR_clear_error();
    return err_set(ei, TD_CRYPTO, "%s: %s", what, reason ? reason : "failed");
}

EVP_PKEY *ossl_ec_key(int bits)
{
    return EVP_EC_gen(bits == 384 ? "P-384" : "P-256");
}

enum td_err ossl_point(EVP_PKEY *key, uint8_t out[static 97], size_t *ret_n, struct errinfo *ei)
{
    unsigned char *p = NULL;
    size_t n = EVP_PKEY_get1_encoded_public_key(key, &p);
    if (n == 0 || n > 97 || p[0] != 4) {
        OPENSSL_free(p);
        return ossl_fail(ei, "public key");
    }
    memcpy(out, p, n);
    OPENSSL_free(p);
    *ret_n = n;
    return TD_OK;
}

enum td_err ossl_cert_der(X509 *cert, struct buf *b, struct errinfo *ei)
{
    unsigned char *p = NULL;
    int n = i2d_X509(cert, &p);
    if (n <= 0)
        return ossl_fail(ei, "certificate encoding");
    enum td_err e = buf_add(b, p, (size_t)n);
    OPENSSL_free(p);
    return e;
}

static enum td_err take_bio(BIO *bio, struct buf *b)
{
    char *p = NULL;
    long n = BIO_get_mem_data(bio, &p);
    return buf_add(b, p, n > 0 ? (size_t)n : 0);
}

enum td_err ossl_cert_pem(X509 *cert, struct buf *b, struct errinfo *ei)
{
    ossl_auto(BIO) bio = BIO_new(BIO_s_mem());
    if (!bio || PEM_write_bio_X509(bio, cert) != 1)
        return ossl_fail(ei, "certificate encoding");
    return take_bio(bio, b);
}

enum td_err ossl_key_pem(EVP_PKEY *key, struct buf *b, struct errinfo *ei)
{
    ossl_auto(BIO) bio = BIO_new(BIO_s_secmem());
    if (!bio || PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1)
        return ossl_fail(ei, "key encoding");
    return take_bio(bio, b);
}

enum td_err ossl_cert_from_pem(struct span pem, X509 **ret, struct errinfo *ei)
{
    ossl_auto(BIO) bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    X509 *x = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    if (!x) {
        ossl_fail(ei, "certificate");
        return TD_PARSE;
    }
    *ret = x;
    return TD_OK;
}

enum td_err ossl_key_from_pem(struct span pem, EVP_PKEY **ret, struct errinfo *ei)
{
    ossl_auto(BIO) bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    EVP_PKEY *k = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
    if (!k) {
        ossl_fail(ei, "private key");
        return TD_PARSE;
    }
    *ret = k;
    return TD_OK;
}
