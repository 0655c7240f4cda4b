/* The command loop: MB-45 to MB-51, leaving, and what malformed reports do. */
#include "tests/unit/core/fixture.h"

static void refused(struct fx *f, enum td_err got, enum td_err want, const char *reason)
{
    if (got != want || !f->ei.reason || strcmp(f->ei.reason, reason) != 0)
        fail_msg("got %s %s (%s), want %s %s", err_name(got), f->ei.reason ? f->ei.reason : "-",
                 f->ei.msg, err_name(want), reason);
}

/* Reports and expects the command `want` next; NULL expects zero bytes. */
static void step(struct fx *f, const char *status, const char *uuid, const char *want)
{
    enum td_err e = fx_connect(f, 'a', FX_UDID_A, status, uuid);
    if (e != TD_OK)
        fail_msg("%s: %s: %s", status, err_name(e), f->ei.msg);
    const char *got = fx_reply(f, NULL);
    if (!want)
        assert_null(got);
    else if (!got || strcmp(got, want) != 0)
        fail_msg("after %s: got %s, want %s", status, got ? got : "nothing", want);
}

static void in_order(void **state)
{
    struct fx *f = *state;
    const char *type = NULL;
    fx_enrol_a(f);
    step(f, "Idle", NULL, NULL); /* MB-1 */
    const char *a = fx_queue(f, "DeviceInformation"), *b = fx_queue(f, "SecurityInfo"),
               *c = fx_queue(f, "ProfileList");
    assert_int_equal(fx_enrollment(f, "SERIALA").queued, 3);
    f->clock.at += 1;
    step(f, "Idle", NULL, a);
    assert_string_equal(fx_reply(f, &type), a);
    assert_string_equal(type, "DeviceInformation");
    assert_true(span_starts(buf_view(&f->reply), SPAN_LIT("<?xml"))); /* MB-74 */
    assert_string_equal(fx_command(f, "SERIALA", a).state, "sent");
    assert_int_equal(fx_command(f, "SERIALA", a).sent_at, FX_NOW + 1);
    step(f, "Idle", NULL, a); /* the connection broke: again */
    f->clock.at += 1;
    step(f, "Acknowledged", a, b);
    struct core_command v = fx_command(f, "SERIALA", a);
    assert_string_equal(v.state, "acknowledged");
    assert_string_equal(v.status, "Acknowledged");
    assert_int_equal(v.done_at, FX_NOW + 2);
    assert_true(memmem(v.result.p, v.result.n, a, strlen(a)) != NULL);
    assert_true(memmem(v.body.p, v.body.n, "DeviceInformation", 17) != NULL);
    step(f, "Acknowledged", a, b); /* MB-47: reported twice */
    step(f, "Error", b, c);
    assert_string_equal(fx_command(f, "SERIALA", b).state, "error");
    step(f, "CommandFormatError", c, NULL);
    v = fx_command(f, "SERIALA", c);
    assert_string_equal(v.state, "error");
    assert_string_equal(v.status, "CommandFormatError");
    step(f, "Error", a, NULL); /* a late other status changes nothing */
    assert_string_equal(fx_command(f, "SERIALA", a).state, "acknowledged");
    step(f, "Idle", NULL, NULL);
    assert_int_equal(fx_enrollment(f, "SERIALA").queued, 0);
}

/* MB-45: skipped for the rest of the session, tried again at the next Idle, after the fresh ones.
 */
static void not_now(void **state)
{
    struct fx *f = *state;
    fx_enrol_a(f);
    const char *a = fx_queue(f, "InstallProfile"), *b = fx_queue(f, "CertificateList"),
               *c = fx_queue(f, "SecurityInfo");
    step(f, "Idle", NULL, a);
    step(f, "NotNow", a, b);
    step(f, "NotNow", b, c);
    step(f, "NotNow", b, c); /* reported twice: counted once */
    step(f, "Acknowledged", c, NULL);
    struct core_command v = fx_command(f, "SERIALA", b);
    assert_string_equal(v.state, "notnow");
    assert_string_equal(v.status, "NotNow");
    assert_int_equal(v.notnow_count, 1);
    assert_int_equal(v.done_at, 0);
    assert_int_equal(fx_enrollment(f, "SERIALA").queued, 2);
    const char *d = fx_queue(f, "ProfileList");
    step(f, "Idle", NULL, d);
    step(f, "Acknowledged", d, a);
    step(f, "NotNow", a, b);
    step(f, "NotNow", b, NULL); /* the session ends with NotNow and does not loop */
    assert_int_equal(fx_command(f, "SERIALA", a).notnow_count, 2);
    step(f, "Idle", NULL, a);
    step(f, "Acknowledged", a, b);
    step(f, "Acknowledged", b, NULL);
    assert_string_equal(fx_command(f, "SERIALA", a).state, "acknowledged");
}

