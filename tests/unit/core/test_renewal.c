/* MB-20, MB-27: a renewed identity takes an enrolment over and resets nothing of it. */
#include "fixture.h"

static void refused(struct fx *f, enum td_err e, const char *reason)
{
    assert_int_equal(e, TD_FORBIDDEN);
    assert_string_equal(f->ei.reason, reason);
}

/* 'a' is enrolled with a command waiting; 'r' renews it, 's' renews it too and is never used. */
static const char *begin(struct fx *f)
{
    fx_enrol_a(f);
    size_t n = 0;
    while (f->certs[n].serial)
        n++;
    f->certs[n++] =
        (struct fx_cert){.byte = 'r', .serial = "SERIALA", .purpose = "management", .renews = 'a'};
    f->certs[n] =
        (struct fx_cert){.byte = 'x', .serial = "SERIALB", .purpose = "management", .renews = 'a'};
    return fx_queue(f, "SecurityInfo");
}

static void check_taken_over(struct fx *f, const char *uuid)
{
    struct core_enrollment v = fx_enrollment(f, "SERIALA");
    assert_string_equal(v.state, "enrolled");
    assert_true(v.pushable);
    assert_int_equal(v.enrolled_at, FX_NOW);
    assert_string_not_equal(fx_command(f, "SERIALA", uuid).state, "cancelled");
    refused(f, fx_connect(f, 'a', FX_UDID_A, "Idle", NULL), "cert-not-pinned");
    refused(f, fx_checkin(f, 'a', "Authenticate", FX_AUTH(FX_UDID_A)), "cert-revoked");
}

static void by_authenticate(void **state)
{
    struct fx *f = *state;
    const char *uuid = begin(f);
    f->clock.at += 10;
    assert_int_equal(fx_checkin(f, 'r', "Authenticate", FX_AUTH(FX_UDID_A)), TD_OK);
    check_taken_over(f, uuid);
    assert_int_equal(fx_checkin(f, 'r', "Authenticate", FX_AUTH(FX_UDID_A)), TD_OK); /* retried */
    check_taken_over(f, uuid);
    assert_int_equal(fx_checkin(f, 'r', "TokenUpdate", FX_TOKEN(FX_UDID_A)), TD_OK);
    check_taken_over(f, uuid);
}

static void by_connect(void **state)
{
    struct fx *f = *state;
    const char *uuid = begin(f);
    assert_int_equal(fx_connect(f, 'r', FX_UDID_A, "Idle", NULL), TD_OK);
    check_taken_over(f, uuid);
    assert_int_equal(fx_connect(f, 'r', FX_UDID_A, "Acknowledged", uuid), TD_OK);
    assert_string_equal(fx_command(f, "SERIALA", uuid).state, "acknowledged");
}

static void by_token_update(void **state)
{
    struct fx *f = *state;
    const char *uuid = begin(f);
    assert_int_equal(fx_checkin(f, 'r', "TokenUpdate", FX_TOKEN(FX_UDID_A)), TD_OK);
    check_taken_over(f, uuid);
}

/* As long as the new one was not used, the old one is what it was. */
static void not_used(void **state)
{
    struct fx *f = *state;
    begin(f);
    assert_int_equal(fx_connect(f, 'a', FX_UDID_A, "Idle", NULL), TD_OK);
    assert_int_equal(fx_checkin(f, 'a', "TokenUpdate", FX_TOKEN(FX_UDID_A)), TD_OK);
}

/* Another device's, another UDID's, a revoked one, one for a device that left: none takes over. */
static void strangers(void **state)
{
    struct fx *f = *state;
    begin(f);
    refused(f, fx_connect(f, 'x', FX_UDID_A, "Idle", NULL), "cert-not-pinned");
    refused(f, fx_connect(f, 'r', FX_UDID_B, "Idle", NULL), "cert-not-pinned");
    size_t n = 0;
    while (f->certs[n].byte != 'r')
        n++;
    f->certs[n].revoked = true;
    refused(f, fx_connect(f, 'r', FX_UDID_A, "Idle", NULL), "cert-not-pinned");
    refused(f, fx_checkin(f, 'r', "Authenticate", FX_AUTH(FX_UDID_A)), "cert-revoked");
    f->certs[n].revoked = false;
    f->certs[n].purpose = "access";
    refused(f, fx_connect(f, 'r', FX_UDID_A, "Idle", NULL), "cert-not-pinned");
    assert_int_equal(fx_connect(f, 'a', FX_UDID_A, "Idle", NULL), TD_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(by_authenticate, fx_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(by_connect, fx_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(by_token_update, fx_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(not_used, fx_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(strangers, fx_setup, fx_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
