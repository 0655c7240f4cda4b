/* The supervisor: holds no key, starts the worker again when it dies, so that testudo (which has
 * threads by then) never has to fork. */
#ifndef TD_ACME_SIGNER_SUPERVISE_H
#define TD_ACME_SIGNER_SUPERVISE_H

#include "acme/signer/worker.h"

/* Runs workers (this very program with the argument "worker") on o->fd until the other end closes
 * it. SIGINT, SIGTERM and SIGHUP are ignored: the signer leaves last, when testudo closed the
 * channel or died. The result is the exit status. */
int supervise_run(const struct worker_opts *o);

#endif
