/* A small HTTP/1.1 client that writes its requests by itself: bodies on GET and HEAD as Apple's
 * ACME client sends them, one kept connection per client. One thread per client. */
#ifndef TD_SIM_HTTP_H
#define TD_SIM_HTTP_H

#include "tests/sim/httpread.h"
#include "tests/sim/tls.h"

struct http_url {
    bool tls;
    char host[256], port[6];
    char target[4096]; /* path and query as written */
};

/* Splits "http[s]://host[:port]/path"; IPv6 literals in brackets. TD_PARSE. */
enum td_err http_url_parse(const char *url, struct http_url *ret, struct errinfo *ei);

struct http_client {
    SSL_CTX *tls; /* borrowed */
    X509 *cert;   /* client identity, borrowed, or NULL */
    EVP_PKEY *key;
    const char *user_agent;
    int timeout_ms;
    bool post_once;   /* as Apple's loader: a POST is not sent again on another connection */
    int retry_ms;     /* how long a request without an answer, or with 502 to 504, is sent again */
    unsigned retries; /* so far */
    /* private */
    struct tls_conn conn;
    struct http_url peer; /* of conn, when open */
    struct httpread rd;
};

/* Starts a client without an identity. */
void http_init(struct http_client *c, SSL_CTX *tls, const char *user_agent, int timeout_ms);

/* Closes the connection; the client can be used again (as after a change of identity). */
void http_close(struct http_client *c);

#define http_auto __attribute__((cleanup(http_close))) struct http_client

struct http_req {
    const char *method, *url;
    const char *content_type;               /* NULL: none */
    const char *accept;                     /* NULL: any */
    const char *header_name, *header_value; /* one more header, or NULL */
    struct span body;
    bool has_body; /* send Content-Length even for a method without a body */
};

/* Whether a device would try again later: no answer came, or one that says so (502 to 504). */
bool http_try_again(enum td_err e, int status);

/* Sends one request and reads the whole answer; *ret is initialised here, the caller frees it. A
 * kept connection that the server closed meanwhile is opened anew, once; with ->retry_ms the
 * request is sent again, ever less often, until then. */
enum td_err http_do(struct http_client *c, const struct http_req *req, struct httpread_resp *ret,
                    struct errinfo *ei);

#endif
