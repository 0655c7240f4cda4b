#include "mdm/posture/fact.h"

#include <assert.h>
#include <stdio.h>

#include "mdm/base/str.h"
#include "mdm/base/words.h"

#define ATTESTATION "DevicePropertiesAttestation"
#define EXTERNAL_MAX 40 /* bytes behind the prefix */

#define MOBILE "ios ipados visionos watchos"
#define NOT_MAC "ios ipados tvos visionos watchos"

#define TEXT(said, value)                                                                          \
    {                                                                                              \
        (said), 0, (value)                                                                         \
    }
#define NUMBER(number, value)                                                                      \
    {                                                                                              \
        NULL, (number), (value)                                                                    \
    }
#define END                                                                                        \
    {                                                                                              \
        NULL, 0, NULL                                                                              \
    }
static const struct posture_map boot_proved[] = {TEXT("Full Security", "full"),
                                                 TEXT("Reduced Security", "medium"),
                                                 TEXT("Permissive Security", "off"), END};
static const struct posture_map boot_said[] = {TEXT("not supported", "unsupported"), END};
static const struct posture_map encryption_said[] = {NUMBER(1, "block"), NUMBER(2, "file"),
                                                     NUMBER(3, "both"), END};
static const struct posture_map sip_proved[] = {TEXT("enabled", "true"), TEXT("disabled", "false"),
                                                END};
static const struct posture_map kexts_proved[] = {TEXT("allowed", "true"),
                                                  TEXT("not-allowed", "false"), END};
/* Apple's schema has texts in ReducedSecurity. */
static const struct posture_map kexts_said[] = {TEXT("true", "true"), TEXT("false", "false"), END};

#define REPORTED(n, k, p, d, q, s)                                                                 \
    {                                                                                              \
        .name = (n), .kind = POSTURE_##k, .words = "", .platforms = (p), .doc = (d), .query = (q), \
        .security = (s)                                                                            \
    }

