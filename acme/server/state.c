#include "acme/server/state.h"

static const char *const names[] = {
    [ACME_PENDING] = "pending",         [ACME_READY] = "ready",
    [ACME_PROCESSING] = "processing",   [ACME_VALID] = "valid",
    [ACME_INVALID] = "invalid",         [ACME_EXPIRED] = "expired",
    [ACME_DEACTIVATED] = "deactivated",
};
_Static_assert(TD_NITEMS(names) == ACME_STATUS_MAX, "one name for each status");

#define START                                                                                      \
    {                                                                                              \
        ACME_PENDING, ACME_PENDING, ACME_PENDING                                                   \
    }
#define MET                                                                                        \
    {                                                                                              \
        ACME_READY, ACME_VALID, ACME_VALID                                                         \
    }

/* `processing` is never entered: Apple's client neither waits nor polls. */
static const struct {
    enum acme_event ev;
    struct acme_state from, to;
} moves[] = {
    {ACME_EV_VALIDATED, START, MET},
    {ACME_EV_REFUSED, START, {ACME_INVALID, ACME_INVALID, ACME_INVALID}},
    {ACME_EV_ISSUED, MET, {ACME_VALID, ACME_VALID, ACME_VALID}},
    {ACME_EV_DEACTIVATED, START, {ACME_INVALID, ACME_DEACTIVATED, ACME_PENDING}},
    {ACME_EV_DEACTIVATED, MET, {ACME_INVALID, ACME_DEACTIVATED, ACME_VALID}},
};

const char *acme_status_name(enum acme_status s)
{
    return names[s];
}

enum td_err acme_status_parse(struct span s, enum acme_status *ret)
{
    for (size_t i = 0; i < TD_NITEMS(names); i++)
        if (span_eq_str(s, names[i])) {
            *ret = (enum acme_status)i;
            return TD_OK;
        }
    return TD_PARSE;
}

static bool same(struct acme_state a, struct acme_state b)
{
    return a.order == b.order && a.authz == b.authz && a.chal == b.chal;
}

enum td_err acme_state_next(struct acme_state from, enum acme_event ev, struct acme_state *ret)
{
    for (size_t i = 0; i < TD_NITEMS(moves); i++)
        if (moves[i].ev == ev && same(moves[i].from, from)) {
            *ret = moves[i].to;
            return TD_OK;
        }
    return TD_STATE;
}

struct acme_state acme_state_expired(struct acme_state s)
{
    if (s.order == ACME_VALID || s.order == ACME_INVALID)
        return s;
    s.order = ACME_INVALID;
    s.authz = ACME_EXPIRED;
    if (s.chal == ACME_PENDING)
        s.chal = ACME_INVALID;
    return s;
}
