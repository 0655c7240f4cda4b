/* The renewer: looks for certificates that are due, pushes what renews them, ends what was
 * replaced, and counts for /metrics. Every node may run one: what is to be done is claimed in the
 * database. */
#ifndef TD_WEB_SERVER_RENEW_H
#define TD_WEB_SERVER_RENEW_H

#include "acme/ca/ca.h"
#include "mdm/core/core.h"
#include "profiles/enroll/enroll.h"

struct renew_conf {
    struct store *store;
    struct ca *ca;
    struct ca_profiles *profiles;
    struct core *core;
    struct enroll *enroll;
    const struct clock *clock;
    int64_t period; /* seconds between two looks */
    int64_t retry;  /* to the second try; doubled for each further one, at most a day */
    int64_t grace;  /* a replaced access certificate is good for so long */
};

struct renew;

TD_NODISCARD enum td_err renew_start(const struct renew_conf *conf, struct renew **ret,
                                     struct errinfo *ei);
void renew_stop(struct renew *r); /* NULL is fine */

/* One look, for tests: how many were pushed. */
size_t renew_round(const struct renew_conf *conf);

#endif
