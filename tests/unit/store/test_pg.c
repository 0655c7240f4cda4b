/* What PostgreSQL alone can do to us: races between nodes, connections that end, commits whose
 * answer is lost, a database that is away. */
#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "store_test.h"

#include "mdm/base/log.h"
#include "mdm/base/metrics.h"
#include "mdm/store/pg_int.h"

/* --- a relay between the server's socket and ours ----------------------------------------------
 */

struct relay {
    char dir[80];
    struct sockaddr_un here, there;
    int listener;
    pthread_t thread;
    atomic_int cut_commit; /* 1: the answer to the next COMMIT is swallowed and the line cut */
    atomic_int end, lines, frozen; /* frozen: nothing passes, nothing is closed */
};

static int unix_socket(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    return fd;
}

/* Moves what is there; false when the line is to be cut. */
static bool pass(struct relay *r, int from, int to, bool answers)
{
    static _Thread_local char b[65536];
    ssize_t n = read(from, b, sizeof b);
    if (n <= 0)
        return false;
    static const char tag[] = "COMMIT"; /* of CommandComplete, with its NUL */
    int armed = 1;
    if (answers && memmem(b, (size_t)n, tag, sizeof tag) &&
        atomic_compare_exchange_strong(&r->cut_commit, &armed, 0))
        return false;
    return send(to, b, (size_t)n, MSG_NOSIGNAL) == n;
}

struct line {
    struct relay *r;
    int client;
};

static void *line_main(void *arg)
{
    struct line l = *(struct line *)arg;
    free(arg);
    int server = unix_socket();
    bool ok = connect(server, (struct sockaddr *)&l.r->there, sizeof l.r->there) == 0;
    while (ok) {
        struct pollfd p[] = {{.fd = l.client, .events = POLLIN}, {.fd = server, .events = POLLIN}};
        if (poll(p, 2, 50) < 0 || atomic_load(&l.r->end))
            break;
        if (atomic_load(&l.r->frozen))
            poll(NULL, 0, 1);
        else if (p[0].revents)
            ok = pass(l.r, l.client, server, false);
        if (ok && p[1].revents && !atomic_load(&l.r->frozen))
            ok = pass(l.r, server, l.client, true);
    }
    close(server);
    close(l.client);
    atomic_fetch_sub(&l.r->lines, 1);
    return NULL;
}

static void *relay_main(void *arg)
{
    struct relay *r = arg;
    int fd;
    while ((fd = accept(r->listener, NULL, NULL)) >= 0) {
        struct line *l = malloc(sizeof *l);
        *l = (struct line){r, fd};
        pthread_t t;
        atomic_fetch_add(&r->lines, 1);
        assert_int_equal(pthread_create(&t, NULL, line_main, l), 0);
        pthread_detach(t);
    }
    return NULL;
}

static void relay_start(struct relay *r)
{
    atomic_store(&r->end, 0);
    unlink(r->here.sun_path);
    r->listener = unix_socket();
    assert_int_equal(bind(r->listener, (struct sockaddr *)&r->here, sizeof r->here), 0);
    assert_int_equal(listen(r->listener, 64), 0);
    assert_int_equal(pthread_create(&r->thread, NULL, relay_main, r), 0);
}

/* The database is away: lines are cut, nobody answers. */
static void relay_stop(struct relay *r)
{
    atomic_store(&r->end, 1);
    unlink(r->here.sun_path);
    shutdown(r->listener, SHUT_RDWR);
    pthread_join(r->thread, NULL);
    close(r->listener);
    while (atomic_load(&r->lines)) /* each looks for the end every 50 ms */
        poll(NULL, 0, 1);
}

/* --- fixture ---------------------------------------------------------------------------------- */

static struct place place;
static struct relay relay;
static char direct[TEST_URL_SIZE];

static int setup(void **state)
{
    (void)state;
    if (!test_on_pg())
        return 0;
    place_init(&place);
    memcpy(direct, place.url, sizeof direct);
    PQconninfoOption *o = PQconninfoParse(direct, NULL), *i = o;
    const char *host = "", *user = "", *name = "", *port = "5432";
    for (; i->keyword; i++) {
        if (i->val && strcmp(i->keyword, "host") == 0)
            host = i->val;
        if (i->val && strcmp(i->keyword, "port") == 0)
            port = i->val;
        if (i->val && strcmp(i->keyword, "user") == 0)
            user = i->val;
        if (i->val && strcmp(i->keyword, "dbname") == 0)
            name = i->val;
    }
    relay = (struct relay){.here = {.sun_family = AF_UNIX}, .there = {.sun_family = AF_UNIX}};
    snprintf(relay.there.sun_path, sizeof relay.there.sun_path, "%.60s/.s.PGSQL.%.8s", host, port);
    snprintf(relay.here.sun_path, sizeof relay.here.sun_path, "%.60s/.s.PGSQL.5432", place.dir);
    snprintf(place.url, sizeof place.url, "postgresql:///%s?host=%s&user=%s", name, place.dir,
             user);
    PQconninfoFree(o);
    relay_start(&relay);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (!test_on_pg())
        return 0;
    relay_stop(&relay);
    place_end(&place);
    return 0;
}

