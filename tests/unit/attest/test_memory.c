/* Memory that runs out inside OpenSSL says nothing about a device: an honest attestation is never
 * refused for it, as a refusal would end the device's order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "acme/attest/attest.h"
#include "tests/unit/attest/fake_pki.h"

#define SERIAL "F2LXK0ABCD12"

/* How many more allocations succeed; negative: all. One thread. */
static long left = -1;
static bool failed;

static bool fails(void)
{
    if (left < 0)
        return false;
    if (left > 0) {
        left--;
        return false;
    }
    failed = true;
    left = -1; /* one fails, the next ones do not */
    return true;
}

static void *take(size_t n, const char *file, int line)
{
    (void)file, (void)line;
    return fails() ? NULL : malloc(n);
}

static void *again(void *p, size_t n, const char *file, int line)
{
    (void)file, (void)line;
    return fails() ? NULL : realloc(p, n);
}

static void give(void *p, const char *file, int line)
{
    (void)file, (void)line;
    free(p);
}

static void never_a_refusal(void **state)
{
    (void)state;
    arena_auto a;
    arena_init(&a, (size_t)64 << 20);
    uint8_t fresh[32] = {7};
    struct fake_pki pki = fake_pki_new("Fake Attestation Root CA");
    EVP_PKEY *device = fake_key("P-384");
    struct fake_leaf l = {.key = device, .serial = SERIAL, .freshness = SPAN_ARR(fresh)};
    struct span x5c[2] = {fake_leaf_der(&pki, &l, &a), fake_der(pki.sub.cert, &a)};
    struct span obj = fake_attobj("apple", x5c, 2, &a), pem = fake_pem(pki.root.cert, &a);
    const struct attest_expect want = {SPAN_ARR(fresh), SERIAL, FAKE_NOW};
    long k = 0, told = 0;
    for (failed = true; failed; k++) {
        struct attest_roots *roots;
        struct attest_result r;
        struct errinfo ei = {0};
        /* fresh roots: nothing is remembered of the run before */
        assert_int_equal(attest_roots_new(&pem, 1, &roots, NULL), TD_OK);
        failed = false;
        left = k;
        enum td_err e = attest_verify(roots, obj, &want, &a, &r, &ei);
        left = -1;
        if (e != TD_OK && (e == TD_FORBIDDEN || ei.acme))
            fail_msg("allocation %ld: %s %s: %s", k, err_name(e), ei.reason, ei.msg);
        told += e != TD_OK;
        attest_result_free(&r);
        attest_roots_free(roots);
    }
    print_message("%ld allocations failed in turn, %ld runs ended by it\n", k - 1, told);
    assert_true(told > 20);
    EVP_PKEY_free(device);
    fake_pki_free(&pki);
}

int main(void)
{
    /* before OpenSSL takes any */
    if (CRYPTO_set_mem_functions(take, again, give) != 1 || crypt_init(NULL) != TD_OK)
        return 77;
    const struct CMUnitTest tests[] = {cmocka_unit_test(never_a_refusal)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
