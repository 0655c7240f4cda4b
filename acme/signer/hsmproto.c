#include "acme/signer/hsmproto.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

enum td_err hsmproto_send(int fd, struct span s)
{
    ssize_t n;
    do
        n = send(fd, s.p, s.n, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)s.n ? TD_OK : TD_IO;
}

enum td_err hsmproto_recv(int fd, int ms, uint8_t out[static HSMPROTO_MAX], struct span *ret)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int ready;
    do
        ready = poll(&p, 1, ms);
    while (ready < 0 && errno == EINTR);
    if (ready <= 0)
        return ready == 0 ? TD_TIMEOUT : TD_IO;
    ssize_t n;
    do
        n = recv(fd, out, HSMPROTO_MAX, MSG_TRUNC);
    while (n < 0 && errno == EINTR);
    if (n <= 0 || n > HSMPROTO_MAX)
        return TD_IO;
    *ret = span_of(out, (size_t)n);
    return TD_OK;
}
