/* The nine requests of Apple's client, and what it needs in each answer. */
#include "tests/unit/acme/acme_client.h"

static void nine_requests(void **state)
{
    client_auto c;
    client_init(&c, *state);
    /* 1: a body on GET */
    struct answer an = serve(c.w, &c.arena, REQ_GET, "/acme/management/directory",
                             "application/json", SPAN_LIT("{}"));
    accepted(&an, 200);
    assert_int_equal(an.nlinks, 0);
    assert_null(an.nonce);
    assert_string_equal(str_of(an.json, "newNonce"), BASE "/acme/new-nonce");
    assert_string_equal(str_of(an.json, "newAccount"), BASE "/acme/new-account");
    assert_string_equal(str_of(an.json, "newOrder"), BASE "/acme/management/new-order");
    assert_string_equal(str_of(an.json, "revokeCert"), BASE "/acme/revoke-cert");
    assert_string_equal(str_of(an.json, "keyChange"), BASE "/acme/key-change");
    assert_string_equal(str_of(an.json, "renewalInfo"), BASE "/acme/renewal-info");
    assert_null(json_member(an.json, "newAuthz"));
    get_nonce(&c);         /* 2 */
    new_account(&c);       /* 3 */
    new_order(&c);         /* 4 */
    get_authz(&c);         /* 5 */
    make_ready(&c);        /* 6 */
    an = try_finalize(&c); /* 7: valid at once */
    accepted(&an, 200);
    assert_string_equal(str_of(an.json, "status"), "valid");
    assert_string_equal(an.location, c.order);
    an = post(&c, c.order, ""); /* 8 */
    accepted(&an, 200);
    assert_string_equal(str_of(an.json, "status"), "valid");
    c.cert = str_of(an.json, "certificate");
    an = post(&c, c.cert, ""); /* 9 */
    accepted(&an, 200);
    assert_string_equal(an.content_type, "application/pem-certificate-chain");

    cert_auto *leaf = NULL;
    assert_ok(cert_from_pem(span_str(an.body), &leaf, NULL));
    assert_ok(cert_check_issued(leaf, c.w->signer.issuing, NULL));
    assert_string_equal(cert_cn(leaf, &c.arena), SERIAL); /* not the CSR's subject */
    const char *second = strstr(an.body + 10, "-----BEGIN");
    cert_auto *ca = NULL;
    assert_non_null(second);
    assert_ok(cert_from_pem(span_str(second), &ca, NULL));
    assert_true(span_eq(cert_der(ca), cert_der(c.w->signer.issuing)));

    struct attempt t = last_attempt(&c, SERIAL);
    assert_string_equal(t.outcome, "issued");
    assert_string_equal(t.source, "acme");
    assert_string_equal(t.peer, "192.0.2.1");
    assert_non_null(strstr(c.order, t.order_id));
    /* what the URLs are made of: unreserved characters (and the separators) */
    const char *urls[] = {c.kid, c.order, c.authz, c.chal, c.finalize, c.cert};
    for (size_t i = 0; i < TD_NITEMS(urls); i++)
        assert_int_equal(strspn(urls[i] + sizeof "https://" - 1,
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
                                "/:"),
                         strlen(urls[i]) - sizeof "https://" + 1);
}

static void nonces(void **state)
{
    client_auto c;
    client_init(&c, *state);
    struct answer an = serve(c.w, &c.arena, REQ_GET, "/acme/new-nonce", "", SPAN_LIT(""));
    accepted(&an, 204);
    assert_int_equal(strlen(an.nonce), 22);
    assert_int_equal(an.nlinks, 1);
    an = serve(c.w, &c.arena, REQ_HEAD, "/acme/new-nonce", "", SPAN_LIT(""));
    accepted(&an, 200);
    an = serve(c.w, &c.arena, REQ_HEAD, "/acme/management/directory", "", SPAN_LIT("{}"));
    accepted(&an, 200);
    an = serve(c.w, &c.arena, REQ_GET, "/acme/nothing/directory", "", SPAN_LIT(""));
    refused(&an, 404, "malformed", "not-found");
    assert_null(an.nonce); /* a GET spends none */
}

/* A nonce minutes old still counts, and at the end of its life no more. */
static void slow_device(void **state)
{
    client_auto c;
    client_init(&c, *state);
    get_authz(&c);
    struct fake_leaf l = honest(&c);
    c.w->clock.at = FAKE_NOW + 599;
    struct answer an = attest(&c, &l);
    accepted(&an, 200);
    assert_string_equal(str_of(an.json, "status"), "valid");
    c.w->clock.at = FAKE_NOW + 599 + 600;
    an = try_finalize(&c);
    refused(&an, 400, "badNonce", "nonce-bad");
    an = try_finalize(&c); /* with the fresh one of the refusal */
    accepted(&an, 200);
}

static void short_signatures(void **state)
{
    client_auto c;
    client_init(&c, *state);
    new_order(&c);
    struct answer an = post_twisted(&c, c.authz, "", &(struct twist){.strip = 1});
    accepted(&an, 200);
}

/* Other ACME clients may sign with ES384. */
static void p384_account(void **state)
{
    client_auto c;
    client_init(&c, *state);
    key_free(c.key);
    assert_ok(key_generate(KEY_P384, &c.key, NULL));
    make_ready(&c);
    struct answer an = try_finalize(&c);
    accepted(&an, 200);
}