/* MB-46: a device that put something off is woken later. */
static void not_now_push(void **state)
{
    struct fx *f = *state;
    fx_enrol_a(f);
    const char *a = fx_queue(f, "InstallProfile");
    fx_wait(f, &f->push.sent, 2);
    step(f, "Idle", NULL, a);
    step(f, "NotNow", a, NULL);
    core_wake(f->core);
    const char *b = fx_queue(f, "SecurityInfo"); /* not due yet, but this one is */
    fx_wait(f, &f->push.sent, 3);
    step(f, "Idle", NULL, b);
    step(f, "Acknowledged", b, a);
    step(f, "NotNow", a, NULL);
    f->clock.at += 901;
    core_wake(f->core);
    fx_wait(f, &f->push.sent, 4);
}

static void unknown_things(void **state)
{
    struct fx *f = *state;
    fx_enrol_a(f);
    const char *a = fx_queue(f, "SecurityInfo"), *b = fx_queue(f, "ProfileList");
    step(f, "Acknowledged", "11111111-2222-3333-4444-555555555555", a); /* MB-49 */
    step(f, "Procrastinated", a, b);                                    /* MB-50 */
    struct core_command v = fx_command(f, "SERIALA", a);
    assert_string_equal(v.state, "error");
    assert_string_equal(v.status, "Procrastinated");
    assert_true(v.result.n > 0);
    static const char no_uuid[] = FX_HEAD FX_S("UDID", FX_UDID_A) FX_S("Status", "Error") FX_TAIL;
    assert_int_equal(fx_connect_raw(f, 'a', no_uuid), TD_OK); /* belongs to the one sent last */
    assert_string_equal(fx_command(f, "SERIALA", b).state, "error");
    assert_int_equal(fx_connect_raw(f, 'a', no_uuid), TD_OK);
}

/* Nobody closes the commands of another device. */
static void foreign_uuid(void **state)
{
    struct fx *f = *state;
    fx_enrol_a(f);
    assert_int_equal(fx_checkin(f, 'b', "Authenticate", FX_AUTH(FX_UDID_B)), TD_OK);
    assert_int_equal(fx_checkin(f, 'b', "TokenUpdate", FX_TOKEN(FX_UDID_B)), TD_OK);
    const char *a = fx_queue(f, "SecurityInfo");
    assert_int_equal(fx_connect(f, 'b', FX_UDID_B, "Acknowledged", a), TD_OK);
    assert_null(fx_reply(f, NULL));
    assert_string_equal(fx_command(f, "SERIALA", a).state, "queued");
    refused(f, fx_connect(f, 'b', FX_UDID_A, "Idle", NULL), TD_FORBIDDEN, "udid-mismatch");
    refused(f, fx_connect(f, 'b', FX_UDID_A, "Acknowledged", a), TD_FORBIDDEN, "udid-mismatch");
    refused(f, fx_connect(f, 'z', FX_UDID_A, "Idle", NULL), TD_FORBIDDEN, "cert-unknown");
    refused(f, fx_connect(f, 'c', FX_UDID_A, "Idle", NULL), TD_FORBIDDEN, "cert-not-pinned");
    assert_string_equal(fx_command(f, "SERIALA", a).state, "queued");
    struct attempt *t;
    assert_int_equal(fx_attempts(f, "SERIALB", &t), 3); /* two accepted, one refused */
    assert_string_equal(t[0].source, "connect");
    assert_string_equal(t[0].reason, "udid-mismatch");
}

