#include "acme/ca/crl_export.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "acme/ca/crl.h"
#include "mdm/base/clock.h"
#include "mdm/base/fs.h"
#include "mdm/base/log.h"
#include "mdm/base/metrics.h"
#include "mdm/base/str.h"

#define POLL 1       /* seconds from a change to the file, at most */
#define RETRY 10     /* behind a failure */
#define RENEW 3600   /* looked at without a change: a CRL ages */
#define STEP_MS 200  /* how soon the end of the server is seen while a hook runs */
#define STOP_MS 2000 /* left to a hook then */
#define FILE_MAX ((size_t)24 * 1024 * 1024)
#define ARENA_MAX ((size_t)256 * 1024 * 1024)
#define HOOK_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

struct crl_export {
    struct crl_export_conf conf;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stop;
    /* the thread's own */
    bool written;
    int64_t changes; /* the counter that the file is of */
    const struct cert *active;
    size_t issuers;  /* and the issuing CAs */
    int64_t look_at; /* clock_mono in ms: a look even without a change, not before it else */
    uint8_t sha256[SHA256_SIZE];
};

static bool stopping(struct crl_export *x)
{
    pthread_mutex_lock(&x->lock);
    bool stop = x->stop;
    pthread_mutex_unlock(&x->lock);
    return stop;
}

/* --- the hook -------------------------------------------------------------------------------- */

/* Cuts the text at its spaces, in place. */
static size_t split(char *text, char *argv[static CRL_HOOK_ARGS_MAX + 1])
{
    size_t n = 0;
    char *save = NULL;
    for (char *p = strtok_r(text, " ", &save); p; p = strtok_r(NULL, " ", &save)) {
        if (n == CRL_HOOK_ARGS_MAX)
            return 0;
        argv[n++] = p;
    }
    argv[n] = NULL;
    return n;
}

enum td_err crl_export_check(const char *path, const char *hook, struct errinfo *ei)
{
    if (!*hook)
        return TD_OK;
    char text[4096], *argv[CRL_HOOK_ARGS_MAX + 1];
    int n = snprintf(text, sizeof text, "%s", hook);
    if (!*path)
        return err_set(ei, TD_INVAL, "[ca] crl_hook needs crl_export");
    if (n < 0 || (size_t)n >= sizeof text || hook[0] != '/' || split(text, argv) == 0)
        return err_set(ei, TD_INVAL, "[ca] crl_hook is not an absolute path and up to %d arguments",
                       CRL_HOOK_ARGS_MAX - 1);
    return TD_OK;
}

/* No signal blocked, a process group of its own, no descriptor of ours but standard error. */
static int spawn(char **argv, char **env, pid_t *ret)
{
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t at;
    sigset_t none;
    sigemptyset(&none);
    posix_spawn_file_actions_init(&fa);
    posix_spawn_file_actions_addopen(&fa, STDIN_FILENO, "/dev/null", 0, 0);
    posix_spawn_file_actions_adddup2(&fa, STDERR_FILENO, STDOUT_FILENO);
    posix_spawn_file_actions_addclosefrom_np(&fa, STDERR_FILENO + 1);
    posix_spawnattr_init(&at);
    posix_spawnattr_setsigmask(&at, &none);
    posix_spawnattr_setpgroup(&at, 0);
    posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
    int rc = posix_spawn(ret, argv[0], &fa, &at, argv, env);
    posix_spawnattr_destroy(&at);
    posix_spawn_file_actions_destroy(&fa);
    return rc;
}

/* Waits for the hook, at most its time; false when it had to be killed. */
static bool await(struct crl_export *x, pid_t pid)
{
    int fd = pidfd_open(pid, 0);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int64_t until = clock_mono(&clock_system) + x->conf.hook_timeout * 1000;
    bool ended = false, hurried = false;
    while (fd >= 0 && !ended && clock_mono(&clock_system) < until) {
        ended = poll(&p, 1, STEP_MS) > 0;
        if (!hurried && stopping(x)) {
            hurried = true;
            if (until > clock_mono(&clock_system) + STOP_MS)
                until = clock_mono(&clock_system) + STOP_MS;
        }
    }
    if (!ended)
        kill(-pid, SIGKILL); /* its group: our own child, not yet waited for */
    if (fd >= 0)
        close(fd);
    return ended;
}

static bool run_hook(struct crl_export *x)
{
    char text[4096], file[4200], *argv[CRL_HOOK_ARGS_MAX + 1];
    char path[] = HOOK_PATH;
    snprintf(text, sizeof text, "%s", x->conf.hook);
    snprintf(file, sizeof file, "TESTUDO_CRL=%s", x->conf.path);
    char *env[] = {path, file, NULL};
    pid_t pid;
    int status = 0;
    if (split(text, argv) == 0)
        return false;
    int rc = spawn(argv, env, &pid);
    if (rc != 0) {
        log_ev(LOG_ERROR, "crl.hook", KV("error", strerrorname_np(rc)), KV("program", argv[0]));
        return false;
    }
    bool ended = await(x, pid);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    bool done = ended && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (!ended)
        log_ev(LOG_ERROR, "crl.hook", KV("error", "killed: it took too long"),
               KV("program", argv[0]));
    else if (!done)
        log_ev(LOG_ERROR, "crl.hook", KV("error", "failed"), KV("program", argv[0]),
               KV_I64("status", WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status)));
    return done;
}

