/* Certificate profiles as files: what is taken, what is refused, what templates become. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "acme/signer/proto/profile_set.h"
#include "mdm/base/fs.h"

static struct arena arena;

static int up(void **state)
{
    (void)state;
    arena_init(&arena, 1 << 20);
    return 0;
}

static int down(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

static void test_files(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text;
        enum td_err e;
        const char *says;
    } rows[] = {
        {"wifi", "", TD_OK, ""},
        {"wifi", "[subject]\ncn = {serial}\nou = {groups}\n", TD_OK, ""},
        {"wifi", "[profile]\nserial = no\n[subject]\ncn = {name}\n", TD_OK, ""},
        {"wifi", "[profile]\nserial = no\n[subject]\ncn = {serial}\n", TD_INVAL, "forbids"},
        {"wifi", "[profile]\nserial = no\n[san]\nuri = urn:x:{udid}\n", TD_INVAL, "forbids"},
        {"wifi", "[profile]\nserial = no\n", TD_INVAL, "names the device"},
        {"wifi", "[profile]\nserial = no\n[subject]\nou = {groups}\n", TD_INVAL,
         "names the device"},
        {"wifi", "[subject]\ncn = {owner\n", TD_INVAL, "brace"},
        {"wifi", "[subject]\ncn = owner}\n", TD_INVAL, "brace"},
        {"wifi", "[subject]\ncn = {{owner}}\n", TD_INVAL, "brace"},
        {"wifi", "[subject]\ncn = {}\n", TD_INVAL, "no fact"},
        {"wifi", "[subject]\ncn = {Owner}\n", TD_INVAL, "no fact"},
        {"wifi", "[san]\ndns = {serial}.a b\n", TD_INVAL, "cannot stand"},
        {"wifi", "[san]\ndns = *.{serial}\n", TD_INVAL, "cannot stand"},
        {"wifi", "[san]\nemail = {owner} <x>\n", TD_INVAL, "cannot stand"},
        {"wifi", "[san]\nuri = spiffe://td/{serial}\n", TD_INVAL, "SVID"},
        {"wifi", "[san]\nuri = spiffe://td/{serial}\n[usage]\neku = clientAuth serverAuth\n", TD_OK,
         ""},
        {"wifi", "[san]\npermanent_identifier = a/{serial}\n", TD_INVAL, "cannot stand"},
        {"wifi", "[san]\nhardware_module = 1.3.6.1.4.1.32473.1\n", TD_OK, ""},
        {"wifi", "[san]\nhardware_module = {serial}\n", TD_INVAL, "not an OID"},
        {"wifi", "[san]\nhardware_module = 1.2.3.\n", TD_INVAL, "not an OID"},
        {"wifi", "[profile]\nattestation = no\n[san]\nhardware_module = 1.2.3\n", TD_INVAL,
         "attestation"},
        {"wifi", "[profile]\nserial = no\n[subject]\ncn = x\n[san]\nhardware_module = 1.2.3\n",
         TD_INVAL, "serial"},
        {"wifi", "[usage]\neku = clientAuth clientAuth\n", TD_INVAL, "twice"},
        {"wifi", "[usage]\neku = 1.3.6.1.5.5.7.3.9\n", TD_INVAL, "no device"},
        {"wifi", "[usage]\neku = 2.5.29.37.0\n", TD_INVAL, "no device"},
        {"wifi", "[usage]\neku = everything\n", TD_INVAL, "eku"},
        {"wifi", "[usage]\neku = 1..2\n", TD_INVAL, "eku"},
        {"wifi", "[usage]\neku =\n", TD_INVAL, "eku"},
        {"wifi", "[usage]\neku = 1.3.6.1.5.2.3.4  clientAuth\n", TD_OK, ""},
        {"management", "[profile]\npurpose = management\n[usage]\neku = serverAuth\n", TD_INVAL,
         "clientAuth"},
        {"management", "[profile]\npurpose = access\n", TD_INVAL, "purpose"},
        {"access", "[profile]\npurpose = management\n", TD_INVAL, "purpose"},
        {"laptop", "[profile]\npurpose = management\n", TD_OK, ""},
        {"wifi", "[profile]\nlifetime = 3599\n", TD_INVAL, "hour"},
        {"wifi", "[profile]\nlifetime = 3600\n", TD_OK, ""},
        {"wifi", "[profile]\nlifetime = 5\ntesting = yes\n", TD_OK, ""},
        {"wifi", "[profile]\nlifetime = 399d\n", TD_INVAL, "398d"},
        {"wifi", "[profile]\nlifetime = 826d\npurpose = management\n", TD_INVAL, ""},
        {"wifi", "[profile]\nrenew_at = 96\n", TD_INVAL, ""},
        {"wifi", "[profile]\nrenew_at = 0\n", TD_INVAL, ""},
        {"wifi", "[profile]\nkeys = rsa\n", TD_INVAL, "keys"},
        {"wifi", "[profile]\nkeys =\n", TD_INVAL, "keys"},
        {"wifi", "[profile]\nkeys = p384\n", TD_OK, ""},
        {"wifi", "[facts]\noid = 1.3.6.1.4.1.99999.1\n", TD_OK, ""},
        {"wifi", "[facts]\noid = x\n", TD_INVAL, "OID"},
        {"wifi", "[facts]\noid = 1.2.3\nnames = owner\n", TD_INVAL, "attests"},
        {"wifi", "[facts]\noid = 1.2.3\nnames =\n", TD_INVAL, "empty"},
        {"wifi",
         "[profile]\nserial = no\n[san]\nemail = {owner}\n[facts]\noid = 1.2.3\nnames = udid\n",
         TD_INVAL, "forbids"},
        {"wifi", "[profile]\npurpose = both\n", TD_INVAL, ""},
        {"wifi", "[profile]\nunknown = 1\n", TD_INVAL, ""},
        {"Wifi", "", TD_INVAL, "name"},
        {"", "", TD_INVAL, "name"},
        {"-x", "", TD_INVAL, "name"},
        {"a.b", "", TD_INVAL, "name"},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "", TD_OK, ""},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "", TD_INVAL, "name"},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct profile_conf p;
        struct errinfo ei = {0};
        enum td_err e = profile_conf_parse(rows[i].name, span_str(rows[i].text), &arena, &p, &ei);
        if (e != rows[i].e || !strstr(ei.msg, rows[i].says))
            fail_msg("row %zu: %s: %s", i, err_name(e), ei.msg);
    }
}

static void test_defaults(void **state)
{
    (void)state;
    struct errinfo ei = {0};
    struct profile_conf p;
    assert_int_equal(profile_conf_parse("wifi", span_str(""), &arena, &p, &ei), TD_OK);
    const struct profile_conf *b = profile_conf_builtin(1);
    assert_string_equal(b->name, "access");
    assert_string_equal(p.purpose, "access");
    for (unsigned f = 0; f < PROFILE_FIELDS; f++) /* a file without a line is the built-in one */
        assert_string_equal(p.text[f], b->text[f]);
    assert_string_equal(p.eku[0], b->eku[0]);
    assert_null(p.eku[1]);
    assert_int_equal(p.renew, b->renew);
    assert_true(p.attestation && p.serial && b->attestation && b->serial);
    assert_null(profile_conf_builtin(2));
    buf_auto text;
    buf_init(&text, 65536);
    assert_int_equal(profile_conf_show(&p, &text), TD_OK);
    struct profile_conf again;
    assert_int_equal(profile_conf_parse("wifi", buf_view(&text), &arena, &again, &ei), TD_OK);
    assert_string_equal(again.text[PROFILE_CN], "{serial}");
}

