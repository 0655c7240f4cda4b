/* The REST API through its own route table, tokens and database; no sockets. */
#include "tests/unit/core/fixture.h"
#include "tests/unit/device/vectors.h"

#include "mdm/base/b64.h"
#include "mdm/base/limits.h"
#include "mdm/wire/json.h"
#include "web/api/api.h"
#include "web/auth/token.h"
#include "web/http/problem.h"
#include "web/http/router.h"

struct world {
    struct fx *f;
    struct store *store;
    struct event_bus bus;
    struct inventory inventory;
    struct enroll *enroll;
    struct cert *root;
    struct attest_roots *roots;
    struct api api;
    struct router *router;
    struct token_auth auth;
    char admin[TOKEN_TEXT_SIZE];
    int left;
    /* the last answer */
    int status;
    char *body;
    char headers[512];
    struct json *json;
};

static enum td_err w_listed(void *ctx, struct tx *tx, const char *serial, struct errinfo *ei)
{
    struct world *w = ctx;
    struct inv_device d;
    return inv_get(tx, serial, &w->f->a, &d, ei);
}

static enum td_err w_client_id(void *ctx, struct tx *tx, const char *id, const char *serial,
                               const char *profile, int64_t now, int64_t expires,
                               struct errinfo *ei)
{
    (void)ctx, (void)tx, (void)id, (void)serial, (void)profile, (void)now, (void)expires, (void)ei;
    return TD_OK;
}

static enum td_err w_sign(void *ctx, struct span content, struct arena *a, struct span *ret,
                          struct errinfo *ei)
{
    (void)ctx, (void)a, (void)ei;
    *ret = content;
    return TD_OK;
}

static enum td_err w_leaving(void *ctx, const void *payload, struct errinfo *ei)
{
    const struct inv_event *l = payload;
    ((struct world *)ctx)->left++;
    return core_leave(l->tx, l->serial, l->now, ei);
}

static void open_all(struct world *w)
{
    struct fx *f = w->f;
    core_close(f->core);
    store_close(f->store);
    const struct store_stmts sets[] = {core_stmts,      attempt_stmts,  audit_stmts, outbox_stmts,
                                       token_stmts,     api_stmts,      ca_stmts,    enroll_stmts,
                                       inventory_stmts, ca_revoke_stmts};
    const struct store_conf sc = {.twice = test_twice(),
                                  .url = f->url,
                                  .readers = 2,
                                  .batch = 64,
                                  .queue = 256,
                                  .sets = sets,
                                  .nsets = TD_NITEMS(sets),
                                  .clock = &f->clock.clock};
    assert_int_equal(store_open(&sc, &f->store, NULL), TD_OK);
    w->store = f->store;
    fx_open_core(f);
    event_bus_init(&w->bus);
    assert_int_equal(event_subscribe(&w->bus, EVENT_DEVICE_LEAVING, w_leaving, w), TD_OK);
    w->inventory = (struct inventory){w->store, &w->bus, &f->clock.clock, &rng_system};
    struct span der;
    assert_int_equal(b64_dec(&f->a, span_str(vector_cert), &der), TD_OK);
    assert_int_equal(cert_parse(der, &w->root, NULL), TD_OK);
    const struct enroll_conf ec = {
        .store = w->store,
        .clock = &f->clock.clock,
        .rng = &rng_system,
        .root = w->root,
        .public_url = "https://mdm.example.com:8443",
        .device_url = "https://mdm.example.com:8444",
        .organization = "Example",
        .identifier = "com.example.enrollment",
        .topic = FX_TOPIC,
        .cert_profile = "management",
        .key_size = 256,
        .invitation_ttl = 3600,
        .client_id_ttl = 600,
        .ops = {.ctx = w, .device_listed = w_listed, .client_id_add = w_client_id, .sign = w_sign}};
    assert_int_equal(enroll_open(&ec, &w->enroll, NULL), TD_OK);
    assert_int_equal(attest_roots_new(NULL, 0, &w->roots, NULL), TD_OK);
    w->api = (struct api){.store = w->store,
                          .clock = &f->clock.clock,
                          .rng = &rng_system,
                          .inventory = &w->inventory,
                          .core = f->core,
                          .enroll = w->enroll,
                          .roots = w->roots};
    w->auth = (struct token_auth){w->store, &f->clock.clock};
}

