/* Accounts that live on: contacts, terms, key change (also on another node), places of idle ones.
 */
#include "acme/server/contact.h"
#include "acme/server/stmts.h"
#include "tests/unit/acme/acme_client.h"

#define KEY_CHANGE BASE "/acme/key-change"

static void contacts(void **state)
{
    client_auto c;
    client_init(&c, *state);
    get_nonce(&c);
    struct answer an = post(&c, BASE "/acme/new-account",
                            "{\"contact\":[\"mailto:a@example.test\",\"MAILTO:b@example.test\"]}");
    accepted(&an, 201);
    c.kid = an.location;
    const struct json *list = json_member(an.json, "contact");
    assert_int_equal(json_size(list), 2);
    assert_string_equal(json_str(json_element(list, 0)), "mailto:a@example.test");
    const struct {
        const char *contact;
        const char *type, *reason;
    } bad[] = {
        {"\"mailto:a@b\"", "malformed", "payload-malformed"},
        {"[1]", "malformed", "payload-malformed"},
        {"[[]]", "malformed", "payload-malformed"},
        {"[\"tel:+491\"]", "unsupportedContact", "contact-scheme"},
        {"[\"\"]", "unsupportedContact", "contact-scheme"},
        {"[\"mailto:\"]", "invalidContact", "contact-invalid"},
        {"[\"mailto:a\"]", "invalidContact", "contact-invalid"},
        {"[\"mailto:@b\"]", "invalidContact", "contact-invalid"},
        {"[\"mailto:a@\"]", "invalidContact", "contact-invalid"},
        {"[\"mailto:a@b@c\"]", "invalidContact", "contact-invalid"},
        {"[\"mailto:a@b?subject=x\"]", "invalidContact", "contact-invalid"},
        {"[\"mailto:a@b,c@d\"]", "invalidContact", "contact-invalid"},
        {"[\"mailto:a @b\"]", "invalidContact", "contact-invalid"},
        {"[\"mailto:a@b\",\"mailto:\"]", "invalidContact", "contact-invalid"},
    };
    for (size_t i = 0; i < TD_NITEMS(bad); i++) {
        an = post(&c, c.kid, arena_printf(&c.arena, "{\"contact\":%s}", bad[i].contact));
        refused(&an, 400, bad[i].type, bad[i].reason);
    }
    an = post(&c, c.kid, ""); /* none of that changed anything */
    assert_int_equal(json_size(json_member(an.json, "contact")), 2);
    an = post(&c, c.kid, "{\"contact\":[\"mailto:c@example.test\"]}");
    accepted(&an, 200);
    an = post(&c, c.kid, "{\"termsOfServiceAgreed\":false,\"foo\":1}"); /* ignored */
    accepted(&an, 200);
    an = post(&c, c.kid, "");
    list = json_member(an.json, "contact");
    assert_int_equal(json_size(list), 1);
    assert_string_equal(json_str(json_element(list, 0)), "mailto:c@example.test");
    an = post(&c, c.kid, "{\"contact\":[]}");
    accepted(&an, 200);
    assert_null(json_member(an.json, "contact"));
}

/* At the limits and one over. */
static void contact_limits(void **state)
{
    client_auto c;
    client_init(&c, *state);
    new_account(&c);
    char *name = arena_alloc(&c.arena, ACME_CONTACT_MAX + 1);
    memset(name, 'a', ACME_CONTACT_MAX);
    memcpy(name, "mailto:", 7);
    memcpy(name + ACME_CONTACT_MAX - 2, "@b", 3);
    struct answer an = post(&c, c.kid, arena_printf(&c.arena, "{\"contact\":[\"%s\"]}", name));
    accepted(&an, 200);
    an = post(&c, c.kid, arena_printf(&c.arena, "{\"contact\":[\"%sb\"]}", name));
    refused(&an, 400, "invalidContact", "contact-invalid");
    const char *many = "\"mailto:a@b\"";
    for (int i = 1; i < ACME_CONTACTS; i++)
        many = arena_printf(&c.arena, "%s,\"mailto:a@b\"", many);
    an = post(&c, c.kid, arena_printf(&c.arena, "{\"contact\":[%s]}", many));
    accepted(&an, 200);
    an = post(&c, c.kid, arena_printf(&c.arena, "{\"contact\":[%s,\"mailto:a@b\"]}", many));
    refused(&an, 400, "malformed", "payload-malformed");
}

