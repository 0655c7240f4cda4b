/* Enrolment rows: looking up who speaks, pinning, leaving. Internal to mdm/core. */
#ifndef TD_CORE_ENROLLMENT_H
#define TD_CORE_ENROLLMENT_H

#include "mdm/core/core_int.h"

/* Who speaks. A certificate the CA does not know is refused: TD_FORBIDDEN "cert-unknown" (MB-26:
 * the record of issuance is the trust, a valid signature alone proves nothing). */
TD_NODISCARD enum td_err core_identify(struct core *c, struct tx *tx, const struct core_ident *id,
                                       struct core_who *ret, struct errinfo *ei);

/* First use of a renewed identity: the enrolment's pin moves to it and the old certificate ends, in
 * this transaction; queue, tokens and state stay (MB-20). *who is pinned then. Only for a device
 * that names its own UDID; whoever is not renewing is left as it is. */
TD_NODISCARD enum td_err core_take_over(struct core *c, struct tx *tx, struct core_who *who,
                                        const struct core_ident *id, const char *udid, int64_t now,
                                        const char *txn, struct errinfo *ei);

/* The refusal of a certificate that the CA does not know. */
enum td_err core_cert_unknown(struct errinfo *ei);

/* The enrolment of that id / the newest of that serial. TD_NOTFOUND. */
TD_NODISCARD enum td_err core_row_by_id(struct tx *tx, const char *id, struct core_row *ret,
                                        struct errinfo *ei);
TD_NODISCARD enum td_err core_row_newest(struct tx *tx, const char *serial, struct core_row *ret,
                                         struct errinfo *ei);

/* The refusal of a message that needs a living enrolment (states authenticated and enrolled, good
 * certificate of the right purpose), or TD_OK. */
TD_NODISCARD enum td_err core_alive(const struct core_who *who, struct errinfo *ei);

/* TD_OK when `udid` names the enrolment the certificate is pinned to; NULL passes. */
TD_NODISCARD enum td_err core_same_device(const struct core_who *who, const char *udid,
                                          struct errinfo *ei);

/* The enrolment is over: state, pushes, queue, one audit row. */
TD_NODISCARD enum td_err core_row_removed(struct tx *tx, const struct core_row *row, int64_t now,
                                          const char *txn, const char *why, struct errinfo *ei);

/* The CommandUUID of the removal command: the same for the life of an enrolment, without a row. */
void core_removal_uuid(const struct core_row *row, char out[static UUID_SIZE]);

#endif
