/* Small helpers on text spans. ASCII only, whatever the locale. */
#ifndef TD_BASE_STR_H
#define TD_BASE_STR_H

#include "mdm/base/span.h"

/* Equality without regard to the case of A to Z. */
bool str_ieq(struct span a, struct span b);

/* The span without spaces, tabs, CR and LF at either end; borrowed. */
struct span str_trim(struct span s);

/* Cuts the piece up to the first `sep` off *rest and returns it; *rest becomes what follows.
 * Without a `sep` the whole rest is the piece and *rest the empty span with p NULL. */
struct span str_cut(struct span *rest, char sep);

/* The value of a hexadecimal digit, or -1. */
int str_hexdigit(uint8_t c);

/* Undoes percent escapes (RFC 3986 section 2.1) into `out` of `max` bytes. False for a bad escape
 * and for what does not fit. */
bool str_unescape(struct span s, uint8_t *out, size_t max, size_t *ret_n);

/* A device's serial number as we list and certify it: 1 to LIMIT_SERIAL letters, digits, '-', '.'
 * and
 * '_', the first a letter or digit. Apple's are letters and digits. */
bool str_device_serial(struct span s);

#endif
