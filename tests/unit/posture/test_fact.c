/* Facts: the table, the one form of values, and what each source says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "mdm/base/str.h"
#include "mdm/base/words.h"
#include "mdm/posture/fact.h"

#define AT 1700000000

static void test_table(void **state)
{
    (void)state;
    const struct posture_fact *f, *last = NULL;
    size_t n = 0;
    for (; (f = posture_fact_at(n)); n++, last = f) {
        if (last && strcmp(last->name, f->name) >= 0)
            fail_msg("%s stands behind %s", f->name, last->name);
        if (posture_fact_find(span_str(f->name)) != f)
            fail_msg("%s is not found", f->name);
        if (!posture_name(span_str(f->name), POSTURE_NAME_MAX) || !*f->doc)
            fail_msg("%s: name or doc", f->name);
        bool ours =
            strcmp(f->name, POSTURE_FACT_ENROLLED) == 0 || strcmp(f->name, POSTURE_FACT_SEEN) == 0;
        if (ours == (f->attested || f->query || f->security))
            fail_msg("%s: said by a device, or by the server", f->name);
        if ((f->kind == POSTURE_WORD) != (*f->words != '\0'))
            fail_msg("%s: words are for that kind", f->name);
        struct span rest = span_str(f->platforms), w;
        while ((w = words_next(&rest)).n > 0)
            if (!words_platform(w))
                fail_msg("%s: platform %.*s", f->name, (int)w.n, (const char *)w.p);
        for (const struct posture_map *m = f->map; m && m->value; m++) {
            char form[POSTURE_VALUE_MAX + 1];
            if (!posture_value(f, span_str(m->value), form))
                fail_msg("%s: %s is no value of it", f->name, m->value);
        }
    }
    assert_in_range(n, 25, POSTURE_FACTS_MAX);
    assert_null(posture_fact_at(SIZE_MAX));
}

static void test_find(void **state)
{
    (void)state;
#define TEN "a-z_012345"
    static const struct {
        const char *name;
        bool known;
    } rows[] = {
        {"filevault", true},
        {"FileVault", false},
        {"filevault ", false},
        {"", false},
        {"external", false},
        {"external.", false},
        {"external.edr-healthy_2", true},
        {"external.A", false},
        {"external.a.b", false},
        {"external.a b", false},
        {"external." TEN TEN TEN TEN, true},
        {"external." TEN TEN TEN TEN "x", false},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++)
        if ((posture_fact_find(span_str(rows[i].name)) != NULL) != rows[i].known)
            fail_msg("'%s'", rows[i].name);
    assert_int_equal(posture_fact_find(SPAN_LIT("external.x"))->kind, POSTURE_BOOL);
    assert_null(posture_fact_find(SPAN_LIT("external.x"))->attested);
    assert_string_equal(posture_source_name(POSTURE_ATTESTED), "attested");
    assert_string_equal(posture_source_name(POSTURE_EXTERNAL), "external");
    assert_string_equal(posture_source_name(POSTURE_OBSERVED), "observed");
    assert_string_equal(posture_source_name(POSTURE_SOURCES), "");
    assert_string_equal(posture_kind_name(POSTURE_TEXT), "text");
    assert_string_equal(posture_kind_name((enum posture_kind)99), "");
}

static void test_forms(void **state)
{
    (void)state;
#define SIXTEEN "abcdefghijklmnop"
#define LONGEST SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN
    static const struct {
        const char *fact, *text, *form; /* NULL: none */
    } rows[] = {
        {"sip", "true", "true"},
        {"sip", "false", "false"},
        {"sip", "TRUE", NULL},
        {"sip", "1", NULL},
        {"sip", "", NULL},
        {"external.x", "true", "true"},
        {"external.x", "yes", NULL},
        {"secure_boot", "medium", "medium"},
        {"secure_boot", "Full Security", NULL},
        {"secure_boot", "full medium", NULL},
        {"secure_boot", "ful", NULL},
        {"secure_boot", "", NULL},
        {"os_version", "17.4.1", "17.4.1"},
        {"os_version", "17", "17.0"},
        {"os_version", "17.0", "17.0"},
        {"os_version", "17.0.0.0", "17.0"},
        {"os_version", "17.0.1.0", "17.0.1"},
        {"os_version", "10.20", "10.20"},
        {"os_version", "4294967295.4294967295.4294967295.4294967295",
         "4294967295.4294967295.4294967295.4294967295"},
        {"os_version", "4294967296", NULL},
        {"os_version", "1.2.3.4.5", NULL},
        {"os_version", "17.", NULL},
        {"os_version", ".17", NULL},
        {"os_version", "17.04", NULL},
        {"os_version", "17.4 (a)", NULL},
        {"os_version", "", NULL},
        {"build", "23E224", "23E224"},
        {"build", "a b", "a b"},
        {"build", " a", NULL},
        {"build", "a ", NULL},
        {"build", "a\nb", NULL},
        {"build", "a\x7f", NULL},
        {"build", "\xc3\xa4", NULL},
        {"build", "", NULL},
        {"build", LONGEST, LONGEST},
        {"build", LONGEST "x", NULL},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        const struct posture_fact *f = posture_fact_find(span_str(rows[i].fact));
        char form[POSTURE_VALUE_MAX + 1] = "";
        bool valid = posture_value(f, span_str(rows[i].text), form);
        if (valid != (rows[i].form != NULL) || (valid && strcmp(form, rows[i].form) != 0))
            fail_msg("%s '%s': %d '%s'", rows[i].fact, rows[i].text, valid, form);
    }
    char form[POSTURE_VALUE_MAX + 1];
    assert_false(posture_value(posture_fact_find(SPAN_LIT("build")), SPAN_LIT("a\0b"), form));
}

