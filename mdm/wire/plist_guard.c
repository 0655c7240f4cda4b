#include "mdm/wire/plist_guard.h"

#include "mdm/wire/plist.h"

enum td_err plist_guard(struct span s, struct errinfo *ei)
{
    size_t nodes;
    if (s.n == 0)
        return err_set(ei, TD_PARSE, "empty, where a property list was expected");
    if (plist_guard_is_bin(s))
        return plist_guard_bin(s, &nodes, ei);
    return xml_guard(plist_guard_text(s), NULL, ei);
}
