/* Answers of an OCSP responder, written straight into DER: a live answer costs one signature. */
#include "mdm/crypt/der_int.h"
#include "mdm/crypt/ocsp.h"
#include "mdm/crypt/sigalg_int.h"
#include "mdm/crypt/x509_int.h"

#define RESP_MAX 65536
#define NONCE_EXT "\x06\x09\x2b\x06\x01\x05\x05\x07\x30\x01\x02"
#define BASIC_OID "\x06\x09\x2b\x06\x01\x05\x05\x07\x30\x01\x01"

static void put_revoked(struct buf *b, const struct ocsp_single *s)
{
    size_t info = der_open(b, DER_CTX_CONS(1));
    der_put_gentime(b, DER_GENERALIZED_TIME, s->revoked_at);
    if (s->reason >= 0) {
        size_t reason = der_open(b, DER_CTX_CONS(0));
        der_put(b, DER_ENUMERATED, span_of(&(uint8_t){(uint8_t)s->reason}, 1));
        der_close(b, reason);
    }
    der_close(b, info);
}

static void put_single(struct buf *b, const struct ocsp_single *s)
{
    size_t seq = der_open(b, DER_SEQUENCE);
    buf_span(b, s->certid_der);
    if (s->status == OCSP_REVOKED)
        put_revoked(b, s);
    else
        der_put(b, DER_CTX(s->status == OCSP_GOOD ? 0 : 2), (struct span){NULL, 0});
    der_put_gentime(b, DER_GENERALIZED_TIME, s->this_update);
    if (s->next_update) {
        size_t next = der_open(b, DER_CTX_CONS(0));
        der_put_gentime(b, DER_GENERALIZED_TIME, s->next_update);
        der_close(b, next);
    }
    der_close(b, seq);
}

static void put_nonce(struct buf *b, struct span nonce)
{
    size_t exts = der_open(b, DER_CTX_CONS(1));
    size_t list = der_open(b, DER_SEQUENCE);
    size_t ext = der_open(b, DER_SEQUENCE);
    buf_span(b, SPAN_LIT(NONCE_EXT));
    size_t value = der_open(b, DER_OCTET_STRING);
    der_put(b, DER_OCTET_STRING, nonce);
    der_close(b, value);
    der_close(b, ext);
    der_close(b, list);
    der_close(b, exts);
}

/* ResponseData (RFC 6960 section 4.2.1). */
static void put_data(struct buf *b, const struct ocsp_resp_spec *spec, const struct cert *responder)
{
    uint8_t key_hash[20];
    digest(DIGEST_SHA1, cert_key_octets(responder), key_hash);
    size_t data = der_open(b, DER_SEQUENCE);
    size_t by_key = der_open(b, DER_CTX_CONS(2));
    der_put(b, DER_OCTET_STRING, SPAN_ARR(key_hash));
    der_close(b, by_key);
    der_put_gentime(b, DER_GENERALIZED_TIME, spec->produced_at);
    size_t list = der_open(b, DER_SEQUENCE);
    for (size_t i = 0; i < spec->nsingles; i++)
        put_single(b, &spec->singles[i]);
    der_close(b, list);
    if (spec->nonce.n > 0)
        put_nonce(b, spec->nonce);
    der_close(b, data);
}

static void put_response(struct buf *b, struct span data, const struct sigalg *alg, struct span sig,
                         const struct cert *responder)
{
    size_t outer = der_open(b, DER_SEQUENCE);
    buf_span(b, SPAN_LIT("\x0a\x01\x00")); /* successful */
    size_t bytes = der_open(b, DER_CTX_CONS(0));
    size_t typed = der_open(b, DER_SEQUENCE);
    buf_span(b, SPAN_LIT(BASIC_OID));
    size_t octets = der_open(b, DER_OCTET_STRING);
    size_t basic = der_open(b, DER_SEQUENCE);
    buf_span(b, data);
    buf_span(b, alg->der);
    der_put_bits(b, sig);
    size_t certs = der_open(b, DER_CTX_CONS(0));
    der_put(b, DER_SEQUENCE, responder->der); /* SEQUENCE OF Certificate, one */
    der_close(b, certs);
    der_close(b, basic);
    der_close(b, octets);
    der_close(b, typed);
    der_close(b, bytes);
    der_close(b, outer);
}

/* CRLReason (RFC 5280 section 5.3.1) has no 7; 8 belongs to delta CRLs alone. */
static bool single_ok(const struct ocsp_single *s)
{
    bool reason = s->reason >= -1 && s->reason <= 10 && s->reason != 7 && s->reason != 8;
    return s->certid_der.n > 0 && (unsigned)s->status <= OCSP_UNKNOWN &&
           (s->status != OCSP_REVOKED || reason);
}

enum td_err ocsp_resp_build(const struct ocsp_resp_spec *spec, const struct cert *responder,
                            const struct key *key, struct arena *a, struct span *ret,
                            struct errinfo *ei)
{
    const struct sigalg *alg = sigalg_of_key(key);
    if (!alg)
        return err_set(ei, TD_UNSUPPORTED, "responder's type of key");
    if (spec->nsingles == 0 || spec->nsingles > OCSP_IDS_MAX)
        return err_set(ei, TD_INVAL, "number of single responses");
    for (size_t i = 0; i < spec->nsingles; i++)
        if (!single_ok(&spec->singles[i]))
            return err_set(ei, TD_INVAL, "single response");
    buf_auto data, b;
    buf_init(&data, RESP_MAX);
    buf_init(&b, RESP_MAX);
    put_data(&data, spec, responder);
    if (data.err != TD_OK)
        return err_set(ei, data.err, "OCSP response");
    struct span sig;
    TD_TRY(key_sign(key, alg->digest, buf_view(&data), a, &sig, ei));
    put_response(&b, buf_view(&data), alg, sig, responder);
    if (b.err != TD_OK)
        return err_set(ei, b.err, "OCSP response");
    struct span der = arena_span(a, buf_view(&b));
    if (!der.p)
        return err_set(ei, TD_NOMEM, "OCSP response");
    *ret = der;
    return TD_OK;
}

struct span ocsp_error(int status)
{
    static const uint8_t errors[][5] = {
        {0x30, 3, 0x0a, 1, 2}, {0x30, 3, 0x0a, 1, 1}, {0x30, 3, 0x0a, 1, 2}, {0x30, 3, 0x0a, 1, 3},
        {0x30, 3, 0x0a, 1, 2}, {0x30, 3, 0x0a, 1, 2}, {0x30, 3, 0x0a, 1, 6},
    };
    /* 0 and what is not defined read as internalError */
    bool known = status >= 0 && (size_t)status < TD_NITEMS(errors);
    return span_of(errors[known ? status : 2], 5);
}
