#include "mdm/crypt/x509_ext_int.h"

#include "mdm/crypt/der_int.h"

#include <arpa/inet.h>

#define OID_SKI "\x55\x1d\x0e"
#define OID_KEY_USAGE "\x55\x1d\x0f"
#define OID_SAN "\x55\x1d\x11"
#define OID_BASIC_CONSTRAINTS "\x55\x1d\x13"
#define OID_CRL_DP "\x55\x1d\x1f"
#define OID_AKI "\x55\x1d\x23"
#define OID_EKU "\x55\x1d\x25"
#define OID_AIA "\x2b\x06\x01\x05\x05\x07\x01\x01"
#define OID_AD_OCSP "\x2b\x06\x01\x05\x05\x07\x30\x01"
#define OID_AD_CA_ISSUERS "\x2b\x06\x01\x05\x05\x07\x30\x02"
#define OID_OCSP_NOCHECK "\x2b\x06\x01\x05\x05\x07\x30\x01\x05"
#define OID_PERMANENT_ID "\x2b\x06\x01\x05\x05\x07\x08\x03"
#define OID_HARDWARE_MODULE "\x2b\x06\x01\x05\x05\x07\x08\x04"

#define GN_OTHER 0
#define GN_EMAIL 1
#define GN_DNS 2
#define GN_URI 6
#define GN_IP 7

#define URI_MAX 512
#define DNS_MAX 253
#define PERMANENT_ID_MAX 256
#define HW_SERIAL_MAX 256

struct ext_args {
    const struct x509_spec *spec;
    bool empty_subject;
    struct span ski, aki;
};

void x509_keyid(struct span key_octets, uint8_t out[static X509_KEYID_SIZE])
{
    uint8_t md[SHA256_SIZE];
    digest_sha256(key_octets, md);
    memcpy(out, md, X509_KEYID_SIZE);
}

static bool set(const char *s)
{
    return s && *s;
}

static bool ia5(const char *s, size_t max)
{
    size_t n = strlen(s);
    for (size_t i = 0; i < n; i++)
        if (s[i] <= ' ' || s[i] > '~')
            return false;
    return n <= max;
}

static bool always(const struct ext_args *x)
{
    (void)x;
    return true;
}

static enum td_err put_basic_constraints(struct buf *b, const struct ext_args *x,
                                         struct errinfo *ei)
{
    const struct x509_spec *s = x->spec;
    if (s->ca && s->path_len > 127)
        return err_set(ei, TD_INVAL, "path length");
    size_t seq = der_open(b, DER_SEQUENCE);
    if (s->ca) {
        der_put(b, DER_BOOLEAN, SPAN_LIT("\xff"));
        if (s->path_len >= 0)
            der_put(b, DER_INTEGER, span_of(&(uint8_t){(uint8_t)s->path_len}, 1));
    }
    der_close(b, seq);
    return TD_OK;
}

static bool has_key_usage(const struct ext_args *x)
{
    return x->spec->key_usage != 0;
}

/* A named BIT STRING has no trailing zero bits (X.690 section 11.2.2); bit 0 is the top bit of the
 * octet and the lowest of enum x509_ku. */
static enum td_err put_key_usage(struct buf *b, const struct ext_args *x, struct errinfo *ei)
{
    unsigned ku = x->spec->key_usage;
    if (ku > 0xff)
        return err_set(ei, TD_INVAL, "key usage");
    uint8_t octet = 0;
    int unused = 8;
    for (int i = 0; i < 8; i++) {
        if (ku >> i & 1) {
            octet = (uint8_t)(octet | 0x80 >> i);
            unused = 7 - i;
        }
    }
    der_put(b, DER_BIT_STRING, span_of((uint8_t[]){(uint8_t)unused, octet}, 2));
    return TD_OK;
}

static bool has_eku(const struct ext_args *x)
{
    return x->spec->eku && x->spec->eku[0];
}

static enum td_err put_eku(struct buf *b, const struct ext_args *x, struct errinfo *ei)
{
    size_t seq = der_open(b, DER_SEQUENCE);
    for (const char *const *e = x->spec->eku; *e; e++) {
        uint8_t oid[DER_OID_MAX];
        size_t n = der_oid_text(*e, oid);
        if (n == 0)
            return err_set(ei, TD_INVAL, "extended key usage");
        der_put(b, DER_OID, span_of(oid, n));
    }
    der_close(b, seq);
    return TD_OK;
}

static enum td_err put_ski(struct buf *b, const struct ext_args *x, struct errinfo *ei)
{
    (void)ei;
    der_put(b, DER_OCTET_STRING, x->ski);
    return TD_OK;
}

/* A certificate has it always, a request never. */
static bool has_aki(const struct ext_args *x)
{
    return x->aki.n > 0;
}

static enum td_err put_aki(struct buf *b, const struct ext_args *x, struct errinfo *ei)
{
    (void)ei;
    size_t seq = der_open(b, DER_SEQUENCE);
    der_put(b, DER_CTX(0), x->aki);
    der_close(b, seq);
    return TD_OK;
}

