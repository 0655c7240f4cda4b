/* Check-in: the enrolment state machine of MB-1 to MB-28 on a real database. */
#include "tests/unit/core/fixture.h"

static void refused(struct fx *f, enum td_err got, enum td_err want, const char *reason)
{
    if (got != want || !f->ei.reason || strcmp(f->ei.reason, reason) != 0)
        fail_msg("got %s %s (%s), want %s %s", err_name(got), f->ei.reason ? f->ei.reason : "-",
                 f->ei.msg, err_name(want), reason);
    assert_int_equal(f->reply.n, 0);
}

static void enrols(void **state)
{
    struct fx *f = *state;
    assert_int_equal(fx_checkin(f, 'a', "Authenticate",
                                FX_AUTH(FX_UDID_A) FX_S("SerialNumber", "SERIALA") FX_S(
                                    "DeviceName", "Ann&apos;s phone") FX_S("OSVersion", "18.1")
                                    FX_S("ProductName", "iPhone15,2") FX_S("ModelName", "iPhone")
                                        FX_S("BuildVersion", "22B83")),
                     TD_OK);
    assert_int_equal(f->reply.n, 0); /* MB-1 */
    struct core_enrollment v = fx_enrollment(f, "SERIALA");
    assert_string_equal(v.state, "authenticated"); /* MB-12 */
    assert_false(v.pushable);
    assert_string_equal(v.device_name, "Ann's phone");
    assert_string_equal(v.model, "iPhone");
    assert_string_equal(v.product, "iPhone15,2");
    assert_string_equal(v.os_version, "18.1");
    assert_string_equal(v.build, "22B83");
    assert_int_equal(f->push.tried, 0); /* MB-60 */

    f->clock.at += 3;
    assert_int_equal(fx_checkin(f, 'a', "TokenUpdate", FX_TOKEN(FX_UDID_A)), TD_OK);
    assert_int_equal(f->reply.n, 0); /* MB-22 */
    v = fx_enrollment(f, "SERIALA");
    assert_string_equal(v.state, "enrolled");
    assert_true(v.pushable);
    assert_int_equal(v.authenticated_at, FX_NOW);
    assert_int_equal(v.enrolled_at, FX_NOW + 3);
    fx_wait(f, &f->push.sent, 1);
    assert_string_equal(f->push.last_id, FX_UDID_A);
    assert_string_equal(f->push.last_topic, FX_TOPIC);
    assert_string_equal(f->push.last_magic, "magic-" FX_UDID_A);
    assert_int_equal(f->push.last_token, 8);

    struct attempt *t;
    size_t n = fx_attempts(f, "SERIALA", &t);
    assert_int_equal(n, 2);
    assert_string_equal(t[0].outcome, "accepted");
    assert_string_equal(t[0].source, "checkin");
    assert_string_equal(t[1].detail, "Authenticate");
}

