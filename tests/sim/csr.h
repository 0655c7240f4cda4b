/* The certificate request that Apple's client makes: subject and SAN from the profile, EKU and key
 * usage by its defaults, ecdsa-with-SHA256 for every key size, no ClientIdentifier. */
#ifndef TD_SIM_CSR_H
#define TD_SIM_CSR_H

#include "mdm/base/arena.h"
#include "mdm/wire/plist.h"
#include "tests/sim/ossl.h"

struct csr_spec {
    EVP_PKEY *key;               /* signs and is asked for */
    const struct plist *subject; /* payload key Subject: array of RDNs of [type, value]; or NULL */
    const struct plist *san;     /* payload key SubjectAltName, or NULL */
    const struct plist *eku;     /* payload key ExtendedKeyUsage, or NULL: clientAuth */
    int64_t usage;               /* payload key UsageFlags: 1 sign, 4 encrypt; 0: both */
};

/* Appends the DER. */
enum td_err csr_build(const struct csr_spec *s, struct arena *a, struct buf *b, struct errinfo *ei);

#endif
