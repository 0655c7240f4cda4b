/* Renewal information (RFC 9773): windows, identifiers, orders that replace a certificate. And the
 * two parsers of what a client names things by. */
#include "acme/server/certid.h"
#include "acme/server/ident.h"
#include "acme/server/renewal.h"
#include "tests/unit/acme/acme_client.h"

#define INFO "/acme/renewal-info/"
#define ORDER BASE "/acme/management/new-order"

/* --- plain functions -------------------------------------------------------------------------- */

static void windows(void **state)
{
    (void)state;
    struct ca_record r = {.not_before = 1000, .not_after = 4000};
    struct acme_policy p = {0};
    struct acme_window w = acme_renewal_window(&r, &p, 1500);
    assert_int_equal(w.start, 3000);
    assert_int_equal(w.end, 3500);
    p.renew_permille = 500;
    w = acme_renewal_window(&r, &p, 1500);
    assert_int_equal(w.start, 2500);
    assert_int_equal(w.end, 3250);
    static const int nonsense[] = {-1, 1000, 2000};
    for (size_t i = 0; i < TD_NITEMS(nonsense); i++) {
        p.renew_permille = nonsense[i];
        assert_int_equal(acme_renewal_window(&r, &p, 1500).start, 3000);
    }
    r.not_after = 1001; /* a second's life still has a window */
    w = acme_renewal_window(&r, &p, 1500);
    assert_true(w.start < w.end);
    r = (struct ca_record){.not_before = 1000,
                           .not_after = 90000,
                           .revoked = true,
                           .state = CA_REVOKED,
                           .revoked_at = 50000};
    w = acme_renewal_window(&r, &p, 60000);
    assert_true(w.start < w.end && w.end < 50000);
    r.state = CA_HELD; /* comes back, or is revoked */
    assert_true(acme_renewal_window(&r, &p, 60000).end > 60000);
    r.state = CA_REVOKED;
    r.revoked_at = 70000; /* by a clock before ours */
    w = acme_renewal_window(&r, &p, 60000);
    assert_true(w.start < w.end && w.end < 60000);
}

/* RFC 9773 section 4.1's own example, and what is none. */
static void certids(void **state)
{
    (void)state;
    arena_auto a;
    arena_init(&a, 1 << 16);
    struct span aki, serial;
    assert_ok(
        acme_certid_parse(SPAN_LIT("aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"), &a, &aki, &serial));
    assert_int_equal(aki.n, 20);
    assert_int_equal(aki.p[0], 0x69);
    assert_int_equal(serial.n, 5);
    assert_memory_equal(serial.p, "\x00\x87\x65\x43\x21", 5);
    static const char *const bad[] = {
        "",      ".",      "AA",     "AA.",    ".AA",   "AA.AA.AA",
        "A.A",   "AA=.A",  "AA.AA=", "AA .AA", "AA.AB", /* stray bits */
        "AA.A/", "%41A.AA"};
    for (size_t i = 0; i < TD_NITEMS(bad); i++)
        if (acme_certid_parse(span_str(bad[i]), &a, &aki, &serial) != TD_PARSE)
            fail_msg("taken: %s", bad[i]);
    /* at the limits and one over */
    uint8_t octets[ACME_AKI_MAX + 1] = {0};
    const struct {
        size_t aki, serial;
        enum td_err e;
    } sizes[] = {{ACME_AKI_MAX, ACME_SERIAL_MAX, TD_OK},
                 {ACME_AKI_MAX + 1, 1, TD_PARSE},
                 {1, ACME_SERIAL_MAX + 1, TD_PARSE}};
    for (size_t i = 0; i < TD_NITEMS(sizes); i++) {
        const char *t = arena_printf(&a, "%s.%s", b64url_str(&a, span_of(octets, sizes[i].aki)),
                                     b64url_str(&a, span_of(octets, sizes[i].serial)));
        assert_int_equal(acme_certid_parse(span_str(t), &a, &aki, &serial), sizes[i].e);
    }
    static const uint8_t keyid[] = {0x30, 4, 0x80, 2, 7, 8};
    assert_true(span_eq(acme_aki_keyid(SPAN_ARR(keyid)), span_of(keyid + 4, 2)));
    static const uint8_t shapes[][6] = {{0x31, 4, 0x80, 2, 7, 8},    {0x30, 5, 0x80, 2, 7, 8},
                                        {0x30, 4, 0x81, 2, 7, 8},    {0x30, 4, 0x80, 3, 7, 8},
                                        {0x30, 0x84, 0x80, 2, 7, 8}, {0x30, 4, 0x80, 0x82, 7, 8}};
    for (size_t i = 0; i < TD_NITEMS(shapes); i++)
        assert_int_equal(acme_aki_keyid(span_of(shapes[i], 6)).n, 0);
    for (size_t n = 0; n < sizeof keyid; n++)
        assert_int_equal(acme_aki_keyid(span_of(keyid, n)).n, 0);
}

