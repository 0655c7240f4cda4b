#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../engine.h"
#include "mdm/crypt/digest.h"
#include "mdm/store/audit.h"
#include "web/auth/token.h"

static char dir[64], url[TEST_URL_SIZE];
static struct store *store;
static struct clock_fixed now;
static struct token_auth auth;

static const struct store_stmt own[] = {
    {"test.audit", "SELECT count(*) FROM audit WHERE action = ?1 AND actor = ?2", "tt", "i"},
    {"test.text", "SELECT hash FROM api_tokens", "", "b"},
};

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/td-auth-XXXXXX");
    assert_non_null(mkdtemp(dir));
    char file[100];
    snprintf(file, sizeof file, "%s/t.db", dir);
    test_store_url(file, url);
    clock_fixed_init(&now, 1000000);
    const struct store_stmts sets[] = {
        token_stmts, audit_stmts, outbox_stmts, {own, TD_NITEMS(own)}};
    const struct store_conf conf = {.twice = test_twice(),
                                    .url = url,
                                    .readers = 2,
                                    .batch = 16,
                                    .queue = 64,
                                    .sets = sets,
                                    .nsets = TD_NITEMS(sets),
                                    .clock = &clock_system};
    struct errinfo ei = {0};
    if (store_open(&conf, &store, &ei) != TD_OK)
        fail_msg("%s", ei.msg);
    auth = (struct token_auth){store, &now.clock};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    store_close(store);
    static const char *const names[] = {"t.db", "t.db-wal", "t.db-shm"};
    char path[96];
    for (size_t i = 0; i < TD_NITEMS(names); i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
    return 0;
}

struct made {
    char id[RNG_ID_SIZE], text[TOKEN_TEXT_SIZE];
};

static struct made make(const char *scopes, int64_t ttl)
{
    struct made m;
    struct errinfo ei = {0};
    if (token_create(store, &now.clock, &rng_system, "ci", scopes, ttl, "test", m.id, m.text,
                     &ei) != TD_OK)
        fail_msg("%s", ei.msg);
    return m;
}

/* Asks with an Authorization header (NULL: none) for a route of that scope. */
static enum td_err ask(const char *header, const char *scope, struct errinfo *ei)
{
    arena_auto a;
    arena_init(&a, 65536);
    const struct req_header h = {SPAN_LIT("authorization"), span_str(header)};
    struct req req = {.headers = &h, .nheaders = header ? 1 : 0, .arena = &a};
    const struct route r = {.access = ROUTE_TOKEN, .scope = scope};
    *ei = (struct errinfo){0};
    enum td_err e = token_authorize(&auth, &r, &req, ei);
    if (e == TD_OK) {
        assert_string_equal(req.principal.name, "ci");
        assert_true(req.principal.id[0] && req.principal.scopes[0]);
    } else {
        assert_null(req.principal.id);
    }
    return e;
}

static enum td_err ask_token(const struct made *m, const char *scope, struct errinfo *ei)
{
    char header[128];
    snprintf(header, sizeof header, "Bearer %s", m->text);
    return ask(header, scope, ei);
}

struct query {
    int which;
    const char *a, *b;
    struct span blob;
    int64_t n;
};

static enum td_err query_tx(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct query *q = ctx;
    struct cur c;
    if (q->which == 0) {
        TD_TRY(tx_row(tx, &own[0], SV_LIST(SV_TEXT(q->a), SV_TEXT(q->b)), &c, ei));
        q->n = cur_int(&c, 0);
        cur_end(&c);
        return TD_OK;
    }
    q->n = 0;
    TD_TRY(tx_query(tx, &own[1], NULL, 0, &c, ei));
    enum td_err e;
    while ((e = cur_next(&c, ei)) == TD_OK) {
        struct span hash = cur_span(&c, 0);
        q->n += memmem(hash.p, hash.n, q->blob.p, q->blob.n) != NULL;
    }
    return e == TD_NOTFOUND ? TD_OK : e;
}

static void test_scopes(void **state)
{
    (void)state;
    struct errinfo ei;
    struct made some = make("inventory:read devices:read", 0), all = make("admin", 0);
    assert_int_equal(ask_token(&some, "inventory:read", &ei), TD_OK);
    assert_int_equal(ask_token(&some, "devices:read", &ei), TD_OK);
    static const char *const none[] = {"inventory:write", "inventory", "inventory:rea", "admin",
                                       "tokens"};
    for (size_t i = 0; i < TD_NITEMS(none); i++) {
        assert_int_equal(ask_token(&some, none[i], &ei), TD_FORBIDDEN);
        assert_string_equal(ei.reason, "scope-missing");
    }
    assert_int_equal(ask_token(&all, "inventory:write", &ei), TD_OK);
    assert_true(token_has_scope("a b", SPAN_LIT("b")) && !token_has_scope("ab", SPAN_LIT("a")));
    assert_false(token_has_scope("", SPAN_LIT("a")) || token_has_scope(NULL, SPAN_LIT("a")));
}

