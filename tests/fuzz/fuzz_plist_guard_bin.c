/* room: wire */
#include "mdm/base/limits.h"
#include "mdm/wire/plist.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input is objects and a table; the fuzzer need not find the magic or the layout. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > 4096)
        return 0;
    size_t sizes = data[0], n = data[1] % 32 + 1, width = (sizes & 1) ? 1 : 2;
    data += 2;
    size -= 2;
    if (size < n * width + 1)
        return 0;
    buf_auto b;
    buf_init(&b, 8192);
    buf_str(&b, "bplist00");
    buf_add(&b, data, size);
    buf_add(&b, "\0\0\0\0\0\0", 6);
    buf_u8(&b, (uint8_t)width);
    buf_u8(&b, sizes & 2 ? 1 : 2);
    buf_u64(&b, n);
    buf_u64(&b, 0);
    buf_u64(&b, 8 + size - n * width);
    arena_auto a;
    arena_init(&a, LIMIT_REQ_ARENA);
    struct plist *p = NULL;
    if (plist_parse(buf_view(&b), &a, &p, NULL) == TD_OK &&
        plist_guard(buf_view(&b), NULL) != TD_OK)
        abort();
    return 0;
}
