/* Making end-entity certificates: the issuing CA's key is used here and nowhere else. */
#ifndef TD_ACME_SIGNER_ISSUE_H
#define TD_ACME_SIGNER_ISSUE_H

#include "acme/signer/audit_log.h"
#include "acme/signer/cadir.h"
#include "acme/signer/profile.h"
#include "acme/signer/proto/signer_msg.h"
#include "mdm/base/clock.h"
#include "mdm/base/rng.h"

/* Certificates a second, and as many at once: far above what devices need, far below what would
 * fill a disk unseen. */
#define ISSUE_RATE 5000

struct issue_bucket {
    int64_t tokens_milli, at_ms;
};

struct issuer {
    const struct cadir *ca;
    struct audit_log *audit;
    const struct clock *clock;
    struct rng *rng;
    struct issue_bucket bucket;
};

/* Starts with a full bucket; borrows everything. */
void issuer_init(struct issuer *is, const struct cadir *ca, struct audit_log *audit,
                 const struct clock *clock, struct rng *rng);

/* Takes one token: false when there is none. now_ms never goes back. */
bool issue_bucket_take(struct issue_bucket *b, int64_t now_ms, int64_t rate);

/* Checks, lints, signs by that issuing CA and collects the audit line (not flushed: the caller does
 * that before the certificate leaves). dns is for profiles that are not a device's. evidence may be
 * empty. */
TD_NODISCARD enum td_err issue_cert(struct issuer *is, const struct cadir_issuing *by,
                                    const struct profile *p, const struct profile_subject *who,
                                    struct span evidence, struct arena *a, struct span *ret_der,
                                    struct errinfo *ei);

/* Handles ISSUE by the active issuing CA: the profile must be open to the channel, the evidence
 * there, the key P-256 or P-384. TD_BUSY over the rate. */
TD_NODISCARD enum td_err issue_handle(struct issuer *is, const struct signer_msg_issue *m,
                                      struct arena *a, struct signer_msg_signed *ret,
                                      struct errinfo *ei);

#endif