static void refusals(void **state)
{
    struct fx *f = *state;
    static const struct {
        const char *name, *type, *members;
        char cert;
        enum td_err err;
        const char *reason;
    } cases[] = {
        {"unknown certificate", "Authenticate", FX_AUTH(FX_UDID_A), 'z', TD_FORBIDDEN,
         "cert-unknown"},
        {"unknown certificate, other type", "TokenUpdate", FX_TOKEN(FX_UDID_A), 'z', TD_FORBIDDEN,
         "cert-unknown"},
        {"access certificate", "Authenticate", FX_AUTH(FX_UDID_A), 'w', TD_FORBIDDEN,
         "cert-purpose"},
        {"unlisted", "Authenticate", FX_AUTH(FX_UDID_A), 'g', TD_FORBIDDEN, "device-not-listed"},
        {"serial", "Authenticate", FX_AUTH(FX_UDID_A) FX_S("SerialNumber", "SERIALB"), 'a',
         TD_FORBIDDEN, "serial-mismatch"},
        {"no UDID", "Authenticate", FX_S("Topic", FX_TOPIC), 'a', TD_PARSE, "message-malformed"},
        {"user enrolment", "Authenticate", FX_S("EnrollmentID", "E-1") FX_S("Topic", FX_TOPIC), 'a',
         TD_FORBIDDEN, "user-enrollment-unsupported"},
        {"strange UDID", "Authenticate", FX_AUTH("../../etc"), 'a', TD_PARSE, "message-malformed"},
        {"no topic", "Authenticate", FX_S("UDID", FX_UDID_A), 'a', TD_PARSE, "message-malformed"},
        {"other topic", "Authenticate",
         FX_S("UDID", FX_UDID_A) FX_S("Topic", "com.apple.mgmt.other"), 'a', TD_FORBIDDEN,
         "topic-mismatch"},
        {"user channel", "Authenticate", FX_AUTH(FX_UDID_A) FX_S("UserID", "U"), 'a',
         TD_UNSUPPORTED, "user-channel"},
        {"before Authenticate", "TokenUpdate", FX_TOKEN(FX_UDID_A), 'a', TD_FORBIDDEN,
         "cert-not-pinned"},
        {"CheckOut before", "CheckOut", FX_AUTH(FX_UDID_A), 'a', TD_FORBIDDEN, "cert-not-pinned"},
        {"unknown type", "ReturnToService", FX_AUTH(FX_UDID_A), 'a', TD_UNSUPPORTED,
         "message-unsupported"},
        {"DDM", "DeclarativeManagement", FX_AUTH(FX_UDID_A), 'a', TD_UNSUPPORTED,
         "message-unsupported"},
        {"GetToken", "GetToken", FX_AUTH(FX_UDID_A), 'a', TD_UNSUPPORTED, "message-unsupported"},
        {"no type", "", FX_AUTH(FX_UDID_A), 'a', TD_PARSE, "message-malformed"},
    };
    for (size_t i = 0; i < TD_NITEMS(cases); i++) {
        print_message("  %s\n", cases[i].name);
        enum td_err e = fx_checkin(f, cases[i].cert, cases[i].type, cases[i].members);
        refused(f, e, cases[i].err, cases[i].reason);
        assert_int_not_equal(err_http(e), 401); /* MB-2 */
    }
    struct attempt *t;
    size_t n = fx_attempts(f, "SERIALA", &t);
    assert_int_equal(n, 8); /* a reason once a minute */
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(t[i].outcome, "refused");
        assert_string_equal(t[i].peer, "192.0.2.1");
    }
    assert_int_equal(fx_attempts(f, "", &t), 1);
    assert_string_equal(t[0].reason, "cert-unknown");
    assert_int_equal(fx_attempts(f, "SERIALG", &t), 1);
}

/* A fault of ours is 503 and no refusal (MB-2, ARCHITECTURE rule 5). */
static void our_faults(void **state)
{
    struct fx *f = *state;
    struct attempt *t;
    f->cert_fault = TD_DB;
    enum td_err e = fx_checkin(f, 'a', "Authenticate", FX_AUTH(FX_UDID_A));
    assert_int_equal(e, TD_DB);
    assert_int_equal(err_http(e), 503);
    f->cert_fault = TD_OK;
    f->list_fault = TD_BUSY;
    e = fx_checkin(f, 'a', "Authenticate", FX_AUTH(FX_UDID_A));
    assert_int_equal(e, TD_BUSY);
    f->list_fault = TD_OK;
    assert_int_equal(fx_attempts(f, NULL, &t), 0);
    fx_enrol_a(f);
}

static void limiter(void **state)
{
    struct fx *f = *state;
    struct attempt *t;
    for (int i = 0; i < 5; i++)
        assert_int_equal(fx_checkin(f, 'g', "Authenticate", FX_AUTH(FX_UDID_A)), TD_FORBIDDEN);
    assert_int_equal(fx_attempts(f, "SERIALG", &t), 1);
    f->clock.at += 61;
    assert_int_equal(fx_checkin(f, 'g', "Authenticate", FX_AUTH(FX_UDID_A)), TD_FORBIDDEN);
    assert_int_equal(fx_attempts(f, "SERIALG", &t), 2);
    /* strangers with ever new certificates: one row a minute for all */
    for (char c = 'A'; c < 'F'; c++)
        assert_int_equal(fx_checkin(f, c, "Authenticate", FX_AUTH(FX_UDID_A)), TD_FORBIDDEN);
    assert_int_equal(fx_attempts(f, "", &t), 1);
}

