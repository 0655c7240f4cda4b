/* What the closed-off worker can no longer do: each attempt in a child of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "acme/signer/sandbox.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#define KILLED (-SIGSYS)

static int try_nothing(void)
{
    return 0;
}

static int try_socket(void)
{
    return socket(AF_INET, SOCK_STREAM, 0) < 0;
}

static int try_unix_socket(void)
{
    int p[2];
    return socketpair(AF_UNIX, SOCK_STREAM, 0, p);
}

static int try_exec(void)
{
    return execl("/bin/true", "true", (char *)NULL);
}

static int try_fork(void)
{
    pid_t p = fork();
    if (p == 0)
        _exit(0);
    return p < 0;
}

static int try_read_passwd(void)
{
    int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
    return fd < 0 && errno == EACCES ? 41 : 0;
}

static int try_create(void)
{
    int fd = open("/tmp/td-sandbox-file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    return fd < 0 && errno == EACCES ? 41 : 0;
}

static int try_unlink(void)
{
    return unlink("/tmp/td-sandbox-file");
}

static int try_exec_memory(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
           MAP_FAILED;
}

static int try_plain_memory(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
           MAP_FAILED;
}

static int try_ptrace(void)
{
    return ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0;
}

static int try_kill(void)
{
    return kill(getppid(), 0);
}

static int try_dumpable(void)
{
    return prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 ? 42 : 0;
}

static const struct {
    int (*fn)(void);
    int want; /* exit status, or minus the signal */
} tries[] = {
    {try_nothing, 0},       {try_socket, KILLED}, {try_unix_socket, KILLED},
    {try_exec, KILLED},     {try_fork, KILLED},   {try_read_passwd, 41},
    {try_create, 41},       {try_unlink, KILLED}, {try_exec_memory, KILLED},
    {try_plain_memory, 0},  {try_ptrace, KILLED}, {try_kill, KILLED},
    {try_dumpable, KILLED},
};

static void test_attempts(void **state)
{
    (void)state;
    if (SANITIZED)
        skip();
    for (size_t i = 0; i < TD_NITEMS(tries); i++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            int dir;
            if (sandbox_no_dump(NULL) != TD_OK || sandbox_dir("/tmp", &dir, NULL) != TD_OK ||
                sandbox_enter(dir, NULL) != TD_OK)
                _exit(99);
            _exit(tries[i].fn());
        }
        int status = 0;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        int got = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
        if (got != tries[i].want)
            fail_msg("attempt %zu: %d", i, got);
    }
}

static void test_no_dump(void **state)
{
    (void)state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(sandbox_no_dump(NULL) == TD_OK ? try_dumpable() : 99);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 42);
}

/* As root only: the other user, and no way back. */
static void test_drop(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(sandbox_drop("no-such-user-here", NULL), TD_NOTFOUND);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (sandbox_drop("nobody", NULL) != TD_OK)
            _exit(1);
        int death = 0;
        prctl(PR_GET_PDEATHSIG, &death);
        _exit(getuid() != 0 && geteuid() != 0 && getegid() != 0 && setuid(0) != 0 &&
                      death == SIGKILL && prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0
                  ? 0
                  : 2);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attempts),
        cmocka_unit_test(test_no_dump),
        cmocka_unit_test(test_drop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
