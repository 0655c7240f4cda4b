/* Who may have a database file open beside whom. */
#include "store_test.h"

#include <signal.h>
#include <sys/wait.h>

#include "mdm/base/fs.h"
#include "mdm/base/log.h"
#include "mdm/store/lock.h"

static struct place place;

static int setup(void **state)
{
    (void)state;
    place_init(&place);
    snprintf(place.url, sizeof place.url, "sqlite:%s", place.path); /* the other has no file */
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    place_end(&place);
    return 0;
}

static void test_each_beside_each(void **state)
{
    (void)state;
    /* shared, serve, alone, nolock: whether the second is taken beside the first */
    static const bool together[4][4] = {
        [STORE_SHARED] = {true, true, false, true},
        [STORE_SERVE] = {true, false, false, true},
        [STORE_ALONE] = {false, false, false, true},
        [STORE_NOLOCK] = {true, true, true, true},
    };
    for (int a = 0; a < 4; a++)
        for (int b = 0; b < 4; b++) {
            struct lock first, second, third;
            struct errinfo ei = {0};
            assert_int_equal(lock_take(place.path, (enum store_use)a, &first, NULL), TD_OK);
            enum td_err e = lock_take(place.path, (enum store_use)b, &second, &ei);
            if (e != (together[a][b] ? TD_OK : TD_STATE))
                fail_msg("%d beside %d: %s %s", b, a, err_name(e), ei.msg);
            if (e != TD_OK)
                assert_non_null(strstr(ei.msg, place.path));
            lock_release(&first);
            lock_release(&second);
            assert_int_equal(lock_take(place.path, STORE_ALONE, &third, NULL), TD_OK);
            lock_release(&third);
        }
}

static void test_message_names_the_process(void **state)
{
    (void)state;
    struct lock first, second;
    char words[64];
    struct errinfo ei = {0};
    assert_int_equal(lock_take(place.path, STORE_SERVE, &first, NULL), TD_OK);
    assert_int_equal(lock_take(place.path, STORE_SERVE, &second, &ei), TD_STATE);
    snprintf(words, sizeof words, "process %lld serves", (long long)getpid());
    assert_non_null(strstr(ei.msg, words));
    lock_release(&first);
}

/* What a file of that name says means nothing: only who holds it. */
static void test_left_over_file(void **state)
{
    (void)state;
    char path[128];
    struct stat st;
    struct lock l;
    snprintf(path, sizeof path, "%s.lock", place.path);
    assert_int_equal(fs_write(path, SPAN_LIT("999999 and more"), 0600, true, NULL), TD_OK);
    assert_int_equal(lock_take(place.path, STORE_SERVE, &l, NULL), TD_OK);
    lock_release(&l);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(lock_take(place.path, STORE_SHARED, &l, NULL), TD_OK);
    lock_release(&l);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/dev/null", path), 0);
    assert_int_equal(lock_take(place.path, STORE_SHARED, &l, NULL), TD_IO);
}

static void test_two_servers(void **state)
{
    (void)state;
    place.conf.use = STORE_SERVE;
    struct store *s = place_open(&place), *other = NULL;
    struct errinfo ei = {0};
    assert_int_equal(store_open_with(&place.conf, place.list, place.n, &other, &ei), TD_STATE);
    assert_non_null(strstr(ei.msg, "serves"));
    place.conf.use = STORE_SHARED; /* testudo token create, beside it */
    other = place_open(&place);
    store_close(other);
    store_close(s);
    place.conf.use = STORE_SERVE;
    store_close(place_open(&place));
}

/* A killed server leaves nothing that keeps the next one away. */
static void test_killed_server(void **state)
{
    (void)state;
    place.conf.use = STORE_SERVE;
    pid_t pid = fork();
    if (pid == 0) {
        (void)place_open(&place);
        kill(getpid(), SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    store_close(place_open(&place));
}

/* --- the epoch of certificates' status ----------------------------------------------------------
 */

/* The word is the same for all who have the lock, in whatever process; a holder that died in the
 * middle of a commit makes it unknown until the next commit. */
static void test_epoch(void **state)
{
    (void)state;
    struct lock a, b, none;
    assert_int_equal(lock_take(place.path, STORE_SERVE, &a, NULL), TD_OK);
    assert_int_equal(lock_take(place.path, STORE_SHARED, &b, NULL), TD_OK);
    assert_int_equal(lock_take(place.path, STORE_NOLOCK, &none, NULL), TD_OK);
    uint64_t before = lock_status_epoch(&a);
    assert_true(before != 0);
    assert_int_equal(lock_status_epoch(&b), before);
    assert_int_equal(lock_status_epoch(&none), 0);
    assert_int_equal(lock_status_begin(&none, NULL), TD_OK);
    lock_status_end(&none);

    assert_int_equal(lock_status_begin(&b, NULL), TD_OK);
    assert_int_equal(lock_status_epoch(&a), 0);
    lock_status_end(&b);
    uint64_t behind = lock_status_epoch(&a);
    assert_true(behind != 0 && behind != before);

    pid_t pid = fork();
    if (pid == 0) {
        struct lock c;
        bool ok = lock_take(place.path, STORE_SHARED, &c, NULL) == TD_OK &&
                  lock_status_begin(&c, NULL) == TD_OK;
        kill(getpid(), ok ? SIGKILL : SIGTERM);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WTERMSIG(status), SIGKILL);
    assert_int_equal(lock_status_epoch(&a), 0);
    assert_int_equal(lock_status_begin(&a, NULL), TD_OK); /* the kernel gave it back */
    assert_int_equal(lock_status_epoch(&b), 0);
    lock_status_end(&a);
    assert_true(lock_status_epoch(&b) > behind);
    lock_release(&a);
    lock_release(&b);
    lock_release(&none);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    log_setup(LOG_ERROR, LOG_FORMAT_LOGFMT, 2);
    const struct CMUnitTest tests[] = {
        T(test_each_beside_each), T(test_message_names_the_process),
        T(test_left_over_file),   T(test_two_servers),
        T(test_killed_server),    T(test_epoch),
    };
    return cmocka_run_group_tests(tests, crypt_setup, NULL);
}
