/* room: ca */
/* Messages of the signer's channel: whatever decodes encodes to the same bytes again, and stays
 * within its bounds. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "acme/signer/proto/signer_msg.h"
#include "mdm/base/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct signer_msg m = {0};
    struct span in = span_of(data, size);
    if (signer_msg_get(in, &m) != TD_OK)
        return 0;
    buf_auto b;
    buf_init(&b, LIMIT_SIGNER_MSG);
    if (signer_msg_put(&b, &m) != TD_OK || !span_eq(buf_view(&b), in))
        abort();
    return 0;
}
