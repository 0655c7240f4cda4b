/* Rate limits of newOrder: orders and failed authorizations of a device, orders of an account, in
 * one hour. They are counted in the orders themselves, by an index and at most as many rows as the
 * limit has, so they hold over any number of nodes. */
#ifndef TD_ACME_SERVER_LIMIT_H
#define TD_ACME_SERVER_LIMIT_H

#include "acme/server/server_int.h"

/* TD_LIMIT with type "rateLimited" (429), ei->retry_after, and reason "limit-account-orders". */
TD_NODISCARD enum td_err acme_limit_account(struct tx *tx, const struct acme_call *c,
                                            struct errinfo *ei);
/* The same for a device: "limit-device-orders", "limit-device-failures". */
TD_NODISCARD enum td_err acme_limit_device(struct tx *tx, const struct acme_call *c,
                                           const char *serial, struct errinfo *ei);

#endif