static int setup(void **state)
{
    void *fx = NULL;
    if (fx_setup(&fx))
        return -1;
    struct world *w = calloc(1, sizeof *w);
    w->f = fx;
    open_all(w);
    const struct route_set set = {api_routes, api_nroutes, &w->api};
    struct errinfo ei = {0};
    if (router_new(&set, 1, &w->router, &ei) != TD_OK)
        fail_msg("%s", ei.msg);
    char id[RNG_ID_SIZE];
    assert_int_equal(token_create(w->store, w->api.clock, &rng_system, "root", "admin", 0, "test",
                                  id, w->admin, NULL),
                     TD_OK);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    void *fx = w->f;
    router_free(w->router);
    enroll_close(w->enroll);
    attest_roots_free(w->roots);
    cert_free(w->root);
    free(w);
    return fx_teardown(&fx);
}

struct ask {
    const char *token; /* NULL: the administrator's; "": none */
    const char *type;  /* NULL: application/json when there is a body */
    const char *header, *value;
};

static void keep_answer(struct world *w, const struct resp *resp)
{
    size_t n = 0;
    w->headers[0] = 0;
    for (size_t i = 0; i < resp->nheaders; i++)
        n += (size_t)snprintf(w->headers + n, sizeof w->headers - n, "%s: %s\n",
                              resp->headers[i].name, resp->headers[i].value);
    w->status = resp->status;
    w->body = arena_dup(&w->f->a, buf_view(&resp->body));
    w->json = NULL;
    if (resp->body.n)
        assert_int_equal(json_parse(buf_view(&resp->body), &w->f->a, &w->json, NULL), TD_OK);
    else
        assert_int_equal(resp->status, 204);
}

/* One request as the server would run it; `path` may have a query. Returns the status. */
static int call_n(struct world *w, enum req_method m, const char *path, struct span body,
                  const struct ask *how)
{
    static const struct ask plain;
    const struct ask *q = how ? how : &plain;
    struct fx *f = w->f;
    struct req_header h[2];
    struct span rest = span_str(path), p;
    const char *query = strchr(path, '?');
    p = query ? span_of(path, (size_t)(query - path)) : rest;
    size_t n = 0;
    char *bearer = arena_printf(&f->a, "Bearer %s", q->token ? q->token : w->admin);
    if (!q->token || q->token[0])
        h[n++] = (struct req_header){SPAN_LIT("Authorization"), span_str(bearer)};
    if (q->header)
        h[n++] = (struct req_header){span_str(q->header), span_str(q->value)};
    struct router_hit hit;
    struct req req = {.method = m,
                      .listener = REQ_ON_PUBLIC,
                      .path = p,
                      .query = query ? span_str(query + 1) : span_str(""),
                      .body = body,
                      .content_type = span_str(q->type  ? q->type
                                               : body.n ? "application/json"
                                                        : ""),
                      .headers = h,
                      .nheaders = n,
                      .peer_addr = "192.0.2.9:1",
                      .id = "r",
                      .arena = &f->a};
    struct resp resp;
    resp_init(&resp, &f->a, LIMIT_REQ_ARENA);
    struct errinfo ei = {0};
    enum td_err e = router_match(w->router, REQ_ON_PUBLIC, m, p, &hit);
    if (e == TD_OK) {
        memcpy(req.params, hit.params, sizeof req.params);
        req.ctx = hit.ctx;
        e = body.n > hit.route->body_max ? TD_LIMIT
                                         : token_authorize(&w->auth, hit.route, &req, &ei);
    }
    if (e == TD_OK)
        e = hit.route->fn(&req, &resp, &ei);
    if (e != TD_OK)
        http_problem(&req, &resp, e, &ei);
    keep_answer(w, &resp);
    resp_free(&resp);
    return w->status;
}

static int call(struct world *w, enum req_method m, const char *path, const char *body,
                const struct ask *how)
{
    return call_n(w, m, path, span_str(body), how);
}

