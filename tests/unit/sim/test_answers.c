#include "tests/unit/sim/simtest.h"

#include "tests/sim/answers.h"
#include "tests/sim/mdm.h"

#include <openssl/x509v3.h>

#define DOC(x)                                                                                     \
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?><plist version=\"1.0\"><dict>" x "</dict></plist>"
#define TYPE(t) "<key>RequestType</key><string>" t "</string>"

static struct device dev;

static int setup(void **state)
{
    (void)state;
    if (device_init(&dev, "C02MAC01", "Mac", NULL) != TD_OK)
        return -1;
    dev.key = ossl_ec_key(256);
    dev.cert = X509_new();
    X509_NAME_add_entry_by_txt(X509_get_subject_name(dev.cert), "CN", MBSTRING_UTF8,
                               (const unsigned char *)"C02MAC01", -1, -1, 0);
    X509_gmtime_adj(X509_getm_notBefore(dev.cert), 0);
    X509_gmtime_adj(X509_getm_notAfter(dev.cert), 3600);
    X509_set_pubkey(dev.cert, dev.key);
    X509_sign(dev.cert, dev.key, EVP_sha256());
    return device_set(&dev.profile_identifier, "org.example.mdm") == TD_OK &&
                   device_set(&dev.profile_uuid, "UUID-1") == TD_OK &&
                   device_set(&dev.profile_name, "MDM & <more>") == TD_OK
               ? 0
               : -1;
}

static int teardown(void **state)
{
    (void)state;
    device_free(&dev);
    return 0;
}

struct answer {
    enum answers_status status;
    bool changed, removed;
    struct plist *report; /* the whole report, parsed back */
};

static struct answer run(const char *command, struct arena *a)
{
    struct plist *p = NULL;
    struct answers r;
    struct answer out;
    struct mdm m = {.d = &dev};
    buf_auto b;
    buf_init(&b, 1048576);
    assert_int_equal(plist_parse(span_str(command), a, &p, NULL), TD_OK);
    assert_int_equal(answers_run(&dev, &(struct answers_env){0}, p, a, &r, NULL), TD_OK);
    mdm_report(&m, answers_word(r.status), "CU-1", buf_cstr(&r.xml), &b);
    assert_int_equal(plist_parse(arena_span(a, buf_view(&b)), a, &out.report, NULL), TD_OK);
    out.status = r.status;
    out.changed = r.changed;
    out.removed = r.enrollment_removed;
    buf_free(&r.xml);
    return out;
}

static const char *str(const struct plist *d, const char *key, struct arena *a)
{
    const char *v = NULL;
    assert_int_equal(plist_str(d, key, a, &v), TD_OK);
    return v;
}

static void device_information(void **state)
{
    arena_auto a;
    arena_init(&a, 8388608);
    (void)state;
    struct answer r = run(
        DOC(TYPE("DeviceInformation") "<key>Queries</key><array><string>UDID</string>"
                                      "<string>SerialNumber</string><string>NoSuchQuery</string>"
                                      "<string>BatteryLevel</string><string>IsAppleSilicon</string>"
                                      "<string>WiFiMAC</string>"
                                      "<string>DevicePropertiesAttestation</string></array>"),
        &a);
    assert_int_equal(r.status, ANSWERS_ACKNOWLEDGED);
    assert_string_equal(str(r.report, "Status", &a), "Acknowledged");
    assert_string_equal(str(r.report, "CommandUUID", &a), "CU-1");
    struct plist *q = plist_get(r.report, "QueryResponses");
    assert_int_equal(plist_count(q), 5); /* the unknown and the unattested are left out */
    assert_string_equal(str(q, "UDID", &a), dev.udid);
    assert_string_equal(str(q, "SerialNumber", &a), "C02MAC01");
    assert_int_equal(strlen(str(q, "WiFiMAC", &a)), 17);
}

static void lists(void **state)
{
    arena_auto a;
    arena_init(&a, 8388608);
    (void)state;
    struct answer r = run(DOC(TYPE("SecurityInfo")), &a);
    bool sip = false;
    assert_int_equal(
        plist_bool(plist_get(r.report, "SecurityInfo"), "SystemIntegrityProtectionEnabled", &sip),
        TD_OK);
    assert_true(sip);
    r = run(DOC(TYPE("CertificateList")), &a);
    struct plist *item = plist_at(plist_get(r.report, "CertificateList"), 0);
    assert_string_equal(str(item, "CommonName", &a), "C02MAC01");
    r = run(DOC(TYPE("ProfileList")), &a);
    struct plist *list = plist_get(r.report, "ProfileList");
    assert_int_equal(plist_count(list), 1);
    assert_string_equal(str(plist_at(list, 0), "PayloadDisplayName", &a), "MDM & <more>");
}

