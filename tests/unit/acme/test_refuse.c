/* Refusals on the way to a certificate: identifier, attestation, CSR. Each has its reason, and each
 * is recorded for the administrator. */
#include "acme/server/record.h"
#include "tests/unit/acme/acme_client.h"

static void recorded(struct client *c, const char *serial, const char *reason)
{
    struct attempt t = last_attempt(c, serial);
    assert_string_equal(t.outcome, "refused");
    assert_string_equal(t.reason, reason);
    assert_string_equal(t.source, "acme");
    assert_string_equal(t.peer, "192.0.2.1");
    assert_true(t.detail[0] != 0);
}

/* --- newOrder ----------------------------------------------------------------------------------
 */

static void identifiers(void **state)
{
    client_auto c;
    client_init(&c, *state);
    new_account(&c);
    static const char url[] = BASE "/acme/management/new-order";
    char *longest = arena_alloc(&c.arena, 257);
    memset(longest, 'a', 256);
#define ID(type, value) "{\"identifiers\":[{\"type\":\"" type "\",\"value\":\"" value "\"}]}"
    const struct {
        const char *payload;
        int status;
        const char *type, *reason;
    } rows[] = {
        {"", 400, "malformed", "payload-malformed"},
        {"[]", 400, "malformed", "payload-malformed"},
        {"{}", 400, "malformed", "payload-malformed"},
        {"{\"identifiers\":{}}", 400, "malformed", "payload-malformed"},
        {"{\"identifiers\":[]}", 400, "malformed", "payload-malformed"},
        {"{\"identifiers\":[1]}", 400, "malformed", "payload-malformed"},
        {"{\"identifiers\":[{\"type\":\"dns\"}]}", 400, "malformed", "payload-malformed"},
        {ID("permanent-identifier", ""), 400, "malformed", "payload-malformed"},
        {ID("permanent-identifier", "a/1.2.3"), 400, "rejectedIdentifier", "identifier-assigner"},
        {ID("permanent-identifier", "a/"), 400, "malformed", "payload-malformed"},
        {ID("permanent-identifier", "/1.2.3"), 400, "malformed", "payload-malformed"},
        {ID("permanent-identifier", "a/1.2.3/4"), 400, "malformed", "payload-malformed"},
        {order_payload(&c, longest), 400, "malformed", "payload-malformed"},
        {ID("dns", "example.test"), 400, "unsupportedIdentifier", "identifier-type"},
        {ID("hardware-module", "a"), 400, "malformed", "payload-malformed"},
        {ID("hardware-module", "/1.2.3"), 400, "malformed", "payload-malformed"},
        {ID("hardware-module", "a/1"), 400, "malformed", "payload-malformed"},
        {ID("hardware-module", "a/1.02"), 400, "malformed", "payload-malformed"},
        {ID("hardware-module", "a/3.1"), 400, "malformed", "payload-malformed"},
        {ID("hardware-module", "a/0.40"), 400, "malformed", "payload-malformed"},
        {ID("hardware-module", "a/1.2."), 400, "malformed", "payload-malformed"},
        {ID("hardware-module", "a/1.2.x"), 400, "malformed", "payload-malformed"},
        {ID("hardware-module", "a/1.2.3"), 400, "rejectedIdentifier", "hardware-type"},
        {"{\"identifiers\":[{\"type\":\"permanent-identifier\",\"value\":\"a\"},"
         "{\"type\":\"permanent-identifier\",\"value\":\"b\"}]}",
         400, "rejectedIdentifier", "identifier-count"},
        {"{\"notAfter\":\"2030-01-01T00:00:00Z\",\"identifiers\":"
         "[{\"type\":\"permanent-identifier\",\"value\":\"a\"}]}",
         400, "malformed", "validity-requested"},
        {"{\"replaces\":1,\"identifiers\":[{\"type\":\"permanent-identifier\",\"value\":\"a\"}]}",
         400, "malformed", "payload-malformed"},
        {order_payload(&c, longest + 1), 400, "rejectedIdentifier", "client-id-unknown"},
        {ID("permanent-identifier", SERIAL), 400, "rejectedIdentifier", "client-id-unknown"},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct answer an = post(&c, url, rows[i].payload);
        if (an.err == TD_OK || strcmp(an.reason, rows[i].reason) != 0)
            fail_msg("row %zu: %s (%s)", i, an.reason ? an.reason : "accepted", an.body);
        refused(&an, rows[i].status, rows[i].type, rows[i].reason);
    }
    recorded(&c, "", "client-id-unknown");
    struct answer an = post(&c, BASE "/acme/other/new-order", order_payload(&c, c.client_id));
    refused(&an, 404, "malformed", "not-found");
    new_order(&c); /* none of that claimed it */
    an = try_order(&c);
    refused(&an, 400, "rejectedIdentifier", "client-id-used");
    recorded(&c, SERIAL, "client-id-used");
}