static void terms(void **state)
{
    struct world *w = *state;
    struct acme_conf conf = world_conf(w);
    conf.terms = "https://example.test/terms";
    conf.website = "https://example.test/";
    struct acme *before = w->acme;
    assert_ok(acme_open(&conf, &w->acme, NULL));
    client_auto c;
    client_init(&c, w);
    struct answer an = serve(w, &c.arena, REQ_GET, "/acme/management/directory", "", SPAN_LIT(""));
    const struct json *meta = json_member(an.json, "meta");
    assert_string_equal(str_of(meta, "termsOfService"), conf.terms);
    assert_string_equal(str_of(meta, "website"), conf.website);
    get_nonce(&c);
    static const char *const payloads[] = {"{}", "{\"termsOfServiceAgreed\":false}"};
    for (size_t i = 0; i < TD_NITEMS(payloads); i++) {
        an = post(&c, BASE "/acme/new-account", payloads[i]);
        refused(&an, 403, "userActionRequired", "terms-not-agreed");
        assert_string_equal(str_of(an.json, "instance"), conf.terms);
        assert_int_equal(an.nlinks, 2);
        assert_string_equal(an.links[1], "<https://example.test/terms>;rel=\"terms-of-service\"");
    }
    an = post(&c, BASE "/acme/new-account", "{\"termsOfServiceAgreed\":1}");
    refused(&an, 400, "malformed", "payload-malformed");
    new_account(&c);
    an = post(&c, c.kid, "");
    assert_true(json_bool(json_member(an.json, "termsOfServiceAgreed")));
    acme_close(w->acme);
    w->acme = before;
}

/* --- key change ------------------------------------------------------------------------------- */

/* How an inner JWS departs from the rules. */
struct inner {
    const char *url, *account, *more; /* more: further members of the header, ",..." */
    const struct key *old, *signer;
    bool kid, other_key;
};

static const char *alg_of(const struct key *k)
{
    return key_type(k) == KEY_P384 ? "ES384" : "ES256";
}

static const char *inner_jws(struct client *c, const struct key *fresh, const struct inner *t)
{
    struct arena *a = &c->arena;
    const char *who = t->kid ? arena_printf(a, "\"kid\":\"%s\"", c->kid)
                             : arena_printf(a, "\"jwk\":%s", jwk_text(fresh, a));
    const char *prot = arena_printf(a, "{\"alg\":\"%s\",%s,\"url\":\"%s\"%s}", alg_of(fresh), who,
                                    t->url ? t->url : KEY_CHANGE, t->more ? t->more : "");
    const char *payload =
        arena_printf(a, "{\"account\":\"%s\",\"oldKey\":%s}", t->account ? t->account : c->kid,
                     jwk_text(t->old ? t->old : c->key, a));
    return jws_text(c, t->signer ? t->signer : fresh, prot, payload, NULL);
}

static void swap_key(struct client *c, struct key **fresh)
{
    struct key *k = c->key;
    c->key = *fresh;
    *fresh = k;
}

static void key_change(void **state)
{
    client_auto c, other;
    client_init(&c, *state);
    client_init(&other, *state);
    new_account(&c);
    new_account(&other);
    key_auto *fresh = NULL, *foreign = NULL;
    assert_ok(key_generate(KEY_P384, &fresh, NULL));
    assert_ok(key_generate(KEY_P256, &foreign, NULL));
    const struct {
        struct inner t;
        const char *reason;
    } rows[] = {
        {{.url = BASE "/acme/new-account"}, "inner-url"},
        {{.url = KEY_CHANGE "?"}, "inner-url"},
        {{.account = other.kid}, "inner-account"},
        {{.account = ""}, "inner-account"},
        {{.old = other.key}, "inner-old-key"},
        {{.old = fresh}, "inner-old-key"},
        {{.signer = NULL, .more = ",\"nonce\":\"AAAAAAAAAAAAAAAAAAAAAA\""}, "jws-malformed"},
        {{.kid = true}, "jws-malformed"},
        {{.more = ",\"crit\":[\"exp\"]"}, "jws-malformed"},
        {{.more = ",\"b64\":true"}, "jws-malformed"},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct answer an = post(&c, KEY_CHANGE, inner_jws(&c, fresh, &rows[i].t));
        refused(&an, 400, "malformed", rows[i].reason);
    }
    static const char *const raw[] = {"", "{}", "[]", "x"};
    for (size_t i = 0; i < TD_NITEMS(raw); i++) {
        struct answer an = post(&c, KEY_CHANGE, raw[i]);
        refused(&an, 400, "malformed", "jws-malformed");
    }
    /* signed by another key than its jwk */
    key_auto *p384 = NULL;
    assert_ok(key_generate(KEY_P384, &p384, NULL));
    struct answer an = post(&c, KEY_CHANGE, inner_jws(&c, fresh, &(struct inner){.signer = p384}));
    refused(&an, 400, "malformed", "inner-signature");
    /* by nobody's account */
    an = post_twisted(&c, KEY_CHANGE, inner_jws(&c, fresh, &(struct inner){0}),
                      &(struct twist){.jwk = true});
    refused(&an, 400, "malformed", "key-form");
    /* the new key is an account's: also one's own */
    const struct {
        struct key *key;
        const char *kid;
    } taken[] = {{other.key, other.kid}, {c.key, c.kid}};
    for (size_t i = 0; i < TD_NITEMS(taken); i++) {
        an = post(&c, KEY_CHANGE, inner_jws(&c, taken[i].key, &(struct inner){0}));
        refused(&an, 409, "malformed", "key-in-use");
        assert_string_equal(an.location, taken[i].kid);
    }
    an = post(&c, c.kid, ""); /* all the time the old key held */
    accepted(&an, 200);

    an = post(&c, KEY_CHANGE, inner_jws(&c, fresh, &(struct inner){0}));
    accepted(&an, 200);
    assert_string_equal(an.location, c.kid);
    assert_string_equal(str_of(an.json, "status"), "valid");
    an = post(&c, c.kid, "");
    refused(&an, 400, "malformed", "alg-key-mismatch"); /* the account's key is a P-384 one now */
    an = post_twisted(&c, BASE "/acme/new-account", "{\"onlyReturnExisting\":true}",
                      &(struct twist){.jwk = true});
    refused(&an, 400, "accountDoesNotExist", "account-unknown"); /* the old key is nobody's */
    swap_key(&c, &fresh);
    an = post_twisted(&c, BASE "/acme/new-account", "{\"onlyReturnExisting\":true}",
                      &(struct twist){.jwk = true});
    accepted(&an, 200);
    assert_string_equal(an.location, c.kid);
    make_ready(&c);
    an = post(&c, KEY_CHANGE, inner_jws(&c, foreign, &(struct inner){0})); /* and to P-256 again */
    accepted(&an, 200);
    swap_key(&c, &foreign);
    an = try_finalize(&c);
    accepted(&an, 200);
}

