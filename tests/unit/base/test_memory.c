/* buf, arena, span, rd, secret, rng, clock, err */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <unistd.h>

#include "mdm/base/arena.h"
#include "mdm/base/buf.h"
#include "mdm/base/clock.h"
#include "mdm/base/log.h"
#include "mdm/base/rd.h"
#include "mdm/base/rng.h"
#include "mdm/base/secret.h"

static void buf_limits(void **state)
{
    (void)state;
    buf_auto b;
    buf_init(&b, 10);
    assert_string_equal(buf_cstr(&b), "");
    assert_int_equal(buf_view(&b).n, 0);
    assert_int_equal(buf_str(&b, "0123456789"), TD_OK); /* at the limit */
    assert_int_equal(buf_add(&b, NULL, 0), TD_OK);
    assert_string_equal(buf_cstr(&b), "0123456789");
    assert_int_equal(buf_u8(&b, 'x'), TD_LIMIT); /* one over */
    assert_int_equal(b.n, 0);
    assert_null(b.p);
    assert_int_equal(buf_str(&b, "y"), TD_LIMIT); /* sticky */
    assert_int_equal(buf_printf(&b, "%d", 1), TD_LIMIT);
    size_t n = 9;
    assert_null(buf_take(&b, &n));
    assert_int_equal(n, 0);
    assert_int_equal(b.err, TD_LIMIT); /* nobody mistakes it for an empty success */
    buf_reset(&b);
    assert_int_equal(buf_str(&b, "y"), TD_OK);
    assert_string_equal(buf_cstr(&b), "y");
    assert_int_equal(buf_printf(&b, "%s", "012345678"), TD_OK);
    assert_int_equal(buf_printf(&b, "%s", "0"), TD_LIMIT);
    buf_free(&b);
    assert_int_equal(buf_str(&b, "again"), TD_OK);
    buf_free(NULL);
}

static void buf_huge(void **state)
{
    (void)state;
    buf_auto b;
    buf_init(&b, SIZE_MAX);
    assert_int_equal(buf_u8(&b, 1), TD_OK);
    static const uint8_t byte[1];
    /* sizes at which the arithmetic could wrap; never read because no such room is found */
    assert_int_equal(buf_add(&b, byte, SIZE_MAX - 1), TD_NOMEM);
    buf_reset(&b);
    assert_int_equal(buf_add(&b, byte, SIZE_MAX / 2), TD_NOMEM);
}

static void buf_content(void **state)
{
    (void)state;
    buf_auto b;
    buf_init(&b, 1000);
    assert_int_equal(buf_u16(&b, 0x0102), TD_OK);
    assert_int_equal(buf_u32(&b, 0x03040506), TD_OK);
    assert_int_equal(buf_u64(&b, 0x0708090a0b0c0d0eULL), TD_OK);
    assert_int_equal(buf_span(&b, SPAN_LIT("\x0f")), TD_OK);
    for (size_t i = 0; i < b.n; i++)
        assert_int_equal(b.p[i], i + 1);
    size_t n;
    uint8_t *p = buf_take(&b, &n);
    assert_int_equal(n, 15);
    assert_int_equal(p[n], 0);
    free(p);
    assert_int_equal(b.n, 0);
    assert_null(buf_take(&b, NULL));
    for (int i = 0; i < 100; i++)
        assert_int_equal(buf_printf(&b, "%03d", i), TD_OK);
    assert_int_equal(b.n, 300);
    assert_memory_equal(b.p + 297, "099", 4);
    buf_reset(&b);
    assert_null(buf_take(&b, &n)); /* empty, though memory was held */
}

static int cleanups[3], ncleanups;

static void note(void *p)
{
    cleanups[ncleanups++] = *(int *)p;
}

static void arena_cap(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 100);
    assert_non_null(arena_alloc(&a, 100));
    assert_null(arena_alloc(&a, 1));
    arena_free(&a);
    assert_null(arena_alloc(&a, 101));
    assert_non_null(arena_alloc(&a, 0));
    /* small pieces cost what they take: the cap bounds memory */
    size_t n = 0;
    arena_free(&a);
    a.max = 1600;
    while (arena_alloc(&a, 1))
        n++;
    assert_in_range(n, 1, 100);
    arena_free(&a);
    arena_init(&a, SIZE_MAX);
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_alloc(&a, SIZE_MAX - 20));
    assert_null(arena_dup(&a, (struct span){(const uint8_t *)"", SIZE_MAX}));
    arena_free(&a);
    arena_free(NULL);
}

