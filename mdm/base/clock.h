/* Time is injected: whoever needs it takes a struct clock. */
#ifndef TD_BASE_CLOCK_H
#define TD_BASE_CLOCK_H

#include "mdm/base/err.h"
#include "mdm/base/span.h"

struct clock {
    /* Seconds since 1970 UTC, and milliseconds of a clock that never goes back. */
    int64_t (*now)(const struct clock *);
    int64_t (*mono_ms)(const struct clock *);
};

/* The real time. */
extern const struct clock clock_system;

/* A clock that stands where the test sets it; mono_ms is now*1000. */
struct clock_fixed {
    struct clock clock;
    int64_t at;
};
void clock_fixed_init(struct clock_fixed *c, int64_t at);

#define CLOCK_TEXT_SIZE 21

/* RFC 3339 in UTC, "2026-11-23T12:00:00Z", for years 1970 to 9999; other times are clamped. */
void clock_text(int64_t t, char out[static CLOCK_TEXT_SIZE]);

/* Parses exactly that form (a fraction of a second is accepted and dropped; only Z as zone). */
enum td_err clock_parse(struct span s, int64_t *ret);

static inline int64_t clock_now(const struct clock *c)
{
    return c->now(c);
}

static inline int64_t clock_mono(const struct clock *c)
{
    return c->mono_ms(c);
}

#endif
