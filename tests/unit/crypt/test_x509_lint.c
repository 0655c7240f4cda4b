/* Each rule of the lint, broken alone: a good TBSCertificate is taken apart, one part of it is
 * exchanged, and the rule of that name must be the one that speaks. A rule without a case fails. */
#include "crypt_test.h"

#include "mdm/base/hex.h"
#include "mdm/crypt/der_int.h"
#include "mdm/crypt/x509_lint.h"

#define PARTS_MAX 9
#define EXTS_MAX 16

enum base { LEAF, NAMELESS, RSA, CA, BASES };

enum op {
    VERSION,
    SERIAL,
    SIGALG,
    ISSUER,
    VALIDITY,
    SUBJECT,
    SPKI,
    UIDS,        /* between the key and the extensions */
    SPKI_ALG,    /* the AlgorithmIdentifier of the key */
    SPKI_BITS,   /* its BIT STRING */
    ISSUERS_KEY, /* the key becomes the issuer's */
    EXT,         /* the value of the extension `oid`, added when absent */
    EXT_CRIT,    /* its critical flag: `flag`, NONE leaves it out */
    EXT_ADD,     /* another one of that OID */
    EXT_DROP
};

#define NONE (-1)

struct world {
    struct arena a;
    struct key *ca_key, *ec, *rsa;
    struct cert *ca;
};

/* The parts as raw DER, the extensions one by one. */
struct tbs {
    struct span part[UIDS + 1];
    struct span ext[EXTS_MAX];
    size_t n;
};

static int up(void **state)
{
    static struct world w;
    arena_init(&w.a, 1 << 22);
    w.ca_key = t_key(KEY_P256);
    w.ec = t_key(KEY_P256);
    w.rsa = t_key(KEY_RSA);
    w.ca = t_ca("CA", w.ca_key, NULL, w.ca_key, 1);
    *state = &w;
    return 0;
}

static int down(void **state)
{
    struct world *w = *state;
    cert_free(w->ca);
    key_free(w->ca_key);
    key_free(w->ec);
    key_free(w->rsa);
    arena_free(&w->a);
    return 0;
}

static struct x509_spec spec_of(const struct world *w, enum base base)
{
    static const char *const eku[] = {EKU_CLIENT, NULL};
    struct x509_spec s = {.serial = SPAN_LIT("\x10\x01"),
                          .cn = base == NAMELESS ? NULL : "leaf",
                          .not_before = T0,
                          .not_after = T0 + YEAR,
                          .public_key = base == RSA ? w->rsa : w->ec,
                          .key_usage = X509_KU_DIGITAL_SIGNATURE,
                          .eku = eku,
                          .path_len = -1,
                          .san_permanent_id = "C02ABC",
                          .aia_ocsp = "http://o.test/",
                          .crl_dp = "http://l.test/"};
    if (base == CA) {
        s.ca = true;
        s.key_usage = X509_KU_CERT_SIGN | X509_KU_CRL_SIGN;
        s.eku = NULL;
    }
    return s;
}

static struct span good_tbs(struct world *w, enum base base)
{
    struct x509_spec s = spec_of(w, base);
    buf_auto b;
    buf_init(&b, 65536);
    assert_ok(x509_tbs(&s, w->ca, w->ca_key, &b, &ei));
    struct span der = arena_span(&w->a, buf_view(&b));
    assert_non_null(der.p);
    return der;
}

static struct tbs take_apart(struct span der)
{
    struct tbs t = {0};
    struct der_item it;
    struct span in, outer, list;
    assert_true(der_get(&der, DER_SEQUENCE, &in));
    for (size_t i = VERSION; i <= SPKI; i++) {
        assert_true(der_next(&in, &it));
        t.part[i] = it.raw;
    }
    assert_true(der_get(&in, DER_CTX_CONS(3), &outer));
    assert_true(der_get(&outer, DER_SEQUENCE, &list));
    while (list.n > 0) {
        assert_true(t.n < EXTS_MAX && der_next(&list, &it));
        t.ext[t.n++] = it.raw;
    }
    return t;
}

