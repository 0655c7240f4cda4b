#include "crypt_test.h"

#include "mdm/base/hex.h"

static void test_known(void **state)
{
    (void)state;
    /* FIPS 180 examples: "abc" */
    static const struct {
        enum digest_alg alg;
        size_t n;
        const char *hex;
    } rows[] = {
        {DIGEST_SHA1, 20, "a9993e364706816aba3e25717850c26c9cd0d89d"},
        {DIGEST_SHA256, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {DIGEST_SHA384, 48,
         "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
         "8086072ba1e7cc2358baeca134c825a7"},
        {DIGEST_SHA512, 64,
         "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
         "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"},
    };
    assert_ok(crypt_init(&ei));
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        uint8_t md[DIGEST_SIZE_MAX];
        char hex[2 * DIGEST_SIZE_MAX + 1];
        assert_int_equal(digest_size(rows[i].alg), rows[i].n);
        digest(rows[i].alg, SPAN_LIT("abc"), md);
        hex_enc(span_of(md, rows[i].n), hex);
        assert_string_equal(hex, rows[i].hex);
    }
    assert_int_equal(digest_size(DIGEST_MAX), 0);
}

static void test_empty(void **state)
{
    (void)state;
    uint8_t md[SHA256_SIZE];
    char hex[2 * SHA256_SIZE + 1];
    digest_sha256((struct span){NULL, 0}, md);
    hex_enc(SPAN_ARR(md), hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void test_init_twice(void **state)
{
    (void)state;
    assert_ok(crypt_init(&ei));
    assert_ok(crypt_init(&ei));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_init_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
