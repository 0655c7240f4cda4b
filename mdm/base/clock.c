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

static bool digits(struct span s, size_t at, size_t n, int64_t *ret)
{
    *ret = 0;
    for (size_t i = at; i < at + n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        *ret = *ret * 10 + (s.p[i] - '0');
    }
    return true;
}

enum td_err clock_parse(struct span s, int64_t *ret)
{
    int64_t y, mo, d, h, mi, se;
    if (s.n < 20 || s.n > 30 || s.p[s.n - 1] != 'Z' || s.p[4] != '-' || s.p[7] != '-' ||
        s.p[10] != 'T' || s.p[13] != ':' || s.p[16] != ':')
        return TD_PARSE;
    if (!digits(s, 0, 4, &y) || !digits(s, 5, 2, &mo) || !digits(s, 8, 2, &d) ||
        !digits(s, 11, 2, &h) || !digits(s, 14, 2, &mi) || !digits(s, 17, 2, &se))
        return TD_PARSE;
    int64_t fraction;
    if (s.n > 20 && (s.p[19] != '.' || s.n < 22 || !digits(s, 20, s.n - 21, &fraction)))
        return TD_PARSE;
    static const int month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (y < 1970 || mo < 1 || mo > 12 || h > 23 || mi > 59 || se > 59)
        return TD_PARSE;
    bool leap = mo == 2 && y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
    if (d < 1 || d > month_days[mo - 1] + (leap ? 1 : 0))
        return TD_PARSE;
    *ret = days_from_civil(y, mo, d) * 86400 + h * 3600 + mi * 60 + se;
    return TD_OK;
}
