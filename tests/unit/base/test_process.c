/* work, event, metrics, fs */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mdm/base/event.h"
#include "mdm/base/fs.h"
#include "mdm/base/metrics.h"
#include "mdm/base/work.h"

/* --- work --- */

static sem_t gate, started;
static _Atomic int ran;

static void await(sem_t *s)
{
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += 30;
    while (sem_timedwait(s, &deadline) != 0)
        if (errno != EINTR)
            abort();
}

static void blocked(void *arg)
{
    (void)arg;
    sem_post(&started);
    await(&gate);
    ran++;
}

static void counted(void *arg)
{
    *(_Atomic int *)arg += 1;
}

static void work_full_and_stop(void **state)
{
    (void)state;
    struct work *w = NULL;
    _Atomic int n = 0;
    ran = 0;
    sem_init(&gate, 0, 0);
    sem_init(&started, 0, 0);
    assert_int_equal(work_start("test", 1, 2, &w, NULL), TD_OK);
    assert_int_equal(work_submit(w, blocked, NULL), TD_OK);
    await(&started); /* the one thread is busy: the queue is empty again */
    assert_int_equal(work_submit(w, counted, &n), TD_OK);
    assert_int_equal(work_submit(w, counted, &n), TD_OK);
    assert_int_equal(work_submit(w, counted, &n), TD_BUSY);
    sem_post(&gate);
    work_stop(w); /* what was queued has run, each once */
    assert_int_equal(ran, 1);
    assert_int_equal(n, 2);
    work_stop(NULL);
}

static struct work *stopping;
static enum td_err refused;

static void submits_late(void *arg)
{
    sem_post(&started);
    await(&gate);
    /* until the stop is seen the queue may still take it */
    do {
        refused = work_submit(stopping, counted, arg);
        sched_yield();
    } while (refused == TD_OK);
}

static void *stop_it(void *arg)
{
    work_stop(arg);
    return NULL;
}

static void work_refuses_when_stopping(void **state)
{
    (void)state;
    _Atomic int n = 0;
    sem_init(&gate, 0, 0);
    sem_init(&started, 0, 0);
    assert_int_equal(work_start("test", 1, 1000000, &stopping, NULL), TD_OK);
    assert_int_equal(work_submit(stopping, submits_late, &n), TD_OK);
    await(&started);
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, stop_it, stopping), 0);
    sem_post(&gate);
    pthread_join(t, NULL);
    assert_int_equal(refused, TD_BUSY);
}

static void meets(void *arg)
{
    pthread_barrier_wait(arg);
    sigset_t set;
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    ran += sigismember(&set, SIGTERM);
}

static void work_parallel(void **state)
{
    (void)state;
    struct work *w = NULL;
    pthread_barrier_t b;
    pthread_barrier_init(&b, NULL, 5); /* passes only when four workers run at once */
    ran = 0;
    assert_int_equal(work_start("a name longer than sixteen", 4, 8, &w, NULL), TD_OK);
    for (int i = 0; i < 4; i++)
        assert_int_equal(work_submit(w, meets, &b), TD_OK);
    pthread_barrier_wait(&b);
    work_stop(w);
    assert_int_equal(ran, 4); /* signals are blocked in workers */
    sigset_t set;
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    assert_int_equal(sigismember(&set, SIGTERM), 0);
    pthread_barrier_destroy(&b);
}

static void work_many(void **state)
{
    (void)state;
    struct work *w = NULL;
    _Atomic int n = 0;
    int sent = 0;
    assert_int_equal(work_start("test", 3, 7, &w, NULL), TD_OK);
    for (int i = 0; i < 5000; i++)
        sent += work_submit(w, counted, &n) == TD_OK;
    work_stop(w);
    assert_int_equal(n, sent);
    assert_true(sent > 0);
}

static void work_invalid(void **state)
{
    (void)state;
    struct work *w = NULL;
    struct errinfo ei = {0};
    assert_int_equal(work_start("x", 0, 1, &w, &ei), TD_INVAL);
    assert_int_equal(work_start("x", 1, 0, &w, &ei), TD_INVAL);
    assert_int_equal(work_start("x", 1025, 1, &w, &ei), TD_INVAL);
    assert_null(w);
}

/* --- event --- */

static int calls[4], ncalls;

static enum td_err listener(void *ctx, const void *payload, struct errinfo *ei)
{
    calls[ncalls++] = *(int *)ctx;
    return *(const int *)payload == *(int *)ctx ? err_set(ei, TD_CONFLICT, "no") : TD_OK;
}

