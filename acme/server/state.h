/* The states of order, authorization and challenge (RFC 8555 section 7.1.6). One identifier, so the
 * three move together, by one table. */
#ifndef TD_ACME_SERVER_STATE_H
#define TD_ACME_SERVER_STATE_H

#include "mdm/base/err.h"
#include "mdm/base/span.h"

enum acme_status {
    ACME_PENDING,
    ACME_READY,
    ACME_PROCESSING,
    ACME_VALID,
    ACME_INVALID,
    ACME_EXPIRED,
    ACME_DEACTIVATED,
    ACME_STATUS_MAX
};

struct acme_state {
    enum acme_status order, authz, chal;
};

enum acme_event {
    ACME_EV_VALIDATED,   /* the challenge was met */
    ACME_EV_REFUSED,     /* the challenge was answered, and refused */
    ACME_EV_ISSUED,      /* the certificate is recorded */
    ACME_EV_DEACTIVATED, /* the client gave the authorization up */
    ACME_EV_MAX
};

/* "pending" and so on; as stored and as sent. */
const char *acme_status_name(enum acme_status s);
TD_NODISCARD enum td_err acme_status_parse(struct span s, enum acme_status *ret);

/* The state behind the event; TD_STATE when the table has no such move. */
TD_NODISCARD enum td_err acme_state_next(struct acme_state from, enum acme_event ev,
                                         struct acme_state *ret);

/* What a client is shown when the order's time is over. */
struct acme_state acme_state_expired(struct acme_state s);

#endif
