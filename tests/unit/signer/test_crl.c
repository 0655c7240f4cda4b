/* What the signer lets itself be asked about CRLs: parts in order, numbers that rise, times of now.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <unistd.h>

#include "acme/signer/crl.h"
#include "mdm/base/fs.h"
#include "mdm/base/hex.h"

#define DAY INT64_C(86400)
#define URL "[ca]\ncrl_url = http://127.0.0.1/crl\ncrl_shards = 4\n"

struct world {
    struct cadir ca;
    struct audit_log audit;
    struct clock_fixed clock;
    struct issuer issuer;
    struct crl_maker *maker;
    char path[64];
};

static int up(void **state)
{
    static struct world w;
    struct errinfo ei = {0};
    struct cadir_issuing *is = &w.ca.issuing[0];
    assert_int_equal(crypt_init(&ei), TD_OK);
    clock_fixed_init(&w.clock, 1800000000);
    arena_init(&w.ca.arena, 1 << 20);
    assert_int_equal(key_generate(KEY_P256, &is->key, &ei), TD_OK);
    struct x509_spec s = {.serial = SPAN_LIT("\x40\x01"),
                          .cn = "CA",
                          .o = "Org",
                          .not_before = w.clock.at - DAY,
                          .not_after = w.clock.at + 4000 * DAY,
                          .public_key = is->key,
                          .key_usage = X509_KU_CERT_SIGN | X509_KU_CRL_SIGN,
                          .ca = true};
    struct span der;
    assert_int_equal(x509_build(&s, NULL, is->key, &w.ca.arena, &der, &ei), TD_OK);
    assert_int_equal(cert_parse(der, &is->cert, &ei), TD_OK);
    assert_true(cert_ski(is->cert, is->id));
    hex_enc(SPAN_ARR(is->id), is->hex);
    w.ca.n = 1;
    assert_int_equal(cadir_conf_parse(SPAN_LIT(URL), &w.ca.arena, &w.ca.conf, &ei), TD_OK);
    snprintf(w.path, sizeof w.path, "/tmp/td-crl-XXXXXX");
    close(mkstemp(w.path));
    assert_int_equal(audit_log_open(w.path, 0, &w.audit, &ei), TD_OK);
    issuer_init(&w.issuer, &w.ca, &w.audit, &w.clock.clock, &rng_system);
    w.maker = calloc(1, sizeof *w.maker);
    assert_non_null(w.maker);
    crl_maker_init(w.maker, &w.clock.clock);
    *state = &w;
    return 0;
}

static int down(void **state)
{
    struct world *w = *state;
    crl_maker_free(w->maker);
    free(w->maker);
    audit_log_close(&w->audit);
    unlink(w->path);
    cadir_free(&w->ca);
    return 0;
}

static struct crl_entry entries[10];

static struct signer_msg_crl ask(const struct world *w, uint64_t number, int shard, size_t total)
{
    for (uint8_t i = 0; i < TD_NITEMS(entries); i++)
        assert_true(crl_entry_set(&entries[i], span_of((uint8_t[]){0x40, i}, 2), w->clock.at - 100,
                                  i % 2 ? 5 : 6));
    struct signer_msg_crl m = {.shard = shard,
                               .number = number,
                               .this_update = w->clock.at - 60,
                               .next_update = w->clock.at + DAY,
                               .total = (uint32_t)total,
                               .n = total,
                               .entries = entries};
    memcpy(m.issuer, w->ca.issuing[0].id, sizeof m.issuer);
    return m;
}

/* As it comes over the channel: the entries are what was decoded. */
static enum td_err handle(struct world *w, const struct signer_msg_crl *m, struct arena *a,
                          struct span *ret, struct errinfo *ei)
{
    struct signer_msg out = {.type = SIGNER_MSG_CRL}, in;
    struct signer_msg_signed made = {0};
    buf_auto b;
    buf_init(&b, 65536);
    out.u.crl = *m;
    assert_int_equal(signer_msg_put(&b, &out), TD_OK);
    assert_int_equal(signer_msg_get(buf_view(&b), &in), TD_OK);
    enum td_err e = crl_handle(w->maker, &w->issuer, &in.u.crl, a, &made, ei);
    if (ret)
        *ret = made.der;
    return e;
}

static void refused(struct world *w, const struct signer_msg_crl *m, const char *reason)
{
    struct errinfo ei = {0};
    arena_auto a;
    arena_init(&a, 1 << 20);
    assert_int_not_equal(handle(w, m, &a, NULL, &ei), TD_OK);
    assert_non_null(ei.reason);
    assert_string_equal(ei.reason, reason);
}

static void accepted(struct world *w, const struct signer_msg_crl *m, const char *uri)
{
    struct errinfo ei = {0};
    arena_auto a;
    arena_init(&a, 1 << 20);
    struct span sig;
    buf_auto tbs, crl;
    buf_init(&tbs, 1 << 20);
    buf_init(&crl, 1 << 20);
    assert_int_equal(handle(w, m, &a, &sig, &ei), TD_OK);
    assert_true(sig.n > 0);
    struct crl_spec s = {.number = m->number,
                         .this_update = m->this_update,
                         .next_update = m->next_update,
                         .uri = uri,
                         .entries = entries,
                         .n = m->total};
    assert_int_equal(crl_tbs(&s, w->ca.issuing[0].cert, &tbs, &ei), TD_OK);
    assert_int_equal(crl_finish(buf_view(&tbs), sig, w->ca.issuing[0].cert, &crl, &ei), TD_OK);
}

