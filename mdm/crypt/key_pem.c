/* Private keys: made, read, written. */
#include "mdm/crypt/der_int.h"
#include "mdm/crypt/key_int.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>

#define PEM_MAX 65536
/* PBKDF2 (HMAC-SHA-256) rounds of a key file we write: some 0.3 s, per key and start of the signer.
 */
#define PBKDF2_ROUNDS 600000

static bool put_ec(EVP_PKEY *pkey, struct buf *b, enum key_type *ret)
{
    char group[32];
    size_t n;
    if (EVP_PKEY_get_utf8_string_param(pkey, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof(group),
                                       &n) != 1)
        return false;
    const struct key_curve *c = key_curve_by_group(group);
    if (!c)
        return false;
    uint8_t point[1 + 2 * 66] = {4};
    BIGNUM *x = NULL, *y = NULL;
    bool ok = EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_EC_PUB_X, &x) == 1 &&
              EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_EC_PUB_Y, &y) == 1 &&
              BN_bn2binpad(x, point + 1, (int)c->size) > 0 &&
              BN_bn2binpad(y, point + 1 + c->size, (int)c->size) > 0;
    BN_free(x);
    BN_free(y);
    key_put_ec_spki(b, c, span_of(point, 1 + 2 * c->size));
    *ret = c->type;
    return ok;
}

static bool put_other(EVP_PKEY *pkey, struct buf *b, enum key_type *ret)
{
    unsigned char *der = NULL;
    int n = i2d_PUBKEY(pkey, &der);
    if (n <= 0)
        return false;
    buf_add(b, der, (size_t)n);
    OPENSSL_free(der);
    *ret = EVP_PKEY_is_a(pkey, "RSA")       ? KEY_RSA
           : EVP_PKEY_is_a(pkey, "ED25519") ? KEY_ED25519
                                            : KEY_OTHER;
    return true;
}

enum td_err key_wrap(EVP_PKEY *take, struct key **ret, struct errinfo *ei)
{
    pkey_auto *pkey = take;
    buf_auto b;
    buf_init(&b, KEY_SPKI_MAX);
    enum key_type t = KEY_OTHER;
    bool ok = EVP_PKEY_is_a(pkey, "EC") ? put_ec(pkey, &b, &t) : put_other(pkey, &b, &t);
    if (!ok)
        return crypt_fail(ei, TD_UNSUPPORTED, "private key");
    pkey = NULL;
    return key_make(take, t, &b, ret, ei);
}

enum td_err key_generate(enum key_type t, struct key **ret, struct errinfo *ei)
{
    EVP_PKEY *pkey = NULL;
    const struct key_curve *c = key_curve_of(t);
    TD_TRY(crypt_init(ei));
    if (c)
        pkey = EVP_PKEY_Q_keygen(NULL, NULL, "EC", c->group);
    else if (t == KEY_RSA)
        pkey = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)KEY_RSA_MIN);
    else
        return err_set(ei, TD_INVAL, "key type that is not generated");
    if (!pkey)
        return crypt_fail(ei, TD_CRYPTO, "key generation");
    return key_wrap(pkey, ret, ei);
}

/* OpenSSL asks for the passphrase; without one it must fail, never prompt. */
static int pass_cb(char *buf, int size, int rwflag, void *u)
{
    (void)rwflag;
    const struct secret *pass = u;
    if (!pass || size < 0 || pass->n > (size_t)size)
        return -1;
    memcpy(buf, pass->p, pass->n);
    return (int)pass->n;
}

static struct secret *unconst(const struct secret *s)
{
    return (struct secret *)(uintptr_t)s;
}

/* Deciphers once. The general reader tries one decoder after the other, each of which derives the
 * key from the passphrase anew. */
static EVP_PKEY *read_encrypted(BIO *bio, const struct secret *pass)
{
    X509_SIG *enc = pass ? PEM_read_bio_PKCS8(bio, NULL, NULL, NULL) : NULL;
    PKCS8_PRIV_KEY_INFO *p8 = enc ? PKCS8_decrypt(enc, (const char *)pass->p, (int)pass->n) : NULL;
    EVP_PKEY *pkey = p8 ? EVP_PKCS82PKEY(p8) : NULL;
    PKCS8_PRIV_KEY_INFO_free(p8);
    X509_SIG_free(enc);
    return pkey;
}

enum td_err key_from_pem(struct span pem, const struct secret *pass, struct key **ret,
                         struct errinfo *ei)
{
    TD_TRY(crypt_init(ei));
    if (pem.n > PEM_MAX)
        return err_set(ei, TD_LIMIT, "PEM of %zu bytes", pem.n);
    bio_auto *bio = BIO_new_mem_buf(pem.n ? (const void *)pem.p : "", (int)pem.n);
    if (!bio)
        return crypt_fail(ei, TD_NOMEM, "PEM");
    EVP_PKEY *pkey = span_starts(pem, SPAN_LIT("-----BEGIN ENCRYPTED PRIVATE KEY-----"))
                         ? read_encrypted(bio, pass)
                         : PEM_read_bio_PrivateKey(bio, NULL, pass_cb, unconst(pass));
    if (!pkey)
        return crypt_fail(ei, TD_CRYPTO, "private key or its passphrase");
    return key_wrap(pkey, ret, ei);
}

static bool write_pem(BIO *bio, const struct key *k, const struct secret *pass)
{
    PKCS8_PRIV_KEY_INFO *p8 = EVP_PKEY2PKCS8(k->pkey);
    if (!p8)
        return false;
    bool ok;
    if (pass) {
        X509_SIG *enc = PKCS8_encrypt(-1, EVP_aes_256_cbc(), (const char *)pass->p, (int)pass->n,
                                      NULL, 0, PBKDF2_ROUNDS, p8);
        ok = enc && PEM_write_bio_PKCS8(bio, enc) == 1;
        X509_SIG_free(enc);
    } else {
        ok = PEM_write_bio_PKCS8_PRIV_KEY_INFO(bio, p8) == 1;
    }
    PKCS8_PRIV_KEY_INFO_free(p8);
    return ok;
}

enum td_err key_to_pem(const struct key *k, const struct secret *pass, struct buf *ret,
                       struct errinfo *ei)
{
    if (pass && pass->n == 0)
        return err_set(ei, TD_INVAL, "empty passphrase");
    if (k->module.sign)
        return err_set(ei, TD_UNSUPPORTED, "the private key does not leave its module");
    bio_auto *bio = BIO_new(BIO_s_mem()); /* cleansed when freed */
    if (!bio || !write_pem(bio, k, pass))
        return crypt_fail(ei, TD_CRYPTO, "private key to PEM");
    char *p = NULL;
    long n = BIO_get_mem_data(bio, &p);
    if (n <= 0 || buf_add(ret, p, (size_t)n) != TD_OK)
        return err_set(ei, TD_LIMIT, "private key to PEM");
    return TD_OK;
}
