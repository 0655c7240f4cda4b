#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "acme/attest/attest.h"
#include "acme/attest/facts.h"
#include "acme/attest/roots.h"
#include "mdm/base/limits.h"
#include "tests/unit/attest/fake_pki.h"

#define SERIAL "F2LXK0ABCD12"

static struct fake_pki pki, foreign;
static struct attest_roots *roots;
static EVP_PKEY *device, *device384, *device521;
static struct arena arena;
static uint8_t fresh[32];

static int setup(void **state)
{
    (void)state;
    struct span pem[2];
    fake_ok(crypt_init(NULL) == TD_OK);
    arena_init(&arena, (size_t)8 << 20);
    pki = fake_pki_new("Fake Attestation Root CA");
    foreign = fake_pki_new("Fake Attestation Root CA"); /* the same names, other keys */
    device = fake_key("P-256");
    device384 = fake_key("P-384");
    device521 = fake_key("P-521");
    memset(fresh, 0x5a, sizeof fresh);
    pem[0] = fake_pem(pki.root.cert, &arena);
    return attest_roots_new(pem, 1, &roots, NULL) == TD_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    attest_roots_free(roots);
    fake_pki_free(&pki);
    fake_pki_free(&foreign);
    EVP_PKEY_free(device);
    EVP_PKEY_free(device384);
    EVP_PKEY_free(device521);
    arena_free(&arena);
    return 0;
}

static struct fake_leaf good(void)
{
    return (struct fake_leaf){.key = device, .serial = SERIAL, .freshness = SPAN_ARR(fresh)};
}

static enum td_err verify(struct span obj, struct attest_result *ret, struct errinfo *ei)
{
    struct attest_expect want = {SPAN_ARR(fresh), SERIAL, FAKE_NOW, 0};
    *ei = (struct errinfo){0};
    return attest_verify(roots, obj, &want, &arena, ret, ei);
}

static struct span chain_of(const struct fake_leaf *l, const struct fake_pki *p)
{
    struct span x5c[2] = {fake_leaf_der(p, l, &arena), fake_der(p->sub.cert, &arena)};
    return fake_attobj("apple", x5c, 2, &arena);
}

static void refused(struct span obj, const char *reason)
{
    struct attest_result r;
    struct errinfo ei;
    enum td_err e = verify(obj, &r, &ei);
    if (e != TD_FORBIDDEN || !ei.reason || strcmp(ei.reason, reason) != 0)
        fail_msg("wanted %s: %s %s (%s)", reason, err_name(e), ei.reason ? ei.reason : "-", ei.msg);
    assert_string_equal(ei.acme, "badAttestationStatement");
    attest_result_free(&r);
}

static void accepts(void **state)
{
    (void)state;
    EVP_PKEY *keys[] = {device, device384};
    for (size_t i = 0; i < TD_NITEMS(keys); i++) {
        struct fake_leaf l = good();
        struct attest_result r;
        struct errinfo ei;
        l.key = keys[i];
        struct span obj = chain_of(&l, &pki);
        if (verify(obj, &r, &ei) != TD_OK)
            fail_msg("%s", ei.msg);
        uint8_t h[SHA256_SIZE];
        digest_sha256(obj, h);
        assert_memory_equal(h, r.sha256, sizeof h);
        cert_spki_sha256(r.leaf, h);
        assert_memory_equal(h, r.spki_sha256, sizeof h);
        assert_true(span_eq(r.chain_der, fake_der(pki.sub.cert, &arena)));
        assert_true(span_eq_str(r.facts.serial, SERIAL));
        assert_true(span_eq_str(r.facts.os_version, "19.1"));
        assert_true(span_eq_str(r.facts.sepos_version, "19.1")); /* wrapped in a UTF8String */
        assert_int_equal(r.facts.llb_version.n, 0);
        assert_int_equal(r.facts.sip, 0);
        assert_int_equal(r.facts.kexts, -1); /* INTEGER 7 is unknown, never good */
        buf_auto b;
        buf_init(&b, 4096);
        assert_int_equal(attest_facts_json(&r.facts, &b), TD_OK);
        assert_string_equal(buf_cstr(&b),
                            "{\"serial\":\"" SERIAL "\",\"udid\":\"00008120-000A1B2C3D4E5F60\","
                            "\"sw_update_id\":null,\"os_version\":\"19.1\","
                            "\"sepos_version\":\"19.1\",\"llb_version\":null,"
                            "\"secure_boot\":null,\"sip\":\"enabled\",\"kexts\":null}");
        attest_result_free(&r);
    }
}

