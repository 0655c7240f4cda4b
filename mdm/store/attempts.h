/* Why a device was refused, or what it was given: kept because the device throws the reason away.
 */
#ifndef TD_STORE_ATTEMPTS_H
#define TD_STORE_ATTEMPTS_H

#include "mdm/base/buf.h"
#include "mdm/store/sweep.h"

extern const struct store_stmts attempt_stmts;

struct attempt {
    int64_t id, at;
    const char *serial;  /* "" when no device could be told */
    const char *source;  /* "enroll", "acme", "checkin", "connect", "posture" */
    const char *outcome; /* "issued", "accepted", "refused" */
    const char *reason;  /* code, "" */
    const char *detail;
    const char *device_error; /* the device's own words, cut at 1000 bytes */
    const char *order_id;
    const char *peer; /* address */
};

/* NULL members count as "". */
TD_NODISCARD enum td_err attempt_add(struct tx *tx, const struct attempt *t, struct errinfo *ei);

/* Newest first, ids below `before` (INT64_MAX for the newest), at most `max`; serial NULL = all. */
TD_NODISCARD enum td_err attempt_list(struct tx *tx, const char *serial, int64_t before, size_t max,
                                      struct arena *a, struct attempt **ret, size_t *ret_n,
                                      struct errinfo *ei);

/* A step of the cleaner, over the time of the attempt. */
TD_NODISCARD enum td_err attempt_clean(struct tx *tx, struct sweep *s, struct errinfo *ei);

#endif
