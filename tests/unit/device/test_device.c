/* The MDM endpoints: who speaks, which answer goes out, and that 401 never does. */
#include "web/device/device.h"

#include "mdm/base/b64.h"
#include "mdm/base/limits.h"
#include "tests/unit/core/fixture.h"
#include "tests/unit/device/vectors.h"

struct call {
    const char *path, *content_type, *body, *signature;
    struct span peer;
    bool proxy;
    bool no_wait;
};

static const struct route *route_of(const char *path)
{
    for (size_t i = 0; i < device_nroutes; i++)
        if (strcmp(device_routes[i].path, path) == 0)
            return &device_routes[i];
    fail_msg("no route %s", path);
    return NULL;
}

/* Calls a route as web/http does; the answer is valid until the arena ends. */
static struct resp call(struct fx *f, const struct call *c)
{
    const struct route *rt = route_of(c->path);
    struct device_web *web = arena_alloc(&f->a, sizeof *web);
    struct req_header h = {SPAN_LIT("mdm-signature"), span_str(c->signature)};
    web->core = f->core;
    struct req req = {.method = REQ_PUT,
                      .listener = REQ_ON_DEVICE,
                      .path = span_str(c->path),
                      .body = span_str(c->body),
                      .content_type = span_str(c->content_type),
                      .headers = &h,
                      .nheaders = c->signature ? 1 : 0,
                      .peer_cert = c->peer,
                      .peer_from_proxy = c->proxy,
                      .peer_addr = "192.0.2.1",
                      .id = "r",
                      .arena = &f->a,
                      .no_wait = c->no_wait,
                      .ctx = web};
    struct resp resp;
    resp_init(&resp, &f->a, 1 << 20);
    f->ei = (struct errinfo){0};
    enum td_err e = rt->fn(&req, &resp, &f->ei);
    if (e != TD_OK) {
        buf_free(&resp.body);
        resp.content_type = NULL;
        rt->problem(&req, &resp, e, &f->ei);
    }
    return resp;
}

static void expect(struct fx *f, const struct call *c, int status, const char *reason)
{
    struct resp r = call(f, c);
    if (r.status != status)
        fail_msg("status %d, want %d: %s", r.status, status, f->ei.msg);
    if (!reason) {
        assert_int_equal(r.body.n, 0); /* MB-1: zero bytes */
        assert_null(r.content_type);
    } else {
        assert_string_equal(r.content_type, "text/plain; charset=utf-8");
        char want[80];
        snprintf(want, sizeof want, "%s\n", reason);
        assert_string_equal(buf_cstr(&r.body), want);
    }
    resp_free(&r);
}

#define CHECKIN "application/x-apple-aspen-mdm-checkin"
#define REPORT "application/x-apple-aspen-mdm"

static const char auth[] = FX_HEAD FX_S("MessageType", "Authenticate") FX_AUTH(FX_UDID_A) FX_TAIL;
static const char token[] = FX_HEAD FX_S("MessageType", "TokenUpdate") FX_TOKEN(FX_UDID_A) FX_TAIL;
static const char idle[] = FX_HEAD FX_S("UDID", FX_UDID_A) FX_S("Status", "Idle") FX_TAIL;

/* Certificate of SERIALA as DER in the arena, known to the core. */
static struct span cert(struct fx *f)
{
    struct span der;
    assert_int_equal(b64_dec(&f->a, span_str(vector_cert), &der), TD_OK);
    f->certs[0].der = der;
    return der;
}

static void by_certificate(void **state)
{
    struct fx *f = *state;
    struct span der = cert(f);
    expect(f, &(struct call){"/mdm/checkin", CHECKIN, auth, .peer = der}, 200, NULL);
    expect(f, &(struct call){"/mdm/checkin", CHECKIN, token, .peer = der, .proxy = true}, 200,
           NULL);
    expect(f, &(struct call){"/mdm/connect", REPORT, idle, .peer = der}, 200, NULL);
    const char *uuid = fx_queue(f, "SecurityInfo");
    struct resp r = call(f, &(struct call){"/mdm/connect", REPORT, idle, .peer = der});
    assert_int_equal(r.status, 200);
    assert_string_equal(r.content_type, "application/xml");
    assert_non_null(strstr(buf_cstr(&r.body), uuid));
    resp_free(&r);
}

