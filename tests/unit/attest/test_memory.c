/* Memory that runs out inside OpenSSL says nothing about a device: an honest attestation is not
 * refused for it, as a refusal would end the device's order. OpenSSL's path builder and its
 * decoders forget the cause in some places; how few of these are left is held here. */
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

/* In place of mdm/crypt/digest.c, which ends the process when there is no memory: here it has some.
 */
size_t digest_size(enum digest_alg alg)
{
    static const uint8_t sizes[DIGEST_MAX] = {20, 32, 48, 64};
    return sizes[alg];
}

void digest(enum digest_alg alg, struct span s, uint8_t *out)
{
    static const char *const names[DIGEST_MAX] = {"SHA1", "SHA256", "SHA384", "SHA512"};
    long kept = left;
    left = -1;
    fake_ok(EVP_Q_digest(NULL, names[alg], NULL, s.p, s.n, out, NULL) == 1);
    left = kept;
}

void digest_sha256(struct span s, uint8_t out[static SHA256_SIZE])
{
    digest(DIGEST_SHA256, s, out);
}

static void seldom_a_refusal(void **state)
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
    const struct attest_expect want = {SPAN_ARR(fresh), SERIAL, FAKE_NOW, 0};
    long k = 0, told = 0, wrong = 0;
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
        wrong += e == TD_FORBIDDEN;
        told += e != TD_OK;
        attest_result_free(&r);
        attest_roots_free(roots);
    }
    print_message("%ld allocations failed in turn, %ld runs ended by it, %ld of them refused\n",
                  k - 1, told, wrong);
    assert_true(told > 20);
    assert_true(wrong * 40 < k); /* measured: 30 of 2333 with OpenSSL 3.0 */
    EVP_PKEY_free(device);
    fake_pki_free(&pki);
}

int main(void)
{
    /* before OpenSSL takes any */
    if (CRYPTO_set_mem_functions(take, again, give) != 1 || crypt_init(NULL) != TD_OK)
        return 77;
    const struct CMUnitTest tests[] = {cmocka_unit_test(seldom_a_refusal)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
