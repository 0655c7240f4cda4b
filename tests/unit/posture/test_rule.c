/* Rules: their JSON, whom they are for, and what satisfies them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "mdm/posture/rule.h"

static enum td_err parse(const char *name, const char *text, struct posture_rule *ret,
                         struct errinfo *ei)
{
    arena_auto a;
    struct json *j = NULL;
    arena_init(&a, 1 << 20);
    if (json_parse(span_str(text), &a, &j, ei) != TD_OK)
        fail_msg("not JSON: %s", text);
    return posture_rule_parse(span_str(name), j, ret, ei);
}

static struct posture_rule rule(const char *text)
{
    struct posture_rule r;
    struct errinfo ei = {0};
    if (parse("r", text, &r, &ei) != TD_OK)
        fail_msg("%s: %s", text, ei.msg);
    return r;
}

#define FV "\"fact\":\"filevault\",\"value\":true"

static void expect_written(struct posture_rule *r, const char *want)
{
    buf_auto b;
    struct json_w w;
    r->rev = 7;
    r->updated_at = 1700000000;
    buf_init(&b, 1 << 16);
    json_w_init(&w, &b);
    posture_rule_write(&w, r);
    assert_string_equal(buf_cstr(&b), want);
}

/* Texts in, texts out; what comes out goes in again (but name, rev and updated_at). */
static void test_round(void **state)
{
    (void)state;
#define REST                                                                                       \
    "\"attested\":false,\"max_age\":0,\"unknown\":\"ignore\",\"confirm\":2,\"grace\":0,"           \
    "\"revoke_after\":0,\"enforce\":true,\"enabled\":true"
#define EMPTY "\"description\":\"\",\"message\":\"\",\"platforms\":[],\"groups\":[],"
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"{" FV "}", EMPTY "\"fact\":\"filevault\",\"op\":\"=\",\"value\":true," REST},
        {"{\"fact\":\"sip\",\"op\":\"!=\",\"value\":false}",
         EMPTY "\"fact\":\"sip\",\"op\":\"!=\",\"value\":false," REST},
        {"{\"fact\":\"os_version\",\"op\":\">=\",\"value\":\"17\"}",
         EMPTY "\"fact\":\"os_version\",\"op\":\">=\",\"value\":\"17.0\"," REST},
        {"{\"fact\":\"build\",\"op\":\"in\",\"value\":[\"2 b\",\"1a\",\"2 b\"]}",
         EMPTY "\"fact\":\"build\",\"op\":\"in\",\"value\":[\"1a\",\"2 b\"]," REST},
        {"{\"fact\":\"external.edr\",\"value\":true}",
         EMPTY "\"fact\":\"external.edr\",\"op\":\"=\",\"value\":true," REST},
        {"{\"description\":\"d\",\"message\":\"m \xc3\xa4\",\"platforms\":[\"macos\",\"macos\"],"
         "\"groups\":[\"z\",\"a.b\",\"z\"],\"fact\":\"secure_boot\",\"op\":\"in\","
         "\"value\":[\"medium\",\"full\"],\"attested\":true,\"max_age\":604800,"
         "\"unknown\":\"fail\",\"confirm\":10,\"grace\":31536000,\"revoke_after\":1,"
         "\"enforce\":false,\"enabled\":false}",
         "\"description\":\"d\",\"message\":\"m \xc3\xa4\",\"platforms\":[\"macos\"],"
         "\"groups\":[\"a.b\",\"z\"],\"fact\":\"secure_boot\",\"op\":\"in\","
         "\"value\":[\"full\",\"medium\"],\"attested\":true,\"max_age\":604800,"
         "\"unknown\":\"fail\",\"confirm\":10,\"grace\":31536000,\"revoke_after\":1,"
         "\"enforce\":false,\"enabled\":false"},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        char want[1024], again[1024];
        struct posture_rule r = rule(rows[i].in);
        snprintf(want, sizeof want,
                 "{\"name\":\"r\",%s,\"rev\":7,\"updated_at\":\"2023-11-14T22:13:20Z\"}",
                 rows[i].out);
        expect_written(&r, want);
        snprintf(again, sizeof again, "{%s}", rows[i].out);
        r = rule(again);
        expect_written(&r, want);
    }
}

/* A fact that is gone from the table, in an old row: it is written all the same. */
static void test_write_unknown(void **state)
{
    (void)state;
    buf_auto b;
    struct json_w w;
    struct posture_rule r = rule("{" FV "}");
    snprintf(r.fact, sizeof r.fact, "gone");
    buf_init(&b, 1 << 16);
    json_w_init(&w, &b);
    posture_rule_write(&w, &r);
    assert_non_null(strstr(buf_cstr(&b), "\"fact\":\"gone\",\"op\":\"=\",\"value\":\"true\""));
    assert_true(posture_rule_applies(&r, SPAN_LIT("macos"), SPAN_LIT("")));
}

