/* CRLs as they are published: made anew by a change alone, the same on every node, read by openssl.
 */
#include "ca_test.h"

#include "acme/ca/ca_int.h"
#include "acme/signer/proto/signer_msg.h"

#define DAY INT64_C(86400)

static struct ca_record add_cert(struct fixture *f, const char *device, struct arena *a)
{
    struct ca_record r;
    issue(f, device, "management", KEY_P256, a, &r);
    add_record(f, &r);
    return r;
}

struct change_job {
    struct span serial;
    struct ca_change c;
};

static enum td_err change_fn(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct change_job *j = ctx;
    bool changed;
    return ca_change_one(tx, j->serial, &j->c, &changed, ei);
}

static void change(struct fixture *f, struct span serial, enum ca_act act)
{
    struct errinfo ei = {0};
    struct change_job j = {serial,
                           {.act = act,
                            .reason = 4,
                            .if_match = CA_IF_ANY,
                            .now = clock_now(&clock_system),
                            .actor = "test",
                            .txn = "t"}};
    assert_ok(store_write(f->store, change_fn, &j, &ei));
}

static struct ca_crl get(struct ca *ca, int shard, struct arena *a)
{
    struct errinfo ei = {0};
    struct ca_crl crl;
    enum td_err e = ca_crl_get(ca, 0, shard, true, a, &crl, &ei);
    if (e != TD_OK)
        fail_msg("CRL %d: %s", shard, err_msg(&ei, e));
    return crl;
}

static bool lists(const struct ca_crl *crl, struct span serial)
{
    return memmem(crl->der.p, crl->der.n, serial.p, serial.n) != NULL;
}

/* A record without a certificate, which ended so many seconds ago. */
static void add_ended(struct fixture *f, uint8_t n, int64_t ago, int64_t shard)
{
    uint8_t serial[16] = {0x42, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, n};
    struct ca_record r = {.serial = SPAN_ARR(serial),
                          .device_serial = "ENDED",
                          .profile = "access",
                          .purpose = "access",
                          .der = SPAN_LIT("der"),
                          .not_before = 100,
                          .not_after = clock_now(&clock_system) - ago,
                          .created_at = 1000,
                          .shard = shard,
                          .reason = -1};
    memset(r.sha256, n, SHA256_SIZE);
    memset(r.spki_sha256, n, SHA256_SIZE);
    memcpy(r.issuer, ca_issuer_at(f->ca, 0)->id, sizeof r.issuer);
    add_record(f, &r);
    change(f, SPAN_ARR(serial), CA_ACT_REVOKE);
}

/* Times of the stored lists, moved into the past. */
static const struct store_stmt age_stmts[] = {
    {"test.age", "UPDATE crls SET this_update = this_update - ?1 WHERE shard = ?2", "ii", ""}};

static enum td_err age_fn(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const int64_t *by = ctx;
    return tx_exec(tx, &age_stmts[0], SV_LIST(SV_INT(by[0]), SV_INT(by[1])), NULL, ei);
}

static void age(struct fixture *f, int64_t seconds, int64_t shard)
{
    struct errinfo ei = {0};
    int64_t by[2] = {seconds, shard};
    assert_ok(store_write(f->store, age_fn, by, &ei));
}

static void openssl_reads(struct fixture *f, const struct ca_crl *crl, const char *want)
{
    char file[120], issuing[120], out[8000];
    if (!have_openssl())
        skip();
    snprintf(file, sizeof file, "%s/x.crl", f->dir);
    snprintf(issuing, sizeof issuing, "%s/issuing.crt", f->ca_dir);
    write_file(file, crl->der);
    assert_int_equal(RUN(out, "openssl", "crl", "-inform", "der", "-in", file, "-noout", "-text",
                         "-CAfile", issuing),
                     0);
    assert_non_null(strstr(out, "verify OK"));
    if (!strstr(out, want))
        fail_msg("%s is not in\n%s", want, out);
}

