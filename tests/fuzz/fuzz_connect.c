/* room: core */
/* A command report, decodable or not: what is salvaged must keep the rules of what is parsed. */
#include "mdm/core/message.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    arena_auto a;
    arena_init(&a, 32 << 20);
    struct core_report r = {0};
    if (core_report_parse(span_of(data, size), &a, &r, NULL) != TD_OK)
        return 0;
    if (!r.status || strlen(r.status) > CORE_STATUS_MAX || (!*r.status && !r.uuid))
        abort();
    if ((r.uuid && strlen(r.uuid) > CORE_TEXT_MAX) || (r.udid && !core_id_valid(r.udid)))
        abort();
    return 0;
}
