#include "tests/unit/http/fixture.h"
#include "web/http/router.h"

static enum td_err fn(const struct req *r, struct resp *resp, struct errinfo *ei)
{
    (void)r, (void)resp, (void)ei;
    return TD_OK;
}

#define ROW(m, l, p)                                                                               \
    {                                                                                              \
        .methods = (m), .listeners = (l), .path = (p), .access = ROUTE_OPEN, .fn = fn              \
    }

static const struct route table[] = {
    ROW(REQ_GET, REQ_ON_PUBLIC, "/"),
    ROW(REQ_GET, REQ_ON_PUBLIC, "/api/v1/devices"),
    ROW(REQ_GET | REQ_DELETE, REQ_ON_PUBLIC, "/api/v1/devices/{serial}"),
    ROW(REQ_POST, REQ_ON_PUBLIC, "/api/v1/devices/import"),
    ROW(REQ_GET, REQ_ON_PUBLIC, "/api/v1/devices/{serial}/commands/{uuid}"),
    ROW(REQ_GET, REQ_ON_PUBLIC, "/enroll/{token}"),
    ROW(REQ_GET, REQ_ON_STATUS, "/enroll/{token}"),
    ROW(REQ_GET, REQ_ON_PUBLIC, "/static/{*}"),
    {.methods = REQ_GET,
     .listeners = REQ_ON_STATUS,
     .path = "/ocsp/{*}",
     .access = ROUTE_OPEN,
     .fn = fn,
     .flags = ROUTE_RAW_TAIL},
};

static void test_match(void **state)
{
    (void)state;
    static const struct {
        enum req_listener on;
        enum req_method method;
        const char *path;
        enum td_err err;
        int row;
        const char *p0, *p1, *tail;
        unsigned allow;
    } cases[] = {
        {REQ_ON_PUBLIC, REQ_GET, "/", TD_OK, 0, "", "", "", 0},
        {REQ_ON_STATUS, REQ_GET, "/", TD_NOTFOUND, 0, "", "", "", 0},
        {REQ_ON_PUBLIC, REQ_GET, "/api/v1/devices", TD_OK, 1, "", "", "", 0},
        {REQ_ON_PUBLIC, REQ_GET, "/api/v1/devices/", TD_NOTFOUND, 0, "", "", "", 0},
        {REQ_ON_PUBLIC, REQ_HEAD, "/api/v1/devices", TD_METHOD, 0, "", "", "", REQ_GET},
        {REQ_ON_PUBLIC, REQ_DELETE, "/api/v1/devices/C02", TD_OK, 2, "C02", "", "", 0},
        {REQ_ON_PUBLIC, REQ_POST, "/api/v1/devices/import", TD_OK, 3, "", "", "", 0},
        {REQ_ON_PUBLIC, REQ_GET, "/api/v1/devices/import", TD_OK, 2, "import", "", "", 0},
        {REQ_ON_PUBLIC, REQ_PUT, "/api/v1/devices/import", TD_METHOD, 0, "", "", "",
         REQ_GET | REQ_DELETE | REQ_POST},
        {REQ_ON_PUBLIC, REQ_GET, "/api/v1/devices/a/commands/b", TD_OK, 4, "a", "b", "", 0},
        {REQ_ON_PUBLIC, REQ_GET, "/api/v1/devices/import/commands/b", TD_OK, 4, "import", "b", "",
         0},
        {REQ_ON_PUBLIC, REQ_GET, "/api/v1/devices/a/commands", TD_NOTFOUND, 0, "", "", "", 0},
        {REQ_ON_PUBLIC, REQ_GET, "/api/v1", TD_NOTFOUND, 0, "", "", "", 0},
        {REQ_ON_PUBLIC, REQ_GET, "/API/v1/devices", TD_NOTFOUND, 0, "", "", "", 0},
        {REQ_ON_PUBLIC, REQ_GET, "/static/a/b/c", TD_OK, 7, "", "", "a/b/c", 0},
        {REQ_ON_PUBLIC, REQ_GET, "/static/", TD_OK, 7, "", "", "", 0},
        {REQ_ON_PUBLIC, REQ_GET, "/static", TD_NOTFOUND, 0, "", "", "", 0},
        {REQ_ON_STATUS, REQ_GET, "/ocsp/a//b%2F=", TD_OK, 8, "", "", "a//b%2F=", 0},
        {REQ_ON_STATUS, REQ_GET, "/ocsp//", TD_OK, 8, "", "", "/", 0},
        {REQ_ON_PUBLIC, REQ_GET, "/ocsp/a", TD_NOTFOUND, 0, "", "", "", 0},
        {REQ_ON_STATUS, REQ_OTHER, "/ocsp/a", TD_METHOD, 0, "", "", "", REQ_GET},
        {REQ_ON_PUBLIC, REQ_GET, "", TD_NOTFOUND, 0, "", "", "", 0},
    };
    int marker;
    const struct route_set set = {table, TD_NITEMS(table), &marker};
    struct router *r;
    assert_int_equal(router_new(&set, 1, &r, NULL), TD_OK);
    assert_false(router_needs_token(r));
    for (size_t i = 0; i < TD_NITEMS(cases); i++) {
        struct router_hit hit;
        enum td_err e =
            router_match(r, cases[i].on, cases[i].method, span_str(cases[i].path), &hit);
        if (e != cases[i].err)
            fail_msg("%s: %s", cases[i].path, err_name(e));
        if (e == TD_METHOD)
            assert_int_equal(hit.allow, cases[i].allow);
        if (e != TD_OK)
            continue;
        assert_ptr_equal(hit.route, &table[cases[i].row]);
        assert_ptr_equal(hit.ctx, &marker);
        assert_true(span_eq_str(hit.params[0], cases[i].p0));
        assert_true(span_eq_str(hit.params[1], cases[i].p1));
        assert_true(span_eq_str(hit.tail, cases[i].tail));
    }
    router_free(r);
}