static const char *str(const struct world *w, const char *key)
{
    const char *s = NULL;
    if (json_get_str(w->json, key, &s) != TD_OK)
        fail_msg("no %s in %s", key, w->body);
    return s;
}

#define INV "/api/v1/inventory/devices"

/* --- every route ------------------------------------------------------------------------------ */

static void test_table(void **state)
{
    struct world *w = *state;
    char id[RNG_ID_SIZE], other[TOKEN_TEXT_SIZE];
    /* metrics:read is a scope, but of no route here */
    assert_int_equal(token_create(w->store, w->api.clock, &rng_system, "m", "metrics:read", 0,
                                  "test", id, other, NULL),
                     TD_OK);
    const struct ask none = {.token = ""}, wrong = {.token = other};
    for (size_t i = 0; i < api_nroutes; i++) {
        const struct route *r = &api_routes[i];
        if (strcmp(r->path, "/api/v1/openapi.json") == 0)
            continue; /* open to all: it is in the manual */
        assert_int_equal(r->access, ROUTE_TOKEN);
        assert_int_equal(r->listeners, REQ_ON_PUBLIC);
        assert_true(r->doc && r->doc[0]);
        assert_int_equal(r->methods & (r->methods - 1), 0); /* one method a row */
        /* a token of that one scope can be made: the scope is in the table of scopes */
        char text[TOKEN_TEXT_SIZE];
        assert_int_equal(token_create(w->store, w->api.clock, &rng_system, "t", r->scope, 0, "test",
                                      id, text, NULL),
                         TD_OK);
        char path[128];
        size_t n = 0;
        for (const char *p = r->path; *p; p++) {
            if (*p == '{')
                p = strchr(p, '}');
            path[n++] = *p == '}' ? 'X' : *p;
        }
        path[n] = 0;
        enum req_method m = (enum req_method)r->methods;
        if (call(w, m, path, "", &none) != 401 || strcmp(str(w, "reason"), "token-missing") != 0)
            fail_msg("%s without a token: %d", path, w->status);
        if (call(w, m, path, "", &wrong) != 403 || strcmp(str(w, "reason"), "scope-missing") != 0)
            fail_msg("%s with another scope: %d", path, w->status);
    }
}

/* --- inventory -------------------------------------------------------------------------------- */

static void test_inventory_life(void **state)
{
    struct world *w = *state;
    assert_int_equal(call(w, REQ_GET, INV "/C02X", "", NULL), 404);
    assert_int_equal(call(w, REQ_PUT, INV "/C02X", "{\"name\":\"a\",\"owner\":\"ada\"}", NULL),
                     201);
    assert_string_equal(str(w, "serial"), "C02X");
    assert_string_equal(str(w, "source"), "api");
    assert_string_equal(str(w, "created_at"), "2027-01-15T08:00:00Z");
    assert_string_equal(w->headers, "ETag: \"1\"\n");
    assert_int_equal(call(w, REQ_PUT, INV "/C02X", "{\"name\":\"b\"}", NULL), 200);
    assert_string_equal(w->headers, "ETag: \"2\"\n");
    assert_int_equal(call(w, REQ_GET, INV "/C02X", "", NULL), 200);
    assert_string_equal(str(w, "name"), "b");
    assert_string_equal(w->headers, "ETag: \"2\"\n");
    assert_int_equal(call(w, REQ_DELETE, INV "/C02X", "", NULL), 204);
    assert_int_equal(w->left, test_runs(1));
    assert_int_equal(call(w, REQ_DELETE, INV "/C02X", "", NULL), 404);
    assert_int_equal(call(w, REQ_GET, INV "/C02X", "", NULL), 404);
    assert_int_equal(w->left, test_runs(1));
}

