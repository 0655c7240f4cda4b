/* Directory and nonces (RFC 8555 sections 7.1.1, 7.2). Both ignore a body: Apple's client sends
 * `{}` on GET and HEAD. */
#ifndef TD_ACME_SERVER_DIRECTORY_H
#define TD_ACME_SERVER_DIRECTORY_H

#include "mdm/base/req.h"

/* Handlers: GET and HEAD /acme/{profile}/directory; HEAD (200) and GET (204) /acme/new-nonce; of
 * both POST-as-GET too. */
enum td_err acme_directory(const struct req *r, struct resp *resp, struct errinfo *ei);
enum td_err acme_new_nonce(const struct req *r, struct resp *resp, struct errinfo *ei);

#endif
