/* room: acme */
/* The member externalAccountBinding: a JWS whose payload is a key, and its MAC. */
#include <stdlib.h>

#include "acme/server/jwk.h"
#include "acme/server/jws.h"
#include "mdm/base/secret.h"
#include "mdm/crypt/mac.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t secret[32] = {1};
    arena_auto a;
    arena_init(&a, (size_t)4 << 20);
    struct json *v, *payload;
    struct jws j;
    struct jwk k;
    uint8_t mac[SHA256_SIZE];
    if (json_parse(span_of(data, size), &a, &v, NULL) != TD_OK ||
        jws_parse_json(v, JWS_BINDING, &a, &j, NULL) != TD_OK)
        return 0;
    /* what the rest relies on: RFC 8555 section 7.3.4 */
    if (!j.kid || !j.url || j.jwk || !j.signed_bytes.n)
        abort();
    if (mac_hmac_sha256(SPAN_ARR(secret), j.signed_bytes, mac, NULL) != TD_OK)
        abort();
    (void)secret_eq(SPAN_ARR(mac), j.signature);
    if (json_parse(j.payload, &a, &payload, NULL) == TD_OK)
        (void)jwk_parse(payload, &a, &k, NULL);
    return 0;
}