/* What the device proved is asked for before anything is written. */
static void attested_udid(void **state)
{
    struct fx *f = *state;
    f->certs[0].byte = 0x77;
    refused(f, fx_checkin(f, 0x77, "Authenticate", FX_AUTH(FX_UDID_A)), TD_FORBIDDEN,
            "attested-udid-mismatch");
    refused(f, fx_checkin(f, 0x77, "TokenUpdate", FX_TOKEN(FX_UDID_A)), TD_FORBIDDEN,
            "cert-not-pinned");
    assert_int_equal(fx_checkin(f, 0x77, "Authenticate", FX_AUTH("ATTESTED")), TD_OK);
    assert_int_equal(fx_checkin(f, 0x77, "TokenUpdate", FX_TOKEN("ATTESTED")), TD_OK);
    assert_string_equal(fx_enrollment(f, "SERIALA").id, "ATTESTED");
}

/* MB-25: a certificate belongs to one enrolment, an enrolment to one serial. */
static void pinning(void **state)
{
    struct fx *f = *state;
    fx_enrol_a(f);
    refused(f, fx_checkin(f, 'a', "Authenticate", FX_AUTH(FX_UDID_B)), TD_FORBIDDEN,
            "cert-pinned-elsewhere");
    refused(f, fx_checkin(f, 'b', "Authenticate", FX_AUTH(FX_UDID_A)), TD_FORBIDDEN,
            "udid-other-serial");
    refused(f, fx_checkin(f, 'a', "TokenUpdate", FX_TOKEN(FX_UDID_B)), TD_FORBIDDEN,
            "udid-mismatch");
    refused(f, fx_checkin(f, 'b', "TokenUpdate", FX_TOKEN(FX_UDID_A)), TD_FORBIDDEN,
            "cert-not-pinned");
    refused(f, fx_checkin(f, 'a', "CheckOut", FX_AUTH(FX_UDID_B)), TD_FORBIDDEN, "udid-mismatch");
    refused(f, fx_checkin(f, 'b', "CheckOut", FX_AUTH(FX_UDID_A)), TD_FORBIDDEN, "cert-not-pinned");
    assert_string_equal(fx_enrollment(f, "SERIALA").state, "enrolled");
}

/* MB-21: the same certificate again is a retry. */
static void retry_is_no_reset(void **state)
{
    struct fx *f = *state;
    fx_enrol_a(f);
    const char *uuid = fx_queue(f, "DeviceInformation");
    f->clock.at += 10;
    assert_int_equal(fx_checkin(f, 'a', "Authenticate", FX_AUTH(FX_UDID_A)), TD_OK);
    struct core_enrollment v = fx_enrollment(f, "SERIALA");
    assert_string_equal(v.state, "enrolled");
    assert_true(v.pushable);
    assert_int_equal(v.authenticated_at, FX_NOW);
    assert_int_equal(v.queued, 1);
    assert_string_equal(fx_command(f, "SERIALA", uuid).state, "queued");
}

