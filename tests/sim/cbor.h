/* The CBOR that Apple's client writes (RFC 8949, definite lengths, shortest heads). */
#ifndef TD_SIM_CBOR_H
#define TD_SIM_CBOR_H

#include "mdm/base/buf.h"

/* Appends a head: major type 0..7 and its argument in the shortest form. */
enum td_err cbor_head(struct buf *b, unsigned major, uint64_t arg);

/* Appends the attestation object {"fmt":"apple","attStmt":{"x5c":[...]}} with n certificates
 * (DER). n 0 gives the empty array that a device sends when Apple attested nothing. */
enum td_err cbor_attobj(struct buf *b, const struct span *certs, size_t n);

#endif
