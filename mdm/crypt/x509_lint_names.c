/* The rules on names: subject (RFC 5280 section 4.1.2.6, appendix A.1) and subjectAltName (section
 * 4.2.1.6). */
#include "mdm/crypt/x509_lint_int.h"

#define OID_SAN SPAN_LIT("\x55\x1d\x11")
#define OID_C SPAN_LIT("\x55\x04\x06")
#define OID_PERMANENT_ID SPAN_LIT("\x2b\x06\x01\x05\x05\x07\x08\x03")
#define OID_HARDWARE_MODULE SPAN_LIT("\x2b\x06\x01\x05\x05\x07\x08\x04")
#define OID_SERIAL_NUMBER SPAN_LIT("\x55\x04\x05")
#define HOST_MAX 253
#define LABEL_MAX 63

enum { GN_OTHER = 0xa0, GN_MAIL = 0x81, GN_DNS = 0x82, GN_URI = 0x86, GN_IP = 0x87 };

/* ub-* of appendix A.1, in characters. */
static const struct {
    struct span oid;
    size_t max;
} bounds[] = {
    {SPAN_LIT("\x55\x04\x03"), 64},  /* commonName */
    {SPAN_LIT("\x55\x04\x05"), 64},  /* serialNumber */
    {SPAN_LIT("\x55\x04\x06"), 2},   /* countryName */
    {SPAN_LIT("\x55\x04\x07"), 128}, /* localityName */
    {SPAN_LIT("\x55\x04\x08"), 128}, /* stateOrProvinceName */
    {SPAN_LIT("\x55\x04\x0a"), 64},  /* organizationName */
    {SPAN_LIT("\x55\x04\x0b"), 64},  /* organizationalUnitName */
};

struct attr {
    struct span oid;
    struct der_item value;
};

/* The next attribute of a Name (of its content); one an RDN, as we write them. */
static bool attr_next(struct span *rdns, struct attr *ret)
{
    struct span set, atv;
    return der_get(rdns, DER_SET, &set) && der_get(&set, DER_SEQUENCE, &atv) && set.n == 0 &&
           der_get(&atv, DER_OID, &ret->oid) && der_next(&atv, &ret->value) && atv.n == 0;
}

/* Asks about each attribute of the subject. */
static bool each_attr(const struct lint_tbs *t, bool (*holds)(const struct attr *))
{
    struct span in = t->subject, rdns;
    struct attr a;
    if (!der_get(&in, DER_SEQUENCE, &rdns))
        return false;
    while (rdns.n > 0)
        if (!attr_next(&rdns, &a) || !holds(&a))
            return false;
    return true;
}

static bool any(const struct attr *a)
{
    (void)a;
    return true;
}

static bool subject_form(const struct lint_tbs *t)
{
    return each_attr(t, any);
}

static bool subject_of_ca(const struct lint_tbs *t)
{
    return !x509_lint_ca(t) || t->subject.n > 2;
}

static bool string_type(const struct attr *a)
{
    return a->value.tag == DER_PRINTABLE_STRING || a->value.tag == DER_UTF8_STRING;
}

static bool subject_strings(const struct lint_tbs *t)
{
    return each_attr(t, string_type);
}

static bool printable(struct span s)
{
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!alnum && (c == 0 || !strchr(" '()+,-./:=?", c)))
            return false;
    }
    return true;
}

static bool printable_alphabet(const struct attr *a)
{
    return a->value.tag != DER_PRINTABLE_STRING || printable(a->value.val);
}

static bool subject_printable(const struct lint_tbs *t)
{
    return each_attr(t, printable_alphabet);
}

/* Text without control characters. */
static bool text(const struct attr *a)
{
    struct span s = a->value.val;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < ' ' || s.p[i] == 0x7f)
            return false;
    return der_utf8_ok(s);
}

static bool subject_utf8(const struct lint_tbs *t)
{
    return each_attr(t, text);
}

static bool not_empty(const struct attr *a)
{
    return a->value.val.n > 0;
}

static bool subject_values(const struct lint_tbs *t)
{
    return each_attr(t, not_empty);
}

static bool within(const struct attr *a)
{
    size_t chars = 0;
    for (size_t i = 0; i < a->value.val.n; i++)
        chars += (a->value.val.p[i] & 0xc0) != 0x80;
    for (size_t i = 0; i < TD_NITEMS(bounds); i++)
        if (span_eq(a->oid, bounds[i].oid) && chars > bounds[i].max)
            return false;
    return true;
}

