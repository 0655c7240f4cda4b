#include "mdm/crypt/crl.h"

#include <stdlib.h>

#include "mdm/base/b64.h"
#include "mdm/crypt/der_int.h"
#include "mdm/crypt/x509_ext_int.h"
#include "mdm/crypt/x509_int.h"

#define OID_REASON "\x06\x03\x55\x1d\x15"
#define OID_CRL_NUMBER "\x06\x03\x55\x1d\x14"
#define OID_IDP "\x06\x03\x55\x1d\x1c"
#define OID_AKI "\x06\x03\x55\x1d\x23"
#define CRITICAL "\x01\x01\xff"
#define GN_URI 6
#define URI_MAX 512
#define PEM_LINE 48 /* octets that give 64 characters */

bool crl_entry_set(struct crl_entry *e, struct span serial, int64_t revoked_at, int reason)
{
    *e = (struct crl_entry){.revoked_at = revoked_at, .reason = (int8_t)reason};
    if (serial.n == 0 || serial.n > CRL_SERIAL_MAX)
        return false;
    memcpy(e->serial, serial.p, serial.n);
    e->nserial = (uint8_t)serial.n;
    return true;
}

/* The unused octets are zero: comparing the whole arrays orders by content, the shorter first. */
static int compare(const void *a, const void *b)
{
    const struct crl_entry *x = a, *y = b;
    int c = memcmp(x->serial, y->serial, CRL_SERIAL_MAX);
    return c != 0 ? c : (int)x->nserial - (int)y->nserial;
}

void crl_sort(struct crl_entry *entries, size_t n)
{
    if (n > 1)
        qsort(entries, n, sizeof *entries, compare);
}

/* CRLReason has no 7; removeFromCRL (8) belongs to delta CRLs alone, which we make none of. */
static bool reason_ok(int r)
{
    return r >= CRL_REASON_NONE && r <= 10 && r != 7 && r != 8;
}

/* Positive, as short as an INTEGER can be. */
static bool serial_ok(const struct crl_entry *e)
{
    return e->nserial >= 1 && e->nserial <= CRL_SERIAL_MAX &&
           der_int_ok(span_of(e->serial, e->nserial)) && !(e->serial[0] & 0x80);
}

static enum td_err check_spec(const struct crl_spec *s, struct errinfo *ei)
{
    if (s->number == 0 || s->next_update <= s->this_update)
        return err_set(ei, TD_INVAL, "number or times of the CRL");
    if (s->n > CRL_ENTRIES_MAX)
        return err_set(ei, TD_LIMIT, "a CRL of over %d certificates", CRL_ENTRIES_MAX);
    struct span uri = span_str(s->uri);
    if (s->uri && (uri.n == 0 || uri.n > URI_MAX))
        return err_set(ei, TD_INVAL, "the CRL's distribution point");
    for (size_t i = 0; i < s->n; i++) {
        const struct crl_entry *e = &s->entries[i];
        if (!serial_ok(e) || !reason_ok(e->reason) || e->revoked_at > s->this_update)
            return err_set(ei, TD_INVAL, "entry %zu of the CRL", i);
        if (i > 0 && compare(e - 1, e) >= 0)
            return err_set(ei, TD_INVAL, "entry %zu of the CRL is out of order", i);
    }
    return TD_OK;
}

static void put_entry(struct buf *b, const struct crl_entry *e)
{
    size_t seq = der_open(b, DER_SEQUENCE);
    der_put(b, DER_INTEGER, span_of(e->serial, e->nserial));
    der_put_time(b, e->revoked_at);
    if (e->reason > 0) { /* RFC 5280 section 5.3.1: absent instead of unspecified */
        size_t exts = der_open(b, DER_SEQUENCE);
        size_t ext = der_open(b, DER_SEQUENCE);
        buf_span(b, SPAN_LIT(OID_REASON));
        size_t value = der_open(b, DER_OCTET_STRING);
        der_put(b, DER_ENUMERATED, span_of(&(uint8_t){(uint8_t)e->reason}, 1));
        der_close(b, value);
        der_close(b, ext);
        der_close(b, exts);
    }
    der_close(b, seq);
}

static void put_aki(struct buf *b, const struct cert *issuer)
{
    uint8_t own[X509_KEYID_SIZE];
    size_t ext = der_open(b, DER_SEQUENCE);
    buf_span(b, SPAN_LIT(OID_AKI));
    size_t value = der_open(b, DER_OCTET_STRING);
    size_t seq = der_open(b, DER_SEQUENCE);
    der_put(b, DER_CTX(0), x509_issuer_keyid(issuer, own));
    der_close(b, seq);
    der_close(b, value);
    der_close(b, ext);
}

