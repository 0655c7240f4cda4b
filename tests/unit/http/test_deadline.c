#include "tests/unit/http/fixture.h"
#include "web/http/deadline.h"

static atomic_int fired;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int last_kind;

static void on_fire(struct deadline *d)
{
    pthread_mutex_lock(&lock);
    last_kind = d->kind;
    atomic_fetch_add(&fired, 1);
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&lock);
}

static void until_fired(int n)
{
    pthread_mutex_lock(&lock);
    while (atomic_load(&fired) < n)
        pthread_cond_wait(&cond, &lock);
    pthread_mutex_unlock(&lock);
}

static void test_fire_and_disarm(void **state)
{
    (void)state;
    struct deadlines *l;
    struct deadline a = {0}, b = {0};
    int64_t now = clock_mono(&clock_system);
    assert_int_equal(deadlines_start(&clock_system, on_fire, &l, NULL), TD_OK);
    deadline_add(l, &a);
    deadline_add(l, &b);
    assert_true(deadline_disarm(&a)); /* never armed */
    assert_true(deadline_arm(&a, 7, now));
    assert_true(deadline_arm(&b, 8, now + 3600000));
    until_fired(1);
    assert_int_equal(last_kind, 7);
    assert_false(deadline_disarm(&a)); /* fired stays fired */
    assert_false(deadline_arm(&a, 9, now));
    assert_true(deadline_disarm(&b));
    assert_true(deadline_arm(&b, 8, now + 3600000)); /* moved */
    assert_true(deadline_arm(&b, 10, now));
    until_fired(2);
    assert_int_equal(last_kind, 10);
    deadline_remove(l, &a);
    deadline_remove(l, &b);
    deadlines_stop(l);
    assert_int_equal(atomic_load(&fired), 2);
    deadlines_stop(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fire_and_disarm)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
