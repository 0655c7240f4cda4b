#include "tests/unit/sim/simtest.h"

#include "mdm/base/b64.h"
#include "mdm/base/num.h"
#include "tests/sim/mdm.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <sys/socket.h>

/* An MDM server that answers by a script, one answer per request, the last one for ever. */
enum { REQUESTS = 16 };

struct server {
    int fd;
    unsigned port;
    pthread_t thread;
    const char *const *script;
    size_t nscript, n;
    char head[REQUESTS][1024]; /* cut */
    struct buf body[REQUESTS];
    char signature[16384]; /* of the first request */
};

#define EMPTY "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
#define COMMAND(uuid, inner)                                                                       \
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?><plist "                                            \
    "version=\"1.0\"><dict><key>CommandUUID</key>"                                                 \
    "<string>" uuid "</string><key>Command</key><dict>" inner "</dict></dict></plist>"
#define TYPE(t) "<key>RequestType</key><string>" t "</string>"

static struct device dev;

static int setup(void **state)
{
    (void)state;
    if (device_init(&dev, "C02MDM", "iPhone", NULL) != TD_OK)
        return -1;
    dev.key = ossl_ec_key(256);
    dev.cert = X509_new();
    X509_set_version(dev.cert, X509_VERSION_3);
    X509_NAME *n = X509_get_subject_name(dev.cert);
    X509_NAME_add_entry_by_txt(n, "CN", MBSTRING_UTF8, (const unsigned char *)"C02MDM", -1, -1, 0);
    X509_set_issuer_name(dev.cert, n);
    X509_gmtime_adj(X509_getm_notBefore(dev.cert), -60);
    X509_gmtime_adj(X509_getm_notAfter(dev.cert), 3600);
    X509_set_pubkey(dev.cert, dev.key);
    X509_sign(dev.cert, dev.key, EVP_sha256());
    return device_set(&dev.profile_identifier, "org.example.mdm") == TD_OK &&
                   device_set(&dev.profile_uuid, "U") == TD_OK &&
                   device_set(&dev.profile_name, "N") == TD_OK &&
                   device_set(&dev.topic, "com.apple.mgmt.x") == TD_OK
               ? 0
               : -1;
}

static int teardown(void **state)
{
    (void)state;
    device_free(&dev);
    return 0;
}

static bool read_request(int c, struct server *s)
{
    char tmp[2048];
    uint64_t want = 0;
    const char *end = NULL;
    buf_auto in;
    buf_init(&in, 262144);
    while (!end) {
        ssize_t n = recv(c, tmp, sizeof(tmp), 0);
        if (n <= 0)
            return false;
        buf_add(&in, tmp, (size_t)n);
        end = strstr(buf_cstr(&in), "\r\n\r\n");
    }
    size_t skip = (size_t)(end - buf_cstr(&in)) + 4;
    const char *len = strstr(buf_cstr(&in), "\r\nContent-Length: ") + 18;
    const char *sig = strstr(buf_cstr(&in), "\r\nMdm-Signature: ");
    if (num_u64(span_of(len, strcspn(len, "\r")), 65536, &want) != TD_OK)
        return false;
    if (sig && s->n == 0)
        snprintf(s->signature, sizeof(s->signature), "%.*s", (int)strcspn(sig + 17, "\r"),
                 sig + 17);
    snprintf(s->head[s->n], sizeof(s->head[0]), "%.*s",
             skip < sizeof(s->head[0]) ? (int)skip : (int)sizeof(s->head[0]) - 1, buf_cstr(&in));
    while (in.n - skip < want) {
        ssize_t n = recv(c, tmp, sizeof(tmp), 0);
        if (n <= 0)
            return false;
        buf_add(&in, tmp, (size_t)n);
    }
    buf_init(&s->body[s->n], 65536);
    buf_add(&s->body[s->n], in.p + skip, want);
    return true;
}

