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
            int first = -1, second = -1, third = -1;
            struct errinfo ei = {0};
            assert_int_equal(lock_take(place.path, (enum store_use)a, &first, NULL), TD_OK);
            enum td_err e = lock_take(place.path, (enum store_use)b, &second, &ei);
            if (e != (together[a][b] ? TD_OK : TD_STATE))
                fail_msg("%d beside %d: %s %s", b, a, err_name(e), ei.msg);
            if (e != TD_OK)
                assert_non_null(strstr(ei.msg, place.path));
            lock_release(first);
            lock_release(second);
            assert_int_equal(lock_take(place.path, STORE_ALONE, &third, NULL), TD_OK);
            lock_release(third);
        }
}

static void test_message_names_the_process(void **state)
{
    (void)state;
    int first = -1, second = -1;
    char words[64];
    struct errinfo ei = {0};
    assert_int_equal(lock_take(place.path, STORE_SERVE, &first, NULL), TD_OK);
    assert_int_equal(lock_take(place.path, STORE_SERVE, &second, &ei), TD_STATE);
    snprintf(words, sizeof words, "process %lld serves", (long long)getpid());
    assert_non_null(strstr(ei.msg, words));
    lock_release(first);
}

/* What a file of that name says means nothing: only who holds it. */
static void test_left_over_file(void **state)
{
    (void)state;
    char path[128];
    struct stat st;
    int fd = -1;
    snprintf(path, sizeof path, "%s.lock", place.path);
    assert_int_equal(fs_write(path, SPAN_LIT("999999 and more"), 0600, true, NULL), TD_OK);
    assert_int_equal(lock_take(place.path, STORE_SERVE, &fd, NULL), TD_OK);
    lock_release(fd);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(lock_take(place.path, STORE_SHARED, &fd, NULL), TD_OK);
    lock_release(fd);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/dev/null", path), 0);
    assert_int_equal(lock_take(place.path, STORE_SHARED, &fd, NULL), TD_IO);
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

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    log_setup(LOG_ERROR, LOG_FORMAT_LOGFMT, 2);
    const struct CMUnitTest tests[] = {
        T(test_each_beside_each), T(test_message_names_the_process),
        T(test_left_over_file),   T(test_two_servers),
        T(test_killed_server),
    };
    return cmocka_run_group_tests(tests, crypt_setup, NULL);
}
