#include "acme/server/jwk.h"

#include "acme/server/problem.h"
#include "mdm/base/b64.h"

static enum td_err malformed(struct errinfo *ei, const char *member)
{
    return acme_refuse(ei, TD_PARSE, "badPublicKey", "jwk-malformed",
                       "the JWK's member %s is missing or malformed", member);
}

static enum td_err unsupported(struct errinfo *ei)
{
    return acme_refuse(ei, TD_UNSUPPORTED, "badPublicKey", "jwk-unsupported",
                       "keys of this type or size are not supported");
}

/* A member of base64url bytes. *ret_text is the text itself: strict decoding leaves each value one
 * spelling, so it can go into the canonical form as it is. */
static enum td_err bytes(const struct json *jwk, const char *name, struct arena *a,
                         struct span *ret, const char **ret_text, struct errinfo *ei)
{
    if (json_get_str(jwk, name, ret_text) != TD_OK || !(*ret_text)[0])
        return malformed(ei, name);
    enum td_err e = b64url_dec(a, span_str(*ret_text), ret);
    if (e == TD_PARSE)
        return malformed(ei, name);
    return e;
}

/* What the crypt room says about the members, as an answer to the client. */
static enum td_err judged(enum td_err e, struct errinfo *ei)
{
    if (e == TD_OK || e == TD_NOMEM || e == TD_INTERNAL)
        return e;
    return unsupported(ei);
}

static enum td_err parse_ec(const struct json *jwk, struct arena *a, struct jwk *ret,
                            struct errinfo *ei)
{
    static const struct {
        const char *crv;
        enum key_type type;
        size_t size;
    } curves[] = {{"P-256", KEY_P256, 32}, {"P-384", KEY_P384, 48}};
    const char *crv, *xt, *yt;
    struct span x = {NULL, 0}, y = {NULL, 0};
    if (json_get_str(jwk, "crv", &crv) != TD_OK)
        return malformed(ei, "crv");
    TD_TRY(bytes(jwk, "x", a, &x, &xt, ei));
    TD_TRY(bytes(jwk, "y", a, &y, &yt, ei));
    for (size_t i = 0; i < TD_NITEMS(curves); i++) {
        if (strcmp(crv, curves[i].crv) != 0)
            continue;
        /* RFC 7518 section 6.2.1.2: the full size of the field, leading zeros included */
        if (x.n != curves[i].size || y.n != curves[i].size)
            return malformed(ei, "x or y");
        ret->canonical = arena_printf(
            a, "{\"crv\":\"%s\",\"kty\":\"EC\",\"x\":\"%s\",\"y\":\"%s\"}", crv, xt, yt);
        return judged(key_from_ec(curves[i].type, x, y, &ret->key, NULL), ei);
    }
    return unsupported(ei);
}

static enum td_err parse_rsa(const struct json *jwk, struct arena *a, struct jwk *ret,
                             struct errinfo *ei)
{
    const char *nt, *et;
    struct span n = {NULL, 0}, e = {NULL, 0};
    TD_TRY(bytes(jwk, "n", a, &n, &nt, ei));
    TD_TRY(bytes(jwk, "e", a, &e, &et, ei));
    /* RFC 7518 section 6.3.1: the fewest octets, so that a key has one thumbprint */
    if (n.n == 0 || e.n == 0 || n.p[0] == 0 || e.p[0] == 0)
        return malformed(ei, "n or e");
    ret->canonical = arena_printf(a, "{\"e\":\"%s\",\"kty\":\"RSA\",\"n\":\"%s\"}", et, nt);
    return judged(key_from_rsa(n, e, &ret->key, NULL), ei);
}

static enum td_err parse_okp(const struct json *jwk, struct arena *a, struct jwk *ret,
                             struct errinfo *ei)
{
    const char *crv, *xt;
    struct span x = {NULL, 0};
    if (json_get_str(jwk, "crv", &crv) != TD_OK)
        return malformed(ei, "crv");
    TD_TRY(bytes(jwk, "x", a, &x, &xt, ei));
    if (strcmp(crv, "Ed25519") != 0)
        return unsupported(ei);
    if (x.n != 32)
        return malformed(ei, "x");
    ret->canonical = arena_printf(a, "{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"%s\"}", xt);
    return judged(key_from_ed25519(x, &ret->key, NULL), ei);
}

static const struct {
    const char *kty;
    enum td_err (*parse)(const struct json *, struct arena *, struct jwk *, struct errinfo *);
} kinds[] = {{"EC", parse_ec}, {"RSA", parse_rsa}, {"OKP", parse_okp}};

static void free_key(void *p)
{
    key_free(p);
}

static enum td_err finish(struct arena *a, struct jwk *j, struct errinfo *ei)
{
    if (!j->canonical || !arena_defer(a, free_key, j->key)) {
        key_free(j->key);
        return err_set(ei, TD_NOMEM, "JWK");
    }
    digest_sha256(span_str(j->canonical), j->thumbprint);
    return TD_OK;
}

enum td_err jwk_parse(const struct json *jwk, struct arena *a, struct jwk *ret, struct errinfo *ei)
{
    struct jwk j = {0};
    const char *kty;
    if (!jwk || json_kind(jwk) != JSON_K_OBJECT || json_get_str(jwk, "kty", &kty) != TD_OK)
        return malformed(ei, "kty");
    if (json_member(jwk, "d") || json_member(jwk, "k"))
        return malformed(ei, "d or k (a secret)");
    for (size_t i = 0; i < TD_NITEMS(kinds); i++)
        if (strcmp(kty, kinds[i].kty) == 0) {
            TD_TRY(kinds[i].parse(jwk, a, &j, ei));
            TD_TRY(finish(a, &j, ei));
            *ret = j;
            return TD_OK;
        }
    return unsupported(ei);
}
