/* Invitations, the profile they become, the QR code. */
#include "profiles/enroll/enroll.h"

#include "mdm/base/b64.h"
#include "mdm/base/uuid.h"
#include "mdm/core/core.h"
#include "mdm/wire/plist.h"
#include "tests/unit/core/fixture.h"
#include "tests/unit/device/vectors.h"

struct ex {
    struct fx *f;
    struct store *store;
    struct enroll *enroll;
    struct cert *root;
    char client_id[RNG_TOKEN_SIZE], client_serial[80], client_profile[40];
    int64_t client_expires;
    unsigned client_ids;
    enum td_err client_fault, sign_fault;
};

static enum td_err ex_client_id(void *ctx, struct tx *tx, const char *id, const char *serial,
                                const char *profile, int64_t now, int64_t expires,
                                struct errinfo *ei)
{
    struct ex *x = ctx;
    (void)tx, (void)now;
    if (x->client_fault != TD_OK)
        return err_set(ei, x->client_fault, "no");
    snprintf(x->client_id, sizeof x->client_id, "%s", id);
    snprintf(x->client_serial, sizeof x->client_serial, "%s", serial);
    snprintf(x->client_profile, sizeof x->client_profile, "%s", profile);
    x->client_expires = expires;
    x->client_ids++;
    return TD_OK;
}

static enum td_err ex_listed(void *ctx, struct tx *tx, const char *serial, struct errinfo *ei)
{
    struct ex *x = ctx;
    return fx_listed(x->f, tx, serial, ei);
}

/* "signed:" and the content */
static enum td_err ex_sign(void *ctx, struct span content, struct arena *a, struct span *ret,
                           struct errinfo *ei)
{
    struct ex *x = ctx;
    if (x->sign_fault != TD_OK)
        return err_set(ei, x->sign_fault, "no");
    char *text = arena_printf(a, "signed:%.*s", (int)content.n, (const char *)content.p);
    *ret = span_str(text);
    return text ? TD_OK : TD_NOMEM;
}

static struct enroll_conf ex_conf(struct ex *x)
{
    return (struct enroll_conf){
        .store = x->store,
        .clock = &x->f->clock.clock,
        .rng = &rng_system,
        .root = x->root,
        .public_url = "https://mdm.example.com:8443",
        .device_url = "https://mdm.example.com:8444",
        .organization = "Miller & Sons <Ltd>", /* MB-74 */
        .identifier = "com.example.enrollment",
        .topic = FX_TOPIC,
        .cert_profile = "management",
        .key_size = 256,
        .invitation_ttl = 3600,
        .client_id_ttl = 600,
        .ops = {.ctx = x,
                .device_listed = ex_listed,
                .client_id_add = ex_client_id,
                .sign = ex_sign},
    };
}

static int setup(void **state)
{
    void *fx = NULL;
    if (fx_setup(&fx))
        return -1;
    struct ex *x = calloc(1, sizeof *x);
    x->f = fx;
    core_close(x->f->core);
    store_close(x->f->store);
    x->f->core = NULL;
    x->f->store = NULL;
    const struct store_stmts sets[] = {enroll_stmts, attempt_stmts, audit_stmts, outbox_stmts};
    struct store_conf sc = {.twice = test_twice(),
                            .url = x->f->url,
                            .readers = 2,
                            .batch = 64,
                            .queue = 256,
                            .sets = sets,
                            .nsets = TD_NITEMS(sets),
                            .clock = &x->f->clock.clock};
    assert_int_equal(store_open(&sc, &x->store, NULL), TD_OK);
    x->f->store = x->store; /* for the looks of the fixture */
    struct span der;
    assert_int_equal(b64_dec(&x->f->a, span_str(vector_cert), &der), TD_OK);
    assert_int_equal(cert_parse(der, &x->root, NULL), TD_OK);
    struct enroll_conf conf = ex_conf(x);
    assert_int_equal(enroll_open(&conf, &x->enroll, NULL), TD_OK);
    *state = x;
    return 0;
}

static int teardown(void **state)
{
    struct ex *x = *state;
    void *fx = x->f;
    enroll_close(x->enroll);
    cert_free(x->root);
    free(x);
    return fx_teardown(&fx);
}

