/* The two guards behind plist_guard: room-internal, without state. */
#ifndef TD_WIRE_PLIST_GUARD_H
#define TD_WIRE_PLIST_GUARD_H

#include "mdm/base/err.h"
#include "mdm/base/span.h"

struct xml_build;

/* The binary form, "bplist00". *ret_nodes receives the values and keys, each reference counted: a
 * parser that finds another number read something else. TD_PARSE or TD_LIMIT. */
TD_NODISCARD enum td_err plist_guard_bin(struct span s, size_t *ret_nodes, struct errinfo *ei);

/* The XML form, without a byte order mark; builds the tree on the way when `build` is not NULL.
 * TD_PARSE, TD_LIMIT or TD_NOMEM. */
TD_NODISCARD enum td_err xml_guard(struct span s, struct xml_build *build, struct errinfo *ei);

/* True when the document claims to be binary. */
static inline bool plist_guard_is_bin(struct span s)
{
    return span_starts(s, SPAN_LIT("bplist"));
}

/* Without the UTF-8 byte order mark that an editor may have put there. */
static inline struct span plist_guard_text(struct span s)
{
    return span_starts(s, SPAN_LIT("\xef\xbb\xbf")) ? span_sub(s, 3, s.n) : s;
}

#endif