/* One fault a row. */
static void refuses(void **state)
{
    (void)state;
    static const uint8_t other[32] = {1}, wrapped[34] = {4, 32}, empty[1] = {0};
    struct fake_leaf rows[24];
    const char *reasons[24];
    size_t n = 0;
#define BAD(why, change)                                                                           \
    do {                                                                                           \
        rows[n] = good();                                                                          \
        struct fake_leaf *l = &rows[n];                                                            \
        change;                                                                                    \
        reasons[n++] = why;                                                                        \
    } while (0)
    BAD("freshness-missing", l->freshness.p = NULL);
    BAD("freshness-missing", l->freshness_oid = "1.2.840.113635.100.8.2"); /* WebAuthn's */
    BAD("freshness-mismatch", l->freshness = SPAN_ARR(other));
    BAD("freshness-mismatch", l->freshness = SPAN_ARR(wrapped));
    BAD("freshness-mismatch", l->freshness = span_of(fresh, 31));
    BAD("freshness-mismatch", l->freshness = span_of(empty, 0));
    BAD("freshness-mismatch", l->freshness_twice = true);
    BAD("serial-missing", l->serial = NULL);
    BAD("serial-mismatch", l->serial = "F2LXK0ABCD13");
    BAD("serial-mismatch", l->serial = "f2lxk0abcd12");
    BAD("serial-mismatch", l->serial = SERIAL " ");
    BAD("serial-mismatch", l->serial = "F2LXK0ABCD1");
    BAD("serial-mismatch", l->serial = "");
    BAD("serial-mismatch", l->serial_twice = true);
    BAD("leaf-expired", l->not_after = FAKE_NOW - 1);
    BAD("leaf-expired", l->not_before = FAKE_NOW + 1);
    BAD("leaf-is-ca", l->ca = true);
    BAD("chain-untrusted", l->critical = true);
    BAD("key-unsupported", l->key = device521);
    BAD("chain-untrusted", l->issuer = &pki.root);    /* x5c[1] did not issue it */
    BAD("chain-untrusted", l->issuer = &foreign.sub); /* same name, other key */
#undef BAD
    for (size_t i = 0; i < n; i++)
        refused(chain_of(&rows[i], &pki), reasons[i]);
    struct fake_leaf l = good();
    refused(chain_of(&l, &foreign), "chain-untrusted");
    l.not_after = FAKE_NOW; /* the last second counts */
    struct attest_result r;
    struct errinfo ei;
    assert_int_equal(verify(chain_of(&l, &pki), &r, &ei), TD_OK);
    attest_result_free(&r);
}

/* What may stand in x5c. */
static void chains(void **state)
{
    (void)state;
    struct fake_leaf l = good();
    struct span leaf = fake_leaf_der(&pki, &l, &arena), sub = fake_der(pki.sub.cert, &arena);
    struct span root = fake_der(pki.root.cert, &arena);
    struct span junk = SPAN_LIT("\x30\x03\x02\x01\x00");
    buf_auto b;
    buf_init(&b, 65536);
    buf_span(&b, sub);
    buf_u8(&b, 0);
    struct span longer = arena_span(&arena, buf_view(&b));
    uint8_t *f = arena_alloc(&arena, leaf.n);
    memcpy(f, leaf.p, leaf.n);
    f[leaf.n - 3] ^= 1; /* in the signature */
    struct span flipped = span_of(f, leaf.n);
    const struct {
        struct span x5c[4];
        size_t n;
        const char *reason;
    } rows[] = {
        {{leaf}, 1, "x5c-malformed"},
        {{leaf, sub, root}, 3, NULL},
        {{leaf, sub, root, root}, 4, NULL},
        {{leaf, sub, sub}, 3, "chain-untrusted"},
        {{leaf, sub, fake_der(foreign.root.cert, &arena)}, 3, "chain-untrusted"},
        {{sub, leaf}, 2, "chain-untrusted"},
        {{leaf, root}, 2, "chain-untrusted"},
        {{leaf, leaf}, 2, "chain-untrusted"},
        {{sub, root}, 2, "leaf-is-ca"},
        {{junk, sub}, 2, "x5c-malformed"},
        {{leaf, junk}, 2, "x5c-malformed"},
        {{leaf, longer}, 2, "x5c-malformed"},
        {{flipped, sub}, 2, "chain-untrusted"},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct span obj = fake_attobj("apple", rows[i].x5c, rows[i].n, &arena);
        if (rows[i].reason) {
            refused(obj, rows[i].reason);
            continue;
        }
        struct attest_result r;
        struct errinfo ei;
        if (verify(obj, &r, &ei) != TD_OK)
            fail_msg("row %zu: %s", i, ei.msg);
        attest_result_free(&r);
    }
}

