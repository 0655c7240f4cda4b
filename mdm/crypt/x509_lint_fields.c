/* The rules on the basic fields: RFC 5280 section 4.1, and RFC 3279, 4055, 5480 on keys. */
#include "mdm/crypt/key_int.h"
#include "mdm/crypt/x509_lint_int.h"

#define OID_EC_KEY "\x2a\x86\x48\xce\x3d\x02\x01"
#define OID_RSA "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"
#define SERIAL_MAX 20
#define RSA_MIN_BITS 2048

static bool version_3(const struct lint_tbs *t)
{
    return t->version.n == 1 && t->version.p[0] == 2;
}

static bool serial_minimal(const struct lint_tbs *t)
{
    return der_int_ok(t->serial);
}

static bool serial_positive(const struct lint_tbs *t)
{
    bool zero = true;
    for (size_t i = 0; i < t->serial.n; i++)
        zero = zero && t->serial.p[i] == 0;
    return !zero && !(t->serial.p[0] & 0x80);
}

static bool serial_length(const struct lint_tbs *t)
{
    return t->serial.n <= SERIAL_MAX;
}

static const struct key *signer_key(const struct lint_tbs *t, struct key **own)
{
    if (t->issuer)
        return cert_key(t->issuer);
    return key_from_spki(t->spki, own, NULL) == TD_OK ? *own : NULL;
}

static bool signature_fits_key(const struct lint_tbs *t)
{
    key_auto *own = NULL;
    const struct key *k = signer_key(t, &own);
    const struct sigalg *a = sigalg_find(t->sigalg);
    return k && a && sigalg_fits(a, k);
}

/* NULL for RSA in what we write, though readers accept it absent. */
static bool signature_params(const struct lint_tbs *t)
{
    struct span in = t->sigalg, oid;
    if (!der_get(&in, DER_OID, &oid))
        return false;
    bool rsa = span_starts(oid, SPAN_LIT("\x2a\x86\x48\x86\xf7\x0d\x01\x01"));
    return rsa ? span_eq(in, SPAN_LIT("\x05\x00")) : in.n == 0;
}

static bool issuer_not_empty(const struct lint_tbs *t)
{
    return t->issuer_name.n > 2;
}

static bool issuer_is_subject_of_signer(const struct lint_tbs *t)
{
    return span_eq(t->issuer_name, t->issuer ? cert_subject_der(t->issuer) : t->subject);
}

/* UTCTime through 2049, GeneralizedTime from 2050 on. */
static bool time_form(const struct der_item *it)
{
    if (it->tag == DER_UTC_TIME)
        return true;
    return it->tag == DER_GENERALIZED_TIME && it->val.n >= 4 && memcmp(it->val.p, "2050", 4) >= 0;
}

static bool times_form(const struct lint_tbs *t)
{
    return time_form(&t->not_before) && time_form(&t->not_after);
}

static bool has_point(const struct der_item *it)
{
    return memchr(it->val.p, '.', it->val.n) != NULL;
}

static bool times_no_fraction(const struct lint_tbs *t)
{
    return !has_point(&t->not_before) && !has_point(&t->not_after);
}

/* With seconds, ending in Z, and a date that exists. */
static bool times_valid(const struct lint_tbs *t)
{
    int64_t v;
    return der_time(&t->not_before, &v) && der_time(&t->not_after, &v);
}

static bool validity_order(const struct lint_tbs *t)
{
    int64_t from, to;
    return der_time(&t->not_before, &from) && der_time(&t->not_after, &to) && from <= to;
}

static bool no_unique_ids(const struct lint_tbs *t)
{
    return !t->unique_ids;
}

static bool is_rsa(const struct lint_tbs *t)
{
    return span_eq(t->key_oid, SPAN_LIT(OID_RSA));
}

static bool is_ec(const struct lint_tbs *t)
{
    return span_eq(t->key_oid, SPAN_LIT(OID_EC_KEY));
}

static bool rsa_params_null(const struct lint_tbs *t)
{
    return !is_rsa(t) || span_eq(t->key_params, SPAN_LIT("\x05\x00"));
}

static bool ec_named_curve(const struct lint_tbs *t)
{
    struct span in = t->key_params, oid;
    return !is_ec(t) || (der_get(&in, DER_OID, &oid) && in.n == 0 && key_curve_by_oid(oid));
}

static bool key_whole_octets(const struct lint_tbs *t)
{
    return t->key_bits.n > 1 && t->key_bits.p[0] == 0;
}

/* Of a known type, on its curve, of at least 2048 bit. */
static bool key_valid(const struct lint_tbs *t)
{
    key_auto *read = NULL;
    const struct key *k = t->known;
    if (!k || !span_eq(t->spki, span_of(k->spki, k->nspki))) {
        if (key_from_spki_known(t->spki, &read, NULL) != TD_OK)
            return false;
        k = read;
    }
    enum key_type type = key_type(k);
    return type != KEY_OTHER && (type != KEY_RSA || key_bits(k) >= RSA_MIN_BITS);
}

static bool key_not_issuers(const struct lint_tbs *t)
{
    return !t->issuer || !span_eq(t->spki, cert_spki(t->issuer));
}

const struct lint_rule x509_lint_fields[] = {
    {"version-3", "RFC 5280 section 4.1.2.1", version_3},
    {"serial-minimal", "X.690 section 8.3.2", serial_minimal},
    {"serial-positive", "RFC 5280 section 4.1.2.2", serial_positive},
    {"serial-length", "RFC 5280 section 4.1.2.2", serial_length},
    {"signature-params", "RFC 4055 section 5, RFC 5758 section 3.2", signature_params},
    {"signature-fits-key", "RFC 5280 section 4.1.1.2", signature_fits_key},
    {"issuer-not-empty", "RFC 5280 section 4.1.2.4", issuer_not_empty},
    {"issuer-chains", "RFC 5280 section 4.1.2.4", issuer_is_subject_of_signer},
    {"time-form", "RFC 5280 section 4.1.2.5", times_form},
    {"time-fraction", "RFC 5280 section 4.1.2.5.2", times_no_fraction},
    {"time-valid", "RFC 5280 section 4.1.2.5.1", times_valid},
    {"validity-order", "RFC 5280 section 4.1.2.5", validity_order},
    {"unique-ids", "RFC 5280 section 4.1.2.8", no_unique_ids},
    {"rsa-params", "RFC 3279 section 2.3.1", rsa_params_null},
    {"ec-named-curve", "RFC 5480 section 2.1.1", ec_named_curve},
    {"key-octets", "RFC 5280 section 4.1.2.7", key_whole_octets},
    {"key-valid", "RFC 5280 section 4.1.2.7", key_valid},
    {"key-not-issuers", "RFC 5280 section 3.2", key_not_issuers},
};
const size_t x509_lint_nfields = TD_NITEMS(x509_lint_fields);
