#include "mdm/crypt/x509_build_int.h"

#include "mdm/crypt/der_int.h"
#include "mdm/crypt/key_int.h"
#include "mdm/crypt/x509_ext_int.h"
#include "mdm/crypt/x509_int.h"
#include "mdm/crypt/x509_lint.h"

#define CERT_BUILD_MAX 16384
#define SERIAL_MAX 20
#define UB_NAME 64 /* ub-common-name, ub-organization-name */

#define OID_CN "\x55\x04\x03"
#define OID_C "\x55\x04\x06"
#define OID_O "\x55\x04\x0a"
#define OID_OU "\x55\x04\x0b"
#define OID_EXT_REQUEST "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x0e"

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

/* Characters, not octets: upper bounds count these. */
static size_t utf8_count(struct span s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += (s.p[i] & 0xc0) != 0x80;
    return n;
}

static enum td_err put_attr(struct buf *b, struct span oid, const char *value, size_t max,
                            struct errinfo *ei)
{
    struct span s = span_str(value);
    if (s.n == 0)
        return TD_OK;
    if (!der_utf8_ok(s) || utf8_count(s) > max)
        return err_set(ei, TD_INVAL, "attribute of the subject");
    size_t rdn = der_open(b, DER_SET);
    size_t atv = der_open(b, DER_SEQUENCE);
    der_put(b, DER_OID, oid);
    der_put(b, printable(s) ? DER_PRINTABLE_STRING : DER_UTF8_STRING, s);
    der_close(b, atv);
    der_close(b, rdn);
    return TD_OK;
}

static enum td_err put_subject(struct buf *b, const struct x509_spec *s, bool *ret_empty,
                               struct errinfo *ei)
{
    struct span c = span_str(s->c);
    if (c.n != 0 && (c.n != 2 || !printable(c)))
        return err_set(ei, TD_INVAL, "country of the subject");
    size_t name = der_open(b, DER_SEQUENCE);
    size_t before = b->n;
    TD_TRY(put_attr(b, SPAN_LIT(OID_C), s->c, 2, ei));
    TD_TRY(put_attr(b, SPAN_LIT(OID_O), s->o, UB_NAME, ei));
    TD_TRY(put_attr(b, SPAN_LIT(OID_OU), s->ou, UB_NAME, ei));
    TD_TRY(put_attr(b, SPAN_LIT(OID_CN), s->cn, UB_NAME, ei));
    *ret_empty = b->n == before;
    der_close(b, name);
    return TD_OK;
}

/* Positive, at most 20 octets as encoded (RFC 5280 section 4.1.2.2). */
static bool serial_ok(struct span s)
{
    while (s.n > 0 && s.p[0] == 0)
        s = span_sub(s, 1, s.n - 1);
    return s.n > 0 && s.n + (s.p[0] >> 7) <= SERIAL_MAX;
}

static enum td_err check_spec(const struct x509_spec *s, const struct cert *issuer,
                              const struct key *issuer_key, struct errinfo *ei)
{
    if (!serial_ok(s->serial))
        return err_set(ei, TD_INVAL, "serial number");
    if (s->not_after < s->not_before)
        return err_set(ei, TD_INVAL, "validity ends before it begins");
    if (!s->public_key || !issuer_key)
        return err_set(ei, TD_INVAL, "key missing");
    if (!key_equal(issuer ? cert_key(issuer) : s->public_key, issuer_key))
        return err_set(ei, TD_INVAL, "issuer's key and certificate do not belong together");
    return TD_OK;
}

struct span x509_issuer_keyid(const struct cert *issuer, uint8_t own[static X509_KEYID_SIZE])
{
    const struct cert_ext *e = cert_find_ext(issuer, SPAN_LIT("\x55\x1d\x0e"));
    struct span in, id;
    if (e) {
        in = e->val;
        if (der_get(&in, DER_OCTET_STRING, &id) && in.n == 0 && id.n > 0)
            return id;
    }
    x509_keyid(cert_key_octets(issuer), own);
    return span_of(own, X509_KEYID_SIZE);
}

static enum td_err put_tbs(struct buf *b, const struct x509_spec *s, const struct cert *issuer,
                           const struct sigalg *alg, struct errinfo *ei)
{
    uint8_t ski[X509_KEYID_SIZE], other[X509_KEYID_SIZE];
    x509_keyid(key_bits_octets(s->public_key), ski);
    struct span aki = issuer ? x509_issuer_keyid(issuer, other) : SPAN_ARR(ski);

    buf_auto subject;
    buf_init(&subject, 1024);
    bool empty = false;
    TD_TRY(put_subject(&subject, s, &empty, ei));
    bool san = s->san_permanent_id || s->san_hw_type || s->san_dns || s->san_email || s->san_uri;
    if (empty && (s->ca || !issuer || !san))
        return err_set(ei, TD_INVAL, "empty subject");

    size_t tbs = der_open(b, DER_SEQUENCE);
    buf_span(b, SPAN_LIT("\xa0\x03\x02\x01\x02")); /* version 3 */
    der_put_uint(b, s->serial);
    buf_span(b, alg->der);
    buf_span(b, issuer ? issuer->subject : buf_view(&subject));
    size_t validity = der_open(b, DER_SEQUENCE);
    der_put_time(b, s->not_before);
    der_put_time(b, s->not_after);
    der_close(b, validity);
    buf_span(b, buf_view(&subject));
    buf_span(b, span_of(s->public_key->spki, s->public_key->nspki));
    TD_TRY(x509_put_exts(b, s, empty, SPAN_ARR(ski), aki, ei));
    der_close(b, tbs);
    enum td_err e = subject.err != TD_OK ? subject.err : b->err;
    return e == TD_OK ? TD_OK : err_set(ei, e, "certificate");
}

