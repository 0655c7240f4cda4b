/* External account binding: one key, one account, for the profiles that ask for it. */
#include "acme/server/eab.h"
#include "acme/server/eab_admin.h"
#include "tests/unit/acme/acme_client.h"

#define LAB BASE "/acme/lab/new-account"

static enum td_err policy(void *ctx, const char *profile, struct acme_policy *ret,
                          struct errinfo *ei)
{
    (void)ctx;
    if (strcmp(profile, "management") == 0 || strcmp(profile, "other") == 0)
        return TD_OK;
    if (strcmp(profile, "lab") != 0)
        return err_set(ei, TD_NOTFOUND, "no such profile");
    ret->eab_required = true;
    return TD_OK;
}

static struct acme *plain;

static int lab_setup(void **state)
{
    struct world *w;
    if (world_setup(state) != 0)
        return -1;
    w = *state;
    struct acme_conf conf = world_conf(w);
    conf.ops.profile_policy = policy;
    plain = w->acme;
    return acme_open(&conf, &w->acme, NULL) == TD_OK ? 0 : -1;
}

static int lab_teardown(void **state)
{
    acme_close(plain);
    return world_teardown(state);
}

/* --- the administrator ------------------------------------------------------------------------ */

struct eab_key {
    char id[RNG_ID_SIZE];
    uint8_t secret[ACME_EAB_SECRET];
    struct span sealed;
    const char *profile;
    int64_t now;
};

static enum td_err add_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct eab_key *k = ctx;
    struct acme_eab_key row = {.id = k->id,
                               .name = "test",
                               .profile = k->profile,
                               .created_at = FAKE_NOW,
                               .expires_at = FAKE_NOW + 600};
    return acme_eab_add(tx, &row, k->sealed, "token:test", ei);
}

static struct eab_key add_key(struct world *w, const char *profile)
{
    struct eab_key k = {.profile = profile};
    rng_id(&rng_system, k.id);
    rng_fill(&rng_system, k.secret, sizeof k.secret);
    arena_auto a;
    arena_init(&a, 4096);
    assert_ok(acme_eab_seal(w->seal, k.id, k.secret, &rng_system, &a, &k.sealed, NULL));
    assert_ok(store_write(w->store, add_job, &k, NULL));
    return k;
}

static enum td_err revoke_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct eab_key *k = ctx;
    return acme_eab_revoke(tx, k->id, k->now, "token:test", ei);
}

static enum td_err revoke_key(struct world *w, struct eab_key *k)
{
    k->now = w->clock.at;
    return store_write(w->store, revoke_job, k, NULL);
}

struct list {
    struct arena *a;
    struct acme_eab_key *keys;
    size_t n;
};

static enum td_err list_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct list *l = ctx;
    return acme_eab_list(tx, "", 1000, l->a, &l->keys, &l->n, ei);
}

static struct acme_eab_key key_row(struct client *c, const struct eab_key *k)
{
    struct list l = {.a = &c->arena};
    assert_ok(store_read(c->w->store, list_job, &l, NULL));
    for (size_t i = 0; i < l.n; i++)
        if (strcmp(l.keys[i].id, k->id) == 0)
            return l.keys[i];
    fail_msg("no such key");
    return l.keys[0]; /* not reached */
}

static const struct store_stmt get_secret = {"test.secret",
                                             "SELECT secret FROM eab_keys WHERE id = ?1", "t", "B"};

static enum td_err secret_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct eab_key *k = ctx;
    struct cur row;
    TD_TRY(tx_row(tx, &get_secret, SV_LIST(SV_TEXT(k->id)), &row, ei));
    enum td_err e = cur_is_null(&row, 0) ? TD_NOTFOUND : TD_OK;
    cur_end(&row);
    return e;
}

/* --- the client ------------------------------------------------------------------------------- */

struct binding {
    const char *alg, *url, *kid, *payload, *more;
    bool jwk;
    const uint8_t *secret;
};

static const char *bound(struct client *c, const char *url, const struct eab_key *k,
                         const struct binding *t)
{
    struct arena *a = &c->arena;
    const char *jwk = jwk_text(c->key, a);
    const char *who = t->jwk ? arena_printf(a, "\"jwk\":%s", jwk)
                             : arena_printf(a, "\"kid\":\"%s\"", t->kid ? t->kid : k->id);
    const char *prot =
        arena_printf(a, "{\"alg\":\"%s\",%s,\"url\":\"%s\"%s}", t->alg ? t->alg : "HS256", who,
                     t->url ? t->url : url, t->more ? t->more : "");
    struct span secret = span_of(t->secret ? t->secret : k->secret, ACME_EAB_SECRET);
    return arena_printf(a, "{\"externalAccountBinding\":%s}",
                        jws_text(c, NULL, prot, t->payload ? t->payload : jwk, &secret));
}

