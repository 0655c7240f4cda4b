#include "acme/signer/profile_device.h"

#include "acme/signer/profile.h"
#include "mdm/base/str.h"

static bool all_zero(const uint8_t *p, size_t n)
{
    uint8_t any = 0;
    for (size_t i = 0; i < n; i++)
        any |= p[i];
    return any == 0;
}

/* The serial number is that of the request, whoever says what. */
enum td_err profile_device_check(const struct profile_conf *p, const struct signer_msg_issue *m,
                                 struct errinfo *ei)
{
    struct span said = m->facts.of[FACT_SERIAL].value;
    if (!str_device_serial(m->device_serial) || (said.n && !span_eq(said, m->device_serial)))
        return err_reason(ei, TD_INVAL, "device-serial", "the device's serial number is not valid");
    if (p->attestation && all_zero(m->evidence_sha256, SHA256_SIZE))
        return err_reason(ei, TD_FORBIDDEN, "evidence-missing",
                          "this profile needs evidence and none is named");
    return TD_OK;
}

static enum td_err check_key(const struct profile_conf *p, const struct key *key,
                             struct errinfo *ei)
{
    static const struct {
        enum key_type type;
        const char *name;
    } kinds[] = {{KEY_P256, "p256"}, {KEY_P384, "p384"}};
    for (size_t i = 0; i < TD_NITEMS(kinds); i++)
        if (key_type(key) == kinds[i].type && strstr(p->keys, kinds[i].name))
            return TD_OK;
    return err_reason(ei, TD_UNSUPPORTED, "key-unsupported", "the profile takes keys of %s alone",
                      p->keys);
}

static int64_t life(const struct profile_conf *p, const struct cadir_conf *conf)
{
    if (p->life)
        return p->life;
    return strcmp(p->purpose, "management") == 0 ? conf->management_life : conf->access_life;
}

/* What the device attested, tagged with the numbers of enum profile_fact_id. */
static enum td_err tagged(const struct profile_conf *p, const struct profile_facts *facts,
                          struct arena *a, struct x509_spec *s, struct errinfo *ei)
{
    if (!p->facts)
        return TD_OK;
    struct x509_tagged *list = arena_alloc(a, FACT_MAX * sizeof *list);
    if (!list)
        return err_set(ei, TD_NOMEM, "no memory");
    size_t n = 0;
    for (unsigned i = 0; i < FACT_MAX; i++) {
        const struct profile_fact *f = &facts->of[i];
        if ((p->facts >> i & 1) && f->value.n && f->source == FACT_FROM_EVIDENCE)
            list[n++] = (struct x509_tagged){(uint8_t)i, f->value};
    }
    s->tagged = list;
    s->ntagged = n;
    s->tagged_oid = n ? p->facts_oid : NULL;
    return TD_OK;
}

/* The inventory's word does not make a hardware module's name. */
static enum td_err hardware(const struct profile_conf *p, const struct profile_facts *facts,
                            struct x509_spec *s, struct errinfo *ei)
{
    const struct profile_fact *serial = &facts->of[FACT_SERIAL];
    if (!*p->hardware)
        return TD_OK;
    if (serial->source != FACT_FROM_EVIDENCE)
        return err_reason(ei, TD_FORBIDDEN, "fact-missing",
                          "the certificate's hardware_module needs an attested serial number");
    s->san_hw_type = p->hardware;
    s->san_hw_serial = serial->value;
    return TD_OK;
}

static const char *uri(const char *s)
{
    return s && *s ? s : NULL;
}

enum td_err profile_device_spec(const struct profile_conf *p, const struct cadir_conf *conf,
                                const struct signer_msg_issue *m, const struct key *key,
                                int64_t now, struct arena *a, struct x509_spec *ret,
                                struct errinfo *ei)
{
    struct profile_facts facts = m->facts;
    const char *text[PROFILE_FIELDS];
    TD_TRY(profile_device_check(p, m, ei));
    if (facts.of[FACT_SERIAL].value.n == 0)
        profile_fact_set(&facts, FACT_SERIAL, m->device_serial, FACT_FROM_INVENTORY);
    TD_TRY(check_key(p, key, ei));
    for (unsigned f = 0; f < PROFILE_FIELDS; f++)
        TD_TRY(profile_text_expand((enum profile_field)f, p->text[f], &facts, a, &text[f], ei));
    const char **dns = arena_alloc(a, 2 * sizeof *dns);
    if (!dns)
        return err_set(ei, TD_NOMEM, "no memory");
    dns[0] = text[PROFILE_DNS];
    dns[1] = NULL;
    if (dns[0] && !profile_host_valid(dns[0]))
        return err_reason(ei, TD_FORBIDDEN, "fact-unfit", "not a host name: %.80s", dns[0]);
    *ret = (struct x509_spec){
        .cn = text[PROFILE_CN],
        .ou = text[PROFILE_OU],
        .o = conf->org,
        .not_before = now - PROFILE_BACKDATE,
        .not_after = now + life(p, conf),
        .public_key = key,
        .key_usage = X509_KU_DIGITAL_SIGNATURE,
        .eku = (const char *const *)p->eku,
        .path_len = -1,
        .san_permanent_id = text[PROFILE_ID],
        .san_dns = dns[0] ? (const char *const *)dns : NULL,
        .san_email = text[PROFILE_EMAIL],
        .san_uri = text[PROFILE_URI],
        .aia_ocsp = uri(conf->ocsp_url),
        .aia_ca_issuers = uri(conf->aia_url),
    };
    TD_TRY(hardware(p, &facts, ret, ei));
    return tagged(p, &facts, a, ret, ei);
}
