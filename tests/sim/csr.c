#include "tests/sim/csr.h"

#include <openssl/x509v3.h>

static void free_exts(STACK_OF(X509_EXTENSION) * *p)
{
    sk_X509_EXTENSION_pop_free(*p, X509_EXTENSION_free);
}

static void free_names(GENERAL_NAMES **p)
{
    GENERAL_NAMES_free(*p);
}

/* "CN", "O", ... or a dotted OID; the profile's "EMAIL" is OpenSSL's emailAddress. */
static enum td_err add_pair(X509_NAME *name, const struct plist *pair, bool joins, struct arena *a,
                            struct errinfo *ei)
{
    const char *type = NULL, *value = NULL;
    TD_TRY(plist_str_val(plist_at(pair, 0), a, &type));
    TD_TRY(plist_str_val(plist_at(pair, 1), a, &value));
    if (strcmp(type, "EMAIL") == 0)
        type = "emailAddress";
    if (X509_NAME_add_entry_by_txt(name, type, MBSTRING_UTF8, (const unsigned char *)value, -1, -1,
                                   joins ? -1 : 0) != 1)
        return ossl_fail(ei, "CSR subject");
    return TD_OK;
}

static enum td_err set_subject(X509_REQ *req, const struct plist *subject, struct arena *a,
                               struct errinfo *ei)
{
    X509_NAME *name = X509_REQ_get_subject_name(req);
    for (size_t i = 0; i < plist_count(subject); i++) {
        const struct plist *rdn = plist_at(subject, i);
        for (size_t j = 0; j < plist_count(rdn); j++) {
            enum td_err e = add_pair(name, plist_at(rdn, j), j > 0, a, ei);
            if (e == TD_PARSE || e == TD_NOTFOUND)
                return err_set(ei, TD_PARSE, "the payload's Subject is not an array of pairs");
            TD_TRY(e);
        }
    }
    return TD_OK;
}

static const struct {
    const char *key, *prefix;
    int type;
} san_kinds[] = {
    {"rfc822Name", "", GEN_EMAIL},
    {"dNSName", "", GEN_DNS},
    {"uniformResourceIdentifier", "", GEN_URI},
    {"ntPrincipalName", "1.3.6.1.4.1.311.20.2.3;UTF8:", GEN_OTHERNAME},
};

static enum td_err add_san(STACK_OF(X509_EXTENSION) * *exts, const struct plist *san,
                           struct arena *a, struct errinfo *ei)
{
    __attribute__((cleanup(free_names))) GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    for (size_t i = 0; names && i < TD_NITEMS(san_kinds); i++) {
        const char *v = NULL;
        if (plist_str(san, san_kinds[i].key, a, &v) != TD_OK)
            continue;
        char *text = arena_printf(a, "%s%s", san_kinds[i].prefix, v);
        GENERAL_NAME *g =
            text ? a2i_GENERAL_NAME(NULL, NULL, NULL, san_kinds[i].type, text, 0) : NULL;
        if (!g || sk_GENERAL_NAME_push(names, g) <= 0) {
            GENERAL_NAME_free(g);
            return ossl_fail(ei, "CSR subjectAltName");
        }
    }
    if (!names)
        return err_set(ei, TD_NOMEM, "no memory");
    if (sk_GENERAL_NAME_num(names) == 0)
        return TD_OK;
    if (X509V3_add1_i2d(exts, NID_subject_alt_name, names, 0, X509V3_ADD_APPEND) != 1)
        return ossl_fail(ei, "CSR subjectAltName");
    return TD_OK;
}

static enum td_err add_conf(STACK_OF(X509_EXTENSION) * exts, int nid, const char *value,
                            struct errinfo *ei)
{
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    if (!e || sk_X509_EXTENSION_push(exts, e) <= 0) {
        X509_EXTENSION_free(e);
        return ossl_fail(ei, "CSR extension");
    }
    return TD_OK;
}

static enum td_err eku_text(const struct plist *eku, struct arena *a, struct buf *b)
{
    for (size_t i = 0; i < plist_count(eku); i++) {
        const char *oid = NULL;
        TD_TRY(plist_str_val(plist_at(eku, i), a, &oid));
        TD_TRY(buf_printf(b, "%s%s", i ? "," : "", oid));
    }
    return b->n ? TD_OK : buf_str(b, "clientAuth");
}

static const char *usage_text(int64_t usage)
{
    if (usage == 1)
        return "critical,digitalSignature";
    if (usage == 4)
        return "critical,keyEncipherment";
    return "critical,digitalSignature,keyEncipherment";
}

static enum td_err add_exts(X509_REQ *req, const struct csr_spec *s, struct arena *a,
                            struct errinfo *ei)
{
    __attribute__((cleanup(free_exts))) STACK_OF(X509_EXTENSION) *exts =
        sk_X509_EXTENSION_new_null();
    buf_auto eku;
    buf_init(&eku, 2048);
    if (!exts)
        return err_set(ei, TD_NOMEM, "no memory");
    TD_TRY(add_san(&exts, s->san, a, ei));
    TD_TRY(eku_text(s->eku, a, &eku));
    TD_TRY(add_conf(exts, NID_ext_key_usage, buf_cstr(&eku), ei));
    TD_TRY(add_conf(exts, NID_key_usage, usage_text(s->usage), ei));
    if (X509_REQ_add_extensions(req, exts) != 1)
        return ossl_fail(ei, "CSR extensions");
    return TD_OK;
}

enum td_err csr_build(const struct csr_spec *s, struct arena *a, struct buf *b, struct errinfo *ei)
{
    ossl_auto(X509_REQ) req = X509_REQ_new();
    if (!req || X509_REQ_set_version(req, X509_REQ_VERSION_1) != 1 ||
        X509_REQ_set_pubkey(req, s->key) != 1)
        return ossl_fail(ei, "CSR");
    TD_TRY(set_subject(req, s->subject, a, ei));
    TD_TRY(add_exts(req, s, a, ei));
    if (X509_REQ_sign(req, s->key, EVP_sha256()) <= 0)
        return ossl_fail(ei, "CSR signature");
    unsigned char *der = NULL;
    int n = i2d_X509_REQ(req, &der);
    if (n <= 0)
        return ossl_fail(ei, "CSR encoding");
    enum td_err e = buf_add(b, der, (size_t)n);
    OPENSSL_free(der);
    return e;
}
