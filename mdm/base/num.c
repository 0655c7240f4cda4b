#include "mdm/base/num.h"

enum td_err num_u64(struct span s, uint64_t max, uint64_t *ret)
{
    if (s.n == 0 || (s.n > 1 && s.p[0] == '0'))
        return TD_PARSE;
    uint64_t v = 0;
    bool over = false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return TD_PARSE;
        uint64_t digit = s.p[i] - (uint64_t)'0';
        over = over || v > (UINT64_MAX - digit) / 10;
        v = v * 10 + digit;
    }
    if (over || v > max)
        return TD_LIMIT;
    *ret = v;
    return TD_OK;
}

struct unit {
    char suffix;
    uint64_t factor;
};

static enum td_err with_unit(struct span s, const struct unit *units, size_t nunits, uint64_t max,
                             uint64_t *ret)
{
    uint64_t factor = 1, v;
    for (size_t i = 0; s.n > 0 && i < nunits; i++)
        if (s.p[s.n - 1] == (uint8_t)units[i].suffix) {
            factor = units[i].factor;
            s.n--;
            break;
        }
    TD_TRY(num_u64(s, max / factor, &v));
    *ret = v * factor;
    return TD_OK;
}

enum td_err num_duration(struct span s, uint64_t max, uint64_t *ret)
{
    static const struct unit units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    return with_unit(s, units, TD_NITEMS(units), max, ret);
}

enum td_err num_size(struct span s, uint64_t max, uint64_t *ret)
{
    static const struct unit units[] = {{'k', 1024}, {'m', 1024 * 1024}, {'g', 1024 * 1024 * 1024}};
    return with_unit(s, units, TD_NITEMS(units), max, ret);
}