static void test_shard_and_complete(void **state)
{
    struct fixture *f = *state;
    arena_auto a;
    arena_init(&a, 1 << 24);
    struct ca_record r = add_cert(f, "CRL1", &a), same = r;
    while (same.shard == r.shard)
        same = add_cert(f, "CRL1", &a);
    assert_int_equal(r.shard, r.serial.p[15] % 16);
    int shard = (int)r.shard;
    struct ca_crl before = get(f->ca, shard, &a), all = get(f->ca, CA_CRL_COMPLETE, &a);
    assert_false(lists(&before, r.serial));
    openssl_reads(f, &before, "No Revoked Certificates");
    openssl_reads(f, &before, "Only User Certificates");
    struct ca_crl again = get(f->ca, shard, &a);
    assert_true(span_eq(before.der, again.der));
    struct ca_crl other = get(f->ca, (int)same.shard, &a);
    change(f, r.serial, CA_ACT_HOLD);
    struct ca_crl held = get(f->ca, shard, &a);
    assert_true(held.number > before.number);
    assert_true(held.this_update >= before.this_update);
    assert_int_equal(held.next_update - held.this_update, CA_CRL_LIFE);
    assert_true(lists(&held, r.serial));
    openssl_reads(f, &held, "Certificate Hold");
    /* the URI in the list is the one in the certificate */
    char uri[SIGNER_MSG_URI_SIZE];
    assert_true(signer_msg_crl_uri(SPAN_LIT("http://127.0.0.1:8080/crl"),
                                   ca_issuer_at(f->ca, 0)->hex, (unsigned)shard, uri));
    assert_non_null(memmem(held.der.p, held.der.n, uri, strlen(uri)));
    assert_non_null(memmem(r.der.p, r.der.n, uri, strlen(uri)));
    struct ca_crl complete = get(f->ca, CA_CRL_COMPLETE, &a);
    assert_true(complete.number > all.number);
    assert_true(lists(&complete, r.serial));
    assert_null(memmem(complete.der.p, complete.der.n, "\x55\x1d\x1c", 3));
    /* another part did not change */
    again = get(f->ca, (int)same.shard, &a);
    assert_int_equal(again.number, other.number);
    change(f, r.serial, CA_ACT_RELEASE);
    struct ca_crl released = get(f->ca, shard, &a);
    assert_false(lists(&released, r.serial));
    assert_true(released.number > held.number);
    change(f, r.serial, CA_ACT_REVOKE);
    struct ca_crl revoked = get(f->ca, shard, &a);
    openssl_reads(f, &revoked, "Superseded");
}

static void test_no_such(void **state)
{
    struct fixture *f = *state;
    struct errinfo ei = {0};
    arena_auto a;
    arena_init(&a, 1 << 20);
    struct ca_crl crl;
    assert_int_equal(ca_crl_get(f->ca, 0, 16, true, &a, &crl, &ei), TD_NOTFOUND);
    assert_int_equal(ca_crl_get(f->ca, 0, -2, true, &a, &crl, &ei), TD_NOTFOUND);
    assert_int_equal(ca_crl_get(f->ca, 1, 0, true, &a, &crl, &ei), TD_NOTFOUND);
}

/* RFC 5280 section 3.3: on one more list behind its end, then gone. */
static void test_expired_leave(void **state)
{
    struct fixture *f = *state;
    arena_auto a;
    arena_init(&a, 1 << 24);
    uint8_t serial[16] = {0x42, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 1};
    get(f->ca, 5, &a);
    add_ended(f, 1, 100, 5); /* a moment ago */
    struct ca_crl crl = get(f->ca, 5, &a);
    assert_true(lists(&crl, SPAN_ARR(serial)));
    add_ended(f, 2, 2 * DAY, 5); /* before the list above */
    serial[15] = 2;
    crl = get(f->ca, 5, &a);
    assert_false(lists(&crl, SPAN_ARR(serial)));
    /* the last list is of before its end: it must be on one more */
    age(f, 3 * DAY, 5);
    crl = get(f->ca, 5, &a);
    assert_true(lists(&crl, SPAN_ARR(serial)));
    age(f, 1, 5);
    add_ended(f, 3, 3 * DAY, 5); /* a change, so that there is another */
    crl = get(f->ca, 5, &a);
    assert_false(lists(&crl, SPAN_ARR(serial)));
}

static void test_refresh(void **state)
{
    struct fixture *f = *state;
    arena_auto a;
    arena_init(&a, 1 << 24);
    struct ca_crl first = get(f->ca, 6, &a);
    age(f, DAY - CA_CRL_BACKDATE - 10, 6);
    assert_int_equal(get(f->ca, 6, &a).number, first.number);
    age(f, 10 + CA_CRL_BACKDATE, 6);
    assert_true(get(f->ca, 6, &a).number > first.number);
}

