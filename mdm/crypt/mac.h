/* Message authentication. */
#ifndef TD_CRYPT_MAC_H
#define TD_CRYPT_MAC_H

#include "mdm/crypt/digest.h"

/* HMAC-SHA-256 (RFC 2104). TD_CRYPTO when the library fails. Compare with secret_eq. */
TD_NODISCARD enum td_err mac_hmac_sha256(struct span key, struct span data,
                                         uint8_t out[static SHA256_SIZE], struct errinfo *ei);

#endif
