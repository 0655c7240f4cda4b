/* CMS SignedData (RFC 5652), with OpenSSL. */
#include "mdm/crypt/cms.h"

#include "mdm/base/limits.h"
#include "mdm/crypt/key_int.h"
#include "mdm/crypt/x509_int.h"

#include <openssl/cms.h>
#include <openssl/err.h>

#define CMS_OUT_MAX (16 << 20)

static void cms_auto_free(CMS_ContentInfo **p)
{
    CMS_ContentInfo_free(*p);
}
#define cms_auto __attribute__((cleanup(cms_auto_free))) CMS_ContentInfo

static void x509s_auto_free(STACK_OF(X509) * *p)
{
    sk_X509_pop_free(*p, X509_free);
}

static bool add_signing_time(CMS_SignerInfo *si, int64_t now)
{
    ASN1_TIME *t = ASN1_TIME_set(NULL, (time_t)now);
    bool ok = t && CMS_signed_add1_attr_by_NID(si, NID_pkcs9_signingTime, ASN1_STRING_type(t), t,
                                               -1) == 1;
    ASN1_TIME_free(t);
    return ok;
}

static enum td_err build(CMS_ContentInfo *cms, const struct cert *signer, const struct key *key,
                         struct cert *const *chain, size_t nchain, int64_t now, struct errinfo *ei)
{
    X509 *x = cert_x509(signer);
    if (!x)
        return crypt_fail(ei, TD_CRYPTO, "signer's certificate");
    CMS_SignerInfo *si = CMS_add1_signer(cms, x, key->pkey, crypt_md(DIGEST_SHA256),
                                         CMS_BINARY | CMS_PARTIAL | CMS_NOSMIMECAP);
    if (!si || !add_signing_time(si, now))
        return crypt_fail(ei, TD_CRYPTO, "CMS signer");
    for (size_t i = 0; i < nchain; i++) {
        X509 *c = cert_x509(chain[i]);
        if (!c || CMS_add1_cert(cms, c) != 1)
            return crypt_fail(ei, TD_CRYPTO, "CMS certificate");
    }
    return TD_OK;
}

enum td_err cms_sign(const struct cert *signer, const struct key *key, struct cert *const *chain,
                     size_t nchain, struct span content, int64_t now, struct arena *a,
                     struct span *ret, struct errinfo *ei)
{
    TD_TRY(crypt_init(ei));
    if (content.n > CMS_OUT_MAX)
        return err_set(ei, TD_LIMIT, "content of %zu bytes to sign", content.n);
    if (!key_equal(cert_key(signer), key))
        return err_set(ei, TD_INVAL, "signer's key and certificate do not belong together");
    bio_auto *in = BIO_new_mem_buf(content.n ? (const void *)content.p : "", (int)content.n);
    /* partial, so that signer, time and chain are in before the signature is made */
    cms_auto *cms = CMS_sign(NULL, NULL, NULL, NULL, CMS_BINARY | CMS_PARTIAL);
    if (!in || !cms)
        return crypt_fail(ei, TD_NOMEM, "CMS");
    TD_TRY(build(cms, signer, key, chain, nchain, now, ei));
    if (CMS_final(cms, in, NULL, CMS_BINARY) != 1)
        return crypt_fail(ei, TD_CRYPTO, "CMS signature");
    unsigned char *der = NULL;
    int n = i2d_CMS_ContentInfo(cms, &der);
    if (n <= 0)
        return crypt_fail(ei, TD_CRYPTO, "CMS");
    struct span s = arena_span(a, span_of(der, (size_t)n));
    OPENSSL_free(der);
    if (!s.p)
        return err_set(ei, TD_NOMEM, "CMS");
    *ret = s;
    return TD_OK;
}

/* A detached SignedData with one signer. */
static enum td_err parse_detached(struct span der, CMS_ContentInfo **ret, struct errinfo *ei)
{
    if (der.n > LIMIT_CMS_SIGNATURE)
        return err_set(ei, TD_LIMIT, "CMS of %zu bytes", der.n);
    TD_TRY(ber_guard(der, ei));
    const unsigned char *p = der.p;
    cms_auto *cms = d2i_CMS_ContentInfo(NULL, &p, (long)der.n);
    if (!cms)
        return crypt_fail(ei, TD_PARSE, "CMS");
    if (p != der.p + der.n)
        return err_set(ei, TD_PARSE, "bytes behind the CMS");
    if (OBJ_obj2nid(CMS_get0_type(cms)) != NID_pkcs7_signed || CMS_is_detached(cms) != 1)
        return crypt_fail(ei, TD_PARSE, "CMS is not a detached SignedData");
    if (sk_CMS_SignerInfo_num(CMS_get0_SignerInfos(cms)) != 1)
        return crypt_fail(ei, TD_PARSE, "CMS has not exactly one signer");
    *ret = cms;
    cms = NULL;
    return TD_OK;
}

