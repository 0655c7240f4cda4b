/* Secrets sealed in the database: they open where they were put, as they were put, and nowhere
 * else.
 */
#include "crypt_test.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mdm/crypt/seal.h"

#define KEY_A "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define KEY_B "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"

static const struct seal_place here = {"eab", {(const uint8_t *)"row-1", 5}};

static struct seal *keys(const char *text)
{
    struct seal *s = NULL;
    assert_ok(seal_parse(span_str(text), &s, &ei));
    return s;
}

static struct span wrapped(const struct seal *s, struct span secret, struct arena *a)
{
    struct span out = {NULL, 0};
    assert_ok(seal_wrap(s, &here, secret, &rng_system, a, &out, &ei));
    return out;
}

/* Opens it and says how it failed: NULL when it did not. */
static const char *why_not(const struct seal *s, const struct seal_place *at, struct span sealed)
{
    struct errinfo ei = {0};
    secret_auto out = {NULL, 0};
    enum td_err e = seal_open(s, at, sealed, &out, &ei);
    if (e == TD_OK)
        return NULL;
    assert_int_equal(e, TD_DB);
    assert_null(out.p);
    return ei.reason;
}

static void test_round(void **state)
{
    (void)state;
    seal_auto *s = keys(KEY_A "\n");
    static const size_t sizes[] = {1, 15, 16, 32, SEAL_MAX};
    uint8_t plain[SEAL_MAX + 1];
    rng_fill(&rng_system, plain, sizeof plain);
    for (size_t i = 0; i < TD_NITEMS(sizes); i++) {
        arena_auto a;
        arena_init(&a, 1 << 16);
        secret_auto out = {NULL, 0};
        struct span sealed = wrapped(s, span_of(plain, sizes[i]), &a);
        assert_int_equal(sealed.n, sizes[i] + SEAL_OVERHEAD);
        assert_ok(seal_open(s, &here, sealed, &out, &ei));
        assert_true(span_eq(span_of(out.p, out.n), span_of(plain, sizes[i])));
        assert_true(seal_is_current(s, sealed));
        /* another nonce each time */
        assert_false(span_eq(sealed, wrapped(s, span_of(plain, sizes[i]), &a)));
    }
    arena_auto a;
    arena_init(&a, 1 << 16);
    struct span out;
    assert_err(TD_INVAL, seal_wrap(s, &here, span_of(plain, 0), &rng_system, &a, &out, &ei));
    assert_err(TD_LIMIT,
               seal_wrap(s, &here, span_of(plain, SEAL_MAX + 1), &rng_system, &a, &out, &ei));
}

static void test_place(void **state)
{
    (void)state;
    seal_auto *s = keys(KEY_A "\n");
    arena_auto a;
    arena_init(&a, 1 << 16);
    struct span sealed = wrapped(s, SPAN_LIT("secret"), &a);
    static const struct seal_place others[] = {
        {"eab", {(const uint8_t *)"row-2", 5}},
        {"eab", {(const uint8_t *)"row-", 4}},
        {"eab", {NULL, 0}},
        {"webhook", {(const uint8_t *)"row-1", 5}},
        {"ea", {(const uint8_t *)"brow-1", 6}},
        {"", {(const uint8_t *)"row-1", 5}},
    };
    for (size_t i = 0; i < TD_NITEMS(others); i++)
        assert_string_equal(why_not(s, &others[i], sealed), "seal-broken");
    assert_null(why_not(s, &here, sealed));

    char purpose[SEAL_PURPOSE_MAX + 2] = "";
    uint8_t row[SEAL_ROW_MAX + 1] = {0};
    memset(purpose, 'p', SEAL_PURPOSE_MAX);
    struct seal_place at = {purpose, {row, SEAL_ROW_MAX}};
    struct span out;
    assert_ok(seal_wrap(s, &at, SPAN_LIT("x"), &rng_system, &a, &out, &ei));
    assert_null(why_not(s, &at, out));
    at.row.n++;
    assert_err(TD_LIMIT, seal_wrap(s, &at, SPAN_LIT("x"), &rng_system, &a, &out, &ei));
    at.row.n = 1;
    purpose[SEAL_PURPOSE_MAX] = 'p';
    assert_err(TD_LIMIT, seal_wrap(s, &at, SPAN_LIT("x"), &rng_system, &a, &out, &ei));
}