static bool subject_bounds(const struct lint_tbs *t)
{
    return each_attr(t, within);
}

static bool printable_only(const struct attr *a)
{
    bool must = span_eq(a->oid, OID_C) || span_eq(a->oid, OID_SERIAL_NUMBER);
    return !must || a->value.tag == DER_PRINTABLE_STRING;
}

static bool subject_printable_only(const struct lint_tbs *t)
{
    return each_attr(t, printable_only);
}

static bool country(const struct attr *a)
{
    return !span_eq(a->oid, OID_C) || a->value.val.n == 2;
}

static bool subject_country(const struct lint_tbs *t)
{
    return each_attr(t, country);
}

/* --- subjectAltName --- */

static bool san_names(const struct lint_tbs *t, struct span *ret)
{
    const struct lint_ext *e = x509_lint_ext(t, OID_SAN);
    struct span in;
    if (!e)
        return false;
    in = e->val;
    return der_get(&in, DER_SEQUENCE, ret) && in.n == 0;
}

static bool each_name(const struct lint_tbs *t, bool (*holds)(const struct der_item *))
{
    struct span names;
    struct der_item it;
    if (!san_names(t, &names))
        return true;
    while (names.n > 0)
        if (!der_next(&names, &it) || !holds(&it))
            return false;
    return true;
}

static bool san_not_empty(const struct lint_tbs *t)
{
    struct span names;
    return !x509_lint_ext(t, OID_SAN) || (san_names(t, &names) && names.n > 0);
}

static bool san_critical(const struct lint_tbs *t)
{
    const struct lint_ext *e = x509_lint_ext(t, OID_SAN);
    return t->subject.n > 2 || (e && e->critical);
}

/* A critical SAN beside a subject is allowed, and makes old software refuse. */
static bool san_not_critical(const struct lint_tbs *t)
{
    const struct lint_ext *e = x509_lint_ext(t, OID_SAN);
    return !e || !e->critical || t->subject.n <= 2;
}

static bool name_type(const struct der_item *it)
{
    return it->tag == GN_OTHER || it->tag == GN_MAIL || it->tag == GN_DNS || it->tag == GN_URI ||
           it->tag == GN_IP;
}

static bool san_types(const struct lint_tbs *t)
{
    return each_name(t, name_type);
}

static bool name_not_empty(const struct der_item *it)
{
    return it->val.n > 0;
}

static bool san_values(const struct lint_tbs *t)
{
    return each_name(t, name_not_empty);
}

static bool name_ia5(const struct der_item *it)
{
    if (it->tag != GN_MAIL && it->tag != GN_DNS && it->tag != GN_URI)
        return true;
    for (size_t i = 0; i < it->val.n; i++)
        if (it->val.p[i] <= ' ' || it->val.p[i] > '~')
            return false;
    return true;
}

static bool san_ia5(const struct lint_tbs *t)
{
    return each_name(t, name_ia5);
}

static bool label(struct span s)
{
    if (s.n == 0 || s.n > LABEL_MAX || s.p[0] == '-' || s.p[s.n - 1] == '-')
        return false;
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!alnum && c != '-')
            return false;
    }
    return true;
}

bool x509_lint_host(struct span s)
{
    if (s.n == 0 || s.n > HOST_MAX)
        return false;
    for (size_t from = 0, i = 0; i <= s.n; i++)
        if (i == s.n || s.p[i] == '.') {
            if (!label(span_sub(s, from, i - from)))
                return false;
            from = i + 1;
        }
    return true;
}

/* RFC 1034 section 3.5 and 1123 section 2.1; a leading "*" label is what RFC 6125 allows. */
static bool name_dns(const struct der_item *it)
{
    struct span s = it->val;
    if (it->tag != GN_DNS)
        return true;
    if (span_starts(s, SPAN_LIT("*.")))
        s = span_sub(s, 2, s.n);
    return x509_lint_host(s);
}

static bool san_dns(const struct lint_tbs *t)
{
    return each_name(t, name_dns);
}

static size_t find(struct span s, uint8_t c)
{
    const uint8_t *at = s.n ? memchr(s.p, c, s.n) : NULL;
    return at ? (size_t)(at - s.p) : s.n;
}

