#include "tests/unit/http/fixture.h"
#include "web/http/http_strict.h"
#include "web/http/layout.h"

#define H(n, v)                                                                                    \
    {                                                                                              \
        SPAN_LIT(n), SPAN_LIT(v)                                                                   \
    }

static enum td_err head(const char *method, const char *version, const char *url,
                        const struct req_header *h, size_t n, struct http_framing *f,
                        struct errinfo *ei)
{
    const struct http_head in = {span_str(method), span_str(version), span_str(url), h, n};
    *ei = (struct errinfo){0};
    return http_strict_head(&in, f, ei);
}

static void test_head_good(void **state)
{
    (void)state;
    const struct req_header h[] = {H("Host", "a.example:8443"), H("CONTENT-LENGTH", "12"),
                                   H("X", "")};
    struct http_framing f;
    struct errinfo ei;
    assert_int_equal(head("POST", "HTTP/1.1", "/a/b?c=d?e", h, 3, &f, &ei), TD_OK);
    assert_int_equal(f.method, REQ_POST);
    assert_int_equal(f.length, 12);
    assert_false(f.chunked || f.http10);
    assert_true(span_eq_str(f.path, "/a/b") && span_eq_str(f.query, "c=d?e"));
    /* OCSP clients of HTTP/1.0 send no Host */
    assert_int_equal(head("GET", "HTTP/1.0", "/", NULL, 0, &f, &ei), TD_OK);
    assert_true(f.http10 && f.query.n == 0);
    assert_int_equal(head("PROPFIND", "HTTP/1.1", "/", h, 1, &f, &ei), TD_OK);
    assert_int_equal(f.method, REQ_OTHER);
    assert_string_equal(http_method_name(f.method), "-");
    assert_string_equal(http_method_name(REQ_PATCH), "PATCH");
}

