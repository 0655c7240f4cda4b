/* CBOR read item by item. Only for input that passed cbor_guard. The one file that sees libcbor. */
#ifndef TD_ACME_ATTEST_CBOR_H
#define TD_ACME_ATTEST_CBOR_H

#include "mdm/base/err.h"
#include "mdm/base/rd.h"

enum attest_cbor_kind {
    ATTEST_CBOR_INT, /* either sign; the value is not kept */
    ATTEST_CBOR_BYTES,
    ATTEST_CBOR_TEXT,
    ATTEST_CBOR_ARRAY,
    ATTEST_CBOR_MAP,
    ATTEST_CBOR_SIMPLE,
    ATTEST_CBOR_REFUSED /* tags, indefinite lengths */
};

struct attest_cbor {
    enum attest_cbor_kind kind;
    size_t n;      /* elements of an array, pairs of a map */
    struct span s; /* bytes or text, borrowed from the input */
};

/* Reads the next item; of arrays and maps the head alone. TD_PARSE at the end of the input. */
TD_NODISCARD enum td_err attest_cbor_next(struct rd *r, struct attest_cbor *ret);

/* Skips one whole item; *ret (may be NULL) = its bytes. */
TD_NODISCARD enum td_err attest_cbor_skip(struct rd *r, struct span *ret);

#endif