static const struct posture_fact facts[] = {
    REPORTED("activation_lock", BOOL, "ios ipados macos watchos", "Activation Lock is on",
             "IsActivationLockEnabled", NULL),
    REPORTED("apple_silicon", BOOL, "macos", "a Mac with Apple's own processor", "IsAppleSilicon",
             NULL),
    {.name = "build",
     .kind = POSTURE_TEXT,
     .words = "",
     .platforms = "",
     .doc = "the system's build (\"23E224\")",
     .query = "BuildVersion",
     .checkin = POSTURE_SAYS_BUILD},
    REPORTED("cloud_backup", BOOL, "ios ipados visionos", "iCloud Backup is on",
             "IsCloudBackupEnabled", NULL),
    REPORTED("device_locator", BOOL, MOBILE, "the device can be found with Find My",
             "IsDeviceLocatorServiceEnabled", NULL),
    REPORTED("diagnostic_submission", BOOL, MOBILE, "diagnostics are sent to Apple",
             "DiagnosticSubmissionEnabled", NULL),
    REPORTED(POSTURE_FACT_ENROLLED, BOOL, "", "the device is enrolled in management", NULL, NULL),
    REPORTED("enrolled_via_dep", BOOL, "macos", "enrolled by Automated Device Enrollment", NULL,
             "ManagementStatus.EnrolledViaDEP"),
    {.name = "external_boot",
     .kind = POSTURE_WORD,
     .words = "allowed disallowed unsupported",
     .platforms = "macos",
     .doc = "whether it starts from external disks",
     .map = boot_said,
     .security = "SecureBoot.ExternalBootLevel"},
    REPORTED("filevault", BOOL, "macos", "FileVault is on", NULL, "FDE_Enabled"),
    REPORTED("firewall", BOOL, "macos", "the application firewall is on", NULL,
             "FirewallSettings.FirewallEnabled"),
    REPORTED("firewall_block_all", BOOL, "macos", "the firewall blocks all incoming connections",
             NULL, "FirewallSettings.BlockAllIncoming"),
    REPORTED("firewall_stealth", BOOL, "macos", "the firewall is in stealth mode", NULL,
             "FirewallSettings.StealthMode"),
    REPORTED("firmware_password", BOOL, "macos", "a firmware password is set (Intel)", NULL,
             "FirmwarePasswordStatus.PasswordExists"),
    {.name = "hardware_encryption",
     .kind = POSTURE_WORD,
     .words = "block file both",
     .platforms = NOT_MAC,
     .doc = "what the hardware encrypts; data protection needs both",
     .map = encryption_said,
     .security = "HardwareEncryptionCaps"},
    {.name = "kexts",
     .kind = POSTURE_BOOL,
     .words = "",
     .platforms = "macos",
     .doc = "kernel extensions of others are allowed",
     .attested_map = kexts_proved,
     .map = kexts_said,
     .attested = "kexts",
     .security = "SecureBoot.ReducedSecurity.AllowsUserKextApproval"},
    REPORTED("lost_mode", BOOL, "ios ipados watchos", "Managed Lost Mode is on",
             "IsMDMLostModeEnabled", NULL),
    {.name = "os_version",
     .kind = POSTURE_VERSION,
     .words = "",
     .platforms = "",
     .doc = "the system's version",
     .attested = "os_version",
     .query = "OSVersion",
     .checkin = POSTURE_SAYS_OS},
    REPORTED("passcode_compliant", BOOL, MOBILE, "the passcode meets all requirements", NULL,
             "PasscodeCompliant"),
    REPORTED("passcode_compliant_profiles", BOOL, MOBILE,
             "the passcode meets the requirements of profiles", NULL,
             "PasscodeCompliantWithProfiles"),
    REPORTED("passcode_present", BOOL, MOBILE, "a passcode is set", NULL, "PasscodePresent"),
    {.name = "product",
     .kind = POSTURE_TEXT,
     .words = "",
     .platforms = "",
     .doc = "the product (\"iPhone15,2\")",
     .query = "ProductName",
     .checkin = POSTURE_SAYS_PRODUCT},
    REPORTED("recovery_key", BOOL, "macos", "FileVault has a personal recovery key", NULL,
             "FDE_HasPersonalRecoveryKey"),
    REPORTED("recovery_key_institutional", BOOL, "macos",
             "FileVault has an institutional recovery key", NULL,
             "FDE_HasInstitutionalRecoveryKey"),
    REPORTED("recovery_lock", BOOL, "macos", "recoveryOS asks for a password (Apple silicon)", NULL,
             "IsRecoveryLockEnabled"),
    REPORTED("remote_desktop", BOOL, "macos", "Remote Desktop is on", NULL, "RemoteDesktopEnabled"),
    REPORTED("sealed_volume", BOOL, "macos", "the system's volume is sealed", NULL,
             "AuthenticatedRootVolumeEnabled"),
    {.name = "secure_boot",
     .kind = POSTURE_WORD,
     .words = "full medium off unsupported",
     .platforms = "macos",
     .doc = "Secure Boot: full, reduced (medium) or permissive (off)",
     .attested_map = boot_proved,
     .map = boot_said,
     .attested = "secure_boot",
     .security = "SecureBoot.SecureBootLevel"},
    REPORTED(POSTURE_FACT_SEEN, BOOL, "",
             "true, as old as the device's last word: for rules with max_age and unknown", NULL,
             NULL),
    {.name = "sip",
     .kind = POSTURE_BOOL,
     .words = "",
     .platforms = "macos",
     .doc = "System Integrity Protection is on",
     .attested_map = sip_proved,
     .attested = "sip",
     .query = "SystemIntegrityProtectionEnabled",
     .security = "SystemIntegrityProtectionEnabled"},
    REPORTED("supervised", BOOL, "", "the device is supervised", "IsSupervised", NULL),
    REPORTED("supplemental_build", TEXT, "", "the build of a Rapid Security Response",
             "SupplementalBuildVersion", NULL),
    REPORTED("user_approved", BOOL, "macos", "the user approved the enrolment", NULL,
             "ManagementStatus.UserApprovedEnrollment"),
    REPORTED("user_enrollment", BOOL, "ios ipados macos visionos",
             "a user's own device (User Enrollment)", NULL, "ManagementStatus.IsUserEnrollment"),
};

static_assert(TD_NITEMS(facts) <= POSTURE_FACTS_MAX, "more facts than callers have room for");

static const struct posture_fact external = {
    .name = POSTURE_EXTERNAL_PREFIX,
    .kind = POSTURE_BOOL,
    .words = "",
    .platforms = "",
    .doc = "what another system says through the API",
};

const char *posture_source_name(enum posture_source s)
{
    static const char *const names[] = {"attested", "reported", "external", "observed"};
    return (unsigned)s < TD_NITEMS(names) ? names[s] : "";
}

const char *posture_kind_name(enum posture_kind k)
{
    static const char *const names[] = {"boolean", "word", "version", "text"};
    return (unsigned)k < TD_NITEMS(names) ? names[k] : "";
}

const struct posture_fact *posture_fact_at(size_t i)
{
    return i < TD_NITEMS(facts) ? &facts[i] : NULL;
}

