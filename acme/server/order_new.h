/* newOrder (RFC 8555 section 7.4): binds a one-time ClientIdentifier to the device it was made for.
 */
#ifndef TD_ACME_SERVER_ORDER_NEW_H
#define TD_ACME_SERVER_ORDER_NEW_H

#include "mdm/base/req.h"

/* Handler: POST /acme/{profile}/new-order. */
enum td_err acme_new_order(const struct req *r, struct resp *resp, struct errinfo *ei);

#endif
