/* OCSP messages (RFC 6960, RFC 9654 nonces). */
#ifndef TD_CRYPT_OCSP_H
#define TD_CRYPT_OCSP_H

#include "mdm/crypt/x509.h"

struct ocsp_certid {
    struct span der;      /* the CertID as received; echoed in the answer */
    enum digest_alg hash; /* DIGEST_SHA1 or DIGEST_SHA256 */
    struct span name_hash, key_hash;
    struct span serial; /* content octets */
};

#define OCSP_IDS_MAX 16

struct ocsp_req {
    struct ocsp_certid ids[OCSP_IDS_MAX];
    size_t nids;
    struct span nonce; /* the nonce's octets (inside its OCTET STRING), empty when absent */
    bool has_nonce;
};

/* Parses a request; spans live in the arena. TD_PARSE (malformedRequest): not well-formed, no or
 * over OCSP_IDS_MAX ids, a nonce of 0 or over 128 octets; a CertID with another hash is kept with
 * hash DIGEST_MAX (answer unauthorized). An unknown critical extension is TD_PARSE too; a
 * signature on the request is ignored. */
TD_NODISCARD enum td_err ocsp_req_parse(struct span der, struct arena *a, struct ocsp_req *ret,
                                        struct errinfo *ei);

enum ocsp_status { OCSP_GOOD, OCSP_REVOKED, OCSP_UNKNOWN };

struct ocsp_single {
    struct span certid_der;
    enum ocsp_status status;
    int64_t revoked_at;
    int reason;                       /* RFC 5280 CRLReason, -1 for none */
    int64_t this_update, next_update; /* next_update 0: left out */
};

struct ocsp_resp_spec {
    const struct ocsp_single *singles;
    size_t nsingles;
    struct span nonce; /* empty: none */
    int64_t produced_at;
};

/* A signed successful response by a delegated responder, its certificate included, responder by
 * key hash. DER in the arena. TD_INVAL for no or over OCSP_IDS_MAX answers or an unknown reason.
 * That `key` is the certificate's own is the caller's to see to, once, when it loads them. */
TD_NODISCARD enum td_err ocsp_resp_build(const struct ocsp_resp_spec *spec,
                                         const struct cert *responder, const struct key *key,
                                         struct arena *a, struct span *ret, struct errinfo *ei);

/* The five bytes of an unsigned error response: 1 malformedRequest, 2 internalError, 3 tryLater,
 * 6 unauthorized; anything else reads as 2. Static. */
struct span ocsp_error(int status);

#endif
