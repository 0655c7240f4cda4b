#include "acme/signer/profile.h"

#include <arpa/inet.h>
#include <stddef.h>

#include "mdm/base/limits.h"
#include "mdm/base/str.h"

#define OID_SERVER_AUTH "1.3.6.1.5.5.7.3.1"
#define OID_OCSP_SIGNING "1.3.6.1.5.5.7.3.9"
#define HOST_MAX 253

static const char *const eku_server[] = {OID_SERVER_AUTH, NULL};
static const char *const eku_ocsp[] = {OID_OCSP_SIGNING, NULL};

static const struct profile profiles[] = {
    {.name = "tls-server",
     .eku = eku_server,
     .life_offset = offsetof(struct cadir_conf, tls_life),
     .aia = true},
    {.name = "ocsp-responder",
     .eku = eku_ocsp,
     .nocheck = true,
     .life_offset = offsetof(struct cadir_conf, responder_life)},
};

const struct profile *profile_find(struct span name)
{
    for (size_t i = 0; i < TD_NITEMS(profiles); i++)
        if (span_eq_str(name, profiles[i].name))
            return &profiles[i];
    return NULL;
}

static int64_t life(const struct profile *p, const struct cadir_conf *conf)
{
    int64_t v;
    memcpy(&v, (const char *)conf + p->life_offset, sizeof v);
    return v;
}

static const char *uri(const char *s)
{
    return s && *s ? s : NULL;
}

void profile_spec(const struct profile *p, const struct cadir_conf *conf,
                  const struct profile_subject *s, struct x509_spec *ret)
{
    *ret = (struct x509_spec){
        .serial = s->serial,
        .cn = s->name,
        .o = conf->org,
        .not_before = s->now - PROFILE_BACKDATE,
        .not_after = s->now + life(p, conf),
        .public_key = s->public_key,
        .key_usage = X509_KU_DIGITAL_SIGNATURE,
        .eku = p->eku,
        .path_len = -1,
        .san_dns = s->dns,
        .aia_ocsp = p->aia ? uri(conf->ocsp_url) : NULL,
        .aia_ca_issuers = p->aia ? uri(conf->aia_url) : NULL,
        .ocsp_nocheck = p->nocheck,
    };
}

static bool alnum(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* One label of a host name: letters, digits and inner hyphens (RFC 1123 section 2.1). */
static bool label_valid(struct span s)
{
    if (s.n == 0 || s.n > 63 || s.p[0] == '-' || s.p[s.n - 1] == '-')
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!alnum(s.p[i]) && s.p[i] != '-')
            return false;
    return true;
}

bool profile_host_valid(const char *s)
{
    uint8_t addr[16];
    if (inet_pton(AF_INET, s, addr) == 1 || inet_pton(AF_INET6, s, addr) == 1)
        return true;
    struct span host = span_str(s);
    if (host.n > HOST_MAX)
        return false;
    if (span_starts(host, SPAN_LIT("*.")))
        host = span_sub(host, 2, SIZE_MAX);
    bool letter = false;
    for (size_t from = 0, i = 0; i <= host.n; i++) {
        if (i < host.n && host.p[i] != '.') {
            letter = letter || host.p[i] > '9';
            continue;
        }
        if (!label_valid(span_sub(host, from, i - from)))
            return false;
        from = i + 1;
    }
    return letter; /* "10.0.0.256" is no name */
}

void profile_serial(struct rng *rng, uint8_t out[static PROFILE_SERIAL_SIZE])
{
    rng_fill(rng, out, PROFILE_SERIAL_SIZE);
    /* the first bit clear: positive; the second set: always 16 octets (RFC 5280 section 4.1.2.2) */
    out[0] = (uint8_t)((out[0] & 0x7f) | 0x40);
}

static enum td_err lint_serial(const struct x509_spec *s, const struct cert *issuer,
                               struct errinfo *ei)
{
    (void)issuer;
    if (s->serial.n != PROFILE_SERIAL_SIZE || (s->serial.p[0] & 0xc0) != 0x40)
        return err_set(ei, TD_INVAL, "the certificate's serial number is not 16 positive octets");
    return TD_OK;
}

static enum td_err lint_validity(const struct x509_spec *s, const struct cert *issuer,
                                 struct errinfo *ei)
{
    if (s->not_before >= s->not_after)
        return err_set(ei, TD_INVAL, "the validity is empty");
    if (s->not_after > cert_not_after(issuer))
        return err_reason(ei, TD_INVAL, "issuer-expires",
                          "the certificate would outlive the issuing CA");
    /* `init` backdates the CA by a day, so that what it issues at once lies inside */
    if (s->not_before < cert_not_before(issuer))
        return err_set(ei, TD_INVAL, "the certificate would begin before the issuing CA");
    return TD_OK;
}

static enum td_err lint_key(const struct x509_spec *s, const struct cert *issuer,
                            struct errinfo *ei)
{
    enum key_type t = s->public_key ? key_type(s->public_key) : KEY_OTHER;
    if (t != KEY_P256 && t != KEY_P384)
        return err_reason(ei, TD_UNSUPPORTED, "key-unsupported", "the key is not P-256 or P-384");
    arena_auto a;
    arena_init(&a, 4096);
    struct span spki;
    TD_TRY(key_spki(s->public_key, &a, &spki, ei));
    if (span_eq(spki, cert_spki(issuer)))
        return err_reason(ei, TD_INVAL, "key-of-ca", "the key is the CA's own");
    return TD_OK;
}

static enum td_err lint_usage(const struct x509_spec *s, const struct cert *issuer,
                              struct errinfo *ei)
{
    (void)issuer;
    if (s->ca || s->key_usage != X509_KU_DIGITAL_SIGNATURE || !s->eku || !s->eku[0])
        return err_set(ei, TD_INVAL, "an end entity's certificate signs and has a purpose");
    return TD_OK;
}

static bool has_san(const struct x509_spec *s)
{
    return s->san_permanent_id || s->san_hw_type || (s->san_dns && s->san_dns[0]) || s->san_email ||
           s->san_uri;
}

static enum td_err lint_names(const struct x509_spec *s, const struct cert *issuer,
                              struct errinfo *ei)
{
    (void)issuer;
    if (!s->o || !*s->o)
        return err_set(ei, TD_INVAL, "the organisation is empty");
    if (s->cn && !*s->cn)
        return err_set(ei, TD_INVAL, "the common name is empty");
    for (const char *const *n = s->san_dns; n && *n; n++)
        if (!profile_host_valid(*n))
            return err_set(ei, TD_INVAL, "not a host name or address: %.80s", *n);
    if (!has_san(s) && !s->cn && !s->ocsp_nocheck)
        return err_set(ei, TD_INVAL, "the certificate names nobody");
    return TD_OK;
}

enum td_err profile_lint(const struct x509_spec *spec, const struct cert *issuer,
                         struct errinfo *ei)
{
    typedef enum td_err (*lint_fn)(const struct x509_spec *, const struct cert *, struct errinfo *);
    static const lint_fn rules[] = {lint_serial, lint_validity, lint_key, lint_usage, lint_names};
    for (size_t i = 0; i < TD_NITEMS(rules); i++)
        TD_TRY(rules[i](spec, issuer, ei));
    return TD_OK;
}