/* A second server on the same database: it serves what the first made, and sees its changes. */
static void test_two_nodes(void **state)
{
    struct fixture *f = *state;
    struct errinfo ei = {0};
    arena_auto a;
    arena_init(&a, 1 << 24);
    struct ca *node = NULL;
    struct ca_conf conf = {
        .store = f->store, .signer = f->client, .clock = &clock_system, .rng = &rng_system};
    assert_ok(ca_open(&conf, &node, &ei));
    struct ca_record r = add_cert(f, "NODE1", &a);
    change(f, r.serial, CA_ACT_REVOKE);
    struct ca_crl one = get(f->ca, (int)r.shard, &a), two = get(node, (int)r.shard, &a);
    assert_int_equal(one.number, two.number);
    assert_true(span_eq(one.der, two.der));
    struct ca_record s = r;
    while (s.shard != r.shard || span_eq(s.serial, r.serial))
        s = add_cert(f, "NODE1", &a);
    change(f, s.serial, CA_ACT_REVOKE);
    two = get(node, (int)r.shard, &a);
    assert_true(two.number > one.number);
    assert_true(lists(&two, s.serial));
    one = get(f->ca, (int)r.shard, &a);
    assert_int_equal(one.number, two.number);
    ca_close(node);
}

/* A few may wait for one being made, not every worker. */
static void test_waiters(void **state)
{
    struct fixture *f = *state;
    struct errinfo ei = {0};
    arena_auto a;
    arena_init(&a, 1 << 24);
    struct ca_crl crl;
    struct ca_record r = add_cert(f, "WAIT1", &a);
    change(f, r.serial, CA_ACT_HOLD);
    atomic_store(&f->ca->crl_waiting, 16);
    assert_int_equal(ca_crl_get(f->ca, 0, (int)r.shard, true, &a, &crl, &ei), TD_BUSY);
    atomic_store(&f->ca->crl_waiting, 15);
    assert_ok(ca_crl_get(f->ca, 0, (int)r.shard, true, &a, &crl, &ei));
    /* what needs none made is served all the same */
    atomic_store(&f->ca->crl_waiting, 16);
    assert_ok(ca_crl_get(f->ca, 0, (int)r.shard, true, &a, &crl, &ei));
    atomic_store(&f->ca->crl_waiting, 0);
}

/* More than fits one message to the signer. */
static void test_many(void **state)
{
    struct fixture *f = *state;
    arena_auto a;
    arena_init(&a, 1 << 26);
    enum { MANY = 2 * SIGNER_MSG_CRL_STEP + 1 };
    for (int i = 0; i < MANY; i++) {
        uint8_t serial[16] = {0x43, (uint8_t)(i * 31), (uint8_t)(i >> 8), (uint8_t)i};
        struct ca_record r = {.serial = SPAN_ARR(serial),
                              .device_serial = "MANY",
                              .profile = "access",
                              .purpose = "access",
                              .der = SPAN_LIT("der"),
                              .not_before = 100,
                              .not_after = clock_now(&clock_system) + DAY,
                              .created_at = 1000,
                              .shard = 7,
                              .reason = -1};
        memcpy(r.sha256, &i, sizeof i);
        r.sha256[31] = 0x43;
        memcpy(r.issuer, ca_issuer_at(f->ca, 0)->id, sizeof r.issuer);
        add_record(f, &r);
    }
    assert_int_equal(revoke_device(f, "MANY"), MANY);
    struct ca_crl crl = get(f->ca, 7, &a);
    for (int i = 0; i < MANY; i += 97) {
        uint8_t serial[16] = {0x43, (uint8_t)(i * 31), (uint8_t)(i >> 8), (uint8_t)i};
        assert_true(lists(&crl, SPAN_ARR(serial)));
    }
    openssl_reads(f, &crl, "Cessation Of Operation");
}

/* --- over HTTP --- */

struct http {
    struct req req;
    struct resp resp;
    struct req_header header;
    struct arena a;
};

static void call(struct fixture *f, struct http *h, const char *issuer, const char *file,
                 const char *if_none_match)
{
    struct errinfo ei = {0};
    arena_init(&h->a, 1 << 26);
    h->header = (struct req_header){SPAN_LIT("If-None-Match"), span_str(if_none_match)};
    h->req = (struct req){.method = REQ_GET,
                          .listener = REQ_ON_STATUS,
                          .headers = &h->header,
                          .nheaders = if_none_match ? 1 : 0,
                          .arena = &h->a,
                          .ctx = f->ca};
    h->req.params[0] = span_str(issuer ? issuer : file);
    h->req.params[1] = span_str(file);
    resp_init(&h->resp, &h->a, 1 << 26);
    h->resp.status = 200;
    enum td_err e = ca_crl_routes[issuer ? 0 : 1].fn(&h->req, &h->resp, &ei);
    if (e != TD_OK)
        h->resp.status = err_http(e);
}

