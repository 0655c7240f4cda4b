/* Signatures made and checked. */
#include "mdm/crypt/der_int.h"
#include "mdm/crypt/key_int.h"
#include "mdm/crypt/p384.h"

#include <openssl/err.h>
#include <openssl/rsa.h>

#define SIG_MAX 1024 /* RSA-4096 has 512, ECDSA on P-521 at most 139 */

/* The digest whose operation is kept as template. */
static enum digest_alg natural(const struct key *k)
{
    const struct key_curve *c = key_curve_of(k->type);
    return c ? c->digest : DIGEST_SHA256;
}

static EVP_PKEY_CTX *op_setup(const struct key *k, enum key_op op, enum digest_alg alg)
{
    static int (*const init[KEY_OP_MAX])(EVP_PKEY_CTX *) = {
        [KEY_OP_SIGN] = EVP_PKEY_sign_init, [KEY_OP_VERIFY] = EVP_PKEY_verify_init};
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, k->pkey, NULL);
    if (ctx && init[op](ctx) == 1 &&
        (k->type != KEY_RSA || EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1) &&
        EVP_PKEY_CTX_set_signature_md(ctx, crypt_md(alg)) == 1)
        return ctx;
    EVP_PKEY_CTX_free(ctx);
    return NULL;
}

/* A context ready for one operation. The template is filled by whoever comes first. */
static EVP_PKEY_CTX *op_ctx(const struct key *ck, enum key_op op, enum digest_alg alg)
{
    if (alg != natural(ck))
        return op_setup(ck, op, alg);
    /* The only members of a key that change; a key is never defined const. */
    struct key *k = (struct key *)(uintptr_t)ck;
    EVP_PKEY_CTX *t = atomic_load_explicit(&k->tmpl[op], memory_order_acquire);
    if (!t) {
        EVP_PKEY_CTX *mine = op_setup(k, op, alg);
        if (!mine)
            return NULL;
        if (atomic_compare_exchange_strong(&k->tmpl[op], &t, mine))
            t = mine;
        else
            EVP_PKEY_CTX_free(mine);
    }
    return EVP_PKEY_CTX_dup(t);
}

static void mdctx_auto(EVP_MD_CTX **p)
{
    EVP_MD_CTX_free(*p);
}

static bool ed25519_sign(const struct key *k, struct span data, uint8_t *sig, size_t *n)
{
    __attribute__((cleanup(mdctx_auto))) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    return ctx && EVP_DigestSignInit(ctx, NULL, NULL, NULL, k->pkey) == 1 &&
           EVP_DigestSign(ctx, sig, n, data.p, data.n) == 1;
}

static bool ed25519_verify(const struct key *k, struct span data, struct span sig)
{
    __attribute__((cleanup(mdctx_auto))) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    return ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, k->pkey) == 1 &&
           EVP_DigestVerify(ctx, sig.p, sig.n, data.p, data.n) == 1;
}

/* ECDSA-Sig-Value of R and S (RFC 3279 section 2.2.3); buffers for P-521. */
static size_t sig_der(struct span r, struct span s, uint8_t out[static 3 + 2 * (2 + 67)])
{
    size_t n = 3;
    for (int i = 0; i < 2; i++) {
        struct span v = i ? s : r;
        while (v.n > 1 && v.p[0] == 0)
            v = span_sub(v, 1, v.n - 1);
        size_t pad = v.n == 0 || v.p[0] & 0x80;
        out[n++] = DER_INTEGER;
        out[n++] = (uint8_t)(v.n + pad);
        if (pad)
            out[n++] = 0;
        if (v.n)
            memcpy(out + n, v.p, v.n);
        n += v.n;
    }
    size_t body = n - 3;
    if (body < 0x80) { /* one octet of length: close the gap */
        memmove(out + 2, out + 3, body);
        out[1] = (uint8_t)body;
        n--;
    } else {
        out[1] = 0x81;
        out[2] = (uint8_t)body;
    }
    out[0] = DER_SEQUENCE;
    return n;
}

enum td_err key_from_module(const struct key *pub, const struct key_module *take, struct key **ret,
                            struct errinfo *ei)
{
    struct key *k = NULL;
    enum td_err e = TD_OK;
    if (!key_curve_of(pub->type))
        e = err_set(ei, TD_UNSUPPORTED, "the module's key is not P-256, P-384 or P-521");
    if (e == TD_OK)
        e = key_from_spki_known(span_of(pub->spki, pub->nspki), &k, ei);
    if (e != TD_OK) {
        take->drop(take->ctx);
        return e;
    }
    k->module = *take;
    *ret = k;
    return TD_OK;
}