/* SHA-1 is still what some devices sign with (MB-32): it covers a request, no certificate. */
static bool digest_alg_of(CMS_SignerInfo *si, enum digest_alg *ret)
{
    static const struct {
        int nid;
        enum digest_alg alg;
    } algs[] = {{NID_sha256, DIGEST_SHA256},
                {NID_sha1, DIGEST_SHA1},
                {NID_sha384, DIGEST_SHA384},
                {NID_sha512, DIGEST_SHA512}};
    X509_ALGOR *alg = NULL;
    CMS_SignerInfo_get0_algs(si, NULL, NULL, &alg, NULL);
    const ASN1_OBJECT *oid = NULL;
    X509_ALGOR_get0(&oid, NULL, NULL, alg);
    int nid = OBJ_obj2nid(oid);
    for (size_t i = 0; i < TD_NITEMS(algs); i++) {
        if (nid == algs[i].nid) {
            *ret = algs[i].alg;
            return true;
        }
    }
    return false;
}

/* The certificate of the one signer, among those inside. */
static enum td_err find_signer(CMS_ContentInfo *cms, CMS_SignerInfo *si, struct cert **ret,
                               struct errinfo *ei)
{
    __attribute__((cleanup(x509s_auto_free))) STACK_OF(X509) *certs = CMS_get1_certs(cms);
    int n = sk_X509_num(certs);
    if (n < 1 || n > LIMIT_CERT_CHAIN)
        return crypt_fail(ei, TD_PARSE, "number of certificates in the CMS");
    for (int i = 0; i < n; i++) {
        X509 *x = sk_X509_value(certs, i);
        if (CMS_SignerInfo_cert_cmp(si, x) != 0)
            continue;
        unsigned char *der = NULL;
        int len = i2d_X509(x, &der);
        if (len <= 0)
            return crypt_fail(ei, TD_CRYPTO, "signer's certificate");
        enum td_err e = cert_parse(span_of(der, (size_t)len), ret, ei);
        OPENSSL_free(der);
        if (e == TD_OK)
            CMS_SignerInfo_set1_signer_cert(si, x);
        return e;
    }
    return err_set(ei, TD_PARSE, "the signer's certificate is not in the CMS");
}

/* The one value of the one attribute of this kind, -3 in OpenSSL's words. */
static const void *attr(CMS_SignerInfo *si, int nid, int type)
{
    return CMS_signed_get0_data_by_OBJ(si, OBJ_nid2obj(nid), -3, type);
}

/* The signature covers the attributes, messageDigest among them the content (RFC 5652 section
 * 5.4); contentType must be that of the message (section 5.3). Not CMS_verify: it hashes the
 * content once for each of the digestAlgorithms, which a peer can repeat two thousand times. */
static enum td_err verify_attrs(CMS_ContentInfo *cms, CMS_SignerInfo *si, enum digest_alg alg,
                                struct span content, struct errinfo *ei)
{
    const ASN1_OCTET_STRING *md = attr(si, NID_pkcs9_messageDigest, V_ASN1_OCTET_STRING);
    const ASN1_OBJECT *type = attr(si, NID_pkcs9_contentType, V_ASN1_OBJECT);
    if (!md || !type || OBJ_cmp(type, CMS_get0_eContentType(cms)) != 0)
        return crypt_fail(ei, TD_CRYPTO, "signed attributes of the CMS");
    uint8_t want[DIGEST_SIZE_MAX];
    digest(alg, content, want);
    struct span got = span_of(ASN1_STRING_get0_data(md), (size_t)ASN1_STRING_length(md));
    if (!span_eq(got, span_of(want, digest_size(alg))))
        return err_set(ei, TD_CRYPTO, "CMS signs other content");
    if (CMS_SignerInfo_verify(si) != 1)
        return crypt_fail(ei, TD_CRYPTO, "CMS signature does not hold");
    return TD_OK;
}

enum td_err cms_verify_detached(struct span der, struct span content, struct cert **ret_signer,
                                struct errinfo *ei)
{
    TD_TRY(crypt_init(ei));
    cms_auto *cms = NULL;
    TD_TRY(parse_detached(der, &cms, ei));
    CMS_SignerInfo *si = sk_CMS_SignerInfo_value(CMS_get0_SignerInfos(cms), 0);
    enum digest_alg alg;
    if (!digest_alg_of(si, &alg))
        return err_set(ei, TD_CRYPTO, "digest algorithm of the CMS");
    cert_auto *signer = NULL;
    TD_TRY(find_signer(cms, si, &signer, ei));
    const struct key *k = cert_key(signer);
    if (!k || (key_type(k) != KEY_RSA && !key_curve_of(key_type(k))))
        return err_set(ei, TD_CRYPTO, "key type of the CMS signer");
    if (CMS_signed_get_attr_count(si) >= 0) {
        TD_TRY(verify_attrs(cms, si, alg, content, ei));
    } else {
        const ASN1_OCTET_STRING *sig = CMS_SignerInfo_get0_signature(si);
        struct span s = span_of(ASN1_STRING_get0_data(sig), (size_t)ASN1_STRING_length(sig));
        TD_TRY(key_verify(k, alg, content, s, ei));
    }
    ERR_clear_error();
    *ret_signer = signer;
    signer = NULL;
    return TD_OK;
}
