/* The REST API, /api/v1. */
#ifndef TD_WEB_API_API_H
#define TD_WEB_API_API_H

#include "acme/attest/attest.h"
#include "acme/ca/ca.h"
#include "mdm/base/route.h"
#include "mdm/core/core.h"
#include "mdm/posture/posture.h"
#include "profiles/enroll/enroll.h"

struct api {
    struct store *store;
    const struct clock *clock;
    struct rng *rng;
    const struct seal *seal;
    struct inventory *inventory;
    struct core *core;
    struct ca *ca;
    struct ca_profiles *profiles;
    struct posture *posture;
    const char *public_url;
    struct enroll *enroll;
    const struct attest_roots *roots;
    int64_t secret_overlap; /* of a webhook's old and new secret, seconds */
};

extern const struct store_stmts api_stmts; /* api_sql.h names them */
extern const struct route api_routes[];    /* ctx is the struct api */
extern const size_t api_nroutes;

#endif