static struct span put_together(struct world *w, const struct tbs *t)
{
    buf_auto b;
    buf_init(&b, 65536);
    size_t outer = der_open(&b, DER_SEQUENCE);
    for (size_t i = VERSION; i <= UIDS; i++)
        buf_span(&b, t->part[i]);
    size_t tagged = der_open(&b, DER_CTX_CONS(3)), list = der_open(&b, DER_SEQUENCE);
    for (size_t i = 0; i < t->n; i++)
        buf_span(&b, t->ext[i]);
    der_close(&b, list);
    der_close(&b, tagged);
    der_close(&b, outer);
    assert_int_equal(b.err, TD_OK);
    return arena_span(&w->a, buf_view(&b));
}

static struct span bytes(struct world *w, const char *hex)
{
    size_t n = strlen(hex) / 2;
    uint8_t *out = arena_alloc(&w->a, n + 1);
    assert_non_null(out);
    assert_int_equal(hex_dec(span_str(hex), out, n), TD_OK);
    return span_of(out, n);
}

static struct span extension(struct world *w, const char *oid, int flag, struct span value)
{
    buf_auto b;
    buf_init(&b, 65536);
    uint8_t octet = (uint8_t)flag;
    size_t seq = der_open(&b, DER_SEQUENCE);
    der_put(&b, DER_OID, span_str(oid));
    if (flag != NONE)
        der_put(&b, DER_BOOLEAN, span_of(&octet, 1));
    der_put(&b, DER_OCTET_STRING, value);
    der_close(&b, seq);
    return arena_span(&w->a, buf_view(&b));
}

/* Where the extension is, and what it has; t->n when it is absent. */
static size_t locate(const struct tbs *t, const char *oid, int *ret_flag, struct span *ret_value)
{
    for (size_t i = 0; i < t->n; i++) {
        struct span in = t->ext[i], e, o = {NULL, 0}, flag;
        assert_true(der_get(&in, DER_SEQUENCE, &e) && der_get(&e, DER_OID, &o));
        if (!span_eq_str(o, oid))
            continue;
        *ret_flag = NONE;
        if (der_peek(e, DER_BOOLEAN)) {
            assert_true(der_get(&e, DER_BOOLEAN, &flag));
            *ret_flag = flag.p[0];
        }
        assert_true(der_get(&e, DER_OCTET_STRING, ret_value));
        return i;
    }
    *ret_flag = NONE;
    *ret_value = (struct span){NULL, 0};
    return t->n;
}

static void change_ext(struct world *w, struct tbs *t, enum op op, const char *oid, int flag,
                       struct span value)
{
    int had;
    struct span old;
    size_t i = locate(t, oid, &had, &old);
    if (op == EXT_DROP) {
        assert_true(i < t->n);
        memmove(&t->ext[i], &t->ext[i + 1], (t->n - i - 1) * sizeof t->ext[0]);
        t->n--;
        return;
    }
    if (op == EXT_ADD || i == t->n) {
        assert_true(t->n < EXTS_MAX);
        t->ext[t->n++] = extension(w, oid, flag, value);
    } else {
        t->ext[i] = extension(w, oid, op == EXT_CRIT ? flag : had, op == EXT ? value : old);
    }
}

/* The SubjectPublicKeyInfo with another half. */
static struct span key_with(struct world *w, struct span spki, struct span alg, struct span bits)
{
    struct der_item a, k;
    struct span in;
    assert_true(der_get(&spki, DER_SEQUENCE, &in) && der_next(&in, &a) && der_next(&in, &k));
    buf_auto b;
    buf_init(&b, 65536);
    size_t seq = der_open(&b, DER_SEQUENCE);
    buf_span(&b, alg.n ? alg : a.raw);
    buf_span(&b, bits.n ? bits : k.raw);
    der_close(&b, seq);
    return arena_span(&w->a, buf_view(&b));
}

