/* The list of an account's orders (RFC 8555 section 7.1.2.1), in pages. */
#ifndef TD_ACME_SERVER_ORDERS_H
#define TD_ACME_SERVER_ORDERS_H

#include "mdm/base/req.h"

/* Handler: POST /acme/acct/{id}/orders. Invalid orders are left out. */
enum td_err acme_orders(const struct req *r, struct resp *resp, struct errinfo *ei);

#endif