/* SecurityInfo as JSON after a change of the device; the device is as before afterwards. */
static void expect_security(const char *model, const char *posture, const char *part, bool there)
{
    arena_auto a;
    buf_auto b;
    arena_init(&a, 8388608);
    buf_init(&b, 65536);
    struct device kept = dev, other = {0};
    assert_int_equal(device_init(&other, "C02MAC01", model, NULL), TD_OK);
    dev.mac = other.mac;
    assert_int_equal(posture_set(&dev.posture, posture, NULL), TD_OK);
    struct answer r = run(DOC(TYPE("SecurityInfo")), &a);
    assert_int_equal(plist_json(plist_get(r.report, "SecurityInfo"), &b), TD_OK);
    if ((strstr(buf_cstr(&b), part) != NULL) != there)
        fail_msg("%s %s: '%s' %s", model, posture, part, buf_cstr(&b));
    dev = kept;
    device_free(&other);
}

static void posture(void **state)
{
    static const struct {
        const char *model, *posture, *part;
        bool there;
    } rows[] = {
        {"Mac", "lie=off", "\"FDE_Enabled\":true", true},
        {"Mac", "filevault=off", "\"FDE_Enabled\":false", true},
        {"Mac", "filevault=unknown", "FDE_Enabled", false},
        {"Mac", "lie=on,filevault=off", "\"FDE_Enabled\":true", true},
        {"Mac", "recovery_key=off", "\"FDE_HasPersonalRecoveryKey\":false", true},
        {"Mac", "sip=off", "\"SystemIntegrityProtectionEnabled\":false", true},
        {"Mac", "sealed_volume=off", "\"AuthenticatedRootVolumeEnabled\":false", true},
        {"Mac", "recovery_lock=on", "\"IsRecoveryLockEnabled\":true", true},
        {"Mac", "recovery_lock=off,remote_desktop=on", "\"RemoteDesktopEnabled\":true", true},
        {"Mac", "firewall=off", "\"FirewallEnabled\":false", true},
        {"Mac", "firewall=off,firewall_block_all=on", "\"BlockAllIncoming\":true", true},
        {"Mac", "firewall=off,firewall_stealth=on", "\"StealthMode\":true", true},
        {"Mac", "lie=off", "\"SecureBootLevel\":\"full\"", true},
        {"Mac", "kexts=on", "ReducedSecurity", false},
        {"Mac", "kexts=on,secure_boot=medium", "\"AllowsUserKextApproval\":\"true\"", true},
        {"Mac", "secure_boot=off", "\"SecureBootLevel\":\"off\"", true},
        {"Mac", "secure_boot=unknown", "SecureBootLevel", false},
        {"Mac", "user_approved=off", "\"UserApprovedEnrollment\":false", true},
        {"Mac", "dep=on", "\"EnrolledViaDEP\":true", true},
        {"Mac", "passcode=on", "PasscodePresent", false},
        {"iPhone", "passcode=off", "\"PasscodePresent\":false", true},
        {"iPhone", "passcode_compliant=off", "\"PasscodeCompliant\":false", true},
        {"iPhone", "passcode_compliant=off", "\"PasscodeCompliantWithProfiles\":false", true},
        {"iPhone", "filevault=on", "FDE_Enabled", false},
        {"iPhone", "dep=on", "EnrolledViaDEP", false},
    };
    (void)state;
    for (size_t i = 0; i < TD_NITEMS(rows); i++)
        expect_security(rows[i].model, rows[i].posture, rows[i].part, rows[i].there);
}

