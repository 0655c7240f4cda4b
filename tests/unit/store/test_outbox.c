#include "store_test.h"

#include "mdm/base/log.h"
#include "mdm/store/audit.h"

static struct place place;
static struct store *store;

enum { WANT, EVENTS, QUEUED, ROWS_MAX };

static const struct store_stmt own[ROWS_MAX] = {
    [WANT] = {"test.want", "INSERT INTO outbox_types (type, sink) VALUES (?1, ?2)", "tt", ""},
    [EVENTS] = {"test.events",
                "SELECT id, at, txn, type, actor, device, certificate, data FROM outbox ORDER BY "
                "seq",
                "", "titttttt"},
    [QUEUED] = {"test.queued",
                "SELECT q.sink, o.data FROM outbox_queue q JOIN outbox o ON o.id = q.event WHERE "
                "q.seq = o.seq AND q.at = o.at ORDER BY q.sink, q.seq",
                "", "tt"},
};

static int setup(void **state)
{
    (void)state;
    place_init(&place);
    place_outbox(&place);
    struct store_stmts sets[] = {audit_stmts, outbox_stmts, {own, ROWS_MAX}};
    place.conf.sets = sets;
    place.conf.nsets = TD_NITEMS(sets);
    place.conf.twice = test_twice();
    store = place_open(&place);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    store_close(store);
    place_end(&place);
    return 0;
}

static enum td_err want_fn(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const char *const *pair = ctx;
    return tx_exec(tx, &own[WANT], SV_LIST(SV_TEXT(pair[0]), SV_TEXT(pair[1])), NULL, ei);
}

static void want(const char *type, const char *sink)
{
    const char *pair[] = {type, sink};
    assert_int_equal(store_write(store, want_fn, pair, NULL), TD_OK);
}

struct append {
    struct outbox_event ev;
    const char *sink;
    enum td_err then;
};

static enum td_err append_fn(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct append *p = ctx;
    TD_TRY(p->sink ? outbox_add_to(tx, p->sink, &p->ev, ei) : outbox_add(tx, &p->ev, ei));
    return p->then;
}

static enum td_err append(const struct outbox_event *ev)
{
    struct append p = {.ev = *ev};
    return store_write(store, append_fn, &p, NULL);
}

/* Rows as text, a line each. */
static struct buf text;

static enum td_err dump_fn(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct store_stmt *st = ctx;
    struct cur c;
    enum td_err e;
    TD_TRY(tx_query(tx, st, NULL, 0, &c, ei));
    while ((e = cur_next(&c, ei)) == TD_OK) {
        for (int i = st == &own[EVENTS]; st->out[i]; i++) /* an id is random */
            if (st->out[i] == 'i')
                buf_printf(&text, "%lld|", (long long)cur_int(&c, i));
            else
                buf_printf(&text, "%.*s|", (int)cur_span(&c, i).n, (const char *)cur_span(&c, i).p);
        buf_str(&text, "\n");
    }
    return e == TD_NOTFOUND ? TD_OK : e;
}

static const char *dump(int what)
{
    buf_free(&text);
    buf_init(&text, 1 << 20);
    struct store_stmt const *st = &own[what];
    union {
        const struct store_stmt *in;
        void *out;
    } ctx = {.in = st};
    assert_int_equal(store_read(store, dump_fn, ctx.out, NULL), TD_OK);
    return buf_cstr(&text);
}

static const struct outbox_event revoked = {.type = OUTBOX_CERT_REVOKED,
                                            .at = 7,
                                            .txn = "T1",
                                            .actor = "admin",
                                            .device = "S1",
                                            .certificate = "0a",
                                            .data = {{"reason", "a\"b"}, {"none", NULL}}};

static void test_nobody_wants(void **state)
{
    (void)state;
    want("device.left", "w1");
    assert_int_equal(append(&revoked), TD_OK);
    assert_string_equal(dump(EVENTS), "");
    assert_string_equal(dump(QUEUED), "");
}

static void test_fan_out(void **state)
{
    (void)state;
    want("certificate.revoked", "w1");
    want("certificate.revoked", "w2");
    want("device.left", "w3");
    assert_int_equal(append(&revoked), TD_OK);
    struct outbox_event silent = revoked;
    silent.txn = NULL;
    assert_int_equal(append(&silent), TD_OK);
    assert_string_equal(dump(EVENTS),
                        "7|T1|certificate.revoked|admin|S1|0a|{\"reason\":\"a\\\"b\"}|\n");
    assert_string_equal(dump(QUEUED), "w1|{\"reason\":\"a\\\"b\"}|\nw2|{\"reason\":\"a\\\"b\"}|\n");
}

