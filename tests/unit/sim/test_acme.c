#include "tests/unit/sim/simtest.h"

#include "mdm/base/b64.h"
#include "mdm/base/num.h"
#include "tests/sim/acme.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/time.h>

/* A scripted ACME server on a plain socket: answers by path, keeps what was asked. */
enum { MAX_REQUESTS = 16 };

struct seen {
    char method[8], path[64], type[64], agent[64];
    struct buf body;
};

struct server {
    int fd;
    unsigned port;
    pthread_t thread;
    struct seen seen[MAX_REQUESTS];
    size_t n;
    const char *challenge; /* body of the challenge's answer */
    const char *authz_status;
    int connections;
};

static char pki_dir[64];
static struct pki *pki;

static int setup(void **state)
{
    (void)state;
    simtest_dir(pki_dir);
    return pki_init(pki_dir, time(NULL), NULL) == TD_OK && pki_load(pki_dir, &pki, NULL) == TD_OK
               ? 0
               : -1;
}

static int teardown(void **state)
{
    static const char *const names[] = {
        "foreign/root.pem", "foreign/root.key", "foreign/sub.pem", "foreign/sub.key", "foreign",
        "root.pem",         "root.key",         "sub.pem",         "sub.key",
    };
    (void)state;
    pki_free(pki);
    simtest_rmdir(pki_dir, names, TD_NITEMS(names));
    return 0;
}

/* --- the server --- */

static void header_value(const char *head, const char *name, char *out, size_t n)
{
    const char *at = strcasestr(head, name);
    out[0] = 0;
    if (!at)
        return;
    at += strlen(name);
    size_t len = strcspn(at, "\r\n");
    snprintf(out, n, "%.*s", (int)len, at);
}

static bool read_request(int c, struct buf *in, struct seen *s)
{
    char tmp[2048], length[16];
    buf_reset(in);
    const char *end = NULL;
    while (!end) {
        ssize_t n = recv(c, tmp, sizeof(tmp), 0);
        if (n <= 0)
            return false;
        buf_add(in, tmp, (size_t)n);
        end = strstr(buf_cstr(in), "\r\n\r\n");
    }
    const char *head = buf_cstr(in);
    const char *sp = strchr(head, ' ');
    snprintf(s->method, sizeof(s->method), "%.*s", (int)(sp - head), head);
    snprintf(s->path, sizeof(s->path), "%.*s", (int)strcspn(sp + 1, " "), sp + 1);
    header_value(head, "\r\nContent-Type: ", s->type, sizeof(s->type));
    header_value(head, "\r\nUser-Agent: ", s->agent, sizeof(s->agent));
    header_value(head, "\r\nContent-Length: ", length, sizeof(length));
    uint64_t want = 0;
    size_t skip = (size_t)(end - head) + 4;
    if (length[0] && num_u64(span_str(length), 65536, &want) != TD_OK)
        return false;
    while (in->n - skip < want) {
        ssize_t n = recv(c, tmp, sizeof(tmp), 0);
        if (n <= 0)
            return false;
        buf_add(in, tmp, (size_t)n);
    }
    buf_init(&s->body, 131072);
    buf_add(&s->body, in->p + skip, want);
    return true;
}

/* The certificate over the CSR's key, self-made: the client checks the key alone. */
static void issue(struct server *s, struct buf *out)
{
    struct json *o = NULL;
    const char *payload = NULL, *csr64 = NULL;
    struct span text = {0}, der = {0};
    arena_auto a;
    arena_init(&a, 1048576);
    for (size_t i = 0; i < s->n; i++) {
        if (strcmp(s->seen[i].path, "/finalize") != 0)
            continue;
        assert_int_equal(json_parse(buf_view(&s->seen[i].body), &a, &o, NULL), TD_OK);
        assert_int_equal(json_get_str(o, "payload", &payload), TD_OK);
        assert_int_equal(b64url_dec(&a, span_str(payload), &text), TD_OK);
        assert_int_equal(json_parse(text, &a, &o, NULL), TD_OK);
        assert_int_equal(json_get_str(o, "csr", &csr64), TD_OK);
        assert_int_equal(b64url_dec(&a, span_str(csr64), &der), TD_OK);
    }
    const unsigned char *p = der.p;
    ossl_auto(X509_REQ) req = d2i_X509_REQ(NULL, &p, (long)der.n);
    ossl_auto(EVP_PKEY) ca = ossl_ec_key(256);
    ossl_auto(X509) x = X509_new();
    X509_gmtime_adj(X509_getm_notBefore(x), 0);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, X509_REQ_get0_pubkey(req));
    X509_sign(x, ca, EVP_sha256());
    assert_int_equal(ossl_cert_pem(x, out, NULL), TD_OK);
}