#define OID_SKI "\x55\x1d\x0e"
#define OID_KU "\x55\x1d\x0f"
#define OID_SAN "\x55\x1d\x11"
#define OID_BC "\x55\x1d\x13"
#define OID_CDP "\x55\x1d\x1f"
#define OID_AKI "\x55\x1d\x23"
#define OID_EKU "\x55\x1d\x25"
#define OID_AIA "\x2b\x06\x01\x05\x05\x07\x01\x01"
#define OID_NOCHECK "\x2b\x06\x01\x05\x05\x07\x30\x01\x05"
#define X8 "7878787878787878"
#define T2024 "170d3234303130313030303030305a"
#define T2025 "170d3235303130313030303030305a"

static const struct broken {
    const char *rule;
    enum base base;
    enum op op;
    const char *hex; /* the new part or value */
    const char *oid;
    int flag;
} cases[] = {
    {"structure", LEAF, SERIAL, "04021001", NULL, 0},
    {"structure", LEAF, VALIDITY, "3000", NULL, 0},
    {"structure", LEAF, SPKI, "30020500", NULL, 0},
    {"version-3", LEAF, VERSION, "", NULL, 0},
    {"version-3", LEAF, VERSION, "a003020101", NULL, 0},
    {"serial-minimal", LEAF, SERIAL, "02020001", NULL, 0},
    {"serial-positive", LEAF, SERIAL, "020180", NULL, 0},
    {"serial-positive", LEAF, SERIAL, "020100", NULL, 0},
    {"serial-length", LEAF, SERIAL, "0215010101010101010101010101010101010101010101", NULL, 0},
    {"signature-params", LEAF, SIGALG, "300c06082a8648ce3d0403020500", NULL, 0},
    {"signature-params", LEAF, SIGALG, "300b06092a864886f70d01010b", NULL, 0},
    {"signature-fits-key", LEAF, SIGALG, "300d06092a864886f70d01010b0500", NULL, 0},
    {"issuer-not-empty", LEAF, ISSUER, "3000", NULL, 0},
    {"issuer-chains", LEAF, ISSUER, "300d310b3009060355040313025858", NULL, 0},
    {"time-form", LEAF, VALIDITY, "3020180f32303234303130313030303030305a" T2025, NULL, 0},
    {"time-fraction", LEAF, VALIDITY, "3022" T2024 "181132303531303130313030303030302e355a", NULL,
     0},
    {"time-valid", LEAF, VALIDITY, "301c170b323430313031303030305a" T2025, NULL, 0},
    {"time-valid", LEAF, VALIDITY, "301e170d3234303233303030303030305a" T2025, NULL, 0},
    {"validity-order", LEAF, VALIDITY, "301e" T2025 T2024, NULL, 0},
    {"unique-ids", LEAF, UIDS, "81020001", NULL, 0},
    {"unique-ids", LEAF, UIDS, "82020001", NULL, 0},
    {"rsa-params", RSA, SPKI_ALG, "300b06092a864886f70d010101", NULL, 0},
    {"ec-named-curve", LEAF, SPKI_ALG, "301006072a8648ce3d020106052b8104000a", NULL, 0},
    {"ec-named-curve", LEAF, SPKI_ALG, "300906072a8648ce3d0201", NULL, 0},
    {"key-octets", LEAF, SPKI_BITS, "030301fffe", NULL, 0},
    {"key-octets", LEAF, SPKI_BITS, "030100", NULL, 0},
    {"key-valid", LEAF, SPKI_BITS,
     "0342000401010101010101010101010101010101010101010101010101010101010101"
     "010101010101010101010101010101010101010101010101010101010101010101",
     NULL, 0},
    {"key-not-issuers", LEAF, ISSUERS_KEY, "", NULL, 0},
    {"ext-duplicate", LEAF, EXT_ADD, "3000", OID_AIA, NONE},
    {"critical-der", LEAF, EXT_CRIT, "", OID_KU, 1},
    {"critical-der", LEAF, EXT_CRIT, "", OID_EKU, 0},
    {"ski-not-critical", LEAF, EXT_CRIT, "", OID_SKI, 0xff},
    {"aki-not-critical", LEAF, EXT_CRIT, "", OID_AKI, 0xff},
    {"aia-not-critical", LEAF, EXT_CRIT, "", OID_AIA, 0xff},
    {"critical-known", LEAF, EXT_ADD, "0500", "\x55\x1d\x63", 0xff},
    {"critical-known", LEAF, EXT_CRIT, "", OID_CDP, 0xff},
    {"basic-valid", LEAF, EXT_DROP, "", OID_BC, 0},
    {"basic-valid", LEAF, EXT, "0500", OID_BC, 0},
    {"basic-default", LEAF, EXT, "3003010100", OID_BC, 0},
    {"basic-critical", CA, EXT_CRIT, "", OID_BC, NONE},
    {"path-len-of-ca", LEAF, EXT, "3003020100", OID_BC, 0},
    {"usage-there", LEAF, EXT_DROP, "", OID_KU, 0},
    {"usage-critical", LEAF, EXT_CRIT, "", OID_KU, NONE},
    {"usage-bits", LEAF, EXT, "030100", OID_KU, 0},
    {"usage-bits", LEAF, EXT, "03020000", OID_KU, 0},
    {"usage-length", LEAF, EXT, "03020080", OID_KU, 0},
    {"usage-length", LEAF, EXT, "0303068040", OID_KU, 0},
    {"usage-cert-sign", LEAF, EXT, "03020284", OID_KU, 0},
    {"usage-of-ca", CA, EXT, "03020780", OID_KU, 0},
    {"usage-agreement", LEAF, EXT, "03020081", OID_KU, 0},
    {"usage-ec", LEAF, EXT, "030205a0", OID_KU, 0},
    {"usage-rsa", RSA, EXT, "03020388", OID_KU, 0},
    {"usage-rsa", RSA, EXT, "03020182", OID_KU, 0},
    {"eku-valid", LEAF, EXT, "3000", OID_EKU, 0},
    {"eku-valid", LEAF, EXT, "30020500", OID_EKU, 0},
    {"eku-any", LEAF, EXT_ADD, "30060604551d2500", OID_EKU, 0xff},
    {"eku-fits-usage", LEAF, EXT, "03020640", OID_KU, 0},
    {"ski-there", LEAF, EXT_DROP, "", OID_SKI, 0},
    {"ski-there", CA, EXT, "0400", OID_SKI, 0},
    {"aki-there", LEAF, EXT, "3000", OID_AKI, 0},
    {"aki-chains", LEAF, EXT, "3003800101", OID_AKI, 0},
    {"aia-valid", LEAF, EXT, "3000", OID_AIA, 0},
    {"aia-valid", LEAF, EXT, "3011300f06082b060105050730018603613a62", OID_AIA, 0},
    {"crl-dp-valid", LEAF, EXT, "3000", OID_CDP, 0},
    {"crl-dp-valid", LEAF, EXT, "3006300481020780", OID_CDP, 0},
    {"nocheck-null", LEAF, EXT_ADD, "3000", OID_NOCHECK, NONE},
    {"subject-form", LEAF, SUBJECT, "30023100", NULL, 0},
    {"subject-of-ca", CA, SUBJECT, "3000", NULL, 0},
    {"subject-strings", LEAF, SUBJECT, "300c310a30080603550403140158", NULL, 0},
    {"subject-printable", LEAF, SUBJECT, "300c310a3008060355040313012a", NULL, 0},
    {"subject-utf8", LEAF, SUBJECT, "300d310b300906035504030c02c328", NULL, 0},
    {"subject-utf8", LEAF, SUBJECT, "300c310a300806035504030c010a", NULL, 0},
    {"subject-values", LEAF, SUBJECT, "300b3109300706035504030c00", NULL, 0},
    {"subject-bounds", LEAF, SUBJECT, "304c314a304806035504030c41" X8 X8 X8 X8 X8 X8 X8 X8 "78",
     NULL, 0},
    {"subject-printable-only", LEAF, SUBJECT, "300d310b300906035504060c024445", NULL, 0},
    {"subject-printable-only", LEAF, SUBJECT, "300d310b300906035504050c024445", NULL, 0},
    {"subject-country", LEAF, SUBJECT, "300c310a30080603550406130144", NULL, 0},
    {"san-not-empty", LEAF, EXT, "3000", OID_SAN, 0},
    {"san-critical", NAMELESS, EXT_CRIT, "", OID_SAN, NONE},
    {"san-critical", NAMELESS, EXT_DROP, "", OID_SAN, 0},
    {"san-not-critical", LEAF, EXT_CRIT, "", OID_SAN, 0xff},
    {"san-types", LEAF, EXT, "3004a4023000", OID_SAN, 0},
    {"san-values", LEAF, EXT, "30028200", OID_SAN, 0},
    {"san-ia5", LEAF, EXT, "3005820361c3a9", OID_SAN, 0},
    {"san-dns", LEAF, EXT, "30058203615f62", OID_SAN, 0},
    {"san-dns", LEAF, EXT, "30048202612e", OID_SAN, 0},
    {"san-mail", LEAF, EXT, "300481026140", OID_SAN, 0},
    {"san-mail", LEAF, EXT, "300481026162", OID_SAN, 0},
    {"san-uri", LEAF, EXT, "30058603782f79", OID_SAN, 0},
    {"san-uri", LEAF, EXT, "30048602783a", OID_SAN, 0},
    {"san-uri-host", LEAF, EXT, "300d860b687474703a2f2f615f622f", OID_SAN, 0},
    {"san-spiffe", LEAF, EXT, "300f860d7370696666653a2f2f54442f78", OID_SAN, 0},
    {"san-spiffe", LEAF, EXT, "300f860d7370696666653a2f2f74642f25", OID_SAN, 0},
    {"san-spiffe", LEAF, EXT, "300f860d7370696666653a2f2f742f782f", OID_SAN, 0},
    {"san-spiffe-alone", LEAF, EXT, "3018860d7370696666653a2f2f74642f78860775726e3a613a62", OID_SAN,
     0},
    {"san-ip", LEAF, EXT, "30058703010203", OID_SAN, 0},
    {"san-other", LEAF, EXT, "3006a00406022a03", OID_SAN, 0},
    {"san-permanent", LEAF, EXT, "3017a01506082b06010505070803a00930070c016106022a03", OID_SAN, 0},
    {"san-permanent", LEAF, EXT, "3014a01206082b06010505070803a006300406022a03", OID_SAN, 0},
    {"san-hardware", LEAF, EXT, "3017a01506082b06010505070804a009300706022a03840161", OID_SAN, 0},
    {"san-hardware", LEAF, EXT, "3016a01406082b06010505070804a008300606022a030400", OID_SAN, 0},
    {"san-hardware", LEAF, EXT, "301aa01806082b06010505070804a00c300a06022a03040161040162", OID_SAN,
     0},
    {"san-hardware", LEAF, EXT, "301aa01806082b06010505070804a00c300706022a03040161040162", OID_SAN,
     0},
};