static struct resp get(struct ex *x, const char *token)
{
    const struct route *rt = &enroll_routes[0];
    struct req req = {.method = REQ_GET,
                      .listener = REQ_ON_PUBLIC,
                      .params = {span_str(token)},
                      .peer_addr = "192.0.2.7",
                      .id = "r",
                      .arena = &x->f->a,
                      .ctx = x->enroll};
    struct resp resp;
    resp_init(&resp, &x->f->a, 1 << 20);
    x->f->ei = (struct errinfo){0};
    enum td_err e = rt->fn(&req, &resp, &x->f->ei);
    if (e != TD_OK) {
        buf_free(&resp.body);
        resp.status = x->f->ei.http ? x->f->ei.http : err_http(e);
    }
    return resp;
}

static void expect(struct ex *x, const char *token, int status, const char *reason)
{
    struct resp r = get(x, token);
    if (r.status != status || (reason && (!x->f->ei.reason || strcmp(x->f->ei.reason, reason))))
        fail_msg("%d %s, want %d %s", r.status, x->f->ei.reason ? x->f->ei.reason : "-", status,
                 reason ? reason : "-");
    resp_free(&r);
}

/* The token of a new invitation of SERIALA. */
static const char *invite(struct ex *x, int64_t ttl)
{
    struct invitation inv = {0};
    static const char prefix[] = "https://mdm.example.com:8443/enroll/";
    assert_int_equal(enroll_invite(x->enroll, "SERIALA", ttl, "tester", &x->f->a, &inv, NULL),
                     TD_OK);
    assert_int_equal(inv.expires_at, x->f->clock.at + (ttl ? ttl : 3600));
    assert_int_equal(strncmp(inv.url, prefix, sizeof prefix - 1), 0);
    assert_int_equal(strlen(inv.id), RNG_ID_SIZE - 1);
    assert_int_equal(strlen(inv.url + sizeof prefix - 1), RNG_TOKEN_SIZE - 1);
    return inv.url + sizeof prefix - 1;
}

static const char *header(const struct resp *r, const char *name)
{
    for (size_t i = 0; i < r->nheaders; i++)
        if (strcmp(r->headers[i].name, name) == 0)
            return r->headers[i].value;
    return "";
}

static void once(void **state)
{
    struct ex *x = *state;
    const char *token = invite(x, 0);
    struct resp r = get(x, token);
    assert_int_equal(r.status, 200);
    assert_string_equal(r.content_type, "application/x-apple-aspen-config");
    assert_string_equal(header(&r, "Cache-Control"), "no-store");
    assert_int_equal(strncmp(buf_cstr(&r.body), "signed:<?xml", 12), 0);
    assert_int_equal(x->client_ids, test_runs(1));
    assert_string_equal(x->client_serial, "SERIALA");
    assert_string_equal(x->client_profile, "management");
    assert_int_equal(x->client_expires, FX_NOW + 600);
    assert_non_null(strstr(buf_cstr(&r.body), x->client_id));
    assert_null(strstr(buf_cstr(&r.body), token));
    resp_free(&r);
    expect(x, token, 410, "invitation-used");
    expect(x, token, 410, "invitation-used");
    assert_int_equal(x->client_ids, test_runs(1));
    struct attempt *t;
    assert_int_equal(fx_attempts(x->f, "SERIALA", &t), 2); /* the second refusal within a minute */
    assert_string_equal(t[0].source, "enroll");
    assert_string_equal(t[0].outcome, "refused");
    assert_string_equal(t[0].reason, "invitation-used");
    assert_string_equal(t[0].peer, "192.0.2.7");
    assert_string_equal(t[1].outcome, "accepted");
}