/* local-part@host: no quotes, no address in brackets (RFC 5321 section 4.1.2). */
static bool name_mail(const struct der_item *it)
{
    struct span s = it->val;
    if (it->tag != GN_MAIL)
        return true;
    size_t at = find(s, '@');
    return at > 0 && at <= 64 && at < s.n && !memchr(s.p, '"', at) &&
           x509_lint_host(span_sub(s, at + 1, s.n));
}

static bool san_mail(const struct lint_tbs *t)
{
    return each_name(t, name_mail);
}

/* RFC 3986 section 3.1: letter *( letter / digit / "+" / "-" / "." ) ":" */
static size_t scheme(struct span s)
{
    size_t n = find(s, ':');
    if (n == 0 || n == s.n || !((s.p[0] | 0x20) >= 'a' && (s.p[0] | 0x20) <= 'z'))
        return 0;
    for (size_t i = 1; i < n; i++) {
        uint8_t c = s.p[i];
        bool alnum = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
        if (!alnum && !strchr("+-.", c))
            return 0;
    }
    return n;
}

/* Not relative: it has a scheme and something behind it. */
static bool name_uri(const struct der_item *it)
{
    if (it->tag != GN_URI)
        return true;
    size_t n = scheme(it->val);
    return n > 0 && n + 1 < it->val.n;
}

static bool san_uri(const struct lint_tbs *t)
{
    return each_name(t, name_uri);
}

/* With an authority, its host is a name or an address. */
static bool name_uri_host(const struct der_item *it)
{
    if (it->tag != GN_URI)
        return true;
    size_t n = scheme(it->val);
    struct span rest = span_sub(it->val, n + 1, it->val.n);
    if (!span_starts(rest, SPAN_LIT("//")))
        return true;
    rest = span_sub(rest, 2, rest.n);
    struct span auth = span_sub(rest, 0, find(rest, '/'));
    auth = span_sub(auth, 0, find(auth, '?'));
    size_t at = find(auth, '@');
    if (at < auth.n)
        auth = span_sub(auth, at + 1, auth.n);
    if (auth.n > 2 && auth.p[0] == '[')
        return find(auth, ']') < auth.n;
    return x509_lint_host(span_sub(auth, 0, find(auth, ':')));
}

static bool san_uri_host(const struct lint_tbs *t)
{
    return each_name(t, name_uri_host);
}

/* The rules of SPIFFE X.509-SVID, sections 2 and 4: one URI, lower-case trust domain, plain path.
 */
static bool spiffe_path(struct span s)
{
    while (s.n > 0) {
        struct span seg = span_sub(s, 1, s.n);
        seg = span_sub(seg, 0, find(seg, '/'));
        if (s.p[0] != '/' || seg.n == 0 || span_eq_str(seg, ".") || span_eq_str(seg, ".."))
            return false;
        for (size_t i = 0; i < seg.n; i++) {
            uint8_t c = seg.p[i];
            bool alnum = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
            if (!alnum && !strchr(".-_", c))
                return false;
        }
        s = span_sub(s, seg.n + 1, s.n);
    }
    return true;
}

static bool name_spiffe(const struct der_item *it)
{
    struct span head = SPAN_LIT("spiffe://");
    if (it->tag != GN_URI || !span_starts(it->val, head))
        return true;
    struct span rest = span_sub(it->val, head.n, it->val.n);
    size_t n = find(rest, '/');
    for (size_t i = 0; i < n; i++)
        if (!(rest.p[i] >= 'a' && rest.p[i] <= 'z') && !(rest.p[i] >= '0' && rest.p[i] <= '9') &&
            !strchr(".-_", rest.p[i]))
            return false;
    return n > 0 && n <= 255 && it->val.n <= 2048 && spiffe_path(span_sub(rest, n, rest.n));
}

static bool san_spiffe(const struct lint_tbs *t)
{
    return each_name(t, name_spiffe);
}

static bool san_spiffe_alone(const struct lint_tbs *t)
{
    struct span names;
    struct der_item it;
    size_t uris = 0;
    bool spiffe = false;
    if (!san_names(t, &names))
        return true;
    while (names.n > 0 && der_next(&names, &it)) {
        uris += it.tag == GN_URI;
        spiffe = spiffe || (it.tag == GN_URI && span_starts(it.val, SPAN_LIT("spiffe:")));
    }
    return !spiffe || uris == 1;
}

static bool name_ip(const struct der_item *it)
{
    return it->tag != GN_IP || it->val.n == 4 || it->val.n == 16;
}

static bool san_ip(const struct lint_tbs *t)
{
    return each_name(t, name_ip);
}

