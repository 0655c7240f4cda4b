#include "acme/signer/supervise.h"

#include <errno.h>
#include <fcntl.h>
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

/* A worker and what is known of it. */
struct life {
    pid_t pid; /* 0: none */
    int pidfd;
    int control; /* what it writes to us */
    uint32_t generation;
    int64_t born;
};

static const struct life nobody = {0, -1, -1, 0, 0};

/* Replaces the child by a worker. Only calls that are safe behind fork. */
static void exec_worker(const struct worker_opts *o, pid_t supervisor)
{
    char fd[12], generation[12], control[12];
    snprintf(fd, sizeof fd, "%d", o->fd);
    snprintf(generation, sizeof generation, "%u", o->generation);
    snprintf(control, sizeof control, "%d", o->control);
    const char *argv[18] = {"testudo-signer", "worker",   "--dir",     o->dir, "--fd", fd,
                            "--generation",   generation, "--control", control};
    size_t n = 10;
    if (o->takeover)
        argv[n++] = "--takeover";
    if (o->pass_file) {
        argv[n++] = "--pass-file";
        argv[n++] = o->pass_file;
    }
    if (o->user) {
        argv[n++] = "--user";
        argv[n++] = o->user;
    }
    argv[n] = NULL;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0 || getppid() != supervisor ||
        fcntl(o->control, F_SETFD, 0) != 0)
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

static void tell_gone(const struct worker_opts *o, uint32_t generation)
{
    struct signer_msg m = {.type = SIGNER_MSG_GONE, .generation = generation};
    buf_auto b;
    buf_init(&b, LIMIT_SIGNER_MSG);
    if (signer_msg_put(&b, &m) == TD_OK)
        (void)!send(o->fd, b.p, b.n, MSG_NOSIGNAL);
}

/* Starts a worker; without one *ret is nobody. */
static void give_birth(const struct worker_opts *o, uint32_t generation, bool takeover,
                       struct life *ret)
{
    int control[2];
    *ret = nobody;
    if (pipe2(control, O_CLOEXEC) != 0)
        return;
    struct worker_opts w = *o;
    w.generation = generation;
    w.takeover = takeover;
    w.control = control[1];
    pid_t self = getpid(), pid = fork();
    if (pid == 0)
        exec_worker(&w, self);
    close(control[1]);
    if (pid < 0) {
        close(control[0]);
        return;
    }
    *ret =
        (struct life){pid, pidfd_open(pid, 0), control[0], generation, clock_mono(&clock_system)};
}

/* Waits up to ms for the worker to leave, then kills it; its wait status, -1 for nobody. */
static int bury(struct life *l, int ms)
{
    int status = -1;
    if (l->pid > 0) {
        if (l->pidfd < 0 || !gone(l->pidfd, ms))
            kill(l->pid, SIGKILL); /* our own child, not yet waited for */
        while (waitpid(l->pid, &status, 0) < 0 && errno == EINTR)
            continue;
        close(l->control);
        if (l->pidfd >= 0)
            close(l->pidfd);
    }
    *l = nobody;
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
        log_ev(WEXITSTATUS(status) == WORKER_EXIT_LEFT ? LOG_INFO : LOG_ERROR, "signer.worker",
               KV("state", "exited"), KV_I64("status", WEXITSTATUS(status)),
               KV_I64("generation", generation));
}

static bool exited_with(int status, int code)
{
    return status != -1 && WIFEXITED(status) && WEXITSTATUS(status) == code;
}

enum happening { CHANNEL_CLOSED, WORKER_DIED, NEXT_DIED, NEXT_WANTED };

/* Waits for what comes first. A worker that died is more urgent than what it still wanted. */
static enum happening watch(int fd, const struct life *cur, const struct life *next)
{
    struct pollfd p[] = {{.fd = cur->pidfd, .events = POLLIN},
                         {.fd = next->pidfd, .events = POLLIN},
                         {.fd = next->pid ? -1 : cur->control, .events = POLLIN},
                         {.fd = fd}};
    /* what a dying worker's pipe says, its pidfd says in a moment */
    static const struct {
        enum happening what;
        short on;
    } table[] = {{WORKER_DIED, POLLIN | POLLERR},
                 {NEXT_DIED, POLLIN | POLLERR},
                 {NEXT_WANTED, POLLIN},
                 {CHANNEL_CLOSED, POLLIN | POLLHUP | POLLERR}};
    for (;;) {
        int n = poll(p, TD_NITEMS(p), -1);
        for (size_t i = 0; n > 0 && i < TD_NITEMS(p); i++)
            if (p[i].revents & table[i].on)
                return table[i].what;
        if (n < 0 && errno != EINTR)
            return CHANNEL_CLOSED;
    }
}

struct nursery {
    const struct worker_opts *o;
    struct life cur, next;
    uint32_t generation; /* of the youngest */
    int backoff;
};

static void start_next(struct nursery *n)
{
    char drop[16];
    (void)!read(n->cur.control, drop, sizeof drop);
    give_birth(n->o, ++n->generation, true, &n->next);
    if (!n->next.pid)
        log_death(n->generation, -1);
}

/* The worker is dead. True to go on; false with the exit status in *ret. */
static bool replace(struct nursery *n, int *ret)
{
    struct life dead = n->cur;
    int status = bury(&n->cur, 0);
    if (closed(n->o->fd, 0)) {
        *ret = 0;
        return false;
    }
    log_death(dead.generation, status);
    /* a wrong passphrase does not become right: the first worker's refusal is final */
    if (dead.generation == 1 && exited_with(status, WORKER_EXIT_CONFIG)) {
        *ret = WORKER_EXIT_CONFIG;
        return false;
    }
    if (!exited_with(status, WORKER_EXIT_LEFT) || !n->next.pid)
        tell_gone(n->o, dead.generation);
    if (n->next.pid) {
        n->cur = n->next;
        n->next = nobody;
        return true;
    }
    if (clock_mono(&clock_system) - dead.born > HEALTHY_MS)
        n->backoff = BACKOFF_FIRST_MS;
    if (closed(n->o->fd, n->backoff)) {
        *ret = 0;
        return false;
    }
    n->backoff = n->backoff * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : n->backoff * 2;
    give_birth(n->o, ++n->generation, false, &n->cur);
    return true;
}

/* One happening dealt with; false at the end. */
static bool step(struct nursery *n, int *ret)
{
    if (!n->cur.pid)
        return replace(n, ret);
    enum happening h = watch(n->o->fd, &n->cur, &n->next);
    if (h == WORKER_DIED)
        return replace(n, ret);
    if (h == NEXT_WANTED)
        start_next(n);
    if (h == NEXT_DIED) {
        uint32_t generation = n->next.generation;
        log_death(generation, bury(&n->next, 0));
    }
    *ret = 0;
    return h != CHANNEL_CLOSED;
}

int supervise_run(const struct worker_opts *o)
{
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
    for (size_t i = 0; i < TD_NITEMS(ignored); i++)
        signal(ignored[i], SIG_IGN); /* kept over exec: the worker ignores them too */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
        return WORKER_EXIT_BROKEN;
    struct nursery n = {o, nobody, nobody, o->generation, BACKOFF_FIRST_MS};
    int status = 0;
    give_birth(o, n.generation, false, &n.cur);
    while (step(&n, &status))
        continue;
    bury(&n.next, 0);
    bury(&n.cur, LEAVE_MS);
    return status;
}
