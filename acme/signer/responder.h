/* The OCSP responder: a key that lives in this process's memory only, its delegated certificate
 * (RFC 6960 section 4.2.2.2), and the checks on what it is asked to sign.
 *
 * A CA outside its life delegates nothing: the certificate would be invalid from its first second.
 * Then the CA's own key signs, the first of the three that section 4.2.2.2 lets a client accept. */
#ifndef TD_ACME_SIGNER_RESPONDER_H
#define TD_ACME_SIGNER_RESPONDER_H

#include "acme/signer/issue.h"
#include "mdm/crypt/ocsp.h"

#define RESPONDER_WINDOW_MAX (7 * INT64_C(86400)) /* nextUpdate - thisUpdate */
#define RESPONDER_PAST_MAX 3600                   /* thisUpdate may lie so far back */
#define RESPONDER_FUTURE_MAX 300                  /* clocks of one machine, yet steps happen */

/* A CertID's issuer hashes for one algorithm. */
struct responder_ids {
    uint8_t name[DIGEST_SIZE_MAX], key[DIGEST_SIZE_MAX];
};

/* One per issuing CA. */
struct responder {
    const struct cadir_issuing *by;
    struct key *key; /* NULL with cert: the CA's own signs */
    struct cert *cert;
    bool direct; /* and this was said in the log */
    int64_t renew_at;
    struct responder_ids ids[DIGEST_MAX]; /* SHA-1 and SHA-256 */
    uint64_t signed_count;
};

/* Makes key and certificate for the CA `by` (borrowed); its audit line is durable then, as the
 * caller holds none back. Outside the CA's life it makes none. */
TD_NODISCARD enum td_err responder_init(struct responder *r, const struct cadir_issuing *by,
                                        struct issuer *is, struct errinfo *ei);
void responder_free(struct responder *r);

/* Renews both past half of the certificate's life, as long as the CA lives; the old ones stay when
 * that fails. At the CA's end both go. No audit line may be pending. */
TD_NODISCARD enum td_err responder_rotate(struct responder *r, struct issuer *is,
                                          struct errinfo *ei);

/* The certificate whose key signs: the responder's, or the CA's own. Borrowed. */
const struct cert *responder_cert(const struct responder *r);

/* Whether the DER CertID (RFC 6960 section 4.1.1) is well-formed and names this issuing CA by
 * SHA-1 or SHA-256. TD_PARSE, TD_FORBIDDEN. */
TD_NODISCARD enum td_err responder_check_certid(const struct responder *r, struct span der,
                                                struct errinfo *ei);

/* Whether the times of one status are ones we would sign at `now`. TD_INVAL. */
TD_NODISCARD enum td_err responder_check_window(const struct ocsp_single *s, int64_t now,
                                                struct errinfo *ei);

/* Handles OCSP. */
TD_NODISCARD enum td_err responder_handle(struct responder *r, const struct signer_msg_ocsp *m,
                                          int64_t now, struct arena *a,
                                          struct signer_msg_signed *ret, struct errinfo *ei);

#endif
