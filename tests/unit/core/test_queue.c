/* Queueing: order, uniqueness, concurrency, listing, cleaning; and the push pump behind it. */
#include "mdm/core/sql.h"
#include "tests/unit/core/fixture.h"

static struct plist *command(struct fx *f, const char *type)
{
    struct plist *cmd = plist_new_dict(&f->a);
    assert_non_null(cmd);
    if (type)
        assert_int_equal(plist_set_str(cmd, "RequestType", type), TD_OK);
    return cmd;
}

static void enqueue(void **state)
{
    struct fx *f = *state;
    static const char uuid[] = "0A0B0C0D-0000-4000-8000-000000000001";
    char got[37] = "";
    struct plist *cmd = command(f, "SecurityInfo");
    assert_int_equal(core_enqueue(f->core, "SERIALA", cmd, NULL, "t", got, &f->ei), TD_NOTFOUND);
    assert_int_equal(fx_checkin(f, 'a', "Authenticate", FX_AUTH(FX_UDID_A)), TD_OK);
    assert_int_equal(core_enqueue(f->core, "SERIALA", cmd, NULL, "t", got, &f->ei), TD_STATE);
    assert_int_equal(fx_checkin(f, 'a', "TokenUpdate", FX_TOKEN(FX_UDID_A)), TD_OK);
    assert_string_equal(got, "");
    assert_int_equal(core_enqueue(f->core, "SERIALA", cmd, uuid, "t", got, &f->ei), TD_OK);
    assert_string_equal(got, uuid);
    assert_int_equal(core_enqueue(f->core, "SERIALA", cmd, uuid, "t", got, &f->ei), TD_EXISTS);
    assert_string_equal(f->ei.reason, "command-uuid-used"); /* MB-57 */
    assert_int_equal(core_enqueue(f->core, "SERIALA", cmd, "nonsense", "t", got, &f->ei), TD_INVAL);
    assert_int_equal(core_enqueue(f->core, "SERIALA", command(f, NULL), NULL, "t", got, &f->ei),
                     TD_INVAL);
    struct core_command v = fx_command(f, "SERIALA", uuid);
    assert_string_equal(v.created_by, "t");
    assert_string_equal(v.request_type, "SecurityInfo");
    assert_string_equal(v.state, "queued");
    assert_null(v.status);
    assert_int_equal(v.result.n, 0);
    /* MB-57 holds for all devices, and finished commands too */
    assert_int_equal(fx_checkin(f, 'b', "Authenticate", FX_AUTH(FX_UDID_B)), TD_OK);
    assert_int_equal(fx_checkin(f, 'b', "TokenUpdate", FX_TOKEN(FX_UDID_B)), TD_OK);
    assert_int_equal(core_enqueue(f->core, "SERIALB", cmd, uuid, "t", got, &f->ei), TD_EXISTS);
    struct fx_look l = {.f = f, .serial = "SERIALB", .uuid = uuid};
    assert_int_equal(store_read(f->store, fx_command_job, &l, NULL), TD_NOTFOUND);
}

struct producer {
    struct fx *f;
    pthread_t thread;
    unsigned failed;
};

enum { PRODUCERS = 4, EACH = 15 };

static void *produce(void *arg)
{
    struct producer *p = arg;
    arena_auto a;
    arena_init(&a, 1 << 20);
    for (int i = 0; i < EACH; i++) {
        char uuid[37];
        struct plist *cmd = plist_new_dict(&a);
        if (!cmd || plist_set_str(cmd, "RequestType", "SecurityInfo") != TD_OK ||
            core_enqueue(p->f->core, "SERIALA", cmd, NULL, "t", uuid, NULL) != TD_OK)
            p->failed++;
    }
    return NULL;
}

