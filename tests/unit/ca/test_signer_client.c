/* The client of the signer: many threads, a signer that dies, one that comes back. */
#include "ca_test.h"

#include <pthread.h>
#include <stdatomic.h>

#include "mdm/crypt/x509_build.h"

struct hammer {
    struct fixture *f;
    struct span spki;
    atomic_bool stop;
    atomic_int ok, busy, other;
};

static void *hammer_fn(void *arg)
{
    struct hammer *h = arg;
    uint8_t evidence[SHA256_SIZE] = {1};
    struct signer_issue r = {.profile = "management",
                             .device_serial = "HAMMER1",
                             .spki = h->spki,
                             .evidence_sha256 = SPAN_ARR(evidence)};
    while (!atomic_load(&h->stop)) {
        arena_auto a;
        arena_init(&a, 65536);
        struct signer_signed made;
        struct errinfo ei = {0};
        enum td_err e = signer_issue(h->f->client, &r, &a, &made, &ei);
        atomic_fetch_add(e == TD_OK ? &h->ok : e == TD_BUSY ? &h->busy : &h->other, 1);
        if (e == TD_BUSY)
            sched_yield();
    }
    return NULL;
}

static bool reached(atomic_int *v, int at_least, int ms)
{
    for (; ms > 0 && atomic_load(v) < at_least; ms -= 5)
        poll(NULL, 0, 5);
    return atomic_load(v) >= at_least;
}

/* kill -9 while requests are in flight: they fail as TD_BUSY, then it works again, three times. */
static void test_worker_killed(void **state)
{
    struct fixture *f = *state;
    struct errinfo ei = {0};
    arena_auto a;
    arena_init(&a, 65536);
    key_auto *key = NULL;
    struct hammer h = {.f = f};
    assert_ok(key_generate(KEY_P256, &key, &ei));
    assert_ok(key_spki(key, &a, &h.spki, &ei));
    pthread_t threads[8];
    for (size_t i = 0; i < TD_NITEMS(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer_fn, &h), 0);
    for (int round = 0; round < 3; round++) {
        assert_true(reached(&h.ok, atomic_load(&h.ok) + 50, 30000));
        int busy = atomic_load(&h.busy);
        pid_t pid = worker_pid();
        assert_true(pid > 0);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_true(reached(&h.busy, busy + 1, 30000));
        assert_true(reached(&h.ok, atomic_load(&h.ok) + 50, 30000));
        assert_int_not_equal(worker_pid(), pid);
    }
    atomic_store(&h.stop, true);
    for (size_t i = 0; i < TD_NITEMS(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&h.other), 0);
    assert_true(signer_client_alive(f->client));
    char out[500];
    assert_int_equal(RUN(out, TD_SIGNER, "audit", "--dir", f->ca_dir), 0);
}

static void rotate(struct fixture *f)
{
    char out[500];
    if (RUN(out, TD_SIGNER, "rotate", "--dir", f->ca_dir) != 0)
        fail_msg("%s", out);
}

static void active_id(struct signer_client *c, uint8_t out[static CERT_SKI_SIZE], size_t *ret_n)
{
    struct signer_certs certs;
    signer_client_certs(c, &certs);
    assert_true(certs.n > 0 && cert_ski(certs.issuing[0], out));
    *ret_n = certs.n;
    signer_certs_free(&certs);
}

/* The worker once there is one alone: while one takes over there are two. */
static pid_t settled_worker(void)
{
    for (int ms = 30000; ms > 0 && worker_pid() == 0; ms -= 5)
        poll(NULL, 0, 5);
    return worker_pid();
}

static void read_pem(const struct fixture *f, const char *name, struct buf *b)
{
    char path[200];
    struct errinfo ei = {0};
    snprintf(path, sizeof path, "%s/%s", f->ca_dir, name);
    buf_init(b, 65536);
    assert_ok(fs_read(path, 65536, b, &ei));
}

/* The issuing CA's certificate with an end of a minute ago. */
static void end_issuer(const struct fixture *f)
{
    struct errinfo ei = {0};
    char path[200];
    arena_auto a;
    arena_init(&a, 65536);
    buf_auto key_pem, root_pem;
    key_auto *key = NULL;
    key_auto *root_key = NULL;
    cert_auto *ended = NULL;
    struct span der;
    read_pem(f, "issuing.key", &key_pem);
    read_pem(f, "root.key", &root_pem);
    assert_ok(key_from_pem(buf_view(&key_pem), NULL, &key, &ei));
    assert_ok(key_from_pem(buf_view(&root_pem), NULL, &root_key, &ei));
    int64_t now = clock_now(&clock_system);
    struct x509_spec spec = {.serial = SPAN_LIT("\x41"),
                             .cn = "Ended CA",
                             .o = "Example Org",
                             .not_before = cert_not_before(ca_issuing(f->ca)),
                             .not_after = now - 60,
                             .public_key = key,
                             .key_usage = X509_KU_CERT_SIGN | X509_KU_CRL_SIGN,
                             .ca = true};
    assert_ok(x509_build(&spec, ca_root(f->ca), root_key, &a, &der, &ei));
    assert_ok(cert_parse(der, &ended, &ei));
    snprintf(path, sizeof path, "%s/issuing.crt", f->ca_dir);
    write_pem(path, ended);
}

