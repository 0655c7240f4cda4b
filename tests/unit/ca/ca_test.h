/* A CA directory made by the real testudo-signer, a client of it, a store, a struct ca. */
#ifndef TD_TESTS_CA_TEST_H
#define TD_TESTS_CA_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../engine.h"
#include "acme/ca/ca.h"
#include "acme/ca/census.h"
#include "acme/ca/client_id.h"
#include "acme/ca/crl.h"
#include "mdm/base/fs.h"
#include "mdm/base/num.h"
#include "mdm/store/audit.h"

#define assert_ok(expr) assert_int_equal((expr), TD_OK)

struct fixture {
    char dir[64], ca_dir[80], db[TEST_URL_SIZE];
    struct signer_client *client;
    struct store *store;
    struct ca *ca;
};

/* Runs a program, its output into out[n]; the exit status, -1 when it cannot be started. */
static inline int run(char *out, size_t n, const char *const *argv)
{
    int p[2];
    assert_int_equal(pipe(p), 0);
    posix_spawn_file_actions_t fa;
    posix_spawn_file_actions_init(&fa);
    posix_spawn_file_actions_adddup2(&fa, p[1], 1);
    posix_spawn_file_actions_adddup2(&fa, p[1], 2);
    posix_spawn_file_actions_addclose(&fa, p[0]);
    union {
        const char *const *in;
        char *const *out;
    } args = {.in = argv};
    pid_t pid;
    int rc = posix_spawnp(&pid, argv[0], &fa, NULL, args.out, environ);
    posix_spawn_file_actions_destroy(&fa);
    close(p[1]);
    size_t got = 0;
    ssize_t k;
    char drop[512];
    while (rc == 0 && (k = read(p[0], got + 1 < n ? out + got : drop,
                                got + 1 < n ? n - 1 - got : sizeof drop)) > 0)
        if (got + 1 < n)
            got += (size_t)k;
    out[got] = 0;
    close(p[0]);
    int status = -1;
    if (rc != 0)
        return -1;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

#define RUN(out, ...) run((out), sizeof(out), (const char *const[]){__VA_ARGS__, NULL})

/* The only child of a process; 0 when it has none, or several. */
static inline pid_t child_of(pid_t parent)
{
    char path[64], text[64] = "";
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", parent, parent);
    FILE *f = fopen(path, "re");
    if (!f)
        return 0;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    uint64_t pid = 0;
    struct span s = span_of(text, n);
    while (s.n && s.p[s.n - 1] == ' ')
        s.n--;
    return num_u64(s, INT32_MAX, &pid) == TD_OK ? (pid_t)pid : 0;
}

/* The worker: the only child of our only child. */
static inline pid_t worker_pid(void)
{
    pid_t supervisor = child_of(getpid());
    return supervisor ? child_of(supervisor) : 0;
}

static inline bool have_openssl(void)
{
    char out[200];
    return RUN(out, "openssl", "version") == 0;
}

static inline void fixture_dir(struct fixture *f)
{
    *f = (struct fixture){.dir = "/tmp/td-ca-test-XXXXXX"};
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->ca_dir, sizeof f->ca_dir, "%s/ca", f->dir);
    char file[100];
    snprintf(file, sizeof file, "%s/db", f->dir);
    test_store_url(file, f->db);
}

static inline void fixture_init_ca(struct fixture *f)
{
    char out[2000];
    assert_int_equal(RUN(out, TD_SIGNER, "init", "--dir", f->ca_dir, "--org", "Example Org",
                         "--ocsp-url", "http://127.0.0.1:8080/ocsp", "--aia-url",
                         "http://127.0.0.1:8080/ca/issuing.crt", "--crl-url",
                         "http://127.0.0.1:8080/crl"),
                     0);
}

static inline void fixture_client(struct fixture *f)
{
    struct errinfo ei = {0};
    assert_ok(signer_client_start(TD_SIGNER, f->ca_dir, NULL, &f->client, &ei));
    enum td_err e = signer_client_ready(f->client, &ei);
    if (e != TD_OK)
        fail_msg("signer: %s", err_msg(&ei, e));
}

