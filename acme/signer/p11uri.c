#include "acme/signer/p11uri.h"

#include <stddef.h>

#include "mdm/base/str.h"

#define SCHEME "pkcs11:"
#define OCTETS_MAX P11URI_TEXT_MAX

_Static_assert(P11URI_ID_MAX <= OCTETS_MAX, "one buffer serves both");

static const struct {
    const char *name;
    size_t offset;
} texts[] = {
    {"token", offsetof(struct p11uri, token)},
    {"serial", offsetof(struct p11uri, serial)},
    {"manufacturer", offsetof(struct p11uri, manufacturer)},
    {"model", offsetof(struct p11uri, model)},
    {"object", offsetof(struct p11uri, object)},
};

static enum td_err take_text(struct p11uri *u, struct span name, const uint8_t *v, size_t n,
                             struct errinfo *ei)
{
    for (size_t i = 0; i < TD_NITEMS(texts); i++) {
        if (!span_eq_str(name, texts[i].name))
            continue;
        char *at = (char *)u + texts[i].offset;
        if (*at || n == 0 || memchr(v, 0, n))
            break;
        memcpy(at, v, n);
        at[n] = 0;
        return TD_OK;
    }
    return err_set(ei, TD_INVAL, "PKCS#11 URI: attribute \"%.*s\" is unknown, empty or given twice",
                   (int)(name.n < 32 ? name.n : 32), (const char *)name.p);
}

static enum td_err take(struct p11uri *u, struct span part, struct errinfo *ei)
{
    uint8_t v[OCTETS_MAX];
    size_t n;
    struct span name = str_cut(&part, '=');
    if (!str_unescape(part, v, sizeof v, &n))
        return err_set(ei, TD_INVAL, "PKCS#11 URI: a bad escape or a value over %d bytes",
                       OCTETS_MAX);
    if (span_eq_str(name, "type"))
        return n == 7 && memcmp(v, "private", 7) == 0
                   ? TD_OK
                   : err_set(ei, TD_INVAL, "PKCS#11 URI: type is not private");
    if (!span_eq_str(name, "id"))
        return take_text(u, name, v, n, ei);
    if (u->nid || n == 0)
        return err_set(ei, TD_INVAL, "PKCS#11 URI: id is empty or given twice");
    memcpy(u->id, v, n);
    u->nid = n;
    return TD_OK;
}

enum td_err p11uri_parse(struct span text, struct p11uri *ret, struct errinfo *ei)
{
    struct p11uri u = {0};
    struct span scheme = SPAN_LIT(SCHEME);
    if (!span_starts(text, scheme))
        return err_set(ei, TD_INVAL, "not a PKCS#11 URI");
    struct span rest = span_sub(text, scheme.n, SIZE_MAX);
    if (rest.n && memchr(rest.p, '?', rest.n))
        return err_set(ei, TD_INVAL, "PKCS#11 URI: module and PIN are set in ca.ini, not here");
    while (rest.n)
        TD_TRY(take(&u, str_cut(&rest, ';'), ei));
    *ret = u;
    return TD_OK;
}

static void put_escaped(struct buf *b, struct span s)
{
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '-' || c == '.' || c == '_';
        if (plain)
            buf_u8(b, c);
        else
            buf_printf(b, "%%%02x", c);
    }
}

enum td_err p11uri_put(const struct p11uri *u, struct buf *b)
{
    const char *sep = "";
    buf_str(b, SCHEME);
    for (size_t i = 0; i < TD_NITEMS(texts); i++) {
        const char *v = (const char *)u + texts[i].offset;
        if (!*v)
            continue;
        buf_printf(b, "%s%s=", sep, texts[i].name);
        put_escaped(b, span_str(v));
        sep = ";";
    }
    if (u->nid)
        buf_printf(b, "%sid=", sep);
    for (size_t i = 0; i < u->nid; i++)
        buf_printf(b, "%%%02x", u->id[i]);
    return b->err;
}
