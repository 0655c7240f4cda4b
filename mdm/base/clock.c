#include "mdm/base/clock.h"

#include <stdio.h>
#include <time.h>

#define TIME_MAX INT64_C(253402300799) /* 9999-12-31T23:59:59Z */

static int64_t system_now(const struct clock *c)
{
    (void)c;
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return ts.tv_sec;
}

static int64_t system_mono(const struct clock *c)
{
    (void)c;
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

const struct clock clock_system = {system_now, system_mono};

static int64_t fixed_now(const struct clock *c)
{
    return ((const struct clock_fixed *)(const void *)c)->at;
}

static int64_t fixed_mono(const struct clock *c)
{
    return fixed_now(c) * 1000;
}

void clock_fixed_init(struct clock_fixed *c, int64_t at)
{
    *c = (struct clock_fixed){{fixed_now, fixed_mono}, at};
}

void clock_text(int64_t t, char out[static CLOCK_TEXT_SIZE])
{
    time_t clamped = t < 0 ? 0 : t > TIME_MAX ? TIME_MAX : t;
    struct tm tm;
    gmtime_r(&clamped, &tm);
    strftime(out, CLOCK_TEXT_SIZE, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

/* Days since 1970-01-01 of a proleptic Gregorian date (years counted from March). */
static int64_t days_from_civil(int64_t y, int64_t m, int64_t d)
{
    y -= m <= 2;
    int64_t era = y / 400, yoe = y - era * 400;
    int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

/* Reads the fields of "dddd-dd-ddTdd:dd:dd": a 'd' takes a digit, anything else itself. */
static bool fields(const uint8_t *p, int64_t out[static 6])
{
    static const char form[] = "dddd-dd-ddTdd:dd:dd";
    size_t field = 0;
    memset(out, 0, 6 * sizeof *out);
    for (size_t i = 0; i < sizeof form - 1; i++) {
        if (form[i] != 'd') {
            if (p[i] != (uint8_t)form[i])
                return false;
            field++;
        } else if (p[i] < '0' || p[i] > '9') {
            return false;
        } else {
            out[field] = out[field] * 10 + (p[i] - '0');
        }
    }
    return true;
}

/* What stands between the seconds and the Z: nothing, or a point and digits. */
static bool fraction(struct span s)
{
    if (s.n == 0)
        return true;
    if (s.n < 2 || s.p[0] != '.')
        return false;
    for (size_t i = 1; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    return true;
}

static int64_t days_in_month(int64_t y, int64_t m)
{
    static const int64_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
    return m == 2 && leap ? 29 : days[m - 1];
}

enum td_err clock_parse(struct span s, int64_t *ret)
{
    static const int64_t low[] = {1970, 1, 1, 0, 0, 0}, high[] = {9999, 12, 31, 23, 59, 59};
    int64_t f[6];
    if (s.n < 20 || s.n > 30 || s.p[s.n - 1] != 'Z')
        return TD_PARSE;
    if (!fields(s.p, f) || !fraction(span_sub(s, 19, s.n - 20)))
        return TD_PARSE;
    for (size_t i = 0; i < TD_NITEMS(low); i++)
        if (f[i] < low[i] || f[i] > high[i])
            return TD_PARSE;
    if (f[2] > days_in_month(f[0], f[1]))
        return TD_PARSE;
    *ret = days_from_civil(f[0], f[1], f[2]) * 86400 + f[3] * 3600 + f[4] * 60 + f[5];
    return TD_OK;
}
