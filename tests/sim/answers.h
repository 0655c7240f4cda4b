/* What a simulated device answers to MDM commands: a table by RequestType. */
#ifndef TD_SIM_ANSWERS_H
#define TD_SIM_ANSWERS_H

#include "mdm/wire/plist.h"
#include "tests/sim/device.h"

enum answers_status { ANSWERS_ACKNOWLEDGED, ANSWERS_ERROR, ANSWERS_FORMAT_ERROR };

struct answers {
    enum answers_status status;
    struct buf xml;          /* members beside Status, UDID and CommandUUID; freed by the caller */
    bool changed;            /* the device's state changed: save it */
    bool enrollment_removed; /* the command took the enrolment profile away */
};

/* Executes a command's inner dict on the device. pki (may be NULL) attests for
 * DevicePropertiesAttestation. Errors are ours alone (memory, crypto); what the command did wrong
 * is in the status. */
enum td_err answers_run(struct device *d, struct pki *pki, const struct plist *command,
                        struct arena *a, struct answers *ret, struct errinfo *ei);

/* The word of Apple's protocol. */
const char *answers_word(enum answers_status s);

#endif