/* An id of one's own is told once; what is undone is not told; one sink alone. */
static void test_once(void **state)
{
    (void)state;
    want("ca.rotated", "w1");
    const struct outbox_event rotated = {
        .type = OUTBOX_CA_ROTATED, .at = 1, .txn = "t", .id = "ca-1"};
    assert_int_equal(append(&rotated), TD_OK);
    assert_int_equal(append(&rotated), TD_OK);
    struct append undone = {.ev = rotated, .then = TD_CONFLICT};
    undone.ev.id = "ca-2";
    assert_int_equal(store_write(store, append_fn, &undone, NULL), TD_CONFLICT);
    struct append ping = {.ev = {.type = OUTBOX_PING, .at = 2, .txn = "p"}, .sink = "w9"};
    assert_int_equal(store_write(store, append_fn, &ping, NULL), TD_OK);
    assert_string_equal(dump(EVENTS), "1|t|ca.rotated||||{}|\n2|p|ping||||{}|\n");
    assert_string_equal(dump(QUEUED), "w1|{}|\nw9|{}|\n");
    const struct outbox_event none = {.type = OUTBOX_TYPES, .txn = "x"};
    assert_int_equal(append(&none), TD_INTERNAL);
}

static void test_long_values(void **state)
{
    (void)state;
    static char value[OUTBOX_VALUE_MAX + 100];
    memset(value, 1, sizeof value - 1); /* each becomes six */
    want("ping", "w");
    struct outbox_event ev = {.type = OUTBOX_PING, .txn = "t"};
    for (size_t i = 0; i < OUTBOX_FIELDS; i++) {
        ev.data[i].key = "key";
        ev.data[i].value = value;
    }
    assert_int_equal(append(&ev), TD_OK);
    assert_int_equal(strlen(dump(EVENTS)),
                     strlen("0|t|ping||||{}|\n") + OUTBOX_FIELDS * (6 * OUTBOX_VALUE_MAX + 9) - 1);
}

static enum td_err clean_fn(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct sweep *s = ctx;
    *s = (struct sweep){.before = 3, .max = 2};
    return outbox_clean(tx, s, ei);
}

static void test_clean(void **state)
{
    (void)state;
    want("ping", "w1");
    want("ping", "w2");
    for (int i = 0; i < 5; i++)
        assert_int_equal(append(&(struct outbox_event){.type = OUTBOX_PING, .at = i, .txn = "t"}),
                         TD_OK);
    static const int left[] = {3, 2, 2};
    static const bool more[] = {true, false, false};
    for (size_t i = 0; i < TD_NITEMS(left); i++) {
        struct sweep s;
        assert_int_equal(store_write(store, clean_fn, &s, NULL), TD_OK);
        assert_int_equal(s.more, more[i]);
        size_t lines = 0;
        for (const char *p = dump(EVENTS); (p = strchr(p, '\n')); p++)
            lines++;
        assert_int_equal(lines, left[i]);
        lines = 0;
        for (const char *p = dump(QUEUED); (p = strchr(p, '\n')); p++)
            lines++;
        assert_int_equal(lines, 2 * left[i]);
    }
}

static enum td_err audited(struct tx *tx, void *ctx, struct errinfo *ei)
{
    return audit_add(tx, 5, "T", "admin", ctx, "S1", "why", ei);
}

/* The event rides on the audit row; an action nobody decided about is refused. */
static void test_audit(void **state)
{
    (void)state;
    char left[] = "inventory.delete", key[] = "eab.revoke", quiet[] = "command.queue",
         unknown[] = "inventory.forget";
    want("device.left", "w1");
    want("eab.revoked", "w1");
    assert_int_equal(store_write(store, audited, left, NULL), TD_OK);
    assert_int_equal(store_write(store, audited, key, NULL), TD_OK);
    assert_int_equal(store_write(store, audited, quiet, NULL), TD_OK);
    assert_int_equal(store_write(store, audited, unknown, NULL), TD_INTERNAL);
    assert_string_equal(dump(EVENTS),
                        "5|T|device.left|admin|S1||{\"detail\":\"why\"}|\n"
                        "5|T|eab.revoked|admin|||{\"id\":\"S1\",\"detail\":\"why\"}|\n");
}

static void test_names(void **state)
{
    (void)state;
    for (int i = 0; i < OUTBOX_TYPES; i++) {
        struct span name = span_str(outbox_name((enum outbox_type)i));
        assert_true(name.n > 0);
        assert_int_equal(outbox_by_name(name), i);
    }
    assert_null(outbox_name(OUTBOX_TYPES));
    assert_int_equal(outbox_by_name(SPAN_LIT("device.lef")), OUTBOX_TYPES);
    assert_int_equal(outbox_by_name((struct span){NULL, 0}), OUTBOX_TYPES);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    log_setup(LOG_ERROR, LOG_FORMAT_LOGFMT, 2);
    const struct CMUnitTest tests[] = {
        T(test_nobody_wants), T(test_fan_out), T(test_once),  T(test_long_values),
        T(test_clean),        T(test_audit),   T(test_names),
    };
    int failed = cmocka_run_group_tests(tests, crypt_setup, NULL);
    buf_free(&text);
    return failed;
}
