/* 100,000 orders over a month of injected time, most of them given up, some refused, some issued:
 * the rows of each table stay below what the retention allows, and go when the clients stay away.
 */
#include <pthread.h>

#include "acme/server/eab_admin.h"
#include "tests/unit/acme/acme_client.h"

enum {
    STEPS = 100,
    THREADS = 5,
    ACCOUNTS = 10, /* in a step, each with */
    ORDERS = 100,  /* orders at most, of which */
    BAD = 1,
    GOOD = 1,  /* are refused, and issue */
    IDLE = 20, /* accounts in a step that never order */
    EAB = 5,   /* keys in a step that nobody uses */
    HOURS = 8, /* between two steps */
    KEEP = 86400,
    KEEP_IDS = 7 * 86400,
    KEEP_ATTEMPTS = 3 * 86400,
    ORDER_TTL = 3600,
};

static const char *const tables[] = {"acme_orders", "acme_accounts", "client_ids",
                                     "eab_keys",    "attempts",      "evidence"};
#define NTABLES TD_NITEMS(tables)

static size_t nsteps = STEPS * 3 / 10, norders = ORDERS / 10;
static char sql[NTABLES][80];
static struct store_stmt counts[NTABLES];

struct rows {
    int64_t n[NTABLES];
};

static enum td_err count_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct rows *r = ctx;
    for (size_t i = 0; i < NTABLES; i++) {
        struct cur row;
        TD_TRY(tx_row(tx, &counts[i], NULL, 0, &row, ei));
        r->n[i] = cur_int(&row, 0);
        cur_end(&row);
    }
    return TD_OK;
}

/* --- the housekeeper -------------------------------------------------------------------------- */

struct step {
    enum td_err (*fn)(struct tx *tx, struct sweep *s, struct errinfo *ei);
    struct sweep from, s;
};

static enum td_err step_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct step *j = ctx;
    j->s = j->from;
    return j->fn(tx, &j->s, ei);
}

static void clean(struct world *w)
{
    const struct {
        enum td_err (*fn)(struct tx *tx, struct sweep *s, struct errinfo *ei);
        int64_t keep;
    } all[] = {{acme_clean_orders, KEEP},
               {acme_clean_accounts, KEEP},
               {acme_clean_eab, KEEP},
               {client_id_clean, KEEP_IDS},
               {attempt_clean, KEEP_ATTEMPTS}};
    for (size_t i = 0; i < TD_NITEMS(all); i++) {
        struct step j = {.fn = all[i].fn,
                         .from = {.before = w->clock.at - all[i].keep, .max = 500}};
        do {
            assert_ok(store_write(w->store, step_job, &j, NULL));
            j.from = j.s;
        } while (j.s.more);
    }
}

/* --- the clients ------------------------------------------------------------------------------ */

struct ids_job {
    char ids[ORDERS][RNG_TOKEN_SIZE];
    int64_t now;
};

static enum td_err ids_add(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct ids_job *j = ctx;
    for (size_t i = 0; i < norders; i++)
        TD_TRY(client_id_add(tx, j->ids[i], SERIAL, "management", j->now, j->now + 600, ei));
    return TD_OK;
}

static enum td_err eab_add(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct world *w = ctx;
    for (int i = 0; i < EAB; i++) {
        char id[RNG_ID_SIZE];
        rng_id(&rng_system, id);
        struct acme_eab_key k = {.id = id,
                                 .name = "",
                                 .profile = "",
                                 .created_at = w->clock.at,
                                 .expires_at = w->clock.at + 600};
        TD_TRY(acme_eab_add(tx, &k, SPAN_LIT("00000000000000000000000000000000"), "t", ei));
    }
    return TD_OK;
}

