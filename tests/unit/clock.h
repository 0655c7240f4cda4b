/* As clock_fixed, for a clock that is set while other threads read it. */
#ifndef TD_TESTS_UNIT_CLOCK_H
#define TD_TESTS_UNIT_CLOCK_H

#include <stdatomic.h>

#include "mdm/base/clock.h"

struct test_clock {
    struct clock clock;
    _Atomic int64_t at;
};

static inline int64_t test_clock_now(const struct clock *c)
{
    return ((const struct test_clock *)c)->at;
}

static inline int64_t test_clock_mono(const struct clock *c)
{
    return test_clock_now(c) * 1000;
}

static inline void test_clock_init(struct test_clock *c, int64_t at)
{
    c->clock = (struct clock){test_clock_now, test_clock_mono};
    c->at = at;
}

#endif
