#include "mdm/base/utf8.h"

size_t utf8_next(struct span s, size_t at, uint32_t *ret_cp)
{
    /* lead byte range -> length, bits of the lead, smallest legal value */
    static const struct {
        uint8_t from, to, bits;
        uint8_t len;
        uint32_t min;
    } forms[] = {
        {0xc2, 0xdf, 0x1f, 2, 0x80},
        {0xe0, 0xef, 0x0f, 3, 0x800},
        {0xf0, 0xf4, 0x07, 4, 0x10000},
    };
    if (at >= s.n)
        return 0;
    uint8_t lead = s.p[at];
    if (lead < 0x80) {
        *ret_cp = lead;
        return 1;
    }
    for (size_t f = 0; f < sizeof forms / sizeof forms[0]; f++) {
        if (lead < forms[f].from || lead > forms[f].to)
            continue;
        if (s.n - at < forms[f].len)
            return 0;
        uint32_t cp = lead & forms[f].bits;
        for (size_t i = 1; i < forms[f].len; i++) {
            uint8_t c = s.p[at + i];
            if ((c & 0xc0) != 0x80)
                return 0;
            cp = cp << 6 | (c & 0x3fU);
        }
        if (cp < forms[f].min || cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff))
            return 0;
        *ret_cp = cp;
        return forms[f].len;
    }
    return 0;
}

bool utf8_valid(struct span s)
{
    for (size_t i = 0; i < s.n;) {
        uint32_t cp;
        size_t n = utf8_next(s, i, &cp);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

size_t utf8_put(uint32_t cp, uint8_t out[static 4])
{
    if (cp < 0x80) {
        out[0] = (uint8_t)cp;
        return 1;
    }
    if (cp < 0x800) {
        out[0] = (uint8_t)(0xc0 | cp >> 6);
        out[1] = (uint8_t)(0x80 | (cp & 0x3f));
        return 2;
    }
    if (cp < 0x10000) {
        out[0] = (uint8_t)(0xe0 | cp >> 12);
        out[1] = (uint8_t)(0x80 | (cp >> 6 & 0x3f));
        out[2] = (uint8_t)(0x80 | (cp & 0x3f));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | (cp >> 18 & 7));
    out[1] = (uint8_t)(0x80 | (cp >> 12 & 0x3f));
    out[2] = (uint8_t)(0x80 | (cp >> 6 & 0x3f));
    out[3] = (uint8_t)(0x80 | (cp & 0x3f));
    return 4;
}
