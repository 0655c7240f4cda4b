/* Renewal information (RFC 9773). */
#ifndef TD_ACME_SERVER_RENEWAL_H
#define TD_ACME_SERVER_RENEWAL_H

#include "acme/server/policy.h"

/* Handler: GET /acme/renewal-info/{certid}; nobody has to prove anything. */
enum td_err acme_renewal_info(const struct req *r, struct resp *resp, struct errinfo *ei);

/* When a certificate should be renewed: from the profile's part of its life (two thirds) to half of
 * what is left then. Of a revoked one (not of one on hold): an hour
 * that is over. start < end always. */
struct acme_window {
    int64_t start, end;
};
struct acme_window acme_renewal_window(const struct ca_record *r, const struct acme_policy *p,
                                       int64_t now);

#endif
