/* CMS: signing profiles, verifying Mdm-Signature. BER nesting is bounded before OpenSSL parses. */
#ifndef TD_CRYPT_CMS_H
#define TD_CRYPT_CMS_H

#include "mdm/crypt/x509.h"

/* A SignedData with the content inside (a signed .mobileconfig), DER, SHA-256, the signer's
 * certificate and `chain` included, signing time `now`. TD_INVAL when key and certificate do not
 * belong together, TD_LIMIT for content over 16 MiB. */
TD_NODISCARD enum td_err cms_sign(const struct cert *signer, const struct key *key,
                                  struct cert *const *chain, size_t nchain, struct span content,
                                  int64_t now, struct arena *a, struct span *ret,
                                  struct errinfo *ei);

/* Verifies a detached SignedData over `content` (Mdm-Signature, RFC 5652 section 5.4): exactly one
 * signer, its certificate inside, messageDigest equal to the digest of `content` when signed
 * attributes are present; SHA-1 or SHA-2, RSA or ECDSA. The signer's certificate is returned owned:
 * whether it is trusted is the caller's question. Attached content, trailing bytes and more than
 * LIMIT_CERT_CHAIN certificates are refused. TD_LIMIT (over LIMIT_CMS_SIGNATURE), TD_PARSE or
 * TD_CRYPTO. */
TD_NODISCARD enum td_err cms_verify_detached(struct span cms, struct span content,
                                             struct cert **ret_signer, struct errinfo *ei);

/* TD_OK when the input is one BER (or DER) value that nests at most LIMIT_BER_DEPTH deep, whose
 * lengths fit and behind which nothing stands. TD_PARSE otherwise. */
TD_NODISCARD enum td_err ber_guard(struct span der, struct errinfo *ei);

#endif