static void test_bad(void **state)
{
    (void)state;
    static const struct {
        const char *json, *names; /* what the message must begin with */
    } rows[] = {
        {"[]", "a JSON object"},
        {"{}", "fact"},
        {"{\"fact\":\"filevault\"}", "value"},
        {"{\"value\":true}", "fact"},
        {"{\"fact\":1,\"value\":true}", "fact"},
        {"{\"fact\":\"\",\"value\":true}", "fact"},
        {"{\"fact\":\"gatekeeper\",\"value\":true}", "fact"},
        {"{\"fact\":\"external.\",\"value\":true}", "fact"},
        {"{" FV ",\"color\":1}", "unknown member"},
        {"{" FV ",\"name\":\"r\"}", "unknown member"},
        {"{" FV ",\"rev\":1}", "unknown member"},
        {"{" FV ",\"description\":1}", "description"},
        {"{" FV ",\"description\":null}", "description"},
        {"{" FV ",\"message\":\"a\\nb\"}", "message"},
        {"{" FV ",\"message\":\"\\u007f\"}", "message"},
        {"{" FV ",\"platforms\":\"macos\"}", "platforms"},
        {"{" FV ",\"platforms\":[1]}", "platforms"},
        {"{" FV ",\"platforms\":[\"\"]}", "platforms"},
        {"{" FV ",\"platforms\":[\"windows\"]}", "platforms"},
        {"{" FV ",\"platforms\":[\"macos ios\"]}", "platforms"},
        {"{" FV ",\"platforms\":[\"macos\",\"ios\"]}", "platforms: ios never says"},
        {"{" FV ",\"platforms\":null}", "platforms"},
        {"{" FV ",\"groups\":{}}", "groups"},
        {"{" FV ",\"groups\":[\"a/b\"]}", "groups"},
        {"{" FV ",\"groups\":[\"a b\"]}", "groups"},
        {"{" FV ",\"op\":1}", "op"},
        {"{" FV ",\"op\":null}", "op"},
        {"{" FV ",\"op\":\"==\"}", "op"},
        {"{" FV ",\"op\":\">=\"}", "op: '>=' does not fit a boolean"},
        {"{\"fact\":\"filevault\",\"op\":\"in\",\"value\":[true]}", "op"},
        {"{\"fact\":\"os_version\",\"op\":\"in\",\"value\":[\"17.0\"]}", "op"},
        {"{\"fact\":\"build\",\"op\":\"<\",\"value\":\"17.0\"}", "op"},
        {"{\"fact\":\"secure_boot\",\"op\":\">=\",\"value\":\"full\"}", "op"},
        {"{\"fact\":\"filevault\",\"value\":\"true\"}", "value: not a boolean"},
        {"{\"fact\":\"filevault\",\"value\":1}", "value"},
        {"{\"fact\":\"filevault\",\"value\":null}", "value"},
        {"{\"fact\":\"filevault\",\"value\":[true]}", "value"},
        {"{\"fact\":\"os_version\",\"op\":\">=\",\"value\":17}", "value"},
        {"{\"fact\":\"os_version\",\"op\":\">=\",\"value\":\"x\"}", "value: not a version"},
        {"{\"fact\":\"os_version\",\"op\":\">=\",\"value\":true}", "value"},
        {"{\"fact\":\"secure_boot\",\"value\":\"Full Security\"}", "value: one of full"},
        {"{\"fact\":\"build\",\"value\":\"\"}", "value"},
        {"{\"fact\":\"build\",\"value\":\"a\\nb\"}", "value"},
        {"{\"fact\":\"build\",\"value\":[\"a\"]}", "value"},
        {"{\"fact\":\"build\",\"op\":\"in\",\"value\":\"a\"}", "value"},
        {"{\"fact\":\"build\",\"op\":\"in\",\"value\":[]}", "value"},
        {"{\"fact\":\"build\",\"op\":\"in\",\"value\":[\"a\",1]}", "value"},
        {"{\"fact\":\"build\",\"op\":\"in\",\"value\":[\"a\\nb\"]}", "value"},
        {"{\"fact\":\"secure_boot\",\"op\":\"in\",\"value\":[\"full\",\"x\"]}", "value: one of"},
        {"{" FV ",\"attested\":1}", "attested"},
        {"{" FV ",\"attested\":true}", "attested: no attestation"},
        {"{\"fact\":\"external.x\",\"value\":true,\"attested\":true}", "attested"},
        {"{" FV ",\"max_age\":-1}", "max_age"},
        {"{" FV ",\"max_age\":31536001}", "max_age"},
        {"{" FV ",\"max_age\":1.5}", "max_age"},
        {"{" FV ",\"max_age\":\"1h\"}", "max_age"},
        {"{" FV ",\"unknown\":\"pass\"}", "unknown"},
        {"{" FV ",\"unknown\":false}", "unknown"},
        {"{" FV ",\"confirm\":0}", "confirm"},
        {"{" FV ",\"confirm\":11}", "confirm"},
        {"{" FV ",\"grace\":31536001}", "grace"},
        {"{" FV ",\"grace\":-1}", "grace"},
        {"{" FV ",\"revoke_after\":31536001}", "revoke_after"},
        {"{" FV ",\"revoke_after\":null}", "revoke_after"},
        {"{" FV ",\"enforce\":\"true\"}", "enforce"},
        {"{" FV ",\"enabled\":0}", "enabled"},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct posture_rule r;
        struct errinfo ei = {0};
        if (parse("r", rows[i].json, &r, &ei) != TD_INVAL || !ei.reason ||
            strcmp(ei.reason, "invalid-rule") != 0 ||
            strncmp(ei.msg, rows[i].names, strlen(rows[i].names)) != 0)
            fail_msg("%s: %s", rows[i].json, ei.msg);
        assert_int_equal(parse("r", rows[i].json, &r, NULL), TD_INVAL);
    }
}