static void test_head_bad(void **state)
{
    (void)state;
    static const struct {
        const char *method, *version, *url;
        struct req_header h[3];
        const char *reason;
    } cases[] = {
        {"", "HTTP/1.1", "/", {H("Host", "x")}, "http-method"},
        {"GE T", "HTTP/1.1", "/", {H("Host", "x")}, "http-method"},
        {"GET", "HTTP/1.2", "/", {H("Host", "x")}, "http-version"},
        {"GET", "HTTP/2.0", "/", {H("Host", "x")}, "http-version"},
        {"GET", "http/1.1", "/", {H("Host", "x")}, "http-version"},
        {"GET", "", "/", {H("Host", "x")}, "http-version"},
        {"GET", "HTTP/1.1", "", {H("Host", "x")}, "http-url-form"},
        {"GET", "HTTP/1.1", "a", {H("Host", "x")}, "http-url-form"},
        {"GET", "HTTP/1.1", "/a b", {H("Host", "x")}, "http-url-character"},
        {"GET", "HTTP/1.1", "/a#b", {H("Host", "x")}, "http-url-character"},
        {"GET", "HTTP/1.1", "/a\x7f", {H("Host", "x")}, "http-url-character"},
        {"GET", "HTTP/1.1", "/?%00", {H("Host", "x")}, "http-url-nul"},
        {"GET", "HTTP/1.1", "/", {H("X", "y")}, "http-host"},
        {"GET", "HTTP/1.1", "/", {H("Host", "x y")}, "http-host"},
        {"GET", "HTTP/1.1", "/", {H("Host", "x,y")}, "http-host"},
        {"GET", "HTTP/1.0", "/", {H("Host", "x/y")}, "http-host"},
        {"GET", "HTTP/1.1", "/", {H("Host", "x"), H("host", "x")}, "http-host-twice"},
        {"GET", "HTTP/1.1", "/", {H("Host ", "x")}, "http-header-name"},
        {"GET", "HTTP/1.1", "/", {H("", "x")}, "http-header-name"},
        {"GET", "HTTP/1.1", "/", {H("Ho\0st", "x")}, "http-header-name"},
        {"GET", "HTTP/1.1", "/", {H("H\xc3\xa4", "x")}, "http-header-name"},
        {"GET", "HTTP/1.1", "/", {H("Host", "x"), H("X", "a\0b")}, "http-header-value"},
        {"GET", "HTTP/1.1", "/", {H("Host", "x"), H("X", "a\nb")}, "http-header-value"},
        {"GET", "HTTP/1.1", "/", {H("Host", "x"), H("X", "a\x7f")}, "http-header-value"},
        {"GET",
         "HTTP/1.1",
         "/",
         {H("Host", "x"), H("Content-Length", "1"), H("content-length", "1")},
         "http-length-twice"},
        {"GET",
         "HTTP/1.1",
         "/",
         {H("Host", "x"), H("Transfer-Encoding", "chunked"), H("Transfer-Encoding", "chunked")},
         "http-encoding-twice"},
        {"GET",
         "HTTP/1.1",
         "/",
         {H("Host", "x"), H("Transfer-Encoding", "chunked"), H("Content-Length", "1")},
         "http-length-and-encoding"},
        {"GET",
         "HTTP/1.1",
         "/",
         {H("Host", "x"), H("Content-Type", "a"), H("Content-Type", "b")},
         "http-type-twice"},
        {"GET", "HTTP/1.1", "/", {H("Host", "x"), H("Content-Length", "")}, "http-length"},
        {"GET", "HTTP/1.1", "/", {H("Host", "x"), H("Content-Length", "1,1")}, "http-length"},
        {"GET", "HTTP/1.1", "/", {H("Host", "x"), H("Content-Length", "+1")}, "http-length"},
        {"GET", "HTTP/1.1", "/", {H("Host", "x"), H("Content-Length", "1 ")}, "http-length"},
        {"GET",
         "HTTP/1.1",
         "/",
         {H("Host", "x"), H("Content-Length", "18446744073709551616")},
         "http-length"},
        {"GET", "HTTP/1.1", "/", {H("Host", "x"), H("Transfer-Encoding", "")}, "http-encoding"},
        {"GET", "HTTP/1.1", "/", {H("Host", "x"), H("Transfer-Encoding", "gzip")}, "http-encoding"},
        {"GET",
         "HTTP/1.1",
         "/",
         {H("Host", "x"), H("Transfer-Encoding", "chunked, chunked")},
         "http-encoding"},
        {"GET", "HTTP/1.0", "/", {H("Transfer-Encoding", "chunked")}, "http-encoding"},
    };
    for (size_t i = 0; i < TD_NITEMS(cases); i++) {
        size_t n = 0;
        while (n < 3 && cases[i].h[n].name.p)
            n++;
        struct http_framing f = {.length = 77};
        struct errinfo ei;
        enum td_err e =
            head(cases[i].method, cases[i].version, cases[i].url, cases[i].h, n, &f, &ei);
        if (e == TD_OK || !ei.reason || strcmp(ei.reason, cases[i].reason) != 0)
            fail_msg("%zu: %s, not %s", i, ei.reason ? ei.reason : "-", cases[i].reason);
        assert_int_equal(f.length, 77);
    }
}

static void test_head_limits(void **state)
{
    (void)state;
    static struct req_header h[LIMIT_HTTP_HEADERS + 1] = {H("Host", "x")};
    static char url[LIMIT_HTTP_URL + 2];
    struct http_framing f;
    struct errinfo ei;
    for (size_t i = 1; i < TD_NITEMS(h); i++)
        h[i] = (struct req_header)H("X", "y");
    memset(url, '/', LIMIT_HTTP_URL);
    assert_int_equal(head("GET", "HTTP/1.1", url, h, LIMIT_HTTP_HEADERS, &f, &ei), TD_OK);
    assert_int_equal(head("GET", "HTTP/1.1", url, h, LIMIT_HTTP_HEADERS + 1, &f, &ei), TD_LIMIT);
    assert_int_equal(ei.http, 431);
    url[LIMIT_HTTP_URL] = 'a';
    assert_int_equal(head("GET", "HTTP/1.1", url, h, 1, &f, &ei), TD_LIMIT);
    assert_int_equal(ei.http, 414);
}

