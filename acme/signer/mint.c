#include "acme/signer/mint.h"

#include "acme/signer/profile.h"
#include "mdm/base/b64.h"
#include "mdm/base/clock.h"
#include "mdm/base/hex.h"
#include "mdm/crypt/x509_build.h"

#define DAY INT64_C(86400)
#define BACKDATE DAY
#define ARENA_MAX (1 << 20)
#define CN_MAX 64
#define PEM_LINE 64
#define CSR_BEGIN "-----BEGIN CERTIFICATE REQUEST-----"
#define CSR_END "-----END CERTIFICATE REQUEST-----"

static struct x509_spec spec_of(const struct mint *m)
{
    return (struct x509_spec){
        .cn = m->cn,
        .o = m->org,
        .public_key = m->key,
        .key_usage = X509_KU_CERT_SIGN | X509_KU_CRL_SIGN,
        .ca = true,
        .path_len = m->path_len,
    };
}

enum td_err mint_ca(const struct mint *m, const struct cert *issuer, const struct key *issuer_key,
                    struct cert **ret, struct errinfo *ei)
{
    arena_auto a;
    arena_init(&a, ARENA_MAX);
    uint8_t serial[PROFILE_SERIAL_SIZE];
    profile_serial(&rng_system, serial);
    int64_t now = clock_now(&clock_system);
    struct x509_spec spec = spec_of(m);
    spec.serial = SPAN_ARR(serial);
    spec.not_before = now - BACKDATE;
    spec.not_after = now + m->life;
    if (issuer && spec.not_before < cert_not_before(issuer))
        spec.not_before = cert_not_before(issuer);
    if (issuer && spec.not_after > cert_not_after(issuer))
        spec.not_after = cert_not_after(issuer);
    if (spec.not_after <= now)
        return err_set(ei, TD_STATE, "the root's certificate expired");
    struct span der;
    TD_TRY(x509_build(&spec, issuer, issuer ? issuer_key : m->key, &a, &der, ei));
    return cert_parse(der, ret, ei);
}

char *mint_issuing_name(const char *org, const struct key *key, struct arena *a)
{
    struct span point;
    uint8_t hash[SHA256_SIZE];
    if (key_ec_point(key, a, &point, NULL) != TD_OK)
        return NULL;
    digest_sha256(point, hash); /* as the key identifier begins that we would give it */
    char hex[9];
    hex_enc(span_of(hash, 4), hex);
    char *full = arena_printf(a, "%s Issuing CA %s", org, hex);
    return full && strlen(full) > CN_MAX ? arena_printf(a, "Issuing CA %s", hex) : full;
}

enum td_err mint_csr(const char *org, const struct key *key, struct buf *pem, struct errinfo *ei)
{
    arena_auto a;
    arena_init(&a, ARENA_MAX);
    struct mint m = {.org = org, .cn = mint_issuing_name(org, key, &a), .key = key};
    if (!m.cn)
        return err_set(ei, TD_NOMEM, "no memory");
    struct x509_spec spec = spec_of(&m);
    struct span der;
    TD_TRY(csr_build(&spec, &a, &der, ei));
    buf_auto text;
    buf_init(&text, ARENA_MAX);
    TD_TRY(b64_enc(&text, der));
    buf_str(pem, CSR_BEGIN "\n");
    for (size_t at = 0; at < text.n; at += PEM_LINE) {
        buf_span(pem, span_sub(buf_view(&text), at, PEM_LINE));
        buf_str(pem, "\n");
    }
    buf_str(pem, CSR_END "\n");
    return pem->err == TD_OK ? TD_OK : err_set(ei, TD_NOMEM, "no memory");
}

enum td_err mint_csr_key(struct span pem, struct key **ret, struct errinfo *ei)
{
    arena_auto a;
    arena_init(&a, ARENA_MAX);
    char *text = arena_dup(&a, pem);
    if (!text)
        return err_set(ei, TD_LIMIT, "the request is too long");
    char *begin = strstr(text, CSR_BEGIN);
    char *end = begin ? strstr(begin, CSR_END) : NULL;
    struct span der;
    struct csr csr;
    if (!end)
        return err_set(ei, TD_PARSE, "not a certificate request in PEM");
    begin += strlen(CSR_BEGIN);
    if (b64_dec(&a, span_of(begin, (size_t)(end - begin)), &der) != TD_OK)
        return err_set(ei, TD_PARSE, "not a certificate request in PEM");
    TD_TRY(csr_parse(der, &a, &csr, ei));
    *ret = key_ref(csr.key);
    csr_free(&csr);
    return TD_OK;
}

/* basicConstraints CA:TRUE with path length 0, as DER has it. */
static bool leaf_issuer(const struct cert *c)
{
    struct span v;
    return cert_ext(c, "2.5.29.19", &v) == 1 &&
           span_eq(v, SPAN_LIT("\x30\x06\x01\x01\xff\x02\x01\x00"));
}

/* keyCertSign (bit 5) and cRLSign (bit 6) in the first octet of the BIT STRING. */
static bool signs_both(const struct cert *c)
{
    struct span v;
    return cert_ext(c, "2.5.29.15", &v) == 1 && v.n >= 4 && v.p[0] == 0x03 &&
           (v.p[3] & 0x06) == 0x06;
}

static enum td_err check_root(const struct cert *c, const struct cert *root, struct errinfo *ei)
{
    struct trust *t;
    cert_auto *r = NULL;
    TD_TRY(cert_check_issued(c, root, ei));
    TD_TRY(cert_parse(cert_der(root), &r, ei));
    TD_TRY(trust_new(&r, 1, &t, ei));
    const struct trust_opts any = {.no_time = true, .purpose = "any"};
    enum td_err e = trust_verify(t, c, NULL, 0, &any, ei);
    trust_free(t);
    return e;
}

enum td_err mint_check(const struct cert *c, const struct cert *root, int64_t now,
                       struct errinfo *ei)
{
    uint8_t id[CERT_SKI_SIZE];
    const struct key *key = cert_key(c);
    if (!cert_is_ca(c))
        return err_set(ei, TD_CRYPTO, "not a CA certificate");
    if (!leaf_issuer(c))
        return err_set(ei, TD_CRYPTO, "basicConstraints is not CA:TRUE with pathlen:0");
    if (!signs_both(c))
        return err_set(ei, TD_CRYPTO, "keyUsage lacks keyCertSign or cRLSign");
    if (!cert_ski(c, id))
        return err_set(ei, TD_CRYPTO, "no subjectKeyIdentifier of 20 octets");
    if (!key || (key_type(key) != KEY_P256 && key_type(key) != KEY_P384))
        return err_set(ei, TD_CRYPTO, "its key is not P-256 or P-384");
    if (cert_not_before(c) > now || cert_not_after(c) <= now)
        return err_set(ei, TD_CRYPTO, "not valid now");
    if (cert_not_after(c) > cert_not_after(root))
        return err_set(ei, TD_CRYPTO, "it outlives the root");
    struct errinfo why = {0};
    enum td_err e = check_root(c, root, &why);
    return e == TD_OK ? TD_OK
                      : err_set(ei, TD_CRYPTO, "not issued by root.crt: %.100s", err_msg(&why, e));
}
