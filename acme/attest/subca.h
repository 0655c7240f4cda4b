/* Attestation CAs between root and leaf. Verifying one costs a P-384 verification, and a fleet
 * shows the same few: the verdict is remembered by the SHA-256 of the full DER, for one root set
 * (the cache belongs to the set). Dates are checked at every use. Leaf verdicts are never kept. */
#ifndef TD_ACME_ATTEST_SUBCA_H
#define TD_ACME_ATTEST_SUBCA_H

#include "mdm/crypt/x509.h"

struct attest_subca; /* thread-safe */
struct attest_roots;

TD_NODISCARD enum td_err attest_subca_new(struct attest_subca **ret);
void attest_subca_free(struct attest_subca *c);

/* Verifies an intermediate: CA:TRUE with keyCertSign, issued by one of the roots, both valid at
 * `now`. *ret gets a reference (cert_free), *ret_root the number of the anchor. A refusal has
 * reason "chain-untrusted" or "x5c-malformed". */
TD_NODISCARD enum td_err attest_subca_verify(const struct attest_roots *roots, struct span der,
                                             int64_t now, struct cert **ret, size_t *ret_root,
                                             struct errinfo *ei);

/* How many verdicts the cache holds and how often it answered; for tests and metrics. */
void attest_subca_stats(const struct attest_roots *roots, size_t *ret_held, uint64_t *ret_hits);

#endif