/* OtherName: type-id and [0] value, nothing else. */
static bool name_other(const struct der_item *it)
{
    struct span in = it->val, oid, value;
    return it->tag != GN_OTHER || (der_get(&in, DER_OID, &oid) &&
                                   der_get(&in, DER_CTX_CONS(0), &value) && value.n > 0 && !in.n);
}

static bool san_other(const struct lint_tbs *t)
{
    return each_name(t, name_other);
}

/* Whether it is an otherName of that type; *ret is what stands in the SEQUENCE of its value, empty
 * when it is none. */
static bool other_of(const struct der_item *it, struct span type, struct span *ret)
{
    struct span in = it->val, oid, value;
    if (it->tag != GN_OTHER || !der_get(&in, DER_OID, &oid) || !span_eq(oid, type))
        return false;
    *ret = (struct span){NULL, 0};
    if (!der_get(&in, DER_CTX_CONS(0), &value) || !der_get(&value, DER_SEQUENCE, ret) || value.n)
        *ret = (struct span){NULL, 0};
    return true;
}

/* HardwareModuleName ::= SEQUENCE { hwType OBJECT IDENTIFIER, hwSerialNum OCTET STRING } */
static bool name_hardware(const struct der_item *it)
{
    struct span seq, type, serial;
    return !other_of(it, OID_HARDWARE_MODULE, &seq) ||
           (der_get(&seq, DER_OID, &type) && type.n > 0 &&
            der_get(&seq, DER_OCTET_STRING, &serial) && serial.n > 0 && seq.n == 0);
}

static bool san_hardware(const struct lint_tbs *t)
{
    return each_name(t, name_hardware);
}

/* PermanentIdentifier ::= SEQUENCE { identifierValue UTF8String, assigner OPTIONAL }: ours has no
 * assigner. */
static bool name_permanent(const struct der_item *it)
{
    struct span seq, id;
    return !other_of(it, OID_PERMANENT_ID, &seq) ||
           (der_get(&seq, DER_UTF8_STRING, &id) && id.n > 0 && seq.n == 0);
}

static bool san_permanent(const struct lint_tbs *t)
{
    return each_name(t, name_permanent);
}

const struct lint_rule x509_lint_names[] = {
    {"subject-form", "RFC 5280 section 4.1.2.4", subject_form},
    {"subject-of-ca", "RFC 5280 section 4.1.2.6", subject_of_ca},
    {"subject-strings", "RFC 5280 section 4.1.2.4", subject_strings},
    {"subject-printable", "X.680 section 41.4", subject_printable},
    {"subject-utf8", "RFC 3629 section 3", subject_utf8},
    {"subject-values", "RFC 5280 appendix A.1", subject_values},
    {"subject-bounds", "RFC 5280 appendix A.1", subject_bounds},
    {"subject-printable-only", "RFC 5280 appendix A.1", subject_printable_only},
    {"subject-country", "RFC 5280 appendix A.1", subject_country},
    {"san-not-empty", "RFC 5280 section 4.2.1.6", san_not_empty},
    {"san-critical", "RFC 5280 section 4.2.1.6", san_critical},
    {"san-not-critical", "RFC 5280 section 4.2.1.6", san_not_critical},
    {"san-types", "RFC 5280 section 4.2.1.6", san_types},
    {"san-values", "RFC 5280 section 4.2.1.6", san_values},
    {"san-ia5", "RFC 5280 section 4.2.1.6", san_ia5},
    {"san-dns", "RFC 5280 section 4.2.1.6, RFC 1123 section 2.1", san_dns},
    {"san-mail", "RFC 5280 section 4.2.1.6, RFC 5321 section 4.1.2", san_mail},
    {"san-uri", "RFC 5280 section 4.2.1.6, RFC 3986 section 3.1", san_uri},
    {"san-uri-host", "RFC 5280 section 4.2.1.6", san_uri_host},
    {"san-spiffe", "SPIFFE-ID section 2", san_spiffe},
    {"san-spiffe-alone", "X509-SVID section 2", san_spiffe_alone},
    {"san-ip", "RFC 5280 section 4.2.1.6", san_ip},
    {"san-other", "RFC 5280 section 4.2.1.6", san_other},
    {"san-permanent", "RFC 4043 section 2", san_permanent},
    {"san-hardware", "RFC 4108 section 5", san_hardware},
};
const size_t x509_lint_nnames = TD_NITEMS(x509_lint_names);
