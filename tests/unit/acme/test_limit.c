/* Rate limits of newOrder, counted in the database: over two nodes, to the second. */
#include "tests/unit/acme/acme_client.h"

static struct acme_limits limits;
static struct acme *nodes[2], *plain;

/* Two nodes with the same limits. */
static void open_nodes(struct world *w, struct acme_limits l)
{
    struct acme_conf conf = world_conf(w);
    limits = l;
    conf.limits = limits;
    plain = w->acme;
    for (size_t i = 0; i < 2; i++)
        assert_ok(acme_open(&conf, &nodes[i], NULL));
    w->acme = nodes[0];
}

static int close_nodes(void **state)
{
    struct world *w = *state;
    for (size_t i = 0; i < 2; i++)
        acme_close(nodes[i]);
    w->acme = plain;
    return 0;
}

static struct answer order_at(struct client *c, size_t node, const char *serial)
{
    rng_token(&rng_system, c->client_id);
    struct cid_job j = {c->client_id, serial, c->w->clock.at + 600};
    assert_ok(store_write(c->w->store, cid_add, &j, NULL));
    c->w->acme = nodes[node];
    get_nonce(c);
    return try_order(c);
}

static void limited(const struct answer *an, const char *reason, int after)
{
    refused(an, 429, "rateLimited", reason);
    assert_non_null(an->retry_after);
    char text[16];
    snprintf(text, sizeof text, "%d", after);
    assert_string_equal(an->retry_after, text);
}

static void of_an_account(void **state)
{
    struct world *w = *state;
    open_nodes(w, (struct acme_limits){.account_orders = 3});
    client_auto c, other;
    client_init(&c, w);
    client_init(&other, w);
    new_account(&c);
    for (size_t i = 0; i < 3; i++) {
        w->clock.at = FAKE_NOW + (int64_t)i;
        struct answer an = order_at(&c, i % 2, SERIAL);
        accepted(&an, 201);
    }
    struct answer an = order_at(&c, 1, SERIAL);
    limited(&an, "limit-account-orders", 3598); /* when the first is an hour old */
    const char *kept = arena_strdup(&c.arena, c.client_id);
    get_nonce(&other);
    new_account(&other);
    memcpy(other.client_id, kept, strlen(kept) + 1); /* the refused order spent no identifier */
    an = try_order(&other);
    accepted(&an, 201);
    w->clock.at = FAKE_NOW + 3599;
    an = order_at(&c, 0, SERIAL);
    limited(&an, "limit-account-orders", 1);
    w->clock.at = FAKE_NOW + 3600;
    an = order_at(&c, 0, SERIAL);
    accepted(&an, 201);
    an = order_at(&c, 1, SERIAL); /* the second is not an hour old yet */
    limited(&an, "limit-account-orders", 1);
}

static void of_a_device(void **state)
{
    struct world *w = *state;
    open_nodes(w, (struct acme_limits){.device_orders = 2});
    client_auto a, b, c;
    struct client *all[] = {&a, &b, &c};
    struct answer an;
    w->clock.at = FAKE_NOW + 7200; /* behind the orders of the test before */
    for (size_t i = 0; i < TD_NITEMS(all); i++)
        client_init(all[i], w);
    for (size_t i = 0; i < TD_NITEMS(all); i++) {
        new_account(all[i]);
        an = order_at(all[i], i % 2, "LIMITED");
        if (i < 2)
            accepted(&an, 201);
        else
            limited(&an, "limit-device-orders", 3600);
        w->acme = nodes[0];
    }
    assert_string_equal(last_attempt(&c, "LIMITED").reason, "limit-device-orders");
    an = order_at(&c, 0, "ANOTHER");
    accepted(&an, 201);
}

static void of_failures(void **state)
{
    struct world *w = *state;
    open_nodes(w, (struct acme_limits){.device_failures = 2});
    w->clock.at = FAKE_NOW + 20000;
    client_auto c;
    client_init(&c, w);
    new_account(&c);
    struct answer an;
    for (size_t i = 0; i < 4; i++) {
        an = order_at(&c, 0, "FAILING");
        if (i == 3)
            break;
        accepted(&an, 201);
        const char *authz = json_str(json_element(json_member(an.json, "authorizations"), 0));
        an = post(&c, authz, "");
        const char *chal = str_of(json_element(json_member(an.json, "challenges"), 0), "url");
        if (i == 0) /* given up is not failed */
            an = post(&c, authz, "{\"status\":\"deactivated\"}");
        else
            an = post(&c, chal, "{}");
        accepted(&an, 200);
    }
    limited(&an, "limit-device-failures", 3600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(of_an_account, world_reset, close_nodes),
        cmocka_unit_test_setup_teardown(of_a_device, world_reset, close_nodes),
        cmocka_unit_test_setup_teardown(of_failures, world_reset, close_nodes),
    };
    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
