#include "web/http/peer.h"

#include "mdm/base/b64.h"
#include "mdm/base/limits.h"
#include "mdm/base/str.h"

static enum td_err malformed(struct errinfo *ei, enum td_err e)
{
    return err_reason(ei, e, "client-cert-header",
                      "Client-Cert is no certificate in RFC 9440 form");
}

/* The standard alphabet with its padding, nothing else; the decoder itself is tolerant. */
static bool strict_base64(struct span s)
{
    size_t pad = 0;
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];
        bool digit = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                     c == '+' || c == '/';
        if (c == '=')
            pad++;
        else if (!digit || pad)
            return false;
    }
    return s.n > 0 && s.n % 4 == 0 && pad <= 2;
}

enum td_err http_peer_header(const struct req_header *headers, size_t n, struct arena *a,
                             struct span *ret, struct errinfo *ei)
{
    const struct req_header *found = NULL;
    for (size_t i = 0; i < n; i++) {
        if (!str_ieq(headers[i].name, SPAN_LIT("client-cert")))
            continue;
        if (found)
            return malformed(ei, TD_PARSE);
        found = &headers[i];
    }
    if (!found) {
        *ret = (struct span){NULL, 0};
        return TD_OK;
    }
    struct span v = found->value;
    if (v.n < 2 || v.p[0] != ':' || v.p[v.n - 1] != ':')
        return malformed(ei, TD_PARSE);
    v = span_sub(v, 1, v.n - 2);
    if (!strict_base64(v))
        return malformed(ei, TD_PARSE);
    if (v.n / 4 * 3 > LIMIT_X5C_CERT + 2)
        return malformed(ei, TD_LIMIT);
    struct span der;
    enum td_err e = b64_dec(a, v, &der);
    if (e != TD_OK)
        return e == TD_NOMEM ? err_set(ei, e, "no memory for Client-Cert")
                             : malformed(ei, TD_PARSE);
    if (der.n > LIMIT_X5C_CERT)
        return malformed(ei, TD_LIMIT);
    *ret = der;
    return TD_OK;
}
