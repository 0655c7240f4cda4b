/* The trust anchors of attestation, and verified intermediate CAs remembered. */
#ifndef TD_ACME_ATTEST_ROOTS_H
#define TD_ACME_ATTEST_ROOTS_H

#include "acme/attest/attest.h"
#include "acme/attest/subca.h"

#define ATTEST_ROOTS_MAX 16

struct attest_anchor {
    struct cert *cert;
    struct trust *trust; /* of this root alone */
    char subject[200];
    char sha256[2 * SHA256_SIZE + 1];
    bool pinned;
};

struct attest_roots {
    struct attest_anchor anchors[ATTEST_ROOTS_MAX];
    size_t n;
    struct attest_subca *subca; /* cache; thread-safe, so usable through a const set */
};

#endif