static void test_signs(void **state)
{
    struct world *w = *state;
    char uri[SIGNER_MSG_URI_SIZE];
    struct signer_msg_crl m = ask(w, 1, SIGNER_MSG_CRL_COMPLETE, 3);
    accepted(w, &m, NULL);
    m = ask(w, 1, 3, 0);
    assert_true(signer_msg_crl_uri(SPAN_LIT("http://127.0.0.1/crl"), w->ca.issuing[0].hex, 3, uri));
    accepted(w, &m, uri);
    struct errinfo ei = {0};
    buf_auto log;
    buf_init(&log, 65536);
    assert_int_equal(audit_log_flush(&w->audit, &ei), TD_OK);
    assert_int_equal(fs_read(w->path, 65536, &log, &ei), TD_OK);
    assert_non_null(strstr(buf_cstr(&log), "\"subject\":\"complete number=1 entries=3\""));
    assert_non_null(strstr(buf_cstr(&log), "\"subject\":\"shard=3 number=1 entries=0\""));
}

/* Each shard has its own row of numbers; none is signed twice or after a higher one. */
static void test_numbers_rise(void **state)
{
    struct world *w = *state;
    struct signer_msg_crl m = ask(w, 10, 1, 2);
    char uri[SIGNER_MSG_URI_SIZE];
    assert_true(signer_msg_crl_uri(SPAN_LIT("http://127.0.0.1/crl"), w->ca.issuing[0].hex, 1, uri));
    accepted(w, &m, uri);
    refused(w, &m, "crl-number");
    m.number = 9;
    refused(w, &m, "crl-number");
    m.number = 11;
    accepted(w, &m, uri);
    m = ask(w, 5, 2, 2);
    assert_true(signer_msg_crl_uri(SPAN_LIT("http://127.0.0.1/crl"), w->ca.issuing[0].hex, 2, uri));
    accepted(w, &m, uri);
}

static void test_parts(void **state)
{
    struct world *w = *state;
    struct errinfo ei = {0};
    arena_auto a;
    arena_init(&a, 1 << 20);
    struct span sig;
    struct signer_msg_crl whole = ask(w, 20, SIGNER_MSG_CRL_COMPLETE, 5), part = whole;
    part.first = 2;
    part.n = 1;
    part.entries = entries + 2;
    refused(w, &part, "crl-order"); /* nothing began */
    part = whole;
    part.n = 2;
    assert_int_equal(handle(w, &part, &a, &sig, &ei), TD_OK);
    assert_int_equal(sig.n, 0);
    part.first = 3; /* a hole */
    part.entries = entries + 3;
    refused(w, &part, "crl-order");
    part.first = 2;
    part.entries = entries + 2;
    part.number = 21; /* of another */
    refused(w, &part, "crl-order");
    part.number = 20;
    part.n = 0; /* no step forward */
    refused(w, &part, "crl-order");
    part.n = 2;
    assert_int_equal(handle(w, &part, &a, &sig, &ei), TD_OK);
    assert_int_equal(sig.n, 0);
    part.first = 4;
    part.n = 1;
    part.entries = entries + 4;
    accepted(w, &part, NULL);
    refused(w, &part, "crl-number"); /* over */
    /* another beginning drops what there was */
    part = ask(w, 30, SIGNER_MSG_CRL_COMPLETE, 5);
    part.n = 1;
    assert_int_equal(handle(w, &part, &a, &sig, &ei), TD_OK);
    whole = ask(w, 31, SIGNER_MSG_CRL_COMPLETE, 4);
    accepted(w, &whole, NULL);
    part.first = 1;
    part.entries = entries + 1;
    refused(w, &part, "crl-number");
}

static void test_refused(void **state)
{
    struct world *w = *state;
    struct signer_msg_crl m = ask(w, 100, 0, 2);
    m.issuer[0] ^= 1;
    refused(w, &m, "certid-issuer");
    m = ask(w, 100, 4, 2);
    refused(w, &m, "crl-shard");
    m = ask(w, 100, 0, 2);
    m.this_update = w->clock.at - CRL_PAST_MAX - 1;
    refused(w, &m, "window");
    m.this_update = w->clock.at + CRL_FUTURE_MAX + 1;
    refused(w, &m, "window");
    m = ask(w, 100, 0, 2);
    m.next_update = w->clock.at;
    refused(w, &m, "window");
    m.next_update = m.this_update + CRL_WINDOW_MAX + 1;
    refused(w, &m, "window");
    /* what crl_tbs refuses: here an order that it must not have */
    struct errinfo ei = {0};
    arena_auto a;
    arena_init(&a, 1 << 20);
    m = ask(w, 100, 0, 2);
    struct crl_entry swap = entries[0];
    entries[0] = entries[1];
    entries[1] = swap;
    assert_int_equal(handle(w, &m, &a, NULL, &ei), TD_INVAL);
    m = ask(w, 100, 0, 2); /* that one does not count */
    assert_int_equal(handle(w, &m, &a, NULL, &ei), TD_OK);
}

static void test_rate(void **state)
{
    struct world *w = *state;
    struct errinfo ei = {0};
    enum td_err e = TD_OK;
    int n = 0;
    for (; n <= CRL_RATE && e == TD_OK; n++) {
        arena_auto a;
        arena_init(&a, 1 << 20);
        struct signer_msg_crl m = ask(w, 1000 + (uint64_t)n, 0, 1);
        e = handle(w, &m, &a, NULL, &ei);
    }
    assert_int_equal(e, TD_BUSY);
    assert_string_equal(ei.reason, "rate");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signs), cmocka_unit_test(test_numbers_rise),
        cmocka_unit_test(test_parts), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_rate),
    };
    return cmocka_run_group_tests(tests, up, down);
}
