/* Requests at once: whatever the order, one outcome. And cleaning up. */
#include <pthread.h>

#include "acme/server/state.h"
#include "acme/server/stmts.h"
#include "tests/unit/acme/acme_client.h"

#define THREADS 4

struct runner {
    struct client *c; /* shared: read only while threads run */
    const char *url, *payload, *nonce;
    struct client own;
    struct answer an;
    pthread_t thread;
};

static void *run(void *p)
{
    struct runner *r = p;
    r->an = post_twisted(&r->own, r->url, r->payload,
                         &(struct twist){.nonce = r->nonce, .keep_nonce = true});
    return NULL;
}

/* The same request from THREADS threads, each with a nonce of its own; answers stay valid until
 * runners_end. */
static void at_once(struct runner *r, struct client *c, const char *url,
                    const char *const *payloads)
{
    for (size_t i = 0; i < THREADS; i++) {
        get_nonce(c);
        r[i] = (struct runner){.c = c, .url = url, .payload = payloads[i], .nonce = c->nonce};
        r[i].own = (struct client){.w = c->w, .key = c->key, .kid = c->kid};
        arena_init(&r[i].own.arena, (size_t)4 << 20);
    }
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&r[i].thread, NULL, run, &r[i]), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(r[i].thread, NULL);
}

static void runners_end(struct runner *r)
{
    for (size_t i = 0; i < THREADS; i++)
        arena_free(&r[i].own.arena);
}

struct records_job {
    struct arena *a;
    struct ca_record *list;
    size_t n;
};

static enum td_err read_records(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct records_job *j = ctx;
    return ca_records_of(tx, SERIAL, 1000, j->a, &j->list, &j->n, ei);
}

static size_t records(struct client *c)
{
    struct records_job j = {.a = &c->arena};
    assert_ok(store_read(c->w->store, read_records, &j, NULL));
    return j.n;
}

/* Holds reading connections, one inside the other, and reads an order with the last one taken. */
struct hold {
    struct client *c;
    int more; /* connections to take beside this one */
    struct answer an;
};

static enum td_err hold_readers(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct hold *h = ctx;
    (void)tx;
    if (h->more-- > 0)
        return store_read(h->c->w->store, hold_readers, h, ei);
    h->an = post(h->c, h->c->order, "");
    return TD_OK;
}

/* A read is done on the listener's thread while a connection to the database is free; else the same
 * request runs where it may wait, its nonce unspent. Where nodes share nonces it always does. */
static void tried_first(void **state)
{
    client_auto c;
    client_init(&c, *state);
    new_account(&c);
    new_order(&c);
    struct answer an = post(&c, c.order, "");
    accepted(&an, 200);
    assert_int_equal(an.tried_twice, test_on_pg());
    struct hold h = {.c = &c, .more = WORLD_READERS - 1};
    assert_ok(store_read(c.w->store, hold_readers, &h, NULL));
    assert_int_equal(h.an.status, 503);
    assert_true(h.an.tried_twice);
    an = post(&c, c.order, ""); /* the answer's nonce is good */
    accepted(&an, 200);
}

static void double_finalize(void **state)
{
    for (int round = 0; round < 5; round++) {
        client_auto c;
        client_init(&c, *state);
        make_ready(&c);
        size_t before = records(&c);
        const char *payloads[THREADS];
        for (size_t i = 0; i < THREADS; i++)
            payloads[i] = csr_payload(&c, csr_der(c.device, &c.arena));
        struct runner r[THREADS];
        size_t won = 0;
        at_once(r, &c, c.finalize, payloads);
        for (size_t i = 0; i < THREADS; i++) {
            won += r[i].an.err == TD_OK;
            if (r[i].an.err != TD_OK)
                refused(&r[i].an, 403, "orderNotReady", "order-not-ready");
        }
        runners_end(r);
        assert_int_equal(won, 1);
        assert_int_equal(records(&c), before + 1);
        get_nonce(&c);
        struct answer an = post(&c, c.order, "");
        assert_string_equal(str_of(an.json, "status"), "valid");
    }
}

/* Two honest answers and two refused ones: the first decides, the others are shown it. */
static void double_challenge(void **state)
{
    client_auto c;
    client_init(&c, *state);
    get_authz(&c);
    struct fake_leaf l = honest(&c);
    const char *good = att_payload(&c, chain_obj(&c, &l, &c.w->pki));
    const char *payloads[THREADS] = {good, "{}", good, "{}"};
    struct runner r[THREADS];
    at_once(r, &c, c.chal, payloads);
    const char *first = str_of(r[0].an.json, "status");
    assert_true(!strcmp(first, "valid") || !strcmp(first, "invalid"));
    for (size_t i = 0; i < THREADS; i++) {
        accepted(&r[i].an, 200);
        assert_string_equal(str_of(r[i].an.json, "status"), first);
    }
    runners_end(r);
}

/* One ClientIdentifier makes one order. */
static void double_order(void **state)
{
    client_auto c;
    client_init(&c, *state);
    new_account(&c);
    const char *p = order_payload(&c, c.client_id);
    const char *payloads[THREADS] = {p, p, p, p};
    struct runner r[THREADS];
    size_t won = 0;
    at_once(r, &c, BASE "/acme/management/new-order", payloads);
    for (size_t i = 0; i < THREADS; i++) {
        won += r[i].an.err == TD_OK;
        if (r[i].an.err != TD_OK)
            refused(&r[i].an, 400, "rejectedIdentifier", "client-id-used");
    }
    runners_end(r);
    assert_int_equal(won, 1);
}