static void arena_content(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 1 << 20);
    for (size_t n = 0; n < 300; n++) {
        uint8_t *p = arena_alloc(&a, n * 40);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
        for (size_t i = 0; i < n * 40; i++)
            if (p[i])
                fail_msg("not zeroed");
        if (n)
            memset(p, 0xff, n * 40);
        if (n == 200)
            break;
    }
    assert_string_equal(arena_strdup(&a, "text"), "text");
    assert_string_equal(arena_dup(&a, (struct span){NULL, 0}), "");
    assert_memory_equal(arena_dup(&a, SPAN_LIT("a\0b")), "a\0b", 4);
    assert_string_equal(arena_printf(&a, "%s-%d", "x", 5), "x-5");
    assert_true(span_eq(arena_span(&a, SPAN_LIT("\1\2")), SPAN_LIT("\1\2")));
    static int marks[] = {1, 2, 3};
    ncleanups = 0;
    for (int i = 0; i < 3; i++)
        assert_true(arena_defer(&a, note, &marks[i]));
    arena_free(&a);
    assert_int_equal(ncleanups, 3);
    assert_int_equal(cleanups[0], 3); /* newest first */
    assert_int_equal(cleanups[2], 1);
    assert_non_null(arena_alloc(&a, 8)); /* usable again */
    arena_free(&a);
    assert_int_equal(ncleanups, 3);
    arena_init(&a, 1);
    assert_false(arena_defer(&a, note, &marks[0]));
    assert_null(arena_printf(&a, "%s", "too long"));
    assert_null(arena_span(&a, SPAN_LIT("ab")).p);
    arena_free(&a);
    assert_int_equal(ncleanups, 3);
}

static void spans(void **state)
{
    (void)state;
    struct span none = {NULL, 0}, s = SPAN_LIT("abc");
    assert_int_equal(span_str(NULL).n, 0);
    assert_true(span_eq(none, SPAN_LIT("")));
    assert_false(span_eq(s, SPAN_LIT("abd")));
    assert_true(span_starts(s, none));
    assert_true(span_starts(s, SPAN_LIT("ab")));
    assert_false(span_starts(s, SPAN_LIT("abcd")));
    assert_true(span_eq_str(span_sub(s, 1, 1), "b"));
    assert_true(span_eq_str(span_sub(s, 1, SIZE_MAX), "bc"));
    assert_int_equal(span_sub(s, 3, 1).n, 0);
    assert_int_equal(span_sub(s, SIZE_MAX, 1).n, 0);
}

static void cursor(void **state)
{
    (void)state;
    struct rd r = rd_init(SPAN_LIT("\1\2\3\4\5\6\7\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"
                                   "xy"));
    assert_int_equal(rd_u8(&r), 1);
    assert_int_equal(rd_u16(&r), 0x0203);
    assert_int_equal(rd_u32(&r), 0x04050607);
    assert_true(rd_u64(&r) == 0x08090a0b0c0d0e0fULL);
    assert_int_equal(rd_left(&r), 2);
    assert_false(rd_done(&r));
    assert_true(span_eq_str(rd_span(&r, 2), "xy"));
    assert_true(rd_done(&r));
    assert_int_equal(rd_span(&r, 0).n, 0);
    assert_true(rd_done(&r));
    assert_int_equal(rd_u8(&r), 0);
    assert_false(rd_done(&r));
    r = rd_init(SPAN_LIT("\1"));
    assert_int_equal(rd_u16(&r), 0);
    assert_int_equal(rd_u8(&r), 0); /* failed stays failed */
    assert_int_equal(rd_left(&r), 0);
    r = rd_init((struct span){NULL, 0});
    assert_true(rd_done(&r));
    assert_int_equal(rd_span(&r, SIZE_MAX).n, 0);
    assert_false(rd_done(&r));
}

