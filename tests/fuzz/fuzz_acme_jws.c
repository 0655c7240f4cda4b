/* room: acme */
/* A signed request: JWS, the key in it, the signature. */
#include <stdlib.h>

#include "acme/server/jwk.h"
#include "acme/server/jws.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    if (!ready && crypt_init(NULL) != TD_OK)
        abort();
    ready = true;
    arena_auto a;
    arena_init(&a, (size_t)4 << 20);
    struct jws j;
    struct jwk k, again;
    struct json *v;
    struct errinfo ei = {0};
    (void)jws_parse(span_of(data, size), JWS_NEW_KEY, &a, &j, &ei);
    (void)jws_parse(span_of(data, size), JWS_BINDING, &a, &j, &ei);
    if (jws_parse(span_of(data, size), JWS_REQUEST, &a, &j, &ei) != TD_OK || !j.jwk)
        return 0;
    if (jwk_parse(j.jwk, &a, &k, &ei) != TD_OK)
        return 0;
    (void)jws_verify(&j, k.key, &ei);
    /* the canonical form of a key is a fixed point */
    if (json_parse(span_str(k.canonical), &a, &v, NULL) != TD_OK ||
        jwk_parse(v, &a, &again, NULL) != TD_OK ||
        memcmp(k.thumbprint, again.thumbprint, sizeof k.thumbprint) != 0)
        abort();
    return 0;
}