static enum td_err module_sign(const struct key *k, enum digest_alg alg, struct span data,
                               struct arena *a, struct span *ret, struct errinfo *ei)
{
    uint8_t md[DIGEST_SIZE_MAX], rs[2 * 66], der[3 + 2 * (2 + 67)];
    size_t size = key_curve_of(k->type)->size;
    digest(alg, data, md);
    TD_TRY(k->module.sign(k->module.ctx, span_of(md, digest_size(alg)), rs, 2 * size, ei));
    size_t n = sig_der(span_of(rs, size), span_of(rs + size, size), der);
    struct span s = arena_span(a, span_of(der, n));
    if (!s.p)
        return err_set(ei, TD_NOMEM, "signature");
    *ret = s;
    return TD_OK;
}

enum td_err key_sign(const struct key *k, enum digest_alg alg, struct span data, struct arena *a,
                     struct span *ret, struct errinfo *ei)
{
    uint8_t sig[SIG_MAX];
    size_t n = sizeof(sig);
    bool ok;
    if (k->type == KEY_OTHER)
        return err_set(ei, TD_UNSUPPORTED, "signing with this type of key");
    if (k->module.sign)
        return module_sign(k, alg, data, a, ret, ei);
    if (k->type == KEY_ED25519) {
        ok = ed25519_sign(k, data, sig, &n);
    } else {
        uint8_t md[DIGEST_SIZE_MAX];
        digest(alg, data, md);
        pctx_auto *ctx = op_ctx(k, KEY_OP_SIGN, alg);
        ok = ctx && EVP_PKEY_sign(ctx, sig, &n, md, digest_size(alg)) == 1;
    }
    if (!ok)
        return crypt_fail(ei, TD_CRYPTO, "signing");
    struct span s = arena_span(a, span_of(sig, n));
    if (!s.p)
        return err_set(ei, TD_NOMEM, "signature");
    *ret = s;
    return TD_OK;
}

enum td_err key_verify(const struct key *k, enum digest_alg alg, struct span data, struct span sig,
                       struct errinfo *ei)
{
    bool ok;
    if (k->type == KEY_OTHER)
        return err_set(ei, TD_UNSUPPORTED, "verifying with this type of key");
    if (sig.n == 0 || sig.n > SIG_MAX)
        return err_set(ei, TD_CRYPTO, "signature of %zu bytes", sig.n);
    uint8_t md[DIGEST_SIZE_MAX];
    if (k->type == KEY_ED25519) {
        ok = ed25519_verify(k, data, sig);
    } else if (k->type == KEY_P384) {
        digest(alg, data, md);
        ok = p384_verify(key_bits_octets(k), span_of(md, digest_size(alg)), sig);
    } else {
        digest(alg, data, md);
        pctx_auto *ctx = op_ctx(k, KEY_OP_VERIFY, alg);
        if (!ctx) /* never the signature's fault */
            return crypt_fail(ei, TD_NOMEM, "verifying");
        ok = EVP_PKEY_verify(ctx, sig.p, sig.n, md, digest_size(alg)) == 1;
    }
    return ok ? TD_OK : crypt_fail(ei, TD_CRYPTO, "signature does not hold");
}

/* R and S side by side, R of nr bytes. ctx is NULL for P-384. */
static bool verify_rs(const struct key *k, EVP_PKEY_CTX *ctx, struct span md, struct span sig,
                      size_t nr)
{
    uint8_t der[3 + 2 * (2 + 67)];
    size_t n = sig_der(span_sub(sig, 0, nr), span_sub(sig, nr, sig.n - nr), der);
    if (!ctx)
        return p384_verify(key_bits_octets(k), md, span_of(der, n));
    return EVP_PKEY_verify(ctx, der, n, md.p, md.n) == 1;
}

enum td_err key_verify_jws_ecdsa(const struct key *k, enum digest_alg alg, struct span data,
                                 struct span sig, struct errinfo *ei)
{
    const struct key_curve *c = key_curve_of(k->type);
    if (!c || alg != c->digest)
        return err_set(ei, TD_CRYPTO, "key and JWS algorithm do not belong together");
    bool is_short = c->type == KEY_P256 && sig.n >= 60 && sig.n < 64;
    if (sig.n != 2 * c->size && !is_short)
        return err_set(ei, TD_CRYPTO, "JWS signature of %zu bytes", sig.n);
    uint8_t md[DIGEST_SIZE_MAX];
    digest(alg, data, md);
    bool nettle = k->type == KEY_P384;
    pctx_auto *ctx = nettle ? NULL : op_ctx(k, KEY_OP_VERIFY, alg);
    if (!ctx && !nettle)
        return crypt_fail(ei, TD_NOMEM, "verifying");
    /* The full size leaves one split; 60 bytes leave five (R of 28 to 32). */
    for (size_t nr = sig.n - c->size; nr <= c->size; nr++) {
        if (verify_rs(k, ctx, span_of(md, digest_size(alg)), sig, nr)) {
            ERR_clear_error(); /* of the splits that failed */
            return TD_OK;
        }
    }
    return crypt_fail(ei, TD_CRYPTO, "JWS signature does not hold");
}