static void posture_queries(void **state)
{
    arena_auto a;
    buf_auto b;
    (void)state;
    arena_init(&a, 8388608);
    buf_init(&b, 65536);
    struct posture kept = dev.posture;
    assert_int_equal(posture_set(&dev.posture, "os=14.0,build=unknown,supervised=on,sip=off", NULL),
                     TD_OK);
    struct answer r =
        run(DOC(TYPE("DeviceInformation") "<key>Queries</key><array><string>OSVersion</string>"
                                          "<string>BuildVersion</string>"
                                          "<string>IsSupervised</string>"
                                          "<string>IsMDMLostModeEnabled</string>"
                                          "<string>SystemIntegrityProtectionEnabled</string>"
                                          "</array>"),
            &a);
    dev.posture = kept;
    assert_int_equal(plist_json(plist_get(r.report, "QueryResponses"), &b), TD_OK);
    assert_string_equal(buf_cstr(&b), "{\"OSVersion\":\"14.0\",\"IsSupervised\":true,"
                                      "\"SystemIntegrityProtectionEnabled\":false}");
}

/* "<?xml..Configuration" with identifier `wifi`, base64 */
#define WIFI                                                                                       \
    "PD94bWwgdmVyc2lvbj0iMS4wIj8+PHBsaXN0IHZlcnNpb249IjEuMCI+PGRpY3Q+PGtleT5QYXlsb2FkSWRlbnRpZml"  \
    "lcjwva2V5PjxzdHJpbmc+d2lmaTwvc3RyaW5nPjxrZXk+UGF5bG9hZFVVSUQ8L2tleT48c3RyaW5nPlU8L3N0cmluZz"  \
    "48L2RpY3Q+PC9wbGlzdD4="

static void install_and_remove(void **state)
{
    arena_auto a;
    arena_init(&a, 8388608);
    (void)state;
    struct answer r =
        run(DOC(TYPE("InstallProfile") "<key>Payload</key><data>" WIFI "</data>"), &a);
    assert_int_equal(r.status, ANSWERS_ACKNOWLEDGED);
    assert_true(r.changed);
    run(DOC(TYPE("InstallProfile") "<key>Payload</key><data>" WIFI "</data>"), &a);
    assert_int_equal(dev.nprofiles, 1); /* replaced, not added */
    r = run(DOC(TYPE("ProfileList")), &a);
    assert_int_equal(plist_count(plist_get(r.report, "ProfileList")), 2);
    r = run(DOC(TYPE("RemoveProfile") "<key>Identifier</key><string>wifi</string>"), &a);
    assert_int_equal(r.status, ANSWERS_ACKNOWLEDGED);
    assert_int_equal(dev.nprofiles, 0);
    assert_false(r.removed);
    r = run(DOC(TYPE("RemoveProfile") "<key>Identifier</key><string>wifi</string>"), &a);
    assert_int_equal(r.status, ANSWERS_ERROR);
    assert_int_equal(plist_count(plist_get(r.report, "ErrorChain")), 1);
}

static void refused_commands(void **state)
{
    static const struct {
        const char *xml;
        enum answers_status want;
    } rows[] = {
        {DOC(""), ANSWERS_FORMAT_ERROR},
        {DOC(TYPE("EraseDevice")), ANSWERS_ERROR},
        {DOC(TYPE("DeviceInformation")), ANSWERS_FORMAT_ERROR},
        {DOC(TYPE("DeviceInformation") "<key>Queries</key><string>UDID</string>"),
         ANSWERS_FORMAT_ERROR},
        {DOC(TYPE("InstallProfile")), ANSWERS_FORMAT_ERROR},
        {DOC(TYPE("InstallProfile") "<key>Payload</key><data>AAAA</data>"), ANSWERS_ERROR},
        {DOC(TYPE("InstallProfile") "<key>Payload</key><data>PGE+</data>"), ANSWERS_ERROR},
        {DOC(TYPE("RemoveProfile")), ANSWERS_FORMAT_ERROR},
    };
    (void)state;
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        arena_auto a;
        arena_init(&a, 8388608);
        struct answer r = run(rows[i].xml, &a);
        assert_int_equal(r.status, rows[i].want);
        assert_false(r.changed);
    }
}

static void enrollment_profile(void **state)
{
    arena_auto a;
    arena_init(&a, 8388608);
    (void)state;
    struct answer r =
        run(DOC(TYPE("RemoveProfile") "<key>Identifier</key><string>org.example.mdm</string>"), &a);
    assert_int_equal(r.status, ANSWERS_ACKNOWLEDGED);
    assert_true(r.removed && r.changed && dev.removed);
    dev.removed = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(device_information), cmocka_unit_test(lists),
        cmocka_unit_test(install_and_remove), cmocka_unit_test(refused_commands),
        cmocka_unit_test(enrollment_profile), cmocka_unit_test(posture),
        cmocka_unit_test(posture_queries),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
