/* Format `apple`: Managed Device Attestation (reference section 3.4). */
#ifndef TD_ACME_ATTEST_APPLE_H
#define TD_ACME_ATTEST_APPLE_H

#include "acme/attest/attest.h"

/* Verifies an attStmt {x5c: [leaf, Sub CA]}: attest_verify without the object around it. */
TD_NODISCARD enum td_err attest_apple(const struct attest_roots *roots, struct span att_stmt,
                                      const struct attest_expect *want, struct arena *a,
                                      struct attest_result *ret, struct errinfo *ei);

/* The same for the certificates themselves, leaf first. */
TD_NODISCARD enum td_err attest_apple_chain(const struct attest_roots *roots,
                                            const struct span *x5c, size_t n,
                                            const struct attest_expect *want, struct arena *a,
                                            struct attest_result *ret, struct errinfo *ei);

#endif