static void secrets(void **state)
{
    (void)state;
    secret_auto s = {NULL, 0};
    assert_int_equal(secret_new(&s, 0), TD_INVAL);
    assert_int_equal(secret_new(&s, SIZE_MAX), TD_INVAL);
    assert_int_equal(secret_new(&s, 5000), TD_OK);
    assert_int_equal(s.n, 5000);
    for (size_t i = 0; i < s.n; i++)
        assert_int_equal(s.p[i], 0);
    s.p[4999] = 1;
    secret_free(&s);
    assert_null(s.p);
    secret_free(&s);
    secret_free(NULL);
    assert_true(secret_eq(SPAN_LIT("abc"), SPAN_LIT("abc")));
    assert_true(secret_eq((struct span){NULL, 0}, SPAN_LIT("")));
    assert_false(secret_eq(SPAN_LIT("abc"), SPAN_LIT("abd")));
    assert_false(secret_eq(SPAN_LIT("xbc"), SPAN_LIT("abc")));
    assert_false(secret_eq(SPAN_LIT("abc"), SPAN_LIT("ab")));
    assert_false(secret_eq(SPAN_LIT("\x80"), SPAN_LIT("\0")));
}

static void secret_files(void **state)
{
    (void)state;
    static const struct {
        const char *content, *want;
        enum td_err err;
    } rows[] = {
        {"pass\n", "pass", TD_OK},     {"pass", "pass", TD_OK}, {"pass\n\n", "pass\n", TD_OK},
        {"", NULL, TD_INVAL},          {"\n", NULL, TD_INVAL},  {"12345678", "12345678", TD_OK},
        {"123456789", NULL, TD_LIMIT},
    };
    char path[] = "/tmp/td-secret-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        size_t n = strlen(rows[i].content);
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_int_equal(pwrite(fd, rows[i].content, n, 0), n);
        secret_auto s = {NULL, 0};
        struct errinfo ei = {0};
        assert_int_equal(secret_read_file(path, 8, &s, &ei), rows[i].err);
        if (rows[i].want)
            assert_true(span_eq_str(span_of(s.p, s.n), rows[i].want));
        else
            assert_null(s.p);
        assert_true(!rows[i].content[0] || !strstr(ei.msg, "123")); /* no secret in messages */
    }
    close(fd);
    unlink(path);
    struct secret s = {NULL, 0};
    struct errinfo ei = {0};
    assert_int_equal(secret_read_file(path, 8, &s, &ei), TD_IO);
    assert_int_equal(ei.sys_errno, ENOENT);
}

static void randomness(void **state)
{
    (void)state;
    char id[RNG_ID_SIZE], id2[RNG_ID_SIZE], token[RNG_TOKEN_SIZE];
    rng_id(&rng_system, id);
    rng_id(&rng_system, id2);
    rng_token(&rng_system, token);
    assert_int_equal(strlen(id), 22);
    assert_int_equal(strlen(token), 43);
    assert_string_not_equal(id, id2);
    assert_int_equal(strspn(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                   "0123456789-_"),
                     43);
    struct rng_seeded a, b, c;
    uint8_t x[64], y[64], z[64];
    rng_seeded_init(&a, 4);
    rng_seeded_init(&b, 4);
    rng_seeded_init(&c, 6);
    rng_fill(&a.rng, x, sizeof x);
    rng_fill(&b.rng, y, sizeof y);
    rng_fill(&c.rng, z, sizeof z);
    assert_memory_equal(x, y, sizeof x);
    assert_memory_not_equal(x, z, sizeof x);
    rng_fill(&rng_system, x, 0);
}