static void admin(const char *sql)
{
    PGconn *c = PQconnectdb(direct);
    PGresult *r = PQexec(c, sql);
    if (PQresultStatus(r) == PGRES_FATAL_ERROR)
        fail_msg("%s: %s", sql, PQerrorMessage(c));
    PQclear(r);
    PQfinish(c);
}

static enum td_err put(struct store *s, int64_t k, struct errinfo *ei)
{
    memset(ei, 0, sizeof *ei);
    return store_write(s, t_insert, &k, ei);
}

static void must_put(struct store *s, int64_t k)
{
    struct errinfo ei;
    if (put(s, k, &ei) != TD_OK)
        fail_msg("insert %lld: %s", (long long)k, ei.msg);
}

/* --- races ------------------------------------------------------------------------------------ */

/* Reads the greatest k and inserts the next: lost when two do it at once. */
static enum td_err next_k(struct tx *tx, void *ctx, struct errinfo *ei)
{
    (void)ctx;
    struct cur c;
    int64_t k = 0;
    enum td_err e;
    TD_TRY(tx_query(tx, &t_stmts[T_ALL], SV_LIST(SV_INT(0)), &c, ei));
    while ((e = cur_next(&c, ei)) == TD_OK)
        k = cur_int(&c, 0) + 1;
    if (e != TD_NOTFOUND)
        return e;
    return t_insert(tx, &k, ei);
}

#define RACERS 4
#define RACES 25

static void *racer(void *arg)
{
    for (int i = 0; i < RACES; i++) {
        struct errinfo ei = {0};
        if (store_write(arg, next_k, NULL, &ei) != TD_OK) {
            fprintf(stderr, "race: %s\n", ei.msg);
            return arg;
        }
    }
    return NULL;
}

/* Two nodes with several writers each: every job comes out as if it had run alone. */
static void test_serializable(void **state)
{
    (void)state;
    place.conf.writers = 3;
    place.conf.batch = 2;
    struct store *nodes[] = {place_open(&place), place_open(&place)};
    pthread_t t[2 * RACERS];
    for (size_t i = 0; i < TD_NITEMS(t); i++)
        assert_int_equal(pthread_create(&t[i], NULL, racer, nodes[i % 2]), 0);
    for (size_t i = 0; i < TD_NITEMS(t); i++) {
        void *bad;
        pthread_join(t[i], &bad);
        assert_null(bad);
    }
    assert_int_equal(t_count(nodes[0]), 2 * RACERS * RACES);
    assert_true(t_has(nodes[1], 2 * RACERS * RACES - 1));
    assert_true(metrics_get(METRIC_STORE_RETRIES) > 0);
    store_close(nodes[0]);
    store_close(nodes[1]);
}

/* --- connections ------------------------------------------------------------------------------ */

#define KILL_ALL                                                                                   \
    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = "               \
    "current_database() "                                                                          \
    "AND pid <> pg_backend_pid()"

/* Connections that ended while nobody used them are made anew unseen. */
static void test_idle_connections_end(void **state)
{
    (void)state;
    memcpy(place.url, direct, sizeof direct);
    struct store *s = place_open(&place);
    for (int64_t k = 0; k < 5; k++) {
        must_put(s, k);
        assert_int_equal(t_count(s), k + 1);
        admin(KILL_ALL);
    }
    assert_int_equal(t_count(s), 5);
    store_close(s);
}

static enum td_err insert_and_be_killed(struct tx *tx, void *ctx, struct errinfo *ei)
{
    int *runs = ctx;
    int64_t k = 7;
    if ((*runs)++ > 0)
        return t_insert(tx, &k, ei);
    TD_TRY(t_insert(tx, &k, ei));
    admin(KILL_ALL);
    k = 8;
    return t_insert(tx, &k, ei);
}

/* In the middle of a transaction nothing is committed yet: the job runs again. */
static void test_killed_in_transaction(void **state)
{
    (void)state;
    struct store *s = place_open(&place);
    int runs = 0;
    struct errinfo ei = {0};
    if (store_write(s, insert_and_be_killed, &runs, &ei) != TD_OK)
        fail_msg("%s", ei.msg);
    assert_int_equal(runs, 2);
    assert_true(t_has(s, 7) && !t_has(s, 8));
    store_close(s);
}

