/* revokeCert (RFC 8555 section 7.6). */
#ifndef TD_ACME_SERVER_REVOKE_H
#define TD_ACME_SERVER_REVOKE_H

#include "mdm/base/req.h"

/* Handler: POST /acme/revoke-cert, signed by the certificate's key (jwk), or by an account (kid):
 * the one that got the certificate, or one that holds a valid authorization for the same device. */
enum td_err acme_revoke(const struct req *r, struct resp *resp, struct errinfo *ei);

#endif
