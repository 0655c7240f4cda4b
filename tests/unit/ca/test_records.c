/* Certificate records, revocation and one-time identifiers in a real store. */
#include "ca_test.h"

static void fake_record(struct ca_record *r, uint8_t n, const char *device)
{
    static uint8_t serials[256][4];
    memcpy(serials[n], (uint8_t[]){0x40, 1, 2, n}, 4);
    *r = (struct ca_record){.serial = SPAN_ARR(serials[n]),
                            .device_serial = device,
                            .profile = "management",
                            .purpose = "management",
                            .der = SPAN_LIT("der"),
                            .not_before = 100,
                            .not_after = 200 + n,
                            .created_at = 1000 + n,
                            .reason = -1};
    memset(r->sha256, n, SHA256_SIZE);
    memset(r->spki_sha256, 0x80 | n, SHA256_SIZE);
}

/* One job per case: what it does is in the function, what it found in the struct. */
struct look {
    struct arena *a;
    struct span serial;
    const uint8_t *hash;
    const char *device;
    size_t max, n;
    struct ca_record one, *list;
    enum td_err e;
};

static enum td_err by_serial(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct look *l = ctx;
    l->e = ca_record_get(tx, l->serial, l->a, &l->one, ei);
    return TD_OK;
}

static enum td_err by_hash(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct look *l = ctx;
    l->e = ca_record_by_hash(tx, l->hash, l->a, &l->one, ei);
    return TD_OK;
}

static enum td_err by_device(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct look *l = ctx;
    l->e = ca_records_of(tx, l->device, l->max, l->a, &l->list, &l->n, ei);
    return TD_OK;
}

static void test_add_and_get(void **state)
{
    struct fixture *f = *state;
    arena_auto a;
    arena_init(&a, 1 << 20);
    struct errinfo ei = {0};
    struct ca_record r;
    fake_record(&r, 1, "REC1");
    r.order_id = "o1";
    add_record(f, &r);
    struct look l = {.a = &a, .serial = r.serial, .hash = r.sha256};
    assert_ok(store_read(f->store, by_serial, &l, &ei));
    assert_ok(l.e);
    assert_string_equal(l.one.device_serial, "REC1");
    assert_string_equal(l.one.order_id, "o1");
    assert_null(l.one.evidence_id);
    assert_int_equal(l.one.not_after, 201);
    assert_false(l.one.revoked);
    assert_int_equal(l.one.reason, -1);
    assert_memory_equal(l.one.sha256, r.sha256, SHA256_SIZE);
    assert_memory_equal(l.one.spki_sha256, r.spki_sha256, SHA256_SIZE);
    assert_true(span_eq(l.one.der, r.der));
    assert_ok(store_read(f->store, by_hash, &l, &ei));
    assert_ok(l.e);
    assert_true(span_eq(l.one.serial, r.serial));
    l.serial = SPAN_LIT("\x01");
    assert_ok(store_read(f->store, by_serial, &l, &ei));
    assert_int_equal(l.e, TD_NOTFOUND);
    uint8_t other[SHA256_SIZE] = {9};
    l.hash = other;
    assert_ok(store_read(f->store, by_hash, &l, &ei));
    assert_int_equal(l.e, TD_NOTFOUND);
    /* the same serial number or the same certificate twice */
    struct write_record w = {.r = &r};
    assert_int_equal(store_write(f->store, write_record_fn, &w, &ei), TD_EXISTS);
    struct ca_record twin;
    fake_record(&twin, 2, "REC1");
    memcpy(twin.sha256, r.sha256, SHA256_SIZE);
    w.r = &twin;
    assert_int_equal(store_write(f->store, write_record_fn, &w, &ei), TD_EXISTS);
}

static void test_list_and_revoke(void **state)
{
    struct fixture *f = *state;
    arena_auto a;
    arena_init(&a, 1 << 20);
    struct errinfo ei = {0};
    struct ca_record r;
    for (uint8_t i = 10; i < 30; i++) {
        fake_record(&r, i, "LIST1");
        add_record(f, &r);
    }
    fake_record(&r, 40, "LIST2");
    add_record(f, &r);
    static const struct {
        const char *device;
        size_t max, n;
    } rows[] = {{"LIST1", 100, 20}, {"LIST1", 20, 20}, {"LIST1", 7, 7},
                {"LIST1", 0, 0},    {"LIST2", 9, 1},   {"NOBODY", 9, 0}};
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct look l = {.a = &a, .device = rows[i].device, .max = rows[i].max};
        assert_ok(store_read(f->store, by_device, &l, &ei));
        assert_ok(l.e);
        assert_int_equal(l.n, rows[i].n);
        for (size_t k = 1; k < l.n; k++)
            assert_true(l.list[k - 1].created_at > l.list[k].created_at); /* newest first */
    }
    assert_int_equal(revoke_device(f, "LIST1"), 20);
    assert_int_equal(revoke_device(f, "LIST1"), 0);
    assert_int_equal(revoke_device(f, "NOBODY"), 0);
    struct look l = {.a = &a, .device = "LIST1", .max = 100};
    assert_ok(store_read(f->store, by_device, &l, &ei));
    for (size_t k = 0; k < l.n; k++) {
        assert_true(l.list[k].revoked);
        assert_int_equal(l.list[k].reason, 5);
        assert_true(l.list[k].revoked_at > 1700000000);
    }
    l.device = "LIST2";
    assert_ok(store_read(f->store, by_device, &l, &ei));
    assert_false(l.list[0].revoked);
}

