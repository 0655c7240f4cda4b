/* Requests that must not get in: each fault of a signed request, and other people's objects. */
#include "tests/unit/acme/acme_client.h"

static void jws_faults(void **state)
{
    client_auto c;
    client_init(&c, *state);
    new_order(&c);
    key_auto *other = NULL, *p384 = NULL;
    assert_ok(key_generate(KEY_P256, &other, NULL));
    assert_ok(key_generate(KEY_P384, &p384, NULL));
    const struct {
        struct twist t;
        int status;
        const char *type, *reason;
    } rows[] = {
        {{.type = "application/json"}, 415, "malformed", "content-type"},
        {{.type = ""}, 415, "malformed", "content-type"},
        {{.type = "application/jose"}, 415, "malformed", "content-type"},
        {{.alg = "none"}, 400, "badSignatureAlgorithm", "alg-unsupported"},
        {{.alg = "HS256"}, 400, "badSignatureAlgorithm", "alg-unsupported"},
        {{.alg = "ES512"}, 400, "badSignatureAlgorithm", "alg-unsupported"},
        {{.alg = ""}, 400, "badSignatureAlgorithm", "alg-unsupported"},
        {{.alg = "ES384"}, 400, "malformed", "alg-key-mismatch"},
        {{.alg = "RS256"}, 400, "malformed", "alg-key-mismatch"},
        {{.alg = "EdDSA"}, 400, "malformed", "alg-key-mismatch"},
        {{.both = true}, 400, "malformed", "jws-malformed"},
        {{.neither = true}, 400, "malformed", "jws-malformed"},
        {{.jwk = true}, 400, "malformed", "key-form"},
        {{.crit = ",\"crit\":[\"b64\"],\"b64\":false"}, 400, "malformed", "jws-malformed"},
        {{.crit = ",\"alg\":\"ES256\""}, 400, "malformed", "jws-malformed"},
        {{.body_extra = ",\"header\":{\"kid\":\"x\"}"}, 400, "malformed", "jws-malformed"},
        {{.body_extra = ",\"signatures\":[]"}, 400, "malformed", "jws-malformed"},
        {{.body_extra = ",\"payload\":\"\""}, 400, "malformed", "jws-malformed"},
        {{.body_extra = "}{"}, 400, "malformed", "jws-malformed"},
        {{.protected_json = "[]"}, 400, "malformed", "jws-malformed"},
        {{.protected_json = "{\"alg\":\"ES256\"}"}, 400, "malformed", "jws-malformed"},
        {{.protected_json = "{\"alg\":1,\"nonce\":\"a\",\"url\":\"b\",\"kid\":\"c\"}"},
         400,
         "malformed",
         "jws-malformed"},
        {{.protected_json = "{\"alg\":\"ES256\",\"nonce\":\"a\",\"url\":\"b\",\"kid\":7}"},
         400,
         "malformed",
         "jws-malformed"},
        {{.nonce = ""}, 400, "badNonce", "nonce-bad"},
        {{.nonce = "AAAAAAAAAAAAAAAAAAAAAA"}, 400, "badNonce", "nonce-bad"},
        {{.nonce = "not a nonce"}, 400, "badNonce", "nonce-bad"},
        {{.url = BASE "/acme/new-order"}, 403, "unauthorized", "url-mismatch"},
        {{.url = "https://evil.example:8443/acme/x"}, 403, "unauthorized", "url-mismatch"},
        {{.url = ""}, 403, "unauthorized", "url-mismatch"},
        {{.url = arena_printf(&c.arena, "%s?a=b", c.order)}, 403, "unauthorized", "url-mismatch"},
        {{.url = arena_printf(&c.arena, "%s/", c.order)}, 403, "unauthorized", "url-mismatch"},
        {{.kid = "https://evil.example/acme/acct/AAAAAAAAAAAAAAAAAAAAAA"},
         400,
         "accountDoesNotExist",
         "account-unknown"},
        {{.kid = BASE "/acme/acct/AAAAAAAAAAAAAAAAAAAAAA"},
         400,
         "accountDoesNotExist",
         "account-unknown"},
        {{.kid = BASE "/acme/acct/"}, 400, "accountDoesNotExist", "account-unknown"},
        {{.kid = BASE "/acme/acct/AAAAAAAAAAAAAAAAAAAAAA/orders"},
         400,
         "accountDoesNotExist",
         "account-unknown"},
        {{.kid = BASE}, 400, "accountDoesNotExist", "account-unknown"},
        {{.flip = true}, 403, "unauthorized", "signature-bad"},
        {{.key = other}, 403, "unauthorized", "signature-bad"},
        {{.key = p384}, 400, "malformed", "alg-key-mismatch"},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct answer an = post_twisted(&c, c.order, "", &rows[i].t);
        if (an.err == TD_OK || strcmp(an.reason, rows[i].reason) != 0)
            fail_msg("row %zu: %s (%s)", i, an.reason ? an.reason : "accepted", an.body);
        refused(&an, rows[i].status, rows[i].type, rows[i].reason);
    }
    struct answer an = post_twisted(&c, c.order, "", &(struct twist){.alg = "none"});
    assert_int_equal(json_size(json_member(an.json, "algorithms")), 4);
    an = post(&c, c.order, ""); /* nothing of all that did any harm */
    accepted(&an, 200);
    an = post_twisted(&c, c.order, "", &(struct twist){.type = "Application/JOSE+json"});
    accepted(&an, 200);
    an = post_twisted(&c, c.order, "",
                      &(struct twist){.crit = ",\"unknown\":1", .body_extra = ",\"more\":[1]"});
    accepted(&an, 200);
}

