#include "acme/signer/hsmproto.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "mdm/base/rd.h"

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

enum td_err hsmproto_answer(struct span in, struct span *ret_body, struct errinfo *ei)
{
    if (in.n == 0)
        return err_set(ei, TD_IO, "the PKCS#11 module's process is gone");
    enum td_err code = in.p[0] < TD_ERR_MAX ? (enum td_err)in.p[0] : TD_INTERNAL;
    *ret_body = span_sub(in, 1, SIZE_MAX);
    return code == TD_OK ? TD_OK
                         : err_set(ei, code, "%.*s", (int)ret_body->n, (const char *)ret_body->p);
}

enum td_err hsmproto_key(struct span body, uint32_t *ret_number, struct key **ret_pub,
                         struct span *ret_rest, struct errinfo *ei)
{
    struct rd r = rd_init(body);
    *ret_number = rd_u32(&r);
    struct span spki = rd_span(&r, rd_u16(&r));
    *ret_rest = rd_span(&r, rd_left(&r));
    if (r.bad)
        return err_set(ei, TD_INTERNAL, "the module's answer is not readable");
    return key_from_spki_known(spki, ret_pub, ei);
}