static void test_preconditions(void **state)
{
    struct world *w = *state;
    static const struct {
        enum req_method m;
        const char *header, *value;
        int status;
    } cases[] = {
        {REQ_PUT, "If-Match", "\"1\"", 412}, /* nothing is there yet */
        {REQ_PUT, "If-Match", "*", 412},      {REQ_PUT, "If-None-Match", "*", 201},
        {REQ_PUT, "If-None-Match", "*", 412}, {REQ_PUT, "If-None-Match", "\"1\"", 400},
        {REQ_PUT, "If-Match", "\"9\"", 412},  {REQ_PUT, "If-Match", "1", 400},
        {REQ_PUT, "If-Match", "\"\"", 400},   {REQ_PUT, "If-Match", "W/\"1\"", 400},
        {REQ_PUT, "If-Match", "\"0\"", 400},  {REQ_PUT, "If-Match", "\"1\"", 200},
        {REQ_PUT, "if-match", "*", 200},      {REQ_DELETE, "If-Match", "\"7\"", 412},
        {REQ_DELETE, "If-Match", "x", 400},   {REQ_DELETE, "If-Match", "*", 204},
    };
    for (size_t i = 0; i < TD_NITEMS(cases); i++) {
        const struct ask how = {.header = cases[i].header, .value = cases[i].value};
        char body[64];
        snprintf(body, sizeof body, "{\"name\":\"n%zu\"}", i);
        const char *b = cases[i].m == REQ_PUT ? body : "";
        if (call(w, cases[i].m, INV "/P1", b, &how) != cases[i].status)
            fail_msg("%zu: %d %s", i, w->status, w->body);
    }
}

static void test_put_refused(void **state)
{
    struct world *w = *state;
    static char deep[200], longer[400];
    memset(deep, '[', 100);
    snprintf(longer, sizeof longer, "{\"name\":\"%0300d\"}", 0);
    static const struct {
        const char *body, *type;
        int status;
    } cases[] = {
        {"", "application/json", 400},
        {"{", NULL, 400},
        {"[]", NULL, 400},
        {"null", NULL, 400},
        {"{} x", NULL, 400},
        {deep, NULL, 413},
        {"{\"name\":1}", NULL, 400},
        {"{\"name\":null}", NULL, 400},
        {"{\"name\":\"a\",\"name\":\"b\"}", NULL, 400},
        {"{\"nam\":\"a\"}", NULL, 400},
        {"{\"serial\":\"OTHER\"}", NULL, 400},
        {"{\"name\":\"a\\u0000b\"}", NULL, 400},
        {"{\"name\":\"\xff\"}", NULL, 400},
        {longer, NULL, 400},
        {"{}", "text/plain", 415},
        {"{}", "", 415},
        {"{\"serial\":\"PUT1\"}", NULL, 201},
    };
    for (size_t i = 0; i < TD_NITEMS(cases); i++) {
        const struct ask how = {.type = cases[i].type};
        if (call(w, REQ_PUT, INV "/PUT1", cases[i].body, &how) != cases[i].status)
            fail_msg("%zu: %d %s", i, w->status, w->body);
    }
    static char path[200];
    static const char *const serials[] = {"%41", "a\"b", "a'b", "a%2Fb", "a`"};
    for (size_t i = 0; i < TD_NITEMS(serials); i++) {
        snprintf(path, sizeof path, INV "/%s", serials[i]);
        assert_int_equal(call(w, REQ_PUT, path, "{}", NULL), 400);
    }
    int n = snprintf(path, sizeof path, INV "/");
    memset(path + n, 'S', LIMIT_SERIAL);
    assert_int_equal(call(w, REQ_PUT, path, "{}", NULL), 201);
    path[n + LIMIT_SERIAL] = 'S';
    assert_int_equal(call(w, REQ_PUT, path, "{}", NULL), 400);
    static char big[LIMIT_BODY_JSON + 1];
    assert_int_equal(call_n(w, REQ_PUT, INV "/BIG", SPAN_ARR(big), NULL), 413);
}