static void answer(struct server *s, const struct seen *q, struct buf *out)
{
    char u[64];
    const char *head = "HTTP/1.1 200 OK\r\n";
    buf_auto b;
    buf_init(&b, 65536);
    snprintf(u, sizeof(u), "http://127.0.0.1:%u", s->port);
    if (strcmp(q->path, "/dir") == 0) {
        buf_printf(&b, "{\"newNonce\":\"%s/nonce\",\"newAccount\":\"%s/account\",", u, u);
        buf_printf(&b, "\"newOrder\":\"%s/new-order\"}", u);
    } else if (strcmp(q->path, "/account") == 0) {
        head = "HTTP/1.1 201 Created\r\nLocation: urn:kid\r\n";
        buf_printf(&b, "{\"status\":\"valid\",\"orders\":\"%s/orders\"}", u);
    } else if (strcmp(q->path, "/new-order") == 0) {
        buf_printf(&b,
                   "{\"status\":\"pending\",\"identifiers\":[{\"type\":\"permanent-identifier\","
                   "\"value\":\"cid/1\"}],\"authorizations\":[\"%s/authz\"],"
                   "\"finalize\":\"%s/finalize\"}",
                   u, u);
    } else if (strcmp(q->path, "/authz") == 0) {
        buf_printf(&b,
                   "{\"status\":\"%s\",\"challenges\":[{\"type\":\"device-attest-01\","
                   "\"url\":\"%s/chall\",\"token\":\"TOKEN\"}]}",
                   s->authz_status, u);
    } else if (strcmp(q->path, "/chall") == 0) {
        buf_str(&b, s->challenge);
    } else if (strcmp(q->path, "/finalize") == 0 || strcmp(q->path, "/order") == 0) {
        buf_printf(&b, "{\"status\":\"valid\",\"certificate\":\"%s/cert\"}", u);
    } else if (strcmp(q->path, "/cert") == 0) {
        issue(s, &b);
    }
    char order[128] = "";
    if (strcmp(q->path, "/new-order") == 0)
        snprintf(order, sizeof(order), "HTTP/1.1 201 Created\r\nLocation: %s/order\r\n", u);
    buf_printf(out, "%sReplay-Nonce: nonce-%zu\r\nContent-Length: %zu\r\n\r\n",
               order[0] ? order : head, s->n, b.n);
    if (strcmp(q->method, "HEAD") != 0)
        buf_span(out, buf_view(&b));
}

static void *serve(void *arg)
{
    struct server *s = arg;
    buf_auto in, out;
    buf_init(&in, 262144);
    buf_init(&out, 262144);
    for (;;) {
        int c = accept(s->fd, NULL, NULL);
        if (c < 0)
            return NULL;
        s->connections++;
        while (s->n < MAX_REQUESTS && read_request(c, &in, &s->seen[s->n])) {
            struct seen *q = &s->seen[s->n++];
            buf_reset(&out);
            answer(s, q, &out);
            if (send(c, out.p, out.n, MSG_NOSIGNAL) < 0)
                break;
        }
        close(c);
    }
}