static void identifier_expired(void **state)
{
    client_auto c;
    client_init(&c, *state);
    new_account(&c);
    c.w->clock.at = FAKE_NOW + 600; /* its last second is over */
    c.nonce = NULL;
    get_nonce(&c);
    struct answer an = try_order(&c);
    refused(&an, 400, "rejectedIdentifier", "client-id-expired");
    recorded(&c, SERIAL, "client-id-expired");
}

static void unlisted(void **state)
{
    client_auto c;
    client_init(&c, *state);
    new_account(&c);
    atomic_store(&c.w->listed, NOT_LISTED);
    struct answer an = try_order(&c);
    refused(&an, 403, "rejectedIdentifier", "device-not-listed");
    recorded(&c, SERIAL, "device-not-listed");
    size_t before = count_attempts(&c, SERIAL);
    atomic_store(&c.w->listed, LISTED_FAULT); /* ours, not the device's */
    an = try_order(&c);
    assert_int_equal(an.status, 503);
    assert_non_null(an.retry_after);
    assert_string_equal(problem_type(&an), "serverInternal");
    assert_null(strstr(an.body, "inventory"));
    assert_int_equal(count_attempts(&c, SERIAL), before);
    atomic_store(&c.w->listed, LISTED);
    new_order(&c); /* the refusals left the identifier unclaimed */
}

/* --- challenge ---------------------------------------------------------------------------------
 */

/* The challenge was refused for good: 200, invalid, the reason inside and in the records. */
static void invalid(struct client *c, struct answer *an, const char *reason)
{
    accepted(an, 200);
    if (strcmp(str_of(an->json, "status"), "invalid") != 0)
        fail_msg("wanted %s: %s", reason, an->body);
    const struct json *e = json_member(an->json, "error");
    assert_string_equal(str_of(e, "reason"), reason);
    recorded(c, SERIAL, reason);
    struct answer o = post(c, c->order, "");
    assert_string_equal(str_of(o.json, "status"), "invalid");
    assert_string_equal(str_of(json_member(o.json, "error"), "reason"), reason);
    o = post(c, c->authz, "");
    assert_string_equal(str_of(o.json, "status"), "invalid");
    o = try_finalize(c);
    refused(&o, 403, "orderNotReady", "order-not-ready");
    /* a second, honest answer comes too late */
    struct fake_leaf l = honest(c);
    o = attest(c, &l);
    assert_string_equal(str_of(o.json, "status"), "invalid");
}

enum fault {
    STALE,
    ABSENT,
    FOREIGN,
    WRONG_SERIAL,
    NO_SERIAL,
    EXPIRED_LEAF,
    CA_LEAF,
    NULL_PAYLOAD,
    EMPTY_X5C,
    DEVICE_ERROR,
    TRAILING,
    NOT_BASE64,
    NOT_TEXT,
    OTHER_FORMAT,
    KEY_AUTHORIZATION,
    FAULT_MAX
};