/* MB-12, MB-13: another certificate is a new enrolment, and nothing of the old one reaches it. */
static void reenrolment_resets(void **state)
{
    struct fx *f = *state;
    fx_enrol_a(f);
    const char *uuid = fx_queue(f, "RemoveProfile");
    const char *sent = fx_queue(f, "SecurityInfo");
    assert_int_equal(fx_connect(f, 'a', FX_UDID_A, "Idle", NULL), TD_OK);
    f->clock.at += 10;
    assert_int_equal(fx_checkin(f, 'c', "Authenticate", FX_AUTH(FX_UDID_A)), TD_OK);
    struct core_enrollment v = fx_enrollment(f, "SERIALA");
    assert_string_equal(v.state, "authenticated");
    assert_false(v.pushable);
    assert_int_equal(v.authenticated_at, FX_NOW + 10);
    assert_int_equal(v.enrolled_at, 0);
    assert_int_equal(v.queued, 0);
    assert_string_equal(fx_command(f, "SERIALA", uuid).state, "cancelled");
    assert_string_equal(fx_command(f, "SERIALA", sent).state, "cancelled");
    /* the old certificate is out */
    refused(f, fx_connect(f, 'a', FX_UDID_A, "Idle", NULL), TD_FORBIDDEN, "cert-not-pinned");
    refused(f, fx_checkin(f, 'a', "TokenUpdate", FX_TOKEN(FX_UDID_A)), TD_FORBIDDEN,
            "cert-not-pinned");
    /* and cannot take the enrolment back */
    refused(f, fx_checkin(f, 'a', "Authenticate", FX_AUTH(FX_UDID_A)), TD_FORBIDDEN,
            "cert-revoked");
    /* not enrolled: no command can be queued (MB-60); a session is empty (MB-23) */
    struct plist *cmd = plist_new_dict(&f->a);
    char got[37];
    assert_int_equal(plist_set_str(cmd, "RequestType", "SecurityInfo"), TD_OK);
    assert_int_equal(core_enqueue(f->core, "SERIALA", cmd, NULL, "t", got, &f->ei), TD_STATE);
    assert_int_equal(fx_connect(f, 'c', FX_UDID_A, "Idle", NULL), TD_OK);
    assert_null(fx_reply(f, NULL));
    assert_int_equal(fx_checkin(f, 'c', "TokenUpdate", FX_TOKEN(FX_UDID_A)), TD_OK);
    assert_int_equal(fx_connect(f, 'c', FX_UDID_A, "Idle", NULL), TD_OK);
    assert_null(fx_reply(f, NULL));
    assert_int_equal(fx_enrollment(f, "SERIALA").enrolled_at, FX_NOW + 10);
}

/* A new main board: the same serial with another UDID. The enrolment it replaces ends (MB-13): no
 * certificate and no queue lives on beside the new ones. */
static void another_udid(void **state)
{
    struct fx *f = *state;
    fx_enrol_a(f);
    const char *uuid = fx_queue(f, "EraseDevice");
    f->clock.at += 10;
    assert_int_equal(fx_checkin(f, 'c', "Authenticate", FX_AUTH("NEW-BOARD")), TD_OK);
    assert_int_equal(fx_checkin(f, 'c', "TokenUpdate", FX_TOKEN("NEW-BOARD")), TD_OK);
    assert_string_equal(fx_enrollment(f, "SERIALA").id, "NEW-BOARD");
    assert_string_equal(fx_command(f, "SERIALA", uuid).state, "cancelled"); /* history stays */
    refused(f, fx_connect(f, 'a', FX_UDID_A, "Idle", NULL), TD_FORBIDDEN, "cert-not-pinned");
    refused(f, fx_checkin(f, 'a', "Authenticate", FX_AUTH(FX_UDID_A)), TD_FORBIDDEN,
            "cert-revoked");
    assert_int_equal(fx_connect(f, 'c', "NEW-BOARD", "Idle", NULL), TD_OK);
    assert_null(fx_reply(f, NULL));
}

/* Nobody attests a UDID. Whoever claims another's holds it only while he is enrolled: the one it
 * belongs to is not locked out for good. */
static void udid_claimed(void **state)
{
    struct fx *f = *state;
    struct core_command *list;
    fx_enrol_a(f);
    fx_queue(f, "SecurityInfo");
    refused(f, fx_checkin(f, 'b', "Authenticate", FX_AUTH(FX_UDID_A)), TD_FORBIDDEN,
            "udid-other-serial");
    fx_leave_a(f);
    assert_int_equal(fx_checkin(f, 'b', "Authenticate", FX_AUTH(FX_UDID_A)), TD_OK);
    assert_string_equal(fx_enrollment(f, "SERIALB").id, FX_UDID_A);
    assert_int_equal(fx_commands(f, "SERIALB", &list), 0); /* nothing of the other's */
    refused(f, fx_connect(f, 'a', FX_UDID_A, "Idle", NULL), TD_FORBIDDEN, "cert-not-pinned");
    assert_int_equal(fx_checkin(f, 'b', "TokenUpdate", FX_TOKEN(FX_UDID_A)), TD_OK);
    assert_int_equal(fx_connect(f, 'b', FX_UDID_A, "Idle", NULL), TD_OK);
    assert_null(fx_reply(f, NULL));
}

