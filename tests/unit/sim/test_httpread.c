#include "tests/unit/sim/simtest.h"

#include "tests/sim/http.h"
#include "tests/sim/refusal.h"

struct source {
    struct span s;
    size_t step; /* bytes per read */
};

static enum td_err fill(void *ctx, void *p, size_t n, size_t *ret_n, struct errinfo *ei)
{
    struct source *src = ctx;
    (void)ei;
    *ret_n = src->s.n < src->step ? src->s.n : src->step;
    if (*ret_n > n)
        *ret_n = n;
    if (*ret_n)
        memcpy(p, src->s.p, *ret_n);
    src->s = span_sub(src->s, *ret_n, src->s.n);
    return TD_OK;
}

static enum td_err parse(const char *raw, size_t step, bool head, struct httpread_resp *r,
                         bool *keep)
{
    struct source src = {span_str(raw), step};
    struct httpread rd = {.fill = fill, .ctx = &src};
    bool started = false;
    return httpread_response(&rd, head, r, keep, &started, NULL);
}

#define OK "HTTP/1.1 200 OK\r\n"

static void responses(void **state)
{
    static const struct {
        const char *raw;
        bool head;
        enum td_err e;
        int status;
        const char *body;
        bool keep;
    } rows[] = {
        {OK "Content-Length: 2\r\n\r\nhi", false, TD_OK, 200, "hi", true},
        {OK "content-length: 0\r\nConnection: close\r\n\r\n", false, TD_OK, 200, "", false},
        {OK "Content-Length: 9\r\n\r\n", true, TD_OK, 200, "", true},
        {"HTTP/1.1 204 No Content\r\n\r\n", false, TD_OK, 204, "", true},
        {"HTTP/1.0 200 OK\r\n\r\nall", false, TD_OK, 200, "all", false},
        {OK "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x=y\r\nd\r\n0\r\nT: v\r\n\r\n", false,
         TD_OK, 200, "abcd", true},
        {"HTTP/1.1 100 Continue\r\n\r\n" OK "Content-Length: 1\r\n\r\nx", false, TD_OK, 200, "x",
         true},
        {OK "\r\nto the end", false, TD_OK, 200, "to the end", false},
        {"", false, TD_UPSTREAM, 0, NULL, false},
        {"HTTP/1.1 2", false, TD_UPSTREAM, 0, NULL, false},
        {OK "Content-Length: 5\r\n\r\nhi", false, TD_UPSTREAM, 0, NULL, false},
        {OK "Content-Length: five\r\n\r\n", false, TD_PARSE, 0, NULL, false},
        {OK "Content-Length: 99999999999\r\n\r\n", false, TD_PARSE, 0, NULL, false},
        {OK "Transfer-Encoding: gzip\r\n\r\n", false, TD_PARSE, 0, NULL, false},
        {OK "Transfer-Encoding: chunked\r\n\r\nzz\r\n", false, TD_PARSE, 0, NULL, false},
        {OK "Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", false, TD_PARSE, 0, NULL, false},
        {"HTTP/2 200 OK\r\n\r\n", false, TD_PARSE, 0, NULL, false},
        {"HTTP/1.1 20 OK\r\n\r\n", false, TD_PARSE, 0, NULL, false},
        {"SSH-2.0-x\r\n\r\n", false, TD_PARSE, 0, NULL, false},
    };
    static const size_t steps[] = {1, 3, 4096};
    (void)state;
    for (size_t i = 0; i < TD_NITEMS(rows) * TD_NITEMS(steps); i++) {
        size_t k = i / TD_NITEMS(steps);
        struct httpread_resp r;
        bool keep = false;
        enum td_err e = parse(rows[k].raw, steps[i % TD_NITEMS(steps)], rows[k].head, &r, &keep);
        assert_int_equal(e, rows[k].e);
        if (e == TD_OK) {
            assert_int_equal(r.status, rows[k].status);
            assert_string_equal(buf_cstr(&r.body), rows[k].body);
            assert_int_equal(keep, rows[k].keep);
        }
        httpread_free(&r);
    }
}

