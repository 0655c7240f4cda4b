#include "acme/server/certid.h"

#include "mdm/base/b64.h"
#include "mdm/crypt/x509.h"

#define OID_AKI "2.5.29.35"

enum td_err acme_certid_parse(struct span text, struct arena *a, struct span *ret_aki,
                              struct span *ret_serial)
{
    const uint8_t *dot = text.n ? memchr(text.p, '.', text.n) : NULL;
    if (!dot || text.n > 2 * (ACME_AKI_MAX + ACME_SERIAL_MAX))
        return TD_PARSE;
    size_t at = (size_t)(dot - text.p);
    struct span aki, serial;
    TD_TRY(b64url_dec(a, span_sub(text, 0, at), &aki));
    TD_TRY(b64url_dec(a, span_sub(text, at + 1, text.n), &serial));
    if (aki.n == 0 || aki.n > ACME_AKI_MAX || serial.n == 0 || serial.n > ACME_SERIAL_MAX)
        return TD_PARSE;
    *ret_aki = aki;
    *ret_serial = serial;
    return TD_OK;
}

/* SEQUENCE { [0] keyIdentifier, ... }, lengths in one octet: a longer one is none of ours. */
struct span acme_aki_keyid(struct span ext)
{
    static const struct span none = {NULL, 0};
    if (ext.n < 4 || ext.p[0] != 0x30 || ext.p[1] > 127 || ext.n != 2 + (size_t)ext.p[1])
        return none;
    if (ext.p[2] != 0x80 || ext.p[3] > 127 || ext.n < 4 + (size_t)ext.p[3])
        return none;
    return span_sub(ext, 4, ext.p[3]);
}

enum td_err acme_certid_find(struct tx *tx, struct span text, struct arena *a,
                             struct ca_record *ret, struct errinfo *ei)
{
    struct span aki = {NULL, 0}, serial = {NULL, 0}, ext = {NULL, 0};
    struct ca_record r = {0};
    cert_auto *c = NULL;
    enum td_err e = acme_certid_parse(text, a, &aki, &serial);
    if (e != TD_OK)
        return e == TD_NOMEM ? err_set(ei, e, "request") : TD_NOTFOUND;
    TD_TRY(ca_record_get(tx, serial, a, &r, ei));
    TD_TRY(cert_parse(r.der, &c, ei));
    if (cert_ext(c, OID_AKI, &ext) != 1 || !span_eq(acme_aki_keyid(ext), aki))
        return TD_NOTFOUND;
    *ret = r;
    return TD_OK;
}
