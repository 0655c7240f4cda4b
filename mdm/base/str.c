#include "mdm/base/str.h"

#include "mdm/base/limits.h"

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

bool str_ieq(struct span a, struct span b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (lower(a.p[i]) != lower(b.p[i]))
            return false;
    return true;
}

static bool blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct span str_trim(struct span s)
{
    while (s.n > 0 && blank(s.p[0])) {
        s.p++;
        s.n--;
    }
    while (s.n > 0 && blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

struct span str_cut(struct span *rest, char sep)
{
    struct span s = *rest;
    const uint8_t *at = s.n ? memchr(s.p, sep, s.n) : NULL;
    if (!at) {
        *rest = (struct span){NULL, 0};
        return s;
    }
    size_t n = (size_t)(at - s.p);
    *rest = (struct span){at + 1, s.n - n - 1};
    return (struct span){s.p, n};
}

int str_hexdigit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static bool alnum(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

bool str_unescape(struct span s, uint8_t *out, size_t max, size_t *ret_n)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];
        if (n == max)
            return false;
        if (c == '%') {
            int hi = i + 2 < s.n ? str_hexdigit(s.p[i + 1]) : -1;
            int lo = i + 2 < s.n ? str_hexdigit(s.p[i + 2]) : -1;
            if (hi < 0 || lo < 0)
                return false;
            c = (uint8_t)(hi << 4 | lo);
            i += 2;
        }
        out[n++] = c;
    }
    *ret_n = n;
    return true;
}

bool str_device_serial(struct span s)
{
    if (s.n == 0 || s.n > LIMIT_SERIAL || !alnum(s.p[0]))
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!alnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '.' && s.p[i] != '_')
            return false;
    return true;
}
