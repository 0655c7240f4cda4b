/* The tree behind struct plist: a room-internal header. A node is 32 bytes; children are arrays
 * that grow by doubling in the arena, so building and walking are linear. */
#ifndef TD_WIRE_PLIST_NODE_H
#define TD_WIRE_PLIST_NODE_H

#include "mdm/wire/plist.h"

struct plist_item {
    const char *key; /* NUL-terminated, no NUL inside; NULL in an array */
    struct plist *value;
};

struct plist {
    struct arena *arena;
    enum plist_type type;
    uint32_t n; /* items, or bytes of text or data */
    union {
        struct {
            struct plist_item *items;
            uint32_t cap;
        };
        const uint8_t *bytes; /* a string has a NUL behind */
        int64_t i;            /* INT, BOOL, DATE (seconds since 1970), OTHER (a UID) */
        double real;
    };
};

/* A node of that type, everything else zero; NULL without memory. */
struct plist *plist_node_new(struct arena *a, enum plist_type type);

/* Appends a child; `key` (not copied) is NULL for an array. Does not look for the key. */
TD_NODISCARD enum td_err plist_node_add(struct plist *parent, const char *key, struct plist *value);

/* A copy of text (repaired to be UTF-8 with U+FFFD) or data as the node's bytes. */
TD_NODISCARD enum td_err plist_node_text(struct plist *p, struct span s);
TD_NODISCARD enum td_err plist_node_data(struct plist *p, struct span s);

/* TD_PARSE when a dict has a key twice; O(n log n). */
TD_NODISCARD enum td_err plist_node_unique(const struct plist *d, struct errinfo *ei);

/* "2026-11-23T12:34:56Z" in seconds since 1970, for the years 1 to 9999 (libplist writes the year
 * 1 as "1"); *ret is untouched on TD_PARSE. */
TD_NODISCARD enum td_err plist_node_date(struct span s, int64_t *ret);

#endif
