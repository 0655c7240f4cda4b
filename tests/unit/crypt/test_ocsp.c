#include "crypt_test.h"

#include "mdm/base/hex.h"
#include "mdm/crypt/der_int.h"
#include "mdm/crypt/ocsp.h"

static struct span load(struct arena *a, const char *name)
{
    char path[512];
    buf_auto b;
    snprintf(path, sizeof(path), TD_VECTORS "/ocsp/%s", name);
    assert_ok(fs_read(path, 65536, &b, &ei));
    struct span s = arena_span(a, buf_view(&b));
    assert_non_null(s.p);
    return s;
}

static void test_vectors(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        enum digest_alg hash;
        size_t nonce, serial;
    } rows[] = {
        {"sha1.der", DIGEST_SHA1, 0, 1},     {"sha256.der", DIGEST_SHA256, 0, 1},
        {"nonce.der", DIGEST_SHA256, 16, 1}, {"sha512.der", DIGEST_MAX, 0, 1},
        {"signed.der", DIGEST_SHA1, 16, 1},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        arena_auto a;
        arena_init(&a, 1 << 16);
        struct ocsp_req r;
        assert_ok(ocsp_req_parse(load(&a, rows[i].file), &a, &r, &ei));
        assert_int_equal(r.ids[0].hash, rows[i].hash);
        assert_int_equal(r.nids, i == 4 ? 2 : 1);
        assert_int_equal(r.has_nonce, rows[i].nonce > 0);
        assert_int_equal(r.nonce.n, rows[i].nonce);
        assert_int_equal(r.ids[0].serial.n, rows[i].serial);
        assert_int_equal(r.ids[0].serial.p[0], 0x77);
        assert_int_equal(r.ids[0].der.p[0], 0x30);
        assert_int_equal(r.ids[0].name_hash.n, r.ids[0].key_hash.n);
    }
}

/* What a request is made of, each part replaceable. */
struct made {
    struct span version, requestor, single_exts, exts, behind, serial;
    size_t hash_n; /* octets of the two hashes; 0: 20 */
    size_t ids;    /* 0: one */
    bool no_id;
};

static struct span make(const struct made *m, struct arena *a)
{
    static const uint8_t hash[64] = {1, 2, 3};
    buf_auto b;
    buf_init(&b, 65536);
    size_t req = der_open(&b, DER_SEQUENCE), tbs = der_open(&b, DER_SEQUENCE);
    buf_span(&b, m->version);
    buf_span(&b, m->requestor);
    size_t list = der_open(&b, DER_SEQUENCE);
    for (size_t i = 0; !m->no_id && i < (m->ids ? m->ids : 1); i++) {
        size_t one = der_open(&b, DER_SEQUENCE), id = der_open(&b, DER_SEQUENCE);
        buf_span(&b, SPAN_LIT("\x30\x07\x06\x05\x2b\x0e\x03\x02\x1a"));
        der_put(&b, DER_OCTET_STRING, span_of(hash, m->hash_n ? m->hash_n : 20));
        der_put(&b, DER_OCTET_STRING, span_of(hash, m->hash_n ? m->hash_n : 20));
        der_put(&b, DER_INTEGER, m->serial.p ? m->serial : SPAN_LIT("\x05"));
        der_close(&b, id);
        buf_span(&b, m->single_exts);
        der_close(&b, one);
    }
    der_close(&b, list);
    buf_span(&b, m->exts);
    der_close(&b, tbs);
    buf_span(&b, m->behind);
    der_close(&b, req);
    assert_int_equal(b.err, TD_OK);
    return arena_span(a, buf_view(&b));
}

/* [2] { SEQUENCE { nonce extension } } */
static struct span nonce_exts(size_t n, struct arena *a, int copies)
{
    static const uint8_t octets[256] = {9};
    buf_auto b;
    buf_init(&b, 4096);
    size_t m = der_open(&b, DER_CTX_CONS(2)), list = der_open(&b, DER_SEQUENCE);
    while (copies-- > 0) {
        size_t e = der_open(&b, DER_SEQUENCE);
        buf_span(&b, SPAN_LIT("\x06\x09\x2b\x06\x01\x05\x05\x07\x30\x01\x02"));
        size_t v = der_open(&b, DER_OCTET_STRING);
        der_put(&b, DER_OCTET_STRING, span_of(octets, n));
        der_close(&b, v);
        der_close(&b, e);
    }
    der_close(&b, list);
    der_close(&b, m);
    return arena_span(a, buf_view(&b));
}

