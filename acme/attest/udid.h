/* The UDID that a device attested, beside the one it calls itself by. */
#ifndef TD_ACME_ATTEST_UDID_H
#define TD_ACME_ATTEST_UDID_H

#include "mdm/wire/json.h"

/* Whether a device that attested these facts (attest_facts_json) may be known by that UDID: it is
 * the attested one, or none was attested (User Enrollment), or the device is a Mac. A Mac attests
 * its ProvisioningUDID, and the MDM protocol has its hardware UUID (reference section 4, quirk 23).
 * A Mac is what attested facts that Macs alone have; with an OS too old to attest a model, what has
 * a UDID in the form of a UUID. */
bool attest_udid_agrees(const struct json *facts, struct span udid);

#endif