static enum td_err no_algorithm(struct errinfo *ei)
{
    return err_set(ei, TD_UNSUPPORTED, "issuer's type of key");
}

enum td_err x509_tbs(const struct x509_spec *spec, const struct cert *issuer,
                     const struct key *issuer_key, struct buf *ret, struct errinfo *ei)
{
    TD_TRY(check_spec(spec, issuer, issuer_key, ei));
    const struct sigalg *alg = sigalg_of_key(issuer_key);
    return alg ? put_tbs(ret, spec, issuer, alg, ei) : no_algorithm(ei);
}

enum td_err x509_seal(struct span tbs, const struct key *issuer_key, struct arena *a,
                      struct span *ret, struct errinfo *ei)
{
    const struct sigalg *alg = sigalg_of_key(issuer_key);
    if (!alg)
        return no_algorithm(ei);
    struct span sig;
    TD_TRY(key_sign(issuer_key, alg->digest, tbs, a, &sig, ei));
    buf_auto b;
    buf_init(&b, CERT_BUILD_MAX);
    size_t outer = der_open(&b, DER_SEQUENCE);
    buf_span(&b, tbs);
    buf_span(&b, alg->der);
    der_put_bits(&b, sig);
    der_close(&b, outer);
    if (b.err != TD_OK)
        return err_set(ei, b.err, "certificate");
    struct span der = arena_span(a, buf_view(&b));
    if (!der.p)
        return err_set(ei, TD_NOMEM, "certificate");
    *ret = der;
    return TD_OK;
}

enum td_err x509_build(const struct x509_spec *spec, const struct cert *issuer,
                       const struct key *issuer_key, struct arena *a, struct span *ret,
                       struct errinfo *ei)
{
    buf_auto tbs;
    buf_init(&tbs, CERT_BUILD_MAX);
    TD_TRY(x509_tbs(spec, issuer, issuer_key, &tbs, ei));
    TD_TRY(x509_lint_known(buf_view(&tbs), issuer, spec->public_key, ei));
    return x509_seal(buf_view(&tbs), issuer_key, a, ret, ei);
}

/* Attribute extensionRequest (RFC 2985 section 5.4.2). */
static enum td_err put_ext_request(struct buf *b, const struct x509_spec *s, struct span ski,
                                   struct errinfo *ei)
{
    buf_auto exts;
    buf_init(&exts, CERT_BUILD_MAX);
    TD_TRY(x509_put_exts(&exts, s, false, ski, (struct span){NULL, 0}, ei));
    struct span in = buf_view(&exts), list;
    if (exts.err != TD_OK || !der_get(&in, DER_CTX_CONS(3), &list))
        return err_set(ei, TD_NOMEM, "certificate request");
    size_t attrs = der_open(b, DER_CTX_CONS(0));
    size_t attr = der_open(b, DER_SEQUENCE);
    der_put(b, DER_OID, SPAN_LIT(OID_EXT_REQUEST));
    der_put(b, DER_SET, list);
    der_close(b, attr);
    der_close(b, attrs);
    return TD_OK;
}

enum td_err csr_build(const struct x509_spec *spec, struct arena *a, struct span *ret,
                      struct errinfo *ei)
{
    const struct key *key = spec->public_key;
    if (!key)
        return err_set(ei, TD_INVAL, "key missing");
    uint8_t ski[X509_KEYID_SIZE];
    x509_keyid(key_bits_octets(key), ski);
    buf_auto info;
    buf_init(&info, CERT_BUILD_MAX);
    bool empty;
    size_t outer = der_open(&info, DER_SEQUENCE);
    der_put(&info, DER_INTEGER, SPAN_LIT("\0"));
    TD_TRY(put_subject(&info, spec, &empty, ei));
    buf_span(&info, span_of(key->spki, key->nspki));
    TD_TRY(put_ext_request(&info, spec, SPAN_ARR(ski), ei));
    der_close(&info, outer);
    if (info.err != TD_OK)
        return err_set(ei, info.err, "certificate request");
    return x509_seal(buf_view(&info), key, a, ret, ei);
}
