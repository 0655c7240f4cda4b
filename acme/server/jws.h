/* Signed requests: flattened JWS JSON (RFC 7515 section 7.2.2) as RFC 8555 section 6.2 narrows it.
 */
#ifndef TD_ACME_SERVER_JWS_H
#define TD_ACME_SERVER_JWS_H

#include "mdm/crypt/key.h"
#include "mdm/wire/json.h"

struct jws_alg;

/* Where a JWS stands, which decides what its protected header must hold. */
enum jws_place {
    JWS_REQUEST, /* a request: nonce, exactly one of jwk and kid */
    JWS_NEW_KEY, /* inside keyChange: no nonce, jwk (RFC 8555 section 7.3.5) */
    JWS_BINDING  /* inside newAccount: no nonce, kid, alg HS256 (section 7.3.4) */
};

/* Everything lives in the arena of jws_parse. */
struct jws {
    const struct jws_alg *alg; /* NULL for JWS_BINDING */
    const char *nonce, *url;
    const char *kid;        /* NULL when jwk is there */
    const struct json *jwk; /* NULL when kid is there */
    struct span signed_bytes, signature;
    struct span payload; /* decoded; empty for POST-as-GET */
};

/* Parses the text of a JWS_REQUEST or JWS_NEW_KEY; nothing is verified yet. `header`, `signatures`,
 * `crit` and `b64` are refused, further members ignored. Reasons "jws-malformed";
 * "alg-unsupported" with ACME type "badSignatureAlgorithm". */
TD_NODISCARD enum td_err jws_parse(struct span body, enum jws_place place, struct arena *a,
                                   struct jws *ret, struct errinfo *ei);

/* The same for a JWS that is a JSON value already. */
TD_NODISCARD enum td_err jws_parse_json(const struct json *o, enum jws_place place, struct arena *a,
                                        struct jws *ret, struct errinfo *ei);

/* Verifies by a key of the algorithm's type. Reason "signature-bad" (403 unauthorized), or
 * "alg-key-mismatch". Short ES256 signatures of Apple clients pass (key_verify_jws_ecdsa). */
TD_NODISCARD enum td_err jws_verify(const struct jws *j, const struct key *k, struct errinfo *ei);

/* The algorithms' names for a problem document; NULL behind the end. */
const char *jws_alg_name(size_t i);

#endif