/* Two nodes on one database: a key changed at one is neither taken nor missed at the other. */
static void key_change_elsewhere(void **state)
{
    struct world *w = *state;
    struct acme_conf conf = world_conf(w);
    struct acme *here = w->acme, *there;
    assert_ok(acme_open(&conf, &there, NULL));
    client_auto c;
    client_init(&c, w);
    new_order(&c); /* here the old key is kept in memory now */
    w->acme = there;
    get_nonce(&c);
    key_auto *fresh = NULL;
    assert_ok(key_generate(KEY_P256, &fresh, NULL));
    struct answer an = post(&c, KEY_CHANGE, inner_jws(&c, fresh, &(struct inner){0}));
    accepted(&an, 200);
    w->acme = here;
    get_nonce(&c);
    const char *const urls[] = {c.kid, c.order, c.authz,
                                arena_printf(&c.arena, "%s/orders", c.kid)};
    for (size_t i = 0; i < TD_NITEMS(urls); i++) {
        an = post(&c, urls[i], "");
        refused(&an, 403, "unauthorized", "account-key-changed");
    }
    rng_token(&rng_system, c.client_id);
    struct cid_job j = {c.client_id, SERIAL, FAKE_NOW + 600};
    assert_ok(store_write(w->store, cid_add, &j, NULL));
    an = try_order(&c);
    refused(&an, 403, "unauthorized", "account-key-changed");
    an = post(&c, c.kid, "{\"status\":\"deactivated\"}");
    refused(&an, 403, "unauthorized", "account-key-changed");
    swap_key(&c, &fresh);
    an = post(&c, c.order, ""); /* the new key is looked for where the kept one does not fit */
    accepted(&an, 200);
    an = try_order(&c);
    accepted(&an, 201);
    swap_key(&c, &fresh);
    an = post(&c, c.kid, "");
    refused(&an, 403, "unauthorized", "signature-bad");
    acme_close(there);
}

/* --- places ----------------------------------------------------------------------------------- */

static const struct store_stmt count_accounts = {
    "test.accounts", "SELECT CAST(COUNT(*) AS BIGINT) FROM acme_accounts", "", "i"};

static enum td_err count_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct cur row;
    TD_TRY(tx_row(tx, &count_accounts, NULL, 0, &row, ei));
    *(int64_t *)ctx = cur_int(&row, 0);
    cur_end(&row);
    return TD_OK;
}

/* Who makes accounts in masses puts out idle ones, of a bounded number, and never one with an
 * order.
 */
static void places(void **state)
{
    struct world *w = *state;
    enum { PLACES = 5, MANY = 60 };
    struct acme_conf conf = world_conf(w);
    conf.idle_accounts = PLACES;
    struct acme *before = w->acme;
    int64_t first = 0, last = 0;
    assert_ok(acme_open(&conf, &w->acme, NULL));
    client_auto busy;
    client_init(&busy, w);
    new_order(&busy);
    assert_ok(store_read(w->store, count_job, &first, NULL));
    for (int i = 0; i < MANY; i++) {
        client_auto c;
        client_init(&c, w);
        new_account(&c);
    }
    assert_ok(store_read(w->store, count_job, &last, NULL));
    assert_in_range(last - first, 1, PLACES);
    struct answer an = post(&busy, busy.order, "");
    accepted(&an, 200);
    acme_close(w->acme);
    w->acme = before;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(contacts, world_reset),
        cmocka_unit_test_setup(contact_limits, world_reset),
        cmocka_unit_test_setup(terms, world_reset),
        cmocka_unit_test_setup(key_change, world_reset),
        cmocka_unit_test_setup(key_change_elsewhere, world_reset),
        cmocka_unit_test_setup(places, world_reset),
    };
    world_more_stmts = (struct store_stmts){&count_accounts, 1};
    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
