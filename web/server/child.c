#include "web/server/child.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

static enum td_err spawn(const char *const *argv, int out_fd, pid_t *ret, struct errinfo *ei)
{
    /* posix_spawn takes char *const * but does not change them */
    union {
        const char *const *in;
        char *const *out;
    } args = {.in = argv};
    posix_spawn_file_actions_t fa;
    if (posix_spawn_file_actions_init(&fa) != 0)
        return err_set(ei, TD_NOMEM, "no memory");
    int rc = out_fd >= 0 ? posix_spawn_file_actions_adddup2(&fa, out_fd, STDOUT_FILENO) : 0;
    if (rc == 0)
        rc = posix_spawn(ret, argv[0], &fa, NULL, args.out, environ);
    posix_spawn_file_actions_destroy(&fa);
    return rc == 0 ? TD_OK : err_sys(ei, TD_IO, rc, "cannot run %.120s", argv[0]);
}

static enum td_err wait_for(pid_t pid, int *ret_status, struct errinfo *ei)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return err_sys(ei, TD_IO, errno, "a program that was started is lost");
    *ret_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return TD_OK;
}

enum td_err child_run(const char *const *argv, int *ret_status, struct errinfo *ei)
{
    pid_t pid = 0;
    TD_TRY(spawn(argv, -1, &pid, ei));
    return wait_for(pid, ret_status, ei);
}

/* All of it is read, whatever fits: a program whose reader left would be killed. */
static enum td_err read_all(int fd, struct buf *out)
{
    char chunk[4096];
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return out->err;
        buf_add(out, chunk, (size_t)n);
    }
}

enum td_err child_read(const char *const *argv, struct buf *out, int *ret_status,
                       struct errinfo *ei)
{
    int p[2];
    pid_t pid = 0;
    if (pipe2(p, O_CLOEXEC) != 0)
        return err_sys(ei, TD_IO, errno, "cannot make a pipe");
    enum td_err e = spawn(argv, p[1], &pid, ei);
    close(p[1]);
    enum td_err read_error = e == TD_OK ? read_all(p[0], out) : TD_OK;
    close(p[0]);
    TD_TRY(e);
    TD_TRY(wait_for(pid, ret_status, ei));
    return read_error == TD_OK ? TD_OK : err_set(ei, read_error, "the output is too long");
}