/* Observations as "name=value name=value". */
static void text_of(const struct posture_obs *obs, size_t n, enum posture_source source,
                    struct buf *b)
{
    buf_init(b, 1 << 16);
    for (size_t i = 0; i < n; i++) {
        buf_printf(b, "%s%s=%s", i ? " " : "", obs[i].name, obs[i].value);
        assert_int_equal(obs[i].source, source);
        assert_int_equal(obs[i].at, AT);
    }
}

static void expect_report(const char *type, const char *members, const char *want)
{
    arena_auto a;
    buf_auto xml, got;
    struct plist *report = NULL;
    struct posture_obs obs[POSTURE_FACTS_MAX];
    size_t n = 99;
    arena_init(&a, 1 << 20);
    buf_init(&xml, 1 << 16);
    buf_printf(&xml, "<?xml version=\"1.0\"?><plist version=\"1.0\"><dict>%s</dict></plist>",
               members);
    assert_int_equal(plist_parse(buf_view(&xml), &a, &report, NULL), TD_OK);
    assert_int_equal(posture_facts_report(type, report, AT, &a, obs, &n), TD_OK);
    text_of(obs, n, POSTURE_REPORTED, &got);
    if (strcmp(buf_cstr(&got), want) != 0)
        fail_msg("%s: '%s', not '%s'", members, buf_cstr(&got), want);
}

#define K(k) "<key>" k "</key>"
#define T(k) K(k) "<true/>"
#define F(k) K(k) "<false/>"
#define S(k, v) K(k) "<string>" v "</string>"
#define I(k, v) K(k) "<integer>" v "</integer>"
#define D(k, members) K(k) "<dict>" members "</dict>"