static void *serve(void *arg)
{
    struct server *s = arg;
    for (;;) {
        int c = accept(s->fd, NULL, NULL);
        if (c < 0)
            return NULL;
        while (s->n < REQUESTS && read_request(c, s)) {
            const char *say = s->script[s->n < s->nscript ? s->n : s->nscript - 1];
            char head[96] = "";
            s->n++;
            if (strncmp(say, "HTTP/", 5) != 0)
                snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n",
                         strlen(say));
            if (send(c, head, strlen(head), MSG_NOSIGNAL | MSG_MORE) < 0 ||
                send(c, say, strlen(say), MSG_NOSIGNAL) < 0)
                break;
        }
        close(c);
    }
}

static void start(struct server *s, const char *const *script, size_t n)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(in);
    char url[64];
    s->script = script;
    s->nscript = n;
    s->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(s->fd, (struct sockaddr *)&in, sizeof(in)), 0);
    assert_int_equal(listen(s->fd, 8), 0);
    assert_int_equal(getsockname(s->fd, (struct sockaddr *)&in, &len), 0);
    s->port = ntohs(in.sin_port);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/mdm", s->port);
    assert_int_equal(device_set(&dev.server_url, url), TD_OK);
    assert_int_equal(device_set(&dev.checkin_url, url), TD_OK);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
    dev.removed = dev.checkout_when_removed = dev.sign_message = false;
}

/* One session against the script; the server has ended when this returns. */
static enum td_err session(struct server *s, const char *const *script, size_t n,
                           const char *const *notnow, struct mdm_counts *counts, bool *changed)
{
    struct mdm m;
    start(s, script, n);
    *counts = (struct mdm_counts){0};
    *changed = false;
    mdm_init(&m, &dev, NULL, NULL, MDM_AUTH_PROFILE, 5000);
    m.notnow = notnow;
    m.nnotnow = notnow ? 1 : 0;
    dev.checkout_when_removed = true;
    enum td_err e = mdm_session(&m, counts, changed, NULL);
    mdm_free(&m);
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->fd);
    return e;
}

static void drop(struct server *s)
{
    for (size_t i = 0; i < s->n; i++)
        buf_free(&s->body[i]);
}

static const char *reported(struct server *s, size_t i, const char *key, struct arena *a)
{
    struct plist *p = NULL;
    const char *v = "";
    assert_true(i < s->n);
    assert_int_equal(plist_parse(buf_view(&s->body[i]), a, &p, NULL), TD_OK);
    return plist_str(p, key, a, &v) == TD_OK ? v : "";
}

static void idle(void **state)
{
    static const char *const script[] = {EMPTY};
    struct server s = {0};
    struct mdm_counts n;
    bool changed = false;
    arena_auto a;
    arena_init(&a, 4194304);
    (void)state;
    assert_int_equal(session(&s, script, 1, NULL, &n, &changed), TD_OK);
    assert_int_equal(s.n, 1);
    assert_false(changed);
    assert_string_equal(reported(&s, 0, "Status", &a), "Idle");
    assert_string_equal(reported(&s, 0, "UDID", &a), dev.udid);
    assert_non_null(strstr(s.head[0], "PUT /mdm HTTP/1.1"));
    assert_non_null(
        strstr(s.head[0], "Content-Type: application/x-apple-aspen-mdm; charset=UTF-8\r\n"));
    drop(&s);
}

static void commands_then_removal(void **state)
{
    static const char *const script[] = {
        COMMAND("A", TYPE("SecurityInfo")), COMMAND("B", TYPE("NoSuchCommand")),
        COMMAND("C", TYPE("RemoveProfile") "<key>Identifier</key><string>org.example.mdm</string>"),
        EMPTY};
    struct server s = {0};
    struct mdm_counts n;
    bool changed = false;
    arena_auto a;
    arena_init(&a, 4194304);
    (void)state;
    assert_int_equal(session(&s, script, 4, NULL, &n, &changed), TD_OK);
    assert_int_equal(s.n, 5); /* Idle, three reports, CheckOut */
    assert_int_equal(n.commands, 3);
    assert_int_equal(n.errors, 1);
    assert_true(changed && dev.removed);
    assert_string_equal(reported(&s, 1, "CommandUUID", &a), "A");
    assert_string_equal(reported(&s, 2, "Status", &a), "Error");
    assert_string_equal(reported(&s, 3, "Status", &a), "Acknowledged");
    assert_string_equal(reported(&s, 4, "MessageType", &a), "CheckOut");
    drop(&s);
}