static void test_pages(void **state)
{
    struct world *w = *state;
    char path[512];
    for (int i = 0; i < 7; i++) {
        snprintf(path, sizeof path, INV "/S%d", i);
        assert_int_equal(call(w, REQ_PUT, path, "{}", NULL), 201);
    }
    int seen = 0, pages = 0;
    snprintf(path, sizeof path, INV "?limit=3");
    for (;;) {
        assert_int_equal(call(w, REQ_GET, path, "", NULL), 200);
        struct json *list = json_member(w->json, "devices");
        for (size_t i = 0; i < json_size(list); i++, seen++) {
            const char *serial;
            char want[16];
            snprintf(want, sizeof want, "S%d", seen);
            assert_int_equal(json_get_str(json_element(list, i), "serial", &serial), TD_OK);
            assert_string_equal(serial, want);
        }
        pages++;
        const char *next;
        if (json_get_str(w->json, "next_cursor", &next) != TD_OK)
            break;
        snprintf(path, sizeof path, INV "?limit=3&cursor=%s", next);
    }
    assert_int_equal(seen, 7);
    assert_int_equal(pages, 3);
    static const char *const bad[] = {"limit=0", "limit=1001", "limit=",   "limit=-1",   "limit=x",
                                      "cursor=", "cursor=%21", "cursor=A", "cursor=UzE="};
    static const char *const lists[] = {INV,
                                        "/api/v1/devices",
                                        "/api/v1/tokens",
                                        "/api/v1/audit",
                                        "/api/v1/attempts",
                                        "/api/v1/devices/S1/commands"};
    for (size_t l = 0; l < TD_NITEMS(lists); l++) {
        for (size_t i = 0; i < TD_NITEMS(bad); i++) {
            snprintf(path, sizeof path, "%s?%s", lists[l], bad[i]);
            if (call(w, REQ_GET, path, "", NULL) != 400)
                fail_msg("%s: %d", path, w->status);
        }
        snprintf(path, sizeof path, "%s?limit=1000", lists[l]);
        assert_int_equal(call(w, REQ_GET, path, "", NULL), 200);
    }
    /* a cursor of another kind of list */
    assert_int_equal(call(w, REQ_GET, "/api/v1/audit?cursor=UzE", "", NULL), 400);
}

static void test_import(void **state)
{
    struct world *w = *state;
    const struct ask csv = {.type = "text/csv"};
    const char *path = "/api/v1/inventory/import";
    assert_int_equal(call(w, REQ_POST, path, "serial,owner\nA1,x\nA2,y\n", &csv), 200);
    assert_string_equal(w->body, "{\"created\":2,\"changed\":0,\"unchanged\":0}");
    assert_int_equal(call(w, REQ_POST, path, "serial,owner\nA1,x\nA2,z\nA3,\n", &csv), 200);
    assert_string_equal(w->body, "{\"created\":1,\"changed\":1,\"unchanged\":1}");
    /* all or nothing */
    assert_int_equal(call(w, REQ_POST, path, "serial,owner\nA4,x\nA 5,y\n", &csv), 400);
    assert_non_null(strstr(str(w, "detail"), "line 3"));
    assert_int_equal(call(w, REQ_GET, INV "/A4", "", NULL), 404);
    assert_int_equal(call(w, REQ_POST, path, "{}", NULL), 415);
    assert_int_equal(call(w, REQ_POST, path, "", &csv), 400);
}

/* --- devices ---------------------------------------------------------------------------------- */

static void test_devices(void **state)
{
    struct world *w = *state;
    assert_int_equal(call(w, REQ_GET, "/api/v1/devices/SERIALA", "", NULL), 404);
    assert_int_equal(call(w, REQ_PUT, INV "/SERIALA", "{\"owner\":\"ada\"}", NULL), 201);
    assert_int_equal(call(w, REQ_GET, "/api/v1/devices/SERIALA", "", NULL), 200);
    assert_string_equal(str(w, "owner"), "ada");
    assert_int_equal(json_kind(json_member(w->json, "enrollment")), JSON_K_NULL);
    fx_enrol_a(w->f);
    assert_int_equal(call(w, REQ_GET, "/api/v1/devices/SERIALA", "", NULL), 200);
    const char *s;
    assert_int_equal(json_get_str(json_member(w->json, "enrollment"), "state", &s), TD_OK);
    assert_string_equal(s, "enrolled");
    assert_int_equal(call(w, REQ_GET, "/api/v1/devices", "", NULL), 200);
    assert_int_equal(json_size(json_member(w->json, "devices")), 1);
    assert_int_equal(call(w, REQ_GET, "/api/v1/devices/SERIALA/certificates", "", NULL), 200);
    assert_string_equal(w->body, "{\"certificates\":[]}");
    assert_int_equal(call(w, REQ_GET, "/api/v1/devices/SERIALA/evidence", "", NULL), 200);
    assert_string_equal(w->body, "{\"evidence\":[]}");
    assert_int_equal(call(w, REQ_GET, "/api/v1/devices/a%20b", "", NULL), 400);
    /* leaving shows */
    assert_int_equal(call(w, REQ_DELETE, INV "/SERIALA", "", NULL), 204);
    assert_int_equal(call(w, REQ_GET, "/api/v1/devices/SERIALA", "", NULL), 200);
    bool listed;
    assert_int_equal(json_get_bool(w->json, "listed", &listed), TD_OK);
    assert_false(listed);
    assert_int_equal(json_get_str(json_member(w->json, "enrollment"), "state", &s), TD_OK);
    assert_string_equal(s, "leaving");
}

