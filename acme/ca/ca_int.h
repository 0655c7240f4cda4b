/* The inside of struct ca. Internal to acme/ca. */
#ifndef TD_ACME_CA_CA_INT_H
#define TD_ACME_CA_CA_INT_H

#include <stdatomic.h>

#include "acme/ca/ca.h"
#include "acme/ca/ocsp_cache.h"

/* The issuing CA as a CertID names it (RFC 6960 section 4.1.1). */
struct ca_ids {
    uint8_t name[DIGEST_SIZE_MAX], key[DIGEST_SIZE_MAX];
};

struct ca {
    struct ca_conf conf;
    struct cert *root, *issuing;
    struct ca_ids ids[DIGEST_MAX]; /* SHA-1 and SHA-256 */
    struct buf issuing_pem;
    struct ocsp_cache *cache;
    atomic_int live; /* OCSP answers being signed now */
};

/* The status of one certificate, as the database says at this moment. */
struct ca_status {
    bool known, revoked;
    int64_t revoked_at;
    int reason; /* -1 for none */
};

/* By serial number octets; a number never issued is no error (known false). */
TD_NODISCARD enum td_err ca_status_get(struct tx *tx, struct span serial, struct ca_status *ret,
                                       struct errinfo *ei);

/* An OCSP answer with what its HTTP headers need. */
struct ca_ocsp_answer {
    struct span der;
    bool cacheable; /* the times below hold */
    int64_t this_update, next_update;
};
void ca_ocsp_answer(struct ca *ca, struct span req_der, struct arena *a,
                    struct ca_ocsp_answer *ret);

/* The same where nothing may wait: false, and no answer, when the signer or a connection to the
 * store would be waited for. */
bool ca_ocsp_try(struct ca *ca, struct span req_der, struct arena *a, struct ca_ocsp_answer *ret);

#endif