static void start(struct server *s)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(in);
    s->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(s->fd, (struct sockaddr *)&in, sizeof(in)), 0);
    assert_int_equal(listen(s->fd, 8), 0);
    assert_int_equal(getsockname(s->fd, (struct sockaddr *)&in, &n), 0);
    s->port = ntohs(in.sin_port);
    if (!s->authz_status)
        s->authz_status = "pending";
    if (!s->challenge)
        s->challenge = "{\"status\":\"valid\"}";
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void stop(struct server *s)
{
    if (s->fd <= 0)
        return;
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->fd);
}

static void drop(struct server *s)
{
    for (size_t i = 0; i < s->n; i++)
        buf_free(&s->seen[i].body);
}

/* --- runs --- */

static enum td_err run(struct server *s, enum acme_fault fault, struct acme_result *res,
                       struct refusal *why)
{
    char url[64];
    struct profile p = {
        .acme = {.directory = url, .client_id = "cid/1", .key_size = 256, .attest = true}};
    device_auto d = {0};
    http_auto http;
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/dir", s->port);
    http_init(&http, NULL, NULL, 5000);
    assert_int_equal(device_init(&d, "C02TEST", "Mac", NULL), TD_OK);
    struct acme_job job = {.http = &http,
                           .pki = pki,
                           .profile = &p,
                           .device = &d,
                           .fault = fault,
                           .error_text = "no \"service\""};
    enum td_err e = acme_run(&job, res, why, NULL);
    http_close(&http);
    stop(s); /* what it saw is ours now */
    return e;
}

static struct span part(struct server *s, size_t i, const char *name, struct arena *a)
{
    struct json *o = NULL;
    const char *v = NULL;
    struct span out = {0};
    assert_int_equal(json_parse(buf_view(&s->seen[i].body), a, &o, NULL), TD_OK);
    assert_int_equal(json_get_str(o, name, &v), TD_OK);
    if (!*v)
        return out;
    assert_int_equal(b64url_dec(a, span_str(v), &out), TD_OK);
    return out;
}

/* Apple's nine requests: methods, URLs, types, bodies, nonces, one connection. */
static void nine_requests(void **state)
{
    static const struct {
        const char *method, *path, *type, *body; /* body: of GET and HEAD; else the payload */
    } want[] = {
        {"GET", "/dir", "application/json", "{}"},
        {"HEAD", "/nonce", "application/json", "{}"},
        {"POST", "/account", "application/jose+json", "{\"termsOfServiceAgreed\":true}"},
        {"POST", "/new-order", "application/jose+json",
         "{\"identifiers\":[{\"type\":\"permanent-identifier\",\"value\":\"cid/1\"}]}"},
        {"POST", "/authz", "application/jose+json", ""},
        {"POST", "/chall", "application/jose+json", NULL},
        {"POST", "/finalize", "application/jose+json", NULL},
        {"POST", "/order", "application/jose+json", ""},
        {"POST", "/cert", "application/jose+json", ""},
    };
    struct server s = {0};
    struct acme_result res;
    struct refusal why = {0};
    arena_auto a;
    arena_init(&a, 4194304);
    (void)state;
    start(&s);
    assert_int_equal(run(&s, ACME_NO_FAULT, &res, &why), TD_OK);
    assert_non_null(res.cert);
    assert_int_equal(res.requests, 9);
    assert_int_equal(res.shortest, 64);
    assert_int_equal(s.n, TD_NITEMS(want));
    for (size_t i = 0; i < TD_NITEMS(want); i++) {
        assert_string_equal(s.seen[i].method, want[i].method);
        assert_string_equal(s.seen[i].path, want[i].path);
        assert_string_equal(s.seen[i].type, want[i].type);
        assert_string_equal(s.seen[i].agent, "com.apple.security.acmeclient/1.0");
        struct span body = i < 2 ? buf_view(&s.seen[i].body) : part(&s, i, "payload", &a);
        if (want[i].body)
            assert_true(span_eq_str(body, want[i].body));
        if (i < 2)
            continue;
        struct span head = part(&s, i, "protected", &a);
        char *nonce = arena_printf(&a, "\"nonce\":\"nonce-%zu\"", i);
        assert_non_null(memmem(head.p, head.n, nonce, strlen(nonce)));
        assert_int_equal(memmem(head.p, head.n, "\"jwk\":", 6) != NULL, i == 2);
        assert_int_equal(memmem(head.p, head.n, "\"kid\":\"urn:kid\"", 15) != NULL, i != 2);
    }
    assert_int_equal(s.connections, 1);
    acme_result_free(&res);
    drop(&s);
}

