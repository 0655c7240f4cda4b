/* Public keys from their numbers (RFC 7517, RFC 7518 section 6, RFC 8037). */
#include "mdm/crypt/der_int.h"
#include "mdm/crypt/key_int.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/param_build.h>

#define POINT_MAX (1 + 2 * 66)

static void param_bld_auto(OSSL_PARAM_BLD **p)
{
    OSSL_PARAM_BLD_free(*p);
}

static void params_auto(OSSL_PARAM **p)
{
    OSSL_PARAM_free(*p);
}

static void bn_auto_free(BIGNUM **p)
{
    BN_free(*p);
}
#define bn_auto __attribute__((cleanup(bn_auto_free))) BIGNUM

/* The uncompressed form of a point given compressed. */
static bool decompress(EVP_PKEY *pkey, const struct key_curve *c, uint8_t out[static POINT_MAX])
{
    bn_auto *x = NULL, *y = NULL;
    out[0] = 4;
    return EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_EC_PUB_X, &x) == 1 &&
           EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_EC_PUB_Y, &y) == 1 &&
           BN_bn2binpad(x, out + 1, (int)c->size) > 0 &&
           BN_bn2binpad(y, out + 1 + c->size, (int)c->size) > 0;
}

enum td_err key_from_point(const struct key_curve *c, struct span point, struct key **ret,
                           struct errinfo *ei)
{
    uint8_t octets[POINT_MAX];
    bool full = point.n == 1 + 2 * c->size && point.p[0] == 4;
    bool compressed = point.n == 1 + c->size && (point.p[0] & 0xfe) == 2;
    if (!full && !compressed)
        return err_set(ei, TD_PARSE, "elliptic curve point");
    memcpy(octets, point.p, point.n);
    /* OpenSSL checks that the point is on the curve while it decodes it. */
    pkey_auto *pkey = crypt_curve(c->group);
    if (!pkey || EVP_PKEY_set1_encoded_public_key(pkey, octets, point.n) != 1)
        return crypt_fail(ei, TD_PARSE, "elliptic curve point");
    if (compressed && !decompress(pkey, c, octets))
        return crypt_fail(ei, TD_CRYPTO, "elliptic curve point");
    buf_auto b;
    buf_init(&b, KEY_SPKI_MAX);
    key_put_ec_spki(&b, c, span_of(octets, 1 + 2 * c->size));
    EVP_PKEY *take = pkey;
    pkey = NULL;
    return key_make(take, c->type, &b, ret, ei);
}

enum td_err key_from_ec(enum key_type t, struct span x, struct span y, struct key **ret,
                        struct errinfo *ei)
{
    const struct key_curve *c = key_curve_of(t);
    if (!c)
        return err_set(ei, TD_INVAL, "not an elliptic curve");
    /* RFC 7518 section 6.2.1.2: exactly the size of a coordinate */
    if (x.n != c->size || y.n != c->size)
        return err_set(ei, TD_PARSE, "coordinate of the wrong size");
    uint8_t point[POINT_MAX] = {4};
    memcpy(point + 1, x.p, c->size);
    memcpy(point + 1 + c->size, y.p, c->size);
    return key_from_point(c, span_of(point, 1 + 2 * c->size), ret, ei);
}

static struct span strip_zeros(struct span s)
{
    while (s.n > 0 && s.p[0] == 0)
        s = span_sub(s, 1, s.n - 1);
    return s;
}

/* Bits of a number without leading zero octets. */
static size_t bit_len(struct span s)
{
    if (s.n == 0)
        return 0;
    size_t bits = s.n * 8;
    for (uint8_t top = s.p[0]; !(top & 0x80); top = (uint8_t)(top << 1))
        bits--;
    return bits;
}

static EVP_PKEY *rsa_fromdata(struct span n, struct span e)
{
    bn_auto *bn = BN_bin2bn(n.p, (int)n.n, NULL);
    bn_auto *be = BN_bin2bn(e.p, (int)e.n, NULL);
    __attribute__((cleanup(param_bld_auto))) OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    if (!bn || !be || !bld || !OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, bn) ||
        !OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, be))
        return NULL;
    __attribute__((cleanup(params_auto))) OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
    EVP_PKEY *pkey = NULL;
    pctx_auto *ctx = params ? EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL) : NULL;
    if (!ctx || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
        return NULL;
    return pkey;
}

enum td_err key_from_rsa_min(struct span n, struct span e, size_t min_bits, struct key **ret,
                             struct errinfo *ei)
{
    n = strip_zeros(n);
    e = strip_zeros(e);
    size_t nbits = bit_len(n), ebits = bit_len(e);
    if (nbits < min_bits || nbits > KEY_RSA_MAX)
        return err_set(ei, TD_UNSUPPORTED, "RSA key of %zu bit", nbits);
    /* Over 64 bit an exponent only costs us time. */
    if (n.n == 0 || e.n == 0 || ebits < 2 || ebits > 64 || !(e.p[e.n - 1] & 1) ||
        !(n.p[n.n - 1] & 1))
        return err_set(ei, TD_PARSE, "RSA modulus or exponent");
    EVP_PKEY *pkey = rsa_fromdata(n, e);
    if (!pkey)
        return crypt_fail(ei, TD_PARSE, "RSA key");
    buf_auto b;
    buf_init(&b, KEY_SPKI_MAX);
    key_put_rsa_spki(&b, n, e);
    return key_make(pkey, KEY_RSA, &b, ret, ei);
}

enum td_err key_from_rsa(struct span n, struct span e, struct key **ret, struct errinfo *ei)
{
    return key_from_rsa_min(n, e, KEY_RSA_MIN, ret, ei);
}

enum td_err key_from_ed25519(struct span x, struct key **ret, struct errinfo *ei)
{
    if (x.n != 32)
        return err_set(ei, TD_PARSE, "Ed25519 key of the wrong size");
    EVP_PKEY *pkey = EVP_PKEY_new_raw_public_key_ex(NULL, "ED25519", NULL, x.p, x.n);
    if (!pkey)
        return crypt_fail(ei, TD_PARSE, "Ed25519 key");
    buf_auto b;
    buf_init(&b, KEY_SPKI_MAX);
    key_put_ed25519_spki(&b, x);
    return key_make(pkey, KEY_ED25519, &b, ret, ei);
}