static void refusals(void **state)
{
    struct ex *x = *state;
    static const char *const strange[] = {"",
                                          "short",
                                          "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                                          "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                                          "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                                          "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'"};
    for (size_t i = 0; i < TD_NITEMS(strange); i++)
        expect(x, strange[i], 404, "invitation-unknown");
    const char *token = invite(x, 10), *other = invite(x, 0), *gone = invite(x, 0);
    x->f->clock.at += 9;
    struct attempt *t;
    assert_int_equal(fx_attempts(x->f, NULL, &t), 0); /* strangers leave no rows */
    x->f->clock.at += 1;
    expect(x, token, 410, "invitation-expired");
    x->f->listed[0] = "NOBODY";
    expect(x, other, 403, "device-not-listed");
    x->f->listed[0] = "SERIALA";
    x->f->list_fault = TD_DB;
    expect(x, other, 503, NULL);
    x->f->list_fault = TD_OK;
    assert_int_equal(fx_attempts(x->f, "SERIALA", &t), 2);
    assert_string_equal(t[0].reason, "device-not-listed");
    assert_string_equal(t[1].reason, "invitation-expired");
    assert_int_equal(x->client_ids, 0);
    (void)gone;
}

/* A fault of ours leaves the invitation as it was. */
static void faults_keep_it(void **state)
{
    struct ex *x = *state;
    const char *token = invite(x, 0);
    x->sign_fault = TD_UPSTREAM;
    expect(x, token, 503, NULL);
    x->sign_fault = TD_OK;
    x->client_fault = TD_DB;
    expect(x, token, 503, NULL);
    x->client_fault = TD_OK;
    expect(x, token, 200, NULL);
    expect(x, token, 410, "invitation-used");
}

struct racer {
    struct ex *x;
    const char *token;
    int status;
    pthread_t thread;
};

static void *race(void *arg)
{
    struct racer *r = arg;
    arena_auto a;
    arena_init(&a, 1 << 20);
    struct req req = {.method = REQ_GET,
                      .params = {span_str(r->token)},
                      .peer_addr = "192.0.2.7",
                      .arena = &a,
                      .ctx = r->x->enroll};
    struct resp resp;
    struct errinfo ei = {0};
    resp_init(&resp, &a, 1 << 20);
    r->status = err_http(enroll_routes[0].fn(&req, &resp, &ei));
    resp_free(&resp);
    return NULL;
}

static void race_for_one(void **state)
{
    struct ex *x = *state;
    struct racer r[4];
    unsigned won = 0;
    const char *token = invite(x, 0);
    for (size_t i = 0; i < TD_NITEMS(r); i++) {
        r[i] = (struct racer){.x = x, .token = token};
        assert_int_equal(pthread_create(&r[i].thread, NULL, race, &r[i]), 0);
    }
    for (size_t i = 0; i < TD_NITEMS(r); i++) {
        pthread_join(r[i].thread, NULL);
        assert_true(r[i].status == 200 || r[i].status == 410);
        won += r[i].status == 200;
    }
    assert_int_equal(won, 1);
    assert_true(x->client_ids >= 1); /* who lost a race may have run, and was undone */
}

struct end {
    int64_t now;
    bool clean;
};

static enum td_err end_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct end *q = ctx;
    struct sweep s = {.before = q->now, .max = 10};
    return q->clean ? enroll_clean(tx, &s, ei) : enroll_cancel(tx, "SERIALA", q->now, ei);
}

static void cancel_and_clean(void **state)
{
    struct ex *x = *state;
    const char *used = invite(x, 0), *open = invite(x, 0);
    expect(x, used, 200, NULL);
    struct end q = {.now = x->f->clock.at};
    assert_int_equal(store_write(x->store, end_job, &q, NULL), TD_OK);
    expect(x, open, 410, "invitation-expired");
    expect(x, used, 410, "invitation-used");
    q = (struct end){.now = x->f->clock.at, .clean = true};
    assert_int_equal(store_write(x->store, end_job, &q, NULL), TD_OK);
    expect(x, open, 410, "invitation-expired");
    q.now += 1;
    assert_int_equal(store_write(x->store, end_job, &q, NULL), TD_OK);
    expect(x, open, 404, "invitation-unknown");
    expect(x, used, 410, "invitation-used"); /* ends an hour later */
}

static void invite_errors(void **state)
{
    struct ex *x = *state;
    struct invitation inv;
    struct arena *a = &x->f->a;
    assert_int_equal(enroll_invite(x->enroll, "SERIALZ", 0, "t", a, &inv, NULL), TD_NOTFOUND);
    assert_int_equal(enroll_invite(x->enroll, "SERIALA", -1, "t", a, &inv, NULL), TD_INVAL);
    assert_int_equal(enroll_invite(x->enroll, "SERIALA", 366 * 86400, "t", a, &inv, NULL), TD_OK);
    assert_int_equal(enroll_invite(x->enroll, "SERIALA", 366 * 86400 + 1, "t", a, &inv, NULL),
                     TD_INVAL);
    struct enroll *e = NULL;
    struct enroll_conf c = ex_conf(x);
    c.public_url = "http://mdm.example.com";
    assert_int_equal(enroll_open(&c, &e, NULL), TD_INVAL);
    c = ex_conf(x);
    c.device_url = "https://mdm.example.com/";
    assert_int_equal(enroll_open(&c, &e, NULL), TD_INVAL);
    c = ex_conf(x);
    c.key_size = 521;
    assert_int_equal(enroll_open(&c, &e, NULL), TD_INVAL);
    c = ex_conf(x);
    c.ops.sign = NULL;
    assert_int_equal(enroll_open(&c, &e, NULL), TD_INVAL);
    enroll_close(NULL);
}

