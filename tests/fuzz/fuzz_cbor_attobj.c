/* room: attest */
/* An attestation object as a device sends it: guard, parser, and the verifier behind them. What the
 * guard lets through must be readable to its end. */
#include <stdlib.h>

#include "acme/attest/attest.h"
#include "acme/attest/attobj.h"
#include "acme/attest/cbor.h"
#include "acme/attest/cbor_guard.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct attest_roots *roots(void)
{
    static struct attest_roots *r;
    if (!r && (crypt_init(NULL) != TD_OK || attest_roots_new(NULL, 0, &r, NULL) != TD_OK))
        abort();
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = span_of(data, size);
    if (cbor_guard(in, NULL) == TD_OK) {
        struct rd r = rd_init(in);
        if (attest_cbor_skip(&r, NULL) != TD_OK || !rd_done(&r))
            abort();
    }
    static const uint8_t fresh[32];
    struct attest_expect want = {SPAN_ARR(fresh), "F2LXK0ABCD12", 1752500000, 0};
    struct attest_result res;
    struct errinfo ei = {0};
    arena_auto a;
    arena_init(&a, 1 << 20);
    enum td_err e = attest_verify(roots(), in, &want, &a, &res, &ei);
    if (e == TD_OK || (e == TD_FORBIDDEN && (!ei.reason || !ei.acme)))
        abort(); /* nobody signs that chain, and every refusal has a reason */
    attest_result_free(&res);
    return 0;
}