static void test_security(void **state)
{
    (void)state;
    static const struct {
        const char *members, *want;
    } rows[] = {
        {"", ""},
        {T("FDE_Enabled") T("FDE_HasPersonalRecoveryKey") F("FDE_HasInstitutionalRecoveryKey"),
         "filevault=true recovery_key=true recovery_key_institutional=false"},
        {F("SystemIntegrityProtectionEnabled") T("AuthenticatedRootVolumeEnabled"),
         "sealed_volume=true sip=false"},
        {D("FirewallSettings", T("FirewallEnabled") F("BlockAllIncoming") T("StealthMode")
                                   K("Applications") "<array/>"),
         "firewall=true firewall_block_all=false firewall_stealth=true"},
        {D("FirmwarePasswordStatus", T("PasswordExists") F("ChangePending")),
         "firmware_password=true"},
        {D("ManagementStatus",
           T("EnrolledViaDEP") F("UserApprovedEnrollment") F("IsUserEnrollment")),
         "enrolled_via_dep=true user_approved=false user_enrollment=false"},
        {T("IsRecoveryLockEnabled") F("RemoteDesktopEnabled"),
         "recovery_lock=true remote_desktop=false"},
        {D("SecureBoot", S("SecureBootLevel", "full") S("ExternalBootLevel", "allowed")),
         "external_boot=allowed secure_boot=full"},
        {D("SecureBoot",
           S("SecureBootLevel", "not supported") S("ExternalBootLevel", "not supported")),
         "external_boot=unsupported secure_boot=unsupported"},
        {D("SecureBoot", S("SecureBootLevel", "off") S("ExternalBootLevel", "disallowed")),
         "external_boot=disallowed secure_boot=off"},
        {D("SecureBoot",
           S("SecureBootLevel", "medium") D("ReducedSecurity", T("AllowsUserKextApproval"))),
         "kexts=true secure_boot=medium"},
        {D("SecureBoot", K("ReducedSecurity") "<array><dict>" S(
                             "AllowsMDM", "true") "</dict>"
                                                  "<dict>" S("AllowsUserKextApproval",
                                                             "false") "</dict></array>"),
         "kexts=false"},
        {T("PasscodePresent") F("PasscodeCompliant") T("PasscodeCompliantWithProfiles"),
         "passcode_compliant=false passcode_compliant_profiles=true passcode_present=true"},
        {I("HardwareEncryptionCaps", "1"), "hardware_encryption=block"},
        {I("HardwareEncryptionCaps", "2"), "hardware_encryption=file"},
        {I("HardwareEncryptionCaps", "3"), "hardware_encryption=both"},
        /* what is not said */
        {I("HardwareEncryptionCaps", "0") I("SecureBootLevel", "1"), ""},
        {I("HardwareEncryptionCaps", "4"), ""},
        {S("HardwareEncryptionCaps", "3"), ""},
        {S("FDE_Enabled", "true") I("PasscodePresent", "1") S("IsRecoveryLockEnabled", ""), ""},
        {S("SystemIntegrityProtectionEnabled", "enabled"), ""},
        {D("SecureBoot", S("SecureBootLevel", "Full Security") S("ExternalBootLevel", "")), ""},
        {D("SecureBoot", T("SecureBootLevel")), ""},
        {D("SecureBoot", K("ReducedSecurity") "<array><string>AllowsUserKextApproval</string>"
                                              "</array>"),
         ""},
        {D("SecureBoot", D("ReducedSecurity", S("AllowsUserKextApproval", "allowed"))), ""},
        {K("SecureBoot") "<array/>" T("FirewallSettings"), ""},
        {T("FirewallEnabled") T("EnrolledViaDEP"), ""},
        {D("FDE_Enabled", T("FDE_Enabled")), ""},
        {T("IsSupervised") S("OSVersion", "17.4"), ""},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        char members[2048];
        snprintf(members, sizeof members, D("SecurityInfo", "%s"), rows[i].members);
        expect_report("SecurityInfo", members, rows[i].want);
        expect_report("DeviceInformation", members, "");
        expect_report("SecurityInfo", rows[i].members, "");
    }
    expect_report("SecurityInfo", T("SecurityInfo"), "");
}