static void account_of_orders(struct world *w)
{
    struct ids_job j;
    client_auto c;
    client_init(&c, w);
    new_account(&c);
    j.now = w->clock.at;
    for (size_t i = 0; i < norders; i++)
        rng_token(&rng_system, j.ids[i]);
    assert_ok(store_write(w->store, ids_add, &j, NULL));
    for (size_t i = 0; i < norders; i++) {
        memcpy(c.client_id, j.ids[i], RNG_TOKEN_SIZE);
        c.order = c.chal = NULL;
        new_order(&c);
        if (i < BAD + GOOD)
            get_authz(&c);
        if (i < BAD) {
            struct answer an = post(&c, c.chal, "{}");
            accepted(&an, 200);
        } else if (i < BAD + GOOD) {
            make_ready(&c);
            struct answer an = try_finalize(&c);
            accepted(&an, 200);
        }
    }
}

static void *some_accounts(void *w)
{
    for (int i = 0; i < ACCOUNTS / THREADS; i++)
        account_of_orders(w);
    return NULL;
}

/* Several at once, so that they share their commits. */
static void accounts_at_once(struct world *w)
{
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, some_accounts, w), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

static void idle_accounts(struct world *w)
{
    for (int i = 0; i < IDLE; i++) {
        client_auto c;
        client_init(&c, w);
        new_account(&c);
    }
}

/* --- the bound -------------------------------------------------------------------------------- */

/* Steps whose rows are still there: made within the life and the retention, and the newest. */
static int64_t steps_within(int64_t seconds)
{
    return seconds / (HOURS * 3600) + 2;
}

static void hundred_thousand(void **state)
{
    struct world *w = *state;
    const char *engine = secure_getenv("TD_TEST_ENGINE");
    if (engine && strcmp(engine, "sqlite") != 0) {
        print_message("SKIP: growth is shown on SQLite, whose transactions are cheap\n");
        skip();
    }
    struct rows now = {{0}}, most = {{0}};
    const int64_t issued = (int64_t)nsteps * ACCOUNTS * GOOD;
    const int64_t bound[NTABLES] = {
        steps_within(ORDER_TTL + KEEP) * ACCOUNTS * (int64_t)norders + issued,
        steps_within(ORDER_TTL + KEEP) * (ACCOUNTS + IDLE) + issued,
        steps_within(600 + KEEP_IDS) * (ACCOUNTS * (int64_t)norders + ACCOUNTS + IDLE),
        steps_within(600 + KEEP) * EAB,
        steps_within(KEEP_ATTEMPTS) * ACCOUNTS * (BAD + 2 * GOOD),
        issued,
    };
    for (size_t step = 0; step < nsteps; step++) {
        w->clock.at += HOURS * 3600;
        accounts_at_once(w);
        idle_accounts(w);
        assert_ok(store_write(w->store, eab_add, w, NULL));
        clean(w);
        assert_ok(store_read(w->store, count_job, &now, NULL));
        for (size_t i = 0; i < NTABLES; i++)
            if (now.n[i] > most.n[i])
                most.n[i] = now.n[i];
    }
    print_message("%zu orders; most rows, bound:\n", nsteps * ACCOUNTS * norders);
    for (size_t i = 0; i < NTABLES; i++)
        print_message("  %-14s %6lld %6lld\n", tables[i], (long long)most.n[i],
                      (long long)bound[i]);
    for (size_t i = 0; i < NTABLES; i++)
        assert_in_range(most.n[i], 1, bound[i]);
    /* nobody comes any more: all goes but what a certificate rests on */
    w->clock.at += 400 * FAKE_DAY;
    clean(w);
    assert_ok(store_read(w->store, count_job, &now, NULL));
    for (size_t i = 0; i < NTABLES; i++)
        if (strcmp(tables[i], "evidence") != 0)
            assert_int_equal(now.n[i], 0);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "100") == 0)
        nsteps = STEPS, norders = ORDERS;
    for (size_t i = 0; i < NTABLES; i++) {
        snprintf(sql[i], sizeof sql[i], "SELECT CAST(COUNT(*) AS BIGINT) FROM %s", tables[i]);
        counts[i] = (struct store_stmt){sql[i], sql[i], "", "i"};
    }
    world_more_stmts = (struct store_stmts){counts, NTABLES};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(hundred_thousand, world_reset),
    };
    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