/* --- the file -------------------------------------------------------------------------------- */

static enum td_err content(struct crl_export *x, struct buf *b, struct errinfo *ei)
{
    size_t n = strlen(x->conf.path);
    arena_auto a;
    arena_init(&a, ARENA_MAX);
    if (n > 4 && strcmp(x->conf.path + n - 4, ".pem") == 0)
        return ca_crl_bundle(x->conf.ca, &a, b, ei);
    struct ca_crl crl = {0};
    TD_TRY(ca_crl_get(x->conf.ca, 0, CA_CRL_COMPLETE, true, &a, &crl, ei));
    return buf_span(b, crl.der);
}

static enum td_err write_file(struct crl_export *x, bool *ret_new, struct errinfo *ei)
{
    uint8_t hash[SHA256_SIZE];
    buf_auto b;
    buf_init(&b, FILE_MAX);
    *ret_new = false;
    TD_TRY(content(x, &b, ei));
    digest_sha256(buf_view(&b), hash);
    if (x->written && memcmp(hash, x->sha256, sizeof hash) == 0)
        return TD_OK;
    TD_TRY(fs_write(x->conf.path, buf_view(&b), 0644, true, ei));
    memcpy(x->sha256, hash, sizeof hash);
    x->written = *ret_new = true;
    return TD_OK;
}

/* When what is in the file ends. */
static void show_end(struct crl_export *x)
{
    arena_auto a;
    arena_init(&a, ARENA_MAX);
    struct ca_crl crl;
    if (ca_crl_get(x->conf.ca, 0, CA_CRL_COMPLETE, false, &a, &crl, NULL) == TD_OK)
        metrics_set(METRIC_CRL_EXPORT_NEXT, crl.next_update);
}

/* Looks at the counter and the CAs; writes when either changed, or when it is time to look anyway.
 */
static void turn(struct crl_export *x)
{
    struct errinfo ei = {0};
    int64_t now = clock_mono(&clock_system), changes = 0;
    bool fresh = false;
    const struct cert *active = ca_issuing(x->conf.ca);
    size_t issuers = ca_issuing_n(x->conf.ca);
    enum td_err e = ca_crl_changes(x->conf.ca, &changes, &ei);
    bool same = changes == x->changes && active == x->active && issuers == x->issuers;
    if (e == TD_OK && x->written && same && now < x->look_at)
        return;
    if (!x->written && now < x->look_at)
        return; /* failed a moment ago */
    if (e == TD_OK)
        e = write_file(x, &fresh, &ei);
    x->look_at = now + (e == TD_OK ? RENEW : RETRY) * INT64_C(1000);
    if (e != TD_OK) {
        log_ev(LOG_ERROR, "crl.export", KV("error", err_msg(&ei, e)), KV("file", x->conf.path));
        metrics_add(METRIC_CRL_EXPORT_FAILED, 1);
        x->written = false;
        return;
    }
    x->changes = changes;
    x->active = active;
    x->issuers = issuers;
    show_end(x);
    if (fresh && *x->conf.hook)
        metrics_add(METRIC_CRL_HOOK_FAILED, !run_hook(x));
}

static void *run(void *arg)
{
    struct crl_export *x = arg;
    pthread_mutex_lock(&x->lock);
    while (!x->stop) {
        pthread_mutex_unlock(&x->lock);
        turn(x);
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += POLL;
        pthread_mutex_lock(&x->lock);
        while (!x->stop && pthread_cond_timedwait(&x->wake, &x->lock, &until) == 0)
            continue;
    }
    pthread_mutex_unlock(&x->lock);
    return NULL;
}

enum td_err crl_export_start(const struct crl_export_conf *conf, struct crl_export **ret,
                             struct errinfo *ei)
{
    TD_TRY(crl_export_check(conf->path, conf->hook, ei));
    struct crl_export *x = calloc(1, sizeof *x);
    if (!x)
        return err_set(ei, TD_NOMEM, "no memory");
    x->conf = *conf;
    pthread_condattr_t at;
    pthread_mutex_init(&x->lock, NULL);
    pthread_condattr_init(&at);
    pthread_condattr_setclock(&at, CLOCK_MONOTONIC);
    pthread_cond_init(&x->wake, &at);
    pthread_condattr_destroy(&at);
    int rc = pthread_create(&x->thread, NULL, run, x);
    if (rc != 0) {
        free(x);
        return err_sys(ei, TD_INTERNAL, rc, "cannot start the export of CRLs");
    }
    *ret = x;
    return TD_OK;
}

void crl_export_stop(struct crl_export *x)
{
    if (!x)
        return;
    pthread_mutex_lock(&x->lock);
    x->stop = true;
    pthread_cond_signal(&x->wake);
    pthread_mutex_unlock(&x->lock);
    pthread_join(x->thread, NULL);
    pthread_cond_destroy(&x->wake);
    pthread_mutex_destroy(&x->lock);
    free(x);
}