static void test_nonce_sizes(void **state)
{
    (void)state;
    static const struct {
        size_t n;
        enum td_err want;
    } rows[] = {{0, TD_PARSE}, {1, TD_OK}, {16, TD_OK}, {32, TD_OK}, {128, TD_OK}, {129, TD_PARSE}};
    arena_auto a;
    arena_init(&a, 1 << 20);
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct made m = {.exts = nonce_exts(rows[i].n, &a, 1)};
        struct ocsp_req r;
        assert_err(rows[i].want, ocsp_req_parse(make(&m, &a), &a, &r, &ei));
        if (rows[i].want == TD_OK)
            assert_int_equal(r.nonce.n, rows[i].n);
    }
    struct made twice = {.exts = nonce_exts(16, &a, 2)};
    struct ocsp_req r;
    assert_err(TD_PARSE, ocsp_req_parse(make(&twice, &a), &a, &r, &ei));
}

#define EXT "\x30\x0a\x06\x03\x55\x1d\x63\x04\x03XYZ"
#define EXT_CRITICAL "\x30\x0d\x06\x03\x55\x1d\x63\x01\x01\xff\x04\x03XYZ"

static void test_shapes(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct made m;
        enum td_err want;
    } rows[] = {
        {"plain", {.ids = 1}, TD_OK},
        {"version 1", {.version = SPAN_LIT("\xa0\x03\x02\x01\x00")}, TD_OK},
        {"version 2", {.version = SPAN_LIT("\xa0\x03\x02\x01\x01")}, TD_PARSE},
        {"requestor", {.requestor = SPAN_LIT("\xa1\x04\x82\x02hi")}, TD_OK},
        {"no id", {.no_id = true}, TD_PARSE},
        {"all ids", {.ids = OCSP_IDS_MAX}, TD_OK},
        {"an id too many", {.ids = OCSP_IDS_MAX + 1}, TD_PARSE},
        {"short hash", {.hash_n = 19}, TD_PARSE},
        {"long hash", {.hash_n = 32}, TD_PARSE},
        {"empty serial", {.serial = SPAN_LIT("")}, TD_PARSE},
        {"padded serial", {.serial = SPAN_LIT("\x00\x05")}, TD_PARSE},
        {"long serial", {.serial = SPAN_LIT("\x01xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")}, TD_OK},
        {"extension", {.exts = SPAN_LIT("\xa2\x0e\x30\x0c" EXT)}, TD_OK},
        {"critical extension", {.exts = SPAN_LIT("\xa2\x11\x30\x0f" EXT_CRITICAL)}, TD_PARSE},
        {"extension of one", {.single_exts = SPAN_LIT("\xa0\x0e\x30\x0c" EXT)}, TD_OK},
        {"critical of one", {.single_exts = SPAN_LIT("\xa0\x11\x30\x0f" EXT_CRITICAL)}, TD_PARSE},
        {"unknown behind an id", {.single_exts = SPAN_LIT("\x05\x00")}, TD_PARSE},
        {"signature", {.behind = SPAN_LIT("\xa0\x04\x30\x02\x05\x00")}, TD_OK},
        {"unknown behind", {.behind = SPAN_LIT("\x05\x00")}, TD_PARSE},
        {"two behind", {.behind = SPAN_LIT("\xa0\x00\xa0\x00")}, TD_PARSE},
        {"unknown behind the list", {.exts = SPAN_LIT("\x05\x00")}, TD_PARSE},
        {"nonce no OCTET STRING",
         {.exts = SPAN_LIT("\xa2\x13\x30\x11\x30\x0f\x06\x09\x2b\x06\x01\x05\x05\x07\x30\x01\x02"
                           "\x04\x02\x05\x00")},
         TD_PARSE},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        arena_auto a;
        arena_init(&a, 1 << 20);
        struct ocsp_req r;
        if (ocsp_req_parse(make(&rows[i].m, &a), &a, &r, NULL) != rows[i].want)
            fail_msg("%s", rows[i].name);
    }
}