/* Intermediates that must not issue. */
static void sub_cas(void **state)
{
    (void)state;
    static const struct {
        const char *constraints, *usage;
        int64_t to;
    } rows[] = {
        {"critical,CA:FALSE", "critical,keyCertSign", FAKE_NOW + FAKE_DAY},
        {NULL, "critical,keyCertSign", FAKE_NOW + FAKE_DAY},
        {"critical,CA:TRUE", "critical,cRLSign,digitalSignature", FAKE_NOW + FAKE_DAY},
        {"critical,CA:TRUE", NULL, FAKE_NOW + FAKE_DAY},
        {"critical,CA:TRUE", "critical,keyCertSign", FAKE_NOW - 1},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct fake_pki p = {.root = pki.root};
        p.sub =
            fake_ca_new("Bad Sub CA", &pki.root, rows[i].constraints, rows[i].usage, rows[i].to);
        struct fake_leaf l = good();
        refused(chain_of(&l, &p), "chain-untrusted");
        fake_ca_free(&p.sub);
    }
}

/* Constraints that a whole path would have to be held against: refused, never overlooked. */
static void constraints(void **state)
{
    (void)state;
    static const struct {
        int nid;
        const char *value;
    } rows[] = {
        {NID_name_constraints, "critical,permitted;DNS:example.test"},
        {NID_name_constraints, "permitted;DNS:example.test"},
        {NID_policy_constraints, "critical,requireExplicitPolicy:0"},
        {NID_inhibit_any_policy, "critical,0"},
        {NID_undef, NULL}, /* an unknown critical one */
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct fake_pki p = {.root = pki.root};
        p.sub = fake_ca_new("Bound Sub CA", &pki.root, "critical,CA:TRUE,pathlen:0",
                            "critical,keyCertSign", FAKE_NOW + FAKE_DAY);
        if (rows[i].value)
            fake_ext(p.sub.cert, pki.root.cert, rows[i].nid, rows[i].value);
        else
            fake_raw2(p.sub.cert, "1.3.6.1.4.1.99999.1", SPAN_LIT("\x05\x00"), true);
        fake_ok(X509_sign(p.sub.cert, pki.root.key, EVP_sha384()) > 0);
        struct fake_leaf l = good();
        refused(chain_of(&l, &p), "chain-untrusted");
        fake_ca_free(&p.sub);
    }
    /* a root that allows end entities alone is none to verify a Sub CA with */
    struct fake_ca root = fake_ca_new("Short Root", NULL, "critical,CA:TRUE,pathlen:0",
                                      "critical,keyCertSign", FAKE_NOW + FAKE_DAY);
    struct span pem = fake_pem(root.cert, &arena);
    struct attest_roots *r = NULL;
    assert_int_equal(attest_roots_new(&pem, 1, &r, NULL), TD_INVAL);
    fake_ca_free(&root);
}

