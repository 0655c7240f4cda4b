/* Builds the tree of an XML property list from what xml_guard has checked: room-internal. The
 * caller guarantees the order of calls that the form allows. */
#ifndef TD_WIRE_XML_BUILD_H
#define TD_WIRE_XML_BUILD_H

#include "mdm/base/limits.h"
#include "mdm/wire/plist_node.h"

enum xml_element {
    XML_E_DICT,
    XML_E_ARRAY,
    XML_E_STRING,
    XML_E_DATA,
    XML_E_INT,
    XML_E_REAL,
    XML_E_DATE,
    XML_E_KEY,
    XML_E_TRUE,
    XML_E_FALSE
};

struct xml_build {
    struct arena *arena; /* of the tree */
    struct plist *root;  /* the result */
    struct plist *open[LIMIT_PLIST_DEPTH];
    const char *keys[LIMIT_PLIST_DEPTH]; /* by depth: the key that waits */
    size_t depth;
    enum xml_element leaf; /* what is open; a container when no leaf is */
    struct buf text;       /* of the leaf */
};

/* `max` bounds the text of one value. The caller frees with xml_build_free. */
void xml_build_init(struct xml_build *b, struct arena *a, size_t max);
void xml_build_free(struct xml_build *b);

TD_NODISCARD enum td_err xml_build_open(struct xml_build *b, enum xml_element element);
TD_NODISCARD enum td_err xml_build_text(struct xml_build *b, struct span s);

/* TD_PARSE for a value that is none of its kind and for a key that the dict has already. */
TD_NODISCARD enum td_err xml_build_close(struct xml_build *b, struct errinfo *ei);

#endif