static void clocks(void **state)
{
    (void)state;
    static const struct {
        int64_t t;
        const char *text;
    } rows[] = {
        {0, "1970-01-01T00:00:00Z"},          {951782400, "2000-02-29T00:00:00Z"},
        {1700000000, "2023-11-14T22:13:20Z"}, {4107542399, "2100-02-28T23:59:59Z"},
        {4107542400, "2100-03-01T00:00:00Z"}, {253402300799, "9999-12-31T23:59:59Z"},
    };
    char text[CLOCK_TEXT_SIZE];
    int64_t t;
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        clock_text(rows[i].t, text);
        assert_string_equal(text, rows[i].text);
        assert_int_equal(clock_parse(span_str(text), &t), TD_OK);
        assert_true(t == rows[i].t);
    }
    clock_text(-5, text);
    assert_string_equal(text, "1970-01-01T00:00:00Z");
    clock_text(INT64_MAX, text);
    assert_string_equal(text, "9999-12-31T23:59:59Z");
    assert_int_equal(clock_parse(SPAN_LIT("2023-11-14T22:13:20.123456Z"), &t), TD_OK);
    assert_true(t == 1700000000);
    static const char *const bad[] = {
        "",
        "2023-11-14",
        "2023-11-14T22:13:20",
        "2023-11-14T22:13:20+00:00",
        "2023-11-14 22:13:20Z",
        "2023-11-14T22:13:20.Z",
        "2023-11-14T22:13:20,5Z",
        "2023-11-14T22:13:20.5xZ",
        "2023-13-14T22:13:20Z",
        "2023-00-14T22:13:20Z",
        "2023-02-29T22:13:20Z",
        "2100-02-29T22:13:20Z",
        "2023-04-31T22:13:20Z",
        "2023-04-00T22:13:20Z",
        "2023-11-14T24:13:20Z",
        "2023-11-14T22:60:20Z",
        "2023-11-14T22:13:60Z",
        "1969-11-14T22:13:20Z",
        "2023-1a-14T22:13:20Z",
        "2023-11-14T22:13:20.1234567890123Z",
    };
    t = 5;
    for (size_t i = 0; i < TD_NITEMS(bad); i++)
        if (clock_parse(span_str(bad[i]), &t) != TD_PARSE || t != 5)
            fail_msg("accepted: %s", bad[i]);
    struct clock_fixed fixed;
    clock_fixed_init(&fixed, 1000);
    assert_int_equal(clock_now(&fixed.clock), 1000);
    fixed.at++;
    assert_int_equal(clock_mono(&fixed.clock), 1001000);
    int64_t before = clock_mono(&clock_system);
    assert_true(clock_now(&clock_system) > 1700000000);
    assert_true(clock_mono(&clock_system) >= before);
}

static void errors(void **state)
{
    (void)state;
    assert_string_equal(err_name(TD_PARSE), "PARSE");
    assert_int_equal(err_http(TD_NOTFOUND), 404);
    for (unsigned e = 0; e < TD_ERR_MAX; e++) {
        assert_non_null(err_name((enum td_err)e));
        assert_non_null(err_acme((enum td_err)e));
        assert_true(err_text((enum td_err)e)[0] != 0);
        assert_in_range(err_http((enum td_err)e), 200, 599);
        assert_in_range(err_level((enum td_err)e), LOG_DEBUG, LOG_ERROR);
    }
    assert_string_equal(err_name((enum td_err)999), "INTERNAL");
    assert_string_equal(err_name((enum td_err) - 1), "INTERNAL");

    assert_int_equal(err_set(NULL, TD_PARSE, "x"), TD_PARSE);
    struct errinfo ei = {.http = 7, .reason = "old"};
    assert_int_equal(err_set(&ei, TD_LIMIT, "%d is too many", 5), TD_LIMIT);
    assert_string_equal(ei.msg, "5 is too many");
    assert_null(ei.reason);
    assert_int_equal(ei.http, 0);
    assert_int_equal(ei.code, TD_LIMIT);
    assert_int_equal(err_set(&ei, TD_INVAL, "row 3: %s", ei.msg), TD_INVAL); /* wrapping */
    assert_string_equal(ei.msg, "row 3: 5 is too many");
    assert_int_equal(err_reason(&ei, TD_CRYPTO, "why", "m"), TD_CRYPTO);
    assert_string_equal(ei.reason, "why");
    assert_int_equal(err_sys(&ei, TD_IO, ENOENT, "open %s", "f"), TD_IO);
    assert_string_equal(ei.msg, "open f: No such file or directory");
    assert_int_equal(ei.sys_errno, ENOENT);
    char big[400];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = 0;
    err_sys(&ei, TD_IO, ENOENT, "%s", big);
    assert_int_equal(strlen(ei.msg), sizeof ei.msg - 1);
    ei = (struct errinfo){0};
    assert_string_equal(err_msg(&ei, TD_PARSE), err_text(TD_PARSE));
    assert_string_equal(err_msg(NULL, TD_PARSE), err_text(TD_PARSE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buf_limits),    cmocka_unit_test(buf_huge),
        cmocka_unit_test(buf_content),   cmocka_unit_test(arena_cap),
        cmocka_unit_test(arena_content), cmocka_unit_test(spans),
        cmocka_unit_test(cursor),        cmocka_unit_test(secrets),
        cmocka_unit_test(secret_files),  cmocka_unit_test(randomness),
        cmocka_unit_test(clocks),        cmocka_unit_test(errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
