/* room: crypt */
/* Certificate requests: no crash, and what is accepted has a usable key. */
#include "mdm/crypt/x509.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    arena_auto a;
    arena_init(&a, 1 << 18);
    struct csr csr;
    struct errinfo ei;
    if (csr_parse(span_of(data, size), &a, &csr, &ei) != TD_OK)
        return 0;
    key_auto *k = NULL;
    if (key_from_spki(csr.spki, &k, &ei) != TD_OK || !key_equal(k, csr.key))
        abort();
    csr_free(&csr);
    return 0;
}