static struct answer try_bind(struct client *c, const char *url, const struct eab_key *k,
                              const struct binding *t)
{
    if (!c->nonce)
        get_nonce(c);
    return post_twisted(c, url, bound(c, url, k, t), &(struct twist){.jwk = true});
}

struct lab_cid {
    const char *id;
};

static enum td_err lab_cid_add(struct tx *tx, void *ctx, struct errinfo *ei)
{
    return client_id_add(tx, ((struct lab_cid *)ctx)->id, SERIAL, "lab", FAKE_NOW, FAKE_NOW + 600,
                         ei);
}

static void lab_identifier(struct client *c)
{
    rng_token(&rng_system, c->client_id);
    assert_ok(store_write(c->w->store, lab_cid_add, &(struct lab_cid){c->client_id}, NULL));
}

static void directory(void **state)
{
    struct world *w = *state;
    client_auto c;
    client_init(&c, w);
    struct answer an = serve(w, &c.arena, REQ_GET, "/acme/lab/directory", "", SPAN_LIT(""));
    accepted(&an, 200);
    assert_true(json_bool(json_member(json_member(an.json, "meta"), "externalAccountRequired")));
    assert_string_equal(str_of(an.json, "newAccount"), LAB);
    assert_string_equal(str_of(an.json, "newOrder"), BASE "/acme/lab/new-order");
    an = serve(w, &c.arena, REQ_GET, "/acme/management/directory", "", SPAN_LIT(""));
    assert_false(json_bool(json_member(json_member(an.json, "meta"), "externalAccountRequired")));
    assert_string_equal(str_of(an.json, "newAccount"), BASE "/acme/new-account");
    assert_false(acme_profile_name_free("acct"));
    assert_true(acme_profile_name_free("lab"));
}

static void required(void **state)
{
    struct world *w = *state;
    client_auto c;
    client_init(&c, w);
    get_nonce(&c);
    struct answer an = post(&c, LAB, "{}");
    refused(&an, 403, "externalAccountRequired", "eab-required");
    /* an account of the other door gets no order behind this one */
    new_account(&c);
    lab_identifier(&c);
    an = post(&c, BASE "/acme/lab/new-order", order_payload(&c, c.client_id));
    refused(&an, 403, "externalAccountRequired", "eab-required");
    an = post_twisted(&c, LAB, "{}", &(struct twist){.jwk = true});
    refused(&an, 403, "externalAccountRequired", "eab-required");
    an = post_twisted(&c, LAB, "{\"onlyReturnExisting\":true}", &(struct twist){.jwk = true});
    accepted(&an, 200);
    /* bound later, it may; the identifier was not spent */
    struct eab_key k = add_key(w, "lab");
    an = try_bind(&c, LAB, &k, &(struct binding){0});
    accepted(&an, 200);
    assert_string_equal(an.location, c.kid);
    an = post(&c, BASE "/acme/lab/new-order", order_payload(&c, c.client_id));
    accepted(&an, 201);
    assert_string_equal(key_row(&c, &k).account_id, c.kid + sizeof BASE "/acme/acct/" - 1);
}

static void once(void **state)
{
    struct world *w = *state;
    client_auto c, other;
    client_init(&c, w);
    client_init(&other, w);
    struct eab_key k = add_key(w, "");
    assert_ok(store_read(w->store, secret_job, &k, NULL));
    struct answer an = try_bind(&c, LAB, &k, &(struct binding){0});
    accepted(&an, 201);
    assert_int_equal(store_read(w->store, secret_job, &k, NULL), TD_NOTFOUND); /* erased */
    an = try_bind(&other, LAB, &k, &(struct binding){0});
    refused(&an, 403, "unauthorized", "eab-used");
    /* the account itself is found again, without a binding and with the old one */
    an = post(&c, LAB, "{}");
    accepted(&an, 200);
    an = try_bind(&c, LAB, &k, &(struct binding){0});
    refused(&an, 403, "unauthorized", "eab-used");
    /* at the common door a binding is taken too */
    struct eab_key more = add_key(w, "");
    an = try_bind(&other, BASE "/acme/new-account", &more, &(struct binding){0});
    accepted(&an, 201);
}

