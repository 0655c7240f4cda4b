/* Flattened JWS as Apple's ACME client writes them: ES256 over sorted-key JSON without escaped
 * slashes, members in the order protected, payload, signature. */
#ifndef TD_SIM_JWS_H
#define TD_SIM_JWS_H

#include "tests/sim/ossl.h"

struct jws_spec {
    EVP_PKEY *key;   /* P-256 account key, borrowed */
    const char *kid; /* account URL; NULL puts the jwk in */
    const char *nonce, *url;
    const char *payload; /* JSON text; NULL for POST-as-GET */
    /* Sign until R or S begins with a zero byte and leave leading zeros out, as the clients of
     * iOS 16-17 and macOS 13-14 do: the signature is shorter than 64 bytes. */
    bool short_signature;
};

/* Appends the JWS text. *ret_sig_n (may be NULL) gets the size of the raw signature. */
enum td_err jws_write(const struct jws_spec *s, struct buf *b, size_t *ret_sig_n,
                      struct errinfo *ei);

/* Appends the public JWK of a P-256 key: {"crv","kty","x","y"}. */
enum td_err jws_jwk(EVP_PKEY *key, struct buf *b, struct errinfo *ei);

/* Appends a JSON string literal with its quotes; slashes stay bare. */
enum td_err jws_json_str(struct buf *b, const char *s);

#endif