static struct span mutant(struct world *w, const struct broken *c)
{
    struct tbs t = take_apart(good_tbs(w, c->base));
    struct span new = bytes(w, c->hex);
    if (c->op <= UIDS)
        t.part[c->op] = new;
    else if (c->op == SPKI_ALG)
        t.part[SPKI] = key_with(w, t.part[SPKI], new, (struct span){NULL, 0});
    else if (c->op == SPKI_BITS)
        t.part[SPKI] = key_with(w, t.part[SPKI], (struct span){NULL, 0}, new);
    else if (c->op == ISSUERS_KEY)
        t.part[SPKI] = cert_spki(w->ca);
    else if (strcmp(c->rule, "eku-any") == 0) { /* the one that is there goes first */
        change_ext(w, &t, EXT_DROP, c->oid, 0, new);
        change_ext(w, &t, EXT_ADD, c->oid, c->flag, new);
    } else
        change_ext(w, &t, c->op, c->oid, c->flag, new);
    return put_together(w, &t);
}

static void test_good(void **state)
{
    struct world *w = *state;
    for (enum base b = LEAF; b < BASES; b++) {
        struct span der = good_tbs(w, b);
        assert_ok(x509_lint(der, w->ca, &ei));
        struct tbs t = take_apart(der);
        assert_true(span_eq(put_together(w, &t), der)); /* the helper changes nothing by itself */
    }
}