static void test_param_limit(void **state)
{
    (void)state;
    static char path[LIMIT_HTTP_SEGMENT + 64];
    const struct route_set set = {table, TD_NITEMS(table), NULL};
    struct router *r;
    struct router_hit hit;
    assert_int_equal(router_new(&set, 1, &r, NULL), TD_OK);
    int n = snprintf(path, sizeof path, "/enroll/");
    memset(path + n, 'a', LIMIT_HTTP_SEGMENT);
    assert_int_equal(router_match(r, REQ_ON_PUBLIC, REQ_GET, span_str(path), &hit), TD_OK);
    path[n + LIMIT_HTTP_SEGMENT] = 'a';
    assert_int_equal(router_match(r, REQ_ON_PUBLIC, REQ_GET, span_str(path), &hit), TD_NOTFOUND);
    router_free(r);
}

static void test_raw_and_public(void **state)
{
    (void)state;
    const struct route_set set = {table, TD_NITEMS(table), NULL};
    struct router *r;
    assert_int_equal(router_new(&set, 1, &r, NULL), TD_OK);
    assert_int_equal(router_raw_from(r, SPAN_LIT("/ocsp/a//b")), 6);
    assert_int_equal(router_raw_from(r, SPAN_LIT("/ocsp")), 5);
    assert_int_equal(router_raw_from(r, SPAN_LIT("/static//a")), 10);
    assert_int_equal(router_public_len(r, SPAN_LIT("/enroll/secret")), 8);
    assert_int_equal(router_public_len(r, SPAN_LIT("/enroll/secret/more")), 8);
    assert_int_equal(router_public_len(r, SPAN_LIT("/enroll")), 7);
    assert_int_equal(router_public_len(r, SPAN_LIT("/api/v1/devices/C02")), 19);
    assert_int_equal(router_public_len(r, SPAN_LIT("/")), 1);
    assert_int_equal(router_public_len(r, SPAN_LIT("")), 0);
    router_free(r);
}

static void test_refused_tables(void **state)
{
    (void)state;
    struct route good = ROW(REQ_GET, REQ_ON_PUBLIC, "/a");
    struct route rows[][2] = {
        {good, good},
        {good, ROW(REQ_GET | REQ_PUT, REQ_ON_PUBLIC | REQ_ON_DEVICE, "/a")},
        {ROW(REQ_GET, REQ_ON_PUBLIC, "/{a}"), ROW(REQ_GET, REQ_ON_PUBLIC, "/{b}")},
        {good, ROW(0, REQ_ON_PUBLIC, "/b")},
        {good, ROW(64, REQ_ON_PUBLIC, "/b")},
        {good, ROW(REQ_GET, 0, "/b")},
        {good, ROW(REQ_GET, REQ_ON_PUBLIC, NULL)},
        {good, ROW(REQ_GET, REQ_ON_PUBLIC, "b")},
        {good, ROW(REQ_GET, REQ_ON_PUBLIC, "/b/")},
        {good, ROW(REQ_GET, REQ_ON_PUBLIC, "/b//c")},
        {good, ROW(REQ_GET, REQ_ON_PUBLIC, "/{}")},
        {good, ROW(REQ_GET, REQ_ON_PUBLIC, "/{*}/b")},
        {good, ROW(REQ_GET, REQ_ON_PUBLIC, "/{a}/{b}/{c}/{d}/{e}")},
        {good, ROW(REQ_GET, REQ_ON_PUBLIC, "/1/2/3/4/5/6/7/8/9")},
        {good, {.methods = REQ_GET, .listeners = REQ_ON_PUBLIC, .path = "/b", .fn = fn}},
        {good,
         {.methods = REQ_GET,
          .listeners = REQ_ON_PUBLIC,
          .path = "/b",
          .access = ROUTE_TOKEN,
          .fn = fn}},
        {good,
         {.methods = REQ_GET, .listeners = REQ_ON_PUBLIC, .path = "/b", .access = ROUTE_OPEN}},
        {good,
         {.methods = REQ_GET,
          .listeners = REQ_ON_PUBLIC,
          .path = "/b/{c}",
          .access = ROUTE_OPEN,
          .fn = fn,
          .flags = ROUTE_RAW_TAIL}},
        {good,
         {.methods = REQ_GET,
          .listeners = REQ_ON_PUBLIC,
          .path = "/{b}/{*}",
          .access = ROUTE_OPEN,
          .fn = fn,
          .flags = ROUTE_RAW_TAIL}},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        const struct route_set set = {rows[i], 2, NULL};
        struct router *r;
        struct errinfo ei = {0};
        if (router_new(&set, 1, &r, &ei) != TD_INVAL || !ei.msg[0])
            fail_msg("%zu was accepted", i);
    }
    /* the same path for other methods or on another listener is no clash */
    const struct route two[] = {good, ROW(REQ_PUT, REQ_ON_PUBLIC, "/a"),
                                ROW(REQ_GET, REQ_ON_DEVICE, "/a")};
    const struct route_set set = {two, 3, NULL};
    struct router *r;
    assert_int_equal(router_new(&set, 1, &r, NULL), TD_OK);
    router_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_match),
        cmocka_unit_test(test_param_limit),
        cmocka_unit_test(test_raw_and_public),
        cmocka_unit_test(test_refused_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