/* MB-26: who signs with a certificate of his own making is refused before his bytes are parsed, and
 * leaves one row a minute, whatever he sends. */
static void strangers_signature(void **state)
{
    struct fx *f = *state;
    struct attempt *t;
    for (char c = '0'; c <= '9'; c++) {
        struct core_ident id = fx_ident(c);
        id.how = "signature";
        f->ei = (struct errinfo){0};
        refused(f, core_checkin(f->core, &id, SPAN_LIT("x"), &f->a, &f->reply, &f->ei),
                TD_FORBIDDEN, "cert-unknown");
    }
    assert_int_equal(fx_attempts(f, NULL, &t), 1);
    struct core_ident id = fx_ident('a');
    id.how = "signature";
    f->cert_fault = TD_DB; /* a fault of ours is no refusal (MB-2) */
    assert_int_equal(core_connect(f->core, &id, SPAN_LIT("x"), &f->a, &f->reply, &f->ei), TD_DB);
    f->cert_fault = TD_OK;
    assert_int_equal(core_connect(f->core, &id, SPAN_LIT("x"), &f->a, &f->reply, &f->ei), TD_PARSE);
}

/* The columns that no view shows. */
struct raw {
    char unlock[32];
    int64_t awaiting, tally;
};

static const struct store_stmt raw_sql = {
    "test.raw", "SELECT unlock_token, awaiting, tally FROM enrollments WHERE id = ?1", "t", "Bii"};

static enum td_err raw_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct raw *r = ctx;
    struct cur cur;
    TD_TRY(tx_row(tx, &raw_sql, SV_LIST(SV_TEXT(FX_UDID_A)), &cur, ei));
    struct span s = cur_span(&cur, 0);
    snprintf(r->unlock, sizeof r->unlock, "%.*s", (int)s.n, s.n ? (const char *)s.p : "");
    r->awaiting = cur_int(&cur, 1);
    r->tally = cur_int(&cur, 2);
    cur_end(&cur);
    return TD_OK;
}

static struct raw raw(struct fx *f)
{
    struct raw r = {{0}, -1, -1};
    const struct store_stmts sets[] = {{&raw_sql, 1}};
    struct store_conf conf = {.twice = test_twice(),
                              .url = f->url,
                              .readers = 1,
                              .batch = 1,
                              .queue = 1,
                              .sets = sets,
                              .nsets = 1,
                              .clock = &f->clock.clock};
    struct store *s;
    assert_int_equal(store_open(&conf, &s, &f->ei), TD_OK);
    assert_int_equal(store_read(s, raw_job, &r, &f->ei), TD_OK);
    store_close(s);
    return r;
}

/* MB-14, MB-15, MB-16 */
static void token_updates(void **state)
{
    struct fx *f = *state;
    static const char with_unlock[] =
        FX_TOKEN(FX_UDID_A) "<key>UnlockToken</key><data>dW5sb2Nr</data>"
                            "<key>AwaitingConfiguration</key><true/>";
    assert_int_equal(fx_checkin(f, 'a', "Authenticate", FX_AUTH(FX_UDID_A)), TD_OK);
    assert_int_equal(raw(f).tally, 0);
    assert_int_equal(raw(f).awaiting, 0);
    assert_int_equal(fx_checkin(f, 'a', "TokenUpdate", with_unlock), TD_OK);
    assert_int_equal(fx_checkin(f, 'a', "TokenUpdate", FX_TOKEN(FX_UDID_A)), TD_OK);
    struct raw r = raw(f);
    assert_int_equal(r.tally, 2);
    assert_string_equal(r.unlock, "unlock"); /* absent: kept */
    assert_int_equal(r.awaiting, 1);         /* absent is not false */
    struct attempt *t;
    assert_int_equal(fx_attempts(f, "SERIALA", &t), 2); /* one enrolment, not two */
    assert_int_equal(fx_checkin(f, 'a', "TokenUpdate",
                                FX_TOKEN(FX_UDID_A) "<key>AwaitingConfiguration</key><false/>"),
                     TD_OK);
    assert_int_equal(raw(f).awaiting, 0);
    /* a new enrolment drops the unlock token of the old one */
    assert_int_equal(fx_checkin(f, 'c', "Authenticate", FX_AUTH(FX_UDID_A)), TD_OK);
    r = raw(f);
    assert_string_equal(r.unlock, "");
    assert_int_equal(r.tally, 0);
}