static void test_each_rule(void **state)
{
    struct world *w = *state;
    for (size_t i = 0; i < TD_NITEMS(cases); i++) {
        const struct broken *c = &cases[i];
        struct errinfo ei = {0};
        enum td_err e = x509_lint(mutant(w, c), w->ca, &ei);
        size_t n = strlen(c->rule);
        if (e != TD_INVAL || strncmp(ei.msg, c->rule, n) != 0 || ei.msg[n] != ':')
            fail_msg("case %zu, %s: %s %s", i, c->rule, err_name(e), ei.msg);
        assert_string_equal(ei.reason, "lint");
        /* a key that is known says nothing about other bytes */
        const struct key *known = c->base == RSA ? w->rsa : w->ec;
        assert_int_equal(x509_lint_known(mutant(w, c), w->ca, known, NULL), TD_INVAL);
    }
}

static void test_no_rule_without_a_case(void **state)
{
    (void)state;
    const char *name, *clause;
    size_t n = 0;
    for (; (name = x509_lint_rule(n, &clause)); n++) {
        size_t i = 0;
        while (i < TD_NITEMS(cases) && strcmp(cases[i].rule, name) != 0)
            i++;
        if (i == TD_NITEMS(cases))
            fail_msg("rule %s (%s) is never seen broken", name, clause);
        assert_true(*clause != 0);
    }
    print_message("%zu rules, %zu broken certificates\n", n, TD_NITEMS(cases));
}