/* MB-51: nothing is lost, and the order is a sequence. */
static void concurrent(void **state)
{
    struct fx *f = *state;
    struct producer p[PRODUCERS];
    fx_enrol_a(f);
    for (int i = 0; i < PRODUCERS; i++) {
        p[i] = (struct producer){.f = f};
        assert_int_equal(pthread_create(&p[i].thread, NULL, produce, &p[i]), 0);
    }
    for (int i = 0; i < PRODUCERS; i++) {
        pthread_join(p[i].thread, NULL);
        assert_int_equal(p[i].failed, 0);
    }
    struct core_command *list;
    size_t n = fx_commands(f, "SERIALA", &list);
    assert_int_equal(n, PRODUCERS * EACH);
    for (size_t i = 1; i < n; i++)
        assert_true(list[i].seq < list[i - 1].seq);
    const char *uuid = NULL, *status = "Idle";
    for (size_t i = n; i-- > 0;) {
        assert_int_equal(fx_connect(f, 'a', FX_UDID_A, status, uuid), TD_OK);
        uuid = fx_reply(f, NULL);
        assert_string_equal(uuid, list[i].uuid);
        status = "Acknowledged";
    }
}

struct page {
    struct fx *f;
    int64_t before;
    size_t max, n;
    struct core_command *list;
};

static enum td_err page_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct page *p = ctx;
    return core_command_list(tx, "SERIALA", p->before, p->max, &p->f->a, &p->list, &p->n, ei);
}

struct cleaning {
    int64_t before;
    size_t max;
};

static enum td_err clean_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct cleaning *c = ctx;
    struct sweep s = {.before = c->before, .max = c->max};
    return core_clean_commands(tx, &s, ei);
}

static enum td_err clean(struct fx *f, int64_t before, size_t max)
{
    struct cleaning c = {before, max};
    return store_write(f->store, clean_job, &c, NULL);
}

static void list_and_clean(void **state)
{
    struct fx *f = *state;
    fx_enrol_a(f);
    const char *uuid[5];
    for (int i = 0; i < 5; i++)
        uuid[i] = fx_queue(f, "SecurityInfo");
    struct page p = {.f = f, .before = INT64_MAX, .max = 2};
    assert_int_equal(store_read(f->store, page_job, &p, NULL), TD_OK);
    assert_int_equal(p.n, 2);
    assert_string_equal(p.list[0].uuid, uuid[4]);
    assert_int_equal(p.list[0].body.n, 0);
    p.before = p.list[1].seq;
    p.max = 100;
    assert_int_equal(store_read(f->store, page_job, &p, NULL), TD_OK);
    assert_int_equal(p.n, 3);
    p.max = 0;
    assert_int_equal(store_read(f->store, page_job, &p, NULL), TD_OK);
    assert_int_equal(p.n, 0);

    assert_int_equal(fx_connect(f, 'a', FX_UDID_A, "Idle", NULL), TD_OK);
    assert_int_equal(fx_connect(f, 'a', FX_UDID_A, "Acknowledged", uuid[0]), TD_OK);
    f->clock.at += 10;
    assert_int_equal(fx_connect(f, 'a', FX_UDID_A, "Acknowledged", uuid[1]), TD_OK);
    assert_int_equal(clean(f, FX_NOW, 10), TD_OK);
    assert_int_equal(fx_commands(f, "SERIALA", &p.list), 5);
    assert_int_equal(clean(f, FX_NOW + 1, 10), TD_OK);
    assert_int_equal(fx_commands(f, "SERIALA", &p.list), 4);
    assert_int_equal(clean(f, FX_NOW + 100, 0), TD_OK);
    assert_int_equal(fx_commands(f, "SERIALA", &p.list), 4);
    assert_int_equal(clean(f, FX_NOW + 100, 1), TD_OK);
    assert_int_equal(fx_commands(f, "SERIALA", &p.list), 3); /* open ones stay */
}

struct enrollments {
    struct fx *f;
    const char *after;
    size_t max, n;
    struct core_enrollment *list;
};

static enum td_err enrollments_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct enrollments *l = ctx;
    return core_enrollment_list(tx, l->after, l->max, &l->f->a, &l->list, &l->n, ei);
}

