/* revokeCert by the certificate's key, its account, and the holder of an authorization. */
#include "acme/ca/revoke.h"
#include "tests/unit/acme/acme_client.h"

#define REVOKE BASE "/acme/revoke-cert"

static const char *payload(struct client *c, const struct cert *cert, const char *more)
{
    return arena_printf(&c->arena, "{\"certificate\":\"%s\"%s}",
                        b64url_str(&c->arena, cert_der(cert)), more);
}

struct status_job {
    const struct cert *cert;
    struct arena *a;
    struct ca_record rec;
};

static enum td_err status_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct status_job *j = ctx;
    return ca_record_get(tx, cert_serial(j->cert), j->a, &j->rec, ei);
}

static struct ca_record record_of(struct client *c, const struct cert *cert)
{
    struct status_job j = {.cert = cert, .a = &c->arena};
    assert_ok(store_read(c->w->store, status_job, &j, NULL));
    return j.rec;
}

static void by_account(void **state)
{
    client_auto c, other;
    client_init(&c, *state);
    client_init(&other, *state);
    cert_auto *cert = issue(&c);
    new_account(&other);
    const struct {
        const char *more;
        const char *type, *reason;
    } bad[] = {
        {",\"reason\":2", "badRevocationReason", "revocation-reason"},
        {",\"reason\":6", "badRevocationReason", "revocation-reason"},
        {",\"reason\":7", "badRevocationReason", "revocation-reason"},
        {",\"reason\":8", "badRevocationReason", "revocation-reason"},
        {",\"reason\":9", "badRevocationReason", "revocation-reason"},
        {",\"reason\":11", "badRevocationReason", "revocation-reason"},
        {",\"reason\":-1", "badRevocationReason", "revocation-reason"},
        {",\"reason\":4294967297", "badRevocationReason", "revocation-reason"},
        {",\"reason\":\"1\"", "malformed", "payload-malformed"},
        {",\"reason\":1.5", "malformed", "payload-malformed"},
        {",\"reason\":null", "malformed", "payload-malformed"},
    };
    for (size_t i = 0; i < TD_NITEMS(bad); i++) {
        struct answer an = post(&c, REVOKE, payload(&c, cert, bad[i].more));
        refused(&an, 400, bad[i].type, bad[i].reason);
    }
    static const char *const raw[] = {"",
                                      "{}",
                                      "[]",
                                      "{\"certificate\":1}",
                                      "{\"certificate\":\"\"}",
                                      "{\"certificate\":\"AAAA\"}",
                                      "{\"certificate\":\"*\"}"};
    for (size_t i = 0; i < TD_NITEMS(raw); i++) {
        struct answer an = post(&c, REVOKE, raw[i]);
        refused(&an, 400, "malformed", "payload-malformed");
    }
    struct answer an = post(&c, REVOKE, payload(&c, c.w->signer.issuing, "")); /* none of these */
    refused(&an, 404, "malformed", "certificate-unknown");
    an = post(&other, REVOKE, payload(&other, cert, ""));
    refused(&an, 403, "unauthorized", "revocation-foreign");
    assert_string_equal(last_attempt(&c, SERIAL).reason, "revocation-foreign");
    assert_false(record_of(&c, cert).revoked);

    an = post(&c, REVOKE, payload(&c, cert, ",\"reason\":1"));
    accepted(&an, 200);
    assert_string_equal(an.body, "");
    struct ca_record rec = record_of(&c, cert);
    assert_true(rec.revoked);
    assert_int_equal(rec.reason, 1);
    an = post(&c, REVOKE, payload(&c, cert, ",\"reason\":4"));
    refused(&an, 400, "alreadyRevoked", "already-revoked");
    assert_int_equal(record_of(&c, cert).reason, 1);
    an = post(&c, c.order, ""); /* the order stays what it is */
    assert_string_equal(str_of(an.json, "status"), "valid");
}

static enum td_err hold_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct cert *cert = ctx;
    const struct ca_change hold = {
        .act = CA_ACT_HOLD, .if_match = CA_IF_ANY, .now = FAKE_NOW, .actor = "test", .txn = "t"};
    bool changed;
    return ca_change_one(tx, cert_serial(cert), &hold, &changed, ei);
}

/* One on hold is not revoked yet. */
static void on_hold(void **state)
{
    client_auto c;
    client_init(&c, *state);
    cert_auto *cert = issue(&c);
    assert_ok(store_write(c.w->store, hold_job, cert, NULL));
    struct answer an = post(&c, REVOKE, payload(&c, cert, ",\"reason\":4"));
    accepted(&an, 200);
    assert_int_equal(record_of(&c, cert).state, CA_REVOKED);
    assert_int_equal(record_of(&c, cert).reason, 4);
    an = post(&c, REVOKE, payload(&c, cert, ",\"reason\":4"));
    refused(&an, 400, "alreadyRevoked", "already-revoked");
}

