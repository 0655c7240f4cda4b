/* room: crypt */
/* Detached CMS (Mdm-Signature) over a fixed body. */
#include "mdm/crypt/cms.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char body[] = "the signed body\n";
    cert_auto *signer = NULL, *other = NULL;
    struct errinfo ei;
    enum td_err guard = ber_guard(span_of(data, size), &ei);
    enum td_err e = cms_verify_detached(span_of(data, size), SPAN_LIT(body), &signer, &ei);
    if (e == TD_OK && guard != TD_OK)
        abort();
    /* whatever holds for one body holds for no other */
    if (e == TD_OK &&
        cms_verify_detached(span_of(data, size), SPAN_LIT("another"), &other, &ei) == TD_OK)
        abort();
    return 0;
}
