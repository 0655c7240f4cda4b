/* Finalizing an order (RFC 8555 section 7.4): the certificate is for the attested key or not at
 * all. */
#ifndef TD_ACME_SERVER_FINALIZE_H
#define TD_ACME_SERVER_FINALIZE_H

#include "mdm/base/req.h"

/* Handler: POST /acme/order/{id}/finalize. Synchronous: the answer is the valid order. A bad CSR
 * and an absent signer leave the order ready. */
enum td_err acme_finalize(const struct req *r, struct resp *resp, struct errinfo *ei);

#endif
