/* Another issuing CA as the server and the database see it: standing by, active, told once. */
#include "ca_test.h"

#include <pthread.h>

#include "acme/ca/ca_int.h"

#define assert_done(expr)                                                                          \
    do {                                                                                           \
        struct errinfo why = {0};                                                                  \
        struct errinfo *ei = &why;                                                                 \
        enum td_err done_ = (expr);                                                                \
        if (done_ != TD_OK)                                                                        \
            fail_msg("%s", err_msg(ei, done_));                                                    \
    } while (0)

static void word(const struct fixture *f, const char *what, const char *option)
{
    char out[500];
    if (RUN(out, TD_SIGNER, what, "--dir", f->ca_dir, option) != 0)
        fail_msg("%s", out);
}

static void take(struct fixture *f)
{
    assert_done(signer_client_reload(f->client, ei));
    assert_done(ca_refresh(f->ca, ei));
}

static bool told(struct ca *ca)
{
    bool t = false;
    assert_done(ca_note_active(ca, &t, ei));
    return t;
}

/* Another node; its struct ca knows what the signer had when it was made. */
static struct ca *node(struct fixture *f, struct store **ret)
{
    struct ca *ca = NULL;
    *ret = fixture_store(f);
    const struct ca_conf conf = {*ret, f->client, &clock_system, &rng_system, NULL};
    assert_done(ca_open(&conf, &ca, ei));
    return ca;
}

static void node_end(struct ca *ca, struct store *s)
{
    ca_close(ca);
    store_close(s);
}

/* Each CA is taken down when it becomes active, once, on whichever node; one that is behind tells
 * nothing. */
static void test_told_once(void **state)
{
    struct fixture *f = *state;
    struct store *behind_store, *other_store;
    assert_false(told(f->ca)); /* the first one */
    assert_false(told(f->ca));
    struct ca *behind = node(f, &behind_store);
    word(f, "rotate", NULL);
    assert_done(signer_client_reload(f->client, ei));
    assert_false(told(f->ca)); /* not known here yet */
    assert_done(ca_refresh(f->ca, ei));
    assert_true(told(f->ca));
    assert_false(told(f->ca));
    struct ca *other = node(f, &other_store);
    assert_ptr_not_equal(ca_issuing(behind), ca_issuing(f->ca));
    assert_false(told(other));
    assert_false(told(behind));
    assert_false(told(f->ca));
    node_end(other, other_store);
    node_end(behind, behind_store);
}

struct racer {
    struct ca *ca;
    struct store *store;
    pthread_t thread;
    pthread_barrier_t *start;
    bool told;
};

static void *race(void *arg)
{
    struct racer *r = arg;
    pthread_barrier_wait(r->start);
    r->told = told(r->ca);
    return NULL;
}

/* All nodes find it at the same moment. */
static void test_race(void **state)
{
    struct fixture *f = *state;
    enum { NODES = 4, ROUNDS = 3 };
    struct racer r[NODES];
    pthread_barrier_t start;
    assert_int_equal(pthread_barrier_init(&start, NULL, NODES), 0);
    (void)told(f->ca);
    for (int round = 0; round < ROUNDS; round++) {
        word(f, "rotate", NULL);
        take(f);
        int n = 0;
        for (size_t i = 0; i < NODES; i++) {
            r[i] = (struct racer){.start = &start};
            r[i].ca = node(f, &r[i].store);
        }
        for (size_t i = 0; i < NODES; i++)
            assert_int_equal(pthread_create(&r[i].thread, NULL, race, &r[i]), 0);
        for (size_t i = 0; i < NODES; i++) {
            pthread_join(r[i].thread, NULL);
            n += r[i].told;
            node_end(r[i].ca, r[i].store);
        }
        assert_int_equal(n, 1);
    }
    pthread_barrier_destroy(&start);
}

/* One that stands by: known, with a responder and a CRL, and nothing is issued from it. */
static void test_standby(void **state)
{
    struct fixture *f = *state;
    arena_auto a;
    arena_init(&a, 1 << 20);
    const struct cert *active = ca_issuing(f->ca);
    uint8_t id[CERT_SKI_SIZE];
    assert_true(cert_ski(active, id));
    size_t n = ca_issuing_n(f->ca);
    (void)told(f->ca);
    word(f, "rotate", "--standby");
    take(f);
    assert_int_equal(ca_issuing_n(f->ca), n + 1);
    assert_ptr_equal(ca_issuing(f->ca), active);
    assert_false(told(f->ca));
    const struct ca_issuer *by = ca_issuer_at(f->ca, 1); /* the newest behind the active one */
    struct ca_record r;
    issue(f, "STANDBY1", "management", KEY_P256, &a, &r);
    assert_memory_equal(r.issuer, id, sizeof id);
    struct ca_crl crl;
    assert_done(ca_crl_get(f->ca, 1, CA_CRL_COMPLETE, true, &a, &crl, ei));
    assert_true(crl.der.n > 0);
    struct signer_certs certs;
    signer_client_certs(f->client, &certs);
    assert_true(span_eq(cert_der(certs.issuing[0]), cert_der(active)));
    signer_certs_free(&certs);

    word(f, "activate", NULL);
    take(f);
    assert_int_equal(ca_issuing_n(f->ca), n + 1);
    assert_ptr_equal(ca_issuing(f->ca), by->cert);
    assert_true(told(f->ca));
    issue(f, "STANDBY1", "management", KEY_P256, &a, &r);
    assert_memory_equal(r.issuer, by->id, sizeof id);
}

/* The signer is started again behind an activation, and nobody sent SIGHUP: the first certificate
 * from the other CA is noticed. */
static void test_unannounced(void **state)
{
    struct fixture *f = *state;
    arena_auto a;
    arena_init(&a, 1 << 20);
    struct ca_record r;
    word(f, "rotate", "--standby");
    take(f);
    const struct ca_issuer *by = ca_issuer_at(f->ca, 1);
    word(f, "activate", NULL);
    assert_done(signer_client_reload(f->client, ei));
    assert_ptr_not_equal(ca_issuing(f->ca), by->cert);
    issue(f, "UNANNOUNCED1", "management", KEY_P256, &a, &r);
    assert_memory_equal(r.issuer, by->id, sizeof r.issuer);
    assert_ptr_equal(ca_issuing(f->ca), by->cert);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_told_once, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(test_race, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(test_standby, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(test_unannounced, fixture_up, fixture_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
