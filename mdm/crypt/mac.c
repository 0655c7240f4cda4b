#include "mdm/crypt/mac.h"

#include "mdm/crypt/ossl_int.h"

enum td_err mac_hmac_sha256(struct span key, struct span data, uint8_t out[static SHA256_SIZE],
                            struct errinfo *ei)
{
    size_t n = 0;
    if (!EVP_Q_mac(NULL, "HMAC", NULL, "SHA2-256", NULL, key.p, key.n, data.p, data.n, out,
                   SHA256_SIZE, &n) ||
        n != SHA256_SIZE)
        return crypt_fail(ei, TD_CRYPTO, "HMAC");
    return TD_OK;
}