/* Another account of the same device, within the life of its authorization. */
static void by_authorization(void **state)
{
    client_auto c, other;
    client_init(&c, *state);
    client_init(&other, *state);
    cert_auto *cert = issue(&c);
    get_authz(&other);
    struct answer an = post(&other, REVOKE, payload(&other, cert, "")); /* pending is not enough */
    refused(&an, 403, "unauthorized", "revocation-foreign");
    make_ready(&other);
    an = post(&other, other.authz, "{\"status\":\"deactivated\"}");
    accepted(&an, 200);
    an = post(&other, REVOKE, payload(&other, cert, "")); /* given up */
    refused(&an, 403, "unauthorized", "revocation-foreign");
    client_auto third;
    client_init(&third, *state);
    cert_auto *own = issue(&third);
    c.w->clock.at = FAKE_NOW + 3600; /* its last second is over */
    get_nonce(&third);
    an = post(&third, REVOKE, payload(&third, cert, ""));
    refused(&an, 403, "unauthorized", "revocation-foreign");
    c.w->clock.at = FAKE_NOW + 3599;
    get_nonce(&third);
    an = post(&third, REVOKE, payload(&third, cert, ""));
    accepted(&an, 200);
    assert_int_equal(record_of(&c, cert).reason, 0);
    assert_false(record_of(&c, own).revoked);
}

static void deactivated(void **state)
{
    client_auto c;
    client_init(&c, *state);
    cert_auto *cert = issue(&c);
    struct answer an = post(&c, c.kid, "{\"status\":\"deactivated\"}");
    accepted(&an, 200);
    an = post(&c, REVOKE, payload(&c, cert, ""));
    refused(&an, 403, "unauthorized", "account-deactivated");
}

static enum td_err clean_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct world *w = ctx;
    struct sweep orders = {.before = w->clock.at - 86400, .max = 1000}, accounts = orders;
    TD_TRY(acme_clean_orders(tx, &orders, ei));
    return acme_clean_accounts(tx, &accounts, ei);
}

/* The account can revoke as long as the order that issued is kept: 30 days here. */
static void weeks_later(void **state)
{
    struct world *w = *state;
    client_auto c, d;
    client_init(&c, w);
    client_init(&d, w);
    cert_auto *first = issue(&c), *second = issue(&d);
    w->clock.at = FAKE_NOW + 30 * FAKE_DAY;
    assert_ok(store_write(w->store, clean_job, w, NULL));
    get_nonce(&c);
    struct answer an = post(&c, REVOKE, payload(&c, first, ""));
    accepted(&an, 200);
    w->clock.at = FAKE_NOW + 31 * FAKE_DAY + 1;
    assert_ok(store_write(w->store, clean_job, w, NULL));
    get_nonce(&d);
    an = post(&d, REVOKE, payload(&d, second, ""));
    refused(&an, 400, "accountDoesNotExist", "account-unknown");
}

/* The device's key in the form of the client's. */
static struct key *device_key(struct client *c)
{
    BIO *b = BIO_new(BIO_s_mem());
    char *p;
    struct key *k;
    fake_ok(PEM_write_bio_PKCS8PrivateKey(b, c->device, NULL, NULL, 0, NULL, NULL) == 1);
    long n = BIO_get_mem_data(b, &p);
    assert_ok(key_from_pem(span_of(p, (size_t)n), NULL, &k, NULL));
    BIO_free(b);
    return k;
}

static void by_key(void **state)
{
    client_auto c;
    client_init(&c, *state);
    cert_auto *cert = issue(&c);
    key_auto *own = device_key(&c), *foreign = NULL;
    assert_ok(key_generate(KEY_P384, &foreign, NULL));
    const struct key *wrong[] = {foreign, c.key}; /* the account's key is not the certificate's */
    for (size_t i = 0; i < TD_NITEMS(wrong); i++) {
        struct answer an = post_twisted(&c, REVOKE, payload(&c, cert, ""),
                                        &(struct twist){.jwk = true, .key = wrong[i]});
        refused(&an, 403, "unauthorized", "revocation-foreign");
    }
    /* its jwk, another's signature */
    const char *prot =
        arena_printf(&c.arena, "{\"alg\":\"ES384\",\"nonce\":\"%s\",\"url\":\"%s\",\"jwk\":%s}",
                     c.nonce, REVOKE, jwk_text(own, &c.arena));
    struct answer an = post_twisted(&c, REVOKE, payload(&c, cert, ""),
                                    &(struct twist){.protected_json = prot, .key = foreign});
    refused(&an, 403, "unauthorized", "signature-bad");
    assert_false(record_of(&c, cert).revoked);
    an = post_twisted(&c, REVOKE, payload(&c, cert, ",\"reason\":5"),
                      &(struct twist){.jwk = true, .key = own});
    accepted(&an, 200);
    assert_int_equal(record_of(&c, cert).reason, 5);
    an = post_twisted(&c, REVOKE, payload(&c, cert, ""), &(struct twist){.jwk = true, .key = own});
    refused(&an, 400, "alreadyRevoked", "already-revoked");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(by_account, world_reset),
        cmocka_unit_test_setup(by_authorization, world_reset),
        cmocka_unit_test_setup(on_hold, world_reset),
        cmocka_unit_test_setup(deactivated, world_reset),
        cmocka_unit_test_setup(weeks_later, world_reset),
        cmocka_unit_test_setup(by_key, world_reset),
    };
    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
