/* keyChange (RFC 8555 section 7.3.5). */
#ifndef TD_ACME_SERVER_KEYCHANGE_H
#define TD_ACME_SERVER_KEYCHANGE_H

#include "mdm/base/req.h"

/* Handler: POST /acme/key-change, signed by the account's old key around a JWS by the new one. */
enum td_err acme_key_change(const struct req *r, struct resp *resp, struct errinfo *ei);

#endif
