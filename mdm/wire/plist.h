/* Property lists, in and out, behind the guard (ARCHITECTURE rule 1). No byte of the binary form
 * reaches libplist before depth, node count and structure were bounded; the XML form is read by
 * libxml2's streaming reader alone, which builds nothing, under the same bounds. */
#ifndef TD_WIRE_PLIST_H
#define TD_WIRE_PLIST_H

#include "mdm/base/arena.h"
#include "mdm/base/buf.h"

/* libplist exports this name with another meaning; a shared library binds to ours otherwise. */
#define plist_new_dict wire_plist_new_dict

struct plist; /* a node; it, its keys and values live in the arena of its root */

enum plist_type {
    PLIST_T_DICT,
    PLIST_T_ARRAY,
    PLIST_T_STRING,
    PLIST_T_DATA,
    PLIST_T_INT,
    PLIST_T_REAL,
    PLIST_T_BOOL,
    PLIST_T_DATE,
    PLIST_T_OTHER
};

/* Once, before threads: the XML library sets up its own globals. */
void plist_init(void);

/* Bounds a document of either form without building it: LIMIT_PLIST_DEPTH (nested dicts and
 * arrays), LIMIT_PLIST_NODES (values and keys), no DTD internal subset, no entities but the five,
 * UTF-8 alone, all binary offsets and references inside, no cycle, references counted with their
 * repetitions (their bytes too: LIMIT_PLIST_BYTES). TD_PARSE or TD_LIMIT. */
TD_NODISCARD enum td_err plist_guard(struct span s, struct errinfo *ei);

/* Guards and parses XML or binary; the root is freed with the arena. A key twice in a dict is
 * TD_PARSE. Text that is not Unicode is repaired with U+FFFD. TD_NOMEM when the arena is full. */
TD_NODISCARD enum td_err plist_parse(struct span s, struct arena *a, struct plist **ret,
                                     struct errinfo *ei);

enum plist_type plist_type(const struct plist *p);

/* A member of a dict, NULL when absent or when p is NULL or not a dict. O(members). */
struct plist *plist_get(const struct plist *p, const char *key);
/* Members by position, O(1); ret_key may be NULL; *ret_key is in the arena `a`. NULL behind the
 * end, and when out of memory for the key. */
size_t plist_count(const struct plist *p); /* of a dict or array, else 0 */
struct plist *plist_at(const struct plist *array, size_t i);
struct plist *plist_member(const struct plist *dict, size_t i, struct arena *a, char **ret_key);

/* An integer that 64 bits with a sign do not hold is read from XML as PLIST_T_REAL.
 *
 * Typed access to a member: TD_NOTFOUND when absent, TD_PARSE when of another type; *ret is
 * untouched then. Strings are NUL-terminated in the arena; one with a NUL inside is TD_PARSE. */
TD_NODISCARD enum td_err plist_str(const struct plist *d, const char *key, struct arena *a,
                                   const char **ret);
TD_NODISCARD enum td_err plist_data(const struct plist *d, const char *key, struct arena *a,
                                    struct span *ret);
TD_NODISCARD enum td_err plist_int(const struct plist *d, const char *key, int64_t *ret);
TD_NODISCARD enum td_err plist_bool(const struct plist *d, const char *key, bool *ret);
/* The value of a node itself. */
TD_NODISCARD enum td_err plist_str_val(const struct plist *p, struct arena *a, const char **ret);
TD_NODISCARD enum td_err plist_data_val(const struct plist *p, struct arena *a, struct span *ret);

/* --- building: every call returns NULL / TD_NOMEM without memory; children belong to the parent.
 * A key that exists is replaced where it stands. TD_INVAL (NULL) when d is no dict / array. */
struct plist *plist_new_dict(struct arena *a); /* a root, freed with the arena */
enum td_err plist_set_str(struct plist *d, const char *key, const char *v);
enum td_err plist_set_data(struct plist *d, const char *key, struct span v);
enum td_err plist_set_int(struct plist *d, const char *key, int64_t v);
enum td_err plist_set_bool(struct plist *d, const char *key, bool v);
struct plist *plist_add_dict(struct plist *d, const char *key); /* new empty child */
struct plist *plist_add_array(struct plist *d, const char *key);
struct plist *plist_push_dict(struct plist *array);
struct plist *plist_push_array(struct plist *array);
enum td_err plist_push_str(struct plist *array, const char *v);
enum td_err plist_push_int(struct plist *array, int64_t v);
/* A deep copy of `v` as a member / element. */
enum td_err plist_set_copy(struct plist *d, const char *key, const struct plist *v);

/* XML text beginning with "<?xml", keys in insertion order, everything escaped. */
TD_NODISCARD enum td_err plist_xml(const struct plist *root, struct buf *b);

/* JSON shown to API users: data as base64 strings, dates RFC 3339, NaN and infinities as null.
 * Appends one JSON value. */
TD_NODISCARD enum td_err plist_json(const struct plist *p, struct buf *b);

#endif
