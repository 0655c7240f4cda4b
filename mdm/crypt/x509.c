#include "mdm/crypt/x509.h"

#include "mdm/base/limits.h"
#include "mdm/crypt/der_int.h"
#include "mdm/crypt/ossl_int.h"
#include "mdm/crypt/x509_int.h"

#define CERT_MAX 65536

struct cert *cert_ref(struct cert *c)
{
    if (c)
        atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void cert_free(struct cert *c)
{
    if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    X509_free(atomic_load(&c->lazy->x509));
    key_free(atomic_load(&c->lazy->key));
    free(c->lazy);
    free(c->exts);
    free(c);
}

void cert_auto_free(struct cert **c)
{
    cert_free(*c);
}

/* Certificate ::= SEQUENCE { tbs, signatureAlgorithm, signature } (RFC 5280 section 4.1). */
static bool read_outer(struct cert *c, struct span *ret_tbs)
{
    struct span in = c->der, outer, bits;
    if (!der_get(&in, DER_SEQUENCE, &outer) || in.n != 0 ||
        !der_get_raw(&outer, DER_SEQUENCE, &c->tbs) || !der_get(&outer, DER_SEQUENCE, &c->algid) ||
        !der_get(&outer, DER_BIT_STRING, &bits) || outer.n != 0 || !der_bits(bits, &c->sig))
        return false;
    struct span tbs = c->tbs;
    return der_get(&tbs, DER_SEQUENCE, ret_tbs);
}

static bool read_validity(struct cert *c, struct span *tbs)
{
    struct span v;
    struct der_item from, to;
    return der_get(tbs, DER_SEQUENCE, &v) && der_next(&v, &from) && der_next(&v, &to) && v.n == 0 &&
           der_time(&from, &c->not_before) && der_time(&to, &c->not_after);
}

/* version [0] DEFAULT v1. */
static bool read_version(struct span *tbs, bool *ret_v3)
{
    struct span v, version;
    *ret_v3 = false;
    if (!der_peek(*tbs, DER_CTX_CONS(0)))
        return true;
    if (!der_get(tbs, DER_CTX_CONS(0), &v) || !der_get(&v, DER_INTEGER, &version) || v.n != 0 ||
        version.n != 1 || version.p[0] > 2)
        return false;
    *ret_v3 = version.p[0] == 2;
    return true;
}

static bool read_tbs(struct cert *c, struct span tbs, struct span *ret_rest)
{
    struct span alg;
    bool v3 = false;
    bool ok = read_version(&tbs, &v3) && der_get(&tbs, DER_INTEGER, &c->serial) &&
              der_int_ok(c->serial) && der_get(&tbs, DER_SEQUENCE, &alg) &&
              span_eq(alg, c->algid) && der_get_raw(&tbs, DER_SEQUENCE, &c->issuer) &&
              read_validity(c, &tbs) && der_get_raw(&tbs, DER_SEQUENCE, &c->subject) &&
              der_get_raw(&tbs, DER_SEQUENCE, &c->spki);
    *ret_rest = tbs;
    /* what follows belongs to version 3 (and 2, which nobody writes) */
    return ok && (v3 || tbs.n == 0);
}

static bool read_ext(struct span *list, struct cert_ext *ret)
{
    struct span e, flag;
    *ret = (struct cert_ext){0};
    if (!der_get(list, DER_SEQUENCE, &e) || !der_get(&e, DER_OID, &ret->oid))
        return false;
    if (der_peek(e, DER_BOOLEAN)) {
        if (!der_get(&e, DER_BOOLEAN, &flag) || flag.n != 1)
            return false;
        ret->critical = flag.p[0] != 0;
    }
    return der_get(&e, DER_OCTET_STRING, &ret->val) && e.n == 0;
}

/* The rest of the TBS: obsolete unique identifiers (skipped) and the extensions, whose list it
 * finds; empty when there are none. */
static bool find_exts(struct span rest, struct span *ret_list)
{
    struct der_item it;
    struct span outer;
    *ret_list = (struct span){NULL, 0};
    for (uint8_t n = 1; n <= 2; n++)
        if (der_peek(rest, DER_CTX(n)) && !der_next(&rest, &it))
            return false;
    if (rest.n == 0)
        return true;
    return der_get(&rest, DER_CTX_CONS(3), &outer) && rest.n == 0 &&
           der_get(&outer, DER_SEQUENCE, ret_list) && outer.n == 0 && ret_list->n > 0;
}

static enum td_err read_exts(struct cert *c, struct span rest, struct errinfo *ei)
{
    struct der_item it;
    struct span list, count;
    size_t n = 0;
    if (!find_exts(rest, &list))
        return err_set(ei, TD_PARSE, "certificate extensions");
    for (count = list; count.n > 0; n++)
        if (!der_next(&count, &it) || n >= CERT_EXTS_MAX)
            return err_set(ei, TD_PARSE, "certificate extensions");
    if (n == 0)
        return TD_OK;
    c->exts = calloc(n, sizeof(*c->exts));
    if (!c->exts)
        return err_set(ei, TD_NOMEM, "certificate");
    for (c->nexts = 0; list.n > 0; c->nexts++)
        if (!read_ext(&list, &c->exts[c->nexts]))
            return err_set(ei, TD_PARSE, "certificate extension");
    return TD_OK;
}

/* basicConstraints (RFC 5280 section 4.2.1.9). */
static bool read_ca(const struct cert *c)
{
    const struct cert_ext *e = cert_find_ext(c, SPAN_LIT("\x55\x1d\x13"));
    struct span in, seq, flag;
    if (!e)
        return false;
    in = e->val;
    return der_get(&in, DER_SEQUENCE, &seq) && der_get(&seq, DER_BOOLEAN, &flag) && flag.n == 1 &&
           flag.p[0] != 0;
}

enum td_err cert_parse(struct span der, struct cert **ret, struct errinfo *ei)
{
    if (der.n == 0 || der.n > CERT_MAX)
        return err_set(ei, der.n ? TD_LIMIT : TD_PARSE, "certificate of %zu bytes", der.n);
    if (!der_well_formed(der))
        return err_set(ei, TD_PARSE, "certificate is not one DER value");
    cert_auto *c = calloc(1, sizeof(*c) + der.n);
    struct cert_lazy *lazy = calloc(1, sizeof(*lazy));
    if (!c || !lazy) {
        free(lazy);
        free(c);
        c = NULL;
        return err_set(ei, TD_NOMEM, "certificate");
    }
    atomic_init(&c->refs, 1);
    atomic_init(&lazy->x509, NULL);
    atomic_init(&lazy->key, NULL);
    c->lazy = lazy;
    memcpy(c + 1, der.p, der.n);
    c->der = span_of(c + 1, der.n);

