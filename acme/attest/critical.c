#include "acme/attest/critical.h"

#include "mdm/base/err.h"
#include "mdm/base/rd.h"

#define SEQUENCE 0x30
#define EXTENSIONS 0xa3

static const struct span known[] = {
    {(const uint8_t *)"\x55\x1d\x13", 3}, /* basicConstraints */
    {(const uint8_t *)"\x55\x1d\x0f", 3}, /* keyUsage */
    {(const uint8_t *)"\x55\x1d\x25", 3}, /* extKeyUsage */
};

/* The next DER value: its tag, and its content as a cursor. */
static struct rd value(struct rd *r, uint8_t *ret_tag)
{
    *ret_tag = rd_u8(r);
    size_t n = rd_u8(r);
    if (n > 0x80 && n <= 0x84)
        n = (size_t)rd_be(r, n & 0x7f);
    else if (n >= 0x80)
        r->bad = true;
    return rd_init(rd_span(r, n));
}

/* Extension: extnID, [critical BOOLEAN], extnValue. */
static bool extension_ok(struct rd ext)
{
    uint8_t tag;
    struct rd oid = value(&ext, &tag), next = value(&ext, &tag);
    if (ext.bad)
        return false;
    if (tag != 1 || rd_u8(&next) == 0)
        return true;
    struct span id = {oid.p, rd_left(&oid)};
    for (size_t i = 0; i < TD_NITEMS(known); i++)
        if (span_eq(id, known[i]))
            return true;
    return false;
}

bool attest_critical_known(struct span der)
{
    struct rd r = rd_init(der);
    uint8_t tag;
    struct rd cert = value(&r, &tag), tbs = value(&cert, &tag);
    while (rd_left(&tbs)) {
        struct rd part = value(&tbs, &tag);
        if (tag != EXTENSIONS)
            continue;
        struct rd list = value(&part, &tag);
        while (rd_left(&list)) {
            struct rd ext = value(&list, &tag);
            if (tag != SEQUENCE || !extension_ok(ext))
                return false;
        }
        return !list.bad;
    }
    return !r.bad && !cert.bad && !tbs.bad;
}
