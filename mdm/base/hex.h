/* Hexadecimal, lower case out, either case in. */
#ifndef TD_BASE_HEX_H
#define TD_BASE_HEX_H

#include "mdm/base/arena.h"
#include "mdm/base/err.h"

/* Writes 2*n digits and a NUL to out, which holds 2*n+1 bytes. */
void hex_enc(struct span s, char *out);

/* As a string in the arena; NULL when out of memory. */
char *hex_str(struct arena *a, struct span s);

/* Decodes exactly 2*n digits into out[n]; TD_PARSE otherwise. */
enum td_err hex_dec(struct span s, uint8_t *out, size_t n);

#endif
