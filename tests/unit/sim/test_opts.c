#include "tests/unit/sim/simtest.h"

#include "tests/sim/opts.h"

static enum td_err parse(unsigned cmd, int n, const char *const *args, struct opts *o)
{
    char *argv[8] = {0};
    for (int i = 0; i < n; i++)
        argv[i] = strdup(args[i]);
    enum td_err e = opts_parse(cmd, n, argv, o, NULL);
    static char kept[8][64]; /* options borrow argv */
    for (int i = 0; i < n; i++) {
        snprintf(kept[i], sizeof(kept[i]), "%s", argv[i]);
        if (e == TD_OK && o->serial == argv[i])
            o->serial = kept[i];
        free(argv[i]);
    }
    return e;
}

#define ARGS(...)                                                                                  \
    TD_NITEMS(((const char *[]){__VA_ARGS__})), (const char *[])                                   \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static void good(void **state)
{
    struct opts o;
    (void)state;
    assert_int_equal(parse(OPTS_CONNECT, 0, NULL, &o), TD_OK);
    assert_int_equal(o.threads, 32);
    assert_int_equal(o.timeout, 15);
    assert_int_equal(
        parse(OPTS_CONNECT,
              ARGS("--serial", "S1", "--loops=3", "--notnow", "all", "--notnow=ProfileList"), &o),
        TD_OK);
    assert_string_equal(o.serial, "S1");
    assert_int_equal(o.loops, 3);
    assert_int_equal(o.nnotnow, 2);
    assert_int_equal(parse(OPTS_CONNECT, ARGS("--fresh", "--duration", "3"), &o), TD_OK);
    assert_true(o.fresh);
    static const unsigned enrol[] = {OPTS_ENROLL, OPTS_FLEET, OPTS_CONNECT};
    for (size_t i = 0; i < TD_NITEMS(enrol); i++)
        assert_int_equal(parse(enrol[i], ARGS("--posture", "sip=off,os=17.1"), &o), TD_OK);
    assert_non_null(o.posture);
    assert_int_equal(parse(OPTS_HTTP, ARGS("--url=http://h/", "--duration=1", "--json"), &o),
                     TD_OK);
}

static void bad(void **state)
{
    static const struct {
        unsigned cmd;
        const char *args[3];
        int n;
    } rows[] = {
        {OPTS_CONNECT, {"--nosuch"}, 1},
        {OPTS_CONNECT, {"stray"}, 1},
        {OPTS_CONNECT, {"--serial"}, 1},
        {OPTS_CONNECT, {"--dir", "x"}, 2}, /* another command's */
        {OPTS_CONNECT, {"--loops", "0"}, 2},
        {OPTS_CONNECT, {"--loops", "1000001"}, 2},
        {OPTS_CONNECT, {"--loops", "x"}, 2},
        {OPTS_CONNECT, {"--all=yes"}, 1},
        {OPTS_FLEET, {"--mtls", "--signature"}, 2},
        {OPTS_CONNECT, {"--all", "--fresh"}, 2}, /* nothing is measured */
        {OPTS_HTTP, {"--fresh"}, 1},
        {OPTS_FLEET, {"--key-size", "300"}, 2},
        {OPTS_CONNECT, {"--all", "--posture", "sip=yes"}, 3},
        {OPTS_CONNECT, {"--posture=sip=off", "--duration", "3"}, 3}, /* nothing is reported */
        {OPTS_CONNECT, {"--posture=sip=off", "--bench-connect", "3"}, 3},
        {OPTS_HTTP, {"--posture", "sip=off"}, 2},
    };
    struct opts o;
    (void)state;
    for (size_t i = 0; i < TD_NITEMS(rows); i++)
        assert_int_equal(parse(rows[i].cmd, rows[i].n, rows[i].args, &o), TD_INVAL);
}

/* As many --notnow as there is room for, and one more. */
static void list_limit(void **state)
{
    char *argv[OPTS_NOTNOW_MAX + 1];
    char word[] = "--notnow=x";
    struct opts o;
    (void)state;
    for (int i = 0; i <= OPTS_NOTNOW_MAX; i++)
        argv[i] = word;
    assert_int_equal(opts_parse(OPTS_CONNECT, OPTS_NOTNOW_MAX, argv, &o, NULL), TD_OK);
    assert_int_equal(opts_parse(OPTS_CONNECT, OPTS_NOTNOW_MAX + 1, argv, &o, NULL), TD_INVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good),
        cmocka_unit_test(bad),
        cmocka_unit_test(list_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