static const char *const fault_reasons[FAULT_MAX] = {
    [STALE] = "freshness-mismatch",
    [ABSENT] = "freshness-missing",
    [FOREIGN] = "chain-untrusted",
    [WRONG_SERIAL] = "serial-mismatch",
    [NO_SERIAL] = "serial-missing",
    [EXPIRED_LEAF] = "leaf-expired",
    [CA_LEAF] = "leaf-is-ca",
    [NULL_PAYLOAD] = "attestation-missing",
    [EMPTY_X5C] = "attestation-missing",
    [DEVICE_ERROR] = "attestation-missing",
    [TRAILING] = "cbor-malformed",
    [NOT_BASE64] = "cbor-malformed",
    [NOT_TEXT] = "cbor-malformed",
    [OTHER_FORMAT] = "format-not-enabled",
    [KEY_AUTHORIZATION] = "freshness-mismatch",
};

static struct span with_byte(struct client *c, struct span s)
{
    uint8_t *p = arena_alloc(&c->arena, s.n + 1);
    memcpy(p, s.p, s.n);
    return span_of(p, s.n + 1);
}

/* token.thumbprint hashed: what other challenge types would want (MB-38). */
static void key_authorization(struct client *c, struct fake_leaf *l)
{
    uint8_t thumb[SHA256_SIZE];
    struct span point;
    uint8_t *h = arena_alloc(&c->arena, SHA256_SIZE);
    assert_ok(key_ec_point(c->key, &c->arena, &point, NULL));
    digest_sha256(span_str(arena_printf(
                      &c->arena, "{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"%s\",\"y\":\"%s\"}",
                      b64url_str(&c->arena, span_sub(point, 1, 32)),
                      b64url_str(&c->arena, span_sub(point, 33, 32)))),
                  thumb);
    digest_sha256(span_str(arena_printf(&c->arena, "%s.%s", c->token,
                                        b64url_str(&c->arena, SPAN_ARR(thumb)))),
                  h);
    l->freshness = span_of(h, SHA256_SIZE);
}

static const char *faulty_payload(struct client *c, enum fault f)
{
    static const uint8_t other[32] = {9};
    struct fake_leaf l = honest(c);
    const struct fake_pki *pki = f == FOREIGN ? &c->w->foreign : &c->w->pki;
    struct span none = fake_attobj("apple", NULL, 0, &c->arena);
    if (f == STALE)
        l.freshness = SPAN_ARR(other);
    if (f == ABSENT)
        l.freshness.p = NULL;
    if (f == WRONG_SERIAL)
        l.serial = "F2LXK0ABCD99";
    if (f == NO_SERIAL)
        l.serial = NULL;
    if (f == EXPIRED_LEAF)
        l.not_after = FAKE_NOW - 1;
    l.ca = f == CA_LEAF;
    if (f == KEY_AUTHORIZATION)
        key_authorization(c, &l);
    struct span obj = chain_obj(c, &l, pki);
    if (f == OTHER_FORMAT)
        obj = fake_attobj("tpm", &obj, 1, &c->arena);
    if (f == TRAILING)
        obj = with_byte(c, obj);
    if (f == EMPTY_X5C)
        obj = none;
    if (f == NULL_PAYLOAD)
        return "{}";
    if (f == NOT_BASE64)
        return "{\"attObj\":\"%%%\"}";
    if (f == NOT_TEXT)
        return "{\"attObj\":[1]}";
    if (f == DEVICE_ERROR) /* with an attestation that would pass: it does not */
        return arena_printf(&c->arena, "{\"attObj\":\"%s\",\"error\":\"Nicht m\xc3\xb6glich.\"}",
                            b64url_str(&c->arena, obj));
    return att_payload(c, obj);
}

static void attestation_faults(void **state)
{
    for (int f = 0; f < FAULT_MAX; f++) {
        client_auto c;
        client_init(&c, *state);
        get_authz(&c);
        struct answer an = post(&c, c.chal, faulty_payload(&c, (enum fault)f));
        if (f == DEVICE_ERROR)
            assert_string_equal(last_attempt(&c, SERIAL).device_error, "Nicht m\xc3\xb6glich.");
        invalid(&c, &an, fault_reasons[f]);
        const struct json *e = json_member(an.json, "error");
        assert_string_equal(str_of(e, "type"),
                            "urn:ietf:params:acme:error:badAttestationStatement");
    }
}

