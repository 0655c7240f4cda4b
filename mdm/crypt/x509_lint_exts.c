/* The rules on extensions: RFC 5280 section 4.2, RFC 8813 and RFC 4055 on key usage. */
#include "mdm/crypt/x509_lint_int.h"

#define OID_SKI SPAN_LIT("\x55\x1d\x0e")
#define OID_KEY_USAGE SPAN_LIT("\x55\x1d\x0f")
#define OID_SAN SPAN_LIT("\x55\x1d\x11")
#define OID_BASIC SPAN_LIT("\x55\x1d\x13")
#define OID_CRL_DP SPAN_LIT("\x55\x1d\x1f")
#define OID_AKI SPAN_LIT("\x55\x1d\x23")
#define OID_EKU SPAN_LIT("\x55\x1d\x25")
#define OID_ANY_EKU SPAN_LIT("\x55\x1d\x25\x00")
#define OID_AIA SPAN_LIT("\x2b\x06\x01\x05\x05\x07\x01\x01")
#define OID_NOCHECK SPAN_LIT("\x2b\x06\x01\x05\x05\x07\x30\x01\x05")
#define OID_KP SPAN_LIT("\x2b\x06\x01\x05\x05\x07\x03") /* id-kp, then its number */
#define OID_EC_KEY SPAN_LIT("\x2a\x86\x48\xce\x3d\x02\x01")
#define OID_RSA SPAN_LIT("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01")

/* KeyUsage bits as they stand in the two octets, bit 0 first. */
enum {
    KU_SIGNATURE = 0x8000,
    KU_COMMITMENT = 0x4000,
    KU_KEY_ENCIPHERMENT = 0x2000,
    KU_DATA_ENCIPHERMENT = 0x1000,
    KU_AGREEMENT = 0x0800,
    KU_CERT_SIGN = 0x0400,
    KU_CRL_SIGN = 0x0200,
    KU_ENCIPHER_ONLY = 0x0100,
    KU_DECIPHER_ONLY = 0x0080
};

static bool no_duplicates(const struct lint_tbs *t)
{
    for (size_t i = 0; i < t->nexts; i++)
        for (size_t k = 0; k < i; k++)
            if (span_eq(t->exts[i].oid, t->exts[k].oid))
                return false;
    return true;
}

/* A BOOLEAN of DER: TRUE is ff, and the DEFAULT FALSE is not written. */
static bool critical_der(const struct lint_tbs *t)
{
    for (size_t i = 0; i < t->nexts; i++)
        if (t->exts[i].flag && t->exts[i].octet != 0xff)
            return false;
    return true;
}

/* What a relying party must refuse when it does not know it, no one gets from us. */
static bool critical_known(const struct lint_tbs *t)
{
    for (size_t i = 0; i < t->nexts; i++) {
        struct span o = t->exts[i].oid;
        if (t->exts[i].critical && !span_eq(o, OID_BASIC) && !span_eq(o, OID_KEY_USAGE) &&
            !span_eq(o, OID_SAN) && !span_eq(o, OID_EKU))
            return false;
    }
    return true;
}

static bool not_critical(const struct lint_tbs *t, struct span oid)
{
    const struct lint_ext *e = x509_lint_ext(t, oid);
    return !e || !e->critical;
}

static bool ski_not_critical(const struct lint_tbs *t)
{
    return not_critical(t, OID_SKI);
}

static bool aki_not_critical(const struct lint_tbs *t)
{
    return not_critical(t, OID_AKI);
}

static bool aia_not_critical(const struct lint_tbs *t)
{
    return not_critical(t, OID_AIA);
}

/* --- basicConstraints --- */

struct basic {
    bool there, valid, ca, explicit_false, path;
    uint8_t path_len;
};

static struct basic basic_of(const struct lint_tbs *t)
{
    const struct lint_ext *e = x509_lint_ext(t, OID_BASIC);
    struct basic b = {.there = e != NULL};
    struct span in, seq, v;
    if (!e)
        return b;
    in = e->val;
    if (!der_get(&in, DER_SEQUENCE, &seq) || in.n != 0)
        return b;
    if (der_peek(seq, DER_BOOLEAN)) {
        if (!der_get(&seq, DER_BOOLEAN, &v) || v.n != 1)
            return b;
        b.ca = v.p[0] == 0xff;
        b.explicit_false = !b.ca;
    }
    if (der_peek(seq, DER_INTEGER)) {
        if (!der_get(&seq, DER_INTEGER, &v) || v.n != 1 || v.p[0] > 127)
            return b;
        b.path = true;
        b.path_len = v.p[0];
    }
    b.valid = seq.n == 0;
    return b;
}

