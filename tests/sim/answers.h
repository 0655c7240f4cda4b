/* What a simulated device answers to MDM commands: a table by RequestType. */
#ifndef TD_SIM_ANSWERS_H
#define TD_SIM_ANSWERS_H

#include "mdm/wire/plist.h"
#include "tests/sim/device.h"
#include "tests/sim/tls.h"

enum answers_status { ANSWERS_ACKNOWLEDGED, ANSWERS_ERROR, ANSWERS_FORMAT_ERROR };

/* What a device reaches beside the command itself. */
struct answers_env {
    struct pki *pki; /* attests; may be NULL */
    SSL_CTX *tls;    /* for ACME; NULL: identities in profiles are not asked for */
    int timeout_ms, key_size;
    bool lose; /* a new identity is lost as it arrives, as if the device died */
};

struct answers {
    enum answers_status status;
    struct buf xml;          /* members beside Status, UDID and CommandUUID; freed by the caller */
    bool changed;            /* the device's state changed: save it */
    bool enrollment_removed; /* the command took the enrolment profile away */
    bool renewed;            /* the device has a new management identity: check in with it */
    bool died;               /* nothing is reported (env.lose) */
};

/* Executes a command's inner dict on the device. Errors are ours alone (memory, crypto); what the
 * command did wrong is in the status. */
enum td_err answers_run(struct device *d, const struct answers_env *env,
                        const struct plist *command, struct arena *a, struct answers *ret,
                        struct errinfo *ei);

/* The word of Apple's protocol. */
const char *answers_word(enum answers_status s);

#endif
