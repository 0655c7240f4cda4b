/* The housekeeper: deletes what only piles up, in small steps. */
#ifndef TD_WEB_SERVER_CLEAN_H
#define TD_WEB_SERVER_CLEAN_H

#include "acme/server/acme.h"
#include "mdm/core/core.h"
#include "profiles/enroll/enroll.h"

struct clean;

struct clean_conf {
    struct store *store;
    struct acme *acme;
    struct core *core;
    const struct clock *clock;
    int64_t keep_commands, keep_attempts; /* seconds */
};

/* Starts the thread; the first round is after a minute. */
TD_NODISCARD enum td_err clean_start(const struct clean_conf *conf, struct clean **ret,
                                     struct errinfo *ei);
void clean_stop(struct clean *c);

#endif
