/* Which UDID a device may have beside the one that it attested. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "acme/attest/udid.h"

#define UDID "00008120-001A2B3C4D5E6F70"
#define OTHER "00008120-001A2B3C4D5E6F71"
#define HARDWARE_UUID "4A348D39-91E0-8B21-2029-701B1A0E1332"

static void agrees(void **state)
{
    (void)state;
    static const struct {
        const char *facts, *udid;
        bool want;
    } rows[] = {
        {"{\"udid\":\"" UDID "\"}", UDID, true},
        {"{\"udid\":\"00008120-001a2b3c4d5e6f70\"}", UDID, true},
        {"{\"udid\":\"" UDID "\"}", OTHER, false},
        {"{\"udid\":\"" UDID "\"}", "", false},
        {"{\"udid\":\"" UDID "\"}", UDID "0", false},
        {"{\"udid\":\"" UDID "\",\"sw_update_id\":\"iPhone15,2\"}", OTHER, false},
        /* User Enrollment, and what Apple could not verify */
        {"{}", UDID, true},
        {"{\"udid\":null}", UDID, true},
        {"{\"udid\":\"\"}", UDID, true},
        {"{\"udid\":7}", UDID, true},
        /* Macs */
        {"{\"udid\":\"" UDID "\",\"sip\":\"enabled\",\"sw_update_id\":\"J514sAP\"}", HARDWARE_UUID,
         true},
        {"{\"udid\":\"" UDID "\",\"secure_boot\":\"Full Security\"}", HARDWARE_UUID, true},
        {"{\"udid\":\"" UDID "\",\"kexts\":\"not-allowed\"}", HARDWARE_UUID, true},
        {"{\"udid\":\"" UDID "\",\"sip\":null,\"sw_update_id\":null}", HARDWARE_UUID,
         true}, /* 14.0 */
        /* the form of a Mac's UDID does not make a Mac of what attested to be none */
        {"{\"udid\":\"" UDID "\",\"sip\":null,\"sw_update_id\":\"iPhone15,2\"}", HARDWARE_UUID,
         false},
        {"{\"udid\":\"" UDID "\"}", "4A348D39-91E0-8B21-2029-701B1A0E133G", false},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        arena_auto a;
        arena_init(&a, 4096);
        struct json *facts;
        assert_int_equal(json_parse(span_str(rows[i].facts), &a, &facts, NULL), TD_OK);
        if (attest_udid_agrees(facts, span_str(rows[i].udid)) != rows[i].want)
            fail_msg("row %zu", i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(agrees)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