/* MB-17: a device that waits in Setup Assistant is told to go on, once. */
static void awaiting_configuration(void **state)
{
    struct fx *f = *state;
    static const char waits[] = FX_TOKEN(FX_UDID_A) "<key>AwaitingConfiguration</key><true/>";
    struct core_command *c;
    const char *type = NULL;
    assert_int_equal(fx_checkin(f, 'a', "Authenticate", FX_AUTH(FX_UDID_A)), TD_OK);
    assert_int_equal(fx_checkin(f, 'a', "TokenUpdate", waits), TD_OK);
    assert_int_equal(fx_checkin(f, 'a', "TokenUpdate", waits), TD_OK);
    assert_int_equal(fx_commands(f, "SERIALA", &c), 1);
    assert_string_equal(c[0].request_type, "DeviceConfigured");
    assert_string_equal(c[0].created_by, "server");
    assert_int_equal(fx_connect(f, 'a', FX_UDID_A, "Idle", NULL), TD_OK);
    const char *uuid = fx_reply(f, &type);
    assert_string_equal(type, "DeviceConfigured");
    assert_int_equal(raw(f).awaiting, 1);
    assert_int_equal(fx_connect(f, 'a', FX_UDID_A, "Acknowledged", uuid), TD_OK);
    assert_int_equal(raw(f).awaiting, 0);
}

static void token_update_malformed(void **state)
{
    struct fx *f = *state;
    static const char *const cases[] = {
        FX_AUTH(FX_UDID_A),
        FX_AUTH(FX_UDID_A) FX_S("PushMagic", "m"),
        FX_AUTH(FX_UDID_A) FX_S("PushMagic", "m") "<key>Token</key><data></data>",
        FX_AUTH(FX_UDID_A) FX_S("PushMagic", "m") FX_S("Token", "AAEC"),
        FX_AUTH(FX_UDID_A) FX_S("PushMagic", "") "<key>Token</key><data>AAEC</data>",
        FX_AUTH(FX_UDID_A) "<key>PushMagic</key><integer>5</integer>"
                           "<key>Token</key><data>AAEC</data>",
        FX_TOKEN(FX_UDID_A) FX_S("UnlockToken", "x"),
        FX_TOKEN(FX_UDID_A) FX_S("AwaitingConfiguration", "x"),
    };
    assert_int_equal(fx_checkin(f, 'a', "Authenticate", FX_AUTH(FX_UDID_A)), TD_OK);
    for (size_t i = 0; i < TD_NITEMS(cases); i++) {
        print_message("  case %zu\n", i);
        refused(f, fx_checkin(f, 'a', "TokenUpdate", cases[i]), TD_PARSE, "message-malformed");
    }
    refused(f,
            fx_checkin(f, 'a', "TokenUpdate",
                       FX_S("UDID", FX_UDID_A) FX_S("Topic", "com.apple.mgmt.other")
                           FX_S("PushMagic", "m") "<key>Token</key><data>AAEC</data>"),
            TD_FORBIDDEN, "topic-mismatch");
    assert_string_equal(fx_enrollment(f, "SERIALA").state, "authenticated");
}