/* Every prefix and every single changed byte: refused or good, never read beyond. */
static void test_any_bytes(void **state)
{
    struct world *w = *state;
    struct span good = good_tbs(w, LEAF);
    for (size_t n = 0; n < good.n; n++) {
        uint8_t *cut = malloc(n ? n : 1); /* exactly as long, so that ASan sees a read behind it */
        memcpy(cut, good.p, n);
        assert_err(TD_INVAL, x509_lint(span_of(cut, n), w->ca, &ei));
        free(cut);
    }
    uint8_t *b = malloc(good.n);
    for (size_t i = 0; i < good.n; i++) {
        memcpy(b, good.p, good.n);
        b[i] ^= 0x41;
        enum td_err e = x509_lint(span_of(b, good.n), w->ca, NULL);
        assert_true(e == TD_OK || e == TD_INVAL);
    }
    free(b);
}

/* x509_build signs nothing that the lint refuses. */
static void test_build_asks(void **state)
{
    struct world *w = *state;
    struct x509_spec s = spec_of(w, LEAF);
    struct span der;
    assert_ok(x509_build(&s, w->ca, w->ca_key, &w->a, &der, &ei));
    s.key_usage = X509_KU_KEY_ENCIPHERMENT;
    struct errinfo ei = {0};
    assert_int_equal(x509_build(&s, w->ca, w->ca_key, &w->a, &der, &ei), TD_INVAL);
    assert_string_equal(ei.reason, "lint");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),       cmocka_unit_test(test_each_rule),
        cmocka_unit_test(test_any_bytes),  cmocka_unit_test(test_no_rule_without_a_case),
        cmocka_unit_test(test_build_asks),
    };
    return cmocka_run_group_tests(tests, up, down);
}