static void long_line(void **state)
{
    struct httpread_resp r;
    bool keep = false;
    char *raw = malloc(20000);
    (void)state;
    assert_non_null(raw);
    memset(raw, 'a', 19999);
    raw[19999] = 0;
    memcpy(raw, OK "X: ", sizeof(OK "X: ") - 1);
    assert_int_equal(parse(raw, 4096, false, &r, &keep), TD_LIMIT);
    httpread_free(&r);
    free(raw);
}

static void headers(void **state)
{
    struct httpread_resp r;
    bool keep = false;
    char v[8];
    (void)state;
    assert_int_equal(
        parse(OK
              "Replay-Nonce:  abc \r\nEmpty:\r\nreplay-nonce: second\r\nContent-Length: 0\r\n\r\n",
              64, false, &r, &keep),
        TD_OK);
    assert_true(httpread_header(&r, "REPLAY-NONCE", v, sizeof(v)));
    assert_string_equal(v, "abc");
    assert_true(httpread_header(&r, "Empty", v, sizeof(v)));
    assert_string_equal(v, "");
    assert_false(httpread_header(&r, "Replay", v, sizeof(v)));
    assert_false(httpread_header(&r, "Replay-Nonce", v, 3)); /* does not fit */
    httpread_free(&r);
}

static void urls(void **state)
{
    static const struct {
        const char *url;
        bool ok, tls;
        const char *host, *port, *target;
    } rows[] = {
        {"https://a.example/x?y=1", true, true, "a.example", "443", "/x?y=1"},
        {"http://127.0.0.1:8080", true, false, "127.0.0.1", "8080", "/"},
        {"https://[::1]:8443/enroll/T", true, true, "::1", "8443", "/enroll/T"},
        {"https://h?q", true, true, "h", "443", "/?q"},
        {"ftp://h/", false, false, NULL, NULL, NULL},
        {"https://", false, false, NULL, NULL, NULL},
        {"https:///x", false, false, NULL, NULL, NULL},
        {"https://h:0x/", false, false, NULL, NULL, NULL},
        {"https://h:70000/", false, false, NULL, NULL, NULL},
        {"https://[::1", false, false, NULL, NULL, NULL},
        {"", false, false, NULL, NULL, NULL},
    };
    (void)state;
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct http_url u;
        enum td_err e = http_url_parse(rows[i].url, &u, NULL);
        assert_int_equal(e, rows[i].ok ? TD_OK : TD_PARSE);
        if (!rows[i].ok)
            continue;
        assert_int_equal(u.tls, rows[i].tls);
        assert_string_equal(u.host, rows[i].host);
        assert_string_equal(u.port, rows[i].port);
        assert_string_equal(u.target, rows[i].target);
    }
}

static void refusals(void **state)
{
    struct httpread_resp r;
    struct refusal why;
    struct errinfo ei = {0};
    bool keep = false;
    (void)state;
    assert_int_equal(parse("HTTP/1.1 400 Bad\r\nContent-Type: application/problem+json\r\n\r\n"
                           "{\"type\":\"urn:ietf:params:acme:error:badCSR\",\"detail\":\"no\"}",
                           64, false, &r, &keep),
                     TD_OK);
    assert_int_equal(refusal_set(&why, "acme finalize", &r, &ei), TD_FORBIDDEN);
    assert_string_equal(why.type, "badCSR");
    assert_string_equal(why.detail, "no");
    assert_int_equal(why.status, 400);
    assert_string_equal(ei.msg, "acme finalize: HTTP 400 badCSR: no");
    httpread_free(&r);
    assert_int_equal(
        parse("HTTP/1.1 503 x\r\nContent-Type: text/plain\r\n\r\nline\nend", 64, false, &r, &keep),
        TD_OK);
    assert_int_equal(refusal_set(&why, "connect", &r, &ei), TD_FORBIDDEN);
    assert_string_equal(why.type, "");
    assert_string_equal(why.detail, "line end");
    httpread_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(responses), cmocka_unit_test(long_line), cmocka_unit_test(headers),
        cmocka_unit_test(urls),      cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
