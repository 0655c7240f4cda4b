/* Bytes that must not be swapped, dumped, logged or left behind. */
#ifndef TD_BASE_SECRET_H
#define TD_BASE_SECRET_H

#include "mdm/base/err.h"
#include "mdm/base/span.h"

struct secret {
    uint8_t *p;
    size_t n;
};

/* n zeroed bytes, locked in memory where the limit allows and left out of core dumps. */
TD_NODISCARD enum td_err secret_new(struct secret *ret, size_t n);

/* Wipes and frees; NULL and an empty secret are fine. */
void secret_free(struct secret *s);

/* Equality in time that depends on the lengths alone. */
bool secret_eq(struct span a, struct span b);

/* Reads a passphrase file of at most `max` bytes, without the final newline. */
enum td_err secret_read_file(const char *path, size_t max, struct secret *ret, struct errinfo *ei);

#define secret_auto __attribute__((cleanup(secret_free))) struct secret

#endif
