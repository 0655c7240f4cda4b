#include "acme/signer/proto/profile_conf.h"

#include "mdm/base/conf.h"
#include "mdm/base/str.h"

#define HOUR INT64_C(3600)
#define DAY (24 * HOUR)
#define LIFE_MIN HOUR
#define MANAGEMENT_MAX (825 * DAY)
#define ACCESS_MAX (398 * DAY)

#define AT(member) offsetof(struct profile_conf, member)
#define STR(s, k, member, value, text)                                                             \
    {                                                                                              \
        .section = (s), .key = (k), .type = CONF_STR, .offset = AT(member), .dflt = (value),       \
        .doc = (text)                                                                              \
    }
#define BOOL(s, k, member, value, text)                                                            \
    {                                                                                              \
        .section = (s), .key = (k), .type = CONF_BOOL, .offset = AT(member), .dflt = (value),      \
        .doc = (text)                                                                              \
    }

static const struct conf_key keys[] = {
    {.section = "profile",
     .key = "purpose",
     .type = CONF_ENUM,
     .offset = AT(purpose),
     .dflt = "access",
     .choices = "management access",
     .doc = "management: the device talks to this server; access: it opens Wi-Fi, VPN, services"},
    {.section = "profile",
     .key = "lifetime",
     .type = CONF_DURATION,
     .offset = AT(life),
     .dflt = "0",
     .min = 0,
     .max = MANAGEMENT_MAX,
     .doc = "0: the lifetime of the purpose in ca.ini"},
    {.section = "profile",
     .key = "renew_at",
     .type = CONF_INT,
     .offset = AT(renew),
     .dflt = "66",
     .min = 1,
     .max = 95,
     .doc = "percent of the life behind which it is renewed"},
    BOOL("profile", "attestation", attestation, "yes", "a verified attestation is needed"),
    STR("profile", "keys", keys, "p256 p384", "kinds of key: p256, p384"),
    BOOL("profile", "serial", serial, "yes",
         "whether serial number and UDID may stand in the certificate"),
    BOOL("profile", "testing", testing, "no", "allows lifetimes under an hour, for tests"),
    STR("subject", "cn", text[PROFILE_CN], "", "template of the common name"),
    STR("subject", "ou", text[PROFILE_OU], "", "template of the organizational unit"),
    STR("san", "permanent_identifier", text[PROFILE_ID], "", "template, RFC 4043"),
    STR("san", "hardware_module", hardware, "",
        "hwType (an OID) of a HardwareModuleName, RFC 4108, with the attested serial number"),
    STR("san", "dns", text[PROFILE_DNS], "", "template of a DNS name"),
    STR("san", "email", text[PROFILE_EMAIL], "", "template of a mail address"),
    STR("san", "uri", text[PROFILE_URI], "", "template of a URI, also spiffe://"),
    STR("usage", "eku", eku_text, "clientAuth",
        "purposes: clientAuth, serverAuth, emailProtection or OIDs, separated by blanks"),
    STR("facts", "oid", facts_oid, "", "of the extension with attested facts; empty: none"),
    STR("facts", "names", facts_text, "os_version sip secure_boot kexts",
        "the facts in it, as far as they are attested"),
};

static const struct conf_table table = {keys, TD_NITEMS(keys)};

#define BUILTIN(n)                                                                                 \
    {                                                                                              \
        .name = (n), .purpose = (n), .renew = 66, .attestation = true, .keys = "p256 p384",        \
        .text = {"{serial}", "", "{serial}", "", "", ""}, .hardware = "",                          \
        .eku_text = "clientAuth", .eku = {"1.3.6.1.5.5.7.3.2"}, .serial = true, .facts_oid = "",   \
        .facts_text = "", .built_in = true                                                         \
    }

const struct profile_conf *profile_conf_builtin(size_t i)
{
    static const struct profile_conf all[] = {BUILTIN("management"), BUILTIN("access")};
    return i < TD_NITEMS(all) ? &all[i] : NULL;
}

