/* Commands from typed JSON and from raw plists. */
#include "mdm/base/b64.h"
#include "mdm/base/limits.h"
#include "tests/unit/core/fixture.h"

static enum td_err from_json(struct arena *a, const char *text, struct plist **cmd,
                             struct errinfo *ei)
{
    struct json *j = NULL;
    if (json_parse(span_str(text), a, &j, ei) != TD_OK)
        fail_msg("not JSON: %s", text);
    return command_from_json(j, a, cmd, ei);
}

static void json_good(void **state)
{
    (void)state;
    static const struct {
        const char *json, *want; /* JSON of the Command, keys as built */
    } cases[] = {
        {"{\"request_type\":\"SecurityInfo\"}", "{\"RequestType\":\"SecurityInfo\"}"},
        {"{\"request_type\":\"DeviceInformation\",\"queries\":[\"UDID\",\"OSVersion\"]}",
         "{\"RequestType\":\"DeviceInformation\",\"Queries\":[\"UDID\",\"OSVersion\"]}"},
        {"{\"request_type\":\"DeviceInformation\",\"queries\":[\"DevicePropertiesAttestation\"],"
         "\"device_attestation_nonce\":\"AAEC\"}",
         "{\"RequestType\":\"DeviceInformation\",\"Queries\":[\"DevicePropertiesAttestation\"],"
         "\"DeviceAttestationNonce\":\"AAEC\"}"},
        {"{\"request_type\":\"ProfileList\"}", "{\"RequestType\":\"ProfileList\"}"},
        {"{\"request_type\":\"ProfileList\",\"managed_only\":true}",
         "{\"RequestType\":\"ProfileList\",\"ManagedOnly\":true}"},
        {"{\"request_type\":\"CertificateList\",\"managed_only\":false}",
         "{\"RequestType\":\"CertificateList\",\"ManagedOnly\":false}"},
        {"{\"request_type\":\"InstallProfile\",\"payload\":\"PD94bWw=\"}",
         "{\"RequestType\":\"InstallProfile\",\"Payload\":\"PD94bWw=\"}"},
        {"{\"request_type\":\"RemoveProfile\",\"identifier\":\"a & b\"}",
         "{\"RequestType\":\"RemoveProfile\",\"Identifier\":\"a & b\"}"},
    };
    for (size_t i = 0; i < TD_NITEMS(cases); i++) {
        arena_auto a;
        buf_auto b;
        arena_init(&a, 1 << 20);
        buf_init(&b, 1 << 16);
        struct plist *cmd = NULL;
        assert_int_equal(from_json(&a, cases[i].json, &cmd, NULL), TD_OK);
        assert_int_equal(plist_json(cmd, &b), TD_OK);
        assert_string_equal(buf_cstr(&b), cases[i].want);
    }
}

static void json_bad(void **state)
{
    (void)state;
    static const struct {
        const char *json, *names; /* what the message must name */
        enum td_err err;
    } cases[] = {
        {"{}", "request_type", TD_INVAL},
        {"[]", "request_type", TD_INVAL},
        {"{\"request_type\":5}", "request_type", TD_INVAL},
        {"{\"request_type\":\"\"}", "request_type", TD_INVAL},
        {"{\"request_type\":\"EraseDevice\"}", "raw plist", TD_UNSUPPORTED},
        {"{\"request_type\":\"securityinfo\"}", "raw plist", TD_UNSUPPORTED},
        {"{\"request_type\":\"SecurityInfo\",\"queries\":[]}", "queries", TD_INVAL},
        {"{\"request_type\":\"DeviceInformation\"}", "queries", TD_INVAL},
        {"{\"request_type\":\"DeviceInformation\",\"queries\":[]}", "queries", TD_INVAL},
        {"{\"request_type\":\"DeviceInformation\",\"queries\":\"UDID\"}", "queries", TD_INVAL},
        {"{\"request_type\":\"DeviceInformation\",\"queries\":[1]}", "queries[0]", TD_INVAL},
        {"{\"request_type\":\"DeviceInformation\",\"queries\":[\"U\",\"\"]}", "queries[1]",
         TD_INVAL},
        {"{\"request_type\":\"DeviceInformation\",\"queries\":[\"U\"],"
         "\"device_attestation_nonce\":\"!\"}",
         "device_attestation_nonce", TD_INVAL},
        {"{\"request_type\":\"DeviceInformation\",\"queries\":[\"U\"],"
         "\"device_attestation_nonce\":\"\"}",
         "device_attestation_nonce", TD_INVAL},
        {"{\"request_type\":\"DeviceInformation\",\"queries\":[\"U\"],\"device_attestation_nonce\":"
         "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}", /* 33 bytes */
         "device_attestation_nonce", TD_INVAL},
        {"{\"request_type\":\"ProfileList\",\"managed_only\":1}", "managed_only", TD_INVAL},
        {"{\"request_type\":\"InstallProfile\"}", "payload", TD_INVAL},
        {"{\"request_type\":\"InstallProfile\",\"payload\":\"\"}", "payload", TD_INVAL},
        {"{\"request_type\":\"InstallProfile\",\"payload\":\"%%\"}", "payload", TD_INVAL},
        {"{\"request_type\":\"InstallProfile\",\"payload\":\"aGVsbG8=\"}", "payload", TD_INVAL},
        {"{\"request_type\":\"RemoveProfile\"}", "identifier", TD_INVAL},
        {"{\"request_type\":\"RemoveProfile\",\"identifier\":\"\"}", "identifier", TD_INVAL},
    };
    for (size_t i = 0; i < TD_NITEMS(cases); i++) {
        arena_auto a;
        arena_init(&a, 1 << 20);
        struct plist *cmd = NULL;
        struct errinfo ei = {0};
        enum td_err e = from_json(&a, cases[i].json, &cmd, &ei);
        if (e == TD_OK || !strstr(ei.msg, cases[i].names))
            fail_msg("%s: %s %s", cases[i].json, err_name(e), ei.msg);
        if (cases[i].err == TD_UNSUPPORTED)
            assert_int_equal(e, TD_UNSUPPORTED);
        assert_int_equal(err_http(e), 400);
        assert_null(cmd);
    }
}