static void test_names(void **state)
{
    (void)state;
#define X16 "abcdefghijklmno-"
    static const struct {
        const char *name;
        bool valid;
    } rows[] = {
        {"a", true},
        {"0-_z", true},
        {"", false},
        {"A", false},
        {"a b", false},
        {"a.b", false},
        {"a/b", false},
        {"\xc3\xa4", false},
        {X16 X16 X16 X16, true},
        {X16 X16 X16 X16 "x", false},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct posture_rule r;
        struct errinfo ei = {0};
        enum td_err e = parse(rows[i].name, "{" FV "}", &r, &ei);
        if (e != (rows[i].valid ? TD_OK : TD_INVAL))
            fail_msg("'%s': %s", rows[i].name, err_name(e));
        if (e == TD_OK)
            assert_string_equal(r.name, rows[i].name);
        else
            assert_string_equal(ei.reason, "invalid-rule");
    }
}

/* {FV, "member": "xxx..."} */
static enum td_err with_text(const char *member, size_t n)
{
    struct posture_rule r;
    char json[1024], text[512];
    memset(text, 'x', n);
    text[n] = '\0';
    snprintf(json, sizeof json, "{" FV ",\"%s\":\"%s\"}", member, text);
    return parse("r", json, &r, NULL);
}

/* An array of n texts of `len` bytes, each another. */
static enum td_err with_list(const char *head, const char *tail, size_t n, size_t len)
{
    struct posture_rule r;
    buf_auto b;
    buf_init(&b, 1 << 16);
    buf_str(&b, head);
    for (size_t i = 0; i < n; i++)
        buf_printf(&b, "%s\"%0*zu\"", i ? "," : "", (int)len, i);
    buf_str(&b, tail);
    return parse("r", buf_cstr(&b), &r, NULL);
}

static void test_limits(void **state)
{
    (void)state;
    static const char groups[] = "{" FV ",\"groups\":[",
                      values[] = "{\"fact\":\"build\",\"op\":\"in\",\"value\":[";
    assert_int_equal(with_text("description", POSTURE_RULE_TEXT), TD_OK);
    assert_int_equal(with_text("description", POSTURE_RULE_TEXT + 1), TD_INVAL);
    assert_int_equal(with_text("message", POSTURE_RULE_TEXT), TD_OK);
    assert_int_equal(with_text("message", POSTURE_RULE_TEXT + 1), TD_INVAL);
    assert_int_equal(with_list(groups, "]}", 1, 40), TD_OK);
    assert_int_equal(with_list(groups, "]}", 1, 41), TD_INVAL);
    assert_int_equal(with_list(groups, "]}", 64, 3), TD_OK); /* 255 bytes */
    assert_int_equal(with_list(groups, "]}", 65, 3), TD_INVAL);
    assert_int_equal(with_list(groups, ",\"256b\"]}", 63, 3), TD_INVAL);
    assert_int_equal(with_list(values, "]}", 1, POSTURE_VALUE_MAX), TD_OK);
    assert_int_equal(with_list(values, "]}", 1, POSTURE_VALUE_MAX + 1), TD_INVAL);
    assert_int_equal(with_list(values, "]}", 64, 7), TD_OK); /* 511 bytes */
    assert_int_equal(with_list(values, ",\"512bytes\"]}", 63, 7), TD_INVAL);
    assert_int_equal(with_list(values, "]}", 65, 2), TD_INVAL);
    assert_int_equal(
        parse("r", "{" FV ",\"confirm\":1,\"max_age\":31536000}", &(struct posture_rule){0}, NULL),
        TD_OK);
}