bool profile_conf_name_valid(struct span name)
{
    if (name.n == 0 || name.n > PROFILE_NAME_MAX || !(name.p[0] >= 'a' && name.p[0] <= 'z'))
        return false;
    for (size_t i = 0; i < name.n; i++) {
        uint8_t c = name.p[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-')
            return false;
    }
    return true;
}

/* The next word of a list; empty behind the last. */
static struct span word(struct span *rest)
{
    struct span w;
    do
        w = str_cut(rest, ' ');
    while (w.n == 0 && rest->p);
    return w;
}

static bool dotted(struct span s)
{
    bool digit = false;
    size_t dots = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '.' ? !digit : s.p[i] < '0' || s.p[i] > '9')
            return false;
        digit = s.p[i] != '.';
        dots += !digit;
    }
    return digit && dots >= 2 && s.n < PROFILE_OID_MAX;
}

/* A delegated responder, a code signer or "anything" is nothing that a device may become. */
static enum td_err one_eku(struct span w, struct arena *a, const char **ret, struct errinfo *ei)
{
    static const struct {
        const char *name, *oid;
    } known[] = {{"clientAuth", "1.3.6.1.5.5.7.3.2"},
                 {"serverAuth", "1.3.6.1.5.5.7.3.1"},
                 {"emailProtection", "1.3.6.1.5.5.7.3.4"}};
    static const char *const never[] = {"1.3.6.1.5.5.7.3.3", "1.3.6.1.5.5.7.3.8",
                                        "1.3.6.1.5.5.7.3.9", "2.5.29.37.0"};
    for (size_t i = 0; i < TD_NITEMS(known); i++)
        if (span_eq_str(w, known[i].name)) {
            *ret = known[i].oid;
            return TD_OK;
        }
    for (size_t i = 0; i < TD_NITEMS(never); i++)
        if (span_eq_str(w, never[i]))
            return err_set(ei, TD_INVAL, "eku: %s is for no device", never[i]);
    if (!dotted(w))
        return err_set(ei, TD_INVAL, "eku: neither a known purpose nor an OID: %.*s", (int)w.n,
                       (const char *)w.p);
    *ret = arena_dup(a, w);
    return *ret ? TD_OK : err_set(ei, TD_NOMEM, "no memory");
}

static bool has_eku(const struct profile_conf *p, const char *oid)
{
    for (size_t i = 0; p->eku[i]; i++)
        if (strcmp(p->eku[i], oid) == 0)
            return true;
    return false;
}

static enum td_err read_eku(struct profile_conf *p, struct arena *a, struct errinfo *ei)
{
    struct span rest = span_str(p->eku_text), w;
    size_t n = 0;
    while ((w = word(&rest)).n > 0) {
        const char *oid = NULL;
        TD_TRY(one_eku(w, a, &oid, ei));
        if (has_eku(p, oid))
            return err_set(ei, TD_INVAL, "eku: %s stands there twice", oid);
        if (n == PROFILE_EKU_MAX)
            return err_set(ei, TD_INVAL, "eku: more than %d", PROFILE_EKU_MAX);
        p->eku[n++] = oid;
    }
    bool client = has_eku(p, "1.3.6.1.5.5.7.3.2"), server = has_eku(p, "1.3.6.1.5.5.7.3.1");
    if (n == 0)
        return err_set(ei, TD_INVAL, "eku: at least one purpose");
    if (strcmp(p->purpose, "management") == 0 && !client)
        return err_set(ei, TD_INVAL, "eku: a management identity needs clientAuth");
    if (span_starts(span_str(p->text[PROFILE_URI]), SPAN_LIT("spiffe:")) && !(client && server))
        return err_set(ei, TD_INVAL, "eku: an X509-SVID has both clientAuth and serverAuth");
    return TD_OK;
}

