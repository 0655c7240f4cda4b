#include "mdm/crypt/key_int.h"

#include "mdm/crypt/der_int.h"

#include <openssl/core_names.h>
#include <openssl/x509.h>

#define OID_EC "\x2a\x86\x48\xce\x3d\x02\x01"
#define OID_RSA "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"
#define OID_ED25519 "\x2b\x65\x70"

static const struct key_curve curves[] = {
    {KEY_P256, "P-256", "prime256v1", SPAN_LIT("\x2a\x86\x48\xce\x3d\x03\x01\x07"), 32,
     DIGEST_SHA256},
    {KEY_P384, "P-384", "secp384r1", SPAN_LIT("\x2b\x81\x04\x00\x22"), 48, DIGEST_SHA384},
    {KEY_P521, "P-521", "secp521r1", SPAN_LIT("\x2b\x81\x04\x00\x23"), 66, DIGEST_SHA512},
};

const struct key_curve *key_curve_of(enum key_type t)
{
    for (size_t i = 0; i < TD_NITEMS(curves); i++)
        if (curves[i].type == t)
            return &curves[i];
    return NULL;
}

const struct key_curve *key_curve_by_oid(struct span oid)
{
    for (size_t i = 0; i < TD_NITEMS(curves); i++)
        if (span_eq(curves[i].oid, oid))
            return &curves[i];
    return NULL;
}

const struct key_curve *key_curve_by_group(const char *name)
{
    for (size_t i = 0; i < TD_NITEMS(curves); i++)
        if (strcmp(curves[i].group, name) == 0 || strcmp(curves[i].group2, name) == 0)
            return &curves[i];
    return NULL;
}

enum td_err key_make(EVP_PKEY *take, enum key_type type, struct buf *spki, struct key **ret,
                     struct errinfo *ei)
{
    size_t n;
    uint8_t *p = buf_take(spki, &n);
    struct key *k = p ? calloc(1, sizeof(*k)) : NULL;
    if (!k) {
        free(p);
        EVP_PKEY_free(take);
        return err_set(ei, TD_NOMEM, "key");
    }
    atomic_init(&k->refs, 1);
    for (size_t i = 0; i < KEY_OP_MAX; i++)
        atomic_init(&k->tmpl[i], NULL);
    k->pkey = take;
    k->type = type;
    k->bits = EVP_PKEY_get_bits(take);
    k->spki = p;
    k->nspki = n;
    *ret = k;
    return TD_OK;
}

struct key *key_ref(struct key *k)
{
    if (k)
        atomic_fetch_add_explicit(&k->refs, 1, memory_order_relaxed);
    return k;
}