static void enrollment_list(void **state)
{
    struct fx *f = *state;
    struct enrollments l = {.f = f, .after = "", .max = 10};
    assert_int_equal(store_read(f->store, enrollments_job, &l, NULL), TD_OK);
    assert_int_equal(l.n, 0);
    fx_enrol_a(f);
    assert_int_equal(fx_checkin(f, 'b', "Authenticate", FX_AUTH(FX_UDID_B)), TD_OK);
    f->clock.at += 1;
    /* a new main board: the same serial number with another UDID */
    assert_int_equal(fx_checkin(f, 'c', "Authenticate", FX_AUTH("NEW-BOARD")), TD_OK);
    assert_int_equal(store_read(f->store, enrollments_job, &l, NULL), TD_OK);
    assert_int_equal(l.n, 2); /* the newest of each serial */
    assert_string_equal(l.list[0].serial, "SERIALA");
    assert_string_equal(l.list[0].id, "NEW-BOARD");
    assert_string_equal(l.list[1].serial, "SERIALB");
    l.max = 1;
    assert_int_equal(store_read(f->store, enrollments_job, &l, NULL), TD_OK);
    assert_int_equal(l.n, 1);
    l.after = "SERIALA";
    assert_int_equal(store_read(f->store, enrollments_job, &l, NULL), TD_OK);
    assert_int_equal(l.n, 1);
    assert_string_equal(l.list[0].serial, "SERIALB");
    l.after = "SERIALB";
    assert_int_equal(store_read(f->store, enrollments_job, &l, NULL), TD_OK);
    assert_int_equal(l.n, 0);
}

/* --- the pump ------------------------------------------------------------------------------ */

static void push_answer(struct fx *f, enum td_err e)
{
    pthread_mutex_lock(&f->push.mutex);
    f->push.answer = e;
    pthread_mutex_unlock(&f->push.mutex);
}

static void push_retries(void **state)
{
    struct fx *f = *state;
    fx_enrol_a(f);
    push_answer(f, TD_UPSTREAM);
    fx_queue(f, "SecurityInfo");
    fx_wait(f, &f->push.tried, 2);
    push_answer(f, TD_OK);
    /* the first back-off is 5 s, counted from when the pump takes note of the failure */
    for (int64_t deadline = clock_mono(&clock_system) + 10000; f->push.sent < 2;) {
        assert_true(clock_mono(&clock_system) < deadline);
        f->clock.at += 6;
        core_wake(f->core);
        usleep(2000);
    }
}

/* What an earlier run left is sent at start, also with a time that is not due. */
static void push_leftovers(void **state)
{
    if (test_on_pg())
        skip(); /* there another node's claim may live: it runs out by itself */
    struct fx *f = *state;
    push_answer(f, TD_UPSTREAM);
    fx_enrol_a(f);
    fx_wait(f, &f->push.tried, 1);
    core_close(f->core);
    push_answer(f, TD_OK);
    fx_open_core(f);
    fx_wait(f, &f->push.sent, 1);
}

static enum td_err outbox_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct cur cur;
    int64_t *n = ctx;
    enum td_err e = tx_row(tx, CORE_SQL(PUSH_DUE), SV_LIST(SV_INT(INT64_MAX), SV_INT(1)), &cur, ei);
    *n = e == TD_OK;
    if (e == TD_OK)
        cur_end(&cur);
    return e == TD_NOTFOUND ? TD_OK : e;
}

static int64_t outbox(struct fx *f)
{
    int64_t n = -1;
    assert_int_equal(store_read(f->store, outbox_job, &n, NULL), TD_OK);
    return n;
}

/* A dead token: the wish goes, the enrolment stays (MB-18). */
static void push_gone(void **state)
{
    struct fx *f = *state;
    push_answer(f, TD_GONE);
    fx_enrol_a(f);
    fx_wait(f, &f->push.tried, 1);
    core_close(f->core); /* the batch is settled */
    f->core = NULL;
    assert_int_equal(outbox(f), 0);
    assert_string_equal(fx_enrollment(f, "SERIALA").state, "enrolled");
    fx_open_core(f);
}

/* Every wish is followed by a push and then goes; wishes of one device are one row. */
static void push_settles(void **state)
{
    struct fx *f = *state;
    fx_enrol_a(f);
    fx_queue(f, "SecurityInfo");
    fx_queue(f, "ProfileList");
    for (int64_t deadline = clock_mono(&clock_system) + 10000; outbox(f) != 0;) {
        assert_true(clock_mono(&clock_system) < deadline);
        usleep(2000);
    }
    assert_in_range(f->push.sent, 2, 3);
}

