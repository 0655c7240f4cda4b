/* A turn: one node delivers what waits for one endpoint, in order. Who has the turn stands in the
 * database, with a lease: of a node that dies another takes over when it runs out, and what was
 * under way is sent once more (the event's id is the same). */
#ifndef TD_WEB_HOOK_TURN_H
#define TD_WEB_HOOK_TURN_H

#include "web/hook/hooks.h"
#include "web/hook/post.h"

#define HOOK_TURN_EVENTS 32 /* of one turn: the others get theirs */

extern const struct store_stmts hook_turn_stmts;

struct hook_turn {
    char id[RNG_ID_SIZE], lease[RNG_ID_SIZE]; /* the endpoint; what marks our claim */
    int64_t keep;                             /* seconds of a lease: longer than a request takes */
};

/* What a turn works on; lives in the arena. */
struct hook_work {
    const char *url;
    struct span sealed;
    int64_t tries; /* of the first event */
    struct hook_event events[HOOK_TURN_EVENTS];
    size_t n;
};

/* What came of a try that failed. */
struct hook_failure {
    const char *event; /* NULL: none was tried */
    const char *error;
    int64_t next_at;
    bool drop; /* the event is given up */
    bool gone; /* the endpoint is */
    const char *url;
};

/* The endpoints for which something waits and nobody works, at most HOOK_ENDPOINTS_MAX, and when
 * the oldest event of all that wait happened (0: none waits). */
struct hook_due {
    char ids[HOOK_ENDPOINTS_MAX][RNG_ID_SIZE];
    size_t n;
    int64_t oldest_at;
};
TD_NODISCARD enum td_err hook_turn_due(struct store *s, int64_t now, struct hook_due *ret,
                                       struct errinfo *ei);

/* Claims t->id; *ret false when another node was faster, or it is not due. */
TD_NODISCARD enum td_err hook_turn_begin(struct store *s, struct hook_turn *t, int64_t now,
                                         struct rng *rng, bool *ret, struct errinfo *ei);

/* TD_NOTFOUND: deleted or disabled meanwhile. */
TD_NODISCARD enum td_err hook_turn_read(struct store *s, const struct hook_turn *t, struct arena *a,
                                        struct hook_work *ret, struct errinfo *ei);

/* The event arrived. *ret false when the turn is ours no more. */
TD_NODISCARD enum td_err hook_turn_done(struct store *s, const struct hook_turn *t,
                                        const char *event, int64_t now, bool *ret,
                                        struct errinfo *ei);

/* It did not; the turn is over. */
TD_NODISCARD enum td_err hook_turn_failed(struct store *s, const struct hook_turn *t,
                                          const struct hook_failure *f, int64_t now,
                                          struct errinfo *ei);

/* The turn is over; whoever waits longer comes first. */
TD_NODISCARD enum td_err hook_turn_end(struct store *s, const struct hook_turn *t, int64_t now,
                                       struct errinfo *ei);

/* Whoever had a turn is gone: for a database that only this process has. */
TD_NODISCARD enum td_err hook_turn_recover(struct store *s, struct errinfo *ei);

#endif
