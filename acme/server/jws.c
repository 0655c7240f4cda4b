#include "acme/server/jws.h"

#include "acme/server/problem.h"
#include "mdm/base/b64.h"
#include "mdm/base/limits.h"

typedef enum td_err (*verify_fn)(const struct key *k, enum digest_alg alg, struct span data,
                                 struct span sig, struct errinfo *ei);

/* The allow-list: `none` and the MACs have no row. */
struct jws_alg {
    const char *name;
    enum key_type key;
    enum digest_alg digest;
    verify_fn verify;
};

static const struct jws_alg algs[] = {
    {"ES256", KEY_P256, DIGEST_SHA256, key_verify_jws_ecdsa},
    {"ES384", KEY_P384, DIGEST_SHA384, key_verify_jws_ecdsa},
    {"RS256", KEY_RSA, DIGEST_SHA256, key_verify},
    {"EdDSA", KEY_ED25519, DIGEST_SHA512, key_verify},
};

const char *jws_alg_name(size_t i)
{
    return i < TD_NITEMS(algs) ? algs[i].name : NULL;
}

static enum td_err malformed(struct errinfo *ei, const char *what)
{
    return acme_refuse(ei, TD_PARSE, "malformed", "jws-malformed", "%s", what);
}

static enum td_err parse_json(struct span s, struct arena *a, struct json **ret, const char *what,
                              struct errinfo *ei)
{
    enum td_err e = json_parse(s, a, ret, NULL);
    if (e == TD_NOMEM)
        return err_set(ei, e, "JWS");
    if (e != TD_OK || json_kind(*ret) != JSON_K_OBJECT)
        return malformed(ei, what);
    return TD_OK;
}

static enum td_err decode(struct span s, struct arena *a, struct span *ret, const char *what,
                          struct errinfo *ei)
{
    enum td_err e = b64url_dec(a, s, ret);
    if (e == TD_PARSE)
        return malformed(ei, what);
    return e;
}

/* RFC 8555 section 6.2: no extension that must be understood, no unencoded payload. */
static enum td_err check_header(const struct json *h, struct errinfo *ei)
{
    if (json_member(h, "crit"))
        return malformed(ei, "the JWS has critical extensions");
    if (json_member(h, "b64"))
        return malformed(ei, "the JWS has an unencoded payload");
    return TD_OK;
}

static enum td_err header_nonce(const struct json *h, enum jws_place place, struct jws *j,
                                struct errinfo *ei)
{
    if (place == JWS_REQUEST)
        return json_get_str(h, "nonce", &j->nonce) == TD_OK
                   ? TD_OK
                   : malformed(ei, "the protected header lacks a nonce");
    return json_member(h, "nonce") ? malformed(ei, "a JWS inside another has no nonce") : TD_OK;
}

static enum td_err header_key(const struct json *h, enum jws_place place, struct jws *j,
                              struct errinfo *ei)
{
    j->jwk = json_member(h, "jwk");
    enum td_err e = json_get_str(h, "kid", &j->kid);
    if (e == TD_NOTFOUND)
        j->kid = NULL;
    else if (e != TD_OK)
        return malformed(ei, "kid is no text");
    if (!j->jwk == !j->kid)
        return malformed(ei, "the protected header needs exactly one of jwk and kid");
    if (place == JWS_NEW_KEY && !j->jwk)
        return malformed(ei, "the JWS of a new key is signed with jwk");
    if (place == JWS_BINDING && !j->kid)
        return malformed(ei, "an external account binding is signed with kid");
    return TD_OK;
}

static enum td_err header_alg(const char *alg, enum jws_place place, struct jws *j,
                              struct errinfo *ei)
{
    if (place == JWS_BINDING)
        return strcmp(alg, "HS256") == 0
                   ? TD_OK
                   : malformed(ei, "an external account binding has alg HS256");
    for (size_t i = 0; i < TD_NITEMS(algs); i++)
        if (strcmp(alg, algs[i].name) == 0)
            j->alg = &algs[i];
    if (!j->alg)
        return acme_refuse(ei, TD_UNSUPPORTED, "badSignatureAlgorithm", "alg-unsupported",
                           "the signature algorithm is not supported");
    return TD_OK;
}

