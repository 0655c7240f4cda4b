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

#endif