static void events(void **state)
{
    (void)state;
    static int ctx[] = {1, 2, 3};
    struct event_bus bus;
    struct errinfo ei = {0};
    int payload = 0;
    event_bus_init(&bus);
    ncalls = 0;
    assert_int_equal(event_publish(&bus, EVENT_DEVICE_LEAVING, &payload, &ei), TD_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(event_subscribe(&bus, EVENT_DEVICE_LEAVING, listener, &ctx[i]), TD_OK);
    assert_int_equal(event_publish(&bus, EVENT_DEVICE_LEAVING, &payload, &ei), TD_OK);
    assert_int_equal(ncalls, 3);
    assert_int_equal(calls[0], 1);
    assert_int_equal(calls[2], 3);
    payload = 2; /* the second refuses: the third is not asked */
    ncalls = 0;
    assert_int_equal(event_publish(&bus, EVENT_DEVICE_LEAVING, &payload, &ei), TD_CONFLICT);
    assert_int_equal(ncalls, 2);
    assert_int_equal(ei.code, TD_CONFLICT);
    for (int i = 3; i < EVENT_SUBSCRIBERS_MAX; i++)
        assert_int_equal(event_subscribe(&bus, EVENT_DEVICE_LEAVING, listener, &ctx[0]), TD_OK);
    assert_int_equal(event_subscribe(&bus, EVENT_DEVICE_LEAVING, listener, &ctx[0]), TD_LIMIT);
    assert_int_equal(event_subscribe(&bus, EVENT_TYPE_MAX, listener, &ctx[0]), TD_INVAL);
    assert_int_equal(event_subscribe(&bus, EVENT_DEVICE_LEAVING, NULL, NULL), TD_INVAL);
    assert_int_equal(event_publish(&bus, EVENT_TYPE_MAX, &payload, &ei), TD_INVAL);
}

/* --- metrics --- */

static void metrics(void **state)
{
    (void)state;
    metrics_add(METRIC_HTTP_REQUESTS, 2);
    metrics_add(METRIC_HTTP_REQUESTS, 3);
    metrics_set(METRIC_HTTP_CONNECTIONS, 7);
    metrics_add(METRIC_HTTP_CONNECTIONS, -1);
    assert_int_equal(metrics_get(METRIC_HTTP_REQUESTS), 5);
    assert_int_equal(metrics_get(METRIC_HTTP_CONNECTIONS), 6);
    static const int64_t us[] = {-5, 0, 100, 101, 2500000, 30000000, 30000001};
    for (size_t i = 0; i < TD_NITEMS(us); i++)
        metrics_observe(METRIC_HTTP_TIME, us[i]);
    assert_int_equal(metrics_get(METRIC_HTTP_TIME), 7);
    /* of the wrong kind, or none: nothing happens */
    metrics_observe(METRIC_HTTP_REQUESTS, 1);
    metrics_add(METRIC_HTTP_TIME, 1);
    metrics_set(METRIC_HTTP_TIME, 1);
    metrics_add(METRIC_MAX, 1);
    metrics_set(METRIC_MAX, 1);
    metrics_observe(METRIC_MAX, 1);
    assert_int_equal(metrics_get(METRIC_MAX), 0);
    assert_int_equal(metrics_get(METRIC_HTTP_REQUESTS), 5);
    buf_auto b;
    buf_init(&b, 65536);
    assert_int_equal(metrics_render(&b), TD_OK);
    static const char *const lines[] = {
        ("# HELP testudo_http_requests_total Requests answered\n"
         "# TYPE testudo_http_requests_total counter\ntestudo_http_requests_total 5\n"),
        "# TYPE testudo_http_connections gauge\ntestudo_http_connections 6\n",
        "# TYPE testudo_http_request_seconds histogram\n",
        "\ntestudo_http_request_seconds_bucket{le=\"0.0001\"} 3\n",
        "\ntestudo_http_request_seconds_bucket{le=\"0.00025\"} 4\n",
        "\ntestudo_http_request_seconds_bucket{le=\"2.5\"} 5\n",
        "\ntestudo_http_request_seconds_bucket{le=\"30\"} 6\n",
        "\ntestudo_http_request_seconds_bucket{le=\"+Inf\"} 7\n",
        "\ntestudo_http_request_seconds_sum 62.500202\n",
        "\ntestudo_http_request_seconds_count 7\n",
        /* labels: one head for all of a name */
        ("# TYPE testudo_cleaned_rows_total counter\n"
         "testudo_cleaned_rows_total{what=\"waiting\"} 0\n"
         "testudo_cleaned_rows_total{what=\"commands\"} 0\n"),
    };
    for (size_t i = 0; i < TD_NITEMS(lines); i++)
        if (!strstr(buf_cstr(&b), lines[i]))
            fail_msg("missing: %s in %s", lines[i], buf_cstr(&b));
    buf_auto small;
    buf_init(&small, 100);
    assert_int_equal(metrics_render(&small), TD_LIMIT);
}

/* --- fs --- */

static char dir[64], path[96];

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/td-fs-XXXXXX");
    if (!mkdtemp(dir))
        return 1;
    snprintf(path, sizeof path, "%s/file", dir);
    return 0;
}

