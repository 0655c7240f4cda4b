/* TLS: what the client shows, resumption, reload of the certificate, protocol versions. */
#include "tests/unit/http/fixture.h"

#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

struct pem {
    char cert[4096], key[4096];
    size_t cert_n, key_n, der_n;
};

static struct world world;
static struct pem server_pem, other_pem, client_pem;
static char dir[] = "/tmp/td-tls-XXXXXX", cert_file[64], key_file[64];
static struct http_listener listeners[2];
static struct route_set set;

/* A self-signed P-256 certificate. */
static void make_pem(struct pem *p, const char *cn)
{
    gnutls_x509_privkey_t key;
    gnutls_x509_crt_t crt;
    const uint8_t serial[] = {1, 2, 3};
    gnutls_x509_privkey_init(&key);
    assert_int_equal(gnutls_x509_privkey_generate(
                         key, GNUTLS_PK_EC, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0),
                     0);
    gnutls_x509_crt_init(&crt);
    gnutls_x509_crt_set_version(crt, 3);
    gnutls_x509_crt_set_key(crt, key);
    gnutls_x509_crt_set_serial(crt, serial, sizeof serial);
    gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, cn, (unsigned)strlen(cn));
    gnutls_x509_crt_set_activation_time(crt, time(NULL) - 60);
    gnutls_x509_crt_set_expiration_time(crt, time(NULL) + 3600);
    assert_int_equal(gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0), 0);
    p->cert_n = sizeof p->cert;
    p->key_n = sizeof p->key;
    p->der_n = 0;
    assert_int_equal(gnutls_x509_crt_export(crt, GNUTLS_X509_FMT_PEM, p->cert, &p->cert_n), 0);
    assert_int_equal(gnutls_x509_privkey_export(key, GNUTLS_X509_FMT_PEM, p->key, &p->key_n), 0);
    (void)gnutls_x509_crt_export(crt, GNUTLS_X509_FMT_DER, NULL, &p->der_n);
    gnutls_x509_crt_deinit(crt);
    gnutls_x509_privkey_deinit(key);
}

static void put(const char *path, const char *p, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_int_not_equal(fd, -1);
    assert_int_equal(write(fd, p, n), n);
    close(fd);
}