/* Without waiting: an Idle by certificate with nothing queued, and nothing else. */
static void no_wait(void **state)
{
    struct fx *f = *state;
    if (test_on_pg())
        skip(); /* there every read may wait */
    struct span der = cert(f);
    expect(f, &(struct call){"/mdm/checkin", CHECKIN, auth, .peer = der}, 200, NULL);
    expect(f, &(struct call){"/mdm/checkin", CHECKIN, token, .peer = der}, 200, NULL);
    const struct call cases[] = {
        {"/mdm/connect", REPORT, idle, .peer = der},
        {"/mdm", REPORT, idle, .peer = der, .proxy = true},
        {"/mdm", CHECKIN, token, .peer = der},
        {"/mdm/connect", REPORT, idle, .proxy = true},
        {"/mdm/connect", REPORT, idle, .peer = der, .signature = "AAAA"},
        {"/mdm/connect", REPORT, "x", .peer = der},
    };
    for (size_t i = 0; i < TD_NITEMS(cases); i++) {
        struct call c = cases[i];
        c.no_wait = true;
        struct resp r = call(f, &c);
        if (r.status != (i < 2 ? 200 : 503))
            fail_msg("case %zu: %d", i, r.status);
        if (i >= 2)
            assert_string_equal(buf_cstr(&r.body), "AGAIN\n");
        resp_free(&r);
    }
}

static void combined(void **state)
{
    struct fx *f = *state;
    struct span der = cert(f);
    expect(f, &(struct call){"/mdm", CHECKIN, auth, .peer = der}, 200, NULL);
    expect(f, &(struct call){"/mdm", "Application/X-Apple-Aspen-MDM-Checkin", token, .peer = der},
           200, NULL);
    expect(f, &(struct call){"/mdm", REPORT, idle, .peer = der}, 200, NULL);
    expect(f, &(struct call){"/mdm", "", idle, .peer = der}, 200, NULL);
    expect(f, &(struct call){"/mdm", REPORT, token, .peer = der}, 400, "report-malformed");
    expect(f, &(struct call){"/mdm", CHECKIN, idle, .peer = der}, 400, "message-malformed");
    /* a check-in keeps its limit on the wider route */
    char *big = arena_alloc(&f->a, LIMIT_BODY_CHECKIN + 2);
    memset(big, ' ', LIMIT_BODY_CHECKIN + 1);
    expect(f, &(struct call){"/mdm", CHECKIN, big, .peer = der}, 413, "message-large");
    big[LIMIT_BODY_CHECKIN] = 0;
    expect(f, &(struct call){"/mdm", CHECKIN, big, .peer = der}, 400, "plist-xml");
}

/* MB-32 */
static void by_signature(void **state)
{
    struct fx *f = *state;
    struct span der = cert(f);
    expect(f, &(struct call){"/mdm/connect", REPORT, vector_body, .signature = vector_cms}, 403,
           "cert-not-pinned");
    expect(f, &(struct call){"/mdm/checkin", CHECKIN, auth, .peer = der}, 200, NULL);
    expect(f, &(struct call){"/mdm/connect", REPORT, vector_body, .signature = vector_cms}, 200,
           NULL);
    expect(f, &(struct call){"/mdm/connect", REPORT, vector_body, .signature = vector_cms_sha1},
           200, NULL);
    /* base64 in lines, and both proofs of one identity */
    char lines[2400];
    size_t n = 0;
    for (size_t i = 0; vector_cms[i]; i++) {
        lines[n++] = vector_cms[i];
        if (i % 64 == 63) {
            lines[n++] = ' ';
            lines[n++] = '\t';
        }
    }
    lines[n] = 0;
    expect(f, &(struct call){"/mdm/connect", REPORT, vector_body, .signature = lines, .peer = der},
           200, NULL);
    /* another identity on the transport */
    expect(f,
           &(struct call){"/mdm/connect", REPORT, vector_body, .signature = vector_cms,
                          .peer = SPAN_LIT("another certificate")},
           403, "identity-mismatch");
    /* a signature over other bytes */
    expect(f, &(struct call){"/mdm/connect", REPORT, idle, .signature = vector_cms}, 400,
           "signature-invalid");
    expect(f, &(struct call){"/mdm/connect", REPORT, idle, .signature = vector_cms, .peer = der},
           400, "signature-invalid");
    expect(f, &(struct call){"/mdm/connect", REPORT, vector_body, .signature = "%%%", .peer = der},
           400, "signature-malformed");
    expect(f, &(struct call){"/mdm/connect", REPORT, vector_body, .signature = "", .peer = der},
           400, "signature-malformed");
    char cut[200];
    snprintf(cut, sizeof cut, "%.100s", vector_cms);
    expect(f, &(struct call){"/mdm/connect", REPORT, vector_body, .signature = cut}, 400,
           "signature-invalid");
}