/* A command is put off once in a session; served again in the same session, it is executed. */
static void notnow_once(void **state)
{
    static const char *const script[] = {COMMAND("A", TYPE("SecurityInfo")),
                                         COMMAND("A", TYPE("SecurityInfo")), EMPTY};
    static const char *const notnow[] = {"SecurityInfo"};
    struct server s = {0};
    struct mdm_counts n;
    bool changed = false;
    arena_auto a;
    arena_init(&a, 4194304);
    (void)state;
    assert_int_equal(session(&s, script, 3, notnow, &n, &changed), TD_OK);
    assert_string_equal(reported(&s, 1, "Status", &a), "NotNow");
    assert_string_equal(reported(&s, 2, "Status", &a), "Acknowledged");
    assert_int_equal(n.notnow, 1);
    drop(&s);
}

/* What takes the enrolment away, and what does not. */
static void answers_that_decide(void **state)
{
    static const struct {
        const char *answer;
        enum td_err e;
        bool removed;
    } rows[] = {
        {"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", TD_FORBIDDEN, true},
        {"HTTP/1.1 403 Forbidden\r\nContent-Length: 40\r\n\r\n"
         "{\"code\":\"com.apple.unrecognized.device\"}",
         TD_FORBIDDEN, true},
        {"HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: 40\r\n\r\n"
         "{\"code\":\"com.apple.unrecognized.device\"}",
         TD_FORBIDDEN, true},
        {"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", TD_FORBIDDEN, false},
        {"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", TD_FORBIDDEN, false},
        {"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n", TD_FORBIDDEN, false},
        {"HTTP/1.1 garbage\r\n\r\n", TD_PARSE, false},
        {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", TD_FORBIDDEN, false},
        {"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n<plist/>", TD_FORBIDDEN, false},
    };
    (void)state;
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct server s = {0};
        struct mdm_counts n;
        bool changed = false;
        assert_int_equal(session(&s, &rows[i].answer, 1, NULL, &n, &changed), rows[i].e);
        assert_int_equal(dev.removed, rows[i].removed);
        assert_int_equal(changed, rows[i].removed);
        drop(&s);
    }
}

/* Mdm-Signature is a detached CMS over the exact body. */
static void signature(void **state)
{
    static const char *const script[] = {EMPTY};
    struct server s = {0};
    struct mdm m;
    struct span der = {0};
    arena_auto a;
    arena_init(&a, 4194304);
    (void)state;
    start(&s, script, 1);
    mdm_init(&m, &dev, NULL, NULL, MDM_AUTH_SIGNATURE, 5000);
    assert_null(m.http.cert); /* no client certificate then */
    assert_int_equal(mdm_token_update(&m, NULL), TD_OK);
    mdm_free(&m);
    shutdown(s.fd, SHUT_RDWR);
    pthread_join(s.thread, NULL);
    close(s.fd);
    assert_non_null(strstr(s.head[0], "application/x-apple-aspen-mdm-checkin\r\n"));
    assert_int_equal(b64_dec(&a, span_str(s.signature), &der), TD_OK);
    const unsigned char *p = der.p;
    ossl_auto(CMS_ContentInfo) c = d2i_CMS_ContentInfo(NULL, &p, (long)der.n);
    assert_non_null(c);
    for (int flip = 0; flip < 2; flip++) {
        s.body[0].p[20] ^= (uint8_t)flip;
        ossl_auto(BIO) in = BIO_new_mem_buf(s.body[0].p, (int)s.body[0].n);
        assert_int_equal(
            CMS_verify(c, NULL, NULL, in, NULL, CMS_BINARY | CMS_NO_SIGNER_CERT_VERIFY), !flip);
    }
    drop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idle),        cmocka_unit_test(commands_then_removal),
        cmocka_unit_test(notnow_once), cmocka_unit_test(answers_that_decide),
        cmocka_unit_test(signature),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