/* The reason that nothing is issued arrives, and the signer goes on with the rest. */
static void test_issuer_ended(void **state)
{
    struct fixture *f = *state;
    struct errinfo ei = {0};
    arena_auto a;
    arena_init(&a, 65536);
    key_auto *key = NULL;
    struct span spki;
    uint8_t evidence[SHA256_SIZE] = {1};
    struct signer_signed made;
    buf_auto before;
    char path[200];
    fixture_ca(f);
    assert_ok(key_generate(KEY_P256, &key, &ei));
    assert_ok(key_spki(key, &a, &spki, &ei));
    struct signer_issue r = {.profile = "management",
                             .device_serial = "ENDED1",
                             .spki = spki,
                             .evidence_sha256 = SPAN_ARR(evidence)};
    read_pem(f, "issuing.crt", &before);
    end_issuer(f);
    assert_ok(signer_client_reload(f->client, &ei));
    assert_ok(ca_can_issue(f->ca, &ei)); /* not told yet */
    assert_ok(ca_refresh(f->ca, &ei));
    assert_int_equal(ca_can_issue(f->ca, &ei), TD_INVAL);
    assert_string_equal(ei.reason, "issuer-expired");
    ei = (struct errinfo){0};
    assert_int_equal(signer_issue(f->client, &r, &a, &made, &ei), TD_INVAL);
    assert_string_equal(ei.reason, "issuer-expired");
    assert_non_null(strstr(ei.msg, "testudo ca rotate"));
    struct ca_crl crl;
    assert_ok(ca_crl_get(f->ca, 0, CA_CRL_COMPLETE, true, &a, &crl, &ei));
    snprintf(path, sizeof path, "%s/issuing.crt", f->ca_dir);
    write_file(path, buf_view(&before));
    assert_ok(signer_client_reload(f->client, &ei));
    assert_ok(ca_refresh(f->ca, &ei));
    assert_ok(ca_can_issue(f->ca, &ei));
    assert_ok(signer_issue(f->client, &r, &a, &made, &ei));
}

/* A new issuing CA while requests are in flight: none fails, none waits for long. */
static void test_reload_loses_nothing(void **state)
{
    struct fixture *f = *state;
    struct errinfo ei = {0};
    arena_auto a;
    arena_init(&a, 65536);
    key_auto *key = NULL;
    struct hammer h = {.f = f};
    assert_ok(key_generate(KEY_P256, &key, &ei));
    assert_ok(key_spki(key, &a, &h.spki, &ei));
    pthread_t threads[8];
    for (size_t i = 0; i < TD_NITEMS(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer_fn, &h), 0);
    uint8_t last[CERT_SKI_SIZE], now[CERT_SKI_SIZE];
    size_t n, before;
    active_id(f->client, last, &before);
    for (size_t round = 1; round <= 3; round++) {
        assert_true(reached(&h.ok, atomic_load(&h.ok) + 50, 30000));
        pid_t pid = settled_worker();
        rotate(f);
        enum td_err e = signer_client_reload(f->client, &ei);
        if (e != TD_OK)
            fail_msg("%s", err_msg(&ei, e));
        assert_int_not_equal(settled_worker(), pid);
        active_id(f->client, now, &n);
        assert_int_equal(n, before + round);
        assert_memory_not_equal(now, last, sizeof now);
        memcpy(last, now, sizeof now);
        assert_true(reached(&h.ok, atomic_load(&h.ok) + 50, 30000));
    }
    atomic_store(&h.stop, true);
    for (size_t i = 0; i < TD_NITEMS(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&h.busy), 0);
    assert_int_equal(atomic_load(&h.other), 0);
    char out[500];
    assert_int_equal(RUN(out, TD_SIGNER, "audit", "--dir", f->ca_dir), 0);
}

/* A directory that is not right any more: told so, and the worker that serves goes on. */
static void test_reload_refused(void **state)
{
    struct fixture *f = *state;
    struct errinfo ei = {0};
    char from[200], to[220], out[200];
    snprintf(from, sizeof from, "%s/ca.ini", f->ca_dir);
    snprintf(to, sizeof to, "%s.away", from);
    pid_t pid = settled_worker();
    uint8_t before[CERT_SKI_SIZE], now[CERT_SKI_SIZE];
    size_t n;
    active_id(f->client, before, &n);
    assert_int_equal(RUN(out, "mv", from, to), 0);
    assert_int_equal(signer_client_reload(f->client, &ei), TD_NOTFOUND);
    assert_non_null(strstr(ei.msg, "no complete CA"));
    assert_int_equal(RUN(out, "mv", to, from), 0);
    active_id(f->client, now, &n);
    assert_memory_equal(before, now, sizeof now);
    assert_true(signer_client_alive(f->client));
    assert_ok(signer_client_reload(f->client, &ei));
    assert_int_not_equal(settled_worker(), pid);
}

