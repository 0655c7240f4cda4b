/* Critical extensions of a leaf, which no path builder sees (apple.c checks its links one by one).
 */
#ifndef TD_ACME_ATTEST_CRITICAL_H
#define TD_ACME_ATTEST_CRITICAL_H

#include "mdm/base/span.h"

/* True when every critical extension of the certificate is one that verification understands:
 * basicConstraints, keyUsage, extKeyUsage. False also when the DER cannot be walked; the caller has
 * parsed it already. */
bool attest_critical_known(struct span cert_der);

#endif
