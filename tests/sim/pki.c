#include "tests/sim/pki.h"

#include "mdm/base/fs.h"
#include "mdm/base/hex.h"

#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdlib.h>

#define APPLE_ARC "1.2.840.113635.100.8."
enum { DAY = 86400, PEM_MAX = 16384, DER_MAX = 8192 };

struct pki {
    X509 *sub;
    EVP_PKEY *key;
    struct buf sub_der;
    _Atomic uint64_t last_serial;
};

/* --- names and extensions --- */

static bool name_add(X509_NAME *n, const char *field, const char *value)
{
    return X509_NAME_add_entry_by_txt(n, field, MBSTRING_UTF8, (const unsigned char *)value, -1, -1,
                                      0) == 1;
}

static bool ca_name(X509_NAME *n, const char *cn)
{
    return name_add(n, "CN", cn) && name_add(n, "O", "Testudo Simulator") && name_add(n, "C", "US");
}

static bool ext_conf(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    ossl_auto(X509_EXTENSION) e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    return e && X509_add_ext(x, e, -1) == 1;
}

/* An extension whose extnValue holds the bytes themselves, without inner DER. */
static bool ext_raw(X509 *x, const char *oid, const void *p, size_t n)
{
    ossl_auto(ASN1_OBJECT) obj = OBJ_txt2obj(oid, 1);
    ossl_auto(ASN1_OCTET_STRING) os = ASN1_OCTET_STRING_new();
    if (!obj || !os || ASN1_OCTET_STRING_set(os, p, (int)n) != 1)
        return false;
    ossl_auto(X509_EXTENSION) e = X509_EXTENSION_create_by_OBJ(NULL, obj, 0, os);
    return e && X509_add_ext(x, e, -1) == 1;
}

static bool ext_str(X509 *x, const char *oid, const char *v)
{
    return !v || ext_raw(x, oid, v, strlen(v));
}

static bool ext_int(X509 *x, const char *oid, int v)
{
    const uint8_t der[] = {2, 1, (uint8_t)v};
    return v < 0 || ext_raw(x, oid, der, sizeof(der));
}

static bool validity(X509 *x, int64_t from, int64_t to)
{
    time_t a = (time_t)from, b = (time_t)to;
    return X509_time_adj_ex(X509_getm_notBefore(x), 0, 0, &a) &&
           X509_time_adj_ex(X509_getm_notAfter(x), 0, 0, &b);
}

/* --- making --- */

static bool random_serial(X509 *x)
{
    uint8_t r[20];
    if (RAND_bytes(r, sizeof(r)) != 1)
        return false;
    r[0] = (uint8_t)((r[0] & 0x3f) | 0x40);
    BIGNUM *bn = BN_bin2bn(r, sizeof(r), NULL);
    bool ok = bn && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(x));
    BN_free(bn);
    return ok;
}

/* Version, serial number, names, validity, key. */
static bool ca_body(X509 *x, const char *cn, EVP_PKEY *key, X509 *by, int64_t now, int64_t days)
{
    return X509_set_version(x, X509_VERSION_3) == 1 && random_serial(x) &&
           validity(x, now - DAY, now + days * DAY) && ca_name(X509_get_subject_name(x), cn) &&
           X509_set_issuer_name(x, X509_get_subject_name(by)) == 1 && X509_set_pubkey(x, key) == 1;
}

static bool root_exts(X509 *x)
{
    return ext_conf(x, x, NID_basic_constraints, "critical,CA:TRUE") &&
           ext_conf(x, x, NID_subject_key_identifier, "hash") &&
           ext_conf(x, x, NID_key_usage, "critical,keyCertSign,cRLSign");
}

