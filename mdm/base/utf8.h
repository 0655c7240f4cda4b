/* UTF-8, strictly (RFC 3629): no overlong form, no surrogate, nothing over U+10FFFF. */
#ifndef TD_BASE_UTF8_H
#define TD_BASE_UTF8_H

#include "mdm/base/span.h"

/* Decodes the character at s.p[at]: its length in bytes (1 to 4) and *ret_cp, or 0 when the bytes
 * there are no character or `at` is not inside. */
size_t utf8_next(struct span s, size_t at, uint32_t *ret_cp);

/* True when the whole span is UTF-8; the empty span is. A NUL is a character. */
bool utf8_valid(struct span s);

/* Writes the character's 1 to 4 bytes; cp must be a Unicode scalar value. */
size_t utf8_put(uint32_t cp, uint8_t out[static 4]);

#endif
