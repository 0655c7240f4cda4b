/* testudo-signer audit: whatever is done to a log behind the signer's back is found. */
#include "ca_test.h"

#include "mdm/base/hex.h"
#include "mdm/base/str.h"

#define LINES_MAX 32

struct audit {
    struct fixture f;
    char log[120], marks[120], note[120];
    struct buf good_log, good_marks;
};

static void issue_some(struct fixture *f, int n)
{
    for (int i = 0; i < n; i++) {
        arena_auto a;
        arena_init(&a, 65536);
        struct errinfo ei = {0};
        key_auto *key = NULL;
        uint8_t evidence[SHA256_SIZE] = {1};
        struct signer_issue r = {.profile = "management",
                                 .device_serial = "AUDIT1",
                                 .evidence_sha256 = SPAN_ARR(evidence)};
        struct signer_signed made;
        assert_ok(key_generate(KEY_P256, &key, &ei));
        assert_ok(key_spki(key, &a, &r.spki, &ei));
        assert_ok(signer_issue(f->client, &r, &a, &made, &ei));
    }
}

static int up(void **state)
{
    static struct audit t;
    struct errinfo ei = {0};
    assert_ok(crypt_init(&ei));
    fixture_dir(&t.f);
    fixture_init_ca(&t.f);
    for (int life = 0; life < 2; life++) { /* a checkpoint at each start and end at least */
        fixture_client(&t.f);
        issue_some(&t.f, 3);
        signer_client_stop(t.f.client);
    }
    t.f.client = NULL;
    snprintf(t.log, sizeof t.log, "%s/audit.log", t.f.ca_dir);
    snprintf(t.marks, sizeof t.marks, "%s/audit.checkpoints", t.f.ca_dir);
    snprintf(t.note, sizeof t.note, "%s/note", t.f.dir);
    assert_ok(fs_read(t.log, 1 << 20, &t.good_log, &ei));
    assert_ok(fs_read(t.marks, 1 << 20, &t.good_marks, &ei));
    *state = &t;
    return 0;
}

static int down(void **state)
{
    struct audit *t = *state;
    buf_free(&t->good_log);
    buf_free(&t->good_marks);
    fixture_free(&t->f);
    return 0;
}

/* Both files as the signer left them. */
static int restore(void **state)
{
    struct audit *t = *state;
    write_file(t->log, buf_view(&t->good_log));
    write_file(t->marks, buf_view(&t->good_marks));
    return 0;
}

static size_t lines_of(const struct buf *b, struct span *out)
{
    size_t n = 0;
    struct span rest = buf_view(b);
    while (rest.n && n < LINES_MAX) {
        const uint8_t *start = rest.p;
        struct span line = str_cut(&rest, '\n');
        out[n++] = span_of(start, line.n + 1);
    }
    return n;
}

static void write_lines(const char *path, const struct span *lines, size_t n)
{
    buf_auto b;
    buf_init(&b, 1 << 20);
    for (size_t i = 0; i < n; i++)
        assert_ok(buf_span(&b, lines[i]));
    write_file(path, buf_view(&b));
}

static void expect(struct audit *t, int status, const char *says)
{
    char out[2000];
    int got = RUN(out, TD_SIGNER, "audit", "--dir", t->f.ca_dir);
    if (got != status || !strstr(out, says))
        fail_msg("status %d, wanted %d and \"%s\": %s", got, status, says, out);
}

static void expect_since(struct audit *t, const char *since, int status, const char *says)
{
    char out[2000];
    int got = RUN(out, TD_SIGNER, "audit", "--dir", t->f.ca_dir, "--since", since);
    if (got != status || !strstr(out, says))
        fail_msg("status %d, wanted %d and \"%s\": %s", got, status, says, out);
}

static void test_untouched(void **state)
{
    struct audit *t = *state;
    struct span lines[LINES_MAX];
    size_t n = lines_of(&t->good_log, lines);
    char says[64];
    assert_int_equal(n, 8); /* two responders, six certificates */
    assert_true(lines_of(&t->good_marks, lines) >= 4);
    snprintf(says, sizeof says, "%zu lines, the chain holds", n);
    expect(t, 0, says);
    expect(t, 0, "the last of line 8");
}

static void test_edited(void **state)
{
    struct audit *t = *state;
    buf_auto b;
    struct errinfo ei = {0};
    assert_ok(fs_read(t->log, 1 << 20, &b, &ei));
    char *at = memmem(b.p, b.n, "AUDIT1", 6); /* in the middle: the next line's hash */
    assert_non_null(at);
    at[5] = '2';
    write_file(t->log, buf_view(&b));
    expect(t, 1, "was changed");
}

/* The last line is covered by no other line, but by the checkpoint. */
static void test_last_line_edited(void **state)
{
    struct audit *t = *state;
    struct span lines[LINES_MAX];
    size_t n = lines_of(&t->good_log, lines);
    buf_auto last;
    buf_init(&last, 4096);
    assert_ok(buf_span(&last, lines[n - 1]));
    char *at = memmem(last.p, last.n, "AUDIT1", 6);
    assert_non_null(at);
    at[5] = '2';
    lines[n - 1] = buf_view(&last);
    write_lines(t->log, lines, n);
    expect(t, 1, "not the one that a checkpoint covers");
}