static void json_limits(void **state)
{
    (void)state;
    for (size_t n = 256; n <= 257; n++) {
        arena_auto a;
        buf_auto b;
        arena_init(&a, 1 << 20);
        buf_init(&b, 1 << 16);
        struct plist *cmd = NULL;
        buf_str(&b, "{\"request_type\":\"DeviceInformation\",\"queries\":[\"Q\"");
        for (size_t i = 1; i < n; i++)
            buf_str(&b, ",\"Q\"");
        buf_str(&b, "]}");
        assert_int_equal(from_json(&a, buf_cstr(&b), &cmd, NULL), n <= 256 ? TD_OK : TD_INVAL);
    }
}

static void raw_plist(void **state)
{
    (void)state;
    static const struct {
        const char *xml, *uuid;
        enum td_err err;
    } cases[] = {
        {FX_HEAD FX_S("RequestType", "EraseDevice") FX_TAIL, "", TD_OK},
        {FX_HEAD "<key>Command</key><dict>" FX_S("RequestType", "EraseDevice") "</dict>" FX_TAIL,
         "", TD_OK},
        {FX_HEAD "<key>Command</key><dict>" FX_S("RequestType", "EraseDevice") "</dict>" FX_S(
             "CommandUUID", "C-1") FX_TAIL,
         "C-1", TD_OK},
        {FX_HEAD "<key>Command</key><dict>" FX_S(
             "RequestType", "E") "</dict><key>CommandUUID</key><true/>" FX_TAIL,
         NULL, TD_PARSE},
        {FX_HEAD FX_S("RequestType", "") FX_TAIL, NULL, TD_PARSE},
        {FX_HEAD "<key>RequestType</key><integer>1</integer>" FX_TAIL, NULL, TD_PARSE},
        {FX_HEAD FX_TAIL, NULL, TD_PARSE},
        {FX_HEAD FX_S("Command", "x") FX_TAIL, NULL, TD_PARSE},
        {FX_HEAD "<key>Command</key><dict></dict>" FX_S("RequestType", "E") FX_TAIL, NULL,
         TD_PARSE},
        {FX_HEAD FX_S("RequestType",
                      "12345678901234567890123456789012345678901234567890123456789012345") FX_TAIL,
         NULL, TD_PARSE},
        {"<?xml version=\"1.0\"?><plist version=\"1.0\"><array/></plist>", NULL, TD_PARSE},
        {"", NULL, TD_PARSE},
    };
    for (size_t i = 0; i < TD_NITEMS(cases); i++) {
        print_message("  case %zu\n", i);
        arena_auto a;
        buf_auto b;
        arena_init(&a, 1 << 20);
        buf_init(&b, 1 << 16);
        struct plist *cmd = NULL, *again = NULL;
        const char *uuid = NULL, *type = NULL;
        assert_int_equal(command_from_plist(span_str(cases[i].xml), &a, &cmd, &uuid, NULL),
                         cases[i].err);
        if (cases[i].err != TD_OK)
            continue;
        assert_string_equal(uuid ? uuid : "", cases[i].uuid);
        /* and out again, whole */
        assert_int_equal(command_xml(cmd, "U & V", &a, &b, NULL), TD_OK);
        assert_int_equal(command_from_plist(buf_view(&b), &a, &again, &uuid, NULL), TD_OK);
        assert_string_equal(uuid, "U & V");
        assert_int_equal(plist_str(again, "RequestType", &a, &type), TD_OK);
        assert_string_equal(type, "EraseDevice");
    }
}

static void xml_too_large(void **state)
{
    (void)state;
    arena_auto a;
    buf_auto b;
    arena_init(&a, 1 << 20);
    buf_init(&b, 64);
    struct plist *cmd = plist_new_dict(&a);
    assert_int_equal(plist_set_str(cmd, "RequestType", "SecurityInfo"), TD_OK);
    assert_int_equal(command_xml(cmd, "U", &a, &b, NULL), TD_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_good), cmocka_unit_test(json_bad),      cmocka_unit_test(json_limits),
        cmocka_unit_test(raw_plist), cmocka_unit_test(xml_too_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