static void empty_x5c(void **state)
{
    struct server s = {.challenge = "{\"status\":\"invalid\",\"error\":{\"type\":"
                                    "\"urn:ietf:params:acme:error:badAttestationStatement\","
                                    "\"detail\":\"none\"}}"};
    struct acme_result res;
    struct refusal why = {0};
    arena_auto a;
    arena_init(&a, 4194304);
    (void)state;
    start(&s);
    assert_int_equal(run(&s, ACME_EMPTY_X5C, &res, &why), TD_FORBIDDEN);
    assert_string_equal(why.step, "acme challenge");
    assert_string_equal(why.type, "badAttestationStatement");
    assert_true(span_eq_str(part(&s, 5, "payload", &a),
                            "{\"attObj\":\"omNmbXRlYXBwbGVnYXR0U3RtdKFjeDVjgA\","
                            "\"error\":\"no \\\"service\\\"\"}"));
    assert_int_equal(s.n, 6);
    acme_result_free(&res);
    drop(&s);
}

static void replayed_nonce(void **state)
{
    struct server s = {0};
    struct acme_result res;
    struct refusal why = {0};
    arena_auto a;
    arena_init(&a, 4194304);
    (void)state;
    start(&s);
    assert_int_equal(run(&s, ACME_REPLAYED_NONCE, &res, &why), TD_OK); /* this server is lax */
    struct span head = part(&s, 3, "protected", &a);
    assert_non_null(memmem(head.p, head.n, "\"nonce\":\"nonce-2\"", 17));
    acme_result_free(&res);
    drop(&s);
}

static void short_signatures(void **state)
{
    struct server s = {0};
    struct acme_result res;
    struct refusal why = {0};
    (void)state;
    start(&s);
    assert_int_equal(run(&s, ACME_SHORT_SIGNATURE, &res, &why), TD_OK);
    assert_in_range(res.shortest, 40, 63);
    acme_result_free(&res);
    drop(&s);
}

/* The authorization must be pending: a reused valid one breaks Apple's client, and ours. */
static void authz_not_pending(void **state)
{
    struct server s = {.authz_status = "valid"};
    struct acme_result res;
    struct refusal why = {0};
    (void)state;
    start(&s);
    assert_int_equal(run(&s, ACME_NO_FAULT, &res, &why), TD_FORBIDDEN);
    assert_string_equal(why.step, "acme authorization");
    acme_result_free(&res);
    drop(&s);
}

/* A CSR over another key: the certificate that comes back is not over the device's. */
static void other_key(void **state)
{
    struct server s = {0};
    struct acme_result res;
    struct refusal why = {0};
    (void)state;
    start(&s);
    assert_int_equal(run(&s, ACME_CSR_OTHER_KEY, &res, &why), TD_FORBIDDEN);
    assert_string_equal(why.step, "acme certificate");
    assert_null(res.cert);
    acme_result_free(&res);
    drop(&s);
}

static void no_server(void **state)
{
    struct server s = {.port = 1};
    struct acme_result res;
    struct refusal why = {0};
    (void)state;
    assert_int_equal(run(&s, ACME_NO_FAULT, &res, &why), TD_UPSTREAM);
    assert_string_equal(why.step, "acme directory");
    assert_int_equal(why.status, 0);
    acme_result_free(&res);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nine_requests),     cmocka_unit_test(empty_x5c),
        cmocka_unit_test(replayed_nonce),    cmocka_unit_test(short_signatures),
        cmocka_unit_test(authz_not_pending), cmocka_unit_test(other_key),
        cmocka_unit_test(no_server),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