void key_free(struct key *k)
{
    if (!k || atomic_fetch_sub_explicit(&k->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < KEY_OP_MAX; i++)
        EVP_PKEY_CTX_free(atomic_load(&k->tmpl[i]));
    EVP_PKEY_free(k->pkey);
    if (k->module.drop)
        k->module.drop(k->module.ctx);
    free(k->spki);
    free(k);
}

void key_auto_free(struct key **k)
{
    key_free(*k);
}

enum key_type key_type(const struct key *k)
{
    return k->type;
}

int key_bits(const struct key *k)
{
    return k->bits;
}

bool key_equal(const struct key *a, const struct key *b)
{
    return a && b && span_eq(span_of(a->spki, a->nspki), span_of(b->spki, b->nspki));
}

void key_put_ec_spki(struct buf *b, const struct key_curve *c, struct span point)
{
    size_t spki = der_open(b, DER_SEQUENCE);
    size_t alg = der_open(b, DER_SEQUENCE);
    der_put(b, DER_OID, SPAN_LIT(OID_EC));
    der_put(b, DER_OID, c->oid);
    der_close(b, alg);
    der_put_bits(b, point);
    der_close(b, spki);
}

void key_put_rsa_spki(struct buf *b, struct span n, struct span e)
{
    size_t spki = der_open(b, DER_SEQUENCE);
    size_t alg = der_open(b, DER_SEQUENCE);
    der_put(b, DER_OID, SPAN_LIT(OID_RSA));
    der_put(b, DER_NULL, (struct span){NULL, 0});
    der_close(b, alg);
    size_t bits = der_open(b, DER_BIT_STRING);
    buf_u8(b, 0);
    size_t seq = der_open(b, DER_SEQUENCE);
    der_put_uint(b, n);
    der_put_uint(b, e);
    der_close(b, seq);
    der_close(b, bits);
    der_close(b, spki);
}

void key_put_ed25519_spki(struct buf *b, struct span x)
{
    size_t spki = der_open(b, DER_SEQUENCE);
    size_t alg = der_open(b, DER_SEQUENCE);
    der_put(b, DER_OID, SPAN_LIT(OID_ED25519));
    der_close(b, alg);
    der_put_bits(b, x);
    der_close(b, spki);
}

/* An algorithm that is none of ours but OpenSSL's: kept so that a certificate can be shown. */
static enum td_err from_other(struct span der, struct key **ret, struct errinfo *ei)
{
    const unsigned char *p = der.p;
    EVP_PKEY *pkey = d2i_PUBKEY(NULL, &p, (long)der.n);
    if (!pkey)
        return crypt_fail(ei, TD_UNSUPPORTED, "public key of an unknown type");
    buf_auto b;
    buf_init(&b, KEY_SPKI_MAX);
    buf_span(&b, der);
    return key_make(pkey, KEY_OTHER, &b, ret, ei);
}

static enum td_err spki_ec(struct span params, struct span pub, struct key **ret,
                           struct errinfo *ei)
{
    struct span oid;
    const struct key_curve *c = NULL;
    if (der_get(&params, DER_OID, &oid) && params.n == 0)
        c = key_curve_by_oid(oid);
    if (!c)
        return err_set(ei, TD_UNSUPPORTED, "elliptic curve not among P-256, P-384, P-521");
    return key_from_point(c, pub, ret, ei);
}

static enum td_err spki_rsa(struct span params, struct span pub, struct key **ret,
                            struct errinfo *ei)
{
    struct span seq, n, e;
    bool ok = span_eq(params, SPAN_LIT("\x05\x00")) && der_get(&pub, DER_SEQUENCE, &seq) &&
              pub.n == 0 && der_get(&seq, DER_INTEGER, &n) && der_get(&seq, DER_INTEGER, &e) &&
              seq.n == 0 && der_int_ok(n) && der_int_ok(e) && !(n.p[0] & 0x80) && !(e.p[0] & 0x80);
    if (!ok)
        return err_set(ei, TD_PARSE, "RSA public key");
    return key_from_rsa_min(n, e, KEY_RSA_MIN_SPKI, ret, ei);
}

static enum td_err spki_ed25519(struct span params, struct span pub, struct key **ret,
                                struct errinfo *ei)
{
    if (params.n != 0)
        return err_set(ei, TD_PARSE, "Ed25519 parameters");
    return key_from_ed25519(pub, ret, ei);
}

static enum td_err from_spki(struct span der, bool others, struct key **ret, struct errinfo *ei)
{
    static const struct {
        struct span oid;
        enum td_err (*fn)(struct span params, struct span pub, struct key **, struct errinfo *);
    } algs[] = {
        {SPAN_LIT(OID_EC), spki_ec},
        {SPAN_LIT(OID_RSA), spki_rsa},
        {SPAN_LIT(OID_ED25519), spki_ed25519},
    };
    struct span in = der, spki, alg, oid, bits, pub;
    bool ok = der.n <= KEY_SPKI_MAX && der_get(&in, DER_SEQUENCE, &spki) && in.n == 0 &&
              der_get(&spki, DER_SEQUENCE, &alg) && der_get(&alg, DER_OID, &oid) &&
              der_get(&spki, DER_BIT_STRING, &bits) && spki.n == 0 && der_bits(bits, &pub);
    if (!ok)
        return err_set(ei, TD_PARSE, "SubjectPublicKeyInfo");
    for (size_t i = 0; i < TD_NITEMS(algs); i++)
        if (span_eq(oid, algs[i].oid))
            return algs[i].fn(alg, pub, ret, ei);
    return others ? from_other(der, ret, ei)
                  : err_set(ei, TD_UNSUPPORTED, "public key of an unknown type");
}

enum td_err key_from_spki(struct span der, struct key **ret, struct errinfo *ei)
{
    return from_spki(der, true, ret, ei);
}

enum td_err key_from_spki_known(struct span der, struct key **ret, struct errinfo *ei)
{
    return from_spki(der, false, ret, ei);
}

enum td_err key_spki(const struct key *k, struct arena *a, struct span *ret, struct errinfo *ei)
{
    struct span s = arena_span(a, span_of(k->spki, k->nspki));
    if (!s.p)
        return err_set(ei, TD_NOMEM, "key");
    *ret = s;
    return TD_OK;
}

struct span key_bits_octets(const struct key *k)
{
    struct span in = span_of(k->spki, k->nspki), spki, alg, bits, pub;
    bool ok = der_get(&in, DER_SEQUENCE, &spki) && der_get(&spki, DER_SEQUENCE, &alg) &&
              der_get(&spki, DER_BIT_STRING, &bits) && der_bits(bits, &pub);
    return ok ? pub : (struct span){NULL, 0};
}

enum td_err key_ec_point(const struct key *k, struct arena *a, struct span *ret, struct errinfo *ei)
{
    if (!key_curve_of(k->type))
        return err_set(ei, TD_UNSUPPORTED, "not an elliptic curve key");
    struct span s = arena_span(a, key_bits_octets(k));
    if (!s.p)
        return err_set(ei, TD_NOMEM, "key");
    *ret = s;
    return TD_OK;
}