/* MB-48 */
static void undecodable(void **state)
{
    struct fx *f = *state;
    fx_enrol_a(f);
    static const struct {
        const char *name, *body; /* %s: the CommandUUID */
    } cases[] = {
        {"cut", "<plist><dict><key>CommandUUID</key>\n\t<string>%s</string><key>Status</key>"
                "<string>Acknowledged</string><key>Que"},
        {"no status", "<plist><dict><key>CommandUUID</key><string>%s</string><oops"},
        {"entities", "<!DOCTYPE x [<!ENTITY y 'z'>]><plist><dict><key>CommandUUID</key><string>%s"
                     "</string><key>Status</key><string>Error</string></dict></plist>"},
        {"no uuid", "<plist><dict><key>Status</key><string>Acknowledged</string><!-- %s "},
        {"no dictionary", "<plist><array/></plist><key>Status</key><string>Error</string>%s"},
    };
    for (size_t i = 0; i < TD_NITEMS(cases); i++) {
        print_message("  %s\n", cases[i].name);
        const char *a = fx_queue(f, "SecurityInfo"), *b = fx_queue(f, "ProfileList");
        step(f, "Idle", NULL, a);
        struct buf body;
        buf_init(&body, 4096);
        for (const char *p = cases[i].body; *p; p++) {
            if (p[0] == '%' && p[1] == 's') {
                buf_str(&body, a);
                p++;
            } else {
                buf_u8(&body, (uint8_t)*p);
            }
        }
        assert_int_equal(fx_connect_raw(f, 'a', buf_cstr(&body)), TD_OK);
        assert_string_equal(fx_reply(f, NULL), b); /* the session goes on */
        struct core_command v = fx_command(f, "SERIALA", a);
        assert_string_equal(v.state, "error");
        assert_string_equal(v.status, "undecodable");
        assert_true(span_eq(v.result, buf_view(&body))); /* as it came */
        buf_free(&body);
        step(f, "Acknowledged", b, NULL);
    }
    /* an undecodable Idle is an Idle */
    const char *a = fx_queue(f, "SecurityInfo");
    assert_int_equal(fx_connect_raw(f, 'a', "<plist><dict><key>Status</key><string>Idle</string>"),
                     TD_OK);
    assert_string_equal(fx_reply(f, NULL), a);
    refused(f, fx_connect_raw(f, 'a', "garbage"), TD_PARSE, "report-malformed");
    refused(f, fx_connect_raw(f, 'a', ""), TD_PARSE, "report-malformed");
    refused(f, fx_connect_raw(f, 'a', FX_HEAD FX_S("UDID", FX_UDID_A) FX_TAIL), TD_PARSE,
            "report-malformed");
    assert_string_equal(fx_command(f, "SERIALA", a).state, "sent");
}

/* A device that leaves gets its removal and nothing else, whatever it says. */
static void leaving(void **state)
{
    struct fx *f = *state;
    const char *type = NULL;
    fx_enrol_a(f);
    const char *a = fx_queue(f, "SecurityInfo");
    fx_wait(f, &f->push.sent, 2);
    step(f, "Idle", NULL, a);
    fx_leave_a(f);
    core_wake(f->core);
    fx_wait(f, &f->push.sent, 3); /* the device is told to come */
    struct core_enrollment v = fx_enrollment(f, "SERIALA");
    assert_string_equal(v.state, "leaving");
    assert_true(v.pushable);
    assert_int_equal(v.left_at, FX_NOW);
    assert_string_equal(fx_command(f, "SERIALA", a).state, "cancelled");

    assert_int_equal(fx_connect(f, 'a', FX_UDID_A, "Acknowledged", a), TD_OK);
    const char *removal = fx_reply(f, &type);
    assert_string_equal(type, "RemoveProfile");
    assert_true(memmem(f->reply.p, f->reply.n, FX_PROFILE, strlen(FX_PROFILE)) != NULL);
    assert_string_equal(fx_command(f, "SERIALA", a).state, "cancelled");
    step(f, "Idle", NULL, removal);
    fx_restart(f);
    step(f, "Idle", NULL, removal); /* the same for the life of the enrolment */
    step(f, "NotNow", removal, NULL);
    step(f, "Idle", NULL, removal);
    struct plist *cmd = plist_new_dict(&f->a);
    char uuid[37];
    assert_int_equal(plist_set_str(cmd, "RequestType", "SecurityInfo"), TD_OK);
    assert_int_equal(core_enqueue(f->core, "SERIALA", cmd, NULL, "t", uuid, &f->ei), TD_STATE);
    step(f, "Acknowledged", removal, NULL);
    assert_string_equal(fx_enrollment(f, "SERIALA").state, "removed");
    refused(f, fx_connect(f, 'a', FX_UDID_A, "Idle", NULL), TD_FORBIDDEN, CORE_REASON_UNRECOGNIZED);
}

/* The device cannot remove the profile: it is told that it is not known here (MB-4). */
static void leaving_error(void **state)
{
    struct fx *f = *state;
    fx_enrol_a(f);
    fx_leave_a(f);
    assert_int_equal(fx_connect(f, 'a', FX_UDID_A, "Idle", NULL), TD_OK);
    const char *removal = fx_reply(f, NULL);
    refused(f, fx_connect(f, 'a', FX_UDID_A, "Error", removal), TD_FORBIDDEN,
            CORE_REASON_UNRECOGNIZED);
    step(f, "Idle", NULL, removal);
}

/* Leaving before the first TokenUpdate, and without any enrolment. */
static void leaving_early(void **state)
{
    struct fx *f = *state;
    const char *type = NULL;
    fx_leave_a(f);
    f->certs[0].revoked = false;
    f->listed[0] = "SERIALA";
    assert_int_equal(fx_checkin(f, 'a', "Authenticate", FX_AUTH(FX_UDID_A)), TD_OK);
    fx_leave_a(f);
    assert_int_equal(fx_connect(f, 'a', FX_UDID_A, "Idle", NULL), TD_OK);
    assert_non_null(fx_reply(f, &type));
    assert_string_equal(type, "RemoveProfile");
}