static enum td_err read_facts(struct profile_conf *p, struct errinfo *ei)
{
    struct span rest = span_str(p->facts_text), w;
    if (!*p->facts_oid)
        return TD_OK;
    if (!dotted(span_str(p->facts_oid)))
        return err_set(ei, TD_INVAL, "[facts] oid is not an OID");
    while ((w = word(&rest)).n > 0) {
        enum profile_fact_id id = profile_fact_find(w);
        if (id > FACT_KEXTS)
            return err_set(ei, TD_INVAL, "[facts] names: %.*s is nothing a device attests",
                           (int)w.n, (const char *)w.p);
        if (!p->serial && (id == FACT_SERIAL || id == FACT_UDID))
            return err_set(ei, TD_INVAL, "[facts] names: serial = no forbids %s",
                           profile_fact_name(id));
        p->facts |= 1U << id;
    }
    return p->facts ? TD_OK : err_set(ei, TD_INVAL, "[facts] names is empty");
}

static enum td_err read_keys(const struct profile_conf *p, struct errinfo *ei)
{
    struct span rest = span_str(p->keys), w;
    size_t n = 0;
    for (; (w = word(&rest)).n > 0; n++)
        if (!span_eq_str(w, "p256") && !span_eq_str(w, "p384"))
            return err_set(ei, TD_INVAL, "keys: p256 and p384 are what a Secure Enclave makes");
    return n ? TD_OK : err_set(ei, TD_INVAL, "keys: at least one kind");
}

/* Nobody is named by the organization alone. */
static enum td_err read_texts(struct profile_conf *p, struct errinfo *ei)
{
    bool named = false;
    if (p->serial && !*p->text[PROFILE_CN])
        p->text[PROFILE_CN] = "{serial}";
    if (p->serial && !*p->text[PROFILE_ID])
        p->text[PROFILE_ID] = "{serial}";
    for (unsigned f = 0; f < PROFILE_FIELDS; f++) {
        TD_TRY(profile_text_check((enum profile_field)f, p->text[f], p->serial, ei));
        named = named || (f != PROFILE_OU && *p->text[f]);
    }
    return named ? TD_OK : err_set(ei, TD_INVAL, "neither cn nor [san] names the device");
}

/* A hardware module's name is what the hardware proved. */
static enum td_err read_hardware(const struct profile_conf *p, struct errinfo *ei)
{
    if (!*p->hardware)
        return TD_OK;
    if (!dotted(span_str(p->hardware)))
        return err_set(ei, TD_INVAL, "hardware_module: not an OID: %.80s", p->hardware);
    if (!p->attestation || !p->serial)
        return err_set(ei, TD_INVAL, "hardware_module needs attestation = yes and serial = yes");
    return TD_OK;
}

static enum td_err read_life(const struct profile_conf *p, struct errinfo *ei)
{
    bool management = strcmp(p->purpose, "management") == 0;
    if (p->life == 0)
        return TD_OK;
    if (p->life < (p->testing ? 1 : LIFE_MIN))
        return err_set(ei, TD_INVAL, "lifetime: at least an hour, but with testing = yes");
    if (!management && p->life > ACCESS_MAX)
        return err_set(ei, TD_INVAL, "lifetime: at most 398d for an access identity");
    return TD_OK;
}

enum td_err profile_conf_parse(const char *name, struct span text, struct arena *a,
                               struct profile_conf *ret, struct errinfo *ei)
{
    struct profile_conf p = {0};
    if (!profile_conf_name_valid(span_str(name)))
        return err_set(ei, TD_INVAL, "a profile's name has a-z, 0-9 and '-': %.40s", name);
    TD_TRY(conf_parse(&table, text, a, &p, ei));
    p.name = arena_strdup(a, name);
    if (!p.name)
        return err_set(ei, TD_NOMEM, "no memory");
    for (size_t i = 0; profile_conf_builtin(i); i++)
        if (strcmp(name, profile_conf_builtin(i)->name) == 0 && strcmp(name, p.purpose) != 0)
            return err_set(ei, TD_INVAL, "the profile %s has the purpose %s", name, name);
    TD_TRY(read_life(&p, ei));
    TD_TRY(read_keys(&p, ei));
    TD_TRY(read_texts(&p, ei));
    TD_TRY(read_hardware(&p, ei));
    TD_TRY(read_eku(&p, a, ei));
    TD_TRY(read_facts(&p, ei));
    *ret = p;
    return TD_OK;
}

enum td_err profile_conf_show(const struct profile_conf *p, struct buf *b)
{
    return conf_show(&table, p, false, b);
}
