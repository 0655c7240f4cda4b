/* Closing the worker off: after sandbox_enter it can answer on the descriptors it holds, append to
 * the audit log and nothing else: no socket, no exec, no file. */
#ifndef TD_ACME_SIGNER_SANDBOX_H
#define TD_ACME_SIGNER_SANDBOX_H

#include "mdm/base/err.h"

/* No core dumps, no ptrace by others. Early, before a key is in memory. */
TD_NODISCARD enum td_err sandbox_no_dump(struct errinfo *ei);

/* Gives up root for `user` (its uid, gid, no supplementary groups). Does nothing when not root.
 * TD_NOTFOUND for an unknown user. */
TD_NODISCARD enum td_err sandbox_drop(const char *user, struct errinfo *ei);

/* A descriptor of the directory for sandbox_enter, taken while it may still be reached: not by the
 * user of sandbox_drop. The caller closes it. */
TD_NODISCARD enum td_err sandbox_dir(const char *dir, int *ret_fd, struct errinfo *ei);

/* landlock (the directory read-only, where the kernel has it: its absence is logged), then the
 * seccomp allow-list; any other system call kills the process. In sanitizer builds neither, as
 * their run-times need more; that is logged. */
TD_NODISCARD enum td_err sandbox_enter(int dir_fd, struct errinfo *ei);

/* For the process of a PKCS#11 module, whose needs nobody can list: it keeps its files and sockets,
 * but starts no program, looks into no other process and changes nothing of the system. In
 * sanitizer builds too. */
TD_NODISCARD enum td_err sandbox_module(struct errinfo *ei);

#endif