static void oids(void **state)
{
    (void)state;
    static const char *const good[] = {"1.2", "0.39", "2.999.1", "1.3.6.1.4.1.4294967295"};
    static const char *const bad[] = {"",     "1",      "1.",   ".1",          "3.1",
                                      "0.40", "1.40.2", "1.02", "1.2.",        "1..2",
                                      "1.a",  "-1.2",   "1.2 ", "1.4294967296"};
    for (size_t i = 0; i < TD_NITEMS(good); i++)
        if (!acme_oid_valid(span_str(good[i])))
            fail_msg("refused: %s", good[i]);
    for (size_t i = 0; i < TD_NITEMS(bad); i++)
        if (acme_oid_valid(span_str(bad[i])))
            fail_msg("taken: %s", bad[i]);
}

/* --- over the handlers ------------------------------------------------------------------------ */

static const char *certid(struct client *c, const struct cert *cert)
{
    struct span ext;
    assert_int_equal(cert_ext(cert, "2.5.29.35", &ext), 1);
    return arena_printf(&c->arena, "%s.%s", b64url_str(&c->arena, acme_aki_keyid(ext)),
                        b64url_str(&c->arena, cert_serial(cert)));
}

static struct answer info(struct client *c, const char *id)
{
    return serve(c->w, &c->arena, REQ_GET, arena_printf(&c->arena, INFO "%s", id), "",
                 SPAN_LIT(""));
}

static int64_t time_of(const struct answer *an, const char *which)
{
    int64_t t;
    assert_ok(clock_parse(span_str(str_of(json_member(an->json, "suggestedWindow"), which)), &t));
    return t;
}

static void revoke_it(struct client *c, const struct cert *cert)
{
    struct answer an = post(
        c, BASE "/acme/revoke-cert",
        arena_printf(&c->arena, "{\"certificate\":\"%s\"}", b64url_str(&c->arena, cert_der(cert))));
    accepted(&an, 200);
}

static void information(void **state)
{
    client_auto c;
    client_init(&c, *state);
    cert_auto *cert = issue(&c);
    const char *id = certid(&c, cert);
    struct answer an = info(&c, id);
    accepted(&an, 200);
    assert_string_equal(an.retry_after, "21600");
    assert_null(an.nonce);
    int64_t life = cert_not_after(cert) - cert_not_before(cert);
    assert_int_equal(time_of(&an, "start"), cert_not_before(cert) + life * 2 / 3);
    assert_true(time_of(&an, "end") > time_of(&an, "start"));
    assert_true(time_of(&an, "end") < cert_not_after(cert));
    /* another issuer's certificate of that number is none of ours */
    const char *foreign = arena_printf(&c.arena, "%s%s", id[0] == 'A' ? "B" : "A", id + 1);
    const char *const unknown[] = {foreign, "AAAA.AAAA", "x", "A.", "AAAA"};
    for (size_t i = 0; i < TD_NITEMS(unknown); i++) {
        an = info(&c, unknown[i]);
        refused(&an, 404, "malformed", "certificate-unknown");
    }
    revoke_it(&c, cert);
    an = info(&c, id);
    accepted(&an, 200);
    assert_true(time_of(&an, "end") < FAKE_NOW);
}

static struct answer replace(struct client *c, const char *id)
{
    return post(
        c, ORDER,
        arena_printf(&c->arena,
                     "{\"identifiers\":[{\"type\":\"permanent-identifier\",\"value\":\"%s\"}],"
                     "\"replaces\":\"%s\"}",
                     c->client_id, id));
}

