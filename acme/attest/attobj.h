/* The attestation object (draft-ietf-acme-device-attest-09 section 5, after WebAuthn):
 * {fmt: text, attStmt: map, [authData: bytes]}. */
#ifndef TD_ACME_ATTEST_ATTOBJ_H
#define TD_ACME_ATTEST_ATTOBJ_H

#include "mdm/base/err.h"
#include "mdm/base/span.h"

/* Spans borrow the input. */
struct attobj {
    struct span fmt;
    struct span att_stmt; /* the CBOR map, for the format to read */
};

/* Guards and parses. authData and unknown members are ignored. A refusal has reason
 * "cbor-malformed" (attest_refuse). */
TD_NODISCARD enum td_err attobj_parse(struct span s, struct attobj *ret, struct errinfo *ei);

/* The byte strings of the attStmt member "x5c": *ret_n of them, at most `max`. Reasons
 * "attestation-missing" (absent or empty: the device could not attest) and "x5c-malformed" (another
 * type, over `max`, a certificate empty or over LIMIT_X5C_CERT). */
TD_NODISCARD enum td_err attobj_x5c(struct span att_stmt, struct span *ret, size_t max,
                                    size_t *ret_n, struct errinfo *ei);

#endif