static void test_path(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        size_t raw_from;
        const char *reason; /* NULL: good */
    } cases[] = {
        {"/", SIZE_MAX, NULL},
        {"/a/b-c_d~e.f", SIZE_MAX, NULL},
        {"/a/", SIZE_MAX, NULL},
        {"/a%20b%C3%A4", SIZE_MAX, NULL},
        {"/!$&'()*+,;=:@", SIZE_MAX, NULL},
        {"/.../a..b/..c", SIZE_MAX, NULL},
        {"", SIZE_MAX, "http-url-form"},
        {"a", SIZE_MAX, "http-url-form"},
        {"//", SIZE_MAX, "http-path-empty"},
        {"//a", SIZE_MAX, "http-path-empty"},
        {"/a//b", SIZE_MAX, "http-path-empty"},
        {"/.", SIZE_MAX, "http-path-dots"},
        {"/..", SIZE_MAX, "http-path-dots"},
        {"/a/../b", SIZE_MAX, "http-path-dots"},
        {"/%2e", SIZE_MAX, "http-path-dots"},
        {"/%2E%2e/a", SIZE_MAX, "http-path-dots"},
        {"/a/.%2e", SIZE_MAX, "http-path-dots"},
        {"/a%00", SIZE_MAX, "http-path-control"},
        {"/a%0a", SIZE_MAX, "http-path-control"},
        {"/a%7F", SIZE_MAX, "http-path-control"},
        {"/a%2fb", SIZE_MAX, "http-path-separator"},
        {"/a%5Cb", SIZE_MAX, "http-path-separator"},
        {"/a\\b", SIZE_MAX, "http-path-character"},
        {"/a\"b", SIZE_MAX, "http-path-character"},
        {"/a{b}", SIZE_MAX, "http-path-character"},
        {"/a%", SIZE_MAX, "http-path-escape"},
        {"/a%2", SIZE_MAX, "http-path-escape"},
        {"/a%zz", SIZE_MAX, "http-path-escape"},
        /* "/o/" is the prefix, the rest raw */
        {"/o/a//b%2Fc==", 3, NULL},
        {"/o//", 3, NULL},
        {"/o/a%2f%2fb", 3, NULL},
        {"//o/a", 3, "http-path-empty"},
        {"/o/a%00", 3, "http-path-control"},
        {"/o/a/../b", 3, "http-path-dots"},
        {"/o/a%2f..%2fb", 3, "http-path-dots"},
        {"/o/%2e%2e", 3, "http-path-dots"},
        {"/o/a%5cb", 3, "http-path-separator"},
    };
    for (size_t i = 0; i < TD_NITEMS(cases); i++) {
        struct span p = span_str(cases[i].path);
        struct errinfo ei = {0};
        enum td_err e = http_strict_path(p, cases[i].raw_from < p.n ? cases[i].raw_from : p.n, &ei);
        const char *got = e == TD_OK ? NULL : ei.reason;
        if ((got == NULL) != (cases[i].reason == NULL) ||
            (got && strcmp(got, cases[i].reason) != 0))
            fail_msg("%s: %s", cases[i].path, got ? got : "accepted");
    }
}

/* "GET /u HTTP/1.1\r\nA: b\r\nC:  d \r\n\r\n" as the library leaves it. */
static void test_layout(void **state)
{
    (void)state;
    static const char text[] = "GET\0/u\0HTTP/1.1\0\0A\0 b\0\0C\0  d \0\0\0\0";
    const uint8_t *t = (const uint8_t *)text;
    struct req_header h[] = {{span_of(t + 17, 1), span_of(t + 20, 1)},
                             {span_of(t + 23, 1), span_of(t + 27, 2)}};
    struct http_layout l = {span_of(t, 3), span_of(t + 4, 2), span_of(t + 7, 8), h, 2, 33};
    assert_null(http_layout_check(&l));
    struct http_layout other = l;
    other.head_size = 32; /* a bare LF at the end */
    assert_string_equal(http_layout_check(&other), "http-layout");
    other = l;
    other.url.n = 1; /* a NUL in the URL */
    assert_string_equal(http_layout_check(&other), "http-line");
    other = l;
    other.nheaders = 1; /* a line that was not delivered */
    assert_string_equal(http_layout_check(&other), "http-layout");
    struct req_header saved = h[0];
    h[0].value.n = 0; /* a NUL in a value */
    assert_string_equal(http_layout_check(&l), "http-layout");
    h[0] = saved;
    h[1].name = SPAN_LIT("CX"); /* a folded line: the name lies elsewhere */
    assert_string_equal(http_layout_check(&l), "http-layout");
    h[1].name = (struct span){NULL, 0};
    assert_string_equal(http_layout_check(&l), "http-layout");
    struct http_layout none = {span_of(t, 3), span_of(t + 4, 2), span_of(t + 7, 8), NULL, 0, 19};
    assert_null(http_layout_check(&none));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head_good),   cmocka_unit_test(test_head_bad),
        cmocka_unit_test(test_head_limits), cmocka_unit_test(test_path),
        cmocka_unit_test(test_layout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