static bool basic_valid(const struct lint_tbs *t)
{
    struct basic b = basic_of(t);
    return b.there && b.valid;
}

static bool basic_critical(const struct lint_tbs *t)
{
    const struct lint_ext *e = x509_lint_ext(t, OID_BASIC);
    return !x509_lint_ca(t) || (e && e->critical);
}

static bool basic_default(const struct lint_tbs *t)
{
    return !basic_of(t).explicit_false;
}

static bool path_len_of_ca(const struct lint_tbs *t)
{
    struct basic b = basic_of(t);
    return !b.path || b.ca;
}

/* --- keyUsage --- */

static bool usage_form(const struct lint_ext *e, struct span *ret)
{
    struct span in = e->val;
    return der_get(&in, DER_BIT_STRING, ret) && in.n == 0 && ret->n >= 1 && ret->n <= 3 &&
           ret->p[0] <= 7;
}

static unsigned usage_of(const struct lint_tbs *t)
{
    const struct lint_ext *e = x509_lint_ext(t, OID_KEY_USAGE);
    struct span v;
    if (!e || !usage_form(e, &v) || v.n < 2)
        return 0;
    return (unsigned)v.p[1] << 8 | (v.n > 2 ? v.p[2] : 0U);
}

static bool usage_there(const struct lint_tbs *t)
{
    return x509_lint_ext(t, OID_KEY_USAGE) != NULL;
}

static bool usage_critical(const struct lint_tbs *t)
{
    const struct lint_ext *e = x509_lint_ext(t, OID_KEY_USAGE);
    return !e || e->critical;
}

static bool usage_bits(const struct lint_tbs *t)
{
    return !usage_there(t) || usage_of(t) != 0;
}

/* Named bits: none behind decipherOnly, no trailing zero (X.690 section 11.2.2). */
static bool usage_length(const struct lint_tbs *t)
{
    const struct lint_ext *e = x509_lint_ext(t, OID_KEY_USAGE);
    struct span v;
    if (!e)
        return true;
    if (!usage_form(e, &v))
        return false;
    if (v.n < 2)
        return v.p[0] == 0;
    uint8_t last = v.p[v.n - 1];
    return (usage_of(t) & 0x7fU) == 0 && (last >> v.p[0] & 1) == 1 &&
           (last & ((1U << v.p[0]) - 1)) == 0;
}

static bool usage_cert_sign(const struct lint_tbs *t)
{
    return !(usage_of(t) & KU_CERT_SIGN) || x509_lint_ca(t);
}

static bool usage_of_ca(const struct lint_tbs *t)
{
    return !x509_lint_ca(t) || (usage_of(t) & KU_CERT_SIGN);
}

static bool usage_only_with_agreement(const struct lint_tbs *t)
{
    unsigned u = usage_of(t);
    return !(u & (KU_ENCIPHER_ONLY | KU_DECIPHER_ONLY)) || (u & KU_AGREEMENT);
}

/* An EC key enciphers nothing. */
static bool usage_ec(const struct lint_tbs *t)
{
    return !span_eq(t->key_oid, OID_EC_KEY) ||
           !(usage_of(t) & (KU_KEY_ENCIPHERMENT | KU_DATA_ENCIPHERMENT));
}

static bool usage_rsa(const struct lint_tbs *t)
{
    unsigned agree = KU_AGREEMENT | KU_ENCIPHER_ONLY | KU_DECIPHER_ONLY;
    unsigned end = agree | KU_CERT_SIGN | KU_CRL_SIGN;
    return !span_eq(t->key_oid, OID_RSA) || !(usage_of(t) & (x509_lint_ca(t) ? agree : end));
}

/* --- extendedKeyUsage --- */

static bool eku_next(struct span *seq, struct span *ret_oid)
{
    return seq->n > 0 && der_get(seq, DER_OID, ret_oid);
}

