/* The audit trail: one row per change that matters, in the same transaction as the change, and with
 * it the event that tells others. */
#ifndef TD_STORE_AUDIT_H
#define TD_STORE_AUDIT_H

#include "mdm/store/outbox.h"

extern const struct store_stmts audit_stmts;

/* Another issuing CA is active: the subject is AUDIT_CA, the detail its identifier. The cleaner
 * leaves these rows: by them is known which CAs were active already. */
#define AUDIT_CA_ACTIVATED "ca.activated"
#define AUDIT_CA "ca"

/* txn ties the rows of one change together; detail is text or JSON, never a secret.
 *
 * Every action has a row in audit.c that names its event, or says that it has none: TD_INTERNAL for
 * one without a row, so that its first test fails and nobody forgets to decide. */
TD_NODISCARD enum td_err audit_add(struct tx *tx, int64_t now, const char *txn, const char *actor,
                                   const char *action, const char *subject, const char *detail,
                                   struct errinfo *ei);

/* A step of the cleaner: the oldest first. */
TD_NODISCARD enum td_err audit_clean(struct tx *tx, struct sweep *s, struct errinfo *ei);

#endif