static void test_removed_and_reordered(void **state)
{
    struct audit *t = *state;
    struct span lines[LINES_MAX], bent[LINES_MAX];
    size_t n = lines_of(&t->good_log, lines);
    for (size_t i = 0; i < n - 1; i++) {
        memcpy(bent, lines, i * sizeof *bent);
        memcpy(bent + i, lines + i + 1, (n - i - 1) * sizeof *bent);
        write_lines(t->log, bent, n - 1);
        expect(t, 1, "carries the number");
    }
    for (size_t i = 0; i + 1 < n; i++) {
        memcpy(bent, lines, n * sizeof *bent);
        bent[i] = lines[i + 1];
        bent[i + 1] = lines[i];
        write_lines(t->log, bent, n);
        expect(t, 1, "carries the number");
    }
}

static void test_cut_off(void **state)
{
    struct audit *t = *state;
    struct span lines[LINES_MAX];
    size_t n = lines_of(&t->good_log, lines);
    for (size_t keep = 0; keep < n; keep++) {
        write_lines(t->log, lines, keep);
        expect(t, 1, "cut off");
    }
    assert_int_equal(unlink(t->log), 0);
    expect(t, 1, "audit.log is missing");
}

/* Who takes lines of both files away is found by a copy that left the machine in time. */
static void test_both_cut_off(void **state)
{
    struct audit *t = *state;
    struct span lines[LINES_MAX], marks[LINES_MAX];
    size_t n = lines_of(&t->good_log, lines), nmarks = lines_of(&t->good_marks, marks);
    uint8_t hash[SHA256_SIZE];
    char hex[2 * SHA256_SIZE + 1], since[100];
    digest_sha256(lines[n - 1], hash);
    hex_enc(SPAN_ARR(hash), hex);
    snprintf(since, sizeof since, "%zu:%s", n, hex);
    expect_since(t, since, 0, "the chain holds");
    write_lines(t->note, marks + nmarks - 1, 1);
    expect_since(t, t->note, 0, "the chain holds");

    write_lines(t->log, lines, 1);
    write_lines(t->marks, marks, 1);
    expect(t, 0, "1 lines, the chain holds"); /* nothing here can tell */
    expect_since(t, since, 1, "cut off");
    expect_since(t, t->note, 1, "cut off");
    hex[0] = hex[0] == '0' ? '1' : '0';
    snprintf(since, sizeof since, "1:%s", hex);
    expect_since(t, since, 1, "not the one");
    expect_since(t, "nonsense", 1, "nonsense");
}

static void test_checkpoints_tampered_with(void **state)
{
    struct audit *t = *state;
    struct span marks[LINES_MAX];
    size_t n = lines_of(&t->good_marks, marks);
    static const struct {
        const char *find;
        size_t at;
        const char *says;
    } rows[] = {
        {"\"seq\":", 6, "not signed"},          {"\"head\":\"", 8, "not signed"},
        {"\"sig\":\"", 40, "not signed"},       {"\"time\":\"", 8, "not signed"},
        {"\"key\":\"", 7, "another audit key"}, {"\"log\":\"", 7, "not a checkpoint"},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        buf_auto b;
        buf_init(&b, 4096);
        assert_ok(buf_span(&b, marks[0]));
        char *p = memmem(b.p, b.n, rows[i].find, strlen(rows[i].find));
        assert_non_null(p);
        p += rows[i].at;
        *p = *p == '1' ? '2' : '1';
        struct span bent[LINES_MAX];
        memcpy(bent, marks, sizeof bent);
        bent[0] = buf_view(&b);
        write_lines(t->marks, bent, n);
        expect(t, 1, rows[i].says);
    }
    assert_int_equal(unlink(t->marks), 0);
    expect(t, 1, "audit.checkpoints is missing");
    /* a write that a crash cut short is no tampering */
    buf_auto half;
    buf_init(&half, 1 << 20);
    assert_ok(buf_span(&half, buf_view(&t->good_marks)));
    assert_ok(buf_span(&half, span_sub(marks[n - 1], 0, 50)));
    write_file(t->marks, buf_view(&half));
    expect(t, 0, "the chain holds");
}

/* With the public key kept elsewhere, a new audit key in the directory does not help. */
static void test_public_key_kept_elsewhere(void **state)
{
    struct audit *t = *state;
    char out[2000], pub[170], kept[150], other[150];
    snprintf(pub, sizeof pub, "%s/audit.pub", t->f.ca_dir);
    snprintf(kept, sizeof kept, "%s/kept.pub", t->f.dir);
    snprintf(other, sizeof other, "%s/other", t->f.dir);
    assert_int_equal(RUN(out, "cp", pub, kept), 0);
    assert_int_equal(RUN(out, TD_SIGNER, "audit", "--dir", t->f.ca_dir, "--pub", kept), 0);
    assert_int_equal(RUN(out, TD_SIGNER, "init", "--dir", other), 0);
    assert_int_equal(RUN(out, TD_SIGNER, "rotate", "--dir", other), 0); /* makes its audit key */
    snprintf(pub, sizeof pub, "%s/audit.pub", other);
    assert_int_equal(RUN(out, TD_SIGNER, "audit", "--dir", t->f.ca_dir, "--pub", pub), 1);
    assert_non_null(strstr(out, "another audit key"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_untouched, restore),
        cmocka_unit_test_setup(test_edited, restore),
        cmocka_unit_test_setup(test_last_line_edited, restore),
        cmocka_unit_test_setup(test_removed_and_reordered, restore),
        cmocka_unit_test_setup(test_cut_off, restore),
        cmocka_unit_test_setup(test_both_cut_off, restore),
        cmocka_unit_test_setup(test_checkpoints_tampered_with, restore),
        cmocka_unit_test_setup(test_public_key_kept_elsewhere, restore),
    };
    return cmocka_run_group_tests(tests, up, down);
}
