/* One client connection, plain or TLS, blocking with an idle timeout per read and write (the kind
 * of timeout Apple's URL loader has). */
#ifndef TD_SIM_TLS_H
#define TD_SIM_TLS_H

#include "tests/sim/ossl.h"

/* A client context that trusts the certificates of a PEM file alone. Shared by all threads; the
 * caller frees with SSL_CTX_free. */
enum td_err tls_ctx_new(const char *cacert, SSL_CTX **ret, struct errinfo *ei);

struct tls_conn {
    int fd; /* -1: closed */
    SSL *ssl;
};

struct tls_dial {
    SSL_CTX *ctx; /* NULL: plain TCP */
    const char *host, *port;
    X509 *cert; /* client identity, or NULL */
    EVP_PKEY *key;
    int timeout_ms;
};

/* Connects and, with TLS, shakes hands and checks the server's name. TD_TIMEOUT, TD_UPSTREAM
 * (refused, closed) or TD_CRYPTO (certificate). */
enum td_err tls_open(const struct tls_dial *d, struct tls_conn *ret, struct errinfo *ei);

/* Writes all. */
enum td_err tls_write(struct tls_conn *c, struct span s, struct errinfo *ei);

/* Reads at most n bytes; *ret_n 0 is the end of the stream. */
enum td_err tls_read(struct tls_conn *c, void *p, size_t n, size_t *ret_n, struct errinfo *ei);

void tls_close(struct tls_conn *c);

#endif
