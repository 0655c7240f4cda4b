/* Orders that say which certificate theirs takes the place of (RFC 9773 section 5). */
#ifndef TD_ACME_SERVER_REPLACES_H
#define TD_ACME_SERVER_REPLACES_H

#include "acme/server/order_row.h"

/* At newOrder, for an order with `replaces`: the certificate is of this device and profile, of this
 * account as far as its order is still kept, and nothing has replaced it. "replaces-unknown",
 * "replaces-foreign", "already-replaced" (409 alreadyReplaced). */
TD_NODISCARD enum td_err acme_replaces_check(struct tx *tx, const struct acme_call *c,
                                             const struct acme_order *o, struct errinfo *ei);

/* At finalize: the serial number of the certificate to replace, in the call's arena. Empty when
 * there is none, or none any more; a revoked one has no place to take. */
TD_NODISCARD enum td_err acme_replaces_serial(struct tx *tx, const struct acme_call *c,
                                              const struct acme_order *o, struct span *ret,
                                              struct errinfo *ei);

#endif