static bool sub_exts(X509 *x, X509 *by)
{
    return ext_conf(x, by, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
           ext_conf(x, by, NID_authority_key_identifier, "keyid") &&
           ext_conf(x, by, NID_subject_key_identifier, "hash") &&
           ext_conf(x, by, NID_key_usage, "critical,keyCertSign,cRLSign");
}

/* A CA certificate; `issuer` NULL signs itself. The lifetimes are those of Apple's. */
static X509 *make_ca(const char *cn, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key, int64_t now)
{
    X509 *x = X509_new();
    if (x && ca_body(x, cn, key, issuer ? issuer : x, now, issuer ? 3650 : 9131) &&
        (issuer ? sub_exts(x, issuer) : root_exts(x)) && X509_sign(x, issuer_key, EVP_sha384()) > 0)
        return x;
    X509_free(x);
    return NULL;
}

static enum td_err save_pair(const char *dir, const char *name, X509 *cert, EVP_PKEY *key,
                             struct errinfo *ei)
{
    char path[1024];
    buf_auto b;
    buf_init(&b, PEM_MAX);
    TD_TRY(ossl_key_pem(key, &b, ei));
    snprintf(path, sizeof(path), "%s/%s.key", dir, name);
    TD_TRY(fs_write(path, buf_view(&b), 0600, false, ei));
    buf_reset(&b);
    TD_TRY(ossl_cert_pem(cert, &b, ei));
    snprintf(path, sizeof(path), "%s/%s.pem", dir, name);
    return fs_write(path, buf_view(&b), 0644, false, ei);
}

static enum td_err init_one(const char *dir, const char *word, int64_t now, struct errinfo *ei)
{
    char root_cn[96], sub_cn[96];
    snprintf(root_cn, sizeof(root_cn), "%s Enterprise Attestation Root CA", word);
    snprintf(sub_cn, sizeof(sub_cn), "%s Enterprise Attestation Sub CA 1", word);
    ossl_auto(EVP_PKEY) root_key = ossl_ec_key(384);
    ossl_auto(EVP_PKEY) sub_key = ossl_ec_key(384);
    if (!root_key || !sub_key)
        return ossl_fail(ei, "key generation");
    ossl_auto(X509) root = make_ca(root_cn, root_key, NULL, root_key, now);
    ossl_auto(X509) sub = root ? make_ca(sub_cn, sub_key, root, root_key, now) : NULL;
    if (!sub)
        return ossl_fail(ei, "attestation CA");
    TD_TRY(fs_mkdir(dir, 0700, ei));
    TD_TRY(save_pair(dir, "root", root, root_key, ei));
    return save_pair(dir, "sub", sub, sub_key, ei);
}

enum td_err pki_init(const char *dir, int64_t now, struct errinfo *ei)
{
    char foreign[1024], root[1024];
    snprintf(foreign, sizeof(foreign), "%s/foreign", dir);
    snprintf(root, sizeof(root), "%s/root.pem", dir);
    if (fs_exists(root))
        return err_set(ei, TD_EXISTS, "%s exists already", root);
    TD_TRY(init_one(dir, "Simulated", now, ei));
    return init_one(foreign, "Foreign", now, ei);
}

enum td_err pki_load(const char *dir, struct pki **ret, struct errinfo *ei)
{
    char path[1024];
    buf_auto pem;
    buf_init(&pem, PEM_MAX);
    struct pki *p = calloc(1, sizeof(*p));
    if (!p)
        return err_set(ei, TD_NOMEM, "no memory");
    buf_init(&p->sub_der, DER_MAX);
    snprintf(path, sizeof(path), "%s/sub.pem", dir);
    enum td_err e = fs_read(path, PEM_MAX, &pem, ei);
    if (e == TD_OK)
        e = ossl_cert_from_pem(buf_view(&pem), &p->sub, ei);
    if (e == TD_OK)
        e = ossl_cert_der(p->sub, &p->sub_der, ei);
    snprintf(path, sizeof(path), "%s/sub.key", dir);
    if (e == TD_OK) {
        buf_free(&pem);
        e = fs_read(path, PEM_MAX, &pem, ei);
    }
    if (e == TD_OK)
        e = ossl_key_from_pem(buf_view(&pem), &p->key, ei);
    if (e != TD_OK) {
        pki_free(p);
        return e;
    }
    *ret = p;
    return TD_OK;
}

void pki_free(struct pki *p)
{
    if (!p)
        return;
    X509_free(p->sub);
    EVP_PKEY_free(p->key);
    buf_free(&p->sub_der);
    free(p);
}

struct span pki_sub_der(const struct pki *p)
{
    return buf_view(&p->sub_der);
}

/* Apple's serial numbers are the time of issue in milliseconds; ours too, but never twice. */
static uint64_t next_serial(struct pki *p, int64_t now)
{
    uint64_t ms = (uint64_t)now * 1000;
    uint64_t last = atomic_load(&p->last_serial), want = 0;
    do {
        want = ms > last ? ms : last + 1;
    } while (!atomic_compare_exchange_weak(&p->last_serial, &last, want));
    return want;
}

/* CN = hex SHA-256 of the uncompressed point, as on Apple's leaves. */
static bool leaf_name(X509 *x, EVP_PKEY *key)
{
    uint8_t point[97], md[SHA256_DIGEST_LENGTH];
    char cn[2 * SHA256_DIGEST_LENGTH + 1];
    size_t n = 0;
    if (ossl_point(key, point, &n, NULL) != TD_OK)
        return false;
    SHA256(point, n, md);
    hex_enc(SPAN_ARR(md), cn);
    X509_NAME *name = X509_get_subject_name(x);
    return name_add(name, "CN", cn) && name_add(name, "OU", "AAA Certification") &&
           name_add(name, "O", "Testudo Simulator") && name_add(name, "ST", "California");
}

/* The extensions in the order of a real leaf. */
static bool leaf_exts(X509 *x, X509 *sub, const struct pki_facts *f, struct span freshness)
{
    return ext_conf(x, sub, NID_basic_constraints, "critical,CA:FALSE") &&
           ext_conf(x, sub, NID_key_usage,
                    "critical,digitalSignature,nonRepudiation,keyEncipherment,dataEncipherment") &&
           ext_str(x, APPLE_ARC "10.2", f->sepos_version) &&
           ext_str(x, APPLE_ARC "10.3", f->llb_version) &&
           ext_str(x, APPLE_ARC "10.1", f->os_version) && ext_str(x, APPLE_ARC "9.4", f->model) &&
           ext_str(x, APPLE_ARC "13.2", f->secure_boot) && ext_int(x, APPLE_ARC "13.1", f->sip) &&
           ext_int(x, APPLE_ARC "13.3", f->kexts) && ext_str(x, APPLE_ARC "9.1", f->serial) &&
           ext_str(x, APPLE_ARC "9.2", f->udid) &&
           (freshness.n == 0 || ext_raw(x, APPLE_ARC "11.1", freshness.p, freshness.n));
}

enum td_err pki_leaf(struct pki *p, const struct pki_facts *f, struct span freshness, EVP_PKEY *key,
                     int64_t now, struct buf *b, struct errinfo *ei)
{
    ossl_auto(X509) x = X509_new();
    bool ok = x && X509_set_version(x, X509_VERSION_3) == 1 &&
              ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), next_serial(p, now)) == 1 &&
              validity(x, now - DAY, now + 90LL * DAY) &&
              X509_set_issuer_name(x, X509_get_subject_name(p->sub)) == 1 &&
              X509_set_pubkey(x, key) == 1 && leaf_name(x, key) &&
              leaf_exts(x, p->sub, f, freshness) && X509_sign(x, p->key, EVP_sha384()) > 0;
    if (!ok)
        return ossl_fail(ei, "attestation leaf");
    return ossl_cert_der(x, b, ei);
}
