/* The worker: holds the keys, closed off, answers typed requests in batches. */
#ifndef TD_ACME_SIGNER_WORKER_H
#define TD_ACME_SIGNER_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "mdm/base/err.h"

struct worker_opts {
    const char *dir, *pass_file, *user; /* the last two may be NULL */
    int fd;                             /* SOCK_SEQPACKET, inherited */
    uint32_t generation;
    int control;   /* where the supervisor is told that another worker is wanted; -1 for nowhere */
    bool takeover; /* another worker serves still: say READY, wait for it to leave */
};

/* How the worker's exit status tells the supervisor what to do. */
enum worker_exit {
    WORKER_EXIT_CLOSED = 0,  /* the channel is closed */
    WORKER_EXIT_BROKEN = 1,  /* start again */
    WORKER_EXIT_LEFT = 3,    /* for another that takes its place */
    WORKER_EXIT_CONFIG = 78, /* could not start, and told so: EX_CONFIG */
};

/* Runs until the channel closes; the result is the process's exit status. */
int worker_run(const struct worker_opts *o);

#endif