/* --- the table of states
 * --------------------------------------------------------------------------- */

static void states(void **state)
{
    (void)state;
    struct acme_state start = {ACME_PENDING, ACME_PENDING, ACME_PENDING}, s;
    assert_ok(acme_state_next(start, ACME_EV_VALIDATED, &s));
    assert_int_equal(s.order, ACME_READY);
    assert_int_equal(acme_state_next(s, ACME_EV_VALIDATED, &s), TD_STATE);
    assert_int_equal(acme_state_next(s, ACME_EV_REFUSED, &s), TD_STATE);
    assert_ok(acme_state_next(s, ACME_EV_ISSUED, &s));
    assert_int_equal(s.order, ACME_VALID);
    for (int ev = 0; ev < ACME_EV_MAX; ev++)
        assert_int_equal(acme_state_next(s, (enum acme_event)ev, &s), TD_STATE);
    assert_int_equal(acme_state_next(start, ACME_EV_ISSUED, &s), TD_STATE);
    assert_ok(acme_state_next(start, ACME_EV_REFUSED, &s));
    for (int ev = 0; ev < ACME_EV_MAX; ev++)
        assert_int_equal(acme_state_next(s, (enum acme_event)ev, &s), TD_STATE);
    enum acme_status st;
    for (int i = 0; i < ACME_STATUS_MAX; i++) {
        assert_ok(acme_status_parse(span_str(acme_status_name((enum acme_status)i)), &st));
        assert_int_equal(st, i);
    }
    assert_int_equal(acme_status_parse(SPAN_LIT("Valid"), &st), TD_PARSE);
    assert_int_equal(acme_status_parse(SPAN_LIT(""), &st), TD_PARSE);
}

/* --- cleaning
 * ---------------------------------------------------------------------------------------- */

struct cleaning {
    int64_t now;
    size_t max;
};

/* A step of each cleaner, as the housekeeper does them. */
static enum td_err clean_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct cleaning *c = ctx;
    struct sweep orders = {.before = c->now - 86400, .max = c->max}, accounts = orders,
                 ids = {.before = c->now - 7 * 86400, .max = c->max};
    TD_TRY(acme_clean_orders(tx, &orders, ei));
    TD_TRY(acme_clean_accounts(tx, &accounts, ei));
    return client_id_clean(tx, &ids, ei);
}

static enum td_err clean(struct world *w, size_t max)
{
    struct cleaning c = {w->clock.at, max};
    return store_write(w->store, clean_job, &c, NULL);
}

static void cleaning(void **state)
{
    struct world *w = *state;
    client_auto c, d, e;
    client_init(&c, w);
    client_init(&d, w);
    client_init(&e, w);
    new_order(&c);
    new_order(&d);
    new_account(&e);
    /* nothing is old enough: all are still there */
    w->clock.at = FAKE_NOW + 3600 + 86400;
    assert_ok(clean(w, 1000));
    get_nonce(&c);
    struct answer an = post(&c, c.order, "");
    accepted(&an, 200);
    get_nonce(&e);
    an = post(&e, e.kid, ""); /* but an account without orders goes after a day */
    refused(&an, 400, "accountDoesNotExist", "account-unknown");
    /* a step removes no more than it may */
    w->clock.at += 1;
    assert_ok(clean(w, 1));
    size_t left = 0;
    struct client *both[] = {&c, &d};
    for (size_t i = 0; i < 2; i++) {
        get_nonce(both[i]);
        an = post(both[i], both[i]->order, "");
        left += an.err == TD_OK;
    }
    assert_true(left >= 1);
    assert_ok(clean(w, 1000));
    for (size_t i = 0; i < 2; i++) {
        get_nonce(both[i]);
        an = post(both[i], both[i]->order, "");
        refused(&an, 404, "malformed", "not-found");
        an = post(both[i], both[i]->kid, ""); /* the account went behind its last order */
        refused(&an, 400, "accountDoesNotExist", "account-unknown");
    }
    /* identifiers stay a week to tell "used" from "unknown" */
    client_auto f;
    client_init(&f, w);
    get_nonce(&f);
    new_account(&f);
    an = post(&f, BASE "/acme/management/new-order", order_payload(&f, c.client_id));
    refused(&an, 400, "rejectedIdentifier", "client-id-used");
    w->clock.at = FAKE_NOW + 8 * 86400;
    assert_ok(clean(w, 1000));
    f.kid = NULL;
    get_nonce(&f);
    an = post_twisted(&f, BASE "/acme/new-account", "{}", &(struct twist){.jwk = true});
    f.kid = an.location;
    an = post(&f, BASE "/acme/management/new-order", order_payload(&f, c.client_id));
    refused(&an, 400, "rejectedIdentifier", "client-id-unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(tried_first, world_reset),
        cmocka_unit_test_setup(double_finalize, world_reset),
        cmocka_unit_test_setup(double_challenge, world_reset),
        cmocka_unit_test_setup(double_order, world_reset),
        cmocka_unit_test(states),
        cmocka_unit_test_setup(cleaning, world_reset),
    };
    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
