/* PKCS#11 URIs: what they name, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "acme/signer/p11uri.h"

#define LONG64 "0123456789012345678901234567890123456789012345678901234567890123"

static void test_refused(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "",
        "pkcs11",
        "file:token=a",
        "pkcs11:token",
        "pkcs11:token=",
        "pkcs11:=a",
        "pkcs11:colour=red",
        "pkcs11:token=a;token=b",
        "pkcs11:id=%01;id=%02",
        "pkcs11:id=",
        "pkcs11:token=%",
        "pkcs11:token=%4",
        "pkcs11:token=%zz",
        "pkcs11:token=a%00b",
        "pkcs11:type=public",
        "pkcs11:token=a?pin-value=1",
        "pkcs11:token=a;;object=b",
        "pkcs11:object=" LONG64 "x",
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct p11uri u;
        struct errinfo ei = {0};
        if (p11uri_parse(span_str(rows[i]), &u, &ei) != TD_INVAL)
            fail_msg("%s", rows[i]);
        assert_true(ei.msg[0] != 0);
    }
}

static void test_named(void **state)
{
    (void)state;
    struct p11uri u;
    struct span text = SPAN_LIT("pkcs11:token=My%20Token;object=k;id=%0a%FF;type=private;serial=1");
    assert_int_equal(p11uri_parse(text, &u, NULL), TD_OK);
    assert_string_equal(u.token, "My Token");
    assert_string_equal(u.object, "k");
    assert_string_equal(u.serial, "1");
    assert_int_equal(u.nid, 2);
    assert_memory_equal(u.id, "\x0a\xff", 2);
    assert_int_equal(p11uri_parse(SPAN_LIT("pkcs11:object=" LONG64), &u, NULL), TD_OK);
    assert_int_equal(p11uri_parse(SPAN_LIT("pkcs11:"), &u, NULL), TD_OK);
}

/* What is written names the same again. */
static void test_round_trip(void **state)
{
    (void)state;
    struct p11uri u = {.token = "a;b=c ?", .object = "50%", .id = {0, 0x3b, 0xff}, .nid = 3}, back;
    buf_auto b;
    buf_init(&b, 1024);
    assert_int_equal(p11uri_put(&u, &b), TD_OK);
    assert_int_equal(p11uri_parse(buf_view(&b), &back, NULL), TD_OK);
    assert_string_equal(back.token, u.token);
    assert_string_equal(back.object, u.object);
    assert_int_equal(back.nid, 3);
    assert_memory_equal(back.id, u.id, 3);
}

/* What is written can be read: also of a token that is named by its serial number alone. */
static void test_written(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "pkcs11:serial=0123;object=testudo-issuing;id=%01%02", "pkcs11:token=a",
        "pkcs11:", "pkcs11:token=a%3bb;serial=1;manufacturer=M%20x;model=v2;object=o;id=%ff"};
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct p11uri u;
        buf_auto b;
        buf_init(&b, 1024);
        assert_int_equal(p11uri_parse(span_str(rows[i]), &u, NULL), TD_OK);
        assert_int_equal(p11uri_put(&u, &b), TD_OK);
        assert_string_equal(buf_cstr(&b), rows[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_named),
        cmocka_unit_test(test_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