static void test_device(void **state)
{
    (void)state;
    static const struct {
        const char *members, *want;
    } rows[] = {
        {"", ""},
        {S("OSVersion", "17.4") S("BuildVersion", "21E219") S("ProductName", "iPhone15,2")
             S("SupplementalBuildVersion", "21E219"),
         "build=21E219 os_version=17.4 product=iPhone15,2 supplemental_build=21E219"},
        {S("OSVersion", "18"), "os_version=18.0"},
        {T("IsSupervised") F("IsActivationLockEnabled") T("IsAppleSilicon"),
         "activation_lock=false apple_silicon=true supervised=true"},
        {F("IsCloudBackupEnabled") T("IsDeviceLocatorServiceEnabled")
             F("DiagnosticSubmissionEnabled") F("IsMDMLostModeEnabled"),
         "cloud_backup=false device_locator=true diagnostic_submission=false lost_mode=false"},
        {T("SystemIntegrityProtectionEnabled"), "sip=true"},
        {S("OSVersion", "") S("BuildVersion", "") S("ProductName", "\xc3\xa4"), ""},
        {I("OSVersion", "17") K("BuildVersion") "<real>1.5</real>" K("ProductName") "<data/>", ""},
        {S("IsSupervised", "true") I("IsAppleSilicon", "1"), ""},
        {S("OSVersion", "beta"), ""},
        {T("FDE_Enabled"), ""},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        char members[1024];
        snprintf(members, sizeof members, D("QueryResponses", "%s"), rows[i].members);
        expect_report("DeviceInformation", members, rows[i].want);
        expect_report("SecurityInfo", members, "");
        expect_report("ProfileList", members, "");
    }
    expect_report("", D("QueryResponses", T("IsSupervised")), "");
}

/* Each row that a report has is said by it: a path that is misspelt in the table shows above, one
 * that is read wrongly here. */
static void test_every_path(void **state)
{
    (void)state;
    const struct posture_fact *f;
    for (size_t i = 0; (f = posture_fact_at(i)); i++) {
        for (int security = 0; security < 2; security++) {
            const char *path = security ? f->security : f->query;
            if (!path)
                continue;
            char value[64], inner[512], want[256];
            struct span words = span_str(f->words), w = words_next(&words);
            snprintf(value, sizeof value, "%.*s", (int)w.n, w.p ? (const char *)w.p : "");
            if (f->kind == POSTURE_BOOL || f->kind == POSTURE_VERSION)
                snprintf(value, sizeof value, "%s", f->kind == POSTURE_BOOL ? "true" : "1.2");
            else if (f->kind == POSTURE_TEXT)
                snprintf(value, sizeof value, "text");
            const char *dot = strrchr(path, '.');
            snprintf(inner, sizeof inner,
                     f->kind == POSTURE_BOOL ? "<key>%s</key><true/><!--%s-->"
                                             : "<key>%s</key><string>%s</string>",
                     dot ? dot + 1 : path, value);
            snprintf(want, sizeof want, "%s=%s", f->name, value);
            for (size_t end = dot ? (size_t)(dot - path) : 0; end > 0;) {
                size_t start = end;
                while (start > 0 && path[start - 1] != '.')
                    start--;
                char copy[512];
                memcpy(copy, inner, sizeof copy);
                snprintf(inner, sizeof inner, "<key>%.*s</key><dict>%.400s</dict>",
                         (int)(end - start), path + start, copy);
                end = start ? start - 1 : 0;
            }
            char members[640];
            snprintf(members, sizeof members, "<key>%s</key><dict>%s</dict>",
                     security ? "SecurityInfo" : "QueryResponses", inner);
            expect_report(security ? "SecurityInfo" : "DeviceInformation", members, want);
        }
    }
}