static void replay(void **state)
{
    client_auto c;
    client_init(&c, *state);
    new_order(&c);
    const char *used = c.nonce;
    struct answer an = post(&c, c.order, "");
    accepted(&an, 200);
    an = post_twisted(&c, c.order, "", &(struct twist){.nonce = used});
    refused(&an, 400, "badNonce", "nonce-bad");
    /* a nonce is spent even when the rest is refused */
    used = c.nonce;
    an = post_twisted(&c, c.order, "", &(struct twist){.flip = true});
    refused(&an, 403, "unauthorized", "signature-bad");
    an = post_twisted(&c, c.order, "", &(struct twist){.nonce = used});
    refused(&an, 400, "badNonce", "nonce-bad");
    /* but not by what is no JWS or has a forbidden algorithm */
    used = c.nonce;
    an = post_twisted(&c, c.order, "", &(struct twist){.alg = "none", .nonce = used});
    refused(&an, 400, "badSignatureAlgorithm", "alg-unsupported");
    an = post_twisted(&c, c.order, "", &(struct twist){.nonce = used});
    accepted(&an, 200);
}

/* Bodies that are no JWS at all. */
static void raw_bodies(void **state)
{
    client_auto c;
    client_init(&c, *state);
    static const char *const bodies[] = {
        "",
        "{}",
        "[]",
        "null",
        "{\"protected\":\"\",\"payload\":\"\",\"signature\":\"\"}",
        "{\"protected\":\"e30\",\"payload\":\"\"}",
        "{\"protected\":\"e30=\",\"payload\":\"\",\"signature\":\"\"}",
        "{\"protected\":\"e30\",\"payload\":\"a\",\"signature\":\"\"}",
        "{\"protected\":\"e30\",\"payload\":\"\",\"signature\":\"+/+/\"}",
        "{\"protected\":\"e30\",\"payload\":null,\"signature\":\"\"}",
        "{\"protected\":{},\"payload\":\"\",\"signature\":\"\"}",
        "{\"protected\":\"e30\",\"payload\":\"\",\"signature\":\"\"}x",
        "e30.e30.AAAA",
    };
    for (size_t i = 0; i < TD_NITEMS(bodies); i++) {
        struct answer an = serve(c.w, &c.arena, REQ_POST, "/acme/new-account",
                                 "application/jose+json", span_str(bodies[i]));
        refused(&an, 400, "malformed", "jws-malformed");
        assert_non_null(an.nonce);
    }
}

static void jwk_requests(void **state)
{
    client_auto c;
    client_init(&c, *state);
    get_nonce(&c);
    static const char na[] = BASE "/acme/new-account";
    struct answer an = post_twisted(&c, na, "{}", &(struct twist){.flip = true});
    refused(&an, 403, "unauthorized", "signature-bad");
    an = post_twisted(&c, na, "{}", &(struct twist){.neither = true});
    refused(&an, 400, "malformed", "jws-malformed");
    an = post_twisted(&c, na, "{}",
                      &(struct twist){.neither = true,
                                      .crit = ",\"jwk\":{\"kty\":\"oct\","
                                              "\"k\":\"AAAA\"}"});
    refused(&an, 400, "badPublicKey", "jwk-malformed");
    an = post_twisted(&c, na, "{}",
                      &(struct twist){.neither = true,
                                      .crit = ",\"jwk\":{\"kty\":\"EC\","
                                              "\"crv\":\"P-521\",\"x\":\"AA\","
                                              "\"y\":\"AA\"}"});
    refused(&an, 400, "badPublicKey", "jwk-unsupported");
    new_account(&c);
    an = post(&c, na, "{}"); /* kid where jwk is wanted */
    refused(&an, 400, "malformed", "key-form");
}