static void accounts(void **state)
{
    client_auto c;
    client_init(&c, *state);
    get_nonce(&c);
    struct answer an = post(&c, BASE "/acme/new-account", "{\"onlyReturnExisting\":true}");
    refused(&an, 400, "accountDoesNotExist", "account-unknown");
    new_account(&c);
    const struct twist jwk = {.jwk = true};
    an = post_twisted(&c, BASE "/acme/new-account", "{}", &jwk);
    accepted(&an, 200);
    assert_string_equal(an.location, c.kid);
    an = post_twisted(&c, BASE "/acme/new-account", "{\"onlyReturnExisting\":true}", &jwk);
    accepted(&an, 200);
    an = post_twisted(&c, BASE "/acme/new-account", "{\"onlyReturnExisting\":1}", &jwk);
    refused(&an, 400, "malformed", "payload-malformed");
    an = post_twisted(&c, BASE "/acme/new-account", "[]", &jwk);
    refused(&an, 400, "malformed", "payload-malformed");
    an = post_twisted(&c, BASE "/acme/new-account", "", &jwk);
    refused(&an, 400, "malformed", "payload-malformed");

    const char *payloads[] = {"", "{}", "{\"contact\":[\"mailto:a@example.test\"]}"};
    for (size_t i = 0; i < TD_NITEMS(payloads); i++) {
        an = post(&c, c.kid, payloads[i]);
        accepted(&an, 200);
        assert_string_equal(str_of(an.json, "status"), "valid");
    }
    an = post(&c, c.kid, "{\"status\":\"valid\"}");
    refused(&an, 400, "malformed", "payload-malformed");
    new_order(&c);
    an = post(&c, c.kid, "{\"status\":\"deactivated\"}");
    accepted(&an, 200);
    assert_string_equal(str_of(an.json, "status"), "deactivated");
    /* from now on it can do nothing, though its key is still known */
    const char *urls[] = {c.kid, c.order, c.authz};
    for (size_t i = 0; i < TD_NITEMS(urls); i++) {
        an = post(&c, urls[i], "");
        refused(&an, 403, "unauthorized", "account-deactivated");
    }
    an = try_order(&c);
    refused(&an, 403, "unauthorized", "account-deactivated");
    an = post_twisted(&c, BASE "/acme/new-account", "{}", &jwk);
    refused(&an, 403, "unauthorized", "account-deactivated");
}

static void order_list(void **state)
{
    client_auto c;
    client_init(&c, *state);
    new_account(&c);
    const char *orders = arena_printf(&c.arena, "%s/orders", c.kid);
    struct answer an = post(&c, orders, "");
    accepted(&an, 200);
    assert_int_equal(json_size(json_member(an.json, "orders")), 0);
    size_t total = 0;
    for (int i = 0; i < 53; i++) {
        rng_token(&rng_system, c.client_id);
        struct cid_job j = {c.client_id, SERIAL, FAKE_NOW + 600};
        assert_ok(store_write(c.w->store, cid_add, &j, NULL));
        new_order(&c);
    }
    while (orders) {
        an = post(&c, orders, "");
        accepted(&an, 200);
        const struct json *list = json_member(an.json, "orders");
        assert_true(json_size(list) <= 50);
        total += json_size(list);
        orders = NULL;
        for (size_t i = 1; i < an.nlinks; i++) {
            assert_non_null(strstr(an.links[i], ">;rel=\"next\""));
            orders = arena_dup(&c.arena, span_of(an.links[i] + 1, strcspn(an.links[i], ">") - 1));
        }
    }
    assert_int_equal(total, 53);
    static const char *const bad[] = {"x",
                                      "1",
                                      ".",
                                      "1.",
                                      "-1.AAAAAAAAAAAAAAAAAAAAAA",
                                      "1.AAAAAAAAAAAAAAAAAAAAA",
                                      "99999999999999999999.A"};
    for (size_t i = 0; i < TD_NITEMS(bad); i++) {
        an = post(&c, arena_printf(&c.arena, "%s/orders?cursor=%s", c.kid, bad[i]), "");
        refused(&an, 400, "malformed", "cursor-malformed");
    }
}

static void authz_deactivation(void **state)
{
    client_auto c;
    client_init(&c, *state);
    get_authz(&c);
    struct answer an = post(&c, c.authz, "{\"status\":\"valid\"}");
    refused(&an, 400, "malformed", "payload-malformed");
    an = post(&c, c.authz, "{\"status\":\"deactivated\"}");
    accepted(&an, 200);
    assert_string_equal(str_of(an.json, "status"), "deactivated");
    an = post(&c, c.order, "");
    assert_string_equal(str_of(an.json, "status"), "invalid");
    struct fake_leaf l = honest(&c);
    an = attest(&c, &l); /* changes nothing any more */
    accepted(&an, 200);
    assert_string_equal(str_of(an.json, "status"), "pending");
    an = try_finalize(&c);
    refused(&an, 403, "orderNotReady", "order-not-ready");
    an = post(&c, c.authz, "{\"status\":\"deactivated\"}");
    refused(&an, 400, "malformed", "authz-final");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(nine_requests, world_reset),
        cmocka_unit_test_setup(nonces, world_reset),
        cmocka_unit_test_setup(slow_device, world_reset),
        cmocka_unit_test_setup(short_signatures, world_reset),
        cmocka_unit_test_setup(p384_account, world_reset),
        cmocka_unit_test_setup(accounts, world_reset),
        cmocka_unit_test_setup(order_list, world_reset),
        cmocka_unit_test_setup(authz_deactivation, world_reset),
    };
    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