static void replaces(void **state)
{
    client_auto c, foreign;
    client_init(&c, *state);
    client_init(&foreign, *state);
    cert_auto *old = issue(&c);
    const char *id = certid(&c, old);
    again(&c);
    static const char *const unknown[] = {"", "x", "AAAA.AAAA"};
    for (size_t i = 0; i < TD_NITEMS(unknown); i++) {
        struct answer an = replace(&c, unknown[i]);
        refused(&an, 400, "malformed", "replaces-unknown");
    }
    struct answer an = replace(&c, id); /* no refusal spent the identifier */
    accepted(&an, 201);
    assert_string_equal(str_of(an.json, "replaces"), id);
    const char *first = an.location;
    an = post(&c, first, "");
    assert_string_equal(str_of(an.json, "replaces"), id);
    again(&c);
    an = replace(&c, id);
    refused(&an, 409, "alreadyReplaced", "already-replaced");
    /* an order that came to nothing replaces nothing */
    an = post(&c, arena_printf(&c.arena, BASE "/acme/authz/%s", strrchr(first, '/') + 1),
              "{\"status\":\"deactivated\"}");
    accepted(&an, 200);
    an = replace(&c, id);
    accepted(&an, 201);
    /* nor one that expired */
    again(&c);
    c.w->clock.at = FAKE_NOW + 3600;
    again(&c);
    get_nonce(&c);
    an = replace(&c, id);
    accepted(&an, 201);
    /* of another device */
    struct cid_job j = {arena_printf(&foreign.arena, "%.42sX", c.client_id), "OTHERDEVICE",
                        c.w->clock.at + 600};
    assert_ok(store_write(c.w->store, cid_add, &j, NULL));
    new_account(&foreign);
    memcpy(foreign.client_id, j.id, strlen(j.id) + 1);
    an = replace(&foreign, id);
    refused(&an, 403, "unauthorized", "replaces-foreign");
}

struct record_job {
    const struct cert *cert;
    struct arena *a;
    struct ca_record r;
};

static enum td_err record_read(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct record_job *j = ctx;
    return ca_record_get(tx, cert_serial(j->cert), j->a, &j->r, ei);
}

/* Serial number of the certificate whose place it takes; empty for none. */
static struct span renews(struct client *c, const struct cert *cert)
{
    struct record_job j = {.cert = cert, .a = &c->arena};
    assert_ok(store_read(c->w->store, record_read, &j, NULL));
    return j.r.renews;
}

/* The certificate of an order that says it replaces that one. */
static struct cert *issue_replacing(struct client *c, const char *id)
{
    again(c);
    struct answer an = replace(c, id);
    accepted(&an, 201);
    c->order = an.location;
    c->authz = json_str(json_element(json_member(an.json, "authorizations"), 0));
    c->finalize = str_of(an.json, "finalize");
    return issue(c);
}

static enum td_err renewal_id_add(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct record_job *j = ctx;
    const char *id = (const char *)j->r.der.p;
    return client_id_add_renewal(tx, id, SERIAL, "management", cert_serial(j->cert), FAKE_NOW,
                                 FAKE_NOW + 86400, ei);
}

/* What the client says is what a renewal of ours says: the new one takes the old one's place. */
static void replaced(void **state)
{
    client_auto c, foreign;
    client_init(&c, *state);
    client_init(&foreign, *state);
    cert_auto *first = issue(&c);
    assert_int_equal(renews(&c, first).n, 0);
    cert_auto *second = issue_replacing(&c, certid(&c, first));
    assert_true(span_eq(renews(&c, second), cert_serial(first)));
    again(&c);
    struct answer an = replace(&c, certid(&c, first));
    refused(&an, 409, "alreadyReplaced", "already-replaced");
    /* another account of the same device */
    struct cid_job j = {arena_printf(&foreign.arena, "%.42sZ", c.client_id), SERIAL,
                        c.w->clock.at + 600};
    assert_ok(store_write(c.w->store, cid_add, &j, NULL));
    new_account(&foreign);
    memcpy(foreign.client_id, j.id, strlen(j.id) + 1);
    an = replace(&foreign, certid(&foreign, second));
    refused(&an, 403, "unauthorized", "replaces-foreign");
    /* replaced by a renewal of ours, whose client said nothing */
    again(&c);
    rng_token(&rng_system, c.client_id);
    struct record_job own = {.cert = second, .r = {.der = span_str(c.client_id)}};
    assert_ok(store_write(c.w->store, renewal_id_add, &own, NULL));
    cert_auto *third = issue(&c);
    assert_true(span_eq(renews(&c, third), cert_serial(second)));
    again(&c);
    an = replace(&c, certid(&c, second));
    refused(&an, 409, "alreadyReplaced", "already-replaced");
    /* a revoked one may be named, and has no place to take; its successor counts for nothing */
    revoke_it(&c, third);
    cert_auto *fourth = issue_replacing(&c, certid(&c, third));
    assert_int_equal(renews(&c, fourth).n, 0);
    cert_auto *fifth = issue_replacing(&c, certid(&c, second));
    assert_true(span_eq(renews(&c, fifth), cert_serial(second)));
}

/* --- identifiers ------------------------------------------------------------------------------ */

static const char *hardware; /* what the certificates of the profile name */

