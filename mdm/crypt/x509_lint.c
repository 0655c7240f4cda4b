#include "mdm/crypt/x509_lint.h"

#include "mdm/crypt/x509_lint_int.h"

static bool read_spki(struct lint_tbs *t)
{
    struct span in = t->spki, seq, alg;
    if (!der_get(&in, DER_SEQUENCE, &seq) || !der_get(&seq, DER_SEQUENCE, &alg) ||
        !der_get(&alg, DER_OID, &t->key_oid) || !der_get(&seq, DER_BIT_STRING, &t->key_bits))
        return false;
    t->key_params = alg;
    return seq.n == 0;
}

static bool read_ext(struct span *list, struct lint_ext *ret)
{
    struct span e, flag;
    *ret = (struct lint_ext){0};
    if (!der_get(list, DER_SEQUENCE, &e) || !der_get(&e, DER_OID, &ret->oid))
        return false;
    if (der_peek(e, DER_BOOLEAN)) {
        if (!der_get(&e, DER_BOOLEAN, &flag) || flag.n != 1)
            return false;
        ret->flag = true;
        ret->octet = flag.p[0];
        ret->critical = flag.p[0] != 0;
    }
    return der_get(&e, DER_OCTET_STRING, &ret->val) && e.n == 0;
}

static bool read_exts(struct lint_tbs *t, struct span rest)
{
    struct der_item it;
    struct span outer, list;
    for (uint8_t n = 1; n <= 2; n++)
        if (der_peek(rest, DER_CTX(n))) {
            t->unique_ids = true;
            if (!der_next(&rest, &it))
                return false;
        }
    if (rest.n == 0)
        return true;
    if (!der_get(&rest, DER_CTX_CONS(3), &outer) || rest.n != 0 ||
        !der_get(&outer, DER_SEQUENCE, &list) || outer.n != 0)
        return false;
    while (list.n > 0)
        if (t->nexts == CERT_EXTS_MAX || !read_ext(&list, &t->exts[t->nexts++]))
            return false;
    return true;
}

/* version [0], absent in version 1. */
static bool read_version(struct lint_tbs *t, struct span *in)
{
    struct span v;
    if (!der_peek(*in, DER_CTX_CONS(0)))
        return true;
    return der_get(in, DER_CTX_CONS(0), &v) && der_get(&v, DER_INTEGER, &t->version) && v.n == 0;
}

static bool read_validity(struct lint_tbs *t, struct span *in)
{
    struct span v;
    return der_get(in, DER_SEQUENCE, &v) && der_next(&v, &t->not_before) &&
           der_next(&v, &t->not_after) && v.n == 0;
}

/* TBSCertificate of RFC 5280 section 4.1. */
static bool read_tbs(struct span der, struct lint_tbs *t)
{
    struct span in;
    return der_well_formed(der) && der_get(&der, DER_SEQUENCE, &in) && read_version(t, &in) &&
           der_get(&in, DER_INTEGER, &t->serial) && der_get(&in, DER_SEQUENCE, &t->sigalg) &&
           der_get_raw(&in, DER_SEQUENCE, &t->issuer_name) && read_validity(t, &in) &&
           der_get_raw(&in, DER_SEQUENCE, &t->subject) &&
           der_get_raw(&in, DER_SEQUENCE, &t->spki) && read_spki(t) && read_exts(t, in);
}

const struct lint_ext *x509_lint_ext(const struct lint_tbs *t, struct span oid)
{
    for (size_t i = 0; i < t->nexts; i++)
        if (span_eq(t->exts[i].oid, oid))
            return &t->exts[i];
    return NULL;
}

bool x509_lint_ca(const struct lint_tbs *t)
{
    const struct lint_ext *e = x509_lint_ext(t, SPAN_LIT("\x55\x1d\x13"));
    struct span in, seq, flag;
    if (!e)
        return false;
    in = e->val;
    return der_get(&in, DER_SEQUENCE, &seq) && der_get(&seq, DER_BOOLEAN, &flag) && flag.n == 1 &&
           flag.p[0] != 0;
}

/* The rules stand in three tables, one after the other. Rule 0 is the parser itself. */
static const struct lint_rule *rule(size_t i)
{
    static const struct lint_rule structure = {"structure",
                                               "RFC 5280 section 4.1, X.690 section 10", NULL};
    if (i == 0)
        return &structure;
    i--;
    if (i < x509_lint_nfields)
        return &x509_lint_fields[i];
    i -= x509_lint_nfields;
    if (i < x509_lint_nexts)
        return &x509_lint_exts[i];
    i -= x509_lint_nexts;
    return i < x509_lint_nnames ? &x509_lint_names[i] : NULL;
}

const char *x509_lint_rule(size_t i, const char **ret_clause)
{
    const struct lint_rule *r = rule(i);
    if (r)
        *ret_clause = r->clause;
    return r ? r->name : NULL;
}

enum td_err x509_lint(struct span tbs, const struct cert *issuer, struct errinfo *ei)
{
    return x509_lint_known(tbs, issuer, NULL, ei);
}

enum td_err x509_lint_known(struct span tbs, const struct cert *issuer, const struct key *known,
                            struct errinfo *ei)
{
    struct lint_tbs t = {.issuer = issuer, .known = known};
    const struct lint_rule *r = rule(0);
    if (read_tbs(tbs, &t))
        for (size_t i = 1; (r = rule(i)) && r->holds(&t); i++)
            continue;
    if (!r)
        return TD_OK;
    return err_reason(ei, TD_INVAL, "lint", "%s: the certificate would break %s", r->name,
                      r->clause);
}
