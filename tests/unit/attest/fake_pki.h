/* A fake attestation PKI for tests: P-384 root and Sub CA, leaves with Apple's extensions, built by
 * OpenSSL directly so that nothing of ours stands between the test and the bytes. */
#ifndef TD_TESTS_UNIT_ATTEST_FAKE_PKI_H
#define TD_TESTS_UNIT_ATTEST_FAKE_PKI_H

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>

#include "mdm/base/arena.h"
#include "mdm/base/buf.h"

#define FAKE_NOW INT64_C(1795000000) /* 2026-11-18 */
#define FAKE_DAY INT64_C(86400)

struct fake_ca {
    EVP_PKEY *key;
    X509 *cert;
};

struct fake_pki {
    struct fake_ca root, sub;
};

/* What a leaf says; NULL leaves an extension out. */
struct fake_leaf {
    EVP_PKEY *key;
    const char *serial, *freshness_oid; /* OID: NULL for Apple's */
    struct span freshness;              /* p NULL: left out */
    bool freshness_twice, serial_twice, ca, critical;
    int64_t not_before, not_after; /* 0: Apple's usual */
    const struct fake_ca *issuer;  /* NULL: the Sub CA */
};

static inline void fake_ok(bool ok)
{
    if (!ok) {
        fprintf(stderr, "fake PKI: OpenSSL failed\n");
        abort();
    }
}

static inline EVP_PKEY *fake_key(const char *curve)
{
    EVP_PKEY *k = EVP_EC_gen(curve);
    fake_ok(k != NULL);
    return k;
}

static inline X509 *fake_start(EVP_PKEY *key, const char *cn, X509_NAME *issuer, int64_t from,
                               int64_t to)
{
    static atomic_long serial = 1000; /* clients run on several threads */
    X509 *x = X509_new();
    X509_NAME *name = X509_NAME_new();
    fake_ok(X509_set_version(x, 2) == 1);
    fake_ok(ASN1_INTEGER_set(X509_get_serialNumber(x), atomic_fetch_add(&serial, 1)) == 1);
    fake_ok(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1,
                                       0) == 1);
    fake_ok(X509_set_subject_name(x, name) == 1);
    fake_ok(X509_set_issuer_name(x, issuer ? issuer : name) == 1);
    fake_ok(ASN1_TIME_set(X509_getm_notBefore(x), (time_t)from) != NULL);
    fake_ok(ASN1_TIME_set(X509_getm_notAfter(x), (time_t)to) != NULL);
    fake_ok(X509_set_pubkey(x, key) == 1);
    X509_NAME_free(name);
    return x;
}

static inline void fake_ext(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    fake_ok(e != NULL && X509_add_ext(x, e, -1) == 1);
    X509_EXTENSION_free(e);
}

/* An extension whose value is exactly these bytes. */
static inline void fake_raw2(X509 *x, const char *oid, struct span v, bool critical)
{
    ASN1_OBJECT *o = OBJ_txt2obj(oid, 1);
    ASN1_OCTET_STRING *s = ASN1_OCTET_STRING_new();
    fake_ok(ASN1_OCTET_STRING_set(s, v.p, (int)v.n) == 1);
    X509_EXTENSION *e = X509_EXTENSION_create_by_OBJ(NULL, o, critical, s);
    fake_ok(e != NULL && X509_add_ext(x, e, -1) == 1);
    X509_EXTENSION_free(e);
    ASN1_OCTET_STRING_free(s);
    ASN1_OBJECT_free(o);
}

static inline void fake_raw(X509 *x, const char *oid, struct span v)
{
    fake_raw2(x, oid, v, false);
}

/* usage NULL: no keyUsage; constraints NULL: no basicConstraints. issuer NULL: self-signed. */
static inline struct fake_ca fake_ca_new(const char *cn, const struct fake_ca *issuer,
                                         const char *constraints, const char *usage, int64_t to)
{
    struct fake_ca ca = {.key = fake_key("P-384")};
    ca.cert = fake_start(ca.key, cn, issuer ? X509_get_subject_name(issuer->cert) : NULL,
                         FAKE_NOW - 3000 * FAKE_DAY, to);
    X509 *by = issuer ? issuer->cert : ca.cert;
    if (constraints)
        fake_ext(ca.cert, by, NID_basic_constraints, constraints);
    fake_ext(ca.cert, by, NID_subject_key_identifier, "hash");
    if (issuer)
        fake_ext(ca.cert, by, NID_authority_key_identifier, "keyid");
    if (usage)
        fake_ext(ca.cert, by, NID_key_usage, usage);
    fake_ok(X509_sign(ca.cert, issuer ? issuer->key : ca.key, EVP_sha384()) > 0);
    return ca;
}

static inline void fake_ca_free(struct fake_ca *ca)
{
    X509_free(ca->cert);
    EVP_PKEY_free(ca->key);
}