/* --- many devices: rows straight into the table, a certificate each would be needed else --- */

enum { MANY = 300 };

static const struct store_stmt many_sql[] = {
    {"test.enrolled",
     "INSERT INTO enrollments (id, serial, cert_sha256, state, topic, push_magic, push_token, "
     "awaiting, tally, device_name, model, product, os_version, build, authenticate, "
     "authenticated_at, last_seen_at) VALUES (?1, ?1, ?2, 'enrolled', 't', 'm', ?2, 0, 1, '', '', "
     "'', '', '', ?2, ?3, ?3)",
     "tbi", ""},
    {"test.wanted", "INSERT INTO push_outbox (enrollment_id, requested_at) VALUES (?1, ?2)", "ti",
     ""},
};

static enum td_err many_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const bool *want = ctx;
    for (int i = 0; i < MANY; i++) {
        char id[16];
        uint8_t hash[SHA256_SIZE];
        snprintf(id, sizeof id, "DEV-%04d", i);
        digest_sha256(span_str(id), hash);
        TD_TRY(tx_exec(tx, &many_sql[0],
                       SV_LIST(SV_TEXT(id), SV_BLOB(SPAN_ARR(hash)), SV_INT(FX_NOW)), NULL, ei));
        if (*want)
            TD_TRY(tx_exec(tx, &many_sql[1], SV_LIST(SV_TEXT(id), SV_INT(FX_NOW)), NULL, ei));
    }
    return TD_OK;
}

static void many_devices(struct fx *f, bool want)
{
    const struct store_stmts sets[] = {{many_sql, TD_NITEMS(many_sql)}};
    struct store_conf conf = {.twice = test_twice(),
                              .url = f->url,
                              .readers = 1,
                              .batch = 1,
                              .queue = 1,
                              .sets = sets,
                              .nsets = 1,
                              .clock = &f->clock.clock};
    struct store *s;
    assert_int_equal(store_open(&conf, &s, &f->ei), TD_OK);
    assert_int_equal(store_write(s, many_job, &want, &f->ei), TD_OK);
    store_close(s);
}

/* More devices than one batch holds: each once. */
static void push_many(void **state)
{
    struct fx *f = *state;
    core_close(f->core);
    many_devices(f, true);
    fx_open_core(f);
    fx_wait(f, &f->push.sent, MANY);
    core_close(f->core);
    f->core = NULL;
    assert_int_equal(f->push.sent, MANY);
    assert_int_equal(outbox(f), 0);
    fx_open_core(f);
}

/* MB-60, MB-61: who was silent for a day is woken, page by page, and only once a day. */
static void sweep(void **state)
{
    struct fx *f = *state;
    many_devices(f, false);
    assert_int_equal(f->push.sent, 0);
    f->clock.at += 86400 + 61;
    fx_wait(f, &f->push.sent, 256);
    f->clock.at += 61;
    fx_wait(f, &f->push.sent, MANY);
    assert_int_equal(f->push.sent, MANY);
}

static void opening(void **state)
{
    struct fx *f = *state;
    struct core *c = NULL;
    struct core_conf conf = {.store = f->store,
                             .clock = &f->clock.clock,
                             .rng = &rng_system,
                             .ops = {.cert_lookup = fx_cert_lookup, .device_listed = fx_listed},
                             .push = {.send = fx_push_send},
                             .topic = "",
                             .enrollment_profile = FX_PROFILE};
    assert_int_equal(core_open(&conf, &c, &f->ei), TD_INVAL);
    conf.topic = FX_TOPIC;
    conf.ops.device_listed = NULL;
    assert_int_equal(core_open(&conf, &c, &f->ei), TD_INVAL);
    core_close(NULL);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, fx_setup, fx_teardown)
    const struct CMUnitTest tests[] = {
        T(enqueue),      T(concurrent),     T(list_and_clean), T(enrollment_list),
        T(push_retries), T(push_leftovers), T(push_gone),      T(push_settles),
        T(opening),      T(push_many),      T(sweep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