/* The commit took place and its answer is lost: the store finds out, and does it once. */
static void test_commit_answer_lost(void **state)
{
    (void)state;
    struct store *s = place_open(&place);
    int64_t resolved = metrics_get(METRIC_STORE_RESOLVED);
    for (int64_t k = 0; k < 20; k += 2) {
        must_put(s, k); /* on a new connection after the first */
        atomic_store(&relay.cut_commit, 1);
        must_put(s, k + 1);
        assert_int_equal(atomic_load(&relay.cut_commit), 0);
        assert_int_equal(t_count(s), k + 2);
    }
    assert_int_equal(metrics_get(METRIC_STORE_RESOLVED) - resolved, 10);
    store_close(s);
}

/* The connection breaks while committing, before the commit: the store finds out and runs the job
 * again. A trigger at the end of the transaction kills it, the first three times. */
static void test_commit_did_not_happen(void **state)
{
    (void)state;
    struct store *s = place_open(&place);
    admin("CREATE SEQUENCE shots; CREATE FUNCTION shoot() RETURNS trigger LANGUAGE plpgsql AS $$ "
          "BEGIN IF nextval('shots') <= 3 THEN PERFORM pg_terminate_backend(pg_backend_pid()); "
          "PERFORM pg_sleep(10); END IF; RETURN NULL; END $$; "
          "CREATE CONSTRAINT TRIGGER shoot AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED "
          "FOR EACH ROW EXECUTE FUNCTION shoot()");
    must_put(s, 1);
    assert_int_equal(t_count(s), 1);
    store_close(s);
}

/* Away: an answer at once, never a wait for each request; back: it works again by itself. */
static void test_away_and_back(void **state)
{
    (void)state;
    struct store *s = place_open(&place);
    must_put(s, 1);
    relay_stop(&relay);
    struct errinfo ei;
    for (int i = 0; i < 200; i++) {
        enum td_err e = put(s, 100 + i, &ei);
        if (err_http(e) != 503)
            fail_msg("%s: %s", err_name(e), ei.msg);
        int64_t n;
        assert_int_equal(err_http(store_read(s, t_count_fn, &n, NULL)), 503);
        assert_int_equal(err_http(store_ping(s, NULL)), 503);
    }
    assert_true(ei.msg[0] != '\0');
    relay_start(&relay);
    time_t until = time(NULL) + 30;
    while (put(s, 2, &ei) != TD_OK && time(NULL) < until)
        poll(NULL, 0, 5);
    assert_int_equal(t_count(s), 2);
    store_close(s);
}

/* Frozen: connections stand and nobody answers. The first to ask waits for the deadline, the others
 * do not wait for it again; thawed, it works again by itself. */
static void test_frozen(void **state)
{
    (void)state;
    place.conf.answer_ms = 8000;
    struct store *s = place_open(&place);
    int64_t n;
    must_put(s, 1);
    assert_int_equal(t_count(s), 1);
    atomic_store(&relay.frozen, 1);
    struct errinfo ei;
    assert_int_equal(put(s, 100, &ei), TD_DB);
    assert_non_null(strstr(ei.msg, "does not answer"));
    time_t began = time(NULL);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(err_http(put(s, 101 + i, &ei)), 503);
        assert_int_equal(err_http(store_read(s, t_count_fn, &n, NULL)), 503);
        assert_int_equal(err_http(store_ping(s, NULL)), 503);
    }
    assert_true(time(NULL) - began <
                120); /* attempts to connect, one at a time; not 60 deadlines */
    atomic_store(&relay.frozen, 0);
    time_t until = time(NULL) + 60;
    while (put(s, 2, &ei) != TD_OK && time(NULL) < until)
        poll(NULL, 0, 5);
    assert_int_equal(t_count(s), 2);
    store_close(s);
}

static enum td_err sleep_fn(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct cur c;
    ++*(int *)ctx;
    TD_TRY(tx_row(tx, &t_stmts[T_PAGES], NULL, 0, &c, ei));
    cur_end(&c);
    return TD_OK;
}

/* A statement that takes too long is PostgreSQL's to end: the connection stands. */
static void test_slow_statement(void **state)
{
    (void)state;
    t_stmts[T_PAGES].sql = "SELECT 1 AS pages FROM pg_sleep(600)";
    place.conf.answer_ms = 5000;
    struct store *s = place_open(&place);
    int64_t connects = metrics_get(METRIC_STORE_CONNECTS);
    int runs = 0;
    assert_int_equal(store_write(s, sleep_fn, &runs, NULL), TD_TIMEOUT);
    assert_int_equal(runs, 1);
    must_put(s, 1);
    assert_int_equal(metrics_get(METRIC_STORE_CONNECTS), connects);
    store_close(s);
    t_stmts[T_PAGES].sql = "SELECT 1 AS pages";
}