static enum td_err hardware_policy(void *ctx, const char *profile, struct acme_policy *ret,
                                   struct errinfo *ei)
{
    (void)ctx;
    (void)ei;
    snprintf(ret->hardware, sizeof ret->hardware, "%s", hardware);
    return strcmp(profile, "management") == 0 ? TD_OK : TD_NOTFOUND;
}

static struct answer order_hardware(struct client *c, const char *value)
{
    return post(c, ORDER,
                arena_printf(&c->arena,
                             "{\"identifiers\":[{\"type\":\"hardware-module\","
                             "\"value\":\"%s\"}]}",
                             value));
}

/* The certificate names the hardware that was ordered, or there is none. */
static void hardware_module(void **state)
{
    client_auto c;
    client_init(&c, *state);
    struct acme *plain = c.w->acme;
    struct acme_conf conf = world_conf(c.w);
    conf.ops.profile_policy = hardware_policy;
    assert_ok(acme_open(&conf, &c.w->acme, NULL));
    new_account(&c);
    const char *value = arena_printf(&c.arena, "%s/1.3.6.1.4.1.99999.1", c.client_id);
    static const char *const others[] = {"", "1.3.6.1.4.1.99999.11", "1.3.6.1.4.1.99999"};
    for (size_t i = 0; i < TD_NITEMS(others); i++) {
        hardware = others[i];
        struct answer no = order_hardware(&c, value);
        refused(&no, 400, "rejectedIdentifier", "hardware-type");
    }
    hardware = "1.3.6.1.4.1.99999.1";
    struct answer an = order_hardware(&c, value);
    accepted(&an, 201);
    const struct json *id = json_element(json_member(an.json, "identifiers"), 0);
    assert_string_equal(str_of(id, "type"), "hardware-module");
    assert_string_equal(str_of(id, "value"), value);
    c.order = an.location;
    c.authz = json_str(json_element(json_member(an.json, "authorizations"), 0));
    c.finalize = str_of(an.json, "finalize");
    an = post(&c, c.authz, "");
    assert_string_equal(str_of(json_member(an.json, "identifier"), "type"), "hardware-module");
    assert_string_equal(str_of(json_member(an.json, "identifier"), "value"), value);
    get_authz(&c);
    make_ready(&c);
    hardware = "1.2.3"; /* the profile was changed meanwhile */
    an = try_finalize(&c);
    refused(&an, 400, "rejectedIdentifier", "hardware-type");
    hardware = "1.3.6.1.4.1.99999.1";
    an = try_finalize(&c);
    accepted(&an, 200);
    acme_close(c.w->acme);
    c.w->acme = plain;
}

/* Each identifier over the first has its part of the problem, with its own fault. */
static void subproblems(void **state)
{
    client_auto c;
    client_init(&c, *state);
    new_account(&c);
    struct answer an = post(&c, ORDER,
                            "{\"identifiers\":["
                            "{\"type\":\"permanent-identifier\",\"value\":\"a\"},"
                            "{\"type\":\"dns\",\"value\":\"example.test\"},"
                            "{\"type\":\"permanent-identifier\",\"value\":\"b\"},{},1]}");
    refused(&an, 400, "rejectedIdentifier", "identifier-count");
    const struct json *sub = json_member(an.json, "subproblems");
    assert_int_equal(json_size(sub), 2);
    static const char *const want[][2] = {
        {"urn:ietf:params:acme:error:unsupportedIdentifier", "example.test"},
        {"urn:ietf:params:acme:error:rejectedIdentifier", "b"}};
    for (size_t i = 0; i < TD_NITEMS(want); i++) {
        const struct json *s = json_element(sub, i);
        assert_string_equal(str_of(s, "type"), want[i][0]);
        assert_string_equal(str_of(json_member(s, "identifier"), "value"), want[i][1]);
        assert_non_null(str_of(s, "detail"));
    }
    const char *many = "{\"type\":\"dns\",\"value\":\"a\"}";
    for (int i = 0; i < 200; i++)
        many = arena_printf(&c.arena, "%s,{\"type\":\"dns\",\"value\":\"a\"}", many);
    an = post(&c, ORDER, arena_printf(&c.arena, "{\"identifiers\":[%s]}", many));
    refused(&an, 400, "rejectedIdentifier", "identifier-count");
    assert_int_equal(json_size(json_member(an.json, "subproblems")), 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows),
        cmocka_unit_test(certids),
        cmocka_unit_test(oids),
        cmocka_unit_test_setup(information, world_reset),
        cmocka_unit_test_setup(replaces, world_reset),
        cmocka_unit_test_setup(replaced, world_reset),
        cmocka_unit_test_setup(hardware_module, world_reset),
        cmocka_unit_test_setup(subproblems, world_reset),
    };
    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
