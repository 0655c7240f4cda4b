/* Revocation, hold and release. A change is one row of audit; rows of one change share its txn. */
#ifndef TD_ACME_CA_REVOKE_H
#define TD_ACME_CA_REVOKE_H

#include "mdm/base/rng.h"
#include "mdm/store/store.h"

extern const struct store_stmts ca_revoke_stmts;

/* certificates.status */
enum ca_state { CA_GOOD, CA_REVOKED, CA_HELD };

/* From the column; what is none of them reads as revoked. */
static inline enum ca_state ca_state_of(int64_t v)
{
    return v == CA_GOOD ? CA_GOOD : v == CA_HELD ? CA_HELD : CA_REVOKED;
}

/* "good", "revoked", "held". */
const char *ca_state_name(enum ca_state s);
bool ca_state_parse(struct span name, enum ca_state *ret);

/* CRLReason by its name in RFC 5280 section 5.3.1 ("keyCompromise"); NULL for none. */
const char *ca_reason_name(int reason);

/* Whether an end entity's certificate may be revoked for it: not cACompromise and aACompromise,
 * which are of CAs, not certificateHold, which is CA_ACT_HOLD, not removeFromCRL, which is of delta
 * CRLs. */
bool ca_reason_allowed(int reason);

/* A reason that is allowed, by name: TD_INVAL with reason "revocation-reason". */
TD_NODISCARD enum td_err ca_reason_parse(struct span name, int *ret, struct errinfo *ei);

enum ca_act { CA_ACT_REVOKE, CA_ACT_HOLD, CA_ACT_RELEASE };

/* Who holds: bits of the columns `holders`. What both hold is released when both let go. */
enum ca_holder { CA_BY_ADMIN, CA_BY_POSTURE, CA_HOLDERS };

/* "administrator", "posture". */
const char *ca_holder_name(enum ca_holder h);

struct ca_change {
    enum ca_act act;
    enum ca_holder by; /* of CA_ACT_HOLD and CA_ACT_RELEASE */
    int reason;        /* of CA_ACT_REVOKE */
    int64_t if_match;  /* the rev the caller saw, -1 for any */
    int64_t now;
    const char *actor, *txn; /* txn NULL: neither audited nor told (mdm/store/outbox.h) */
    bool summed;             /* told, but the caller writes one audit row for all of them */
};

#define CA_IF_ANY (-1)

/* One certificate, by serial number octets, inside the caller's transaction; audited. What is so
 * already changes nothing (*ret_changed false): revoked for the same reason, on hold, good when
 * released. TD_NOTFOUND; TD_INVAL for a reason that is not allowed; TD_STATE with reason
 * "already-revoked" for one that was revoked for another reason, or shall be held or released, and
 * "held-by-another" for one that shall be released and that others alone hold;
 * TD_CONFLICT with http 412 when if_match is not its rev.
 *
 * A certificate that is revoked while on hold keeps the date of the hold (X.509, reason
 * code extension, of which RFC 5280 is a profile): from then on it was not to be trusted. One that
 * is released is good, and leaves the CRL with the next one: RFC 5280's removeFromCRL is for delta
 * CRLs, which we do not make. METRIC_CERTS_REVOKED is the caller's, behind the commit. */
TD_NODISCARD enum td_err ca_change_one(struct tx *tx, struct span serial, const struct ca_change *c,
                                       bool *ret_changed, struct errinfo *ei);

/* A store job for one certificate: its record, as it is behind the change, when there is one to
 * make. TD_NOTFOUND. */
struct ca_one {
    struct span serial;
    struct arena *a;
    bool act; /* make the change */
    struct ca_change change;
    bool changed;
    struct ca_record *r; /* filled; lives in `a` but for itself */
};
enum td_err ca_one_job(struct tx *tx, void *ctx, struct errinfo *ei);

/* All of a device that the act applies to, with that purpose (NULL for any): good and held ones for
 * CA_ACT_REVOKE and CA_ACT_HOLD, held ones for CA_ACT_RELEASE. *ret_n of them have another status.
 */
TD_NODISCARD enum td_err ca_change_device(struct tx *tx, const char *device_serial,
                                          const char *purpose, const struct ca_change *c,
                                          int64_t *ret_n, struct errinfo *ei);

/* Quarantine: the access certificates of a device go on hold (and it stays marked: those that it
 * gets later are on hold from their first moment), or c->by lets them go, and what nobody else
 * holds is released. *ret_n certificates changed. */
TD_NODISCARD enum td_err ca_hold_device(struct tx *tx, const char *device_serial, bool hold,
                                        const struct ca_change *c, int64_t *ret_n,
                                        struct errinfo *ei);

/* Who set that mark: bits of enum ca_holder, 0 for nobody. */
TD_NODISCARD enum td_err ca_device_held(struct tx *tx, const char *device_serial, unsigned *ret,
                                        struct errinfo *ei);

/* The device leaves: revokes every certificate of it that is not revoked yet, inside the caller's
 * transaction, and ends its quarantine, as there is nothing left to hold. Of *c count reason (5
 * cessationOfOperation when it leaves), now, actor and txn. *ret_count (may be NULL) how many;
 * METRIC_CERTS_REVOKED and the audit row are the caller's. */
TD_NODISCARD enum td_err ca_revoke_device(struct tx *tx, const char *device_serial,
                                          const struct ca_change *c, int64_t *ret_count,
                                          struct errinfo *ei);

/* Revokes the certificate with that hash if it is ours and not revoked yet, as above (4
 * superseded).
 */
TD_NODISCARD enum td_err ca_revoke_one(struct tx *tx, const uint8_t sha256[static 32],
                                       const struct ca_change *c, int64_t *ret_count,
                                       struct errinfo *ei);

#endif
