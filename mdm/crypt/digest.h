/* Message digests. Algorithms are fetched once (crypt_init). */
#ifndef TD_CRYPT_DIGEST_H
#define TD_CRYPT_DIGEST_H

#include "mdm/base/err.h"
#include "mdm/base/span.h"

enum digest_alg { DIGEST_SHA1, DIGEST_SHA256, DIGEST_SHA384, DIGEST_SHA512, DIGEST_MAX };
#define DIGEST_SIZE_MAX 64
#define SHA256_SIZE 32

/* Fetches every algorithm the project uses and locks down the library's defaults. Once, before
 * threads; TD_CRYPTO when the library lacks one. */
TD_NODISCARD enum td_err crypt_init(struct errinfo *ei);

size_t digest_size(enum digest_alg alg);

/* Writes digest_size(alg) bytes. Aborts only on a broken library. */
void digest(enum digest_alg alg, struct span s, uint8_t *out);
void digest_sha256(struct span s, uint8_t out[static SHA256_SIZE]);

#endif
