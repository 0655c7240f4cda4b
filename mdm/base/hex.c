#include "mdm/base/hex.h"

#include "mdm/base/str.h"

void hex_enc(struct span s, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < s.n; i++) {
        *out++ = digits[s.p[i] >> 4];
        *out++ = digits[s.p[i] & 15];
    }
    *out = 0;
}

char *hex_str(struct arena *a, struct span s)
{
    char *out = arena_alloc(a, 2 * s.n + 1);
    if (out)
        hex_enc(s, out);
    return out;
}

enum td_err hex_dec(struct span s, uint8_t *out, size_t n)
{
    if (s.n != 2 * n)
        return TD_PARSE;
    for (size_t i = 0; i < n; i++) {
        int hi = str_hexdigit(s.p[2 * i]), lo = str_hexdigit(s.p[2 * i + 1]);
        if (hi < 0 || lo < 0)
            return TD_PARSE;
        out[i] = (uint8_t)(hi << 4 | lo);
    }
    return TD_OK;
}
