/* CRLs: the entries of one arrive in parts, the list is built here and its signature handed out.
 * Which certificates are revoked is the server's to say; what a CRL looks like, whose it is and for
 * how long, is decided here. */
#ifndef TD_ACME_SIGNER_CRL_H
#define TD_ACME_SIGNER_CRL_H

#include "acme/signer/issue.h"
#include "mdm/crypt/crl.h"

#define CRL_WINDOW_MAX (10 * INT64_C(86400)) /* nextUpdate - thisUpdate */
#define CRL_PAST_MAX 3600                    /* thisUpdate may lie so far back */
#define CRL_FUTURE_MAX 300
#define CRL_RATE 100 /* a second, and as many at once: each is a line of the audit log */

struct crl_maker {
    struct signer_msg_crl head; /* of the one being collected; its spans are not used */
    struct crl_entry *entries;  /* NULL: none is */
    size_t have;
    struct issue_bucket bucket;
    /* The last number signed, per issuing CA and shard (the complete one first). */
    uint64_t last[CADIR_ISSUING_MAX][SIGNER_MSG_SHARDS_MAX + 1];
};

void crl_maker_init(struct crl_maker *c, const struct clock *clock);
void crl_maker_free(struct crl_maker *c);

/* Handles CRL. With the last part ret->der is the signature and an audit line is pending; before it
 * ret->der is empty. One CRL is collected at a time: another beginning drops what there was.
 * Refused with a reason: "certid-issuer" (no CA of ours), "crl-shard", "window", "crl-number" (not
 * above the last one signed by this process), "crl-order" (not the part that follows), "rate". */
TD_NODISCARD enum td_err crl_handle(struct crl_maker *c, struct issuer *is,
                                    const struct signer_msg_crl *m, struct arena *a,
                                    struct signer_msg_signed *ret, struct errinfo *ei);

#endif
