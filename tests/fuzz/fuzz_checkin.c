/* room: core */
/* A check-in message as a device sends it: parsing alone, as storage sees only what comes out. */
#include "mdm/core/message.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    arena_auto a;
    arena_init(&a, 32 << 20);
    struct core_msg m = {0};
    struct errinfo ei = {0};
    if (core_msg_parse(span_of(data, size), &a, &m, &ei) != TD_OK)
        return 0;
    /* what the handlers rely on */
    if (!m.type || !*m.type || !m.device_name || !m.model || !m.product || !m.os_version ||
        !m.build || m.token.n > CORE_TOKEN_MAX || m.awaiting < -1 || m.awaiting > 1)
        abort();
    if ((m.udid && !core_id_valid(m.udid)) || strlen(m.device_name) > CORE_TEXT_MAX)
        abort();
    return 0;
}
