/* Downloading the certificate (RFC 8555 section 7.4.2). */
#ifndef TD_ACME_SERVER_CERTIFICATE_H
#define TD_ACME_SERVER_CERTIFICATE_H

#include "mdm/base/req.h"

/* Handler: POST /acme/cert/{id}, the id being the order's. PEM, leaf first: Apple keeps the leaf.
 */
enum td_err acme_certificate(const struct req *r, struct resp *resp, struct errinfo *ei);

#endif