/* A Sub CA signed by SHA-1, or with a duplicate extension, is no link. */
static void weak_sub_cas(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct fake_pki p = {.root = pki.root};
        p.sub = fake_ca_new("Weak Sub CA", &pki.root, "critical,CA:TRUE,pathlen:0",
                            "critical,keyCertSign", FAKE_NOW + FAKE_DAY);
        if (i == 1)
            fake_ext(p.sub.cert, pki.root.cert, NID_basic_constraints, "critical,CA:TRUE");
        fake_ok(X509_sign(p.sub.cert, pki.root.key, i == 0 ? EVP_sha1() : EVP_sha384()) > 0);
        struct fake_leaf l = good();
        refused(chain_of(&l, &p), "chain-untrusted");
        fake_ca_free(&p.sub);
    }
}

static void formats(void **state)
{
    (void)state;
    struct fake_leaf l = good();
    struct span x5c[2] = {fake_leaf_der(&pki, &l, &arena), fake_der(pki.sub.cert, &arena)};
    static const char *const off[] = {"step", "tpm", "android-key", "packed", "Apple", "apple "};
    for (size_t i = 0; i < TD_NITEMS(off); i++)
        refused(fake_attobj(off[i], x5c, 2, &arena), "format-not-enabled");
    bool known;
    assert_true(attest_format_enabled(SPAN_LIT("apple"), &known));
    assert_true(known);
    assert_false(attest_format_enabled(SPAN_LIT("tpm"), &known));
    assert_true(known);
    assert_false(attest_format_enabled(SPAN_LIT("none"), &known));
    assert_false(known);
}

static void objects(void **state)
{
    (void)state;
    struct fake_leaf l = good();
    struct span obj = chain_of(&l, &pki);
    uint8_t *longer = arena_alloc(&arena, obj.n + 1);
    memcpy(longer, obj.p, obj.n);
    refused(span_of(longer, obj.n + 1), "cbor-malformed");
    refused(span_of(obj.p, obj.n - 1), "cbor-malformed");
    refused(span_of(NULL, 0), "cbor-malformed");
    refused(fake_attobj("apple", NULL, 0, &arena), "attestation-missing");
    /* the limit of the whole object, and one over */
    uint8_t *big = arena_alloc(&arena, LIMIT_ATTOBJ + 1);
    refused(span_of(big, LIMIT_ATTOBJ), "cbor-malformed");
    struct attest_result r;
    struct errinfo ei;
    assert_int_equal(verify(span_of(big, LIMIT_ATTOBJ + 1), &r, &ei), TD_FORBIDDEN);
    assert_non_null(strstr(ei.msg, "over"));
    struct attest_expect want = {SPAN_ARR(fresh), "", FAKE_NOW, 0};
    assert_int_equal(attest_verify(roots, obj, &want, &arena, &r, NULL), TD_INVAL);
    want = (struct attest_expect){{NULL, 0}, SERIAL, FAKE_NOW, 0};
    assert_int_equal(attest_verify(roots, obj, &want, &arena, &r, NULL), TD_INVAL);
}

