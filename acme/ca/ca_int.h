/* The inside of struct ca. Internal to acme/ca. */
#ifndef TD_ACME_CA_CA_INT_H
#define TD_ACME_CA_CA_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "acme/ca/ca.h"
#include "acme/ca/ocsp_cache.h"
#include "mdm/crypt/crl.h"

/* An issuing CA as a CertID names it (RFC 6960 section 4.1.1). */
struct ca_ids {
    uint8_t name[DIGEST_SIZE_MAX], key[DIGEST_SIZE_MAX];
};

/* How many one process sees in its life: rotations are years apart. */
#define CA_ISSUERS_MAX 32

/* Immutable once it is counted in nissuers. */
struct ca_issuer {
    struct cert *cert;
    uint8_t id[CERT_SKI_SIZE]; /* subject key identifier */
    char hex[2 * CERT_SKI_SIZE + 1];
    struct ca_ids ids[DIGEST_MAX]; /* SHA-1 and SHA-256 */
    struct buf pem;
};

struct ca {
    struct ca_conf conf;
    struct cert *root;
    pthread_mutex_t mu;                       /* one ca_refresh at a time */
    struct ca_issuer issuers[CA_ISSUERS_MAX]; /* only ever grows: readers take no lock */
    atomic_size_t nissuers, active;
    atomic_bool gone[CA_ISSUERS_MAX]; /* the signer no longer has it: nothing signs its statuses */
    struct buf root_crl;              /* as the signer said first; DER */
    char crl_url[256];                /* of distribution points, likewise */
    atomic_uint crl_shards;
    pthread_mutex_t crl_mu; /* one CRL is made at a time */
    atomic_int crl_waiting; /* for crl_mu, its holder included */
    struct ocsp_cache *cache;
    atomic_int live; /* OCSP answers being signed now */
};

/* Borrowed for the life of `ca`. 0 is the active one; by identifier or CertID NULL when it is none
 * of ours. */
const struct ca_issuer *ca_issuer_at(const struct ca *ca, size_t i);
const struct ca_issuer *ca_issuer_by_id(const struct ca *ca,
                                        const uint8_t id[static CERT_SKI_SIZE]);
const struct ca_issuer *ca_issuer_of_certid(const struct ca *ca, const struct ocsp_certid *id);
void ca_issuers_free(struct ca *ca);
bool ca_issuer_gone(const struct ca *ca, const struct ca_issuer *is);

/* The status of one certificate, as the database says at this moment. */
struct ca_status {
    bool known, revoked;
    int64_t revoked_at, not_after;
    int reason;                    /* -1 for none */
    uint8_t issuer[CERT_SKI_SIZE]; /* all zero in rows that are not filled in yet */
};

/* Fills in the issuer of rows from before there were several, in steps. */
TD_NODISCARD enum td_err ca_fill_issuer(struct store *s, const uint8_t id[static CERT_SKI_SIZE],
                                        struct errinfo *ei);

/* By serial number octets; a number never issued is no error (known false). */
TD_NODISCARD enum td_err ca_status_get(struct tx *tx, struct span serial, struct ca_status *ret,
                                       struct errinfo *ei);

void ca_ocsp_answer(struct ca *ca, struct span req_der, struct arena *a, struct ocsp_answer *ret);

/* The same where nothing may wait: false, and no answer, when the signer or a connection to the
 * store would be waited for. */
bool ca_ocsp_try(struct ca *ca, struct span req_der, struct arena *a, struct ocsp_answer *ret);

/* IMF-fixdate (RFC 9110 section 5.6.7). */
#define CA_HTTP_DATE_SIZE OCSP_DATE_SIZE
void ca_http_date(int64_t t, char out[static CA_HTTP_DATE_SIZE]);

/* A strong entity tag of those bytes. */
#define CA_ETAG_SIZE OCSP_ETAG_SIZE
void ca_etag(struct span body, char out[static CA_ETAG_SIZE]);

/* Whether If-None-Match names this very answer (RFC 9110 section 13.1.2). */
bool ca_unchanged(const struct req *r, const char *etag);

#endif
