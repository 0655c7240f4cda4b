/* Health, readiness and metrics. */
#ifndef TD_WEB_SERVER_STATUS_H
#define TD_WEB_SERVER_STATUS_H

#include "acme/ca/ca.h"
#include "mdm/base/route.h"
#include "mdm/store/store.h"

struct status {
    struct store *store;
    struct signer_client *signer;
    struct ca *ca;
};

/* GET /healthz: the process answers. GET /readyz: the store reads and the signer is there, else
 * 503; what fails on every node alike (an issuing CA that expired) is said in a 200. GET /metrics:
 * on the status listener for loopback alone, on the public one with scope "metrics:read". ctx is
 * the struct status. */
extern const struct route status_routes[];
extern const size_t status_nroutes;

#endif
