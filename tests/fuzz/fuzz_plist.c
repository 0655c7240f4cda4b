/* room: wire */
#include "mdm/base/limits.h"
#include "mdm/wire/json.h"
#include "mdm/wire/plist.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever is accepted is written, as XML that is accepted again and says the same, and as JSON. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    arena_auto a;
    arena_init(&a, LIMIT_REQ_ARENA);
    struct plist *p = NULL, *again = NULL;
    enum td_err guarded = plist_guard(span_of(data, size), NULL);
    enum td_err e = plist_parse(span_of(data, size), &a, &p, NULL);
    if (e == TD_OK && guarded != TD_OK)
        abort();
    if (e != TD_OK)
        return 0;
    buf_auto xml, xml2, json;
    buf_init(&xml, (size_t)64 << 20);
    buf_init(&xml2, (size_t)64 << 20);
    buf_init(&json, (size_t)64 << 20);
    if (plist_xml(p, &xml) != TD_OK || plist_json(p, &json) != TD_OK)
        abort();
    e = plist_parse(buf_view(&xml), &a, &again, NULL);
    if (e == TD_NOMEM || e == TD_LIMIT || plist_type(p) == PLIST_T_OTHER)
        return 0;
    if (e != TD_OK || plist_xml(again, &xml2) != TD_OK)
        abort();
    if (!span_eq(buf_view(&xml), buf_view(&xml2)))
        abort();
    return 0;
}
