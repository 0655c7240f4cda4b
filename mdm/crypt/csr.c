/* Certificate requests (RFC 2986). */
#include "mdm/base/limits.h"
#include "mdm/crypt/der_int.h"
#include "mdm/crypt/sigalg_int.h"
#include "mdm/crypt/x509.h"

struct csr_parts {
    struct span info, spki, algid, sig;
};

/* CertificationRequestInfo. */
static bool read_info(struct span in, struct csr_parts *r)
{
    struct span info, version, name, attrs;
    if (!der_get(&in, DER_SEQUENCE, &info) || !der_get(&info, DER_INTEGER, &version) ||
        version.n != 1 || version.p[0] != 0 || !der_get(&info, DER_SEQUENCE, &name) ||
        !der_get_raw(&info, DER_SEQUENCE, &r->spki))
        return false;
    /* The attributes are to be there; some clients leave an empty set out. */
    return info.n == 0 || (der_get(&info, DER_CTX_CONS(0), &attrs) && info.n == 0);
}

static bool read_csr(struct span der, struct csr_parts *r)
{
    struct span outer, bits;
    return der_get(&der, DER_SEQUENCE, &outer) && der.n == 0 &&
           der_get_raw(&outer, DER_SEQUENCE, &r->info) &&
           der_get(&outer, DER_SEQUENCE, &r->algid) && der_get(&outer, DER_BIT_STRING, &bits) &&
           outer.n == 0 && der_bits(bits, &r->sig) && read_info(r->info, r);
}

enum td_err csr_parse(struct span der, struct arena *a, struct csr *ret, struct errinfo *ei)
{
    struct csr_parts parts;
    if (der.n > LIMIT_CSR)
        return err_set(ei, TD_LIMIT, "certificate request of %zu bytes", der.n);
    if (!der_well_formed(der) || !read_csr(der, &parts))
        return err_set(ei, TD_PARSE, "certificate request");
    key_auto *k = NULL;
    TD_TRY(key_from_spki_known(parts.spki, &k, ei));
    /* What we certify, we want strong; old certificates may have less. */
    if (key_type(k) == KEY_RSA && key_bits(k) < 2048)
        return err_set(ei, TD_UNSUPPORTED, "key size of the request");
    const struct sigalg *alg = sigalg_find(parts.algid);
    if (!alg)
        return err_set(ei, TD_UNSUPPORTED, "signature algorithm of the request");
    if (!sigalg_fits(alg, k))
        return err_set(ei, TD_CRYPTO, "key does not fit the request's signature algorithm");
    TD_TRY(key_verify(k, alg->digest, parts.info, parts.sig, ei));
    struct span spki = arena_span(a, parts.spki);
    if (!spki.p)
        return err_set(ei, TD_NOMEM, "certificate request");
    *ret = (struct csr){.key = k, .spki = spki};
    k = NULL;
    return TD_OK;
}

void csr_free(struct csr *c)
{
    if (!c)
        return;
    key_free(c->key);
    *c = (struct csr){0};
}