/* The certificates alone, as DeviceInformation has them. */
static void chain_alone(void **state)
{
    (void)state;
    struct fake_leaf l = good(), old = good();
    static const uint8_t other[32] = {1};
    old.freshness = SPAN_ARR(other);
    const struct span sub = fake_der(pki.sub.cert, &arena), leaf = fake_leaf_der(&pki, &l, &arena);
    const struct span stale = fake_leaf_der(&pki, &old, &arena);
    uint8_t *big = arena_alloc(&arena, LIMIT_X5C_CERT + 1);
    const struct {
        struct span x5c[2];
        size_t n;
        const char *reason;
    } rows[] = {
        {{leaf, sub}, 2, NULL},
        {{leaf, sub}, 0, "attestation-missing"},
        {{leaf, sub}, 1, "x5c-malformed"},
        {{sub, leaf}, 2, "chain-untrusted"},
        {{stale, sub}, 2, "freshness-mismatch"},
        {{leaf, {NULL, 0}}, 2, "x5c-malformed"},
        {{span_of(big, LIMIT_X5C_CERT + 1), sub}, 2, "x5c-malformed"},
        {{leaf, fake_der(foreign.sub.cert, &arena)}, 2, "chain-untrusted"},
    };
    struct attest_expect want = {SPAN_ARR(fresh), SERIAL, FAKE_NOW, 0};
    struct attest_result r;
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct errinfo ei = {0};
        enum td_err e = attest_verify_chain(roots, rows[i].x5c, rows[i].n, &want, &arena, &r, &ei);
        if (e != (rows[i].reason ? TD_FORBIDDEN : TD_OK) ||
            (rows[i].reason && strcmp(ei.reason, rows[i].reason) != 0))
            fail_msg("row %zu: %s %s", i, err_name(e), ei.reason ? ei.reason : "-");
        attest_result_free(&r);
    }
    struct errinfo ei = {0};
    struct span many[LIMIT_X5C_COUNT + 1];
    for (size_t i = 0; i < TD_NITEMS(many); i++)
        many[i] = sub;
    assert_int_equal(attest_verify_chain(roots, many, TD_NITEMS(many), &want, &arena, &r, &ei),
                     TD_FORBIDDEN);
    assert_string_equal(ei.reason, "x5c-malformed");
    want.formats_off = ~0U;
    assert_int_equal(attest_verify_chain(roots, rows[0].x5c, 2, &want, &arena, &r, &ei),
                     TD_FORBIDDEN);
    assert_string_equal(ei.reason, "format-not-enabled");
    want = (struct attest_expect){{NULL, 0}, SERIAL, FAKE_NOW, 0};
    assert_int_equal(attest_verify_chain(roots, rows[0].x5c, 2, &want, &arena, &r, NULL), TD_INVAL);
}

/* A remembered Sub CA is checked against the clock every time, and leaves are never remembered. */
static void cache(void **state)
{
    (void)state;
    struct fake_leaf l = good();
    l.not_before = FAKE_NOW - 4000 * FAKE_DAY;
    l.not_after = FAKE_NOW + 4000 * FAKE_DAY;
    struct span obj = chain_of(&l, &pki);
    struct attest_result r;
    struct errinfo ei;
    size_t held, held2;
    uint64_t hits, hits2;
    assert_int_equal(verify(obj, &r, &ei), TD_OK);
    attest_result_free(&r);
    attest_subca_stats(roots, &held, &hits);
    assert_int_equal(verify(obj, &r, &ei), TD_OK);
    attest_result_free(&r);
    refused(chain_of(&l, &foreign), "chain-untrusted");
    attest_subca_stats(roots, &held2, &hits2);
    assert_int_equal(held, held2); /* the foreign one did not get in */
    assert_int_equal(hits2, hits + 1);
    static const int64_t times[] = {FAKE_NOW + 2001 * FAKE_DAY, FAKE_NOW - 3001 * FAKE_DAY};
    for (size_t i = 0; i < TD_NITEMS(times); i++) {
        struct attest_expect want = {SPAN_ARR(fresh), SERIAL, times[i], 0};
        ei = (struct errinfo){0};
        assert_int_equal(attest_verify(roots, obj, &want, &arena, &r, &ei), TD_FORBIDDEN);
        assert_string_equal(ei.reason, "chain-untrusted");
        attest_result_free(&r);
    }
}