static bool has_san(const struct ext_args *x)
{
    const struct x509_spec *s = x->spec;
    return set(s->san_permanent_id) || set(s->san_hw_type) || (s->san_dns && s->san_dns[0]) ||
           set(s->san_email) || set(s->san_uri);
}

/* Opens an otherName whose value is a SEQUENCE; marks in *m, to be closed from the last. */
static void open_other(struct buf *b, struct span type, size_t m[static 3])
{
    m[0] = der_open(b, DER_CTX_CONS(GN_OTHER));
    der_put(b, DER_OID, type);
    m[1] = der_open(b, DER_CTX_CONS(0));
    m[2] = der_open(b, DER_SEQUENCE);
}

static void close_other(struct buf *b, const size_t m[static 3])
{
    for (size_t i = 3; i-- > 0;)
        der_close(b, m[i]);
}

/* otherName PermanentIdentifier with identifierValue alone (RFC 4043 section 2). */
static enum td_err put_permanent_id(struct buf *b, const char *id, struct errinfo *ei)
{
    size_t m[3];
    struct span s = span_str(id);
    if (s.n > PERMANENT_ID_MAX || !der_utf8_ok(s))
        return err_set(ei, TD_INVAL, "permanent identifier");
    open_other(b, SPAN_LIT(OID_PERMANENT_ID), m);
    der_put(b, DER_UTF8_STRING, s);
    close_other(b, m);
    return TD_OK;
}

/* otherName HardwareModuleName (RFC 4108 section 5). */
static enum td_err put_hardware(struct buf *b, const struct x509_spec *s, struct errinfo *ei)
{
    size_t m[3];
    uint8_t type[DER_OID_MAX];
    size_t n = der_oid_text(s->san_hw_type, type);
    if (n == 0 || s->san_hw_serial.n == 0 || s->san_hw_serial.n > HW_SERIAL_MAX)
        return err_set(ei, TD_INVAL, "hardware module");
    open_other(b, SPAN_LIT(OID_HARDWARE_MODULE), m);
    der_put(b, DER_OID, span_of(type, n));
    der_put(b, DER_OCTET_STRING, s->san_hw_serial);
    close_other(b, m);
    return TD_OK;
}

static enum td_err put_host(struct buf *b, const char *name, struct errinfo *ei)
{
    uint8_t ip[16];
    if (inet_pton(AF_INET, name, ip) == 1)
        der_put(b, DER_CTX(GN_IP), span_of(ip, 4));
    else if (inet_pton(AF_INET6, name, ip) == 1)
        der_put(b, DER_CTX(GN_IP), span_of(ip, 16));
    else if (set(name) && ia5(name, DNS_MAX))
        der_put(b, DER_CTX(GN_DNS), span_str(name));
    else
        return err_set(ei, TD_INVAL, "host name");
    return TD_OK;
}

static enum td_err put_text_name(struct buf *b, uint8_t tag, const char *text, struct errinfo *ei)
{
    if (!set(text))
        return TD_OK;
    if (!ia5(text, URI_MAX))
        return err_set(ei, TD_INVAL, "name");
    der_put(b, DER_CTX(tag), span_str(text));
    return TD_OK;
}

static enum td_err put_san(struct buf *b, const struct ext_args *x, struct errinfo *ei)
{
    size_t seq = der_open(b, DER_SEQUENCE);
    if (set(x->spec->san_permanent_id))
        TD_TRY(put_permanent_id(b, x->spec->san_permanent_id, ei));
    if (set(x->spec->san_hw_type))
        TD_TRY(put_hardware(b, x->spec, ei));
    for (const char *const *d = x->spec->san_dns; d && *d; d++)
        TD_TRY(put_host(b, *d, ei));
    TD_TRY(put_text_name(b, GN_EMAIL, x->spec->san_email, ei));
    TD_TRY(put_text_name(b, GN_URI, x->spec->san_uri, ei));
    der_close(b, seq);
    return TD_OK;
}

static bool has_aia(const struct ext_args *x)
{
    return set(x->spec->aia_ocsp) || set(x->spec->aia_ca_issuers);
}

static enum td_err put_access(struct buf *b, struct span method, const char *uri,
                              struct errinfo *ei)
{
    if (!set(uri))
        return TD_OK;
    if (!ia5(uri, URI_MAX))
        return err_set(ei, TD_INVAL, "URI");
    size_t seq = der_open(b, DER_SEQUENCE);
    der_put(b, DER_OID, method);
    der_put(b, DER_CTX(GN_URI), span_str(uri));
    der_close(b, seq);
    return TD_OK;
}

static enum td_err put_aia(struct buf *b, const struct ext_args *x, struct errinfo *ei)
{
    size_t seq = der_open(b, DER_SEQUENCE);
    TD_TRY(put_access(b, SPAN_LIT(OID_AD_OCSP), x->spec->aia_ocsp, ei));
    TD_TRY(put_access(b, SPAN_LIT(OID_AD_CA_ISSUERS), x->spec->aia_ca_issuers, ei));
    der_close(b, seq);
    return TD_OK;
}