struct bind_job {
    struct acme_eab b;
    const char *account;
    int64_t now;
};

static enum td_err bind_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct bind_job *j = ctx;
    return acme_eab_bind(tx, &j->b, j->account, j->now, ei);
}

static void not_bound(struct world *w, const char *id, int64_t now, const char *reason)
{
    struct bind_job j = {{id}, "BBBBBBBBBBBBBBBBBBBBBB", now};
    struct errinfo ei = {0};
    assert_int_equal(store_write(w->store, bind_job, &j, &ei), TD_FORBIDDEN);
    assert_string_equal(ei.reason, reason);
}

/* Two requests verified the same key: the transaction of the second finds it spent. */
static void raced(void **state)
{
    struct world *w = *state;
    client_auto c;
    client_init(&c, w);
    struct eab_key k = add_key(w, ""), revoked = add_key(w, ""), old = add_key(w, "");
    struct bind_job first = {{k.id}, "AAAAAAAAAAAAAAAAAAAAAA", FAKE_NOW};
    assert_ok(store_write(w->store, bind_job, &first, NULL));
    not_bound(w, k.id, FAKE_NOW, "eab-used");
    assert_string_equal(key_row(&c, &k).account_id, "AAAAAAAAAAAAAAAAAAAAAA");
    assert_ok(revoke_key(w, &revoked));
    not_bound(w, revoked.id, FAKE_NOW, "eab-ended");
    not_bound(w, old.id, FAKE_NOW + 600, "eab-ended");
    not_bound(w, "CCCCCCCCCCCCCCCCCCCCCC", FAKE_NOW, "eab-unknown");
}

static void faults(void **state)
{
    struct world *w = *state;
    client_auto c, other;
    client_init(&c, w);
    client_init(&other, w);
    struct eab_key k = add_key(w, "lab"), elsewhere = add_key(w, "other");
    uint8_t wrong[ACME_EAB_SECRET] = {0};
    const char *foreign = jwk_text(other.key, &other.arena);
    const struct {
        struct binding t;
        int status;
        const char *type, *reason;
    } rows[] = {
        {{.alg = "HS384"}, 400, "malformed", "jws-malformed"},
        {{.alg = "ES256"}, 400, "malformed", "jws-malformed"},
        {{.alg = "none"}, 400, "malformed", "jws-malformed"},
        {{.jwk = true}, 400, "malformed", "jws-malformed"},
        {{.more = ",\"nonce\":\"AAAAAAAAAAAAAAAAAAAAAA\""}, 400, "malformed", "jws-malformed"},
        {{.more = ",\"crit\":[]"}, 400, "malformed", "jws-malformed"},
        {{.url = BASE "/acme/new-account"}, 400, "malformed", "eab-url"},
        {{.payload = foreign}, 400, "malformed", "eab-payload"},
        {{.payload = "{}"}, 400, "malformed", "eab-payload"},
        {{.payload = ""}, 400, "malformed", "eab-payload"},
        {{.payload = "x"}, 400, "malformed", "eab-payload"},
        {{.kid = "AAAAAAAAAAAAAAAAAAAAAA"}, 403, "unauthorized", "eab-unknown"},
        {{.kid = ""}, 403, "unauthorized", "eab-unknown"},
        {{.kid = "x' OR 1=1"}, 403, "unauthorized", "eab-unknown"},
        {{.kid = elsewhere.id, .secret = elsewhere.secret}, 403, "unauthorized", "eab-profile"},
        {{.kid = elsewhere.id}, 403, "unauthorized", "eab-mac"},
        {{.secret = wrong}, 403, "unauthorized", "eab-mac"},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct answer an = try_bind(&c, LAB, &k, &rows[i].t);
        if (an.err == TD_OK || strcmp(an.reason, rows[i].reason) != 0)
            fail_msg("row %zu: %s", i, an.body);
        refused(&an, rows[i].status, rows[i].type, rows[i].reason);
    }
    static const char *const raw[] = {"1", "null", "[]", "{}", "\"x\""};
    for (size_t i = 0; i < TD_NITEMS(raw); i++) {
        struct answer an =
            post(&c, LAB, arena_printf(&c.arena, "{\"externalAccountBinding\":%s}", raw[i]));
        refused(&an, 400, "malformed", "jws-malformed");
    }
    struct answer an = try_bind(&c, LAB, &k, &(struct binding){0}); /* none of that spent it */
    accepted(&an, 201);
}