static void test_cannot_open(void **state)
{
    (void)state;
    relay_stop(&relay);
    struct store *s = NULL;
    struct errinfo ei = {0};
    assert_int_equal(store_open_with(&place.conf, place.list, place.n, &s, &ei), TD_DB);
    assert_non_null(strstr(ei.msg, "No such file"));
    relay_start(&relay);
    static const char *const urls[] = {"postgres://%zz", "postgresql:///x?nonsense=1"};
    struct store_conf conf = place.conf;
    for (size_t i = 0; i < TD_NITEMS(urls); i++) {
        conf.url = urls[i];
        assert_int_equal(store_open_with(&conf, place.list, place.n, &s, &ei), TD_INVAL);
    }
    admin("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'");
    char latin[TEST_URL_SIZE];
    test_pg_url("latin", latin);
    conf.url = latin;
    assert_int_equal(store_open_with(&conf, place.list, place.n, &s, &ei), TD_STATE);
    assert_non_null(strstr(ei.msg, "UTF8"));
    admin("DROP DATABASE latin");
    admin("CREATE TABLE theirs (a int)");
    assert_int_equal(store_open_with(&place.conf, place.list, place.n, &s, &ei), TD_STATE);
    assert_non_null(strstr(ei.msg, "another program"));
    admin("DROP TABLE theirs");
    store_close(place_open(&place));
}

/* --- one holder ------------------------------------------------------------------------------- */

static void test_lead(void **state)
{
    (void)state;
    struct store *a = place_open(&place), *b = place_open(&place);
    assert_true(store_shared(a));
    for (int i = 0; i < 3; i++) {
        assert_true(store_lead(a, STORE_JOB_CLEAN));
        assert_false(store_lead(b, STORE_JOB_CLEAN));
    }
    assert_true(store_lead(b, STORE_JOB_RENEW));
    assert_false(store_lead(a, STORE_JOB_RENEW));
    admin(KILL_ALL); /* both lose their locks, and whoever asks first has it */
    time_t until = time(NULL) + 30;
    while (!store_lead(b, STORE_JOB_CLEAN) && time(NULL) < until)
        poll(NULL, 0, 5);
    assert_false(store_lead(a, STORE_JOB_CLEAN));
    store_close(b);
    while (!store_lead(a, STORE_JOB_CLEAN) && time(NULL) < until)
        poll(NULL, 0, 5);
    assert_true(store_lead(a, STORE_JOB_CLEAN));
    store_close(a);
}

/* --- SQLSTATE --------------------------------------------------------------------------------- */

static void test_states(void **state)
{
    (void)state;
    static const struct {
        const char *sqlstate;
        enum td_err err;
        enum txn_fate fate;
        bool dead;
    } cases[] = {
        {"40001", TD_BUSY, TXN_RACED, false},     {"40P01", TD_BUSY, TXN_RACED, false},
        {"23505", TD_EXISTS, TXN_STANDS, false},  {"23502", TD_INTERNAL, TXN_STANDS, false},
        {"53100", TD_DB, TXN_STANDS, false},      {"57P01", TD_DB, TXN_RACED, true},
        {"57014", TD_TIMEOUT, TXN_STANDS, false}, {"08006", TD_DB, TXN_RACED, true},
        {"25006", TD_DB, TXN_RACED, true},        {"42P01", TD_INTERNAL, TXN_STANDS, false},
        {"42501", TD_DB, TXN_STANDS, false},      {"XX000", TD_DB, TXN_STANDS, false},
        {"55P03", TD_BUSY, TXN_STANDS, false},    {"22003", TD_INVAL, TXN_STANDS, false},
        {NULL, TD_DB, TXN_RACED, true},           {"", TD_DB, TXN_RACED, true},
    };
    for (size_t i = 0; i < TD_NITEMS(cases); i++) {
        const struct pg_state *s = pg_state_find(cases[i].sqlstate);
        if (s->err != cases[i].err || s->fate != cases[i].fate || s->dead != cases[i].dead)
            fail_msg("case %zu", i);
    }
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    log_setup(LOG_ERROR, LOG_FORMAT_LOGFMT, 2);
    const struct CMUnitTest on_pg[] = {
        T(test_serializable),
        T(test_idle_connections_end),
        T(test_killed_in_transaction),
        T(test_commit_answer_lost),
        T(test_commit_did_not_happen),
        T(test_away_and_back),
        T(test_cannot_open),
        T(test_lead),
        T(test_frozen),
        T(test_slow_statement),
    };
    const struct CMUnitTest anywhere[] = {cmocka_unit_test(test_states)};
    if (test_on_pg())
        return cmocka_run_group_tests(on_pg, crypt_setup, NULL);
    return cmocka_run_group_tests(anywhere, crypt_setup, NULL);
}
