/* What Apple's leaf says about the device (reference section 5.1). */
#ifndef TD_ACME_ATTEST_FACTS_H
#define TD_ACME_ATTEST_FACTS_H

#include "acme/attest/attest.h"

/* Reads every known extension; absent, repeated or undecodable is unknown. Spans borrow the cert.
 */
void attest_facts_read(const struct cert *leaf, struct attest_facts *ret);

/* The text of an extension's value: raw bytes as Apple writes them. Should the whole value be a
 * well-formed UTF8String, its content (never observed; harmless as no text begins with 0C). */
struct span attest_fact_text(struct span value);

#endif