static void test_changed(void **state)
{
    (void)state;
    seal_auto *s = keys(KEY_A "\n");
    arena_auto a;
    arena_init(&a, 1 << 20);
    struct span sealed = wrapped(s, SPAN_LIT("secret"), &a);
    uint8_t copy[64 + SEAL_OVERHEAD];
    assert_true(sealed.n < sizeof copy);
    for (size_t i = 0; i < sealed.n; i++) {
        memcpy(copy, sealed.p, sealed.n);
        copy[i] ^= 0x10;
        const char *want = i == 0            ? "seal-malformed"
                           : i < 1 + SEAL_ID ? "seal-key-unknown"
                                             : "seal-broken";
        assert_string_equal(why_not(s, &here, span_of(copy, sealed.n)), want);
    }
    for (size_t n = 0; n < sealed.n; n++)
        assert_string_equal(why_not(s, &here, span_of(sealed.p, n)),
                            n <= SEAL_OVERHEAD ? "seal-malformed" : "seal-broken");
    memcpy(copy, sealed.p, sealed.n);
    copy[sealed.n] = 0;
    assert_string_equal(why_not(s, &here, span_of(copy, sealed.n + 1)), "seal-broken");
    uint8_t *large = arena_alloc(&a, SEAL_MAX + SEAL_OVERHEAD + 1);
    memcpy(large, sealed.p, sealed.n);
    assert_string_equal(why_not(s, &here, span_of(large, SEAL_MAX + SEAL_OVERHEAD + 1)),
                        "seal-malformed");
}

static void test_keys(void **state)
{
    (void)state;
    seal_auto *old = keys(KEY_A "\n"), *both = keys("# new\n" KEY_B "\r\n\n  " KEY_A "\n");
    seal_auto *other = keys(KEY_B);
    arena_auto a;
    arena_init(&a, 1 << 16);
    struct span by_old = wrapped(old, SPAN_LIT("secret"), &a);
    struct span by_new = wrapped(both, SPAN_LIT("secret"), &a);
    assert_null(why_not(both, &here, by_old));
    assert_false(seal_is_current(both, by_old));
    assert_true(seal_is_current(both, by_new));
    assert_string_equal(why_not(other, &here, by_old), "seal-key-unknown");
    assert_null(why_not(other, &here, by_new));
    assert_true(seal_has_key(both, seal_key_id(old, 0)));
    assert_true(span_eq(seal_key_id(both, 1), seal_key_id(old, 0)));
    assert_false(seal_has_key(old, seal_key_id(both, 0)));
    assert_int_equal(seal_key_id(both, 2).n, 0);
    assert_false(seal_is_current(both, (struct span){NULL, 0}));
}

static void test_text(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum td_err want;
    } rows[] = {
        {"", TD_INVAL},
        {"\n\n# nothing\n", TD_INVAL},
        {KEY_A "A\n", TD_PARSE},
        {"AAAA\n", TD_PARSE},
        {KEY_A "=\n", TD_PARSE},
        {KEY_A " " KEY_B "\n", TD_PARSE},
        {KEY_A "\n" KEY_B "\n" KEY_A "\n", TD_EXISTS},
    };
    struct seal *s = NULL;
    for (size_t i = 0; i < TD_NITEMS(rows); i++)
        assert_err(rows[i].want, seal_parse(span_str(rows[i].text), &s, &ei));
    assert_null(s);

    buf_auto many;
    buf_init(&many, SEAL_FILE_MAX);
    for (int i = 0; i < SEAL_KEYS_MAX; i++) {
        char key[RNG_TOKEN_SIZE];
        rng_token(&rng_system, key);
        assert_int_equal(buf_printf(&many, "%s\n", key), TD_OK);
    }
    seal_auto *most = NULL;
    assert_ok(seal_parse(buf_view(&many), &most, &ei));
    assert_int_equal(buf_str(&many, KEY_A "\n"), TD_OK);
    assert_err(TD_LIMIT, seal_parse(buf_view(&many), &s, &ei));
}

static void test_file(void **state)
{
    (void)state;
    char path[] = "/tmp/td-seal-XXXXXX";
    struct stat st;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_err(TD_EXISTS, seal_create(path, &rng_system, &ei)); /* never over another */
    unlink(path);
    struct seal *none = NULL;
    assert_err(TD_NOTFOUND, seal_load(path, &none, &ei));
    assert_ok(seal_create(path, &rng_system, &ei));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    seal_auto *s = NULL;
    assert_ok(seal_load(path, &s, &ei));
    assert_int_equal(seal_key_id(s, 1).n, 0);
    assert_int_equal(chmod(path, 0640), 0);
    assert_err(TD_FORBIDDEN, seal_load(path, &none, &ei));
    unlink(path);
}

int main(void)
{
    if (crypt_init(NULL) != TD_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round), cmocka_unit_test(test_place), cmocka_unit_test(test_changed),
        cmocka_unit_test(test_keys),  cmocka_unit_test(test_text),  cmocka_unit_test(test_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
