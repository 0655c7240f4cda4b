/* The hash-chained audit log: what is durable, what a crash leaves, what a forger breaks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "acme/signer/audit_log.h"
#include "mdm/base/fs.h"

static char path[64];

static int up(void **state)
{
    (void)state;
    struct errinfo ei = {0};
    char dir[] = "/tmp/td-audit-XXXXXX";
    assert_int_equal(crypt_init(&ei), TD_OK);
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/audit.log", dir);
    return 0;
}

static int down(void **state)
{
    (void)state;
    unlink(path);
    *strrchr(path, '/') = 0;
    return rmdir(path);
}

static void add(struct audit_log *l, int n)
{
    struct errinfo ei = {0};
    uint8_t serial[16] = {0x40}, evidence[SHA256_SIZE] = {2};
    struct audit_entry e = {.at = 1800000000,
                            .profile = "management",
                            .subject = "C02",
                            .serial = SPAN_ARR(serial),
                            .evidence_sha256 = SPAN_ARR(evidence)};
    for (int i = 0; i < n; i++) {
        serial[15] = (uint8_t)i;
        assert_int_equal(audit_log_add(l, &e, &ei), TD_OK);
    }
}

static void open_ok(struct audit_log *l)
{
    struct errinfo ei = {0};
    if (audit_log_open(path, 0, l, &ei) != TD_OK)
        fail_msg("%s", ei.msg);
}

static enum td_err verify(uint64_t *lines)
{
    uint8_t last[SHA256_SIZE];
    return audit_log_verify(path, NULL, NULL, lines, last, NULL);
}

static void content(struct buf *b)
{
    assert_int_equal(fs_read(path, 1 << 20, b, NULL), TD_OK);
}

static void test_chain_over_restarts(void **state)
{
    (void)state;
    uint64_t lines = 99;
    for (int round = 0; round < 3; round++) {
        struct audit_log l;
        open_ok(&l);
        assert_int_equal(l.seq, 5 * round);
        add(&l, 3);
        assert_int_equal(audit_log_flush(&l, NULL), TD_OK);
        assert_int_equal(audit_log_flush(&l, NULL), TD_OK); /* nothing to do */
        add(&l, 2);
        assert_int_equal(audit_log_flush(&l, NULL), TD_OK);
        add(&l, 1); /* never flushed: never happened */
        audit_log_close(&l);
    }
    assert_int_equal(verify(&lines), TD_OK);
    assert_int_equal(lines, 15);
}

static void test_one_writer(void **state)
{
    (void)state;
    struct audit_log a, b;
    struct errinfo ei = {0};
    open_ok(&a);
    assert_int_equal(audit_log_open(path, 0, &b, &ei), TD_BUSY);
    assert_int_equal(audit_log_open(path, 60, &b, &ei), TD_BUSY);
    audit_log_close(&a);
    open_ok(&b);
    audit_log_close(&b);
}

static void test_cut_line_is_removed(void **state)
{
    (void)state;
    uint64_t lines = 0;
    struct audit_log l;
    struct buf before, after;
    content(&before);
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(write(fd, "{\"seq\":16,\"ti", 13), 13); /* the power failed here */
    close(fd);
    assert_int_equal(verify(&lines), TD_STATE);
    open_ok(&l);
    audit_log_close(&l);
    content(&after);
    assert_true(span_eq(buf_view(&before), buf_view(&after)));
    assert_int_equal(verify(&lines), TD_OK);
    buf_free(&before);
    buf_free(&after);
}

/* The disk is full in the middle of a batch: nothing of it counts, the next one works. */
static void test_full_disk(void **state)
{
    (void)state;
    struct audit_log l;
    struct errinfo ei = {0};
    struct rlimit old, tight;
    struct buf before, after;
    uint64_t lines = 0;
    content(&before);
    open_ok(&l);
    uint64_t seq = l.seq;
    add(&l, 10);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    tight = (struct rlimit){before.n + 1000, old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    enum td_err e = audit_log_flush(&l, &ei);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(e, TD_IO);
    content(&after);
    assert_true(span_eq(buf_view(&before), buf_view(&after)));
    assert_int_equal(l.seq, seq);
    add(&l, 1);
    assert_int_equal(audit_log_flush(&l, &ei), TD_OK);
    assert_int_equal(l.seq, seq + 1);
    audit_log_close(&l);
    assert_int_equal(verify(&lines), TD_OK);
    assert_int_equal(lines, seq + 1);
    buf_free(&before);
    buf_free(&after);
}

static void test_forgery_is_found(void **state)
{
    (void)state;
    struct buf good;
    uint64_t lines = 0;
    content(&good);
    char *text = strdup(buf_cstr(&good));
    char *second = strchr(text, '\n') + 1, *third = strchr(second, '\n') + 1;
    size_t n = strlen(text);
    /* a letter changed in every tenth place; the last line's own fields are beyond the chain */
    char *last_line = text + n - 1;
    while (last_line[-1] != '\n')
        last_line--;
    for (char *p = text; p < last_line; p += 10) {
        char keep = *p;
        *p = keep == '0' ? '1' : '0';
        assert_int_equal(fs_write(path, span_of(text, n), 0600, true, NULL), TD_OK);
        if (*p != keep && verify(&lines) != TD_STATE)
            fail_msg("byte %zu", (size_t)(p - text));
        *p = keep;
    }
    /* a line taken out, two exchanged, the first taken out */
    buf_auto b;
    buf_init(&b, 1 << 20);
    assert_int_equal(buf_add(&b, text, (size_t)(second - text)), TD_OK);
    assert_int_equal(buf_str(&b, third), TD_OK);
    assert_int_equal(fs_write(path, buf_view(&b), 0600, true, NULL), TD_OK);
    assert_int_equal(verify(&lines), TD_STATE);
    assert_int_equal(fs_write(path, span_str(second), 0600, true, NULL), TD_OK);
    assert_int_equal(verify(&lines), TD_STATE);
    /* a foreign end is not appended to */
    struct audit_log l;
    assert_int_equal(fs_write(path, SPAN_LIT("hello\n"), 0600, true, NULL), TD_OK);
    assert_int_equal(audit_log_open(path, 0, &l, NULL), TD_STATE);
    assert_int_equal(fs_write(path, buf_view(&good), 0600, true, NULL), TD_OK);
    assert_int_equal(verify(&lines), TD_OK);
    free(text);
    buf_free(&good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chain_over_restarts), cmocka_unit_test(test_one_writer),
        cmocka_unit_test(test_cut_line_is_removed), cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_forgery_is_found),
    };
    return cmocka_run_group_tests(tests, up, down);
}