/* Not JSON, not an object: nothing was answered, the challenge stays open. */
static void payload_faults(void **state)
{
    client_auto c;
    client_init(&c, *state);
    get_authz(&c);
    static const char *const bad[] = {"{", "[]", "\"x\"", "{\"attObj\":\"a\",\"attObj\":\"b\"}"};
    for (size_t i = 0; i < TD_NITEMS(bad); i++) {
        struct answer an = post(&c, c.chal, bad[i]);
        refused(&an, 400, "malformed", "payload-malformed");
    }
    struct answer an = try_finalize(&c);
    refused(&an, 403, "orderNotReady", "order-not-ready"); /* out of order */
    make_ready(&c);
    /* padding and line ends inside attObj, an unknown member, error null */
    client_auto d;
    client_init(&d, *state);
    get_authz(&d);
    struct fake_leaf l = honest(&d);
    const char *b64 = b64url_str(&d.arena, chain_obj(&d, &l, &d.w->pki));
    an = post(&d, d.chal,
              arena_printf(&d.arena, "{\"attObj\":\"%s\\r\\n==\\n\",\"error\":null,\"x\":1}", b64));
    accepted(&an, 200);
    assert_string_equal(str_of(an.json, "status"), "valid");
}

/* A fault of ours never ends a challenge; a device that left does. */
static void listed_at_that_moment(void **state)
{
    client_auto c;
    client_init(&c, *state);
    get_authz(&c);
    struct fake_leaf l = honest(&c);
    atomic_store(&c.w->listed, LISTED_FAULT);
    struct answer an = attest(&c, &l);
    assert_int_equal(an.status, 503);
    an = post(&c, c.chal, "");
    assert_string_equal(str_of(an.json, "status"), "pending");
    atomic_store(&c.w->listed, NOT_LISTED);
    an = attest(&c, &l);
    invalid(&c, &an, "device-not-listed");
}

static void key_reuse(void **state)
{
    client_auto c;
    client_init(&c, *state);
    make_ready(&c);
    client_auto d;
    client_init(&d, *state);
    get_authz(&d);
    struct fake_leaf l = honest(&d);
    l.key = c.device;
    struct answer an = attest(&d, &l);
    invalid(&d, &an, "key-reused");
    an = try_finalize(&c);
    accepted(&an, 200);
}

static void order_expiry(void **state)
{
    client_auto c;
    client_init(&c, *state);
    get_authz(&c);
    c.w->clock.at = FAKE_NOW + 3600;
    get_nonce(&c);
    struct fake_leaf l = honest(&c);
    struct answer an = attest(&c, &l);
    assert_string_equal(an.reason, "order-expired");
    recorded(&c, SERIAL, "order-expired");
    an = post(&c, c.order, "");
    assert_string_equal(str_of(an.json, "status"), "invalid");
    an = post(&c, c.authz, "");
    assert_string_equal(str_of(an.json, "status"), "expired");
    c.w->clock.at = FAKE_NOW + 3599;
    c.nonce = NULL;
    get_nonce(&c);
    an = attest(&c, &l);
    assert_string_equal(str_of(an.json, "status"), "valid");
    c.w->clock.at = FAKE_NOW + 3600;
    an = try_finalize(&c);
    refused(&an, 403, "orderNotReady", "order-expired");
    recorded(&c, SERIAL, "order-expired");
}

/* --- finalize ----------------------------------------------------------------------------------
 */

