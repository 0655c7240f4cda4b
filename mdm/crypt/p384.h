/* ECDSA on P-384 verified by nettle: OpenSSL 3.0 has no fast code for this curve and takes twice as
 * long. A public operation only: no secret comes near. Internal to mdm/crypt. */
#ifndef TD_CRYPT_P384_H
#define TD_CRYPT_P384_H

#include <stdbool.h>

#include "mdm/base/span.h"

/* Whether `sig`, a strict DER ECDSA-Sig-Value (RFC 3279 section 2.2.3), holds for the digest `md`
 * and the uncompressed point of a key (FIPS 186-5 section 6.4.2). False also for a point that is
 * not on the curve and for numbers outside 1 to n-1. */
bool p384_verify(struct span point, struct span md, struct span sig);

#endif
