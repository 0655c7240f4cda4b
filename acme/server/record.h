/* Why a device was refused, kept where an administrator can read it: the device throws the answer
 * away. */
#ifndef TD_ACME_SERVER_RECORD_H
#define TD_ACME_SERVER_RECORD_H

#include "acme/server/server_int.h"
#include "mdm/store/attempts.h"

/* How many refusals for one reason, of one order (or of strangers, all together), are kept in a
 * minute: anybody can be refused as often as he likes, and each row lies there for months. */
#define RECORD_GATE_MAX 10

struct record_gate;
TD_NODISCARD enum td_err record_gate_new(const struct clock *clock, struct record_gate **ret,
                                         struct errinfo *ei);
void record_gate_free(struct record_gate *g);
/* True when this refusal is to be kept. Any thread. */
bool record_gate_pass(struct record_gate *g, const char *serial, const char *order_id,
                      const char *reason);

/* One row about this request: source "acme", time and peer filled in. reason and detail come from
 * *ei when it is not NULL. serial may be NULL. */
struct attempt acme_attempt(const struct acme_call *c, const char *serial, const char *order_id,
                            const char *outcome, const struct errinfo *ei);

/* Records a refusal in a write of its own, behind the failed one. Returns `e`, so that the refusal
 * reaches the client; when the record fails, that is logged. Only refusals are recorded: for a
 * fault of ours (5xx) it does nothing, and no more than the gate lets through. */
enum td_err acme_record_refusal(const struct acme_call *c, const char *serial, const char *order_id,
                                enum td_err e, const struct errinfo *ei);

/* A refusal that is no fault of the device's, as of the signer: it is kept and logged like one, and
 * *ei is changed so that the client is told "serverInternal" and nothing else. Faults of ours (5xx)
 * stay as they are. Returns what to return. */
enum td_err acme_record_ours(const struct acme_call *c, const char *serial, const char *order_id,
                             enum td_err e, struct errinfo *ei);

/* The inventory's word in this transaction: TD_FORBIDDEN "rejectedIdentifier" with reason
 * "device-not-listed" when the device left; a fault is passed on as it is. */
TD_NODISCARD enum td_err acme_check_listed(const struct acme *a, struct tx *tx, const char *serial,
                                           struct errinfo *ei);

#endif
