#include "mdm/crypt/ossl_int.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <pthread.h>
#include <string.h>

static const char *const md_names[DIGEST_MAX] = {"SHA1", "SHA256", "SHA384", "SHA512"};

static const char *const curve_names[] = {"P-256", "P-384", "P-521"};

/* Written once under pthread_once, read-only afterwards. A copy of a curve's parameters takes a
 * quarter of the time that making them takes. */
static EVP_MD *mds[DIGEST_MAX];
static EVP_PKEY *curves[TD_NITEMS(curve_names)];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static EVP_PKEY *load_curve(const char *name)
{
    EVP_PKEY *pkey = NULL;
    char group[sizeof("P-256")];
    memcpy(group, name, sizeof(group));
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    if (ctx && EVP_PKEY_fromdata_init(ctx) == 1)
        (void)EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_KEY_PARAMETERS, params);
    EVP_PKEY_CTX_free(ctx);
    return pkey;
}

static void load(void)
{
    /* No openssl.cnf: what OPENSSL_CONF names must not load engines or providers into us. */
    OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_ADD_ALL_DIGESTS |
                            OPENSSL_INIT_ADD_ALL_CIPHERS | OPENSSL_INIT_LOAD_CRYPTO_STRINGS,
                        NULL);
    for (size_t i = 0; i < DIGEST_MAX; i++)
        mds[i] = EVP_MD_fetch(NULL, md_names[i], NULL);
    for (size_t i = 0; i < TD_NITEMS(curves); i++)
        curves[i] = load_curve(curve_names[i]);
}

enum td_err crypt_init(struct errinfo *ei)
{
    pthread_once(&once, load);
    for (size_t i = 0; i < DIGEST_MAX; i++)
        if (!mds[i])
            return crypt_fail(ei, TD_CRYPTO, md_names[i]);
    for (size_t i = 0; i < TD_NITEMS(curves); i++)
        if (!curves[i])
            return crypt_fail(ei, TD_CRYPTO, curve_names[i]);
    return TD_OK;
}

EVP_PKEY *crypt_curve(const char *name)
{
    pthread_once(&once, load);
    for (size_t i = 0; i < TD_NITEMS(curves); i++)
        if (strcmp(curve_names[i], name) == 0)
            return curves[i] ? EVP_PKEY_dup(curves[i]) : NULL;
    return NULL;
}

const EVP_MD *crypt_md(enum digest_alg alg)
{
    pthread_once(&once, load);
    if ((unsigned)alg >= DIGEST_MAX || !mds[alg])
        abort();
    return mds[alg];
}

/* True when memory ran out somewhere below: then nothing is known about what was asked. Empties the
 * queue of errors. */
static bool out_of_memory(void)
{
    bool found = false;
    for (unsigned long e; (e = ERR_get_error()) != 0;)
        found = found || ERR_GET_REASON(e) == ERR_R_MALLOC_FAILURE;
    return found;
}

enum td_err crypt_fail(struct errinfo *ei, enum td_err e, const char *what)
{
    const char *why = ERR_reason_error_string(ERR_peek_last_error());
    if (out_of_memory())
        e = TD_NOMEM;
    return why ? err_set(ei, e, "%s: %s", what, why) : err_set(ei, e, "%s", what);
}

void crypt_pkey_auto(EVP_PKEY **p)
{
    EVP_PKEY_free(*p);
}

void crypt_pctx_auto(EVP_PKEY_CTX **p)
{
    EVP_PKEY_CTX_free(*p);
}

void crypt_bio_auto(BIO **p)
{
    BIO_free_all(*p);
}
