/* room: crypt */
/* Sealed secrets and the file of their keys. Nothing opens but what was sealed for its place. */
#include <stdlib.h>

#include "mdm/crypt/seal.h"

#define KEY "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void as_file(struct span text)
{
    seal_auto *s = NULL;
    if (seal_parse(text, &s, NULL) != TD_OK)
        return;
    for (size_t i = 0; seal_key_id(s, i).n; i++)
        if (i >= SEAL_KEYS_MAX || !seal_has_key(s, seal_key_id(s, i)))
            abort();
}

/* Sealed, opened, and refused with one bit changed. */
static void as_secret(const struct seal *s, struct span secret)
{
    arena_auto a;
    arena_init(&a, 1 << 16);
    const struct seal_place at = {"fuzz", span_sub(secret, 0, 8)};
    struct span sealed;
    secret_auto back = {NULL, 0}, none = {NULL, 0};
    if (seal_wrap(s, &at, secret, &rng_system, &a, &sealed, NULL) != TD_OK) {
        if (secret.n > 0 && secret.n <= SEAL_MAX)
            abort();
        return;
    }
    if (seal_open(s, &at, sealed, &back, NULL) != TD_OK ||
        !span_eq(span_of(back.p, back.n), secret))
        abort();
    uint8_t *copy = arena_alloc(&a, sealed.n);
    if (!copy)
        return;
    memcpy(copy, sealed.p, sealed.n);
    copy[secret.p[0] % sealed.n] ^= (uint8_t)(1 << secret.n % 8);
    if (seal_open(s, &at, span_of(copy, sealed.n), &none, NULL) == TD_OK)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct seal *s;
    if (!s && seal_parse(SPAN_LIT(KEY), &s, NULL) != TD_OK)
        abort();
    struct span in = span_of(data, size);
    const struct seal_place at = {"fuzz", SPAN_LIT("row")};
    secret_auto out = {NULL, 0};
    as_file(in);
    as_secret(s, in);
    if (seal_open(s, &at, in, &out, NULL) == TD_OK && out.n + SEAL_OVERHEAD != size)
        abort();
    return 0;
}