static bool has_crl_dp(const struct ext_args *x)
{
    return set(x->spec->crl_dp);
}

static enum td_err put_crl_dp(struct buf *b, const struct ext_args *x, struct errinfo *ei)
{
    if (!ia5(x->spec->crl_dp, URI_MAX))
        return err_set(ei, TD_INVAL, "URI");
    size_t points = der_open(b, DER_SEQUENCE);
    size_t point = der_open(b, DER_SEQUENCE);
    size_t name = der_open(b, DER_CTX_CONS(0));
    size_t full = der_open(b, DER_CTX_CONS(0));
    der_put(b, DER_CTX(GN_URI), span_str(x->spec->crl_dp));
    der_close(b, full);
    der_close(b, name);
    der_close(b, point);
    der_close(b, points);
    return TD_OK;
}

static bool has_nocheck(const struct ext_args *x)
{
    return x->spec->ocsp_nocheck;
}

static enum td_err put_nocheck(struct buf *b, const struct ext_args *x, struct errinfo *ei)
{
    (void)x;
    (void)ei;
    der_put(b, DER_NULL, (struct span){NULL, 0});
    return TD_OK;
}

static bool has_tagged(const struct ext_args *x)
{
    return set(x->spec->tagged_oid);
}

static enum td_err put_tagged(struct buf *b, const struct ext_args *x, struct errinfo *ei)
{
    size_t seq = der_open(b, DER_SEQUENCE);
    for (size_t i = 0; i < x->spec->ntagged; i++) {
        const struct x509_tagged *v = &x->spec->tagged[i];
        if (v->tag > 30 || !der_utf8_ok(v->value))
            return err_set(ei, TD_INVAL, "a value of the extension of our own");
        der_put(b, DER_CTX(v->tag), v->value);
    }
    der_close(b, seq);
    return TD_OK;
}

/* Critical: basicConstraints and keyUsage always, subjectAltName when the subject is empty (RFC
 * 5280 section 4.2.1.6), nothing else. */
enum critical { NEVER, ALWAYS, EMPTY_SUBJECT };

static const struct ext_row {
    struct span oid;
    enum critical critical;
    bool (*has)(const struct ext_args *);
    enum td_err (*put)(struct buf *, const struct ext_args *, struct errinfo *);
} rows[] = {
    {SPAN_LIT(OID_BASIC_CONSTRAINTS), ALWAYS, always, put_basic_constraints},
    {SPAN_LIT(OID_KEY_USAGE), ALWAYS, has_key_usage, put_key_usage},
    {SPAN_LIT(OID_EKU), NEVER, has_eku, put_eku},
    {SPAN_LIT(OID_SKI), NEVER, always, put_ski},
    {SPAN_LIT(OID_AKI), NEVER, has_aki, put_aki},
    {SPAN_LIT(OID_SAN), EMPTY_SUBJECT, has_san, put_san},
    {SPAN_LIT(OID_AIA), NEVER, has_aia, put_aia},
    {SPAN_LIT(OID_CRL_DP), NEVER, has_crl_dp, put_crl_dp},
    {SPAN_LIT(OID_OCSP_NOCHECK), NEVER, has_nocheck, put_nocheck},
    {{NULL, 0}, NEVER, has_tagged, put_tagged}, /* the OID is in the specification */
};

static enum td_err put_oid(struct buf *b, const struct ext_row *r, const struct x509_spec *spec,
                           struct errinfo *ei)
{
    uint8_t own[DER_OID_MAX];
    struct span oid = r->oid.n ? r->oid : span_of(own, der_oid_text(spec->tagged_oid, own));
    if (oid.n == 0)
        return err_set(ei, TD_INVAL, "OID of the extension of our own");
    der_put(b, DER_OID, oid);
    return TD_OK;
}

enum td_err x509_put_exts(struct buf *b, const struct x509_spec *spec, bool empty_subject,
                          struct span ski, struct span aki, struct errinfo *ei)
{
    const struct ext_args x = {spec, empty_subject, ski, aki};
    size_t outer = der_open(b, DER_CTX_CONS(3));
    size_t list = der_open(b, DER_SEQUENCE);
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        const struct ext_row *r = &rows[i];
        if (!r->has(&x))
            continue;
        size_t ext = der_open(b, DER_SEQUENCE);
        TD_TRY(put_oid(b, r, spec, ei));
        if (r->critical == ALWAYS || (r->critical == EMPTY_SUBJECT && empty_subject))
            der_put(b, DER_BOOLEAN, SPAN_LIT("\xff"));
        size_t value = der_open(b, DER_OCTET_STRING);
        TD_TRY(r->put(b, &x, ei));
        der_close(b, value);
        der_close(b, ext);
    }
    der_close(b, list);
    der_close(b, outer);
    return TD_OK;
}