static enum td_err add_attempts(struct tx *tx, void *ctx, struct errinfo *ei)
{
    (void)ctx;
    for (int i = 0; i < 5; i++) {
        const struct attempt t = {.at = FX_NOW + i,
                                  .serial = i % 2 ? "SERIALA" : "",
                                  .source = "acme",
                                  .outcome = "refused",
                                  .reason = "freshness-mismatch",
                                  .device_error = "<err> \"Apple's\" words"};
        TD_TRY(attempt_add(tx, &t, ei));
    }
    return TD_OK;
}

static void test_attempts(void **state)
{
    struct world *w = *state;
    assert_int_equal(store_write(w->store, add_attempts, NULL, NULL), TD_OK);
    assert_int_equal(call(w, REQ_GET, "/api/v1/attempts?limit=4", "", NULL), 200);
    assert_int_equal(json_size(json_member(w->json, "attempts")), 4);
    char path[256];
    snprintf(path, sizeof path, "/api/v1/attempts?limit=4&cursor=%s", str(w, "next_cursor"));
    assert_int_equal(call(w, REQ_GET, path, "", NULL), 200);
    assert_int_equal(json_size(json_member(w->json, "attempts")), 1);
    assert_int_equal(call(w, REQ_GET, "/api/v1/devices/SERIALA/attempts", "", NULL), 200);
    struct json *list = json_member(w->json, "attempts");
    assert_int_equal(json_size(list), 2);
    const char *s;
    assert_int_equal(json_get_str(json_element(list, 0), "device_error", &s), TD_OK);
    assert_string_equal(s, "<err> \"Apple's\" words");
    assert_int_equal(json_get_str(json_element(list, 0), "at", &s), TD_OK);
    assert_string_equal(s, "2027-01-15T08:00:03Z"); /* newest first */
}

/* --- commands --------------------------------------------------------------------------------- */

#define CMDS "/api/v1/devices/SERIALA/commands"

static void test_commands(void **state)
{
    struct world *w = *state;
    const char *info = "{\"request_type\":\"DeviceInformation\",\"queries\":[\"OSVersion\"]}";
    assert_int_equal(call(w, REQ_POST, CMDS, info, NULL), 404); /* not enrolled */
    fx_enrol_a(w->f);
    assert_int_equal(call(w, REQ_POST, CMDS, info, NULL), 201);
    char *uuid = arena_strdup(&w->f->a, str(w, "uuid"));
    assert_string_equal(str(w, "state"), "queued");
    assert_non_null(strstr(w->headers, uuid));
    char path[160];
    snprintf(path, sizeof path, CMDS "/%s", uuid);
    assert_int_equal(call(w, REQ_GET, path, "", NULL), 200);
    assert_int_equal(json_kind(json_member(w->json, "result")), JSON_K_NULL);
    assert_string_equal(str(w, "created_by"), "token:root");
    assert_int_equal(fx_connect(w->f, 'a', FX_UDID_A, "Idle", NULL), TD_OK);
    assert_int_equal(fx_connect(w->f, 'a', FX_UDID_A, "Acknowledged", uuid), TD_OK);
    assert_int_equal(call(w, REQ_GET, path, "", NULL), 200);
    assert_string_equal(str(w, "state"), "acknowledged");
    const char *s;
    assert_int_equal(json_get_str(json_member(w->json, "result"), "Status", &s), TD_OK);
    assert_string_equal(s, "Acknowledged");
    assert_null(json_member(w->json, "result_raw"));
    snprintf(path, sizeof path, CMDS "/%s?raw=1", uuid);
    assert_int_equal(call(w, REQ_GET, path, "", NULL), 200);
    struct span raw;
    assert_int_equal(b64_dec(&w->f->a, span_str(str(w, "result_raw")), &raw), TD_OK);
    assert_true(span_starts(raw, SPAN_LIT("<?xml")));
    /* another device does not have it */
    snprintf(path, sizeof path, "/api/v1/devices/SERIALB/commands/%s", uuid);
    assert_int_equal(call(w, REQ_GET, path, "", NULL), 404);
    assert_int_equal(call(w, REQ_GET, CMDS "/nothing", "", NULL), 404);
    assert_int_equal(call(w, REQ_GET, CMDS, "", NULL), 200);
    assert_int_equal(json_size(json_member(w->json, "commands")), 1);
}