static bool eku_seq(const struct lint_tbs *t, struct span *ret)
{
    const struct lint_ext *e = x509_lint_ext(t, OID_EKU);
    struct span in;
    if (!e)
        return false;
    in = e->val;
    return der_get(&in, DER_SEQUENCE, ret) && in.n == 0;
}

static bool eku_valid(const struct lint_tbs *t)
{
    struct span seq, oid;
    if (!x509_lint_ext(t, OID_EKU))
        return true;
    if (!eku_seq(t, &seq) || seq.n == 0)
        return false;
    while (seq.n > 0)
        if (!eku_next(&seq, &oid))
            return false;
    return true;
}

static bool eku_any(const struct lint_tbs *t)
{
    const struct lint_ext *e = x509_lint_ext(t, OID_EKU);
    struct span seq, oid;
    if (!e || !e->critical || !eku_seq(t, &seq))
        return true;
    while (eku_next(&seq, &oid))
        if (span_eq(oid, OID_ANY_EKU))
            return false;
    return true;
}

/* What each purpose of RFC 5280 section 4.2.1.12 lets keyUsage be: at least one of these bits. */
static const struct {
    uint8_t kp;
    unsigned usage;
} purposes[] = {
    {1, KU_SIGNATURE | KU_KEY_ENCIPHERMENT | KU_AGREEMENT},                 /* serverAuth */
    {2, KU_SIGNATURE | KU_AGREEMENT},                                       /* clientAuth */
    {3, KU_SIGNATURE},                                                      /* codeSigning */
    {4, KU_SIGNATURE | KU_COMMITMENT | KU_KEY_ENCIPHERMENT | KU_AGREEMENT}, /* emailProtection */
    {8, KU_SIGNATURE | KU_COMMITMENT},                                      /* timeStamping */
    {9, KU_SIGNATURE | KU_COMMITMENT},                                      /* OCSPSigning */
};

static bool eku_fits_usage(const struct lint_tbs *t)
{
    struct span seq, oid, kp = OID_KP;
    if (!usage_there(t) || !eku_seq(t, &seq))
        return true;
    while (eku_next(&seq, &oid)) {
        if (oid.n != kp.n + 1 || !span_starts(oid, kp))
            continue;
        for (size_t i = 0; i < TD_NITEMS(purposes); i++)
            if (oid.p[kp.n] == purposes[i].kp && !(usage_of(t) & purposes[i].usage))
                return false;
    }
    return true;
}

/* --- key identifiers, access, distribution points --- */

static bool octets_of(const struct lint_ext *e, struct span *ret)
{
    struct span in;
    if (!e)
        return false;
    in = e->val;
    return der_get(&in, DER_OCTET_STRING, ret) && in.n == 0 && ret->n > 0;
}

/* MUST for a CA, SHOULD for an end entity: ours always has it. */
static bool ski_there(const struct lint_tbs *t)
{
    struct span id;
    return octets_of(x509_lint_ext(t, OID_SKI), &id);
}

static bool aki_id(const struct lint_tbs *t, struct span *ret)
{
    const struct lint_ext *e = x509_lint_ext(t, OID_AKI);
    struct span in, seq;
    if (!e)
        return false;
    in = e->val;
    return der_get(&in, DER_SEQUENCE, &seq) && in.n == 0 && der_get(&seq, DER_CTX(0), ret) &&
           ret->n > 0;
}

static bool aki_there(const struct lint_tbs *t)
{
    struct span id;
    return aki_id(t, &id);
}

/* The same as the issuer's own identifier, where it has one. */
static bool aki_chains(const struct lint_tbs *t)
{
    struct span want, id;
    const struct cert_ext *e = t->issuer ? cert_find_ext(t->issuer, OID_SKI) : NULL;
    if (!e || !aki_id(t, &id))
        return true;
    struct span in = e->val;
    return !der_get(&in, DER_OCTET_STRING, &want) || span_eq(want, id);
}

static bool uri_http(struct span s)
{
    return (span_starts(s, SPAN_LIT("http://")) && s.n > 7) ||
           (span_starts(s, SPAN_LIT("https://")) && s.n > 8) ||
           (span_starts(s, SPAN_LIT("ldap://")) && s.n > 7);
}

