/* Who may have a certificate of a profile: the judgement alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "acme/ca/profile_policy.h"

static struct ca_policy policy(const char *groups, const char *platforms, const char *min_os)
{
    struct ca_policy p = {.enabled = true};
    snprintf(p.groups, sizeof p.groups, "%s", groups);
    snprintf(p.platforms, sizeof p.platforms, "%s", platforms);
    snprintf(p.min_os, sizeof p.min_os, "%s", min_os);
    return p;
}

static void test_forms(void **state)
{
    (void)state;
    static const struct {
        const char *groups, *platforms, *min_os;
        enum td_err e;
    } rows[] = {
        {"", "", "", TD_OK},
        {"b  a b", "macos ios", "macos=14.6 ios=17", TD_OK},
        {"a/b", "", "", TD_INVAL},
        {"", "windows", "", TD_INVAL},
        {"", "", "ios", TD_INVAL},
        {"", "", "ios=", TD_INVAL},
        {"", "", "ios=x", TD_INVAL},
        {"", "", "linux=1", TD_INVAL},
        {"", "", "ios=17 ios=18", TD_INVAL},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct ca_policy p = policy(rows[i].groups, rows[i].platforms, rows[i].min_os);
        struct errinfo ei = {0};
        if (ca_policy_judge(&p, &ei) != rows[i].e)
            fail_msg("row %zu: %s", i, ei.msg);
    }
    struct ca_policy p = policy("b  a b", "macos ios", "");
    assert_int_equal(ca_policy_judge(&p, NULL), TD_OK);
    assert_string_equal(p.groups, "a b");
    assert_string_equal(p.platforms, "ios macos");
}

static void test_verdicts(void **state)
{
    (void)state;
    static const struct {
        const char *groups, *platforms, *min_os; /* of the policy */
        const char *platform, *in;               /* of the device */
        const char *version;                     /* NULL: not attested yet */
        const char *reason;                      /* NULL: allowed */
    } rows[] = {
        {"", "", "", "", "", NULL, NULL},
        {"", "", "", "ios", "", "17.0", NULL},
        {"eng", "", "", "ios", "lab eng", NULL, NULL},
        {"eng lab", "", "", "ios", "lab", NULL, NULL},
        {"eng", "", "", "ios", "engineers", NULL, "profile-not-allowed"},
        {"eng", "", "", "ios", "", NULL, "profile-not-allowed"},
        {"", "ios macos", "", "macos", "", NULL, NULL},
        {"", "macos", "", "ios", "", NULL, "profile-not-allowed"},
        {"", "macos", "", "", "", NULL, "profile-not-allowed"},
        {"", "", "ios=17.4", "ios", "", NULL, NULL},
        {"", "", "ios=17.4", "ios", "", "17.4", NULL},
        {"", "", "ios=17.4", "ios", "", "17.3.9", "os-too-old"},
        {"", "", "ios=17.4", "ios", "", "", "os-unknown"},
        {"", "", "ios=17.4", "ios", "", "x", "os-unknown"},
        {"", "", "ios=17.4", "macos", "", "14.0", NULL},
        {"", "", "ios=17.4 macos=15", "macos", "", "14.9", "os-too-old"},
        {"", "", "ios=17.4", "", "", "18.0", "profile-not-allowed"},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct ca_policy p = policy(rows[i].groups, rows[i].platforms, rows[i].min_os);
        struct ca_candidate c = {.platform = rows[i].platform,
                                 .groups = span_str(rows[i].in),
                                 .attested = rows[i].version != NULL,
                                 .os_version = span_str(rows[i].version)};
        struct errinfo ei = {0};
        enum td_err e = ca_policy_allows(&p, &c, &ei);
        if (e != (rows[i].reason ? TD_FORBIDDEN : TD_OK) ||
            (rows[i].reason && strcmp(ei.reason, rows[i].reason) != 0))
            fail_msg("row %zu: %s %s", i, err_name(e), ei.reason ? ei.reason : "");
        p.enabled = false;
        assert_int_equal(ca_policy_allows(&p, &c, &ei), TD_FORBIDDEN);
        assert_string_equal(ei.reason, "profile-disabled");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_verdicts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
