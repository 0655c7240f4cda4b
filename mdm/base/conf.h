/* Configuration from one table: INI file < environment TESTUDO_SECTION_KEY < flag
 * --section-key=value. Unknown keys, wrong types and values out of range are errors that name the
 * file and line.
 *
 * The file: one `key = value` a line (a line over 197 bytes is refused: such a value goes into the
 * environment), not indented; comments begin with # or ;, also behind a value after a space
 * (only ;). A key given twice is an error. Environment: dashes become underscores; a TESTUDO_
 * variable of a known section with an unknown key is an error, others are left alone. Flags:
 * underscores become dashes, the last of two wins. */
#ifndef TD_BASE_CONF_H
#define TD_BASE_CONF_H

#include "mdm/base/arena.h"
#include "mdm/base/buf.h"

enum conf_type {
    CONF_STR,      /* const char *, never NULL ("" when unset) */
    CONF_URL,      /* const char *; a password in it is a secret */
    CONF_BOOL,     /* bool: yes/no, true/false, on/off, 1/0 */
    CONF_INT,      /* int64_t within min..max */
    CONF_DURATION, /* int64_t seconds within min..max */
    CONF_SIZE,     /* int64_t bytes within min..max */
    CONF_ENUM      /* const char *, one of the words in `choices` (space-separated) */
};

struct conf_key {
    const char *section, *key;
    enum conf_type type;
    size_t offset; /* of the member in the configuration struct */
    const char *dflt;
    int64_t min, max; /* both 0: any value from 0 on */
    const char *choices;
    const char *doc;
    bool secret; /* conf_show prints "# key = (set)"; errors never show any value */
};

struct conf_table {
    const struct conf_key *keys;
    size_t n;
};

/* Fills *out (a struct whose members the table's offsets name) in that order of precedence.
 * `file` may be NULL; strings live in `a`. `env` is an environ-style array or NULL. `flags` is an
 * argv-style array of "--section-key=value"; *ret_used receives how many leading elements were
 * consumed (stops at the first that does not begin with "--", or behind "--").
 * TD_INVAL for a setting that is wrong; *out is then half filled. At most 512 keys. */
enum td_err conf_load(const struct conf_table *t, const char *file, char *const *env, int nflags,
                      char *const *flags, int *ret_used, struct arena *a, void *out,
                      struct errinfo *ei);

/* As conf_load for the text of a file (fuzzing, tests). */
enum td_err conf_parse(const struct conf_table *t, struct span text, struct arena *a, void *out,
                       struct errinfo *ei);

/* Appends the effective configuration as an INI file with its documentation as comments. Without
 * `secrets`, secret values and the passwords of URLs are not shown. */
enum td_err conf_show(const struct conf_table *t, const void *conf, bool secrets, struct buf *b);

#endif
