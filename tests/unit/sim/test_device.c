#include "tests/unit/sim/simtest.h"

#include "tests/sim/device.h"

#include <openssl/x509.h>
#include <sys/stat.h>

static void identities(void **state)
{
    (void)state;
    device_auto a = {0}, b = {0}, mac = {0};
    assert_int_equal(device_init(&a, "SIM0000001", "iPhone 15", NULL), TD_OK);
    assert_int_equal(device_init(&b, "SIM0000001", "iphone", NULL), TD_OK);
    assert_string_equal(a.udid, b.udid); /* the same in every run */
    assert_string_equal(a.udid, a.provisioning_udid);
    assert_int_equal(strlen(a.udid), 25);
    assert_false(a.mac);
    assert_int_equal(device_init(&mac, "SIM0000001", "MacBook Pro", NULL), TD_OK);
    assert_true(mac.mac);
    assert_int_equal(strlen(mac.udid), 36);
    assert_string_not_equal(mac.udid, mac.provisioning_udid);
    struct pki_facts f = device_facts(&mac);
    assert_string_equal(f.udid, mac.provisioning_udid);
    assert_int_equal(f.sip, 0);
    assert_int_equal(device_facts(&a).sip, -1);
    assert_null(device_facts(&a).secure_boot);
}

static void serials(void **state)
{
    static const char *const bad[] = {"",
                                      "a/b",
                                      "..",
                                      ".x",
                                      "a b",
                                      "q\"",
                                      "%41",
                                      ("1234567890123456789012345678901234567890"
                                       "1234567890123456789012345")};
    (void)state;
    for (size_t i = 0; i < TD_NITEMS(bad); i++) {
        device_auto d = {0};
        assert_int_equal(device_init(&d, bad[i], NULL, NULL), TD_INVAL);
    }
    device_auto d = {0};
    assert_int_equal(device_init(&d,
                                 "1234567890123456789012345678901234567890"
                                 "123456789012345678901234",
                                 NULL, NULL),
                     TD_OK);
}

static X509 *self_signed(EVP_PKEY *key)
{
    X509 *x = X509_new();
    X509_gmtime_adj(X509_getm_notBefore(x), 0);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, key);
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    return x;
}

static void round_trip(void **state)
{
    char dir[64], path[128];
    struct stat st;
    static const char *const names[] = {"C02XYZ.device", "AAA.device"};
    (void)state;
    simtest_dir(dir);
    device_auto d = {0}, e = {0};
    assert_int_equal(device_init(&d, "C02XYZ", "Mac", NULL), TD_OK);
    d.key = ossl_ec_key(384);
    d.cert = self_signed(d.key);
    assert_int_equal(device_set(&d.server_url, "https://h:8444/mdm"), TD_OK);
    assert_int_equal(device_set(&d.checkin_url, "https://h:8444/mdm"), TD_OK);
    assert_int_equal(device_set(&d.topic, "com.apple.mgmt.x"), TD_OK);
    assert_int_equal(device_set(&d.profile_identifier, "org.example \"mdm\""), TD_OK);
    assert_int_equal(device_set(&d.profile_uuid, "U"), TD_OK);
    assert_int_equal(device_set(&d.profile_name, "N"), TD_OK);
    d.sign_message = true;
    snprintf(d.profiles[0].identifier, sizeof(d.profiles[0].identifier), "wifi");
    d.nprofiles = 1;
    buf_str(&d.root_der, "rootbytes");
    assert_int_equal(posture_set(&d.posture, "sip=off,os=14.0,build=unknown", NULL), TD_OK);
    assert_int_equal(device_save(&d, dir, NULL), TD_OK);
    snprintf(path, sizeof(path), "%s/C02XYZ.device", dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);

    assert_true(device_known(dir, "C02XYZ"));
    assert_false(device_known(dir, "C02XY"));
    assert_int_equal(device_load(&e, dir, "C02XYZ", NULL), TD_OK);
    assert_true(e.mac && e.sign_message && !e.removed && !e.checkout_when_removed);
    assert_string_equal(e.profile_identifier, d.profile_identifier);
    assert_string_equal(e.profiles[0].identifier, "wifi");
    assert_int_equal(e.nprofiles, 1);
    assert_int_equal(EVP_PKEY_eq(d.key, e.key), 1);
    assert_int_equal(X509_cmp(d.cert, e.cert), 0);
    assert_string_equal(buf_cstr(&e.root_der), "rootbytes");
    assert_int_equal(e.posture.sip, 0);
    assert_int_equal(e.posture.filevault, 1);
    assert_string_equal(e.posture.os, "14.0");
    assert_string_equal(e.posture.build, "");

    char **list = NULL;
    size_t n = 0;
    arena_auto a;
    arena_init(&a, 65536);
    snprintf(d.serial, sizeof(d.serial), "AAA");
    assert_int_equal(device_save(&d, dir, NULL), TD_OK);
    assert_int_equal(device_list(dir, &a, &list, &n, NULL), TD_OK);
    assert_int_equal(n, 2);
    assert_string_equal(list[0], "AAA");
    assert_string_equal(list[1], "C02XYZ");
    simtest_rmdir(dir, names, TD_NITEMS(names));
}

static void bad_files(void **state)
{
    static const char *const texts[] = {"", "{", "[]", "{\"serial\":\"X\"}",
                                        "{\"model\":\"iPhone\",\"removed\":1}"};
    static const char *const names[] = {"X.device"};
    char dir[64], path[128];
    (void)state;
    simtest_dir(dir);
    snprintf(path, sizeof(path), "%s/X.device", dir);
    device_auto d = {0};
    assert_int_not_equal(device_load(&d, dir, "X", NULL), TD_OK); /* absent */
    for (size_t i = 0; i < TD_NITEMS(texts); i++) {
        FILE *f = fopen(path, "w");
        fputs(texts[i], f);
        fclose(f);
        device_auto e = {0};
        assert_int_not_equal(device_load(&e, dir, "X", NULL), TD_OK);
    }
    simtest_rmdir(dir, names, 1);
    char **list = NULL;
    size_t n = 0;
    arena_auto a;
    arena_init(&a, 65536);
    assert_int_equal(device_list("/nonexistent", &a, &list, &n, NULL), TD_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identities),
        cmocka_unit_test(serials),
        cmocka_unit_test(round_trip),
        cmocka_unit_test(bad_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