static size_t entries(void)
{
    size_t n = 0;
    DIR *d = opendir(dir);
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n - 2;
}

static int remove_dir(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir);
}

static void files(void **state)
{
    (void)state;
    struct errinfo ei = {0};
    buf_auto b = {0};
    assert_false(fs_exists(path));
    assert_int_equal(fs_read(path, 10, &b, &ei), TD_NOTFOUND);
    umask(077); /* the mode is what was asked for all the same */
    assert_int_equal(fs_write(path, SPAN_LIT("0123456789"), 0644, false, &ei), TD_OK);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0644);
    assert_true(fs_exists(path));
    assert_int_equal(fs_write(path, SPAN_LIT("x"), 0600, false, &ei), TD_EXISTS);
    assert_int_equal(fs_read(path, 10, &b, &ei), TD_OK);
    assert_string_equal(buf_cstr(&b), "0123456789");
    buf_free(&b);
    assert_int_equal(fs_read(path, 9, &b, &ei), TD_LIMIT);
    assert_int_equal(b.n, 0);
    assert_int_equal(fs_write(path, SPAN_LIT(""), 0600, true, &ei), TD_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(fs_read(path, 0, &b, &ei), TD_OK);
    assert_int_equal(b.n, 0);
    buf_free(&b);
    assert_int_equal(entries(), 1); /* no temporary name is left, whatever happened */

    buf_auto big;
    buf_init(&big, 100000);
    for (int i = 0; i < 10000; i++)
        buf_u64(&big, (uint64_t)i);
    assert_int_equal(fs_write(path, buf_view(&big), 0600, true, &ei), TD_OK);
    assert_int_equal(fs_read(path, 100000, &b, &ei), TD_OK);
    assert_true(span_eq(buf_view(&b), buf_view(&big)));
}

static void file_errors(void **state)
{
    (void)state;
    struct errinfo ei = {0};
    buf_auto b = {0};
    char name[128];
    assert_int_equal(fs_read(dir, 10, &b, &ei), TD_INVAL);
    snprintf(name, sizeof name, "%s/", dir);
    assert_int_equal(fs_write(name, SPAN_LIT("x"), 0600, true, &ei), TD_INVAL);
    snprintf(name, sizeof name, "%s/none/file", dir);
    assert_int_equal(fs_write(name, SPAN_LIT("x"), 0600, true, &ei), TD_IO);
    assert_int_equal(ei.sys_errno, ENOENT);
    assert_int_equal(fs_mkdir(name, 0700, &ei), TD_IO);
    snprintf(name, sizeof name, "%s/sub", dir);
    assert_int_equal(fs_mkdir(name, 0700, &ei), TD_OK);
    assert_int_equal(fs_mkdir(name, 0700, &ei), TD_OK);
    assert_int_equal(fs_write(name, SPAN_LIT("x"), 0600, true, &ei), TD_IO); /* a directory */
    assert_int_equal(entries(), 1);
    rmdir(name);
    assert_int_equal(fs_write(path, SPAN_LIT("x"), 0600, true, &ei), TD_OK);
    assert_int_equal(fs_mkdir(path, 0700, &ei), TD_IO);
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0); /* must not block */
    assert_int_equal(fs_read(path, 10, &b, &ei), TD_INVAL);
}

#define FS(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(work_full_and_stop),
        cmocka_unit_test(work_refuses_when_stopping),
        cmocka_unit_test(work_parallel),
        cmocka_unit_test(work_many),
        cmocka_unit_test(work_invalid),
        cmocka_unit_test(events),
        cmocka_unit_test(metrics),
        FS(files),
        FS(file_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