bool posture_name(struct span s, size_t max)
{
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_')
            return false;
    }
    return s.n > 0 && s.n <= max;
}

const struct posture_fact *posture_fact_find(struct span name)
{
    struct span prefix = SPAN_LIT(POSTURE_EXTERNAL_PREFIX);
    if (span_starts(name, prefix))
        return posture_name(span_sub(name, prefix.n, name.n), EXTERNAL_MAX) ? &external : NULL;
    for (size_t i = 0; i < TD_NITEMS(facts); i++)
        if (span_eq_str(name, facts[i].name))
            return &facts[i];
    return NULL;
}

/* --- values --- */

static bool printable(struct span s)
{
    if (s.n == 0 || s.n > POSTURE_VALUE_MAX || s.p[0] == ' ' || s.p[s.n - 1] == ' ')
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 0x20 || s.p[i] > 0x7e)
            return false;
    return true;
}

/* "14" is "14.0", and so is "14.0.0": Apple writes two numbers at least. */
static void version_form(struct span text, char out[static POSTURE_VALUE_MAX + 1])
{
    struct span rest = text, number[4] = {{NULL, 0}};
    size_t n = 0, at = 0;
    while (rest.p && n < TD_NITEMS(number))
        number[n++] = str_cut(&rest, '.');
    while (n > 2 && span_eq_str(number[n - 1], "0"))
        n--;
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(out + at, POSTURE_VALUE_MAX + 1 - at, "%s%.*s", i ? "." : "",
                               (int)number[i].n, (const char *)number[i].p);
    if (n == 1)
        snprintf(out + at, POSTURE_VALUE_MAX + 1 - at, ".0");
}

bool posture_value(const struct posture_fact *f, struct span text,
                   char out[static POSTURE_VALUE_MAX + 1])
{
    bool fits = printable(text);
    if (fits && f->kind == POSTURE_BOOL)
        fits = span_eq_str(text, "true") || span_eq_str(text, "false");
    else if (fits && f->kind == POSTURE_WORD)
        fits = words_has(span_str(f->words), text);
    else if (fits && f->kind == POSTURE_VERSION)
        version_cmp(text, text, &fits);
    if (fits && f->kind == POSTURE_VERSION)
        version_form(text, out);
    else if (fits)
        snprintf(out, POSTURE_VALUE_MAX + 1, "%.*s", (int)text.n, (const char *)text.p);
    return fits;
}

/* --- what is said --- */

/* Where observations go: at most one of each fact. */
struct out {
    enum posture_source source;
    int64_t at;
    struct arena *a;
    struct posture_obs *rows;
    size_t n;
};

static void add(struct out *o, const struct posture_fact *f, const char *value)
{
    o->rows[o->n++] =
        (struct posture_obs){.name = f->name, .source = o->source, .value = value, .at = o->at};
}

/* A text in Apple's words, or in our form. */
static enum td_err say_text(struct out *o, const struct posture_fact *f, const char *text)
{
    bool proved = o->source == POSTURE_ATTESTED && f->attested_map;
    char value[POSTURE_VALUE_MAX + 1];
    for (const struct posture_map *m = proved ? f->attested_map : f->map; m && m->value; m++) {
        if (m->said && strcmp(m->said, text) == 0) {
            add(o, f, m->value);
            return TD_OK;
        }
    }
    if (proved || f->kind == POSTURE_BOOL || !posture_value(f, span_str(text), value))
        return TD_OK;
    const char *kept = arena_strdup(o->a, value);
    if (!kept)
        return TD_NOMEM;
    add(o, f, kept);
    return TD_OK;
}

/* The dict that has a member: `p`, or where Apple has an array (ReducedSecurity) the first of its
 * elements. */
static const struct plist *with(const struct plist *p, const char *key)
{
    if (plist_get(p, key))
        return p;
    for (size_t i = 0; p && plist_type(p) == PLIST_T_ARRAY && i < plist_count(p); i++)
        if (plist_get(plist_at(p, i), key))
            return plist_at(p, i);
    return NULL;
}