/* --- the profile --------------------------------------------------------------------------- */

/* The whole profile, the certificate apart: each key where Apple's schema has it. */
static const char golden[] =
    "{\"PayloadType\":\"Configuration\",\"PayloadVersion\":1,"
    "\"PayloadIdentifier\":\"com.example.enrollment\","
    "\"PayloadUUID\":\"@0\","
    "\"PayloadDisplayName\":\"Miller & Sons <Ltd> device management\","
    "\"PayloadDescription\":\"Gives the device an identity of its own and lets the organization "
    "manage it.\",\"PayloadOrganization\":\"Miller & Sons <Ltd>\",\"PayloadScope\":\"System\","
    "\"PayloadContent\":["
    "{\"PayloadType\":\"com.apple.security.root\",\"PayloadVersion\":1,"
    "\"PayloadIdentifier\":\"com.example.enrollment.root\",\"PayloadUUID\":\"@1\","
    "\"PayloadDisplayName\":\"Certificate authority\","
    "\"PayloadOrganization\":\"Miller & Sons <Ltd>\","
    "\"PayloadCertificateFileName\":\"root.cer\",\"PayloadContent\":\"@cert\"},"
    "{\"PayloadType\":\"com.apple.security.acme\",\"PayloadVersion\":1,"
    "\"PayloadIdentifier\":\"com.example.enrollment.identity\",\"PayloadUUID\":\"@2\","
    "\"PayloadDisplayName\":\"Device identity\","
    "\"PayloadOrganization\":\"Miller & Sons <Ltd>\","
    "\"DirectoryURL\":\"https://mdm.example.com:8443/acme/management/directory\","
    "\"ClientIdentifier\":\"one-time\",\"KeyType\":\"ECSECPrimeRandom\",\"KeySize\":256,"
    "\"HardwareBound\":true,\"Attest\":true,\"UsageFlags\":1,"
    "\"Subject\":[[[\"CN\",\"SERIALA\"]]],\"ExtendedKeyUsage\":[\"1.3.6.1.5.5.7.3.2\"]},"
    "{\"PayloadType\":\"com.apple.mdm\",\"PayloadVersion\":1,"
    "\"PayloadIdentifier\":\"com.example.enrollment.mdm\",\"PayloadUUID\":\"@3\","
    "\"PayloadDisplayName\":\"Device management\","
    "\"PayloadOrganization\":\"Miller & Sons <Ltd>\","
    "\"IdentityCertificateUUID\":\"@2\",\"Topic\":\"com.apple.mgmt.External.test\","
    "\"ServerURL\":\"https://mdm.example.com:8444/mdm/connect\","
    "\"CheckInURL\":\"https://mdm.example.com:8444/mdm/checkin\",\"AccessRights\":8191,"
    "\"SignMessage\":false,\"CheckOutWhenRemoved\":true}]}";

static struct plist *compose(struct ex *x, struct enroll *e, const char *serial, const char *id)
{
    struct buf b;
    struct plist *d = NULL;
    buf_init(&b, 65536);
    assert_int_equal(enroll_compose(e, serial, id, &x->f->a, &b, NULL), TD_OK);
    assert_true(span_starts(buf_view(&b), SPAN_LIT("<?xml"))); /* MB-74 */
    assert_int_equal(plist_parse(buf_view(&b), &x->f->a, &d, NULL), TD_OK);
    buf_free(&b);
    return d;
}

static const char *uuid_of(struct ex *x, const struct plist *d)
{
    const char *s = NULL;
    assert_int_equal(plist_str(d, "PayloadUUID", &x->f->a, &s), TD_OK);
    assert_true(uuid_valid(span_str(s)));
    return s;
}

static struct plist *part(const struct plist *profile, size_t i)
{
    return plist_at(plist_get(profile, "PayloadContent"), i);
}

