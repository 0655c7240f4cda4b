/* room: crypt */
/* OCSP requests: what is accepted keeps its bounds. */
#include "mdm/crypt/ocsp.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    arena_auto a;
    arena_init(&a, 1 << 16);
    struct ocsp_req r;
    if (ocsp_req_parse(span_of(data, size), &a, &r, NULL) != TD_OK)
        return 0;
    if (r.nids == 0 || r.nids > OCSP_IDS_MAX || r.nonce.n > 128 || r.has_nonce != (r.nonce.n > 0))
        abort();
    for (size_t i = 0; i < r.nids; i++) {
        const struct ocsp_certid *id = &r.ids[i];
        if (id->der.n > size || id->serial.n == 0 ||
            (id->hash != DIGEST_MAX && id->key_hash.n != digest_size(id->hash)))
            abort();
    }
    return 0;
}