/* Everything of one account is nothing to another. */
static void strangers(void **state)
{
    client_auto c;
    client_auto d;
    client_init(&c, *state);
    client_init(&d, *state);
    make_ready(&c);
    new_account(&d);
    const char *cert = arena_printf(&c.arena, BASE "/acme/cert/%s", strrchr(c.order, '/') + 1);
    const char *urls[] = {c.order, c.authz, c.chal,
                          c.kid,   cert,    arena_printf(&c.arena, "%s/orders", c.kid)};
    for (size_t i = 0; i < TD_NITEMS(urls); i++) {
        struct answer an = post(&d, urls[i], "");
        refused(&an, 404, "malformed", "not-found");
    }
    struct answer an = post(&d, c.kid, "{\"status\":\"deactivated\"}");
    refused(&an, 404, "malformed", "not-found");
    an = post(&d, c.chal, "{}");
    refused(&an, 404, "malformed", "not-found");
    an = post(&d, c.authz, "{\"status\":\"deactivated\"}");
    refused(&an, 404, "malformed", "not-found");
    an = post(&d, c.finalize, csr_payload(&c, csr_der(c.device, &c.arena)));
    refused(&an, 404, "malformed", "not-found");
    /* signed by d with c's kid */
    an = post_twisted(&d, c.order, "", &(struct twist){.kid = c.kid});
    refused(&an, 403, "unauthorized", "signature-bad");
    /* and no such object gives the same answer as someone else's */
    static const char *const none[] = {BASE "/acme/order/AAAAAAAAAAAAAAAAAAAAAA",
                                       BASE "/acme/order/short", BASE "/acme/order/%2e%2e",
                                       BASE "/acme/cert/AAAAAAAAAAAAAAAAAAAAAA",
                                       BASE "/acme/authz/AAAAAAAAAAAAAAAAAAAAA'"};
    for (size_t i = 0; i < TD_NITEMS(none); i++) {
        an = post(&d, none[i], "");
        refused(&an, 404, "malformed", "not-found");
    }
    an = try_finalize(&c); /* the owner is not disturbed */
    accepted(&an, 200);
}

static void as_get_with_payload(void **state)
{
    client_auto c;
    client_init(&c, *state);
    get_authz(&c);
    const char *cert = arena_printf(&c.arena, BASE "/acme/cert/%s", strrchr(c.order, '/') + 1);
    const char *urls[] = {c.order, cert, arena_printf(&c.arena, "%s/orders", c.kid)};
    for (size_t i = 0; i < TD_NITEMS(urls); i++) {
        struct answer an = post(&c, urls[i], "{}");
        refused(&an, 400, "malformed", "payload-unexpected");
    }
    struct answer an = post(&c, c.chal, ""); /* reads, answers nothing */
    accepted(&an, 200);
    assert_string_equal(str_of(an.json, "status"), "pending");
    an = post(&c, cert, ""); /* no certificate yet */
    refused(&an, 404, "malformed", "not-found");
}

/* A server that starts anew knows the account by its row, and no nonce of before. */
static void restart(void **state)
{
    struct world *w = *state;
    client_auto c;
    client_init(&c, w);
    get_authz(&c);
    struct acme_conf conf = world_conf(w);
    struct acme *before = w->acme;
    assert_ok(acme_open(&conf, &w->acme, NULL));
    struct answer an = post(&c, c.order, "");
    if (test_on_pg()) /* where nodes share nonces they outlive the one that issued them */
        assert_int_equal(an.status, 200);
    else
        refused(&an, 400, "badNonce", "nonce-bad");
    make_ready(&c);
    acme_close(before);

    struct acme *none;
    conf.nonce_ttl = 599;
    assert_int_equal(acme_open(&conf, &none, NULL), TD_INVAL);
    conf.nonce_ttl = 600;
    conf.base_url = BASE "/";
    assert_int_equal(acme_open(&conf, &none, NULL), TD_INVAL);
    conf.base_url = "";
    assert_int_equal(acme_open(&conf, &none, NULL), TD_INVAL);
    conf.base_url = BASE;
    conf.order_ttl = 0;
    assert_int_equal(acme_open(&conf, &none, NULL), TD_INVAL);
    conf.order_ttl = 60;
    conf.idle_accounts = 0;
    assert_int_equal(acme_open(&conf, &none, NULL), TD_INVAL);
    conf.idle_accounts = 1;
    conf.seal = NULL;
    assert_int_equal(acme_open(&conf, &none, NULL), TD_INVAL);
    conf.idle_accounts = 1;
    conf.keep_issued = 0;
    assert_int_equal(acme_open(&conf, &none, NULL), TD_INVAL);
    conf.keep_issued = 1;
    conf.ops.device_listed = NULL;
    assert_int_equal(acme_open(&conf, &none, NULL), TD_INVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(jws_faults, world_reset),
        cmocka_unit_test_setup(replay, world_reset),
        cmocka_unit_test_setup(raw_bodies, world_reset),
        cmocka_unit_test_setup(jwk_requests, world_reset),
        cmocka_unit_test_setup(strangers, world_reset),
        cmocka_unit_test_setup(as_get_with_payload, world_reset),
        cmocka_unit_test_setup(restart, world_reset),
    };
    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
