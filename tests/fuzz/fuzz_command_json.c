/* room: core */
/* A typed command of the API: what is accepted comes out as a plist that reads back. */
#include "mdm/core/command.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    arena_auto a;
    buf_auto xml;
    arena_init(&a, 32 << 20);
    buf_init(&xml, 4 << 20);
    struct json *j = NULL;
    struct plist *cmd = NULL, *again = NULL;
    const char *uuid = NULL;
    if (json_parse(span_of(data, size), &a, &j, NULL) != TD_OK ||
        command_from_json(j, &a, &cmd, NULL) != TD_OK)
        return 0;
    if (command_xml(cmd, "U-1", &a, &xml, NULL) != TD_OK)
        return 0;
    if (command_from_plist(buf_view(&xml), &a, &again, &uuid, NULL) != TD_OK || !uuid)
        abort();
    return 0;
}
