/* Lists kept as one text ("ios macos"), and versions. ASCII, byte order. */
#ifndef TD_BASE_WORDS_H
#define TD_BASE_WORDS_H

#include "mdm/base/span.h"

#define WORDS_TEXT 512 /* bytes of a list that words_sort takes, with the NUL */
#define WORDS_MAX 64   /* words of such a list */

/* Platforms as they are written everywhere. */
#define WORDS_PLATFORMS "ios ipados macos tvos visionos watchos"

/* The next word of a list separated by blanks; empty behind the last. */
struct span words_next(struct span *rest);

/* Whether `w` is one of the list's words. */
bool words_has(struct span list, struct span w);

/* Whether the lists have a word in common. */
bool words_meet(struct span a, struct span b);

/* Letters, digits, '-', '_' and '.' alone: names of groups. */
bool words_plain(struct span w);
bool words_platform(struct span w);

/* Sorts the words of a text, each once, with one `sep` between; empty ones go. False, with the
 * word (borrowed from the text, which is untouched), when one is over `max` bytes, does not fit,
 * or is one too many. */
bool words_sort(char *text, char sep, size_t max, bool (*fits)(struct span), struct span *ret_bad);

/* Versions of one to four numbers and dots: negative, 0 or positive; absent numbers are 0.
 * *ret_valid false (and 0) when one is none. */
int version_cmp(struct span a, struct span b, bool *ret_valid);

#endif