static void test_raw_commands(void **state)
{
    struct world *w = *state;
    fx_enrol_a(w->f);
    const struct ask xml = {.type = "application/xml"};
    const char *named = FX_HEAD
        FX_S("CommandUUID", "A0000000-0000-4000-8000-00000000000A") "<key>Command</key><dict>" FX_S(
            "RequestType", "AvailableOSUpdates") "</dict>" FX_TAIL;
    assert_int_equal(call(w, REQ_POST, CMDS, named, &xml), 201);
    assert_string_equal(str(w, "uuid"), "A0000000-0000-4000-8000-00000000000A");
    assert_int_equal(call(w, REQ_POST, CMDS, named, &xml), 409); /* the same again */
    static const struct {
        const char *body, *type;
        int status;
    } cases[] = {
        {FX_HEAD FX_TAIL, "application/xml", 400},
        {FX_HEAD FX_S("RequestType", "") FX_TAIL, "application/xml", 400},
        {"<plist", "application/xml", 400},
        {"", "application/xml", 400},
        {"bplist00", "application/x-plist", 400},
        {"{\"request_type\":\"EraseDevice\"}", NULL, 400},
        {"{\"request_type\":1}", NULL, 400},
        {"{}", NULL, 400},
        {"[]", NULL, 400},
        {"{\"request_type\":\"DeviceInformation\",\"queries\":[\"a\"],\"extra\":1}", NULL, 400},
        {"{\"request_type\":\"ProfileList\"}", "text/plain", 415},
    };
    for (size_t i = 0; i < TD_NITEMS(cases); i++) {
        const struct ask how = {.type = cases[i].type};
        if (call(w, REQ_POST, CMDS, cases[i].body, &how) != cases[i].status)
            fail_msg("%zu: %d %s", i, w->status, w->body);
    }
}

/* --- invitations, tokens, audit --------------------------------------------------------------- */

static void test_invitations(void **state)
{
    struct world *w = *state;
    const char *path = "/api/v1/invitations";
    assert_int_equal(call(w, REQ_POST, path, "{\"serial\":\"N1\"}", NULL), 404); /* not listed */
    assert_int_equal(call(w, REQ_PUT, INV "/N1", "{}", NULL), 201);
    assert_int_equal(call(w, REQ_POST, path, "{\"serial\":\"N1\",\"ttl\":60}", NULL), 201);
    assert_string_equal(str(w, "expires_at"), "2027-01-15T08:01:00Z");
    assert_memory_equal(str(w, "url"), "https://mdm.example.com:8443/enroll/", 36);
    assert_non_null(strstr(str(w, "qr_svg"), "<svg"));
    static const char *const bad[] = {
        "{}",
        "{\"serial\":1}",
        "{\"serial\":\"\"}",
        "{\"serial\":\"a b\"}",
        "{\"serial\":\"N1\",\"ttl\":59}",
        "{\"serial\":\"N1\",\"ttl\":7776001}",
        "{\"serial\":\"N1\",\"ttl\":\"60\"}",
        "{\"serial\":\"N1\",\"for\":\"ever\"}",
    };
    for (size_t i = 0; i < TD_NITEMS(bad); i++)
        if (call(w, REQ_POST, path, bad[i], NULL) != 400)
            fail_msg("%s: %d", bad[i], w->status);
}

