/* What the files of mdm/core share. Internal to mdm/core. */
#ifndef TD_CORE_CORE_INT_H
#define TD_CORE_CORE_INT_H

#include "mdm/base/tick.h"
#include "mdm/base/uuid.h"
#include "mdm/core/core.h"
#include "mdm/core/message.h"
#include "mdm/core/sql.h"

struct core_seen;
struct core_refusals;

struct core {
    struct core_conf conf;
    struct tick *pump;
    unsigned pump_failures; /* batches in a row with a failed push; the pump's thread only */
    bool pump_recovered;    /* leases of an earlier run were ended; the pump's thread only */
    struct core_seen *seen;
    struct core_refusals *refusals;
};

enum core_state {
    CORE_AUTHENTICATED,
    CORE_ENROLLED,
    CORE_LEAVING,
    CORE_REMOVED,
};

#define CORE_SERIAL_SIZE 72

/* An enrolment as the protocol works on it; plain data, no arena: jobs may run twice. */
struct core_row {
    char id[CORE_ID_MAX + 1];
    char serial[CORE_SERIAL_SIZE];
    enum core_state state;
    uint8_t cert_sha256[SHA256_SIZE];
    int64_t tally, left_at;
    bool awaiting;
};

/* Who speaks: the certificate, and the enrolment it is pinned to, if any. */
struct core_who {
    struct core_cert cert;
    bool pinned;
    bool renewing; /* not pinned itself, but issued to renew what is: `row` is that enrolment */
    struct core_row row;
};

#endif