static void bad_csrs(void **state)
{
    client_auto c;
    client_init(&c, *state);
    make_ready(&c);
    EVP_PKEY *other = fake_key("P-384");
    struct span good = csr_der(c.device, &c.arena), foreign = csr_der(other, &c.arena);
    EVP_PKEY_free(other);
    uint8_t *flipped = arena_alloc(&c.arena, good.n);
    memcpy(flipped, good.p, good.n);
    flipped[good.n - 4] ^= 1;
    uint8_t *big = arena_alloc(&c.arena, LIMIT_CSR + 1);
    memcpy(big, good.p, good.n);
    const struct {
        const char *payload, *type, *reason;
    } rows[] = {
        {"", "malformed", "payload-malformed"},
        {"[]", "malformed", "payload-malformed"},
        {"{}", "badCSR", "csr-malformed"},
        {"{\"csr\":1}", "badCSR", "csr-malformed"},
        {"{\"csr\":\"\"}", "badCSR", "csr-malformed"},
        {"{\"csr\":\"%\"}", "badCSR", "csr-malformed"},
        {csr_payload(&c, span_sub(good, 0, good.n - 1)), "badCSR", "csr-malformed"},
        {csr_payload(&c, with_byte(&c, good)), "badCSR", "csr-malformed"},
        {csr_payload(&c, span_of(big, LIMIT_CSR)), "badCSR", "csr-malformed"},
        {csr_payload(&c, span_of(big, LIMIT_CSR + 1)), "badCSR", "csr-malformed"},
        {csr_payload(&c, span_of(flipped, good.n)), "badCSR", "csr-signature"},
        {csr_payload(&c, foreign), "badCSR", "csr-key-mismatch"},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct answer an = post(&c, c.finalize, rows[i].payload);
        if (an.err == TD_OK || strcmp(an.reason, rows[i].reason) != 0)
            fail_msg("row %zu: %s (%s)", i, an.reason ? an.reason : "accepted", an.body);
        refused(&an, 400, rows[i].type, rows[i].reason);
        recorded(&c, SERIAL, rows[i].reason);
        an = post(&c, c.order, "");
        assert_string_equal(str_of(an.json, "status"), "ready");
    }
    struct answer an = try_finalize(&c); /* and then it works */
    accepted(&an, 200);
    an = try_finalize(&c); /* once */
    refused(&an, 403, "orderNotReady", "order-not-ready");
}

static void signer_away(void **state)
{
    client_auto c;
    client_init(&c, *state);
    make_ready(&c);
    size_t before = count_attempts(&c, SERIAL);
    atomic_store(&c.w->signer.away, 1);
    struct answer an = try_finalize(&c);
    assert_int_equal(an.status, 503);
    assert_non_null(an.retry_after);
    assert_string_equal(problem_type(&an), "serverInternal");
    assert_int_equal(count_attempts(&c, SERIAL), before);
    an = post(&c, c.order, "");
    assert_string_equal(str_of(an.json, "status"), "ready");
    atomic_store(&c.w->signer.away, 0);
    an = try_finalize(&c);
    accepted(&an, 200);
}

static void left_before_finalize(void **state)
{
    client_auto c;
    client_init(&c, *state);
    make_ready(&c);
    int issued = atomic_load(&c.w->signer.issued);
    atomic_store(&c.w->listed, NOT_LISTED);
    struct answer an = try_finalize(&c);
    refused(&an, 403, "rejectedIdentifier", "device-not-listed");
    recorded(&c, SERIAL, "device-not-listed");
    assert_int_equal(atomic_load(&c.w->signer.issued), issued);
    atomic_store(&c.w->listed, LISTED_FAULT);
    an = try_finalize(&c);
    assert_int_equal(an.status, 503);
    atomic_store(&c.w->listed, LISTED);
    an = try_finalize(&c);
    accepted(&an, 200);
}

/* What the signer will not sign is no fault of the device's: "later" for it, the reason for us. */
static void signer_refuses(void **state)
{
    client_auto c;
    client_init(&c, *state);
    make_ready(&c);
    atomic_store(&c.w->signer.refuse, 1);
    struct answer an = try_finalize(&c);
    assert_int_equal(an.status, 500);
    assert_string_equal(problem_type(&an), "serverInternal");
    assert_null(strstr(an.body, "outlive"));
    recorded(&c, SERIAL, "issuer-expires");
    an = post(&c, c.order, "");
    assert_string_equal(str_of(an.json, "status"), "ready");
    atomic_store(&c.w->signer.refuse, 0);
    an = try_finalize(&c);
    accepted(&an, 200);
}

/* An issuing CA outside its life is found out before the device attests; the identifier is not used
 * up. */
static void ca_outside_its_life(void **state)
{
    client_auto c;
    client_init(&c, *state);
    new_account(&c);
    c.w->clock.at = FAKE_NOW - 2 * FAKE_DAY;
    c.nonce = NULL;
    get_nonce(&c);
    struct answer an = try_order(&c);
    assert_int_equal(an.status, 500);
    assert_string_equal(problem_type(&an), "serverInternal");
    assert_null(strstr(an.body, "issuing"));
    recorded(&c, SERIAL, "issuer-early");
    c.w->clock.at = FAKE_NOW;
    c.nonce = NULL;
    get_nonce(&c);
    make_ready(&c);
    an = try_finalize(&c);
    accepted(&an, 200);
}

