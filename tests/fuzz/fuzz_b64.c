/* room: base */
#include "mdm/base/b64.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Strict decoding is the inverse of encoding; the tolerant one accepts at least as much. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    arena_auto a;
    arena_init(&a, (size_t)8 << 20);
    struct span in = span_of(data, size), strict, tolerant;
    char *text = b64url_str(&a, in);
    if (!text || b64url_dec(&a, span_str(text), &strict) != TD_OK || !span_eq(strict, in))
        abort();
    if (b64url_dec(&a, in, &strict) == TD_OK) {
        if (b64_dec(&a, in, &tolerant) != TD_OK || !span_eq(strict, tolerant))
            abort();
        text = b64url_str(&a, strict);
        if (!text || !span_eq_str(in, text))
            abort();
    }
    if (b64_dec(&a, in, &tolerant) == TD_OK) {
        buf_auto b;
        buf_init(&b, (size_t)8 << 20);
        if (b64_enc(&b, tolerant) != TD_OK || b64_dec(&a, buf_view(&b), &strict) != TD_OK ||
            !span_eq(strict, tolerant))
            abort();
    }
    return 0;
}