static void signature_limit(void **state)
{
    struct fx *f = *state;
    size_t max = LIMIT_CMS_SIGNATURE * 4 / 3 + 1024;
    char *text = arena_alloc(&f->a, max + 2);
    memset(text, 'A', max + 1);
    expect(f, &(struct call){"/mdm/connect", REPORT, idle, .signature = text}, 413,
           "signature-large");
    text[max] = 0; /* fits the header, not the message */
    expect(f, &(struct call){"/mdm/connect", REPORT, idle, .signature = text}, 400,
           "signature-malformed");
}

/* MB-2, MB-3, MB-4 */
static void refusals(void **state)
{
    struct fx *f = *state;
    struct span der = cert(f);
    expect(f, &(struct call){"/mdm/connect", REPORT, idle, .peer = {0}}, 400, "identity-missing");
    expect(f, &(struct call){"/mdm/checkin", CHECKIN, auth, .peer = {0}}, 400, "identity-missing");
    expect(f, &(struct call){"/mdm/connect", REPORT, idle, .peer = SPAN_LIT("stranger")}, 403,
           "cert-unknown");
    expect(f, &(struct call){"/mdm/connect", REPORT, idle, .peer = der}, 403, "cert-not-pinned");
    expect(f, &(struct call){"/mdm/checkin", CHECKIN, "", .peer = der}, 400, "PARSE");
    expect(f, &(struct call){"/mdm/checkin", CHECKIN, auth, .peer = der}, 200, NULL);
    expect(f, &(struct call){"/mdm/checkin", CHECKIN, token, .peer = der}, 200, NULL);
    static const char user[] = FX_HEAD FX_S("MessageType", "UserAuthenticate") FX_S("UserID", "U")
        FX_AUTH(FX_UDID_A) FX_TAIL;
    expect(f, &(struct call){"/mdm/checkin", CHECKIN, user, .peer = der}, 410, "user-not-managed");
    f->cert_fault = TD_DB;
    expect(f, &(struct call){"/mdm/connect", REPORT, idle, .peer = der}, 503, "DB");
    f->cert_fault = TD_NOMEM;
    expect(f, &(struct call){"/mdm/checkin", CHECKIN, token, .peer = der}, 503, "NOMEM");
    f->cert_fault = TD_OK;
    static const char bye[] = FX_HEAD FX_S("MessageType", "CheckOut") FX_AUTH(FX_UDID_A) FX_TAIL;
    expect(f, &(struct call){"/mdm/checkin", CHECKIN, bye, .peer = der}, 200, NULL);
    /* the deliberate path */
    struct resp r = call(f, &(struct call){"/mdm/connect", REPORT, idle, .peer = der});
    assert_int_equal(r.status, 403);
    assert_string_equal(r.content_type, "application/json");
    struct json *j = NULL;
    const char *code = NULL;
    assert_int_equal(json_parse(buf_view(&r.body), &f->a, &j, NULL), TD_OK);
    assert_int_equal(json_get_str(j, "code", &code), TD_OK);
    assert_string_equal(code, "com.apple.unrecognized.device");
    resp_free(&r);
}

/* No error of the vocabulary, with no override, becomes 401 or success on any route. */
static void never_401(void **state)
{
    struct fx *f = *state;
    struct req req = {.arena = &f->a};
    static const int overrides[] = {0, 200, 401, 403, 503};
    for (size_t i = 0; i < device_nroutes; i++) {
        for (int e = 1; e < TD_ERR_MAX; e++) {
            for (size_t k = 0; k < TD_NITEMS(overrides); k++) {
                struct errinfo ei = {.code = (enum td_err)e, .http = overrides[k]};
                struct resp r;
                resp_init(&r, &f->a, 4096);
                device_routes[i].problem(&req, &r, (enum td_err)e, k ? &ei : NULL);
                assert_int_not_equal(r.status, 401);
                assert_true(r.status >= 400);
                assert_null(strstr(buf_cstr(&r.body), "unrecognized"));
                resp_free(&r);
            }
        }
        assert_int_equal(device_routes[i].methods, REQ_PUT | REQ_POST);
        assert_int_equal(device_routes[i].listeners, REQ_ON_DEVICE | REQ_ON_PUBLIC);
        assert_int_equal(device_routes[i].access, ROUTE_DEVICE);
    }
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, fx_setup, fx_teardown)
    const struct CMUnitTest tests[] = {
        T(by_certificate), T(no_wait),  T(by_signature), T(by_certificate),  T(combined),
        T(by_signature),   T(refusals), T(never_401),    T(signature_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