static enum td_err leave(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct client *c = ctx;
    return client_id_cancel(tx, SERIAL, c->w->clock.at, ei);
}

/* A device that left and is listed again begins anew: what it had begun before is void, attested or
 * not, and nothing is signed. Its identifiers of afterwards count. */
static void left_and_back(void **state)
{
    client_auto c;
    client_auto d;
    client_auto e;
    client_init(&c, *state);
    client_init(&d, *state);
    make_ready(&c);
    get_authz(&d);
    c.w->clock.at += 700; /* their identifiers have run out meanwhile; the orders have not */
    c.nonce = d.nonce = NULL;
    get_nonce(&c);
    get_nonce(&d);
    int issued = atomic_load(&c.w->signer.issued);
    assert_ok(store_write(c.w->store, leave, &c, NULL));
    struct answer an = try_finalize(&c);
    refused(&an, 400, "rejectedIdentifier", "client-id-ended");
    recorded(&c, SERIAL, "client-id-ended");
    assert_int_equal(atomic_load(&c.w->signer.issued), issued);
    struct fake_leaf l = honest(&d);
    an = attest(&d, &l);
    invalid(&d, &an, "client-id-ended");
    c.w->clock.at = FAKE_NOW;
    client_init(&e, *state);
    make_ready(&e);
    an = try_finalize(&e);
    accepted(&an, 200);
}

/* Whoever is refused without end does not fill the disk; another reason, another order and the next
 * minute are still told. */
static void records_are_bounded(void **state)
{
    client_auto c;
    client_init(&c, *state);
    get_authz(&c);
    c.w->clock.at += 120;
    size_t before = count_attempts(&c, SERIAL);
    for (int i = 0; i < 3 * RECORD_GATE_MAX; i++) {
        struct answer an = try_finalize(&c);
        refused(&an, 403, "orderNotReady", "order-not-ready");
    }
    assert_int_equal(count_attempts(&c, SERIAL), before + RECORD_GATE_MAX);
    struct answer an = try_order(&c);
    refused(&an, 400, "rejectedIdentifier", "client-id-used");
    recorded(&c, SERIAL, "client-id-used");
    c.w->clock.at += 60;
    an = try_finalize(&c);
    assert_int_equal(count_attempts(&c, SERIAL), before + RECORD_GATE_MAX + 2);
    /* strangers share one allowance */
    before = count_attempts(&c, "");
    for (int i = 0; i < 3 * RECORD_GATE_MAX; i++) {
        an = post(&c, BASE "/acme/management/new-order",
                  order_payload(&c, arena_printf(&c.arena, "nobody-%d", i)));
        refused(&an, 400, "rejectedIdentifier", "client-id-unknown");
    }
    assert_int_equal(count_attempts(&c, ""), before + RECORD_GATE_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(identifiers, world_reset),
        cmocka_unit_test_setup(identifier_expired, world_reset),
        cmocka_unit_test_setup(unlisted, world_reset),
        cmocka_unit_test_setup(attestation_faults, world_reset),
        cmocka_unit_test_setup(payload_faults, world_reset),
        cmocka_unit_test_setup(listed_at_that_moment, world_reset),
        cmocka_unit_test_setup(key_reuse, world_reset),
        cmocka_unit_test_setup(order_expiry, world_reset),
        cmocka_unit_test_setup(bad_csrs, world_reset),
        cmocka_unit_test_setup(signer_away, world_reset),
        cmocka_unit_test_setup(left_before_finalize, world_reset),
        cmocka_unit_test_setup(signer_refuses, world_reset),
        cmocka_unit_test_setup(ca_outside_its_life, world_reset),
        cmocka_unit_test_setup(left_and_back, world_reset),
        cmocka_unit_test_setup(records_are_bounded, world_reset),
    };
    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