static void golden_profile(void **state)
{
    struct ex *x = *state;
    struct plist *d = compose(x, x->enroll, "SERIALA", "one-time");
    const char *uuids[4] = {uuid_of(x, d)};
    for (size_t i = 0; i < 3; i++)
        uuids[i + 1] = uuid_of(x, part(d, i));
    buf_auto want, got;
    buf_init(&want, 65536);
    buf_init(&got, 65536);
    for (const char *p = golden; *p; p++) {
        if (strncmp(p, "@cert", 5) == 0) {
            b64_enc(&want, cert_der(x->root));
            p += 4;
        } else if (*p == '@') {
            buf_str(&want, uuids[*++p - '0']);
        } else {
            buf_u8(&want, (uint8_t)*p);
        }
    }
    assert_int_equal(plist_json(d, &got), TD_OK);
    assert_string_equal(buf_cstr(&got), buf_cstr(&want));
    for (size_t i = 0; i < 4; i++)
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(uuids[i], uuids[k]);
}

/* MB-28: renewing keeps what must stay; a new ClientIdentifier is a new identity. */
static void stable(void **state)
{
    struct ex *x = *state;
    struct plist *a = compose(x, x->enroll, "SERIALA", "one"),
                 *b = compose(x, x->enroll, "SERIALA", "two"),
                 *c = compose(x, x->enroll, "SERIALB", "one");
    assert_string_equal(uuid_of(x, a), uuid_of(x, b));
    assert_string_not_equal(uuid_of(x, a), uuid_of(x, c));
    assert_string_equal(uuid_of(x, part(a, 0)), uuid_of(x, part(b, 0)));
    assert_string_not_equal(uuid_of(x, part(a, 1)), uuid_of(x, part(b, 1)));
    assert_string_not_equal(uuid_of(x, part(a, 1)), uuid_of(x, part(c, 1)));
    assert_string_equal(uuid_of(x, part(a, 2)), uuid_of(x, part(b, 2)));
}

static void options(void **state)
{
    struct ex *x = *state;
    struct enroll_conf conf = ex_conf(x);
    struct enroll *e = NULL;
    conf.key_size = 384;
    conf.sign_message = true;
    conf.organization = "";
    assert_int_equal(enroll_open(&conf, &e, NULL), TD_OK);
    struct plist *d = compose(x, e, "SERIALA", "one");
    int64_t size = 0;
    bool sign = false;
    const char *name = NULL;
    assert_int_equal(plist_int(part(d, 1), "KeySize", &size), TD_OK);
    assert_int_equal(size, 384);
    assert_int_equal(plist_bool(part(d, 2), "SignMessage", &sign), TD_OK);
    assert_true(sign);
    assert_int_equal(plist_str(d, "PayloadDisplayName", &x->f->a, &name), TD_OK);
    assert_string_equal(name, "Device management");
    assert_null(plist_get(d, "PayloadOrganization"));
    enroll_close(e);
    /* no room */
    struct buf small;
    buf_init(&small, 100);
    assert_int_equal(enroll_compose(x->enroll, "SERIALA", "one", &x->f->a, &small, NULL), TD_LIMIT);
    buf_free(&small);
}

/* --- QR ------------------------------------------------------------------------------------ */

static void qr(void **state)
{
    struct ex *x = *state;
    buf_auto b;
    buf_init(&b, 1 << 20);
    assert_int_equal(enroll_qr_svg("https://mdm.example.com:8443/enroll/"
                                   "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                                   &b, NULL),
                     TD_OK);
    const char *svg = buf_cstr(&b);
    assert_int_equal(strncmp(svg, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 ", 53),
                     0);
    /* the finder's upper edge begins behind the quiet zone: seven dark modules */
    assert_non_null(strstr(svg, "d=\"M4 4h7v1h-7z"));
    assert_non_null(strstr(svg, "\"/></svg>\n"));
    char url[1030];
    memset(url, 'u', sizeof url);
    url[1024] = 0;
    buf_reset(&b);
    assert_int_equal(enroll_qr_svg(url, &b, NULL), TD_OK);
    url[1024] = 'u';
    url[1025] = 0;
    assert_int_equal(enroll_qr_svg(url, &b, NULL), TD_INVAL);
    assert_int_equal(enroll_qr_svg("", &b, NULL), TD_INVAL);
    struct buf small;
    buf_init(&small, 200);
    assert_int_equal(enroll_qr_svg("https://example.com", &small, &x->f->ei), TD_LIMIT);
    buf_free(&small);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(once),           T(refusals), T(faults_keep_it),   T(race_for_one), T(invite_errors),
        T(golden_profile), T(stable),   T(cancel_and_clean), T(options),      T(qr),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