static enum td_err revoke_and_fail(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct ca_change why = {.reason = 5, .now = 1};
    int64_t n;
    TD_TRY(ca_revoke_device(tx, ctx, &why, &n, ei));
    assert_int_equal(n, 1);
    return err_set(ei, TD_CONFLICT, "changed my mind");
}

static void test_revocation_is_the_callers_transaction(void **state)
{
    struct fixture *f = *state;
    struct errinfo ei = {0};
    struct ca_record r;
    char device[] = "ROLL1";
    fake_record(&r, 50, device);
    add_record(f, &r);
    assert_int_equal(store_write(f->store, revoke_and_fail, device, &ei), TD_CONFLICT);
    assert_int_equal(revoke_device(f, device), 1); /* it had been undone */
}

static void test_issue(void **state)
{
    struct fixture *f = *state;
    arena_auto a;
    arena_init(&a, 1 << 20);
    struct errinfo ei = {0};
    static const struct {
        const char *profile;
        int64_t days;
    } rows[] = {{"management", 365}, {"access", 90}};
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct ca_record r;
        issue(f, "C02XK0AAJGH5", rows[i].profile, KEY_P256, &a, &r);
        assert_string_equal(r.purpose, rows[i].profile);
        assert_int_equal(r.serial.n, 16);
        assert_int_equal(r.serial.p[0] & 0xc0, 0x40);
        assert_int_equal(r.not_after - r.not_before, rows[i].days * 86400 + 3600);
        cert_auto *c = NULL;
        assert_ok(cert_parse(r.der, &c, &ei));
        assert_string_equal(cert_cn(c, &a), "C02XK0AAJGH5");
        assert_non_null(strstr(cert_subject_text(c, &a), "O=Example Org"));
        assert_false(cert_is_ca(c));
        struct span v;
        assert_int_equal(cert_ext(c, "2.5.29.37", &v), 1); /* clientAuth alone */
        assert_true(span_eq(v, SPAN_LIT("\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x02")));
        assert_int_equal(cert_ext(c, "2.5.29.15", &v), 1); /* digitalSignature alone */
        assert_true(span_eq(v, SPAN_LIT("\x03\x02\x07\x80")));
        assert_int_equal(cert_ext(c, "2.5.29.17", &v), 1); /* PermanentIdentifier */
        assert_non_null(memmem(v.p, v.n, "\x2b\x06\x01\x05\x05\x07\x08\x03", 8));
        assert_non_null(memmem(v.p, v.n, "C02XK0AAJGH5", 12));
        assert_int_equal(cert_ext(c, "1.3.6.1.5.5.7.1.1", &v), 1);
        assert_non_null(memmem(v.p, v.n, "http://127.0.0.1:8080/ocsp", 26));
        assert_ok(cert_check_issued(c, ca_issuing(f->ca), &ei));
        buf_auto pem;
        buf_init(&pem, 65536);
        struct cert *chain[3];
        size_t n = 0;
        assert_ok(ca_chain_pem(f->ca, &r, &pem, &ei));
        assert_ok(cert_all_from_pem(buf_view(&pem), chain, 3, &n, &ei));
        assert_int_equal(n, 2);
        assert_true(span_eq(cert_der(chain[0]), r.der));
        assert_true(span_eq(cert_der(chain[1]), cert_der(ca_issuing(f->ca))));
        cert_free(chain[0]);
        cert_free(chain[1]);
    }
    struct ca_grant g = {.profile = "tls-server", .device_serial = "X1", .spki = SPAN_LIT("x")};
    struct ca_record r;
    assert_int_equal(ca_issue(f->ca, &g, &a, &r, &ei), TD_UNSUPPORTED);
    g.profile = NULL;
    assert_int_equal(ca_issue(f->ca, &g, &a, &r, &ei), TD_UNSUPPORTED);
    g.profile = "management"; /* no evidence */
    g.spki = cert_spki(ca_root(f->ca));
    assert_int_equal(ca_issue(f->ca, &g, &a, &r, &ei), TD_FORBIDDEN);
    g.evidence_sha256[0] = 1;
    g.spki = cert_spki(ca_issuing(f->ca)); /* a device with the CA's own key */
    assert_int_equal(ca_issue(f->ca, &g, &a, &r, &ei), TD_INVAL);
    assert_string_equal(ei.reason, "key-of-ca");
}

/* --- ClientIdentifiers --- */

struct cid {
    enum { ADD, CLAIM, CHECK, CONSUME, CANCEL, CLEAN } op;
    const char *id, *serial, *profile, *order;
    int64_t now, expires;
    enum td_err e;
    const char *reason;
};

