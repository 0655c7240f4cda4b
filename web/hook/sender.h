/* Delivers the outbox to the endpoints: threads that look for what waits, each with one endpoint at
 * a time. Any number of nodes; the turns are in the database (turn.h).
 *
 * Order: an endpoint gets its events one after the other, and one that fails holds up those behind
 * it until it arrives or is given up: after HOOK_REFUSALS answers that refuse this very event (400,
 * 413, 415, 422), or when a try fails and it is older than `give_up`. At least once: what was sent
 * but whose answer was lost is sent again under the same id. */
#ifndef TD_WEB_HOOK_SENDER_H
#define TD_WEB_HOOK_SENDER_H

#include "mdm/base/clock.h"
#include "mdm/crypt/seal.h"
#include "mdm/store/store.h"

#define HOOK_REFUSALS 5
#define HOOK_IN_FLIGHT_MAX 32

struct hook_sender_conf {
    struct store *store;
    const struct seal *seal;
    const struct clock *clock;
    struct rng *rng;
    int64_t timeout, connect; /* seconds, of a request and of its beginning */
    int64_t in_flight;        /* endpoints at once, 1 to HOOK_IN_FLIGHT_MAX */
    int64_t give_up;          /* seconds */
    const char *ca_file;      /* "" for the system's */
};

struct hook_sender;

/* Needs hook_post_init. */
TD_NODISCARD enum td_err hook_sender_start(const struct hook_sender_conf *conf,
                                           struct hook_sender **ret, struct errinfo *ei);

/* What is under way is ended, and sent again by whoever comes next. NULL is fine. */
void hook_sender_stop(struct hook_sender *s);

/* Seconds to the next try: 5 s, 30 s, 2 min, 5 min, 15 min, 30 min, then an hour, and up to a fifth
 * more by chance; what the endpoint asks for (Retry-After, an hour at most) when that is longer. */
int64_t hook_wait(int64_t tries, int64_t retry_after, struct rng *rng);

/* One look without threads, for tests: how many events arrived. */
size_t hook_round(const struct hook_sender_conf *conf);

#endif