static const char *header(const struct http *h, const char *name)
{
    for (size_t i = 0; i < h->resp.nheaders; i++)
        if (strcmp(h->resp.headers[i].name, name) == 0)
            return h->resp.headers[i].value;
    return "";
}

static void done(struct http *h)
{
    resp_free(&h->resp);
    arena_free(&h->a);
}

static void test_http(void **state)
{
    struct fixture *f = *state;
    const char *issuer = ca_issuer_at(f->ca, 0)->hex;
    struct http h;
    char tag[200];
    call(f, &h, issuer, "0.crl", NULL);
    assert_int_equal(h.resp.status, 200);
    assert_string_equal(h.resp.content_type, "application/pkix-crl");
    assert_int_equal(h.resp.body.p[0], 0x30);
    assert_string_equal(header(&h, "Cache-Control"), "public, max-age=60");
    assert_non_null(strstr(header(&h, "Last-Modified"), " GMT"));
    snprintf(tag, sizeof tag, "%s", header(&h, "ETag"));
    done(&h);
    call(f, &h, issuer, "0.crl", tag);
    assert_int_equal(h.resp.status, 304);
    assert_int_equal(h.resp.body.n, 0);
    done(&h);
    call(f, &h, issuer, "0.pem", tag); /* other bytes, another tag */
    assert_int_equal(h.resp.status, 200);
    assert_true(span_starts(buf_view(&h.resp.body), SPAN_LIT("-----BEGIN X509 CRL-----\n")));
    done(&h);
    static const struct {
        const char *file;
        bool issuer;
        int status;
    } rows[] = {{"all.crl", true, 200},
                {"all.pem", true, 200},
                {"15.crl", true, 200},
                {"16.crl", true, 404},
                {"-1.crl", true, 404},
                {"x.crl", true, 404},
                {".crl", true, 404},
                {"0.der", true, 404},
                {"0", true, 404},
                {"99999999999.crl", true, 404},
                {"issuing.crl", false, 200},
                {"issuing.pem", false, 200},
                {"root.crl", false, 200},
                {"root.pem", false, 200},
                {"all.pem", false, 200},
                {"all.crl", false, 404},
                {"", false, 404},
                {"other.crl", false, 404}};
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        call(f, &h, rows[i].issuer ? issuer : NULL, rows[i].file, NULL);
        if (h.resp.status != rows[i].status)
            fail_msg("%s: %d", rows[i].file, h.resp.status);
        done(&h);
    }
    call(f, &h, "00", "0.crl", NULL);
    assert_int_equal(h.resp.status, 404);
    done(&h);
}

/* Last: without the signer a list that lacks nothing is served on, though a day old; one that lacks
 * a change is not. */
static void test_signer_away(void **state)
{
    struct fixture *f = *state;
    struct errinfo ei = {0};
    arena_auto a;
    arena_init(&a, 1 << 24);
    struct ca_record r = add_cert(f, "AWAY1", &a);
    int shard = (int)r.shard;
    struct ca_crl before = get(f->ca, shard, &a), crl;
    age(f, 2 * DAY, shard);
    pid_t supervisor = child_of(getpid());
    assert_true(supervisor > 0);
    assert_int_equal(kill(supervisor, SIGKILL), 0);
    for (int ms = 20000; ms > 0 && signer_client_alive(f->client); ms -= 5)
        poll(NULL, 0, 5);
    assert_false(signer_client_alive(f->client));
    assert_int_equal(get(f->ca, shard, &a).number, before.number);
    change(f, r.serial, CA_ACT_REVOKE);
    assert_int_equal(ca_crl_get(f->ca, 0, shard, true, &a, &crl, &ei), TD_BUSY);
}

int main(void)
{
    fixture_stmts = (struct store_stmts){age_stmts, TD_NITEMS(age_stmts)};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shard_and_complete),
        cmocka_unit_test(test_no_such),
        cmocka_unit_test(test_expired_leave),
        cmocka_unit_test(test_refresh),
        cmocka_unit_test(test_two_nodes),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_waiters),
        cmocka_unit_test(test_http),
        cmocka_unit_test(test_signer_away),
    };
    return cmocka_run_group_tests(tests, fixture_up, fixture_down);
}