/* What a dict says at a dotted path. */
static enum td_err say_member(struct out *o, const struct posture_fact *f, const struct plist *p,
                              const char *path)
{
    struct span rest = span_str(path);
    char key[64];
    for (;;) {
        struct span word = str_cut(&rest, '.');
        snprintf(key, sizeof key, "%.*s", (int)word.n, (const char *)word.p);
        p = with(p, key);
        if (!rest.p)
            break;
        p = plist_get(p, key);
    }
    bool yes = false;
    int64_t number = 0;
    const char *text = NULL;
    if (f->kind == POSTURE_BOOL && plist_bool(p, key, &yes) == TD_OK) {
        add(o, f, yes ? "true" : "false");
        return TD_OK;
    }
    if (plist_int(p, key, &number) == TD_OK) {
        for (const struct posture_map *m = f->map; m && m->value; m++)
            if (!m->said && m->number == number)
                add(o, f, m->value);
        return TD_OK;
    }
    enum td_err e = plist_str(p, key, o->a, &text);
    if (e == TD_NOTFOUND || e == TD_PARSE)
        return TD_OK;
    return e == TD_OK ? say_text(o, f, text) : e;
}

enum td_err posture_facts_report(const char *request_type, const struct plist *report, int64_t at,
                                 struct arena *a, struct posture_obs *ret, size_t *ret_n)
{
    struct out o = {POSTURE_REPORTED, at, a, ret, 0};
    bool security = strcmp(request_type, "SecurityInfo") == 0;
    *ret_n = 0;
    if (!security && strcmp(request_type, "DeviceInformation") != 0)
        return TD_OK;
    const struct plist *said = plist_get(report, security ? "SecurityInfo" : "QueryResponses");
    for (size_t i = 0; i < TD_NITEMS(facts); i++) {
        const char *path = security ? facts[i].security : facts[i].query;
        if (path)
            TD_TRY(say_member(&o, &facts[i], said, path));
    }
    *ret_n = o.n;
    return TD_OK;
}

enum td_err posture_facts_chain(const struct plist *report, struct arena *a, struct span *ret,
                                size_t max, size_t *ret_n)
{
    const struct plist *list = plist_get(plist_get(report, "QueryResponses"), ATTESTATION);
    size_t n = plist_count(list);
    *ret_n = 0;
    if (!list || plist_type(list) != PLIST_T_ARRAY || n > max)
        return TD_OK;
    for (size_t i = 0; i < n; i++) {
        enum td_err e = plist_data_val(plist_at(list, i), a, &ret[i]);
        if (e != TD_OK)
            return e == TD_NOMEM ? e : TD_OK;
    }
    *ret_n = n;
    return TD_OK;
}

enum td_err posture_facts_evidence(const struct json *evidence, int64_t at, struct arena *a,
                                   struct posture_obs *ret, size_t *ret_n)
{
    struct out o = {POSTURE_ATTESTED, at, a, ret, 0};
    *ret_n = 0;
    for (size_t i = 0; i < TD_NITEMS(facts); i++) {
        const char *name = facts[i].attested;
        const char *text = name ? json_str(json_member(evidence, name)) : NULL;
        if (text)
            TD_TRY(say_text(&o, &facts[i], text));
    }
    *ret_n = o.n;
    return TD_OK;
}

enum td_err posture_facts_checkin(const char *os_version, const char *build, const char *product,
                                  int64_t at, struct arena *a, struct posture_obs *ret,
                                  size_t *ret_n)
{
    const char *const texts[] = {[POSTURE_SAYS_OS] = os_version,
                                 [POSTURE_SAYS_BUILD] = build,
                                 [POSTURE_SAYS_PRODUCT] = product};
    struct out o = {POSTURE_REPORTED, at, a, ret, 0};
    *ret_n = 0;
    for (size_t i = 0; i < TD_NITEMS(facts); i++) {
        const char *text = texts[facts[i].checkin];
        if (text)
            TD_TRY(say_text(&o, &facts[i], text));
    }
    *ret_n = o.n;
    return TD_OK;
}

/* --- asking --- */

static struct plist *command(struct arena *a, const char *type)
{
    struct plist *c = plist_new_dict(a);
    return c && plist_set_str(c, "RequestType", type) == TD_OK ? c : NULL;
}

struct plist *posture_query_device(struct span nonce, struct arena *a)
{
    struct plist *c = command(a, "DeviceInformation");
    struct plist *list = c ? plist_add_array(c, "Queries") : NULL;
    for (size_t i = 0; list && i < TD_NITEMS(facts); i++)
        if (facts[i].query && plist_push_str(list, facts[i].query) != TD_OK)
            list = NULL;
    if (list && nonce.n &&
        (plist_push_str(list, ATTESTATION) != TD_OK ||
         plist_set_data(c, "DeviceAttestationNonce", nonce) != TD_OK))
        list = NULL;
    return list ? c : NULL;
}

struct plist *posture_query_security(struct arena *a)
{
    return command(a, "SecurityInfo");
}
