#include "tests/unit/sim/simtest.h"

#include "tests/sim/device.h"

static void texts(void **state)
{
    static const struct {
        const char *text;
        const char *parts[3]; /* of the whole text afterwards; none: refused */
    } rows[] = {
        {"filevault=off", {"filevault=off,", "sip=on,", "os=1.2,"}},
        {"filevault=off,sip=off,os=17.1", {"filevault=off,", ",sip=off,", ",os=17.1,"}},
        {"secure_boot=medium,kexts=unknown", {",secure_boot=medium,", ",kexts=unknown,"}},
        {"secure_boot=off", {",secure_boot=off,"}},
        {"os=unknown,build=unknown", {",os=unknown,", ",build=unknown,"}},
        {"filevault=off,filevault=on", {"filevault=on,"}},
        {"build=1234567890123456789012345678901", {",build=1234567890123456789012345678901,"}},
        {"build=12345678901234567890123456789012", {NULL}},
        {"", {NULL}},
        {",", {NULL}},
        {"filevault=off,", {NULL}},
        {"filevault", {NULL}},
        {"filevault=", {NULL}},
        {"filevault=true", {NULL}},
        {"filevault=medium", {NULL}},
        {"FileVault=off", {NULL}},
        {"gatekeeper=off", {NULL}},
        {"secure_boot=on", {NULL}},
        {"os=", {NULL}},
        {"os=1\n2", {NULL}},
        {"sip=off,x=1", {NULL}}, /* nothing is changed */
    };
    (void)state;
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct posture p, before, again;
        struct errinfo ei = {0};
        buf_auto b;
        posture_init(&p, "1.2", "1A");
        before = p;
        enum td_err e = posture_set(&p, rows[i].text, &ei);
        if (e != (rows[i].parts[0] ? TD_OK : TD_INVAL))
            fail_msg("'%s': %s", rows[i].text, err_name(e));
        if (e != TD_OK) {
            assert_memory_equal(&p, &before, sizeof(p));
            assert_int_not_equal(strlen(ei.msg), 0);
        }
        buf_init(&b, POSTURE_LIST_MAX);
        assert_int_equal(posture_text(&p, &b), TD_OK);
        for (size_t k = 0; k < 3 && rows[i].parts[k]; k++)
            if (!strstr(buf_cstr(&b), rows[i].parts[k]))
                fail_msg("'%s' is not in %s", rows[i].parts[k], buf_cstr(&b));
        posture_init(&again, "9", "9Z"); /* the text is all of it */
        assert_int_equal(posture_set(&again, buf_cstr(&b), NULL), TD_OK);
        assert_string_equal(again.os, p.os);
        assert_string_equal(again.build, p.build);
        assert_memory_equal(&again, &p, offsetof(struct posture, os));
    }
}

static void attested(void **state)
{
    static const struct {
        const char *text, *boot, *os;
        int sip, kexts;
    } rows[] = {
        {"lie=off", "Full Security", "15.1", 0, 0},
        {"sip=off,kexts=on,os=14.0", "Full Security", "14.0", 1, 1},
        {"secure_boot=medium", "Reduced Security", "15.1", 0, 0},
        {"secure_boot=off", "Permissive Security", "15.1", 0, 0},
        {"secure_boot=unknown,sip=unknown,kexts=unknown,os=unknown", NULL, NULL, -1, -1},
        {"lie=on,sip=off,os=14.0", "Full Security", "14.0", 1, 0},
    };
    (void)state;
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        device_auto mac = {0}, phone = {0};
        assert_int_equal(device_init(&mac, "C02XYZ", "Mac", NULL), TD_OK);
        assert_int_equal(device_init(&phone, "C02XYZ", "iPhone", NULL), TD_OK);
        assert_int_equal(posture_set(&mac.posture, rows[i].text, NULL), TD_OK);
        assert_int_equal(posture_set(&phone.posture, rows[i].text, NULL), TD_OK);
        struct pki_facts f = device_facts(&mac);
        assert_int_equal(f.sip, rows[i].sip);
        assert_int_equal(f.kexts, rows[i].kexts);
        if (strcmp(f.secure_boot ? f.secure_boot : "-", rows[i].boot ? rows[i].boot : "-") != 0 ||
            strcmp(f.os_version ? f.os_version : "-", rows[i].os ? rows[i].os : "-") != 0)
            fail_msg("%s: %s %s", rows[i].text, f.secure_boot, f.os_version);
        f = device_facts(&phone);
        assert_true(f.sip == -1 && f.kexts == -1 && !f.secure_boot);
    }
}

static void said(void **state)
{
    device_auto d = {0};
    (void)state;
    assert_int_equal(device_init(&d, "C02XYZ", "Mac", NULL), TD_OK);
    assert_int_equal(posture_set(&d.posture, "sip=off,filevault=off,os=14.0", NULL), TD_OK);
    struct posture p = device_says(&d);
    assert_int_equal(p.sip, 0);
    assert_string_equal(p.os, "14.0");
    assert_int_equal(posture_set(&d.posture, "lie=on", NULL), TD_OK);
    p = device_says(&d);
    assert_int_equal(p.sip, 1);
    assert_int_equal(p.filevault, 1);
    assert_string_equal(p.os, "15.1");
    assert_int_equal(d.posture.sip, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts),
        cmocka_unit_test(attested),
        cmocka_unit_test(said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
