/* The command line: one table of options, each naming the subcommands that take it. */
#ifndef TD_SIM_OPTS_H
#define TD_SIM_OPTS_H

#include "mdm/base/err.h"
#include "mdm/base/span.h"

#include <stdio.h>

enum opts_for {
    OPTS_PKI = 1,
    OPTS_ENROLL = 2,
    OPTS_FLEET = 4,
    OPTS_CONNECT = 8,
    OPTS_RUN = 16,
    OPTS_FAULT = 32,
    OPTS_OCSP = 64,
    OPTS_HTTP = 128,
    OPTS_ACME = 256
};

enum { OPTS_NOTNOW_MAX = 16 };

struct opts {
    const char *dir, *url, *serial, *state, *cacert, *pki, *api, *token_file, *inventory, *prefix;
    const char *model, *issuer, *acks, *certs, *kind, *error_text, *posture;
    int64_t count, threads, key_size, rate, loops, interval, duration, bench, timeout, retry;
    bool lose_identity, signature, mtls, json, put_inventory, all, list, nonce, resume, quiet,
        fresh, hold;
    const char *notnow[OPTS_NOTNOW_MAX];
    size_t nnotnow;
};

/* Parses argv (without the program and the subcommand). Unknown options, options of another
 * subcommand, missing and bad values are TD_INVAL with a message. */
enum td_err opts_parse(unsigned cmd, int argc, char *const *argv, struct opts *ret,
                       struct errinfo *ei);

/* The options of a subcommand, one line each. */
void opts_help(unsigned cmd, FILE *f);

#endif
