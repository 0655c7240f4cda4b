/* testudo-signer by hand: init, tls, audit; what it refuses and what it never touches. */
#include "ca_test.h"

static int up(void **state)
{
    static struct fixture f;
    fixture_dir(&f);
    *state = &f;
    return 0;
}

static const char *const files[] = {"root.key", "root.crt", "issuing.key", "issuing.crt", "ca.ini"};

static void read_all(const char *dir, struct buf *b)
{
    struct errinfo ei = {0};
    char path[200];
    for (size_t i = 0; i < TD_NITEMS(files); i++) {
        struct buf one;
        snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        assert_ok(fs_read(path, 65536, &one, &ei));
        assert_ok(buf_span(b, buf_view(&one)));
        buf_free(&one);
    }
}

static void test_init_twice_touches_nothing(void **state)
{
    struct fixture *f = *state;
    char out[2000], path[200];
    struct stat st;
    fixture_init_ca(f);
    assert_int_equal(stat(f->ca_dir, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    for (size_t i = 0; i < TD_NITEMS(files); i++) {
        snprintf(path, sizeof path, "%s/%s", f->ca_dir, files[i]);
        assert_int_equal(stat(path, &st), 0);
        if (strstr(files[i], ".key"))
            assert_int_equal(st.st_mode & 07777, 0600);
    }
    buf_auto before, after;
    buf_init(&before, 1 << 20);
    buf_init(&after, 1 << 20);
    read_all(f->ca_dir, &before);
    assert_int_equal(RUN(out, TD_SIGNER, "init", "--dir", f->ca_dir, "--org", "Other"), 0);
    assert_non_null(strstr(out, "Nothing was touched"));
    read_all(f->ca_dir, &after);
    assert_true(span_eq(buf_view(&before), buf_view(&after)));
}

static void test_part_is_refused(void **state)
{
    struct fixture *f = *state;
    char out[2000], dir[100], from[200], to[200];
    snprintf(dir, sizeof dir, "%s/part", f->dir);
    for (size_t i = 0; i < TD_NITEMS(files); i++) {
        assert_int_equal(RUN(out, "rm", "-rf", dir), 0);
        assert_int_equal(mkdir(dir, 0700), 0);
        snprintf(from, sizeof from, "%s/%s", f->ca_dir, files[i]);
        snprintf(to, sizeof to, "%s/%s", dir, files[i]);
        assert_int_equal(RUN(out, "cp", "-p", from, to), 0);
        assert_int_equal(RUN(out, TD_SIGNER, "init", "--dir", dir), 1);
        assert_non_null(strstr(out, files[i]));
        assert_non_null(strstr(out, "Nothing was touched"));
        assert_int_equal(RUN(out, "ls", dir), 0);
        out[strcspn(out, "\n")] = 0;
        assert_string_equal(out, files[i]);
    }
}

static void test_all_but_the_offline_root_key_is_complete(void **state)
{
    struct fixture *f = *state;
    char out[2000], dir[100], key[200];
    snprintf(dir, sizeof dir, "%s/offline", f->dir);
    snprintf(key, sizeof key, "%s/root.key", dir);
    assert_int_equal(RUN(out, TD_SIGNER, "init", "--dir", dir), 0);
    assert_int_equal(unlink(key), 0);
    assert_int_equal(RUN(out, TD_SIGNER, "init", "--dir", dir), 0);
    assert_int_equal(access(key, F_OK), -1);
}

static void test_bad_arguments(void **state)
{
    struct fixture *f = *state;
    char out[4000], dir[100];
    snprintf(dir, sizeof dir, "%s/never", f->dir);
    static const struct {
        const char *args[8];
        int status;
    } rows[] = {
        {{"init"}, 2},
        {{"nonsense", "--dir", "@"}, 2},
        {{"init", "--dir", "@", "extra"}, 2},
        {{"init", "--dir", "@", "--unknown"}, 2},
        {{"serve", "--dir", "@"}, 2},
        {{"serve", "--dir", "@", "--fd", "x"}, 2},
        {{"init", "--dir", "@", "--org", "two\nlines"}, 1},
        {{"init", "--dir", "@", "--org", ""}, 1},
        {{"init", "--dir", "@", "--org", "12345678901234567890123456789012345678901234567890123"},
         1},
        {{"init", "--dir", "@", "--ocsp-url", "ftp://x"}, 1},
        {{"init", "--dir", "@", "--aia-url", "http://a b"}, 1},
        {{"init", "--dir", "@", "--pass-file", "/nonexistent"}, 1},
        {{"tls", "--dir", "@", "--name", "a.example"}, 2},
        {{"audit", "--dir", "@"}, 1},
        {{"--help"}, 0},
        {{"--version"}, 0},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        const char *argv[10] = {TD_SIGNER};
        for (size_t k = 0; k < 8 && rows[i].args[k]; k++)
            argv[k + 1] = strcmp(rows[i].args[k], "@") == 0 ? dir : rows[i].args[k];
        int status = run(out, sizeof out, argv);
        if (status != rows[i].status)
            fail_msg("row %zu: status %d: %s", i, status, out);
        assert_true(out[0] != 0);
        assert_int_equal(access(dir, F_OK), -1);
    }
}

static void test_passphrase(void **state)
{
    struct fixture *f = *state;
    struct errinfo ei = {0};
    char out[2000], dir[100], pass[100], wrong[100], key[150];
    snprintf(dir, sizeof dir, "%s/locked", f->dir);
    snprintf(pass, sizeof pass, "%s/pass", f->dir);
    snprintf(wrong, sizeof wrong, "%s/wrong", f->dir);
    snprintf(key, sizeof key, "%s/issuing.key", dir);
    write_file(pass, SPAN_LIT("correct horse\n"));
    write_file(wrong, SPAN_LIT("battery staple\n"));
    assert_int_equal(RUN(out, TD_SIGNER, "init", "--dir", dir, "--pass-file", pass), 0);
    struct buf pem;
    assert_ok(fs_read(key, 65536, &pem, &ei));
    assert_non_null(strstr(buf_cstr(&pem), "BEGIN ENCRYPTED PRIVATE KEY"));
    buf_free(&pem);

    static const struct {
        int which;
        const char *says;
    } rows[] = {{0, "is encrypted"}, {1, "wrong passphrase"}, {2, NULL}};
    const char *const given[] = {NULL, wrong, pass};
    assert_ok(crypt_init(&ei));
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct signer_client *c;
        assert_ok(signer_client_start(TD_SIGNER, dir, given[rows[i].which], &c, &ei));
        enum td_err e = signer_client_ready(c, &ei);
        assert_int_equal(e, rows[i].says ? TD_CRYPTO : TD_OK);
        assert_int_equal(signer_client_alive(c), rows[i].says == NULL);
        if (rows[i].says && !strstr(ei.msg, rows[i].says))
            fail_msg("row %zu: %s", i, ei.msg);
        signer_client_stop(c);
    }
}

static void test_serve_needs_a_sound_directory(void **state)
{
    struct fixture *f = *state;
    struct errinfo ei = {0};
    char dir[100], out[200], a[200], b[200];
    struct signer_client *c;
    snprintf(dir, sizeof dir, "%s/unsound", f->dir);
    assert_ok(crypt_init(&ei));
    assert_int_equal(signer_client_start("/nonexistent/signer", dir, NULL, &c, &ei), TD_IO);

    assert_ok(signer_client_start(TD_SIGNER, dir, NULL, &c, &ei)); /* no directory */
    assert_int_equal(signer_client_ready(c, &ei), TD_NOTFOUND);
    signer_client_stop(c);

    assert_int_equal(RUN(out, "cp", "-rp", f->ca_dir, dir), 0);
    snprintf(a, sizeof a, "%s/issuing.key", dir);
    assert_int_equal(chmod(a, 0640), 0); /* readable by others */
    assert_ok(signer_client_start(TD_SIGNER, dir, NULL, &c, &ei));
    assert_int_equal(signer_client_ready(c, &ei), TD_FORBIDDEN);
    signer_client_stop(c);

    snprintf(b, sizeof b, "%s/root.key", dir);
    assert_int_equal(RUN(out, "cp", "-p", b, a), 0); /* another key than the certificate's */
    assert_int_equal(chmod(a, 0600), 0);
    assert_ok(signer_client_start(TD_SIGNER, dir, NULL, &c, &ei));
    assert_int_equal(signer_client_ready(c, &ei), TD_CRYPTO);
    assert_non_null(strstr(ei.msg, "is not the key of"));
    signer_client_stop(c);
}

static void test_tls_certificate(void **state)
{
    struct fixture *f = *state;
    char out[8000], key[150], crt[150], root[150], again[150];
    snprintf(key, sizeof key, "%s/tls.key", f->dir);
    snprintf(crt, sizeof crt, "%s/tls.crt", f->dir);
    snprintf(root, sizeof root, "%s/root.crt", f->ca_dir);
    snprintf(again, sizeof again, "%s/again.key", f->dir);
    assert_int_equal(RUN(out, TD_SIGNER, "tls", "--dir", f->ca_dir, "--name",
                         "mdm.example.com,10.1.2.3,::1", "--key-out", key, "--cert-out", crt),
                     0);
    struct stat st;
    assert_int_equal(stat(key, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    /* nothing is replaced unasked */
    assert_int_equal(RUN(out, TD_SIGNER, "tls", "--dir", f->ca_dir, "--name", "a.example",
                         "--key-out", again, "--cert-out", crt),
                     1);
    assert_int_equal(access(again, F_OK), -1);
    assert_int_equal(RUN(out, TD_SIGNER, "tls", "--dir", f->ca_dir, "--name", "mdm.example.com",
                         "--key-out", key, "--cert-out", crt, "--replace"),
                     0);
    static const char *const bad[] = {"", "a b", "-a.example", "a..b", "10.0.0.256", "a.example,"};
    for (size_t i = 0; i < TD_NITEMS(bad); i++)
        assert_int_equal(RUN(out, TD_SIGNER, "tls", "--dir", f->ca_dir, "--name", bad[i],
                             "--key-out", again, "--cert-out", again),
                         1);
    assert_int_equal(RUN(out, TD_SIGNER, "audit", "--dir", f->ca_dir), 0);
    assert_non_null(strstr(out, "2 lines, the chain holds"));
    if (!have_openssl())
        return;
    assert_int_equal(RUN(out, "openssl", "verify", "-x509_strict", "-purpose", "sslserver",
                         "-verify_hostname", "mdm.example.com", "-CAfile", root, "-untrusted", crt,
                         crt),
                     0);
}

/* Renewal goes on beside a serving signer, with a log of its own. */
static void test_tls_while_serving(void **state)
{
    struct fixture *f = *state;
    struct errinfo ei = {0};
    char out[2000], key[150], crt[150];
    snprintf(key, sizeof key, "%s/late.key", f->dir);
    snprintf(crt, sizeof crt, "%s/late.crt", f->dir);
    assert_ok(crypt_init(&ei));
    fixture_client(f);
    assert_int_equal(RUN(out, TD_SIGNER, "tls", "--dir", f->ca_dir, "--name", "a.example",
                         "--key-out", key, "--cert-out", crt),
                     0);
    assert_int_equal(access(key, F_OK), 0);
    assert_true(signer_client_alive(f->client));
    signer_client_stop(f->client);
    f->client = NULL;
    assert_int_equal(RUN(out, TD_SIGNER, "audit", "--dir", f->ca_dir), 0);
    assert_non_null(strstr(out, "audit-tls.log"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_init_twice_touches_nothing),
        cmocka_unit_test(test_part_is_refused),
        cmocka_unit_test(test_all_but_the_offline_root_key_is_complete),
        cmocka_unit_test(test_bad_arguments),
        cmocka_unit_test(test_passphrase),
        cmocka_unit_test(test_tls_certificate),
        cmocka_unit_test(test_serve_needs_a_sound_directory),
        cmocka_unit_test(test_tls_while_serving),
    };
    return cmocka_run_group_tests(tests, up, fixture_down);
}