static inline struct fake_pki fake_pki_new(const char *root_cn)
{
    struct fake_pki p = {0};
    p.root = fake_ca_new(root_cn, NULL, "critical,CA:TRUE", "critical,keyCertSign,cRLSign",
                         FAKE_NOW + 3000 * FAKE_DAY);
    p.sub = fake_ca_new("Fake Attestation Sub CA 1", &p.root, "critical,CA:TRUE,pathlen:0",
                        "critical,keyCertSign,cRLSign", FAKE_NOW + 2000 * FAKE_DAY);
    return p;
}

static inline void fake_pki_free(struct fake_pki *p)
{
    fake_ca_free(&p->root);
    fake_ca_free(&p->sub);
}

static inline struct span fake_der(X509 *x, struct arena *a)
{
    unsigned char *p = NULL;
    int n = i2d_X509(x, &p);
    fake_ok(n > 0);
    struct span s = arena_span(a, span_of(p, (size_t)n));
    OPENSSL_free(p);
    return s;
}

static inline struct span fake_pem(X509 *x, struct arena *a)
{
    BIO *b = BIO_new(BIO_s_mem());
    char *p;
    fake_ok(PEM_write_bio_X509(b, x) == 1);
    long n = BIO_get_mem_data(b, &p);
    struct span s = arena_span(a, span_of(p, (size_t)n));
    BIO_free(b);
    return s;
}

#define FAKE_ARC "1.2.840.113635.100.8."

static inline struct span fake_leaf_der(const struct fake_pki *pki, const struct fake_leaf *l,
                                        struct arena *a)
{
    const struct fake_ca *by = l->issuer ? l->issuer : &pki->sub;
    X509 *x = fake_start(l->key, "leaf", X509_get_subject_name(by->cert),
                         l->not_before ? l->not_before : FAKE_NOW - FAKE_DAY,
                         l->not_after ? l->not_after : FAKE_NOW + 90 * FAKE_DAY);
    fake_ext(x, by->cert, NID_basic_constraints, l->ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
    fake_ext(x, by->cert, NID_key_usage, "critical,digitalSignature");
    for (int i = 0; l->serial && i <= l->serial_twice; i++)
        fake_raw(x, FAKE_ARC "9.1", span_str(l->serial));
    fake_raw(x, FAKE_ARC "9.2", SPAN_LIT("00008120-000A1B2C3D4E5F60"));
    fake_raw(x, FAKE_ARC "10.1", SPAN_LIT("19.1"));
    fake_raw(x, FAKE_ARC "10.2",
             SPAN_LIT("\x0c\x04"
                      "19.1"));
    if (l->critical)
        fake_raw2(x, FAKE_ARC "99.1", SPAN_LIT("?"), true);
    fake_raw(x, FAKE_ARC "13.1", SPAN_LIT("\x02\x01\x00"));
    fake_raw(x, FAKE_ARC "13.3", SPAN_LIT("\x02\x01\x07"));
    for (int i = 0; l->freshness.p && i <= l->freshness_twice; i++)
        fake_raw(x, l->freshness_oid ? l->freshness_oid : FAKE_ARC "11.1", l->freshness);
    fake_ok(X509_sign(x, by->key, EVP_sha384()) > 0);
    struct span der = fake_der(x, a);
    X509_free(x);
    return der;
}

/* CBOR heads and strings. */
static inline void fake_cbor(struct buf *b, unsigned major, size_t n)
{
    unsigned m = major << 5;
    if (n < 24)
        (void)buf_u8(b, (uint8_t)(m | n));
    else if (n < 256)
        (void)(buf_u8(b, (uint8_t)(m | 24)), buf_u8(b, (uint8_t)n));
    else
        (void)(buf_u8(b, (uint8_t)(m | 25)), buf_u16(b, (uint16_t)n));
}

static inline void fake_cbor_str(struct buf *b, unsigned major, struct span s)
{
    fake_cbor(b, major, s.n);
    (void)buf_span(b, s);
}

/* {fmt, attStmt: {x5c: [...]}} in Apple's order of keys. */
static inline struct span fake_attobj(const char *fmt, const struct span *x5c, size_t n,
                                      struct arena *a)
{
    buf_auto b;
    buf_init(&b, 65536);
    fake_cbor(&b, 5, 2);
    fake_cbor_str(&b, 3, SPAN_LIT("fmt"));
    fake_cbor_str(&b, 3, span_str(fmt));
    fake_cbor_str(&b, 3, SPAN_LIT("attStmt"));
    fake_cbor(&b, 5, 1);
    fake_cbor_str(&b, 3, SPAN_LIT("x5c"));
    fake_cbor(&b, 4, n);
    for (size_t i = 0; i < n; i++)
        fake_cbor_str(&b, 2, x5c[i]);
    fake_ok(b.err == TD_OK);
    return arena_span(a, buf_view(&b));
}

#endif