static enum td_err cid_fn(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct cid *c = ctx;
    arena_auto a;
    arena_init(&a, 65536);
    struct client_id got = {0};
    enum td_err e = TD_INTERNAL;
    if (c->op == ADD)
        e = client_id_add(tx, c->id, c->serial, c->profile, c->now, c->expires, ei);
    else if (c->op == CLAIM)
        e = client_id_claim(tx, c->id, c->profile, c->order, c->now, &a, &got, ei);
    else if (c->op == CHECK)
        e = client_id_check(tx, c->order, ei);
    else if (c->op == CONSUME)
        e = client_id_consume(tx, c->order, c->now, ei);
    else if (c->op == CANCEL)
        e = client_id_cancel(tx, c->serial, c->now, ei);
    else if (c->op == CLEAN)
        e = client_id_clean(tx, &(struct sweep){.before = c->now, .max = 10}, ei);
    bool told = e == TD_OK || (c->reason && strcmp(c->reason, "client-id-unknown") != 0);
    if (c->op == CLAIM && told)
        assert_string_equal(got.serial, c->serial);
    return e;
}

static void test_client_ids(void **state)
{
    struct fixture *f = *state;
    const struct cid rows[] = {
        {ADD, "id-a", "SER1", "management", NULL, 100, 200, TD_OK, NULL},
        {ADD, "id-a", "SER9", "management", NULL, 100, 200, TD_EXISTS, NULL},
        {ADD, "id-b", "SER1", "management", NULL, 100, 200, TD_OK, NULL},
        {ADD, "id-c", "SER2", "management", NULL, 100, 200, TD_OK, NULL},
        {CLAIM, "", NULL, "management", "o1", 150, 0, TD_FORBIDDEN, "client-id-unknown"},
        {CLAIM, "id-x", NULL, "management", "o1", 150, 0, TD_FORBIDDEN, "client-id-unknown"},
        {CLAIM, "id-a", NULL, "access", "o1", 150, 0, TD_FORBIDDEN, "client-id-unknown"},
        {CLAIM, "id-a", "SER1", "management", "o1", 200, 0, TD_FORBIDDEN, "client-id-expired"},
        {CONSUME, NULL, NULL, NULL, "o1", 150, 0, TD_REPLAY, "client-id-used"},
        {CLAIM, "id-a", "SER1", "management", "o1", 199, 0, TD_OK, NULL},
        {CLAIM, "id-a", "SER1", "management", "o2", 199, 0, TD_FORBIDDEN, "client-id-used"},
        {CLAIM, "id-a", "SER1", "management", "o1", 199, 0, TD_FORBIDDEN, "client-id-used"},
        {CHECK, NULL, NULL, NULL, "o9", 199, 0, TD_FORBIDDEN, "client-id-ended"},
        {CHECK, NULL, NULL, NULL, "o1", 199, 0, TD_OK, NULL},
        {CONSUME, NULL, NULL, NULL, "o1", 199, 0, TD_OK, NULL},
        {CONSUME, NULL, NULL, NULL, "o1", 199, 0, TD_REPLAY, "client-id-used"},
        {CHECK, NULL, NULL, NULL, "o1", 199, 0, TD_FORBIDDEN, "client-id-ended"},
        {CANCEL, NULL, "SER1", NULL, NULL, 150, 0, TD_OK, NULL},
        {CLAIM, "id-b", "SER1", "management", "o3", 150, 0, TD_FORBIDDEN, "client-id-expired"},
        {CLAIM, "id-c", "SER2", "management", "o4", 150, 0, TD_OK, NULL}, /* another's stays */
        /* the device leaves behind the claim, and behind the identifier's own expiry */
        {CHECK, NULL, NULL, NULL, "o4", 150, 0, TD_OK, NULL},
        {CANCEL, NULL, "SER2", NULL, NULL, 250, 0, TD_OK, NULL},
        {CHECK, NULL, NULL, NULL, "o4", 150, 0, TD_FORBIDDEN, "client-id-ended"},
        {CONSUME, NULL, NULL, NULL, "o4", 150, 0, TD_REPLAY, "client-id-used"},
        {CLEAN, NULL, NULL, NULL, NULL, 201, 0, TD_OK, NULL},
        {CLAIM, "id-b", NULL, "management", "o5", 150, 0, TD_FORBIDDEN, "client-id-unknown"},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct cid c = rows[i];
        struct errinfo ei = {0};
        enum td_err e = store_write(f->store, cid_fn, &c, &ei);
        if (e != rows[i].e)
            fail_msg("row %zu: %s %s", i, err_name(e), err_msg(&ei, e));
        if (rows[i].reason)
            assert_string_equal(ei.reason, rows[i].reason);
        if (rows[i].op == CLAIM && e != TD_OK)
            assert_string_equal(ei.acme, "rejectedIdentifier");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_add_and_get),
        cmocka_unit_test(test_list_and_revoke),
        cmocka_unit_test(test_revocation_is_the_callers_transaction),
        cmocka_unit_test(test_issue),
        cmocka_unit_test(test_client_ids),
    };
    return cmocka_run_group_tests(tests, fixture_up, fixture_down);
}
