/* Many devices: enrolment of a whole fleet, connects of the enrolled ones, and both for a demo. */
#ifndef TD_SIM_FLEET_H
#define TD_SIM_FLEET_H

#include "tests/sim/enroll.h"

/* Subcommands; the result is the exit code: 0, or 1 when any device failed. TD_* errors are for
 * what stops the whole run (bad options, files). */
enum td_err fleet_main(const struct opts *o, int *ret_code, struct errinfo *ei);
enum td_err fleet_enroll_main(const struct opts *o, int *ret_code, struct errinfo *ei);
enum td_err fleet_connect_main(const struct opts *o, int *ret_code, struct errinfo *ei);
enum td_err fleet_run_main(const struct opts *o, int *ret_code, struct errinfo *ei);

#endif
