#include "mdm/base/b64.h"
#include "tests/unit/http/fixture.h"
#include "web/http/peer.h"
#include "web/http/problem.h"

static void test_client_cert(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        enum td_err err;
        const char *der;
    } cases[] = {
        {":YWJj:", TD_OK, "abc"},
        {":YWI=:", TD_OK, "ab"},
        {"", TD_PARSE, ""},
        {"::", TD_PARSE, ""},
        {":", TD_PARSE, ""},
        {"YWJj", TD_PARSE, ""},
        {":YWJj", TD_PARSE, ""},
        {":YWI:", TD_PARSE, ""},
        {":YW-_:", TD_PARSE, ""},
        {":YW Jj:", TD_PARSE, ""},
        {":YWJj:, :YWJj:", TD_PARSE, ""},
        {":YWJj:;a=b", TD_PARSE, ""},
        {":====:", TD_PARSE, ""},
    };
    for (size_t i = 0; i < TD_NITEMS(cases); i++) {
        arena_auto a;
        arena_init(&a, 100000);
        const struct req_header h[] = {{SPAN_LIT("X"), SPAN_LIT("y")},
                                       {SPAN_LIT("CLIENT-Cert"), span_str(cases[i].value)}};
        struct span der = {NULL, 0};
        struct errinfo ei = {0};
        if (http_peer_header(h, 2, &a, &der, &ei) != cases[i].err)
            fail_msg("%s", cases[i].value);
        assert_true(span_eq_str(der, cases[i].der));
    }
}

static void test_client_cert_count_and_size(void **state)
{
    (void)state;
    arena_auto a;
    arena_init(&a, 1000000);
    struct req_header h[] = {{SPAN_LIT("Client-Cert"), SPAN_LIT(":YWJj:")},
                             {SPAN_LIT("client-cert"), SPAN_LIT(":YWJj:")}};
    struct span der = {NULL, 0};
    assert_int_equal(http_peer_header(h, 2, &a, &der, NULL), TD_PARSE);
    assert_int_equal(http_peer_header(h, 0, &a, &der, NULL), TD_OK);
    assert_int_equal(der.n, 0);
    static uint8_t bytes[LIMIT_X5C_CERT + 1];
    for (size_t over = 0; over < 2; over++) {
        buf_auto b;
        buf_init(&b, 100000);
        buf_u8(&b, ':');
        b64_enc(&b, span_of(bytes, LIMIT_X5C_CERT + over));
        buf_u8(&b, ':');
        h[0].value = buf_view(&b);
        assert_int_equal(http_peer_header(h, 1, &a, &der, NULL), over ? TD_LIMIT : TD_OK);
        assert_int_equal(der.n, LIMIT_X5C_CERT);
    }
}

static void test_problem(void **state)
{
    (void)state;
    static const struct {
        enum td_err e;
        struct errinfo ei;
        int status;
        const char *body;
    } cases[] = {
        {TD_CONFLICT,
         {.reason = "rev", .http = 412, .msg = "it \"changed\"\n\xff\xc3\xa4"},
         412,
         "{\"type\":\"about:blank\",\"title\":\"Precondition Failed\",\"status\":412,\"detail\":"
         "\"it \\\"changed\\\"\\u000a\\ufffd\xc3\xa4\",\"reason\":\"rev\",\"instance\":\"id1\"}\n"},
        {TD_DB,
         {.msg = "/var/lib/secret"},
         503,
         "{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\"detail\":"
         "\"database unavailable\",\"instance\":\"id1\"}\n"},
        {TD_NOTFOUND,
         {0},
         404,
         "{\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404,\"detail\":"
         "\"not found\",\"instance\":\"id1\"}\n"},
        {TD_INVAL,
         {.http = 200, .msg = "no error is a 200"},
         500,
         "{\"type\":\"about:blank\",\"title\":\"Internal Server Error\",\"status\":500,\"detail\":"
         "\"invalid value\",\"instance\":\"id1\"}\n"},
    };
    for (size_t i = 0; i < TD_NITEMS(cases); i++) {
        arena_auto a;
        arena_init(&a, 10000);
        struct resp r;
        resp_init(&r, &a, 10000);
        const struct req req = {.id = "id1"};
        http_problem(&req, &r, cases[i].e, &cases[i].ei);
        assert_int_equal(r.status, cases[i].status);
        assert_string_equal(buf_cstr(&r.body), cases[i].body);
        resp_free(&r);
        resp_init(&r, &a, 10); /* no room: an empty body, the status stays */
        http_problem(&req, &r, cases[i].e, &cases[i].ei);
        assert_int_equal(r.status, cases[i].status);
        assert_int_equal(r.body.n, 0);
        resp_free(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_client_cert),
        cmocka_unit_test(test_client_cert_count_and_size),
        cmocka_unit_test(test_problem),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
