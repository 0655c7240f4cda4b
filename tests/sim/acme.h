/* Apple's ACME client: its nine requests, byte for byte, without polling and without a second try.
 * GET directory, HEAD nonce, newAccount, newOrder, authorization, challenge, finalize, order,
 * certificate. The deviations of acme_fault are what a server must refuse. */
#ifndef TD_SIM_ACME_H
#define TD_SIM_ACME_H

#include "tests/sim/device.h"
#include "tests/sim/http.h"
#include "tests/sim/profile.h"
#include "tests/sim/refusal.h"

enum acme_fault {
    ACME_NO_FAULT,
    ACME_WRONG_KEY,         /* the attested key is not the device's: the CSR has another */
    ACME_CSR_OTHER_KEY,     /* the CSR asks for a key that was not attested */
    ACME_STALE_FRESHNESS,   /* attestation made for an earlier token */
    ACME_MISSING_FRESHNESS, /* no extension 8.11.1 */
    ACME_WRONG_SERIAL,      /* another device's serial number in the leaf */
    ACME_EMPTY_X5C,         /* Apple gave no attestation: empty x5c and "error" */
    ACME_SHORT_SIGNATURE,   /* every JWS is shorter than 64 bytes; must be accepted */
    ACME_REPLAYED_NONCE     /* newOrder with the nonce of newAccount */
};

struct acme_job {
    struct http_client *http;      /* user agent and timeout set by acme_run */
    struct pki *pki;               /* the fake Apple */
    const struct profile *profile; /* ACME payload */
    const struct device *device;
    int key_size; /* 0: the payload's */
    enum acme_fault fault;
    const char *error_text; /* for ACME_EMPTY_X5C */
};

struct acme_result {
    EVP_PKEY *key;     /* the device key, owned */
    X509 *cert;        /* owned; NULL when refused */
    size_t shortest;   /* size of the shortest JWS signature sent */
    unsigned requests; /* sent */
};

void acme_result_free(struct acme_result *r);

/* TD_OK when a certificate over the device's key came back. On refusal *why tells where and how. */
enum td_err acme_run(const struct acme_job *job, struct acme_result *ret, struct refusal *why,
                     struct errinfo *ei);

#define ACME_USER_AGENT "com.apple.security.acmeclient/1.0"

#endif
