/* Authorizations (RFC 8555 sections 7.1.4, 7.5). */
#ifndef TD_ACME_SERVER_AUTHZ_H
#define TD_ACME_SERVER_AUTHZ_H

#include "mdm/base/req.h"

/* Handler: POST /acme/authz/{id}: POST-as-GET, or {"status":"deactivated"}. */
enum td_err acme_authz(const struct req *r, struct resp *resp, struct errinfo *ei);

#endif