static void anchors(void **state)
{
    (void)state;
    const char *subject, *sha;
    bool pinned;
    assert_true(attest_roots_at(roots, 0, &subject, &sha, &pinned));
    assert_true(pinned);
    assert_non_null(strstr(subject, "Apple Enterprise Attestation Root CA"));
    assert_string_equal(sha, "ccf59ef8fcb3017d97f8b5fa6fa90e7a3f9283f76b55ac6cf6eda8b8b949f05b");
    assert_true(attest_roots_at(roots, 1, &subject, &sha, &pinned));
    assert_false(pinned);
    assert_false(attest_roots_at(roots, 2, &subject, &sha, &pinned));

    struct attest_roots *r = NULL;
    struct span bad[] = {SPAN_LIT(""), SPAN_LIT("no certificate"),
                         SPAN_LIT("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
                         fake_pem(pki.sub.cert, &arena)};
    for (size_t i = 0; i < TD_NITEMS(bad); i++)
        assert_int_not_equal(attest_roots_new(&bad[i], 1, &r, NULL), TD_OK);

    /* a bundle, and one root twice */
    buf_auto b;
    buf_init(&b, 65536);
    buf_span(&b, fake_pem(pki.root.cert, &arena));
    buf_span(&b, fake_pem(foreign.root.cert, &arena));
    buf_span(&b, fake_pem(pki.root.cert, &arena));
    struct span bundle = buf_view(&b);
    assert_int_equal(attest_roots_new(&bundle, 1, &r, NULL), TD_OK);
    assert_true(attest_roots_at(r, 2, &subject, &sha, &pinned));
    assert_false(attest_roots_at(r, 3, &subject, &sha, &pinned));
    attest_roots_free(r);
    /* without the extra root the same chain is nothing */
    assert_int_equal(attest_roots_new(NULL, 0, &r, NULL), TD_OK);
    struct fake_leaf l = good();
    struct attest_expect want = {SPAN_ARR(fresh), SERIAL, FAKE_NOW, 0};
    struct attest_result res;
    struct errinfo ei = {0};
    assert_int_equal(attest_verify(r, chain_of(&l, &pki), &want, &arena, &res, &ei), TD_FORBIDDEN);
    assert_string_equal(ei.reason, "chain-untrusted");
    attest_result_free(&res);
    attest_roots_free(r);
}

/* A leaf Apple issued in 2025: every fact is read, and alone or today it proves nothing. */
static void real_leaf(void **state)
{
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s/apple/leaf-2025-expired.pem", TD_VECTORS);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    char pem[8192];
    size_t n = fread(pem, 1, sizeof pem, f);
    fclose(f);
    cert_auto *leaf = NULL;
    assert_int_equal(cert_from_pem(span_of(pem, n), &leaf, NULL), TD_OK);
    struct attest_facts facts;
    attest_facts_read(leaf, &facts);
    assert_true(span_eq_str(facts.serial, "TMWFWWWP67"));
    assert_true(span_eq_str(facts.udid, "00006030-000651690A84001C"));
    assert_true(span_eq_str(facts.sw_update_id, "J514sAP"));
    assert_true(span_eq_str(facts.os_version, "15.5"));
    assert_true(span_eq_str(facts.sepos_version, "15.5"));
    assert_true(span_eq_str(facts.llb_version, "15.5"));
    assert_true(span_eq_str(facts.secure_boot, "Full Security"));
    assert_int_equal(facts.sip, 0);
    assert_int_equal(facts.kexts, 0);
    struct span v, point;
    assert_int_equal(cert_ext(leaf, "1.2.840.113635.100.8.11.1", &v), 1);
    assert_int_equal(v.n, 32);
    assert_int_equal(v.p[0], 0x9f);
    /* Apple names the leaf by the SHA-256 of its public point */
    uint8_t h[SHA256_SIZE];
    char hex[2 * SHA256_SIZE + 1];
    assert_int_equal(key_ec_point(cert_key(leaf), &arena, &point, NULL), TD_OK);
    digest_sha256(point, h);
    for (size_t i = 0; i < sizeof h; i++)
        snprintf(hex + 2 * i, 3, "%02x", h[i]);
    assert_string_equal(cert_cn(leaf, &arena), hex);
    struct span x5c[2] = {cert_der(leaf), cert_der(leaf)};
    refused(fake_attobj("apple", x5c, 1, &arena), "x5c-malformed");
    refused(fake_attobj("apple", x5c, 2, &arena), "chain-untrusted");
    x5c[1] = fake_der(pki.sub.cert, &arena);
    refused(fake_attobj("apple", x5c, 2, &arena), "chain-untrusted");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts),     cmocka_unit_test(refuses),
        cmocka_unit_test(chains),      cmocka_unit_test(sub_cas),
        cmocka_unit_test(constraints), cmocka_unit_test(weak_sub_cas),
        cmocka_unit_test(formats),     cmocka_unit_test(objects),
        cmocka_unit_test(cache),       cmocka_unit_test(chain_alone),
        cmocka_unit_test(anchors),     cmocka_unit_test(real_leaf),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
