#include "crypt_test.h"

#include "mdm/crypt/der_int.h"
#include "mdm/crypt/sigalg_int.h"

struct req {
    const struct key *key;    /* whose public key stands in the request */
    const struct key *signer; /* NULL: the same */
    struct span algid;        /* NULL: the natural one of the signer */
    enum digest_alg digest;   /* with algid */
    bool no_attrs, extra_attr_byte;
    uint8_t version;
};

static void put_info(struct buf *b, const struct req *r, struct arena *a)
{
    struct span spki;
    assert_ok(key_spki(r->key, a, &spki, &ei));
    size_t info = der_open(b, DER_SEQUENCE);
    der_put(b, DER_INTEGER, span_of(&r->version, 1));
    der_put(b, DER_SEQUENCE, (struct span){NULL, 0});
    buf_span(b, spki);
    if (!r->no_attrs)
        der_put(b, DER_CTX_CONS(0), (struct span){NULL, 0});
    if (r->extra_attr_byte)
        der_put(b, DER_NULL, (struct span){NULL, 0});
    der_close(b, info);
}

static struct span build(const struct req *r, struct arena *a)
{
    buf_auto info, b;
    buf_init(&info, 16384);
    buf_init(&b, 16384);
    put_info(&info, r, a);
    const struct key *signer = r->signer ? r->signer : r->key;
    const struct sigalg *alg = sigalg_of_key(signer);
    struct span sig;
    assert_ok(
        key_sign(signer, r->algid.p ? r->digest : alg->digest, buf_view(&info), a, &sig, &ei));
    size_t outer = der_open(&b, DER_SEQUENCE);
    buf_span(&b, buf_view(&info));
    buf_span(&b, r->algid.p ? r->algid : alg->der);
    der_put_bits(&b, sig);
    der_close(&b, outer);
    assert_int_equal(b.err, TD_OK);
    return arena_span(a, buf_view(&b));
}

static void test_good(void **state)
{
    (void)state;
    static const enum key_type types[] = {KEY_P256, KEY_P384, KEY_P521, KEY_RSA};
    for (size_t i = 0; i < TD_NITEMS(types); i++) {
        arena_auto a;
        arena_init(&a, 1 << 20);
        key_auto *k = t_key(types[i]);
        struct csr csr;
        struct span spki;
        assert_ok(csr_parse(build(&(struct req){.key = k}, &a), &a, &csr, &ei));
        assert_true(key_equal(csr.key, k));
        assert_ok(key_spki(k, &a, &spki, &ei));
        assert_true(span_eq(csr.spki, spki));
        csr_free(&csr);
        csr_free(&csr);
        assert_ok(csr_parse(build(&(struct req){.key = k, .no_attrs = true}, &a), &a, &csr, &ei));
        csr_free(&csr);
    }
    csr_free(NULL);
}

/* Apple signs with SHA-256 on P-384 too (SecCertificateRequest.c). */
static void test_p384_sha256(void **state)
{
    (void)state;
    arena_auto a;
    arena_init(&a, 1 << 20);
    key_auto *k = t_key(KEY_P384);
    struct csr csr;
    struct req r = {.key = k,
                    .algid = SPAN_LIT("\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02"),
                    .digest = DIGEST_SHA256};
    assert_ok(csr_parse(build(&r, &a), &a, &csr, &ei));
    csr_free(&csr);
    r.digest = DIGEST_SHA384; /* not what it says */
    assert_err(TD_CRYPTO, csr_parse(build(&r, &a), &a, &csr, &ei));
}

static void test_bad(void **state)
{
    (void)state;
    arena_auto a;
    arena_init(&a, 1 << 20);
    key_auto *k = t_key(KEY_P256), *other = t_key(KEY_P256), *rsa = t_key(KEY_RSA);
    struct csr csr;
    const struct {
        const char *name;
        struct req r;
        enum td_err want;
    } rows[] = {
        {"signed by another key", {.key = k, .signer = other}, TD_CRYPTO},
        {"signed by a key of another type", {.key = k, .signer = rsa}, TD_CRYPTO},
        {"version 2", {.key = k, .version = 1}, TD_PARSE},
        {"rest behind the attributes", {.key = k, .extra_attr_byte = true}, TD_PARSE},
        {"SHA-1",
         {.key = k,
          .algid = SPAN_LIT("\x30\x09\x06\x07\x2a\x86\x48\xce\x3d\x04\x01"),
          .digest = DIGEST_SHA1},
         TD_UNSUPPORTED},
        {"NULL parameters with ECDSA",
         {.key = k,
          .algid = SPAN_LIT("\x30\x0c\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02\x05\x00"),
          .digest = DIGEST_SHA256},
         TD_UNSUPPORTED},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct span der = build(&rows[i].r, &a);
        enum td_err e = csr_parse(der, &a, &csr, NULL);
        if (e != rows[i].want)
            fail_msg("%s: %s", rows[i].name, err_name(e));
    }
}

static void test_truncated_and_longer(void **state)
{
    (void)state;
    arena_auto a;
    arena_init(&a, 1 << 20);
    key_auto *k = t_key(KEY_P256);
    struct csr csr;
    struct span der = build(&(struct req){.key = k}, &a);
    for (size_t n = 0; n < der.n; n++) {
        uint8_t *cut = malloc(n ? n : 1);
        assert_non_null(cut);
        memcpy(cut, der.p, n);
        enum td_err e = csr_parse(span_of(cut, n), &a, &csr, NULL);
        free(cut);
        assert_int_equal(e, TD_PARSE);
    }
    static uint8_t big[LIMIT_CSR + 1];
    memcpy(big, der.p, der.n);
    assert_err(TD_PARSE, csr_parse(span_of(big, der.n + 1), &a, &csr, &ei));
    assert_err(TD_PARSE, csr_parse(span_of(big, LIMIT_CSR), &a, &csr, &ei));
    assert_err(TD_LIMIT, csr_parse(span_of(big, LIMIT_CSR + 1), &a, &csr, &ei));
}

/* No octet of a request can be changed. */
static void test_flipped(void **state)
{
    (void)state;
    arena_auto a;
    arena_init(&a, 1 << 20);
    key_auto *k = t_key(KEY_P256);
    struct span der = build(&(struct req){.key = k}, &a);
    uint8_t copy[1024];
    for (size_t i = 0; i < der.n; i++) {
        struct csr csr;
        memcpy(copy, der.p, der.n);
        copy[i] ^= 1;
        if (csr_parse(span_of(copy, der.n), &a, &csr, NULL) == TD_OK)
            fail_msg("octet %zu", i);
    }
}

/* Requests by openssl req: with extensions and P-384/SHA-256, and RSA. */
static void test_vectors(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        enum key_type t;
    } rows[] = {{TD_VECTORS "/x509/p384-sha256.csr", KEY_P384},
                {TD_VECTORS "/x509/rsa2048.csr", KEY_RSA}};
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        arena_auto a;
        arena_init(&a, 1 << 16);
        buf_auto b;
        struct csr csr;
        assert_ok(fs_read(rows[i].file, 65536, &b, &ei));
        assert_ok(csr_parse(buf_view(&b), &a, &csr, &ei));
        assert_int_equal(key_type(csr.key), rows[i].t);
        csr_free(&csr);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),    cmocka_unit_test(test_p384_sha256),
        cmocka_unit_test(test_bad),     cmocka_unit_test(test_truncated_and_longer),
        cmocka_unit_test(test_flipped), cmocka_unit_test(test_vectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