/* MB-18, MB-19 */
static void check_out(void **state)
{
    struct fx *f = *state;
    fx_enrol_a(f);
    const char *uuid = fx_queue(f, "SecurityInfo");
    assert_int_equal(fx_checkin(f, 'a', "CheckOut", FX_AUTH(FX_UDID_A) FX_S("UserID", "U-1")),
                     TD_OK);
    assert_string_equal(fx_enrollment(f, "SERIALA").state, "enrolled");
    f->clock.at += 5;
    assert_int_equal(fx_checkin(f, 'a', "CheckOut", FX_AUTH(FX_UDID_A)), TD_OK);
    struct core_enrollment v = fx_enrollment(f, "SERIALA");
    assert_string_equal(v.state, "removed");
    assert_int_equal(v.left_at, FX_NOW + 5);
    assert_false(v.pushable);
    assert_string_equal(fx_command(f, "SERIALA", uuid).state, "cancelled");
    assert_int_equal(fx_checkin(f, 'a', "CheckOut", FX_AUTH(FX_UDID_A)), TD_OK); /* repeated */
    refused(f, fx_checkin(f, 'a', "TokenUpdate", FX_TOKEN(FX_UDID_A)), TD_FORBIDDEN, "removed");
    refused(f, fx_connect(f, 'a', FX_UDID_A, "Idle", NULL), TD_FORBIDDEN, CORE_REASON_UNRECOGNIZED);
    /* and it may come back, with the same certificate or a new one */
    assert_int_equal(fx_checkin(f, 'a', "Authenticate", FX_AUTH(FX_UDID_A)), TD_OK);
    assert_string_equal(fx_enrollment(f, "SERIALA").state, "authenticated");
    assert_int_equal(fx_enrollment(f, "SERIALA").left_at, 0);
}

/* A revoked certificate of an enrolment that goes on can neither use nor end it. */
static void revoked(void **state)
{
    struct fx *f = *state;
    fx_enrol_a(f);
    f->certs[0].revoked = true;
    refused(f, fx_checkin(f, 'a', "CheckOut", FX_AUTH(FX_UDID_A)), TD_FORBIDDEN, "cert-revoked");
    refused(f, fx_checkin(f, 'a', "TokenUpdate", FX_TOKEN(FX_UDID_A)), TD_FORBIDDEN,
            "cert-revoked");
    refused(f, fx_checkin(f, 'a', "Authenticate", FX_AUTH(FX_UDID_A)), TD_FORBIDDEN,
            "cert-revoked");
    refused(f, fx_connect(f, 'a', FX_UDID_A, "Idle", NULL), TD_FORBIDDEN, "cert-revoked");
    assert_string_equal(fx_enrollment(f, "SERIALA").state, "enrolled");
    /* the way back is a new certificate */
    assert_int_equal(fx_checkin(f, 'c', "Authenticate", FX_AUTH(FX_UDID_A)), TD_OK);
}

static void user_channel(void **state)
{
    struct fx *f = *state;
    fx_enrol_a(f);
    assert_int_equal(
        fx_checkin(f, 'a', "TokenUpdate",
                   FX_S("UDID", FX_UDID_A) FX_S("Topic", FX_TOPIC) FX_S("UserID", "U-1")
                       FX_S("PushMagic", "user-magic")
                           FX_S("UserLongName", "Ann") "<key>Token</key><data>/////w==</data>"),
        TD_OK);
    const char *uuid = fx_queue(f, "SecurityInfo"); /* the device's push info is untouched */
    fx_wait(f, &f->push.sent, 2);
    assert_string_equal(f->push.last_magic, "magic-" FX_UDID_A);
    refused(f, fx_checkin(f, 'a', "UserAuthenticate", FX_AUTH(FX_UDID_A) FX_S("UserID", "U-1")),
            TD_GONE, "user-not-managed");
    assert_int_equal(f->ei.http, 410); /* MB-6 */
    /* the user channel neither gets nor closes the device's commands */
    assert_int_equal(fx_connect_raw(f, 'a',
                                    FX_HEAD FX_S("UDID", FX_UDID_A) FX_S("UserID", "U-1")
                                        FX_S("Status", "Idle") FX_TAIL),
                     TD_OK);
    assert_null(fx_reply(f, NULL));
    char *report =
        arena_printf(&f->a,
                     FX_HEAD FX_S("UDID", FX_UDID_A) FX_S("UserID", "U-1")
                         FX_S("Status", "Acknowledged") FX_S("CommandUUID", "%s") FX_TAIL,
                     uuid);
    assert_int_equal(fx_connect_raw(f, 'a', report), TD_OK);
    assert_string_equal(fx_command(f, "SERIALA", uuid).state, "queued");
}