static void profiles(void **state)
{
    struct world *w = *state;
    client_auto c;
    client_init(&c, w);
    struct eab_key k = add_key(w, "other");
    struct answer an = try_bind(&c, BASE "/acme/new-account", &k, &(struct binding){0});
    accepted(&an, 201); /* the common door is of no profile */
    c.kid = an.location;
    lab_identifier(&c);
    an = post(&c, BASE "/acme/lab/new-order", order_payload(&c, c.client_id));
    refused(&an, 403, "unauthorized", "eab-profile");
}

static void ends(void **state)
{
    struct world *w = *state;
    client_auto c, other;
    client_init(&c, w);
    client_init(&other, w);
    /* revoked before it bound */
    struct eab_key k = add_key(w, "");
    assert_ok(revoke_key(w, &k));
    assert_int_equal(store_read(w->store, secret_job, &k, NULL), TD_NOTFOUND);
    assert_ok(revoke_key(w, &k)); /* harmless */
    struct answer an = try_bind(&c, LAB, &k, &(struct binding){0});
    refused(&an, 403, "unauthorized", "eab-ended");
    struct eab_key none = {.id = "AAAAAAAAAAAAAAAAAAAAAA"};
    assert_int_equal(revoke_key(w, &none), TD_NOTFOUND);
    /* behind it: the account goes with its key */
    k = add_key(w, "");
    an = try_bind(&c, LAB, &k, &(struct binding){0});
    accepted(&an, 201);
    c.kid = an.location;
    assert_ok(revoke_key(w, &k));
    an = post(&c, c.kid, "");
    refused(&an, 403, "unauthorized", "account-deactivated");
    assert_true(key_row(&c, &k).revoked_at == FAKE_NOW);
    /* expired: its last second is over */
    k = add_key(w, "");
    w->clock.at = FAKE_NOW + 600;
    other.nonce = NULL;
    an = try_bind(&other, LAB, &k, &(struct binding){0});
    refused(&an, 403, "unauthorized", "eab-ended");
    w->clock.at = FAKE_NOW + 599;
    other.nonce = NULL;
    an = try_bind(&other, LAB, &k, &(struct binding){0});
    accepted(&an, 201);
}

/* A bound account stays without orders; its key's row too. */
static enum td_err clean_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct world *w = ctx;
    struct sweep orders = {.before = w->clock.at - 86400, .max = 1000}, accounts = orders,
                 keys = orders;
    TD_TRY(acme_clean_orders(tx, &orders, ei));
    TD_TRY(acme_clean_accounts(tx, &accounts, ei));
    return acme_clean_eab(tx, &keys, ei);
}

static void kept(void **state)
{
    struct world *w = *state;
    client_auto c;
    client_init(&c, w);
    struct eab_key k = add_key(w, ""), unused = add_key(w, "");
    struct answer an = try_bind(&c, LAB, &k, &(struct binding){0});
    accepted(&an, 201);
    c.kid = an.location;
    w->clock.at = FAKE_NOW + 1000 * FAKE_DAY;
    assert_ok(store_write(w->store, clean_job, w, NULL));
    get_nonce(&c);
    an = post(&c, c.kid, "");
    accepted(&an, 200);
    assert_string_equal(key_row(&c, &k).name, "test");
    assert_int_equal(store_read(w->store, secret_job, &unused, NULL), TD_NOTFOUND);
    assert_ok(revoke_key(w, &k));
    w->clock.at += 2 * 86400;
    assert_ok(store_write(w->store, clean_job, w, NULL));
    get_nonce(&c);
    an = post(&c, c.kid, "");
    refused(&an, 400, "accountDoesNotExist", "account-unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(directory, world_reset),
        cmocka_unit_test_setup(required, world_reset),
        cmocka_unit_test_setup(once, world_reset),
        cmocka_unit_test_setup(raced, world_reset),
        cmocka_unit_test_setup(faults, world_reset),
        cmocka_unit_test_setup(profiles, world_reset),
        cmocka_unit_test_setup(ends, world_reset),
        cmocka_unit_test_setup(kept, world_reset),
    };
    world_more_stmts = (struct store_stmts){&get_secret, 1};
    return cmocka_run_group_tests(tests, lab_setup, lab_teardown);
}