static void test_requests_out_of_range(void **state)
{
    struct fixture *f = *state;
    struct errinfo ei = {0};
    arena_auto a;
    arena_init(&a, 65536);
    struct signer_signed made;
    uint8_t evidence[SHA256_SIZE] = {1};
    struct signer_issue r = {.profile = "",
                             .device_serial = "X1",
                             .spki = SPAN_LIT("x"),
                             .evidence_sha256 = SPAN_ARR(evidence)};
    assert_int_equal(signer_issue(f->client, &r, &a, &made, &ei), TD_INVAL); /* no profile */
    r.profile = "management";
    r.spki = (struct span){NULL, 0};
    assert_int_equal(signer_issue(f->client, &r, &a, &made, &ei), TD_INVAL);
    r.spki = SPAN_LIT("x");
    r.evidence_sha256 = SPAN_LIT("short");
    assert_int_equal(signer_issue(f->client, &r, &a, &made, &ei), TD_INVAL);
    r.evidence_sha256 = (struct span){NULL, 0};
    assert_int_equal(signer_issue(f->client, &r, &a, &made, &ei), TD_FORBIDDEN);
    assert_string_equal(ei.reason, "evidence-missing");
    struct span der;
    uint8_t id[CERT_SKI_SIZE] = {0};
    struct ocsp_single s[OCSP_IDS_MAX + 1] = {{.certid_der = SPAN_LIT("x")}};
    assert_int_equal(signer_ocsp(f->client, id, s, 0, r.spki, &a, &der, &ei), TD_INVAL);
    assert_int_equal(signer_ocsp(f->client, id, s, OCSP_IDS_MAX + 1, r.spki, &a, &der, &ei),
                     TD_INVAL);
}

/* Started by root, the worker reads the keys, then is somebody else. */
static void test_other_user(void **state)
{
    struct fixture *f = *state, other = {0};
    struct errinfo ei = {0};
    char out[200];
    if (geteuid() != 0)
        skip();
    fixture_dir(&other);
    fixture_init_ca(&other);
    assert_int_equal(signer_client_start_as(TD_SIGNER, other.ca_dir, NULL, "no-such-user-here",
                                            &other.client, &ei),
                     TD_OK);
    assert_int_equal(signer_client_ready(other.client, &ei), TD_NOTFOUND);
    signer_client_stop(other.client);
    assert_int_equal(
        signer_client_start_as(TD_SIGNER, other.ca_dir, NULL, "nobody", &other.client, &ei), TD_OK);
    enum td_err e = signer_client_ready(other.client, &ei);
    if (e != TD_OK)
        fail_msg("%s", err_msg(&ei, e));
    arena_auto a;
    arena_init(&a, 65536);
    key_auto *key = NULL;
    uint8_t evidence[SHA256_SIZE] = {1};
    struct signer_issue r = {
        .profile = "management", .device_serial = "USER1", .evidence_sha256 = SPAN_ARR(evidence)};
    struct signer_signed made;
    assert_ok(key_generate(KEY_P256, &key, &ei));
    assert_ok(key_spki(key, &a, &r.spki, &ei));
    assert_ok(signer_issue(other.client, &r, &a, &made, &ei));
    signer_client_stop(other.client);
    assert_int_equal(RUN(out, "rm", "-rf", other.dir), 0);
    assert_true(signer_client_alive(f->client));
}

/* Last: without its supervisor the signer is gone for good, and every call says so at once. */
static void test_supervisor_killed(void **state)
{
    struct fixture *f = *state;
    struct errinfo ei = {0};
    pid_t supervisor = child_of(getpid());
    assert_true(supervisor > 0);
    assert_int_equal(kill(supervisor, SIGKILL), 0);
    int ms = 20000;
    for (; ms > 0 && signer_client_alive(f->client); ms -= 5)
        poll(NULL, 0, 5);
    assert_false(signer_client_alive(f->client));
    arena_auto a;
    arena_init(&a, 65536);
    struct signer_signed made;
    uint8_t evidence[SHA256_SIZE] = {1};
    struct signer_issue r = {.profile = "management",
                             .device_serial = "X1",
                             .spki = SPAN_LIT("x"),
                             .evidence_sha256 = SPAN_ARR(evidence)};
    assert_int_equal(signer_issue(f->client, &r, &a, &made, &ei), TD_BUSY);
    assert_int_equal(err_http(TD_BUSY), 503);
}

static int up(void **state)
{
    static struct fixture f;
    struct errinfo ei = {0};
    assert_ok(crypt_init(&ei));
    fixture_dir(&f);
    fixture_init_ca(&f);
    fixture_client(&f);
    *state = &f;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_out_of_range), cmocka_unit_test(test_issuer_ended),
        cmocka_unit_test(test_reload_loses_nothing),  cmocka_unit_test(test_reload_refused),
        cmocka_unit_test(test_worker_killed),         cmocka_unit_test(test_other_user),
        cmocka_unit_test(test_supervisor_killed),
    };
    return cmocka_run_group_tests(tests, up, fixture_down);
}