static int setup(void **state)
{
    (void)state;
    log_setup(LOG_MAX, LOG_FORMAT_LOGFMT, 2);
    make_pem(&server_pem, "one");
    make_pem(&other_pem, "two");
    make_pem(&client_pem, "client");
    assert_non_null(mkdtemp(dir));
    snprintf(cert_file, sizeof cert_file, "%s/c.pem", dir);
    snprintf(key_file, sizeof key_file, "%s/k.pem", dir);
    put(cert_file, server_pem.cert, server_pem.cert_n);
    put(key_file, server_pem.key, server_pem.key_n);
    for (size_t i = 0; i < 2; i++)
        listeners[i] = (struct http_listener){.name = i ? "device" : "public",
                                              .kind = i ? REQ_ON_DEVICE : REQ_ON_PUBLIC,
                                              .address = "127.0.0.1:0",
                                              .tls = true,
                                              .cert_file = cert_file,
                                              .key_file = key_file,
                                              .ask_client_cert = i == 1};
    world_init(&world);
    struct http_conf c = world_conf(&world, listeners, 2, &set);
    c.body_timeout = 2;
    struct errinfo ei = {0};
    assert_int_equal(http_start(&c, &world.http, &ei), TD_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    http_stop(world.http);
    unlink(cert_file);
    unlink(key_file);
    rmdir(dir);
    return 0;
}

struct client {
    int fd;
    gnutls_session_t s;
    gnutls_certificate_credentials_t cred;
    int rc; /* of the handshake */
    char peer[128];
};

static void client_open(struct client *c, size_t listener, const struct pem *show,
                        const char *priority, const gnutls_datum_t *ticket)
{
    *c = (struct client){.fd = dial(world.http, listener)};
    gnutls_init(&c->s, GNUTLS_CLIENT);
    gnutls_certificate_allocate_credentials(&c->cred);
    if (show) {
        const gnutls_datum_t cert = {(void *)(uintptr_t)show->cert, (unsigned)show->cert_n};
        const gnutls_datum_t key = {(void *)(uintptr_t)show->key, (unsigned)show->key_n};
        assert_int_equal(
            gnutls_certificate_set_x509_key_mem(c->cred, &cert, &key, GNUTLS_X509_FMT_PEM), 0);
    }
    gnutls_credentials_set(c->s, GNUTLS_CRD_CERTIFICATE, c->cred);
    assert_int_equal(gnutls_priority_set_direct(c->s, priority ? priority : "NORMAL", NULL), 0);
    if (ticket)
        assert_int_equal(gnutls_session_set_data(c->s, ticket->data, ticket->size), 0);
    gnutls_transport_set_int(c->s, c->fd);
    gnutls_handshake_set_timeout(c->s, WAIT_MS);
    gnutls_record_set_timeout(c->s, WAIT_MS);
    do
        c->rc = gnutls_handshake(c->s);
    while (c->rc < 0 && !gnutls_error_is_fatal(c->rc));
    unsigned n = 0;
    const gnutls_datum_t *peer = c->rc == 0 ? gnutls_certificate_get_peers(c->s, &n) : NULL;
    gnutls_x509_crt_t crt;
    size_t size = sizeof c->peer;
    if (peer && n > 0 && gnutls_x509_crt_init(&crt) == 0) {
        gnutls_x509_crt_import(crt, &peer[0], GNUTLS_X509_FMT_DER);
        gnutls_x509_crt_get_dn(crt, c->peer, &size);
        gnutls_x509_crt_deinit(crt);
    }
}

static void client_close(struct client *c)
{
    gnutls_deinit(c->s);
    gnutls_certificate_free_credentials(c->cred);
    close(c->fd);
}

/* One request; the answer is small and comes in one or two records. */
static const char *client_ask(struct client *c, const char *req)
{
    static char out[8192];
    size_t n = 0;
    assert_int_equal(c->rc, 0);
    assert_true(gnutls_record_send(c->s, req, strlen(req)) > 0);
    out[0] = 0;
    for (;;) {
        ssize_t k = gnutls_record_recv(c->s, out + n, sizeof out - n - 1);
        if (k == GNUTLS_E_AGAIN || k == GNUTLS_E_INTERRUPTED)
            continue;
        if (k <= 0)
            break;
        n += (size_t)k;
        out[n] = 0;
        const char *len = strstr(out, "Content-Length: "), *end = strstr(out, "\r\n\r\n");
        unsigned want = 0;
        for (const char *p = len ? len + 16 : ""; *p >= '0' && *p <= '9'; p++)
            want = want * 10 + (unsigned)(*p - '0');
        if (end && len && n >= (size_t)(end + 4 - out) + want)
            break;
    }
    return out;
}

#define PEER "GET /peer HTTP/1.1\r\nHost: x\r\n\r\n"

static void test_plain_https(void **state)
{
    (void)state;
    struct client c;
    client_open(&c, 0, NULL, NULL, NULL);
    assert_string_equal(c.peer, "CN=one");
    const char *out = client_ask(&c, "POST /work HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
                                     "\r\n{}");
    assert_int_equal(status_of(out), 200);
    assert_string_equal(body_of(out), "{}");
    assert_non_null(strstr(out, "\r\nStrict-Transport-Security: max-age=31536000\r\n"));
    /* the guard stands here too */
    out = client_ask(&c, "GET /echo HTTP/1.1\r\nHost: x\r\nContent-Length : 1\r\n\r\n");
    assert_int_equal(status_of(out), 400);
    client_close(&c);
}

static void test_versions(void **state)
{
    (void)state;
    static const struct {
        const char *priority;
        bool works;
    } cases[] = {
        {"NORMAL:-VERS-ALL:+VERS-TLS1.3", true},
        {"NORMAL:-VERS-ALL:+VERS-TLS1.2", true},
        {"NORMAL:-VERS-ALL:+VERS-TLS1.1:+VERS-TLS1.0:%COMPAT", false},
        {"NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+AES-128-CBC:+AES-256-CBC", false},
    };
    for (size_t i = 0; i < TD_NITEMS(cases); i++) {
        struct client c;
        client_open(&c, 0, NULL, cases[i].priority, NULL);
        assert_int_equal(c.rc == 0, cases[i].works);
        client_close(&c);
    }
}

static void test_client_certificate(void **state)
{
    (void)state;
    static const char *const versions[] = {"NORMAL:-VERS-ALL:+VERS-TLS1.3",
                                           "NORMAL:-VERS-ALL:+VERS-TLS1.2"};
    char want[64];
    snprintf(want, sizeof want, "cert=%zu proxy=0 addr=127.0.0.1:", client_pem.der_n);
    for (size_t v = 0; v < 2; v++) {
        struct client c;
        int before = atomic_load(&world.verified);
        client_open(&c, 1, &client_pem, versions[v], NULL);
        for (int i = 0; i < 3; i++)
            assert_non_null(strstr(client_ask(&c, PEER), want));
        assert_int_equal(atomic_load(&world.verified), before + 1); /* once a connection */
        client_close(&c);
        /* none shown: the connection works, no certificate */
        client_open(&c, 1, NULL, versions[v], NULL);
        assert_non_null(strstr(client_ask(&c, PEER), "cert=0"));
        client_close(&c);
        /* the public listener asks for none */
        client_open(&c, 0, &client_pem, versions[v], NULL);
        assert_non_null(strstr(client_ask(&c, PEER), "cert=0"));
        assert_int_equal(gnutls_certificate_client_get_request_status(c.s), 0);
        client_close(&c);
    }
    struct client c;
    client_open(&c, 1, NULL, NULL, NULL);
    assert_non_null(strstr(
        client_ask(&c, "GET /peer HTTP/1.1\r\nHost: x\r\nClient-Cert: :YWJj:\r\n\r\n"), "cert=0"));
    client_close(&c);
}

static void test_resumption(void **state)
{
    (void)state;
    static const char *const versions[] = {"NORMAL:-VERS-ALL:+VERS-TLS1.3",
                                           "NORMAL:-VERS-ALL:+VERS-TLS1.2"};
    char want[64];
    snprintf(want, sizeof want, "cert=%zu ", client_pem.der_n);
    for (size_t v = 0; v < 2; v++) {
        struct client c;
        gnutls_datum_t ticket = {0};
        client_open(&c, 1, &client_pem, versions[v], NULL);
        assert_non_null(strstr(client_ask(&c, PEER), want));
        assert_false(gnutls_session_is_resumed(c.s));
        assert_int_equal(gnutls_session_get_data2(c.s, &ticket), 0);
        client_close(&c);
        int before = atomic_load(&world.verified);
        client_open(&c, 1, &client_pem, versions[v], &ticket);
        assert_non_null(strstr(client_ask(&c, PEER), want));
        assert_true(gnutls_session_is_resumed(c.s));
        assert_int_equal(atomic_load(&world.verified), before + 1); /* verified again */
        client_close(&c);
        gnutls_free(ticket.data);
    }
}

static void test_reload(void **state)
{
    (void)state;
    struct client old, fresh;
    struct errinfo ei = {0};
    client_open(&old, 0, NULL, NULL, NULL);
    assert_string_equal(old.peer, "CN=one");
    /* a key that is not the certificate's, a torn file, none at all: the old stay in use */
    put(cert_file, other_pem.cert, other_pem.cert_n);
    assert_int_equal(http_reload(world.http, &ei), TD_INVAL);
    put(cert_file, other_pem.cert, other_pem.cert_n / 2);
    assert_int_equal(http_reload(world.http, &ei), TD_INVAL);
    unlink(cert_file);
    assert_int_not_equal(http_reload(world.http, &ei), TD_OK);
    client_open(&fresh, 0, NULL, NULL, NULL);
    assert_string_equal(fresh.peer, "CN=one");
    client_close(&fresh);

    put(cert_file, other_pem.cert, other_pem.cert_n);
    put(key_file, other_pem.key, other_pem.key_n);
    assert_int_equal(http_reload(world.http, &ei), TD_OK);
    client_open(&fresh, 0, NULL, NULL, NULL);
    assert_string_equal(fresh.peer, "CN=two");
    assert_int_equal(status_of(client_ask(&fresh, PEER)), 200);
    assert_int_equal(status_of(client_ask(&old, PEER)), 200); /* not dropped */
    client_close(&fresh);
    client_close(&old);
}

static void test_slow_body(void **state)
{
    (void)state;
    struct client c;
    client_open(&c, 0, NULL, NULL, NULL);
    const char *out =
        client_ask(&c, "POST /work HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\na");
    assert_int_equal(status_of(out), 408);
    client_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_https),        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_client_certificate), cmocka_unit_test(test_resumption),
        cmocka_unit_test(test_slow_body),          cmocka_unit_test(test_reload),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