static void expect_evidence(const char *json, const char *want)
{
    arena_auto a;
    buf_auto got;
    struct json *j = NULL;
    struct posture_obs obs[POSTURE_FACTS_MAX];
    size_t n = 99;
    arena_init(&a, 1 << 20);
    assert_int_equal(json_parse(span_str(json), &a, &j, NULL), TD_OK);
    assert_int_equal(posture_facts_evidence(j, AT, &a, obs, &n), TD_OK);
    text_of(obs, n, POSTURE_ATTESTED, &got);
    if (strcmp(buf_cstr(&got), want) != 0)
        fail_msg("%s: '%s', not '%s'", json, buf_cstr(&got), want);
}

static void test_evidence(void **state)
{
    (void)state;
    expect_evidence("{\"serial\":\"A\",\"udid\":\"B\",\"sw_update_id\":\"J514sAP\","
                    "\"os_version\":\"15.5\",\"sepos_version\":\"15.5\",\"llb_version\":\"15.5\","
                    "\"secure_boot\":\"Full Security\",\"sip\":\"enabled\","
                    "\"kexts\":\"not-allowed\"}",
                    "kexts=false os_version=15.5 secure_boot=full sip=true");
    expect_evidence("{\"secure_boot\":\"Reduced Security\",\"sip\":\"disabled\","
                    "\"kexts\":\"allowed\"}",
                    "kexts=true secure_boot=medium sip=false");
    expect_evidence("{\"secure_boot\":\"Permissive Security\"}", "secure_boot=off");
    expect_evidence("{\"os_version\":null,\"secure_boot\":null,\"sip\":null,\"kexts\":null}", "");
    expect_evidence("{\"os_version\":15,\"secure_boot\":true,\"sip\":true,\"kexts\":[]}", "");
    expect_evidence("{\"secure_boot\":\"full\",\"sip\":\"true\",\"kexts\":\"false\"}", "");
    expect_evidence("{\"os_version\":\"\",\"secure_boot\":\"\",\"sip\":\"\"}", "");
    expect_evidence("{\"os_version\":\"x\"}", "");
    expect_evidence("{\"filevault\":\"true\",\"build\":\"1A\"}", "");
    expect_evidence("{}", "");
    expect_evidence("[]", "");
    expect_evidence("null", "");
}

static void test_checkin(void **state)
{
    (void)state;
    static const struct {
        const char *os, *build, *product, *want;
    } rows[] = {
        {"17.4", "21E219", "iPhone15,2", "build=21E219 os_version=17.4 product=iPhone15,2"},
        {"", "", "", ""},
        {NULL, NULL, NULL, ""},
        {"17", NULL, "", "os_version=17.0"},
        {"seventeen", "1A", NULL, "build=1A"},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        arena_auto a;
        buf_auto got;
        struct posture_obs obs[POSTURE_FACTS_MAX];
        size_t n = 99;
        arena_init(&a, 1 << 16);
        assert_int_equal(
            posture_facts_checkin(rows[i].os, rows[i].build, rows[i].product, AT, &a, obs, &n),
            TD_OK);
        text_of(obs, n, POSTURE_REPORTED, &got);
        assert_string_equal(buf_cstr(&got), rows[i].want);
    }
}

static void test_queries(void **state)
{
    (void)state;
    arena_auto a;
    const char *type = NULL;
    arena_init(&a, 1 << 20);
    const struct plist *c = posture_query_device((struct span){NULL, 0}, &a),
                       *list = plist_get(c, "Queries");
    assert_int_equal(plist_str(c, "RequestType", &a, &type), TD_OK);
    assert_string_equal(type, "DeviceInformation");
    size_t n = 0;
    const struct posture_fact *f;
    for (size_t i = 0; (f = posture_fact_at(i)); i++) {
        const char *query = NULL;
        if (!f->query)
            continue;
        assert_int_equal(plist_str_val(plist_at(list, n++), &a, &query), TD_OK);
        assert_string_equal(query, f->query);
    }
    assert_int_equal(plist_count(list), n);
    assert_int_equal(plist_count(c), 2);
    c = posture_query_security(&a);
    assert_int_equal(plist_str(c, "RequestType", &a, &type), TD_OK);
    assert_string_equal(type, "SecurityInfo");
    assert_int_equal(plist_count(c), 1);
}

