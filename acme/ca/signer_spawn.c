#include "acme/ca/signer_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILD_FD 3 /* right behind stderr; everything above is closed */
#define CHILD_STATUS_FD 4

/* In the child: descriptors in place, signals as a new program expects them. Only calls that are
 * safe behind fork. */
static void become(const struct signer_spawn *s, int fd, int status)
{
    const char *argv[12] = {s->program, "serve", "--dir", s->dir, "--fd", "3"};
    size_t n = 6;
    if (s->pass_file) {
        argv[n++] = "--pass-file";
        argv[n++] = s->pass_file;
    }
    if (s->user) {
        argv[n++] = "--user";
        argv[n++] = s->user;
    }
    argv[n] = NULL;
    union {
        const char **in;
        char *const *out;
    } deconst = {.in = argv}; /* execv's prototype predates const */
    /* out of each other's way first: either may have the other's number */
    int a = fcntl(fd, F_DUPFD_CLOEXEC, CHILD_STATUS_FD + 1);
    int b = fcntl(status, F_DUPFD_CLOEXEC, CHILD_STATUS_FD + 1);
    sigset_t none;
    sigemptyset(&none);
    if (a >= 0 && b >= 0 && dup2(a, CHILD_FD) >= 0 && dup3(b, CHILD_STATUS_FD, O_CLOEXEC) >= 0 &&
        close_range(CHILD_STATUS_FD + 1, ~0U, 0) == 0 && sigprocmask(SIG_SETMASK, &none, NULL) == 0)
        execv(s->program, deconst.out);
    int e = errno;
    (void)!write(CHILD_STATUS_FD, &e, sizeof e);
    _exit(127);
}

/* The errno of a failed exec; 0 once the new program runs (the pipe closes at exec). */
static int exec_errno(int fd)
{
    int e = 0;
    ssize_t n;
    do
        n = read(fd, &e, sizeof e);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof e ? e : 0;
}

enum td_err signer_spawn(const struct signer_spawn *s, int *ret_fd, pid_t *ret_pid,
                         struct errinfo *ei)
{
    int pair[2], status[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return err_sys(ei, TD_IO, errno, "cannot make the signer's channel");
    if (pipe2(status, O_CLOEXEC) != 0) {
        int sys = errno;
        close(pair[0]);
        close(pair[1]);
        return err_sys(ei, TD_IO, sys, "cannot make a pipe");
    }
    pid_t pid = fork();
    int sys = pid < 0 ? errno : 0;
    if (pid == 0)
        become(s, pair[1], status[1]);
    close(pair[1]);
    close(status[1]);
    if (pid > 0)
        sys = exec_errno(status[0]);
    close(status[0]);
    if (sys == 0) {
        *ret_fd = pair[0];
        *ret_pid = pid;
        return TD_OK;
    }
    close(pair[0]);
    if (pid > 0)
        signer_spawn_reap(pid, 1000);
    return err_sys(ei, TD_IO, sys, "cannot start %.100s", s->program);
}

void signer_spawn_reap(pid_t pid, int ms)
{
    int pidfd = pidfd_open(pid, 0), n;
    struct pollfd p = {.fd = pidfd, .events = POLLIN};
    do
        n = poll(&p, 1, ms);
    while (n < 0 && errno == EINTR);
    if (n <= 0 || pidfd < 0)
        kill(pid, SIGKILL); /* our own child, not yet waited for */
    if (pidfd >= 0)
        close(pidfd);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
}