static void test_applies(void **state)
{
    (void)state;
    static const struct {
        const char *members, *platform, *groups;
        bool applies;
    } rows[] = {
        {FV, "macos", "", true},
        {FV, "ios", "", false}, /* cannot say it */
        {FV, "", "", true},
        {FV ",\"platforms\":[\"macos\"]", "macos", "", true},
        {FV ",\"platforms\":[\"macos\"]", "", "", false},
        {"\"fact\":\"supervised\",\"value\":true", "tvos", "", true},
        {"\"fact\":\"supervised\",\"value\":true,\"platforms\":[\"ios\",\"ipados\"]", "tvos", "",
         false},
        {"\"fact\":\"supervised\",\"value\":true,\"platforms\":[\"ios\",\"ipados\"]", "ipados", "",
         true},
        {"\"fact\":\"external.x\",\"value\":true", "watchos", "", true},
        {FV ",\"groups\":[\"a\",\"b\"]", "macos", "b c", true},
        {FV ",\"groups\":[\"a\",\"b\"]", "macos", "c", false},
        {FV ",\"groups\":[\"a\",\"b\"]", "macos", "", false},
        {FV ",\"groups\":[\"a\",\"b\"]", "ios", "a", false},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        char json[256];
        snprintf(json, sizeof json, "{%s}", rows[i].members);
        struct posture_rule r = rule(json);
        if (posture_rule_applies(&r, span_str(rows[i].platform), span_str(rows[i].groups)) !=
            rows[i].applies)
            fail_msg("%s: '%s' '%s'", json, rows[i].platform, rows[i].groups);
    }
}

static void test_holds(void **state)
{
    (void)state;
    static const struct {
        const char *fact, *op, *value, *said;
        bool holds;
    } rows[] = {
        {"sip", "=", "true", "true", true},
        {"sip", "=", "true", "false", false},
        {"sip", "!=", "true", "false", true},
        {"sip", "!=", "true", "true", false},
        {"build", "=", "\"1A\"", "1A", true},
        {"build", "=", "\"1A\"", "1a", false},
        {"build", "in", "[\"1A\",\"2B\",\"3C\"]", "2B", true},
        {"build", "in", "[\"1A\",\"2B\",\"3C\"]", "3C", true},
        {"build", "in", "[\"1A\",\"2B\",\"3C\"]", "B", false},
        {"build", "in", "[\"1A\",\"2B\",\"3C\"]", "1A\n2B", false},
        {"secure_boot", "in", "[\"full\"]", "full", true},
        {"os_version", ">=", "\"17.4\"", "17.4", true},
        {"os_version", ">=", "\"17.4\"", "17.10", true},
        {"os_version", ">=", "\"17.4\"", "17.3.9", false},
        {"os_version", "<", "\"17.4\"", "17.3.9", true},
        {"os_version", "<", "\"17.4\"", "17.4", false},
        {"os_version", "=", "\"17\"", "17.0", true},
        {"os_version", "!=", "\"17.1\"", "17.0", true},
        {"os_version", ">=", "\"17.4\"", "", false}, /* what is no version satisfies nothing */
        {"os_version", "<", "\"17.4\"", "x", false},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        char json[256];
        snprintf(json, sizeof json, "{\"fact\":\"%s\",\"op\":\"%s\",\"value\":%s}", rows[i].fact,
                 rows[i].op, rows[i].value);
        struct posture_rule r = rule(json);
        if (posture_rule_holds(&r, rows[i].said) != rows[i].holds)
            fail_msg("%s: '%s'", json, rows[i].said);
    }
    struct posture_rule damaged = {.op = (enum posture_op)99};
    assert_false(posture_rule_holds(&damaged, ""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round),  cmocka_unit_test(test_write_unknown),
        cmocka_unit_test(test_bad),    cmocka_unit_test(test_names),
        cmocka_unit_test(test_limits), cmocka_unit_test(test_applies),
        cmocka_unit_test(test_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