    struct span tbs, rest;
    if (!read_outer(c, &tbs) || !read_tbs(c, tbs, &rest))
        return err_set(ei, TD_PARSE, "certificate");
    TD_TRY(read_exts(c, rest, ei));
    c->ca = read_ca(c);
    *ret = c;
    c = NULL;
    return TD_OK;
}

struct span cert_der(const struct cert *c)
{
    return c->der;
}

struct span cert_serial(const struct cert *c)
{
    return c->serial;
}

struct span cert_subject_der(const struct cert *c)
{
    return c->subject;
}

struct span cert_issuer_der(const struct cert *c)
{
    return c->issuer;
}

struct span cert_spki(const struct cert *c)
{
    return c->spki;
}

void cert_sha256(const struct cert *c, uint8_t out[static SHA256_SIZE])
{
    digest_sha256(c->der, out);
}

void cert_spki_sha256(const struct cert *c, uint8_t out[static SHA256_SIZE])
{
    digest_sha256(c->spki, out);
}

int64_t cert_not_before(const struct cert *c)
{
    return c->not_before;
}

int64_t cert_not_after(const struct cert *c)
{
    return c->not_after;
}

bool cert_is_ca(const struct cert *c)
{
    return c->ca;
}

enum td_err cert_get_key(const struct cert *c, const struct key **ret, struct errinfo *ei)
{
    struct key *k = atomic_load_explicit(&c->lazy->key, memory_order_acquire);
    if (!k) {
        struct key *mine = NULL;
        TD_TRY(key_from_spki(c->spki, &mine, ei));
        if (atomic_compare_exchange_strong(&c->lazy->key, &k, mine))
            k = mine;
        else
            key_free(mine);
    }
    *ret = k;
    return TD_OK;
}

const struct key *cert_key(const struct cert *c)
{
    const struct key *k = NULL;
    return cert_get_key(c, &k, NULL) == TD_OK ? k : NULL;
}

X509 *cert_x509(const struct cert *c)
{
    X509 *x = atomic_load_explicit(&c->lazy->x509, memory_order_acquire);
    if (x)
        return x;
    const unsigned char *p = c->der.p;
    X509 *mine = d2i_X509(NULL, &p, (long)c->der.n);
    if (!mine)
        return NULL;
    if (atomic_compare_exchange_strong(&c->lazy->x509, &x, mine))
        return mine;
    X509_free(mine);
    return x;
}

struct span cert_key_octets(const struct cert *c)
{
    struct span in = c->spki, spki, alg, bits, pub;
    bool ok = der_get(&in, DER_SEQUENCE, &spki) && der_get(&spki, DER_SEQUENCE, &alg) &&
              der_get(&spki, DER_BIT_STRING, &bits) && der_bits(bits, &pub);
    return ok ? pub : (struct span){NULL, 0};
}

const struct cert_ext *cert_find_ext(const struct cert *c, struct span oid)
{
    for (size_t i = 0; i < c->nexts; i++)
        if (span_eq(c->exts[i].oid, oid))
            return &c->exts[i];
    return NULL;
}

bool cert_ski(const struct cert *c, uint8_t out[static CERT_SKI_SIZE])
{
    const struct cert_ext *e = cert_find_ext(c, SPAN_LIT("\x55\x1d\x0e"));
    struct span in, id;
    if (!e)
        return false;
    in = e->val;
    if (!der_get(&in, DER_OCTET_STRING, &id) || in.n != 0 || id.n != CERT_SKI_SIZE)
        return false;
    memcpy(out, id.p, CERT_SKI_SIZE);
    return true;
}

int cert_ext(const struct cert *c, const char *oid, struct span *ret_value)
{
    uint8_t want[DER_OID_MAX];
    size_t n = der_oid_text(oid, want);
    int found = 0;
    for (size_t i = 0; n > 0 && i < c->nexts; i++) {
        if (!span_eq(c->exts[i].oid, span_of(want, n)))
            continue;
        if (found++ == 0 && ret_value)
            *ret_value = c->exts[i].val;
    }
    return found;
}

enum td_err cert_check_issued(const struct cert *c, const struct cert *issuer, struct errinfo *ei)
{
    if (!span_eq(c->issuer, issuer->subject))
        return err_set(ei, TD_CRYPTO, "issuer and subject names do not chain");
    const struct sigalg *alg = sigalg_find(c->algid);
    if (!alg)
        return err_set(ei, TD_UNSUPPORTED, "signature algorithm of the certificate");
    const struct key *k = NULL;
    enum td_err e = cert_get_key(issuer, &k, ei);
    if (e == TD_NOMEM)
        return e;
    if (e != TD_OK || !sigalg_fits(alg, k))
        return err_set(ei, TD_CRYPTO, "issuer's key does not fit the signature algorithm");
    return key_verify(k, alg->digest, c->tbs, c->sig, ei);
}