static void test_templates(void **state)
{
    (void)state;
    struct profile_facts f = {0};
    profile_fact_set(&f, FACT_SERIAL, SPAN_LIT("C02XK0AAJGH5"), FACT_FROM_EVIDENCE);
    profile_fact_set(&f, FACT_OWNER, SPAN_LIT("ann@example.org"), FACT_FROM_INVENTORY);
    profile_fact_set(&f, FACT_NAME, SPAN_LIT("Ann's Mac \xc3\xbc"), FACT_FROM_INVENTORY);
    profile_fact_set(&f, FACT_GROUPS, SPAN_LIT("eng lab"), FACT_FROM_INVENTORY);
    profile_fact_set(&f, FACT_MODEL, SPAN_LIT("a,CN=root+x"), FACT_FROM_EVIDENCE);
    static const struct {
        enum profile_field f;
        const char *text, *out; /* NULL: refused, with this reason */
        const char *reason;
    } rows[] = {
        {PROFILE_CN, "{serial}", "C02XK0AAJGH5", NULL},
        {PROFILE_CN, "Mac of {owner}", "Mac of ann@example.org", NULL},
        {PROFILE_CN, "{name}", "Ann's Mac \xc3\xbc", NULL},
        {PROFILE_CN, "{model}", "a,CN=root+x", NULL}, /* one value, whatever is in it */
        {PROFILE_CN, "", NULL, NULL},
        {PROFILE_CN, "{udid}", NULL, "fact-missing"},
        {PROFILE_CN, "{serial}{serial}{serial}{serial}{serial}{serial}", NULL, "fact-unfit"},
        {PROFILE_ID, "{serial}", "C02XK0AAJGH5", NULL},
        {PROFILE_DNS, "{serial}.dev.example", "c02xk0aajgh5.dev.example", NULL},
        {PROFILE_DNS, "{name}.dev.example", NULL, "fact-unfit"},
        {PROFILE_DNS, "{owner}", NULL, "fact-unfit"},
        {PROFILE_EMAIL, "{owner}", "ann@example.org", NULL},
        {PROFILE_EMAIL, "{name}@example.org", NULL, "fact-unfit"},
        {PROFILE_URI, "urn:dev:{name}", "urn:dev:Ann%27s%20Mac%20%C3%BC", NULL},
        {PROFILE_URI, "https://x/{model}", "https://x/a%2CCN%3Droot%2Bx", NULL},
        {PROFILE_URI, "spiffe://td.example/device/{serial}",
         "spiffe://td.example/device/C02XK0AAJGH5", NULL},
        {PROFILE_URI, "spiffe://td.example/{owner}", NULL, "fact-unfit"},
        {PROFILE_URI, "spiffe://td.example/{name}", NULL, "fact-unfit"},
        {PROFILE_OU, "{groups}", "eng lab", NULL},
        {PROFILE_URI, "spiffe://td.example/{groups}", NULL, "fact-unfit"},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        const char *out = NULL;
        struct errinfo ei = {0};
        enum td_err e = profile_text_expand(rows[i].f, rows[i].text, &f, &arena, &out, &ei);
        bool refused = rows[i].reason != NULL;
        if (e != (refused ? TD_FORBIDDEN : TD_OK) || (out == NULL) != (rows[i].out == NULL) ||
            (out && strcmp(out, rows[i].out) != 0))
            fail_msg("row %zu: %s %s %s", i, err_name(e), out ? out : "(none)", ei.msg);
        if (refused)
            assert_string_equal(ei.reason, rows[i].reason);
    }
    /* control characters stand nowhere */
    profile_fact_set(&f, FACT_NAME, SPAN_LIT("a\nb"), FACT_FROM_INVENTORY);
    for (unsigned k = 0; k < PROFILE_FIELDS; k++) {
        const char *out;
        assert_int_equal(
            profile_text_expand((enum profile_field)k, "{name}", &f, &arena, &out, NULL),
            TD_FORBIDDEN);
    }
}

