/* The verdicts of two implementations of ECDSA on P-384 are the same, whatever the signature. */
#include "crypt_test.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>

#include "mdm/base/hex.h"
#include "mdm/base/rng.h"
#include "mdm/crypt/p384.h"

static EVP_PKEY *pkey;
static uint8_t point[97];

static int setup(void **state)
{
    (void)state;
    size_t n = 0;
    pkey = EVP_EC_gen("P-384");
    if (!pkey || crypt_init(NULL) != TD_OK)
        return -1;
    return EVP_PKEY_get_octet_string_param(pkey, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point,
                                           &n) == 1
               ? 0
               : -1;
}

static int teardown(void **state)
{
    (void)state;
    EVP_PKEY_free(pkey);
    return 0;
}

static size_t sign(struct span md, uint8_t out[static 120])
{
    size_t n = 120;
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(pkey, NULL);
    assert_int_equal(EVP_PKEY_sign_init(c), 1);
    assert_int_equal(EVP_PKEY_sign(c, out, &n, md.p, md.n), 1);
    EVP_PKEY_CTX_free(c);
    return n;
}

static bool reference(struct span md, struct span sig)
{
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(pkey, NULL);
    assert_int_equal(EVP_PKEY_verify_init(c), 1);
    bool ok = EVP_PKEY_verify(c, sig.p, sig.n, md.p, md.n) == 1;
    EVP_PKEY_CTX_free(c);
    return ok;
}

static bool agree(struct span md, struct span sig)
{
    bool want = reference(md, sig), got = p384_verify(SPAN_ARR(point), md, sig);
    if (want != got) {
        char text[300] = "";
        hex_enc(span_sub(sig, 0, 140), text);
        fail_msg("OpenSSL says %d, nettle %d: %s", want, got, text);
    }
    return got;
}

static const size_t sizes[] = {20, 32, 48, 64}; /* SHA-1 to SHA-512: cut to the curve's size */

static void valid(void **state)
{
    (void)state;
    uint8_t md[64], sig[120];
    for (int i = 0; i < 200; i++) {
        struct span m = span_of(md, sizes[i % 4]);
        rng_fill(&rng_system, md, sizeof md);
        size_t n = sign(m, sig);
        assert_true(agree(m, span_of(sig, n)));
        md[i % 20] ^= 1;
        assert_false(agree(m, span_of(sig, n)));
    }
}

/* Each bit of a signature, each length. */
static void mutated(void **state)
{
    (void)state;
    uint8_t md[48] = {7}, sig[121];
    size_t n = sign(SPAN_ARR(md), sig);
    for (size_t bit = 0; bit < 8 * n; bit++) {
        sig[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(agree(SPAN_ARR(md), span_of(sig, n)));
        sig[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t k = 1; k < n; k++)
        assert_false(agree(SPAN_ARR(md), span_of(sig, k)));
    sig[n] = 0;
    assert_false(agree(SPAN_ARR(md), span_of(sig, n + 1)));
    assert_true(agree(SPAN_ARR(md), span_of(sig, n)));
}

/* INTEGER of some content octets. */
static size_t put_int(uint8_t *out, const uint8_t *p, size_t n)
{
    out[0] = 2;
    out[1] = (uint8_t)n;
    if (n)
        memcpy(out + 2, p, n);
    return n + 2;
}

/* Numbers at the edges of what is allowed, in every pair, and encodings that are not DER. */
static void edges(void **state)
{
    (void)state;
    uint8_t md[48] = {9}, good[120], sig[160];
    size_t ngood = sign(SPAN_ARR(md), good);
    const uint8_t *r = good + (good[1] & 0x80 ? 3 : 2), *s = r + 2 + r[1];
    static const char order[] = "00ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf"
                                "581a0db248b0a77aecec196accc52973";
    uint8_t n0[49], n1[49], m1[49];
    size_t k = 0;
    BIGNUM *bn = NULL;
    BN_hex2bn(&bn, order);
    BN_bn2binpad(bn, n0, 49);
    BN_add_word(bn, 1);
    BN_bn2binpad(bn, n1, 49);
    BN_sub_word(bn, 2);
    BN_bn2binpad(bn, m1, 49);
    BN_free(bn);
    static const uint8_t zero[1] = {0}, one[1] = {1}, minus[1] = {0x80}, long1[2] = {0, 1},
                         big[51] = {1};
    const struct {
        const uint8_t *p;
        size_t n;
    } values[] = {{r + 2, r[1]}, {s + 2, s[1]}, {zero, 1}, {one, 1},  {minus, 1}, {long1, 2},
                  {n0, 49},      {n1, 49},      {m1, 49},  {big, 51}, {NULL, 0}};
    for (size_t i = 0; i < TD_NITEMS(values); i++) {
        for (size_t j = 0; j < TD_NITEMS(values); j++) {
            uint8_t body[140];
            k = put_int(body, values[i].p, values[i].n);
            k += put_int(body + k, values[j].p, values[j].n);
            size_t at = k < 128 ? 2 : 3;
            sig[0] = 0x30;
            sig[1] = k < 128 ? (uint8_t)k : 0x81;
            if (at == 3)
                sig[2] = (uint8_t)k;
            memcpy(sig + at, body, k);
            assert_int_equal(agree(SPAN_ARR(md), span_of(sig, at + k)), i == 0 && j == 1);
        }
    }
    /* a longer form of the length than DER has */
    k = ngood - (good[1] & 0x80 ? 3 : 2);
    sig[0] = 0x30;
    sig[1] = 0x82;
    sig[2] = 0;
    sig[3] = (uint8_t)k;
    memcpy(sig + 4, r, k);
    assert_false(agree(SPAN_ARR(md), span_of(sig, k + 4)));
    assert_false(p384_verify(SPAN_ARR(point), SPAN_ARR(md), span_of(NULL, 0)));
}

static void points(void **state)
{
    (void)state;
    uint8_t md[48] = {3}, sig[120], bent[97];
    size_t n = sign(SPAN_ARR(md), sig);
    for (size_t i = 0; i < sizeof point; i += 8) {
        memcpy(bent, point, sizeof bent);
        bent[i] ^= 1;
        assert_false(p384_verify(SPAN_ARR(bent), SPAN_ARR(md), span_of(sig, n)));
    }
    memset(bent, 0xff, sizeof bent); /* coordinates beyond the field */
    bent[0] = 4;
    assert_false(p384_verify(SPAN_ARR(bent), SPAN_ARR(md), span_of(sig, n)));
    memset(bent + 1, 0, 96);
    assert_false(p384_verify(SPAN_ARR(bent), SPAN_ARR(md), span_of(sig, n)));
    for (size_t k = 0; k < sizeof point; k += 16)
        assert_false(p384_verify(span_of(point, k), SPAN_ARR(md), span_of(sig, n)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(valid), cmocka_unit_test(mutated),
                                       cmocka_unit_test(edges), cmocka_unit_test(points)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
