/* The guard in front of libcbor (ARCHITECTURE rule 1): libcbor 0.8 believes a claimed count and
 * takes 2 GB for nine bytes. A walk of our own bounds the structure first. */
#ifndef TD_ACME_ATTEST_CBOR_GUARD_H
#define TD_ACME_ATTEST_CBOR_GUARD_H

#include "mdm/base/err.h"
#include "mdm/base/span.h"

/* TD_OK when `s` is exactly one well-formed CBOR item (RFC 8949) of definite lengths, nested at
 * most LIMIT_CBOR_DEPTH deep, of at most LIMIT_CBOR_ITEMS items, whose claimed counts and lengths
 * fit the bytes left; no tags, no simple values but false, true, null, undefined; map keys are
 * integers or strings and none stands twice in one map. TD_LIMIT for depth and items, TD_PARSE
 * otherwise. Allocates nothing; any thread. */
TD_NODISCARD enum td_err cbor_guard(struct span s, struct errinfo *ei);

#endif
