#include "tests/sim/jws.h"

#include "mdm/base/b64.h"

#include <openssl/bn.h>

enum { SHORT_TRIES = 20000 }; /* one in 128 signatures is short */

enum td_err jws_json_str(struct buf *b, const char *s)
{
    TD_TRY(buf_u8(b, '"'));
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            TD_TRY(buf_printf(b, "\\%c", c));
        else if (c < 0x20)
            TD_TRY(buf_printf(b, "\\u%04x", c));
        else
            TD_TRY(buf_u8(b, c));
    }
    return buf_u8(b, '"');
}

enum td_err jws_jwk(EVP_PKEY *key, struct buf *b, struct errinfo *ei)
{
    uint8_t point[97];
    size_t n = 0;
    TD_TRY(ossl_point(key, point, &n, ei));
    if (n != 65)
        return err_set(ei, TD_INVAL, "the account key is not on P-256");
    TD_TRY(buf_str(b, "{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\""));
    TD_TRY(b64url_enc(b, span_of(point + 1, 32)));
    TD_TRY(buf_str(b, "\",\"y\":\""));
    TD_TRY(b64url_enc(b, span_of(point + 33, 32)));
    return buf_str(b, "\"}");
}

/* The protected header, keys sorted: alg, jwk or kid, nonce, url. */
static enum td_err protected_header(const struct jws_spec *s, struct buf *b, struct errinfo *ei)
{
    TD_TRY(buf_str(b, "{\"alg\":\"ES256\","));
    if (s->kid) {
        TD_TRY(buf_str(b, "\"kid\":"));
        TD_TRY(jws_json_str(b, s->kid));
    } else {
        TD_TRY(buf_str(b, "\"jwk\":"));
        TD_TRY(jws_jwk(s->key, b, ei));
    }
    TD_TRY(buf_str(b, ",\"nonce\":"));
    TD_TRY(jws_json_str(b, s->nonce));
    TD_TRY(buf_str(b, ",\"url\":"));
    TD_TRY(jws_json_str(b, s->url));
    return buf_str(b, "}");
}

/* One ECDSA signature as R and S of 32 bytes each. */
static enum td_err sign_rs(EVP_PKEY *key, struct span data, uint8_t rs[static 64],
                           struct errinfo *ei)
{
    uint8_t der[128];
    size_t n = sizeof(der);
    ossl_auto(EVP_MD_CTX) ctx = EVP_MD_CTX_new();
    if (!ctx || EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) != 1 ||
        EVP_DigestSign(ctx, der, &n, data.p, data.n) != 1)
        return ossl_fail(ei, "JWS signature");
    const unsigned char *p = der;
    ossl_auto(ECDSA_SIG) sig = d2i_ECDSA_SIG(NULL, &p, (long)n);
    if (!sig || BN_bn2binpad(ECDSA_SIG_get0_r(sig), rs, 32) != 32 ||
        BN_bn2binpad(ECDSA_SIG_get0_s(sig), rs + 32, 32) != 32)
        return ossl_fail(ei, "JWS signature");
    return TD_OK;
}

/* Appends the 32-byte integer without its leading zeros. */
static void strip_add(struct buf *b, const uint8_t *v)
{
    size_t i = 0;
    while (i < 31 && v[i] == 0)
        i++;
    buf_add(b, v + i, 32 - i);
}

static enum td_err sign(const struct jws_spec *s, struct span data, struct buf *raw,
                        struct errinfo *ei)
{
    uint8_t rs[64];
    for (int i = 0; i < SHORT_TRIES; i++) {
        TD_TRY(sign_rs(s->key, data, rs, ei));
        if (!s->short_signature)
            return buf_add(raw, rs, sizeof(rs));
        if (rs[0] == 0 || rs[32] == 0) {
            strip_add(raw, rs);
            strip_add(raw, rs + 32);
            return raw->err;
        }
    }
    return err_set(ei, TD_CRYPTO, "no short signature in %d tries", (int)SHORT_TRIES);
}

enum td_err jws_write(const struct jws_spec *s, struct buf *b, size_t *ret_sig_n,
                      struct errinfo *ei)
{
    buf_auto header, input, raw;
    buf_init(&header, 8192);
    buf_init(&input, 131072);
    buf_init(&raw, 64);
    TD_TRY(protected_header(s, &header, ei));
    TD_TRY(b64url_enc(&input, buf_view(&header)));
    size_t split = input.n;
    TD_TRY(buf_str(&input, "."));
    if (s->payload)
        TD_TRY(b64url_enc(&input, span_str(s->payload)));
    TD_TRY(sign(s, buf_view(&input), &raw, ei));
    struct span all = buf_view(&input);
    TD_TRY(buf_str(b, "{\"protected\":\""));
    TD_TRY(buf_span(b, span_sub(all, 0, split)));
    TD_TRY(buf_str(b, "\",\"payload\":\""));
    TD_TRY(buf_span(b, span_sub(all, split + 1, all.n)));
    TD_TRY(buf_str(b, "\",\"signature\":\""));
    TD_TRY(b64url_enc(b, buf_view(&raw)));
    TD_TRY(buf_str(b, "\"}"));
    if (ret_sig_n)
        *ret_sig_n = raw.n;
    return TD_OK;
}