static enum td_err parse_protected(struct span text, enum jws_place place, struct arena *a,
                                   struct jws *j, struct errinfo *ei)
{
    struct json *h;
    const char *alg;
    TD_TRY(parse_json(text, a, &h, "the protected header is no JSON object", ei));
    TD_TRY(check_header(h, ei));
    if (json_get_str(h, "alg", &alg) != TD_OK || json_get_str(h, "url", &j->url) != TD_OK)
        return malformed(ei, "the protected header lacks alg or url");
    TD_TRY(header_nonce(h, place, j, ei));
    TD_TRY(header_key(h, place, j, ei));
    return header_alg(alg, place, j, ei);
}

static enum td_err signing_input(struct arena *a, struct span prot, struct span payload,
                                 struct jws *j, struct errinfo *ei)
{
    uint8_t *p = arena_alloc(a, prot.n + payload.n + 1);
    if (!p)
        return err_set(ei, TD_NOMEM, "JWS");
    if (prot.n)
        memcpy(p, prot.p, prot.n);
    p[prot.n] = '.';
    if (payload.n)
        memcpy(p + prot.n + 1, payload.p, payload.n);
    j->signed_bytes = span_of(p, prot.n + payload.n + 1);
    return TD_OK;
}

enum td_err jws_parse_json(const struct json *o, enum jws_place place, struct arena *a,
                           struct jws *ret, struct errinfo *ei)
{
    struct jws j = {0};
    const char *prot, *payload, *sig;
    struct span head = {NULL, 0};
    if (!o || json_kind(o) != JSON_K_OBJECT)
        return malformed(ei, "the JWS is no JSON object");
    if (json_member(o, "header") || json_member(o, "signatures"))
        return malformed(ei, "only a flattened JWS with one protected header is taken");
    if (json_get_str(o, "protected", &prot) != TD_OK ||
        json_get_str(o, "payload", &payload) != TD_OK ||
        json_get_str(o, "signature", &sig) != TD_OK)
        return malformed(ei, "the JWS lacks protected, payload or signature");
    TD_TRY(decode(span_str(prot), a, &head, "protected is not base64url", ei));
    TD_TRY(decode(span_str(payload), a, &j.payload, "payload is not base64url", ei));
    TD_TRY(decode(span_str(sig), a, &j.signature, "signature is not base64url", ei));
    TD_TRY(parse_protected(head, place, a, &j, ei));
    TD_TRY(signing_input(a, span_str(prot), span_str(payload), &j, ei));
    *ret = j;
    return TD_OK;
}

enum td_err jws_parse(struct span body, enum jws_place place, struct arena *a, struct jws *ret,
                      struct errinfo *ei)
{
    struct json *o;
    if (body.n > LIMIT_BODY_JWS)
        return acme_refuse(ei, TD_LIMIT, "malformed", "jws-malformed", "the JWS is too long");
    TD_TRY(parse_json(body, a, &o, "the body is no JSON object", ei));
    return jws_parse_json(o, place, a, ret, ei);
}

enum td_err jws_verify(const struct jws *j, const struct key *k, struct errinfo *ei)
{
    if (key_type(k) != j->alg->key)
        return acme_refuse(ei, TD_INVAL, "malformed", "alg-key-mismatch",
                           "alg does not fit the type of the key");
    enum td_err e = j->alg->verify(k, j->alg->digest, j->signed_bytes, j->signature, NULL);
    if (e == TD_NOMEM || e == TD_INTERNAL)
        return err_set(ei, e, "verifying a JWS");
    if (e != TD_OK)
        return acme_refuse(ei, TD_FORBIDDEN, "unauthorized", "signature-bad",
                           "the signature of the request does not hold");
    return TD_OK;
}