/* The question for an attestation, and the answer. */
static void test_attestation(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        size_t n;
    } answers[] = {
        {"<array><data>AQI=</data><data>Aw==</data></array>", 2},
        {"<array/>", 0},
        {"<data>AQI=</data>", 0},
        {"<array><string>AQI=</string></array>", 0},
        {"<array><data>AQI=</data><string>x</string></array>", 0},
        {"<array><data>AQ==</data><data>AQ==</data><data>AQ==</data></array>", 0}, /* over max */
    };
    arena_auto a;
    arena_init(&a, 1 << 20);
    const struct plist *c = posture_query_device(SPAN_LIT("nonce"), &a);
    struct span data;
    const char *last;
    const struct plist *list = plist_get(c, "Queries");
    assert_int_equal(plist_data(c, "DeviceAttestationNonce", &a, &data), TD_OK);
    assert_true(span_eq_str(data, "nonce"));
    assert_int_equal(plist_str_val(plist_at(list, plist_count(list) - 1), &a, &last), TD_OK);
    assert_string_equal(last, "DevicePropertiesAttestation");
    for (size_t i = 0; i < TD_NITEMS(answers); i++) {
        struct plist *p = NULL;
        struct span chain[2];
        size_t n = 7;
        char *text = arena_printf(&a,
                                  "<?xml version=\"1.0\"?><plist version=\"1.0\"><dict>"
                                  "<key>QueryResponses</key><dict><key>"
                                  "DevicePropertiesAttestation</key>%s</dict></dict></plist>",
                                  answers[i].value);
        assert_int_equal(plist_parse(span_str(text), &a, &p, NULL), TD_OK);
        assert_int_equal(posture_facts_chain(p, &a, chain, 2, &n), TD_OK);
        assert_int_equal(n, answers[i].n);
        if (n)
            assert_true(span_eq(chain[0], SPAN_LIT("\x01\x02")));
        assert_int_equal(posture_facts_chain(NULL, &a, chain, 2, &n), TD_OK);
        assert_int_equal(n, 0);
    }
}

/* An arena that is full is TD_NOMEM, never a fact less. */
static void test_memory(void **state)
{
    (void)state;
    arena_auto big, none;
    struct posture_obs obs[POSTURE_FACTS_MAX];
    size_t n;
    struct plist *p = NULL;
    struct json *j = NULL;
    arena_init(&big, 1 << 20);
    arena_init(&none, 1);
    assert_int_equal(plist_parse(SPAN_LIT("<?xml version=\"1.0\"?><plist version=\"1.0\"><dict>" D(
                                     "QueryResponses", S("OSVersion", "1.2")) "</dict></plist>"),
                                 &big, &p, NULL),
                     TD_OK);
    assert_int_equal(json_parse(SPAN_LIT("{\"os_version\":\"1\"}"), &big, &j, NULL), TD_OK);
    assert_int_equal(posture_facts_report("DeviceInformation", p, AT, &none, obs, &n), TD_NOMEM);
    assert_int_equal(posture_facts_evidence(j, AT, &none, obs, &n), TD_NOMEM);
    assert_int_equal(posture_facts_checkin("1", "", "", AT, &none, obs, &n), TD_NOMEM);
    assert_null(posture_query_device((struct span){NULL, 0}, &none));
    assert_null(posture_query_security(&none));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),    cmocka_unit_test(test_find),
        cmocka_unit_test(test_forms),    cmocka_unit_test(test_security),
        cmocka_unit_test(test_device),   cmocka_unit_test(test_every_path),
        cmocka_unit_test(test_evidence), cmocka_unit_test(test_checkin),
        cmocka_unit_test(test_queries),  cmocka_unit_test(test_attestation),
        cmocka_unit_test(test_memory),
    };
    plist_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
