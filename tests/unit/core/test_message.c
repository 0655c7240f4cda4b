/* Parsing of check-in messages and reports, without storage. */
#include "mdm/core/message.h"
#include "mdm/wire/plist.h"
#include "tests/unit/core/fixture.h"

static enum td_err report(struct arena *a, const char *xml, struct core_report *r)
{
    return core_report_parse(span_str(xml), a, r, NULL);
}

static void reports(void **state)
{
    (void)state;
    static const struct {
        const char *name, *xml;
        enum td_err err;
        const char *status, *uuid, *udid;
        bool user, decoded;
    } cases[] = {
        {"idle", FX_HEAD FX_S("Status", "Idle") FX_S("UDID", "U-1") FX_TAIL, TD_OK, "Idle", NULL,
         "U-1", false, true},
        {"enrolment id", FX_HEAD FX_S("Status", "Idle") FX_S("EnrollmentID", "E-1") FX_TAIL, TD_OK,
         "Idle", NULL, "E-1", false, true},
        {"user", FX_HEAD FX_S("Status", "Idle") FX_S("UserID", "X") FX_TAIL, TD_OK, "Idle", NULL,
         NULL, true, true},
        {"empty uuid", FX_HEAD FX_S("Status", "Error") FX_S("CommandUUID", "") FX_TAIL, TD_OK,
         "Error", NULL, NULL, false, true},
        {"status of another type",
         FX_HEAD "<key>Status</key><true/>" FX_S("CommandUUID", "C") FX_TAIL, TD_OK, "", "C", NULL,
         false, true},
        /* a key twice is no property list: salvaged */
        {"twice", FX_HEAD FX_S("Status", "Idle") FX_S("Status", "Idle") FX_S("UDID", "U") FX_TAIL,
         TD_OK, "Idle", NULL, NULL, false, false},
        {"nothing", FX_HEAD FX_TAIL, TD_PARSE, NULL, NULL, NULL, false, false},
        {"empty", "", TD_PARSE, NULL, NULL, NULL, false, false},
        {"salvaged", "<dict><key>Status</key> \r\n\t<string>Error</string>", TD_OK, "Error", NULL,
         NULL, false, false},
        {"salvage: no string", "<key>Status</key><integer>1</integer>", TD_PARSE, NULL, NULL, NULL,
         false, false},
        {"salvage: not closed", "<key>Status</key><string>Error", TD_PARSE, NULL, NULL, NULL, false,
         false},
        {"salvage: at the end", "<key>Status</key>", TD_PARSE, NULL, NULL, NULL, false, false},
        {"salvage: 32", "<key>Status</key><string>01234567890123456789012345678901</string>", TD_OK,
         "01234567890123456789012345678901", NULL, NULL, false, false},
        {"salvage: 33", "<key>Status</key><string>012345678901234567890123456789012</string>",
         TD_PARSE, NULL, NULL, NULL, false, false},
        {"salvage: markup", "<key>CommandUUID</key><string>a&amp;b</string>", TD_PARSE, NULL, NULL,
         NULL, false, false},
    };
    for (size_t i = 0; i < TD_NITEMS(cases); i++) {
        print_message("  %s\n", cases[i].name);
        arena_auto a;
        arena_init(&a, 1 << 20);
        struct core_report r = {0};
        assert_int_equal(report(&a, cases[i].xml, &r), cases[i].err);
        if (cases[i].err != TD_OK)
            continue;
        assert_string_equal(r.status, cases[i].status);
        assert_string_equal(r.uuid ? r.uuid : "", cases[i].uuid ? cases[i].uuid : "");
        assert_string_equal(r.udid ? r.udid : "", cases[i].udid ? cases[i].udid : "");
        assert_int_equal(r.user_channel, cases[i].user);
        assert_int_equal(r.decoded, cases[i].decoded);
    }
}

/* Every prefix of a report parses, is salvaged or is refused; none crashes. */
static void truncated(void **state)
{
    (void)state;
    static const char xml[] = FX_HEAD FX_S("Status", "Acknowledged") FX_S("CommandUUID", "C-1")
        FX_S("UDID", "U-1") FX_TAIL;
    for (size_t n = 0; n < sizeof xml; n++) {
        arena_auto a;
        arena_init(&a, 1 << 20);
        struct core_report r;
        struct core_msg m;
        enum td_err e = core_report_parse(span_of(xml, n), &a, &r, NULL);
        assert_true(e == TD_OK || e == TD_PARSE);
        assert_int_equal(core_msg_parse(span_of(xml, n), &a, &m, NULL), TD_PARSE);
    }
}

static void texts(void **state)
{
    (void)state;
    arena_auto a;
    arena_init(&a, 1 << 20);
    char name[700], xml[1200];
    struct core_msg m;
    memset(name, 'n', sizeof name);
    memcpy(name + 254, "\xc3\xa4", 2); /* a character across the border of 255 bytes */
    name[600] = 0;
    snprintf(xml, sizeof xml,
             FX_HEAD FX_S("MessageType", "T")
                 FX_S("DeviceName", "%s") "<key>OSVersion</key><integer>18</integer>" FX_TAIL,
             name);
    assert_int_equal(core_msg_parse(span_str(xml), &a, &m, NULL), TD_OK);
    assert_int_equal(strlen(m.device_name), 254);
    assert_string_equal(m.os_version, "");
    assert_null(m.udid);
    assert_int_equal(m.awaiting, -1);
    for (size_t n = 63; n <= 66; n++) { /* limit and limit+1 of an identifier */
        memset(name, 'A', n);
        name[n] = 0;
        snprintf(xml, sizeof xml, FX_HEAD FX_S("MessageType", "T") FX_S("UDID", "%s") FX_TAIL,
                 name);
        assert_int_equal(core_msg_parse(span_str(xml), &a, &m, NULL),
                         n <= CORE_ID_MAX ? TD_OK : TD_PARSE);
    }
    assert_false(core_id_valid(""));
    assert_false(core_id_valid("a b"));
    assert_false(core_id_valid("a\n"));
    assert_true(core_id_valid(FX_UDID_A));
}

/* Token: 256 bytes pass, 257 do not. */
static void token_limit(void **state)
{
    (void)state;
    for (size_t n = 256; n <= 257; n++) {
        arena_auto a;
        buf_auto b;
        arena_init(&a, 1 << 20);
        buf_init(&b, 4096);
        uint8_t token[300] = {1};
        struct core_msg m;
        struct plist *d = plist_new_dict(&a);
        assert_int_equal(plist_set_str(d, "MessageType", "TokenUpdate"), TD_OK);
        assert_int_equal(plist_set_data(d, "Token", span_of(token, n)), TD_OK);
        assert_int_equal(plist_xml(d, &b), TD_OK);
        assert_int_equal(core_msg_parse(buf_view(&b), &a, &m, NULL), n <= 256 ? TD_OK : TD_PARSE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reports),
        cmocka_unit_test(truncated),
        cmocka_unit_test(texts),
        cmocka_unit_test(token_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
