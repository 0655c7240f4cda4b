/* Listening sockets, TCP and unix. */
#ifndef TD_WEB_HTTP_LISTEN_H
#define TD_WEB_HTTP_LISTEN_H

#include <sys/socket.h>

#include "mdm/base/err.h"
#include "mdm/base/span.h"

struct http_sock {
    int fd;        /* -1 when not open */
    bool local;    /* unix socket */
    unsigned port; /* TCP */
    char path[108];
};

/* Opens "127.0.0.1:8443", "[::]:8443" or "unix:/path": bound, listening, non-blocking, closed on
 * exec. A unix socket has mode 0660; a stale one is replaced, a live one is TD_INVAL. */
TD_NODISCARD enum td_err http_sock_open(const char *address, struct http_sock *ret,
                                        struct errinfo *ei);

/* Closes, and removes a unix socket's file. */
void http_sock_close(struct http_sock *s);

#define HTTP_ADDR_SIZE 64

/* "192.0.2.1:4711", "[2001:db8::1]:4711" or "unix". */
void http_addr_text(const struct sockaddr *sa, char out[static HTTP_ADDR_SIZE]);

#endif