static void put_number(struct buf *b, uint64_t number)
{
    uint8_t be[8];
    for (size_t i = 0; i < sizeof be; i++)
        be[i] = (uint8_t)(number >> (8 * (sizeof be - 1 - i)));
    size_t ext = der_open(b, DER_SEQUENCE);
    buf_span(b, SPAN_LIT(OID_CRL_NUMBER));
    size_t value = der_open(b, DER_OCTET_STRING);
    der_put_uint(b, SPAN_ARR(be));
    der_close(b, value);
    der_close(b, ext);
}

static void put_idp(struct buf *b, const char *uri)
{
    size_t ext = der_open(b, DER_SEQUENCE);
    buf_span(b, SPAN_LIT(OID_IDP));
    buf_span(b, SPAN_LIT(CRITICAL));
    size_t value = der_open(b, DER_OCTET_STRING);
    size_t seq = der_open(b, DER_SEQUENCE);
    size_t point = der_open(b, DER_CTX_CONS(0)); /* a CHOICE is tagged explicitly */
    size_t full = der_open(b, DER_CTX_CONS(0));
    der_put(b, DER_CTX(GN_URI), span_str(uri));
    der_close(b, full);
    der_close(b, point);
    der_put(b, DER_CTX(1), SPAN_LIT("\xff")); /* onlyContainsUserCerts */
    der_close(b, seq);
    der_close(b, value);
    der_close(b, ext);
}

static void put_exts(struct buf *b, const struct crl_spec *s, const struct cert *issuer)
{
    size_t outer = der_open(b, DER_CTX_CONS(0));
    size_t list = der_open(b, DER_SEQUENCE);
    put_aki(b, issuer);
    put_number(b, s->number);
    if (s->uri)
        put_idp(b, s->uri);
    der_close(b, list);
    der_close(b, outer);
}

enum td_err crl_tbs(const struct crl_spec *s, const struct cert *issuer, struct buf *b,
                    struct errinfo *ei)
{
    TD_TRY(check_spec(s, ei));
    const struct sigalg *alg = cert_key(issuer) ? sigalg_of_key(cert_key(issuer)) : NULL;
    if (!alg)
        return err_set(ei, TD_UNSUPPORTED, "issuer's type of key");
    size_t tbs = der_open(b, DER_SEQUENCE);
    buf_span(b, SPAN_LIT("\x02\x01\x01")); /* version 2 */
    buf_span(b, alg->der);
    buf_span(b, issuer->subject);
    der_put_time(b, s->this_update);
    der_put_time(b, s->next_update);
    if (s->n > 0) { /* RFC 5280 section 5.1.2.6: absent when there is none */
        size_t list = der_open(b, DER_SEQUENCE);
        for (size_t i = 0; i < s->n; i++)
            put_entry(b, &s->entries[i]);
        der_close(b, list);
    }
    put_exts(b, s, issuer);
    der_close(b, tbs);
    return b->err == TD_OK ? TD_OK : err_set(ei, b->err, "CRL");
}

enum td_err crl_sign(struct span tbs, const struct key *key, struct arena *a, struct span *ret_sig,
                     struct errinfo *ei)
{
    const struct sigalg *alg = sigalg_of_key(key);
    if (!alg)
        return err_set(ei, TD_UNSUPPORTED, "issuer's type of key");
    return key_sign(key, alg->digest, tbs, a, ret_sig, ei);
}

enum td_err crl_finish(struct span tbs, struct span sig, const struct cert *issuer, struct buf *b,
                       struct errinfo *ei)
{
    const struct key *key = cert_key(issuer);
    const struct sigalg *alg = key ? sigalg_of_key(key) : NULL;
    if (!alg)
        return err_set(ei, TD_UNSUPPORTED, "issuer's type of key");
    TD_TRY(key_verify(key, alg->digest, tbs, sig, ei));
    size_t outer = der_open(b, DER_SEQUENCE);
    buf_span(b, tbs);
    buf_span(b, alg->der);
    der_put_bits(b, sig);
    der_close(b, outer);
    return b->err == TD_OK ? TD_OK : err_set(ei, b->err, "CRL");
}

enum td_err crl_to_pem(struct span der, struct buf *b)
{
    buf_str(b, "-----BEGIN X509 CRL-----\n");
    for (size_t at = 0; at < der.n; at += PEM_LINE) {
        b64_enc(b, span_sub(der, at, PEM_LINE));
        buf_u8(b, '\n');
    }
    return buf_str(b, "-----END X509 CRL-----\n");
}
