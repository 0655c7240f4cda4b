#include "tests/sim/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum td_err tls_ctx_new(const char *cacert, SSL_CTX **ret, struct errinfo *ei)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    if (!ctx)
        return ossl_fail(ei, "TLS");
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    if (SSL_CTX_load_verify_file(ctx, cacert) != 1) {
        SSL_CTX_free(ctx);
        return ossl_fail(ei, cacert);
    }
    *ret = ctx;
    return TD_OK;
}

static enum td_err net_fail(struct errinfo *ei, const char *what, int err)
{
    if (err == EAGAIN || err == EWOULDBLOCK || err == EINPROGRESS)
        return err_set(ei, TD_TIMEOUT, "%s: timed out", what);
    return err_sys(ei, TD_UPSTREAM, err, "%s", what);
}

static int try_addr(const struct addrinfo *ai, int timeout_ms, int *ret_errno)
{
    struct timeval tv = {timeout_ms / 1000, (timeout_ms % 1000) * 1000};
    int one = 1;
    int fd = socket(ai->ai_family, ai->ai_socktype | SOCK_CLOEXEC, ai->ai_protocol);
    if (fd < 0) {
        *ret_errno = errno;
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(fd, ai->ai_addr, ai->ai_addrlen) == 0)
        return fd;
    *ret_errno = errno;
    close(fd);
    return -1;
}

static enum td_err dial(const struct tls_dial *d, int *ret, struct errinfo *ei)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    int rc = getaddrinfo(d->host, d->port, &hints, &list);
    if (rc != 0)
        return err_set(ei, TD_UPSTREAM, "resolving %s: %s", d->host, gai_strerror(rc));
    int fd = -1, err = 0;
    for (struct addrinfo *ai = list; ai && fd < 0; ai = ai->ai_next)
        fd = try_addr(ai, d->timeout_ms, &err);
    freeaddrinfo(list);
    if (fd < 0)
        return net_fail(ei, "connecting", err);
    *ret = fd;
    return TD_OK;
}

/* The name the server's certificate must carry: an address or a DNS name. */
static bool expect_name(SSL *ssl, const char *host)
{
    unsigned char ip[16];
    if (inet_pton(AF_INET, host, ip) == 1 || inet_pton(AF_INET6, host, ip) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    char name[256]; /* OpenSSL's macro takes no const text */
    snprintf(name, sizeof(name), "%s", host);
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
}

static enum td_err shake_fail(SSL *ssl, int rc, struct errinfo *ei)
{
    int err = errno;
    int kind = SSL_get_error(ssl, rc);
    long verify = SSL_get_verify_result(ssl);
    if (verify != X509_V_OK) {
        ERR_clear_error();
        return err_set(ei, TD_CRYPTO, "TLS: server certificate: %s",
                       X509_verify_cert_error_string(verify));
    }
    if (kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE)
        return err_set(ei, TD_TIMEOUT, "TLS handshake: timed out");
    if (kind == SSL_ERROR_SYSCALL && err != 0)
        return net_fail(ei, "TLS handshake", err);
    ossl_fail(ei, "TLS handshake");
    return TD_UPSTREAM;
}

static enum td_err shake(const struct tls_dial *d, struct tls_conn *c, struct errinfo *ei)
{
    c->ssl = SSL_new(d->ctx);
    if (!c->ssl || SSL_set_fd(c->ssl, c->fd) != 1 || !expect_name(c->ssl, d->host))
        return ossl_fail(ei, "TLS");
    if (d->cert &&
        (SSL_use_certificate(c->ssl, d->cert) != 1 || SSL_use_PrivateKey(c->ssl, d->key) != 1))
        return ossl_fail(ei, "client certificate");
    errno = 0;
    int rc = SSL_connect(c->ssl);
    return rc == 1 ? TD_OK : shake_fail(c->ssl, rc, ei);
}

enum td_err tls_open(const struct tls_dial *d, struct tls_conn *ret, struct errinfo *ei)
{
    struct tls_conn c = {.fd = -1};
    TD_TRY(dial(d, &c.fd, ei));
    if (d->ctx) {
        enum td_err e = shake(d, &c, ei);
        if (e != TD_OK) {
            tls_close(&c);
            return e;
        }
    }
    *ret = c;
    return TD_OK;
}

enum td_err tls_write(struct tls_conn *c, struct span s, struct errinfo *ei)
{
    size_t done = 0;
    while (done < s.n) {
        size_t n = 0;
        errno = 0;
        if (c->ssl) {
            if (SSL_write_ex(c->ssl, s.p + done, s.n - done, &n) != 1) {
                int err = errno;
                ERR_clear_error();
                return net_fail(ei, "sending", err ? err : ECONNRESET);
            }
        } else {
            ssize_t w = send(c->fd, s.p + done, s.n - done, MSG_NOSIGNAL);
            if (w < 0)
                return net_fail(ei, "sending", errno);
            n = (size_t)w;
        }
        done += n;
    }
    return TD_OK;
}

static enum td_err ssl_read(struct tls_conn *c, void *p, size_t n, size_t *ret_n,
                            struct errinfo *ei)
{
    errno = 0;
    if (SSL_read_ex(c->ssl, p, n, ret_n) == 1)
        return TD_OK;
    int err = errno, kind = SSL_get_error(c->ssl, 0);
    *ret_n = 0;
    if (kind == SSL_ERROR_ZERO_RETURN)
        return TD_OK;
    if (kind == SSL_ERROR_WANT_READ)
        return err_set(ei, TD_TIMEOUT, "waiting for the answer: timed out");
    if (kind == SSL_ERROR_SYSCALL) {
        ERR_clear_error();
        return net_fail(ei, "reading", err ? err : ECONNRESET);
    }
    ossl_fail(ei, "reading");
    return TD_UPSTREAM;
}

enum td_err tls_read(struct tls_conn *c, void *p, size_t n, size_t *ret_n, struct errinfo *ei)
{
    if (c->ssl)
        return ssl_read(c, p, n, ret_n, ei);
    ssize_t r = recv(c->fd, p, n, 0);
    if (r < 0)
        return net_fail(ei, "reading", errno);
    *ret_n = (size_t)r;
    return TD_OK;
}

void tls_close(struct tls_conn *c)
{
    if (c->ssl) {
        SSL_shutdown(c->ssl);
        SSL_free(c->ssl);
        ERR_clear_error();
    }
    if (c->fd >= 0)
        close(c->fd);
    *c = (struct tls_conn){.fd = -1};
}
