/* What the tests of this room share: keys and certificates made on the spot. */
#ifndef TD_TESTS_CRYPT_TEST_H
#define TD_TESTS_CRYPT_TEST_H

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "mdm/base/fs.h"
#include "mdm/base/limits.h"
#include "mdm/crypt/x509_build_int.h"

#define T0 1700000000
#define YEAR (365 * 86400)
#define EKU_CLIENT "1.3.6.1.5.5.7.3.2"
#define EKU_SERVER "1.3.6.1.5.5.7.3.1"
#define EKU_OCSP "1.3.6.1.5.5.7.3.9"

#define assert_ok(expr)                                                                            \
    do {                                                                                           \
        struct errinfo ei = {0};                                                                   \
        enum td_err e_ = (expr);                                                                   \
        if (e_ != TD_OK)                                                                           \
            fail_msg("%s: %s: %s", #expr, err_name(e_), ei.msg);                                   \
    } while (0)

#define assert_err(want, expr)                                                                     \
    do {                                                                                           \
        struct errinfo ei = {0};                                                                   \
        enum td_err e_ = (expr);                                                                   \
        if (e_ != (want))                                                                          \
            fail_msg("%s: %s (%s), expected %s", #expr, err_name(e_), ei.msg, err_name(want));     \
    } while (0)

/* One certificate from a specification. */
static inline struct cert *t_cert(const struct x509_spec *s, const struct cert *issuer,
                                  const struct key *key)
{
    arena_auto a;
    arena_init(&a, 1 << 20);
    struct span der;
    struct cert *c = NULL;
    assert_ok(x509_build(s, issuer, key, &a, &der, &ei));
    assert_ok(cert_parse(der, &c, &ei));
    return c;
}

/* One that the lint would not let pass. */
static inline struct cert *t_odd(const struct x509_spec *s, const struct cert *issuer,
                                 const struct key *key)
{
    arena_auto a;
    arena_init(&a, 1 << 20);
    buf_auto tbs;
    buf_init(&tbs, 65536);
    struct span der;
    struct cert *c = NULL;
    assert_ok(x509_tbs(s, issuer, key, &tbs, &ei));
    assert_ok(x509_seal(buf_view(&tbs), key, &a, &der, &ei));
    assert_ok(cert_parse(der, &c, &ei));
    return c;
}

static inline struct cert *t_ca(const char *cn, const struct key *k, const struct cert *issuer,
                                const struct key *issuer_key, int path_len)
{
    const struct x509_spec s = {.serial = SPAN_LIT("\x10\x01"),
                                .cn = cn,
                                .not_before = T0,
                                .not_after = T0 + 10 * YEAR,
                                .public_key = k,
                                .key_usage = X509_KU_CERT_SIGN | X509_KU_CRL_SIGN,
                                .ca = true,
                                .path_len = path_len};
    return t_cert(&s, issuer, issuer_key);
}

static inline struct cert *t_leaf(const char *cn, const struct key *k, const struct cert *issuer,
                                  const struct key *issuer_key, const char *eku_oid)
{
    const char *eku[] = {eku_oid, NULL};
    const struct x509_spec s = {.serial = SPAN_LIT("\x20\x02"),
                                .cn = cn,
                                .not_before = T0,
                                .not_after = T0 + YEAR,
                                .public_key = k,
                                .key_usage = X509_KU_DIGITAL_SIGNATURE,
                                .eku = eku};
    return t_cert(&s, issuer, issuer_key);
}

static inline struct key *t_key(enum key_type t)
{
    struct key *k = NULL;
    assert_ok(key_generate(t, &k, &ei));
    return k;
}

#endif
