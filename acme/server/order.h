/* Orders (RFC 8555 section 7.1.3) as clients see them. */
#ifndef TD_ACME_SERVER_ORDER_H
#define TD_ACME_SERVER_ORDER_H

#include "acme/server/order_row.h"

/* Handler: POST /acme/order/{id}. */
enum td_err acme_order(const struct req *r, struct resp *resp, struct errinfo *ei);

/* The order as the answer, with its Location. */
TD_NODISCARD enum td_err acme_reply_order(struct acme_call *c, int status,
                                          const struct acme_order *o, struct errinfo *ei);

#endif
