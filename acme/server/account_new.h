/* newAccount (RFC 8555 sections 7.3, 7.3.1, 7.3.4). */
#ifndef TD_ACME_SERVER_ACCOUNT_NEW_H
#define TD_ACME_SERVER_ACCOUNT_NEW_H

#include "mdm/base/req.h"

/* Handlers: POST /acme/new-account, /acme/{profile}/new-account. The second is what the directory
 * of a profile names that asks for an external account binding.
 *
 * An account without an order takes one of a fixed number of places, drawn by lot, and puts out
 * what stood there: whoever makes accounts in masses shortens the life of idle ones and makes no
 * table grow. */
enum td_err acme_new_account(const struct req *r, struct resp *resp, struct errinfo *ei);

#endif
