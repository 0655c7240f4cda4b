/* Many items worked off by threads with small stacks, with a progress line and a stop flag. */
#ifndef TD_SIM_POOL_H
#define TD_SIM_POOL_H

#include "mdm/base/err.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Set by SIGINT and SIGTERM (pool_signals); every loop of the simulator looks at it. */
bool pool_stopped(void);

/* Installs the handlers for the stop flag, ignores SIGPIPE. Once, before threads exist. */
void pool_signals(void);

struct pool {
    size_t n; /* items 0..n-1; 0: each thread is called again and again until `until_us` */
    unsigned threads;
    int64_t rate;      /* items started per second, 0: no limit */
    uint64_t until_us; /* stats_now_us() to stop at, 0: none */
    const char *verb;  /* "enrolled"; NULL: no progress line */
    /* Works on one item; `thread` is 0..threads-1. False counts as a failure. Any thread. */
    bool (*fn)(void *ctx, size_t item, unsigned thread);
    void *ctx;
    /* results */
    _Atomic uint64_t done, failed;
    _Atomic size_t next; /* private */
    uint64_t t0_us;      /* private */
};

/* Runs to the end (or the stop flag) and joins. TD_BUSY when no thread could be started. */
enum td_err pool_run(struct pool *p, struct errinfo *ei);

/* Sleeps, at most `us`, until the stop flag is set. False when it is. */
bool pool_sleep(uint64_t us);

/* Sleeps that long, whatever the stop flag says: between two tries of something that was begun. */
void pool_pause(uint64_t us);

#endif
