#include "acme/signer/issue.h"

#include "acme/signer/profile_device.h"
#include "acme/signer/proto/issuer_life.h"
#include "mdm/crypt/cms.h"

void issuer_init(struct issuer *is, const struct cadir *ca, struct audit_log *audit,
                 const struct clock *clock, struct rng *rng)
{
    *is = (struct issuer){.ca = ca, .audit = audit, .clock = clock, .rng = rng};
    is->bucket = (struct issue_bucket){(int64_t)ISSUE_RATE * 1000, clock_mono(clock)};
}

bool issue_bucket_take(struct issue_bucket *b, int64_t now_ms, int64_t rate)
{
    int64_t cap = rate * 1000, passed = now_ms > b->at_ms ? now_ms - b->at_ms : 0;
    /* `rate` tokens a second are `rate` thousandths a millisecond */
    b->tokens_milli = passed > 1000 ? cap : b->tokens_milli + passed * rate;
    if (b->tokens_milli > cap)
        b->tokens_milli = cap;
    b->at_ms = now_ms;
    if (b->tokens_milli < 1000)
        return false;
    b->tokens_milli -= 1000;
    return true;
}

/* Where the issuer's own certificate can be had: in the configured URL {issuer} stands for its
 * identifier. URLs of before there were several end in /ca/issuing.crt and mean the same. */
static enum td_err issuer_url(const struct cadir_issuing *by, const char **url, struct arena *a,
                              struct errinfo *ei)
{
    static const char *const forms[] = {"{issuer}", "issuing.crt"};
    const char *at = strstr(*url, forms[0]), *behind = at ? at + strlen(forms[0]) : "";
    struct span s = span_str(*url), tail = SPAN_LIT("/ca/issuing.crt");
    if (!at && s.n > tail.n && span_eq(span_sub(s, s.n - tail.n, tail.n), tail)) {
        at = *url + s.n - strlen(forms[1]);
        behind = ".crt";
    }
    if (!at)
        return TD_OK;
    *url = arena_printf(a, "%.*s%s%s", (int)(at - *url), *url, by->hex, behind);
    return *url ? TD_OK : err_set(ei, TD_NOMEM, "no memory");
}

/* The part of the CRL that this serial number is in, for good. */
static enum td_err crl_point(const struct issuer *is, const struct cadir_issuing *by,
                             struct x509_spec *spec, struct arena *a, struct errinfo *ei)
{
    char *uri = arena_alloc(a, SIGNER_MSG_URI_SIZE);
    if (!uri)
        return err_set(ei, TD_NOMEM, "no memory");
    unsigned shard = signer_msg_crl_shard(spec->serial, (unsigned)is->ca->conf.crl_shards);
    if (signer_msg_crl_uri(span_str(is->ca->conf.crl_url), by->hex, shard, uri))
        spec->crl_dp = uri;
    return TD_OK;
}

/* The last steps, the same for all: the CA's life, lint, build, the audit line. */
static enum td_err make(struct issuer *is, const struct cadir_issuing *by, struct x509_spec *spec,
                        struct audit_entry *line, bool crl, struct arena *a, struct span *ret_der,
                        struct errinfo *ei)
{
    TD_TRY(issuer_life(by->cert, line->at, ei));
    uint8_t *serial = arena_alloc(a, PROFILE_SERIAL_SIZE);
    if (!serial)
        return err_set(ei, TD_NOMEM, "no memory");
    profile_serial(is->rng, serial);
    spec->serial = span_of(serial, PROFILE_SERIAL_SIZE);
    line->serial = spec->serial;
    if (spec->aia_ca_issuers)
        TD_TRY(issuer_url(by, &spec->aia_ca_issuers, a, ei));
    if (crl)
        TD_TRY(crl_point(is, by, spec, a, ei));
    else /* not recorded: OCSP knows no status of it, and some clients take that ill */
        spec->aia_ocsp = NULL;
    /* a CA signed elsewhere may have begun this very minute */
    if (spec->not_before < cert_not_before(by->cert))
        spec->not_before = cert_not_before(by->cert);
    TD_TRY(profile_lint(spec, by->cert, ei));
    struct span spki, der;
    TD_TRY(key_spki(spec->public_key, a, &spki, ei));
    digest_sha256(spki, line->spki_sha256);
    TD_TRY(x509_build(spec, by->cert, by->key, a, &der, ei));
    TD_TRY(audit_log_add(is->audit, line, ei));
    *ret_der = der;
    return TD_OK;
}

enum td_err issue_cert(struct issuer *is, const struct cadir_issuing *by, const struct profile *p,
                       const struct profile_subject *who, struct span evidence, struct arena *a,
                       struct span *ret_der, struct errinfo *ei)
{
    struct profile_subject subject = *who;
    subject.now = clock_now(is->clock);
    struct x509_spec spec;
    profile_spec(p, &is->ca->conf, &subject, &spec);
    /* a responder serves to the last day of its CA */
    if (p->nocheck && spec.not_after > cert_not_after(by->cert))
        spec.not_after = cert_not_after(by->cert);
    struct audit_entry line = {
        .at = subject.now,
        .profile = p->name,
        .subject = who->name ? who->name : "",
        .evidence_sha256 = evidence,
    };
    return make(is, by, &spec, &line, false, a, ret_der, ei);
}

enum td_err issue_handle(struct issuer *is, const struct signer_msg_issue *m, struct arena *a,
                         struct signer_msg_signed *ret, struct errinfo *ei)
{
    const struct profile_conf *p = profile_set_find(&is->ca->profiles, m->profile);
    if (!p)
        return err_reason(ei, TD_UNSUPPORTED, "profile-unknown", "no such certificate profile");
    TD_TRY(profile_device_check(p, m, ei));
    TD_TRY(ber_guard(m->spki, ei));
    key_auto *key = NULL;
    TD_TRY(key_from_spki_known(m->spki, &key, ei));
    int64_t now = clock_now(is->clock);
    struct x509_spec spec;
    TD_TRY(profile_device_spec(p, &is->ca->conf, m, key, now, a, &spec, ei));
    const char *serial = arena_dup(a, m->device_serial);
    if (!serial)
        return err_set(ei, TD_NOMEM, "no memory");
    if (!issue_bucket_take(&is->bucket, clock_mono(is->clock), ISSUE_RATE))
        return err_reason(ei, TD_BUSY, "rate", "too many certificates a second");
    struct audit_entry line = {
        .at = now,
        .profile = p->name,
        .subject = serial,
        .evidence_sha256 = SPAN_ARR(m->evidence_sha256),
    };
    const struct cadir_issuing *by = &is->ca->issuing[0];
    memcpy(ret->issuer, by->id, sizeof ret->issuer);
    return make(is, by, &spec, &line, true, a, &ret->der, ei);
}