/* MB-73 */
static void bootstrap_token(void **state)
{
    struct fx *f = *state;
    fx_enrol_a(f);
    assert_int_equal(fx_checkin(f, 'a', "GetBootstrapToken", FX_AUTH(FX_UDID_A)), TD_OK);
    struct plist *d;
    assert_int_equal(plist_parse(buf_view(&f->reply), &f->a, &d, &f->ei), TD_OK);
    assert_int_equal(plist_type(d), PLIST_T_DICT);
    assert_int_equal(plist_count(d), 0);
    refused(f,
            fx_checkin(f, 'a', "SetBootstrapToken",
                       FX_AUTH(FX_UDID_A) "<key>BootstrapToken</key><data>AAEC</data>"),
            TD_UNSUPPORTED, "bootstrap-token");
    assert_int_equal(fx_checkin(f, 'a', "SetBootstrapToken", FX_AUTH(FX_UDID_A)), TD_OK);
    assert_int_equal(f->reply.n, 0);
}

static void while_leaving(void **state)
{
    struct fx *f = *state;
    fx_enrol_a(f);
    fx_leave_a(f);
    refused(f, fx_checkin(f, 'a', "Authenticate", FX_AUTH(FX_UDID_A)), TD_FORBIDDEN, "leaving");
    refused(f, fx_checkin(f, 'a', "TokenUpdate", FX_TOKEN(FX_UDID_A)), TD_FORBIDDEN, "leaving");
    refused(f, fx_checkin(f, 'c', "Authenticate", FX_AUTH(FX_UDID_A)), TD_FORBIDDEN,
            "cert-revoked");
    assert_int_equal(fx_checkin(f, 'a', "CheckOut", FX_AUTH(FX_UDID_A)), TD_OK);
    assert_string_equal(fx_enrollment(f, "SERIALA").state, "removed");
}

/* A device that comes back to the inventory before its removal was done enrols anew. */
static void back_from_leaving(void **state)
{
    struct fx *f = *state;
    fx_enrol_a(f);
    fx_leave_a(f);
    f->listed[0] = "SERIALA";
    f->certs[2].revoked = false;
    assert_int_equal(fx_checkin(f, 'c', "Authenticate", FX_AUTH(FX_UDID_A)), TD_OK);
    assert_int_equal(fx_checkin(f, 'c', "TokenUpdate", FX_TOKEN(FX_UDID_A)), TD_OK);
    assert_string_equal(fx_enrollment(f, "SERIALA").state, "enrolled");
    assert_int_equal(fx_connect(f, 'c', FX_UDID_A, "Idle", NULL), TD_OK);
    assert_null(fx_reply(f, NULL));
}

static void bad_bodies(void **state)
{
    struct fx *f = *state;
    static const char *const cases[] = {
        "",
        "x",
        "<?xml",
        FX_HEAD,
        FX_HEAD FX_TAIL,
        "<plist><array/></plist>",
        FX_HEAD "<key>MessageType</key><integer>1</integer>" FX_TAIL,
    };
    struct core_ident id = fx_ident('a');
    for (size_t i = 0; i < TD_NITEMS(cases); i++) {
        print_message("  case %zu\n", i);
        f->ei = (struct errinfo){0};
        enum td_err e = core_checkin(f->core, &id, span_str(cases[i]), &f->a, &f->reply, &f->ei);
        assert_int_equal(e, TD_PARSE);
        assert_int_equal(err_http(e), 400);
    }
    /* without errinfo too */
    assert_int_equal(core_checkin(f->core, &id, span_str("x"), &f->a, &f->reply, NULL), TD_PARSE);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, fx_setup, fx_teardown)
    const struct CMUnitTest tests[] = {
        T(enrols),
        T(refusals),
        T(our_faults),
        T(limiter),
        T(attested_udid),
        T(pinning),
        T(retry_is_no_reset),
        T(check_out),
        T(revoked),
        T(reenrolment_resets),
        T(token_updates),
        T(user_channel),
        T(awaiting_configuration),
        T(bootstrap_token),
        T(while_leaving),
        T(token_update_malformed),
        T(bad_bodies),
        T(back_from_leaving),
        T(another_udid),
        T(udid_claimed),
        T(strangers_signature),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