static void test_truncated_oversized(void **state)
{
    (void)state;
    arena_auto a;
    arena_init(&a, 1 << 20);
    struct ocsp_req r;
    struct span der = load(&a, "nonce.der");
    for (size_t n = 0; n < der.n; n++) {
        uint8_t *cut = malloc(n ? n : 1);
        assert_non_null(cut);
        memcpy(cut, der.p, n);
        enum td_err e = ocsp_req_parse(span_of(cut, n), &a, &r, NULL);
        free(cut);
        assert_int_equal(e, TD_PARSE);
    }
    static uint8_t big[LIMIT_BODY_OCSP + 1];
    memcpy(big, der.p, der.n);
    assert_err(TD_PARSE, ocsp_req_parse(span_of(big, der.n + 1), &a, &r, &ei));
    assert_err(TD_PARSE, ocsp_req_parse(SPAN_ARR(big), &a, &r, &ei));
    arena_auto tiny;
    arena_init(&tiny, 16);
    assert_err(TD_NOMEM, ocsp_req_parse(der, &tiny, &r, &ei));
}

struct responder {
    struct key *ck, *k;
    struct cert *ca, *c;
};

static int setup(void **state)
{
    struct responder *r = calloc(1, sizeof(*r));
    assert_non_null(r);
    r->ck = t_key(KEY_P256);
    r->k = t_key(KEY_P256);
    r->ca = t_ca("CA", r->ck, NULL, r->ck, -1);
    r->c = t_leaf("OCSP", r->k, r->ca, r->ck, EKU_OCSP);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    struct responder *r = *state;
    cert_free(r->ca);
    cert_free(r->c);
    key_free(r->ck);
    key_free(r->k);
    free(r);
    return 0;
}

#define CERTID "\x30\x03\x02\x01\x07" /* no CertID, but echoed as it stands */

/* The response taken apart: header bytes, the signed data, the signature over it, the certificate.
 */
static void test_response(void **state)
{
    const struct responder *f = *state;
    static const struct {
        struct ocsp_single s;
        struct span status; /* from the CertID to the end of certStatus */
    } rows[] = {
        {{.status = OCSP_GOOD}, SPAN_LIT(CERTID "\x80\x00")},
        {{.status = OCSP_UNKNOWN}, SPAN_LIT(CERTID "\x82\x00")},
        {{.status = OCSP_REVOKED, .revoked_at = T0, .reason = -1},
         SPAN_LIT(CERTID "\xa1\x11\x18\x0f"
                         "20231114221320Z")},
        {{.status = OCSP_REVOKED, .revoked_at = T0, .reason = 9},
         SPAN_LIT(CERTID "\xa1\x16\x18\x0f"
                         "20231114221320Z\xa0\x03\x0a\x01\x09")},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        arena_auto a;
        arena_init(&a, 1 << 16);
        struct ocsp_single s = rows[i].s;
        s.certid_der = SPAN_LIT(CERTID);
        s.this_update = T0;
        s.next_update = T0 + 86400;
        const struct ocsp_resp_spec spec = {
            .singles = &s, .nsingles = 1, .nonce = SPAN_LIT("0123456789abcdef"), .produced_at = T0};
        struct span der, v, w, oid, bytes, basic, data, alg, bits, sig = {NULL, 0}, certs, in;
        assert_ok(ocsp_resp_build(&spec, f->c, f->k, &a, &der, &ei));
        assert_true(der_well_formed(der));
        in = der;
        assert_true(der_get(&in, DER_SEQUENCE, &v));
        assert_true(der_get(&v, DER_ENUMERATED, &w) && w.n == 1 && w.p[0] == 0);
        assert_true(der_get(&v, DER_CTX_CONS(0), &w) && der_get(&w, DER_SEQUENCE, &v));
        assert_true(der_get(&v, DER_OID, &oid) && der_get(&v, DER_OCTET_STRING, &bytes));
        assert_true(span_eq(oid, SPAN_LIT("\x2b\x06\x01\x05\x05\x07\x30\x01\x01")));
        assert_true(der_get(&bytes, DER_SEQUENCE, &basic) && bytes.n == 0);
        assert_true(der_get_raw(&basic, DER_SEQUENCE, &data));
        assert_true(der_get(&basic, DER_SEQUENCE, &alg));
        assert_true(der_get(&basic, DER_BIT_STRING, &bits) && der_bits(bits, &sig));
        assert_true(der_get(&basic, DER_CTX_CONS(0), &certs) && basic.n == 0);
        assert_ok(key_verify(f->k, DIGEST_SHA256, data, sig, &ei));
        assert_true(der_get(&certs, DER_SEQUENCE, &v) && span_eq(v, cert_der(f->c)));
        assert_non_null(memmem(data.p, data.n, rows[i].status.p, rows[i].status.n));
        /* nonce inside its own OCTET STRING, at the end */
        assert_memory_equal(data.p + data.n - 18,
                            "\x04\x10"
                            "0123456789abcdef",
                            18);
    }
}