static void test_tokens(void **state)
{
    struct world *w = *state;
    const char *path = "/api/v1/tokens";
    assert_int_equal(call(w, REQ_POST, path,
                          "{\"name\":\"ops\",\"scopes\":\"tokens devices:read\",\"ttl\":60}", NULL),
                     201);
    char *ops = arena_strdup(&w->f->a, str(w, "token")), *id = arena_strdup(&w->f->a, str(w, "id"));
    const struct ask as_ops = {.token = ops};
    assert_int_equal(call(w, REQ_GET, "/api/v1/devices", "", &as_ops), 200);
    /* the list shows no token */
    assert_int_equal(call(w, REQ_GET, path, "", &as_ops), 200);
    assert_null(strstr(w->body, "td_"));
    assert_int_equal(json_size(json_member(w->json, "tokens")), 2);
    /* a token gives no scope that it does not hold */
    static const char *const more[] = {"admin", "inventory:write", "devices:read admin",
                                       "tokens inventory:read"};
    char body[128];
    for (size_t i = 0; i < TD_NITEMS(more); i++) {
        snprintf(body, sizeof body, "{\"name\":\"x\",\"scopes\":\"%s\"}", more[i]);
        if (call(w, REQ_POST, path, body, &as_ops) != 403)
            fail_msg("%s: %d", more[i], w->status);
        assert_string_equal(str(w, "reason"), "scope-missing");
    }
    assert_int_equal(
        call(w, REQ_POST, path, "{\"name\":\"x\",\"scopes\":\"devices:read\"}", &as_ops), 201);
    static const char *const bad[] = {
        "{}",
        "{\"name\":\"x\"}",
        "{\"scopes\":\"admin\"}",
        "{\"name\":\"x\",\"scopes\":\"root\"}",
        "{\"name\":\"x\",\"scopes\":[\"admin\"]}",
        "{\"name\":\"x\",\"scopes\":\"admin\",\"ttl\":1}",
        "{\"name\":\"x\",\"scopes\":\"admin\",\"ttl\":-5}",
    };
    for (size_t i = 0; i < TD_NITEMS(bad); i++)
        if (call(w, REQ_POST, path, bad[i], NULL) != 400)
            fail_msg("%s: %d", bad[i], w->status);
    w->f->clock.at += 60;
    assert_int_equal(call(w, REQ_GET, path, "", &as_ops), 401);
    assert_string_equal(str(w, "reason"), "token-expired");
    snprintf(body, sizeof body, "%s/%s", path, id);
    assert_int_equal(call(w, REQ_DELETE, body, "", NULL), 204);
    assert_int_equal(call(w, REQ_DELETE, body, "", NULL), 404);
    assert_int_equal(call(w, REQ_GET, path, "", &as_ops), 401);
    assert_string_equal(str(w, "reason"), "token-unknown");
}

static void test_audit(void **state)
{
    struct world *w = *state;
    assert_int_equal(call(w, REQ_PUT, INV "/AU1", "{}", NULL), 201);
    assert_int_equal(call(w, REQ_DELETE, INV "/AU1", "", NULL), 204);
    assert_int_equal(call(w, REQ_GET, "/api/v1/audit?limit=1", "", NULL), 200);
    struct json *list = json_member(w->json, "audit");
    assert_int_equal(json_size(list), 1);
    const char *s;
    assert_int_equal(json_get_str(json_element(list, 0), "actor", &s), TD_OK);
    assert_string_equal(s, "token:root");
    assert_int_equal(json_get_str(json_element(list, 0), "subject", &s), TD_OK);
    assert_string_equal(s, "AU1");
    char path[256];
    snprintf(path, sizeof path, "/api/v1/audit?cursor=%s", str(w, "next_cursor"));
    assert_int_equal(call(w, REQ_GET, path, "", NULL), 200);
    assert_true(json_size(json_member(w->json, "audit")) >= 2); /* the put, the first token */
    assert_null(strstr(w->body, w->admin));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_table),    T(test_inventory_life), T(test_preconditions), T(test_put_refused),
        T(test_pages),    T(test_import),         T(test_devices),       T(test_attempts),
        T(test_commands), T(test_raw_commands),   T(test_invitations),   T(test_tokens),
        T(test_audit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
