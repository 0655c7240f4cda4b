/* Faults on demand: one device misbehaves once, and the server must answer as it should. */
#ifndef TD_SIM_FAULT_H
#define TD_SIM_FAULT_H

#include "tests/sim/opts.h"

/* The subcommand. *ret_code: 0 the server did what a correct server does, 1 it did not. What kept
 * the attempt from being made at all (no server, no device, bad options) is an error. */
enum td_err fault_main(const struct opts *o, int *ret_code, struct errinfo *ei);

#endif
