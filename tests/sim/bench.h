/* Load on one endpoint: Idle reports, OCSP requests, plain GETs, ACME orders. */
#ifndef TD_SIM_BENCH_H
#define TD_SIM_BENCH_H

#include "tests/sim/enroll.h"

/* Idle reports by the devices of the state directory, one per thread, until N or S of the options
 * is reached; with --fresh each over a connection of its own. Prints the rate and the latencies;
 * *ret_code 1 when any failed. */
enum td_err bench_connect(const struct enroll_ctx *c, int *ret_code, struct errinfo *ei);

/* The subcommand ocsp-bench: requests for the certificates of a state directory. */
enum td_err bench_ocsp_main(const struct opts *o, int *ret_code, struct errinfo *ei);

/* The subcommand http-bench: GET of one URL over kept connections. */
enum td_err bench_http_main(const struct opts *o, int *ret_code, struct errinfo *ei);

/* The subcommand acme-bench: invites made-up devices and fetches their enrolment profiles; then,
 * and with --hold behind a line on standard input, measures the nine requests of an attested ACME
 * order for each, over a connection of its own. */
enum td_err bench_acme_main(const struct opts *o, int *ret_code, struct errinfo *ei);

#endif
