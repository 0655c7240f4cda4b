#include "acme/signer/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/landlock.h>
#include <pwd.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mdm/base/log.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED true
#endif
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

enum td_err sandbox_no_dump(struct errinfo *ei)
{
    struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_CORE, &none) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        return err_sys(ei, TD_IO, errno, "cannot forbid core dumps");
    return TD_OK;
}

enum td_err sandbox_drop(const char *user, struct errinfo *ei)
{
    if (geteuid() != 0)
        return TD_OK;
    struct passwd pw, *found = NULL;
    char text[4096];
    if (getpwnam_r(user, &pw, text, sizeof text, &found) != 0 || !found)
        return err_set(ei, TD_NOTFOUND, "no such user: %.60s", user);
    if (setgroups(0, NULL) != 0 || setresgid(pw.pw_gid, pw.pw_gid, pw.pw_gid) != 0 ||
        setresuid(pw.pw_uid, pw.pw_uid, pw.pw_uid) != 0)
        return err_sys(ei, TD_IO, errno, "cannot become %.60s", user);
    if (pw.pw_uid != 0 && setuid(0) == 0)
        return err_set(ei, TD_INTERNAL, "root could be taken back");
    /* the kernel forgets both when the user changes */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
        return err_sys(ei, TD_IO, errno, "cannot tie the worker to its supervisor");
    return sandbox_no_dump(ei);
}

enum td_err sandbox_dir(const char *dir, int *ret_fd, struct errinfo *ei)
{
    int fd = open(dir, O_PATH | O_CLOEXEC | O_DIRECTORY);
    if (fd < 0)
        return err_sys(ei, TD_IO, errno, "cannot open %.100s", dir);
    *ret_fd = fd;
    return TD_OK;
}

/* Every right over files that the kernel's version of landlock knows is handled, and so refused;
 * reading below `dir` alone is allowed. The audit log's descriptor is open already: landlock does
 * not touch it. */
static enum td_err landlock(int dir_fd, struct errinfo *ei)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < 1) {
        log_ev(LOG_WARN, "signer.landlock", KV("state", "absent"));
        return TD_OK;
    }
    uint64_t fs = (UINT64_C(1) << 13) - 1;  /* version 1: execute .. make_sym */
    fs |= abi >= 2 ? UINT64_C(1) << 13 : 0; /* refer */
    fs |= abi >= 3 ? UINT64_C(1) << 14 : 0; /* truncate by path; ours has its descriptor */
    struct landlock_ruleset_attr attr = {.handled_access_fs = fs};
    int rules = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
    if (rules < 0)
        return err_sys(ei, TD_IO, errno, "landlock refused its rules");
    struct landlock_path_beneath_attr below = {
        .allowed_access = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR,
        .parent_fd = dir_fd,
    };
    bool ok = syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &below, 0) == 0 &&
              syscall(SYS_landlock_restrict_self, rules, 0) == 0;
    int sys = errno;
    close(rules);
    return ok ? TD_OK : err_sys(ei, TD_IO, sys, "landlock could not be entered");
}

/* What the loop, malloc, OpenSSL and the log need. Descriptors exist already; memory never becomes
 * executable. */
static const int allowed[] = {
    SCMP_SYS(recvmmsg),        SCMP_SYS(recvmsg),      SCMP_SYS(recvfrom),
    SCMP_SYS(sendmmsg),        SCMP_SYS(sendmsg),      SCMP_SYS(sendto),
    SCMP_SYS(write),           SCMP_SYS(writev),       SCMP_SYS(fdatasync),
    SCMP_SYS(ftruncate),       SCMP_SYS(close),        SCMP_SYS(poll),
    SCMP_SYS(ppoll),           SCMP_SYS(munmap),       SCMP_SYS(mremap),
    SCMP_SYS(madvise),         SCMP_SYS(brk),          SCMP_SYS(futex),
    SCMP_SYS(getrandom),       SCMP_SYS(getpid),       SCMP_SYS(gettid),
    SCMP_SYS(clock_gettime),   SCMP_SYS(gettimeofday), SCMP_SYS(time),
    SCMP_SYS(rt_sigprocmask),  SCMP_SYS(rt_sigreturn), SCMP_SYS(sched_yield),
    SCMP_SYS(restart_syscall), SCMP_SYS(exit),         SCMP_SYS(exit_group),
};

/* A library that looks for a file gets an error, not its death. */
static const int refused[] = {
    SCMP_SYS(open),      SCMP_SYS(openat),     SCMP_SYS(stat),
    SCMP_SYS(lstat),     SCMP_SYS(newfstatat), SCMP_SYS(access),
    SCMP_SYS(faccessat), SCMP_SYS(readlink),   SCMP_SYS(fstat),
};

static int add_rules(scmp_filter_ctx ctx)
{
    int rc = 0;
    for (size_t i = 0; i < TD_NITEMS(allowed) && rc == 0; i++)
        rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, allowed[i], 0);
    for (size_t i = 0; i < TD_NITEMS(refused) && rc == 0; i++)
        rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EACCES), refused[i], 0);
    /* PROT_EXEC (4) never; one comparison says it */
    if (rc == 0)
        rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
                              SCMP_A2(SCMP_CMP_MASKED_EQ, 4, 0));
    if (rc == 0)
        rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                              SCMP_A2(SCMP_CMP_MASKED_EQ, 4, 0));
    return rc;
}

static enum td_err seccomp(struct errinfo *ei)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!ctx)
        return err_set(ei, TD_NOMEM, "no memory for the seccomp filter");
    int rc = add_rules(ctx);
    if (rc == 0)
        rc = seccomp_load(ctx);
    seccomp_release(ctx);
    return rc == 0 ? TD_OK : err_sys(ei, TD_IO, -rc, "seccomp refused its filter");
}

enum td_err sandbox_enter(int dir_fd, struct errinfo *ei)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return err_sys(ei, TD_IO, errno, "cannot give up new privileges");
    if (SANITIZED) {
        log_ev(LOG_WARN, "signer.sandbox", KV("state", "off in sanitizer builds"));
        return TD_OK;
    }
    TD_TRY(landlock(dir_fd, ei));
    return seccomp(ei);
}

/* What no module needs to sign. */
static const int withheld[] = {
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(ptrace),
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(pivot_root),
    SCMP_SYS(chroot),
    SCMP_SYS(setns),
    SCMP_SYS(unshare),
    SCMP_SYS(bpf),
    SCMP_SYS(kexec_load),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(delete_module),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(reboot),
    SCMP_SYS(swapon),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(open_by_handle_at),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(userfaultfd),
};

enum td_err sandbox_module(struct errinfo *ei)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return err_sys(ei, TD_IO, errno, "cannot give up new privileges");
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
    if (!ctx)
        return err_set(ei, TD_NOMEM, "no memory for the seccomp filter");
    int rc = 0;
    for (size_t i = 0; i < TD_NITEMS(withheld) && rc == 0; i++)
        rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), withheld[i], 0);
    if (rc == 0)
        rc = seccomp_load(ctx);
    seccomp_release(ctx);
    return rc == 0 ? TD_OK : err_sys(ei, TD_IO, -rc, "seccomp refused its filter");
}
