/* Making CA certificates: the root, issuing CAs, the request for one. */
#ifndef TD_ACME_SIGNER_MINT_H
#define TD_ACME_SIGNER_MINT_H

#include "acme/signer/cadir.h"

#define MINT_ROOT_LIFE (20 * 365 * INT64_C(86400))
#define MINT_ISSUING_LIFE (10 * 365 * INT64_C(86400))

struct mint {
    const char *org, *cn;
    int path_len;
    int64_t life; /* cut to the issuer's */
    const struct key *key;
};

/* The certificate; issuer NULL signs it with the key itself. Begins a day ago. */
TD_NODISCARD enum td_err mint_ca(const struct mint *m, const struct cert *issuer,
                                 const struct key *issuer_key, struct cert **ret,
                                 struct errinfo *ei);

/* The common name of an issuing CA with that key: "ORG Issuing CA 1f2e3d4c", without the
 * organisation where 64 bytes do not hold both. In the arena; NULL without memory. */
char *mint_issuing_name(const char *org, const struct key *key, struct arena *a);

/* A request for an issuing CA with that key, PEM appended. */
TD_NODISCARD enum td_err mint_csr(const char *org, const struct key *key, struct buf *pem,
                                  struct errinfo *ei);

/* The key of a PEM request, its own signature verified. */
TD_NODISCARD enum td_err mint_csr_key(struct span pem, struct key **ret, struct errinfo *ei);

/* Whether a certificate may be an issuing CA of ours: issued by the root, valid now, CA with path
 * length 0, keyCertSign and cRLSign, a key identifier of 20 octets. TD_CRYPTO names what is
 * missing. */
TD_NODISCARD enum td_err mint_check(const struct cert *c, const struct cert *root, int64_t now,
                                    struct errinfo *ei);

#endif
