/* Chains of certificates. */
#include "mdm/base/limits.h"
#include "mdm/crypt/der_int.h"
#include "mdm/crypt/ossl_int.h"
#include "mdm/crypt/x509_int.h"

#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

struct trust {
    X509_STORE *store;
};

/* OpenSSL's security levels: 2 asks for 112 bit (RSA-2048, no SHA-1), 0 for nothing. */
#define LEVEL_STRONG 2
#define LEVEL_NONE 0

void trust_free(struct trust *t)
{
    if (!t)
        return;
    X509_STORE_free(t->store);
    free(t);
}

enum td_err trust_new(struct cert *const *roots, size_t n, struct trust **ret, struct errinfo *ei)
{
    TD_TRY(crypt_init(ei));
    struct trust *t = calloc(1, sizeof(*t));
    if (!t)
        return err_set(ei, TD_NOMEM, "trust");
    t->store = X509_STORE_new();
    bool ok = t->store != NULL;
    for (size_t i = 0; ok && i < n; i++) {
        X509 *x = cert_x509(roots[i]);
        ok = x && X509_STORE_add_cert(t->store, x) == 1;
    }
    if (!ok) {
        trust_free(t);
        return crypt_fail(ei, TD_CRYPTO, "trusted root");
    }
    *ret = t;
    return TD_OK;
}

static void store_ctx_auto(X509_STORE_CTX **p)
{
    X509_STORE_CTX_free(*p);
}

static void x509_stack_auto(STACK_OF(X509) * *p)
{
    sk_X509_free(*p);
}

/* With lax_ids: identifiers only help to find an issuer, the signature is what counts. All else
 * stays fatal. */
static int forgive_ids(int ok, X509_STORE_CTX *ctx)
{
    int e = X509_STORE_CTX_get_error(ctx);
    if (ok || (e != X509_V_ERR_MISSING_AUTHORITY_KEY_IDENTIFIER &&
               e != X509_V_ERR_MISSING_SUBJECT_KEY_IDENTIFIER))
        return ok;
    X509_STORE_CTX_set_error(ctx, X509_V_OK);
    return 1;
}

static bool set_params(X509_STORE_CTX *ctx, const struct trust_opts *o)
{
    X509_VERIFY_PARAM *p = X509_STORE_CTX_get0_param(ctx);
    unsigned long flags = X509_V_FLAG_X509_STRICT;
    if (o->lax_ids)
        X509_STORE_CTX_set_verify_cb(ctx, forgive_ids);
    /* A set time would win over NO_CHECK_TIME. */
    if (o->no_time)
        flags |= X509_V_FLAG_NO_CHECK_TIME;
    else
        X509_VERIFY_PARAM_set_time(p, (time_t)o->at);
    X509_VERIFY_PARAM_set_depth(p, LIMIT_CERT_CHAIN);
    X509_VERIFY_PARAM_set_auth_level(p, o->weak_algs ? LEVEL_NONE : LEVEL_STRONG);
    if (X509_VERIFY_PARAM_set_flags(p, flags) != 1)
        return false;
    if (o->purpose && strcmp(o->purpose, "any") != 0) {
        const X509_PURPOSE *xp = X509_PURPOSE_get0(X509_PURPOSE_get_by_sname(o->purpose));
        return xp && X509_VERIFY_PARAM_set_purpose(p, X509_PURPOSE_get_id(xp)) == 1;
    }
    return true;
}

/* OpenSSL forgets why it could not decode a key; what we can decode it can, with memory. */
static enum td_err usable(const struct cert *c, X509 **ret, const char *what, struct errinfo *ei)
{
    *ret = cert_x509(c);
    if (!*ret)
        return crypt_fail(ei, TD_CRYPTO, what);
    if (!X509_get0_pubkey(*ret))
        return crypt_fail(ei, cert_key(c) ? TD_NOMEM : TD_CRYPTO, what);
    return TD_OK;
}

