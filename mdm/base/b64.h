/* Base64, standard and URL alphabet (RFC 4648 sections 4 and 5). */
#ifndef TD_BASE_B64_H
#define TD_BASE_B64_H

#include "mdm/base/arena.h"
#include "mdm/base/buf.h"

/* Appends the encoding: standard with padding, or URL alphabet without. */
enum td_err b64_enc(struct buf *b, struct span s);
enum td_err b64url_enc(struct buf *b, struct span s);

/* As b64url_enc, as a string in the arena; NULL when out of memory. */
char *b64url_str(struct arena *a, struct span s);

/* Strict decoding of the URL alphabet: no padding, no white space, no stray bits (JWS,
 * RFC 7515 section 2). TD_PARSE otherwise. */
enum td_err b64url_dec(struct arena *a, struct span s, struct span *ret);

/* Tolerant decoding: either alphabet, padding and ASCII white space anywhere (Mdm-Signature,
 * SCEP GET, attObj of some clients). Any other byte is TD_PARSE. */
enum td_err b64_dec(struct arena *a, struct span s, struct span *ret);

#endif
