#include "mdm/crypt/digest.h"

#include "mdm/crypt/ossl_int.h"

size_t digest_size(enum digest_alg alg)
{
    static const uint8_t sizes[DIGEST_MAX] = {20, 32, 48, 64};
    return (unsigned)alg < DIGEST_MAX ? sizes[alg] : 0;
}

void digest(enum digest_alg alg, struct span s, uint8_t *out)
{
    if (!EVP_Digest(s.p, s.n, out, NULL, crypt_md(alg), NULL))
        abort();
}

void digest_sha256(struct span s, uint8_t out[static SHA256_SIZE])
{
    digest(DIGEST_SHA256, s, out);
}
