/* room: signer */
/* Answers of the process that holds a PKCS#11 module. */
#include <stdlib.h>

#include "acme/signer/hsmproto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = span_of(data, size), body = {NULL, 0}, rest = {NULL, 0};
    uint32_t number;
    key_auto *pub = NULL;
    struct errinfo ei = {0};
    if (hsmproto_answer(in, &body, &ei) != TD_OK)
        return 0;
    if (body.n + 1 != size)
        abort();
    enum td_err e = hsmproto_key(body, &number, &pub, &rest, &ei);
    if ((e == TD_OK) != (pub != NULL) || rest.n > body.n)
        abort();
    return 0;
}
