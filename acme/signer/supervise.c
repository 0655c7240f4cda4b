#include "acme/signer/supervise.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "acme/signer/proto/signer_msg.h"
#include "mdm/base/clock.h"
#include "mdm/base/limits.h"
#include "mdm/base/log.h"

#define SELF "/proc/self/exe"
#define BACKOFF_FIRST_MS 50
#define BACKOFF_MAX_MS 5000
#define HEALTHY_MS 30000 /* a worker that lived so long starts the back-off anew */
#define LEAVE_MS 5000    /* for the worker to finish when the channel closed */

/* Replaces the child by a worker. Only calls that are safe behind fork. */
static void exec_worker(const struct worker_opts *o, pid_t supervisor)
{
    char fd[12], generation[12];
    snprintf(fd, sizeof fd, "%d", o->fd);
    snprintf(generation, sizeof generation, "%u", o->generation);
    const char *argv[14] = {"testudo-signer", "worker", "--dir",        o->dir,
                            "--fd",           fd,       "--generation", generation};
    size_t n = 8;
    if (o->pass_file) {
        argv[n++] = "--pass-file";
        argv[n++] = o->pass_file;
    }
    if (o->user) {
        argv[n++] = "--user";
        argv[n++] = o->user;
    }
    argv[n] = NULL;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0 || getppid() != supervisor)
        _exit(WORKER_EXIT_BROKEN);
    union {
        const char **in;
        char *const *out;
    } deconst = {.in = argv}; /* execv's prototype predates const */
    execv(SELF, deconst.out);
    _exit(WORKER_EXIT_BROKEN);
}

/* True when the other end is closed; waits for that up to ms. */
static bool closed(int fd, int ms)
{
    struct pollfd p = {.fd = fd};
    int n;
    do
        n = poll(&p, 1, ms);
    while (n < 0 && errno == EINTR);
    return n != 0;
}

static bool gone(int pidfd, int ms)
{
    struct pollfd p = {.fd = pidfd, .events = POLLIN};
    int n;
    do
        n = poll(&p, 1, ms);
    while (n < 0 && errno == EINTR);
    return n != 0;
}

/* Until the worker died (true) or the channel closed (false). */
static bool watch(int fd, int pidfd)
{
    struct pollfd p[2] = {{.fd = pidfd, .events = POLLIN}, {.fd = fd}};
    for (;;) {
        int n = poll(p, 2, -1);
        if (n < 0 && errno == EINTR)
            continue;
        return p[0].revents != 0 || n < 0;
    }
}

static void tell_gone(const struct worker_opts *o)
{
    struct signer_msg m = {.type = SIGNER_MSG_GONE, .generation = o->generation};
    buf_auto b;
    buf_init(&b, LIMIT_SIGNER_MSG);
    if (signer_msg_put(&b, &m) == TD_OK)
        (void)!send(o->fd, b.p, b.n, MSG_NOSIGNAL);
}

/* One worker's life; its wait status, or -1 when it could not be started. */
static int one_life(const struct worker_opts *o)
{
    pid_t self = getpid(), pid = fork();
    if (pid < 0)
        return -1;
    if (pid == 0)
        exec_worker(o, self);
    int pidfd = pidfd_open(pid, 0), status = -1;
    if (pidfd < 0 || !watch(o->fd, pidfd)) {
        if (pidfd < 0 || !gone(pidfd, LEAVE_MS))
            kill(pid, SIGKILL); /* our own child, not yet waited for */
    }
    if (pidfd >= 0)
        close(pidfd);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return status;
}

static void log_death(uint32_t generation, int status)
{
    if (status == -1)
        log_ev(LOG_ERROR, "signer.worker", KV("state", "not started"),
               KV_I64("generation", generation));
    else if (WIFSIGNALED(status))
        log_ev(LOG_ERROR, "signer.worker", KV("state", "killed"),
               KV_I64("signal", WTERMSIG(status)), KV_I64("generation", generation));
    else
        log_ev(LOG_ERROR, "signer.worker", KV("state", "exited"),
               KV_I64("status", WEXITSTATUS(status)), KV_I64("generation", generation));
}

int supervise_run(const struct worker_opts *o)
{
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
    for (size_t i = 0; i < TD_NITEMS(ignored); i++)
        signal(ignored[i], SIG_IGN); /* kept over exec: the worker ignores them too */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
        return WORKER_EXIT_BROKEN;
    int backoff = BACKOFF_FIRST_MS;
    for (struct worker_opts w = *o;; w.generation++) {
        int64_t born = clock_mono(&clock_system);
        int status = one_life(&w);
        if (closed(w.fd, 0))
            return 0;
        log_death(w.generation, status);
        /* a wrong passphrase does not become right: the first worker's refusal is final */
        if (w.generation == 1 && status != -1 && WIFEXITED(status) &&
            WEXITSTATUS(status) == WORKER_EXIT_CONFIG)
            return WORKER_EXIT_CONFIG;
        tell_gone(&w);
        if (clock_mono(&clock_system) - born > HEALTHY_MS)
            backoff = BACKOFF_FIRST_MS;
        if (closed(w.fd, backoff))
            return 0;
        backoff = backoff * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : backoff * 2;
    }
}