static void put(const char *dir, const char *file, const char *text, mode_t mode)
{
    char path[256];
    struct errinfo ei = {0};
    snprintf(path, sizeof path, "%s/%s", dir, file);
    assert_int_equal(fs_write(path, span_str(text), mode, true, &ei), TD_OK);
    assert_int_equal(chmod(path, mode), 0);
}

static void test_folder(void **state)
{
    (void)state;
    char dir[] = "/tmp/testudo-profiles-XXXXXX", folder[64], path[128];
    struct errinfo ei = {0};
    struct profile_set s;
    assert_non_null(mkdtemp(dir));
    snprintf(folder, sizeof folder, "%s/profiles", dir);
    assert_int_equal(profile_set_load(dir, &s, &ei), TD_OK); /* no folder */
    assert_int_equal(s.n, 2);
    profile_set_free(&s);
    assert_int_equal(mkdir(folder, 0700), 0);
    put(folder, "wifi.ini", "[subject]\ncn = {owner}\n", 0644);
    put(folder, "access.ini", "[profile]\nlifetime = 7d\n", 0644);
    put(folder, "notes.txt", "no profile", 0644);
    put(folder, ".hidden.ini", "[", 0644);
    assert_int_equal(profile_set_load(dir, &s, &ei), TD_OK);
    assert_int_equal(s.n, 3);
    assert_string_equal(s.all[0].name, "access"); /* the file took the built-in one's place */
    assert_int_equal(s.all[0].life, 7 * 86400);
    assert_false(s.all[0].built_in);
    assert_non_null(profile_set_find(&s, SPAN_LIT("wifi")));
    assert_true(profile_set_find(&s, SPAN_LIT("management"))->built_in);
    assert_null(profile_set_find(&s, SPAN_LIT("wif")));
    profile_set_free(&s);
    put(folder, "wifi.ini", "[subject]\ncn = {owner}\n", 0666);
    assert_int_equal(profile_set_load(dir, &s, &ei), TD_FORBIDDEN);
    put(folder, "wifi.ini", "[subject]\nce = x\n", 0644);
    assert_int_equal(profile_set_load(dir, &s, &ei), TD_INVAL);
    assert_non_null(strstr(ei.msg, "profiles/wifi.ini"));
    put(folder, "wifi.ini", "", 0644);
    put(folder, "Bad Name.ini", "", 0644);
    assert_int_equal(profile_set_load(dir, &s, &ei), TD_INVAL);
    static const char *const files[] = {"wifi.ini", "access.ini", "notes.txt", ".hidden.ini",
                                        "Bad Name.ini"};
    for (size_t i = 0; i < TD_NITEMS(files); i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rmdir(folder), 0);
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_templates),
        cmocka_unit_test(test_folder),
    };
    return cmocka_run_group_tests(tests, up, down);
}
