/* Certificates as text: PEM and names. */
#include "mdm/crypt/ossl_int.h"
#include "mdm/crypt/x509_int.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#define PEM_MAX (1 << 20)

/* The next CERTIFICATE block of the PEM; NULL in *ret at its end. */
static enum td_err next_pem(BIO *bio, struct cert **ret, struct errinfo *ei)
{
    enum td_err e = TD_OK;
    bool found = false;
    *ret = NULL;
    while (!found && e == TD_OK) {
        char *name = NULL, *header = NULL;
        unsigned char *data = NULL;
        long n = 0;
        if (PEM_read_bio(bio, &name, &header, &data, &n) != 1) {
            ERR_clear_error(); /* "no start line" is how the end looks */
            return TD_OK;
        }
        found = strcmp(name, PEM_STRING_X509) == 0 || strcmp(name, PEM_STRING_X509_OLD) == 0;
        if (found)
            e = cert_parse(span_of(data, (size_t)n), ret, ei);
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_free(data);
    }
    return e;
}

enum td_err cert_all_from_pem(struct span pem, struct cert **ret, size_t max, size_t *ret_n,
                              struct errinfo *ei)
{
    if (pem.n == 0 || pem.n > PEM_MAX)
        return err_set(ei, pem.n ? TD_LIMIT : TD_PARSE, "PEM of %zu bytes", pem.n);
    bio_auto *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    if (!bio)
        return crypt_fail(ei, TD_NOMEM, "PEM");
    size_t n = 0;
    enum td_err e = TD_OK;
    while (n < max) {
        struct cert *c;
        e = next_pem(bio, &c, ei);
        if (e != TD_OK || !c)
            break;
        ret[n++] = c;
    }
    if (e == TD_OK && n == 0)
        e = err_set(ei, TD_PARSE, "no certificate in the PEM");
    if (e != TD_OK) {
        while (n > 0)
            cert_free(ret[--n]);
        return e;
    }
    *ret_n = n;
    return TD_OK;
}

enum td_err cert_from_pem(struct span pem, struct cert **ret, struct errinfo *ei)
{
    struct cert *c = NULL;
    size_t n;
    TD_TRY(cert_all_from_pem(pem, &c, 1, &n, ei));
    *ret = c;
    return TD_OK;
}

enum td_err cert_to_pem(const struct cert *c, struct buf *b)
{
    bio_auto *bio = BIO_new(BIO_s_mem());
    if (!bio || PEM_write_bio(bio, PEM_STRING_X509, "", c->der.p, (long)c->der.n) <= 0)
        return crypt_fail(NULL, TD_NOMEM, "PEM");
    char *p = NULL;
    long n = BIO_get_mem_data(bio, &p);
    return buf_add(b, p, n > 0 ? (size_t)n : 0);
}

char *cert_cn(const struct cert *c, struct arena *a)
{
    X509 *x = cert_x509(c);
    X509_NAME *name = x ? X509_get_subject_name(x) : NULL;
    int i = name ? X509_NAME_get_index_by_NID(name, NID_commonName, -1) : -1;
    unsigned char *utf8 = NULL;
    int n = -1;
    if (i >= 0)
        n = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, i)));
    char *s = NULL;
    /* A NUL inside would let two names look alike. */
    if (n >= 0 && !memchr(utf8, 0, (size_t)n))
        s = arena_dup(a, span_of(utf8, (size_t)n));
    OPENSSL_free(utf8);
    ERR_clear_error();
    return s;
}

char *cert_subject_text(const struct cert *c, struct arena *a)
{
    X509 *x = cert_x509(c);
    bio_auto *bio = BIO_new(BIO_s_mem());
    char *p = NULL;
    long n = 0;
    unsigned long flags = XN_FLAG_SEP_CPLUS_SPC | XN_FLAG_FN_SN | XN_FLAG_DUMP_UNKNOWN_FIELDS |
                          ASN1_STRFLGS_ESC_2253 | ASN1_STRFLGS_ESC_CTRL |
                          ASN1_STRFLGS_UTF8_CONVERT | ASN1_STRFLGS_DUMP_UNKNOWN |
                          ASN1_STRFLGS_DUMP_DER;
    if (x && bio && X509_NAME_print_ex(bio, X509_get_subject_name(x), 0, flags) >= 0)
        n = BIO_get_mem_data(bio, &p);
    ERR_clear_error();
    return arena_dup(a, span_of(p, n > 0 ? (size_t)n : 0));
}
