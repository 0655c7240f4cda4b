/* Strict number parsing: whole input, no sign, no space, no leading zero (but "0"), bounded. */
#ifndef TD_BASE_NUM_H
#define TD_BASE_NUM_H

#include "mdm/base/err.h"
#include "mdm/base/span.h"

/* Decimal, at most `max`. TD_PARSE when not a number, TD_LIMIT when larger; *ret untouched then. */
enum td_err num_u64(struct span s, uint64_t max, uint64_t *ret);

/* A duration such as "90s", "10m", "12h", "30d" or plain seconds, in seconds. */
enum td_err num_duration(struct span s, uint64_t max, uint64_t *ret);

/* A size such as "64k", "8m", "1g" or plain bytes, in bytes. */
enum td_err num_size(struct span s, uint64_t max, uint64_t *ret);

#endif