static void test_refused_headers(void **state)
{
    (void)state;
    struct errinfo ei;
    struct made m = make("admin", 0);
    assert_int_equal(ask(NULL, "tokens", &ei), TD_UNAUTH);
    assert_string_equal(ei.reason, "token-missing");
    char header[256];
    snprintf(header, sizeof header, "bearer %s", m.text); /* RFC 9110: the scheme has no case */
    assert_int_equal(ask(header, "tokens", &ei), TD_OK);
    static const char *const forms[] = {"",           "Bearer",     "Bearer ",    "Basic %s",
                                        "%s",         "Bearer  %s", "Bearer %s ", "Bearer %sx",
                                        "Bearer x%s", "Bearer\t%s", "Token %s"};
    for (size_t i = 0; i < TD_NITEMS(forms); i++) {
        const char *at = strstr(forms[i], "%s");
        if (at)
            snprintf(header, sizeof header, "%.*s%s%s", (int)(at - forms[i]), forms[i], m.text,
                     at + 2);
        if (ask(at ? header : forms[i], "tokens", &ei) != TD_UNAUTH)
            fail_msg("%s was taken", forms[i]);
        assert_string_equal(ei.reason, "token-unknown");
    }
    /* one bit of the token changed */
    m.text[20] = m.text[20] == 'A' ? 'B' : 'A';
    assert_int_equal(ask_token(&m, "tokens", &ei), TD_UNAUTH);
}

static void test_expiry(void **state)
{
    (void)state;
    struct errinfo ei;
    struct made m = make("admin", 100);
    now.at += 99;
    assert_int_equal(ask_token(&m, "tokens", &ei), TD_OK);
    now.at += 1;
    assert_int_equal(ask_token(&m, "tokens", &ei), TD_UNAUTH);
    assert_string_equal(ei.reason, "token-expired");
}

static void test_delete_is_immediate(void **state)
{
    (void)state;
    struct errinfo ei;
    struct made m = make("admin", 0), other = make("admin", 0);
    assert_int_equal(ask_token(&m, "tokens", &ei), TD_OK);
    assert_int_equal(token_delete(store, &now.clock, m.id, "me", &ei), TD_OK);
    assert_int_equal(ask_token(&m, "tokens", &ei), TD_UNAUTH);
    assert_int_equal(ask_token(&other, "tokens", &ei), TD_OK);
    assert_int_equal(token_delete(store, &now.clock, m.id, "me", &ei), TD_NOTFOUND);
    struct query q = {.a = "token.delete", .b = "me"};
    assert_int_equal(store_read(store, query_tx, &q, NULL), TD_OK);
    assert_int_equal(q.n, 1);
    q = (struct query){.a = "token.create", .b = "test"};
    assert_int_equal(store_read(store, query_tx, &q, NULL), TD_OK);
    assert_int_equal(q.n, 2);
}

static void test_stored_hashed(void **state)
{
    (void)state;
    struct made m = make("admin", 0);
    assert_int_equal(strlen(m.text), TOKEN_TEXT_SIZE - 1);
    assert_memory_equal(m.text, "td_", 3);
    uint8_t hash[SHA256_SIZE];
    digest_sha256(span_str(m.text), hash);
    struct query q = {.which = 1, .blob = SPAN_ARR(hash)};
    assert_int_equal(store_read(store, query_tx, &q, NULL), TD_OK);
    assert_int_equal(q.n, 1);
    q = (struct query){.which = 1, .blob = span_of(m.text, 8)};
    assert_int_equal(store_read(store, query_tx, &q, NULL), TD_OK);
    assert_int_equal(q.n, 0);
}

static void test_create_refused(void **state)
{
    (void)state;
    static char long_name[202];
    memset(long_name, 'n', 201);
    static const struct {
        const char *name, *scopes;
    } cases[] = {
        {"a", ""},      {"a", "all"},  {"a", " admin"},      {"a", "admin  tokens"},
        {"a", "ADMIN"}, {"", "admin"}, {long_name, "admin"},
    };
    char id[RNG_ID_SIZE], text[TOKEN_TEXT_SIZE];
    for (size_t i = 0; i < TD_NITEMS(cases); i++) {
        enum td_err e = token_create(store, &now.clock, &rng_system, cases[i].name, cases[i].scopes,
                                     0, "test", id, text, NULL);
        if (e != TD_INVAL)
            fail_msg("'%s' '%s' was taken", cases[i].name, cases[i].scopes);
    }
    long_name[200] = 0;
    assert_int_equal(
        token_create(store, &now.clock, &rng_system, long_name, "admin", 0, "test", id, text, NULL),
        TD_OK);
}

struct list {
    struct arena a;
    const char *after;
    size_t max, n;
    struct token *t;
    int64_t count;
};

static enum td_err list_tx(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct list *l = ctx;
    TD_TRY(token_count(tx, &l->count, ei));
    return token_list(tx, l->after, l->max, &l->a, &l->t, &l->n, ei);
}

static void test_list(void **state)
{
    (void)state;
    struct list l = {.after = "", .max = 2};
    arena_init(&l.a, 65536);
    make("admin", 0);
    make("tokens", 50);
    make("audit:read", 0);
    size_t seen = 0;
    do {
        assert_int_equal(store_read(store, list_tx, &l, NULL), TD_OK);
        assert_int_equal(l.count, 3);
        for (size_t i = 0; i < l.n; i++) {
            assert_true(strcmp(l.t[i].id, l.after) > 0);
            assert_int_equal(l.t[i].created_at, 1000000);
            assert_int_equal(l.t[i].expires_at, strcmp(l.t[i].scopes, "tokens") ? 0 : 1000050);
            l.after = l.t[i].id;
        }
        seen += l.n;
    } while (l.n == l.max);
    assert_int_equal(seen, 3);
    arena_free(&l.a);
}

int main(void)
{
    if (crypt_init(NULL) != TD_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_scopes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_headers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_expiry, setup, teardown),
        cmocka_unit_test_setup_teardown(test_delete_is_immediate, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stored_hashed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_create_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_list, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