static bool aia_valid(const struct lint_tbs *t)
{
    const struct lint_ext *e = x509_lint_ext(t, OID_AIA);
    struct span in, seq, one, oid, uri;
    if (!e)
        return true;
    in = e->val;
    if (!der_get(&in, DER_SEQUENCE, &seq) || in.n != 0 || seq.n == 0)
        return false;
    while (seq.n > 0)
        if (!der_get(&seq, DER_SEQUENCE, &one) || !der_get(&one, DER_OID, &oid) ||
            !der_get(&one, DER_CTX(6), &uri) || one.n != 0 || !uri_http(uri))
            return false;
    return true;
}

/* One DistributionPoint: reasons alone would name nothing. */
static bool point_valid(struct span point)
{
    struct span name, full, uri;
    if (!der_get(&point, DER_CTX_CONS(0), &name) || !der_get(&name, DER_CTX_CONS(0), &full) ||
        full.n == 0)
        return false;
    while (full.n > 0)
        if (!der_get(&full, DER_CTX(6), &uri) || !uri_http(uri))
            return false;
    return true;
}

static bool crl_dp_valid(const struct lint_tbs *t)
{
    const struct lint_ext *e = x509_lint_ext(t, OID_CRL_DP);
    struct span in, seq, point;
    if (!e)
        return true;
    in = e->val;
    if (!der_get(&in, DER_SEQUENCE, &seq) || in.n != 0 || seq.n == 0)
        return false;
    while (seq.n > 0)
        if (!der_get(&seq, DER_SEQUENCE, &point) || !point_valid(point))
            return false;
    return true;
}

static bool nocheck_null(const struct lint_tbs *t)
{
    const struct lint_ext *e = x509_lint_ext(t, OID_NOCHECK);
    return !e || span_eq(e->val, SPAN_LIT("\x05\x00"));
}

const struct lint_rule x509_lint_exts[] = {
    {"ext-duplicate", "RFC 5280 section 4.2", no_duplicates},
    {"critical-der", "X.690 sections 11.1 and 11.5", critical_der},
    {"ski-not-critical", "RFC 5280 section 4.2.1.2", ski_not_critical},
    {"aki-not-critical", "RFC 5280 section 4.2.1.1", aki_not_critical},
    {"aia-not-critical", "RFC 5280 section 4.2.2.1", aia_not_critical},
    {"critical-known", "RFC 5280 section 4.2", critical_known},
    {"basic-valid", "RFC 5280 section 4.2.1.9", basic_valid},
    {"basic-default", "X.690 section 11.5", basic_default},
    {"basic-critical", "RFC 5280 section 4.2.1.9", basic_critical},
    {"path-len-of-ca", "RFC 5280 section 4.2.1.9", path_len_of_ca},
    {"usage-there", "RFC 5280 section 4.2.1.3", usage_there},
    {"usage-critical", "RFC 5280 section 4.2.1.3", usage_critical},
    {"usage-bits", "RFC 5280 section 4.2.1.3", usage_bits},
    {"usage-length", "X.690 section 11.2.2", usage_length},
    {"usage-cert-sign", "RFC 5280 section 4.2.1.3", usage_cert_sign},
    {"usage-of-ca", "RFC 5280 section 4.2.1.3", usage_of_ca},
    {"usage-agreement", "RFC 5280 section 4.2.1.3", usage_only_with_agreement},
    {"usage-ec", "RFC 8813 section 3", usage_ec},
    {"usage-rsa", "RFC 4055 section 1.2, RFC 3279 section 2.3.1", usage_rsa},
    {"eku-valid", "RFC 5280 section 4.2.1.12", eku_valid},
    {"eku-any", "RFC 5280 section 4.2.1.12", eku_any},
    {"eku-fits-usage", "RFC 5280 section 4.2.1.12", eku_fits_usage},
    {"ski-there", "RFC 5280 section 4.2.1.2", ski_there},
    {"aki-there", "RFC 5280 section 4.2.1.1", aki_there},
    {"aki-chains", "RFC 5280 section 4.2.1.1", aki_chains},
    {"aia-valid", "RFC 5280 section 4.2.2.1", aia_valid},
    {"crl-dp-valid", "RFC 5280 section 4.2.1.13", crl_dp_valid},
    {"nocheck-null", "RFC 6960 section 4.2.2.2.1", nocheck_null},
};
const size_t x509_lint_nexts = TD_NITEMS(x509_lint_exts);