enum td_err trust_verify(const struct trust *t, const struct cert *leaf,
                         const struct cert *const *chain, size_t nchain, const struct trust_opts *o,
                         struct errinfo *ei)
{
    if (nchain > LIMIT_CERT_CHAIN)
        return err_set(ei, TD_LIMIT, "chain of %zu certificates", nchain);
    __attribute__((cleanup(x509_stack_auto))) STACK_OF(X509) *untrusted = sk_X509_new_null();
    __attribute__((cleanup(store_ctx_auto))) X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    if (!untrusted || !ctx)
        return crypt_fail(ei, TD_NOMEM, "chain");
    for (size_t i = 0; i < nchain; i++) {
        X509 *x;
        TD_TRY(usable(chain[i], &x, "certificate of the chain", ei));
        if (sk_X509_push(untrusted, x) <= 0)
            return crypt_fail(ei, TD_NOMEM, "chain");
    }
    X509 *x;
    TD_TRY(usable(leaf, &x, "certificate", ei));
    if (X509_STORE_CTX_init(ctx, t->store, x, untrusted) != 1 || !set_params(ctx, o))
        return crypt_fail(ei, TD_INVAL, "verification options");
    if (X509_verify_cert(ctx) == 1)
        return TD_OK;
    int code = X509_STORE_CTX_get_error(ctx);
    int depth = X509_STORE_CTX_get_error_depth(ctx);
    enum td_err e = code == X509_V_ERR_OUT_OF_MEM ? TD_NOMEM : crypt_fail(NULL, TD_CRYPTO, "");
    return err_set(ei, e, "certificate at depth %d: %s", depth,
                   X509_verify_cert_error_string(code));
}

/* --- leaves of our own CA --------------------------------------------------------------------- */

#define OID_KEY_USAGE "\x55\x1d\x0f"
#define OID_SAN "\x55\x1d\x11"
#define OID_BASIC_CONSTRAINTS "\x55\x1d\x13"
#define OID_EKU "\x55\x1d\x25"
#define OID_CLIENT_AUTH "\x2b\x06\x01\x05\x05\x07\x03\x02"

/* KeyUsage ::= BIT STRING; digitalSignature is the top bit of the first octet. */
static bool may_sign(const struct cert *c)
{
    const struct cert_ext *e = cert_find_ext(c, SPAN_LIT(OID_KEY_USAGE));
    struct span in, bits;
    if (!e)
        return false;
    in = e->val;
    return der_get(&in, DER_BIT_STRING, &bits) && in.n == 0 && bits.n >= 2 && (bits.p[1] & 0x80);
}

static bool for_clients(const struct cert *c)
{
    const struct cert_ext *e = cert_find_ext(c, SPAN_LIT(OID_EKU));
    struct span in, list, oid;
    bool found = false;
    if (!e)
        return false;
    in = e->val;
    if (!der_get(&in, DER_SEQUENCE, &list) || in.n != 0)
        return false;
    while (list.n > 0) {
        if (!der_get(&list, DER_OID, &oid))
            return false;
        found = found || span_eq(oid, SPAN_LIT(OID_CLIENT_AUTH));
    }
    return found;
}

static bool understood(const struct cert *c)
{
    static const struct span known[] = {SPAN_LIT(OID_KEY_USAGE), SPAN_LIT(OID_SAN),
                                        SPAN_LIT(OID_BASIC_CONSTRAINTS), SPAN_LIT(OID_EKU)};
    for (size_t i = 0; i < c->nexts; i++) {
        bool ok = !c->exts[i].critical;
        for (size_t j = 0; !ok && j < TD_NITEMS(known); j++)
            ok = span_eq(c->exts[i].oid, known[j]);
        if (!ok)
            return false;
    }
    return true;
}

enum td_err cert_check_client(const struct cert *c, const struct cert *issuer, struct errinfo *ei)
{
    if (c->ca || !may_sign(c) || !for_clients(c))
        return err_set(ei, TD_CRYPTO, "the certificate is not one for TLS clients");
    if (!understood(c))
        return err_set(ei, TD_CRYPTO, "an unknown critical extension");
    return cert_check_issued(c, issuer, ei);
}
