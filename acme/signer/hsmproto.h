/* The datagrams between the worker and the process that holds a PKCS#11 module. One request, one
 * answer. A request is an operation and its bytes; an answer is a code and its bytes: text when it
 * is an error. */
#ifndef TD_ACME_SIGNER_HSMPROTO_H
#define TD_ACME_SIGNER_HSMPROTO_H

#include "mdm/base/buf.h"
#include "mdm/crypt/key.h"

#define HSMPROTO_MAX 4096

enum hsmproto_op {
    HSMPROTO_OPEN = 1, /* URI -> number (u32), length (u16) and SPKI */
    HSMPROTO_MAKE,     /* URI -> the same, then the URI of the new key */
    HSMPROTO_SIGN,     /* number (u32), digest -> R || S */
};

/* Sends one datagram; TD_IO when the other end is gone. */
TD_NODISCARD enum td_err hsmproto_send(int fd, struct span s);

/* Waits up to ms (-1: for ever) for one of at most HSMPROTO_MAX bytes, into out. TD_TIMEOUT, TD_IO
 * when the other end is gone or the datagram is longer. */
TD_NODISCARD enum td_err hsmproto_recv(int fd, int ms, uint8_t out[static HSMPROTO_MAX],
                                       struct span *ret);

/* An answer: its code, which comes back, and its bytes. A code that is none of ours is TD_INTERNAL;
 * nothing at all is TD_IO. */
TD_NODISCARD enum td_err hsmproto_answer(struct span in, struct span *ret_body, struct errinfo *ei);

/* The bytes of an answer to OPEN or MAKE: the key, which the caller frees, its number and what
 * stands behind it. */
TD_NODISCARD enum td_err hsmproto_key(struct span body, uint32_t *ret_number, struct key **ret_pub,
                                      struct span *ret_rest, struct errinfo *ei);

#endif
