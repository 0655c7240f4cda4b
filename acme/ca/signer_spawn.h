/* Starting testudo-signer: the fork and exec, with nothing inherited but one end of a socket. */
#ifndef TD_ACME_CA_SIGNER_SPAWN_H
#define TD_ACME_CA_SIGNER_SPAWN_H

#include <sys/types.h>

#include "mdm/base/err.h"

struct signer_spawn {
    const char *program, *dir, *pass_file, *user; /* the last two may be NULL */
};

/* On success *ret_fd is our end (close-on-exec) and *ret_pid the supervisor. TD_IO when the program
 * cannot be executed. */
TD_NODISCARD enum td_err signer_spawn(const struct signer_spawn *s, int *ret_fd, pid_t *ret_pid,
                                      struct errinfo *ei);

/* Waits for the process to leave, at most `ms`, then kills it. */
void signer_spawn_reap(pid_t pid, int ms);

#endif