static void test_response_layout(void **state)
{
    const struct responder *f = *state;
    arena_auto a;
    arena_init(&a, 1 << 16);
    struct ocsp_single s = {.certid_der = SPAN_LIT(CERTID), .this_update = T0};
    const struct ocsp_resp_spec spec = {.singles = &s, .nsingles = 1, .produced_at = T0};
    struct span der, point;
    uint8_t md[20];
    char hex[41], want[300];
    assert_ok(ocsp_resp_build(&spec, f->c, f->k, &a, &der, &ei));
    assert_ok(key_ec_point(f->k, &a, &point, &ei));
    digest(DIGEST_SHA1, point, md);
    hex_enc(SPAN_ARR(md), hex);
    /* responderID by key, producedAt, one SingleResponse without nextUpdate, no extensions */
    snprintf(want, sizeof(want),
             "3045a2160414%s180f32303233313131343232313332305a301a30183003020107800018"
             "0f32303233313131343232313332305a",
             hex);
    assert_non_null(strstr(hex_str(&a, der), want));
}

static void test_response_refused(void **state)
{
    const struct responder *f = *state;
    arena_auto a;
    arena_init(&a, 1 << 18);
    struct ocsp_single many[OCSP_IDS_MAX + 1];
    for (size_t i = 0; i < TD_NITEMS(many); i++)
        many[i] = (struct ocsp_single){.certid_der = SPAN_LIT(CERTID), .this_update = T0};
    struct ocsp_resp_spec spec = {.singles = many, .nsingles = OCSP_IDS_MAX, .produced_at = T0};
    struct span der;
    assert_err(TD_OK, ocsp_resp_build(&spec, f->c, f->k, &a, &der, &ei));
    spec.nsingles = OCSP_IDS_MAX + 1;
    assert_err(TD_INVAL, ocsp_resp_build(&spec, f->c, f->k, &a, &der, &ei));
    spec.nsingles = 0;
    assert_err(TD_INVAL, ocsp_resp_build(&spec, f->c, f->k, &a, &der, &ei));
    spec.nsingles = 1;
    static const int reasons[] = {-2, 7, 8, 11};
    many[0].status = OCSP_REVOKED;
    for (size_t i = 0; i < TD_NITEMS(reasons); i++) {
        many[0].reason = reasons[i];
        assert_err(TD_INVAL, ocsp_resp_build(&spec, f->c, f->k, &a, &der, &ei));
    }
    many[0].reason = 10;
    assert_err(TD_OK, ocsp_resp_build(&spec, f->c, f->k, &a, &der, &ei));
    many[0].certid_der = (struct span){NULL, 0};
    assert_err(TD_INVAL, ocsp_resp_build(&spec, f->c, f->k, &a, &der, &ei));
    many[0].certid_der = SPAN_LIT(CERTID);
    arena_auto tiny;
    arena_init(&tiny, 64);
    assert_err(TD_NOMEM, ocsp_resp_build(&spec, f->c, f->k, &tiny, &der, &ei));
}

static void test_errors(void **state)
{
    (void)state;
    static const int rows[][2] = {{1, 1}, {2, 2}, {3, 3}, {6, 6}, {0, 2},
                                  {4, 2}, {5, 2}, {7, 2}, {-1, 2}};
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct span s = ocsp_error(rows[i][0]);
        uint8_t want[] = {0x30, 3, 0x0a, 1, (uint8_t)rows[i][1]};
        assert_true(span_eq(s, SPAN_ARR(want)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_nonce_sizes),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_truncated_oversized),
        cmocka_unit_test_setup_teardown(test_response, setup, teardown),
        cmocka_unit_test_setup_teardown(test_response_layout, setup, teardown),
        cmocka_unit_test_setup_teardown(test_response_refused, setup, teardown),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