/* Further statements of a test's own, to be set before fixture_up. */
static struct store_stmts fixture_stmts;

/* Another store on the same database, as a second process has it. */
static inline struct store *fixture_store(const struct fixture *f)
{
    struct store_stmts sets[] = {ca_stmts,        client_id_stmts, ca_revoke_stmts,
                                 ca_crl_stmts,    audit_stmts,     outbox_stmts,
                                 ca_census_stmts, ca_active_stmts, fixture_stmts};
    struct errinfo ei = {0};
    struct store_conf sc = {.twice = test_twice(),
                            .url = f->db,
                            .readers = 4,
                            .batch = 64,
                            .queue = 256,
                            .sets = sets,
                            .nsets = TD_NITEMS(sets),
                            .clock = &clock_system};
    struct store *s = NULL;
    enum td_err e = store_open(&sc, &s, &ei);
    if (e != TD_OK)
        fail_msg("store: %s", err_msg(&ei, e));
    return s;
}

static inline void fixture_ca(struct fixture *f)
{
    struct errinfo ei = {0};
    f->store = fixture_store(f);
    struct ca_conf cc = {f->store, f->client, &clock_system, &rng_system, NULL};
    enum td_err e = ca_open(&cc, &f->ca, &ei);
    if (e != TD_OK)
        fail_msg("ca: %s", err_msg(&ei, e));
}

/* cmocka group set-up and tear-down. */
static inline int fixture_up(void **state)
{
    static struct fixture f;
    struct errinfo ei = {0};
    assert_ok(crypt_init(&ei));
    fixture_dir(&f);
    fixture_init_ca(&f);
    fixture_client(&f);
    fixture_ca(&f);
    *state = &f;
    return 0;
}

static inline void fixture_free(struct fixture *f)
{
    char out[200];
    ca_close(f->ca);
    signer_client_stop(f->client);
    store_close(f->store);
    assert_int_equal(RUN(out, "rm", "-rf", f->dir), 0);
}

static inline int fixture_down(void **state)
{
    fixture_free(*state);
    return 0;
}

struct write_record {
    const struct ca_record *r;
    const char *revoke;
    int64_t count;
};

static inline enum td_err write_record_fn(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct write_record *w = ctx;
    const struct ca_change why = {.reason = 5, .now = clock_now(&clock_system)};
    if (w->r)
        TD_TRY(ca_record_add(tx, w->r, ei));
    if (w->revoke)
        TD_TRY(ca_revoke_device(tx, w->revoke, &why, &w->count, ei));
    return TD_OK;
}

static inline void add_record(struct fixture *f, const struct ca_record *r)
{
    struct errinfo ei = {0};
    struct write_record w = {.r = r};
    assert_ok(store_write(f->store, write_record_fn, &w, &ei));
}

static inline int64_t revoke_device(struct fixture *f, const char *serial)
{
    struct errinfo ei = {0};
    struct write_record w = {.revoke = serial};
    assert_ok(store_write(f->store, write_record_fn, &w, &ei));
    return w.count;
}

/* A certificate for a fresh key, not yet recorded. */
static inline void issue(struct fixture *f, const char *serial, const char *profile,
                         enum key_type type, struct arena *a, struct ca_record *ret)
{
    struct errinfo ei = {0};
    key_auto *key = NULL;
    assert_ok(key_generate(type, &key, &ei));
    struct ca_grant g = {
        .profile = profile, .device_serial = serial, .order_id = "order-1", .evidence_id = "ev-1"};
    memset(g.evidence_sha256, 7, sizeof g.evidence_sha256);
    assert_ok(key_spki(key, a, &g.spki, &ei));
    enum td_err e = ca_issue(f->ca, &g, a, ret, &ei);
    if (e != TD_OK)
        fail_msg("issue: %s", err_msg(&ei, e));
}

static inline void write_file(const char *path, struct span data)
{
    struct errinfo ei = {0};
    assert_ok(fs_write(path, data, 0600, true, &ei));
}

static inline void write_pem(const char *path, const struct cert *c)
{
    buf_auto b;
    buf_init(&b, 65536);
    assert_ok(cert_to_pem(c, &b));
    write_file(path, buf_view(&b));
}

#endif