static void our_faults(void **state)
{
    struct fx *f = *state;
    fx_enrol_a(f);
    const char *a = fx_queue(f, "SecurityInfo");
    f->cert_fault = TD_DB;
    enum td_err e = fx_connect(f, 'a', FX_UDID_A, "Idle", NULL);
    assert_int_equal(err_http(e), 503);
    e = fx_connect(f, 'a', FX_UDID_A, "Acknowledged", a);
    assert_int_equal(err_http(e), 503);
    f->cert_fault = TD_OK;
    assert_string_equal(fx_command(f, "SERIALA", a).state, "queued");
    step(f, "Idle", NULL, a);
}

/* On a thread that may not wait nothing is written: no command given out, no refusal recorded. */
static void no_wait(void **state)
{
    struct fx *f = *state;
    if (test_on_pg())
        skip(); /* there every read may wait */
    static const char idle[] = FX_HEAD FX_S("UDID", FX_UDID_A) FX_S("Status", "Idle") FX_TAIL;
    static const char done[] =
        FX_HEAD FX_S("UDID", FX_UDID_A) FX_S("Status", "Acknowledged") FX_TAIL;
    struct core_ident a = fx_ident('a'), stranger = fx_ident('z');
    a.no_wait = stranger.no_wait = true;
    fx_enrol_a(f);
    assert_int_equal(core_connect(f->core, &a, span_str(idle), &f->a, &f->reply, &f->ei), TD_OK);
    assert_int_equal(f->reply.n, 0);
    const char *uuid = fx_queue(f, "SecurityInfo");
    assert_int_equal(core_connect(f->core, &a, span_str(idle), &f->a, &f->reply, &f->ei), TD_AGAIN);
    assert_string_equal(fx_command(f, "SERIALA", uuid).state, "queued");
    assert_int_equal(core_connect(f->core, &a, span_str(done), &f->a, &f->reply, &f->ei), TD_AGAIN);
    assert_int_equal(core_connect(f->core, &a, span_str("x"), &f->a, &f->reply, &f->ei), TD_AGAIN);
    assert_int_equal(core_connect(f->core, &a, span_str("<Idle"), &f->a, &f->reply, &f->ei),
                     TD_AGAIN);
    assert_int_equal(core_connect(f->core, &a, span_str(""), &f->a, &f->reply, &f->ei), TD_AGAIN);
    assert_int_equal(core_connect(f->core, &stranger, span_str(idle), &f->a, &f->reply, &f->ei),
                     TD_AGAIN);
    step(f, "Idle", NULL, uuid);
}

/* A crash between two commands loses neither (ARCHITECTURE rule 6). */
static void restart(void **state)
{
    struct fx *f = *state;
    fx_enrol_a(f);
    const char *a = fx_queue(f, "SecurityInfo"), *b = fx_queue(f, "ProfileList");
    step(f, "Idle", NULL, a);
    fx_restart(f);
    step(f, "Idle", NULL, a);
    step(f, "Acknowledged", a, b);
    fx_restart(f);
    step(f, "Acknowledged", a, b);
    step(f, "Acknowledged", b, NULL);
}

/* MB-55: an Idle writes nothing, yet the device is seen in the end. */
static void last_seen(void **state)
{
    struct fx *f = *state;
    fx_enrol_a(f);
    f->clock.at += 100;
    step(f, "Idle", NULL, NULL);
    core_close(f->core); /* writes what is pending */
    f->core = NULL;
    assert_int_equal(fx_enrollment(f, "SERIALA").last_seen_at, FX_NOW + 100);
    fx_open_core(f);
}

/* Long status, binary plist, UDID of a wrong type. */
static void odd_reports(void **state)
{
    struct fx *f = *state;
    fx_enrol_a(f);
    const char *a = fx_queue(f, "SecurityInfo");
    char text[300];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    assert_int_equal(fx_connect(f, 'a', FX_UDID_A, text, a), TD_OK);
    assert_int_equal(strlen(fx_command(f, "SERIALA", a).status), 32);
    assert_int_equal(fx_connect(f, 'a', FX_UDID_A, "Acknowledged", text), TD_OK);
    refused(f,
            fx_connect_raw(f, 'a',
                           FX_HEAD "<key>UDID</key><integer>1</integer>" FX_S("Status", "Idle")
                               FX_TAIL),
            TD_PARSE, "message-malformed");
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, fx_setup, fx_teardown)
    const struct CMUnitTest tests[] = {
        T(in_order),     T(not_now),     T(not_now_push),  T(unknown_things),
        T(foreign_uuid), T(leaving),     T(leaving_error), T(leaving_early),
        T(our_faults),   T(undecodable), T(no_wait),       T(last_seen),
        T(odd_reports),  T(restart),     T(last_seen),     T(odd_reports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
