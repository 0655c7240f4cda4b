#include "acme/signer/module.h"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "acme/signer/cadir.h"
#include "acme/signer/hsmproto.h"
#include "acme/signer/pkcs11.h"
#include "acme/signer/sandbox.h"
#include "mdm/base/rd.h"
#include "mdm/base/rng.h"

#define ARENA_MAX 65536
#define ID_SIZE 16
#define LABEL "testudo-issuing"

static enum td_err put_key(struct pkcs11 *p, const struct p11uri *u, struct buf *out,
                           struct errinfo *ei)
{
    arena_auto a;
    arena_init(&a, ARENA_MAX);
    key_auto *pub = NULL;
    uint32_t number;
    struct span spki;
    TD_TRY(pkcs11_key(p, u, &number, &pub, ei));
    TD_TRY(key_spki(pub, &a, &spki, ei));
    buf_u32(out, number);
    buf_u16(out, (uint16_t)spki.n);
    return buf_span(out, spki);
}

static enum td_err op_open(struct pkcs11 *p, struct span in, struct buf *out, struct errinfo *ei)
{
    struct p11uri u;
    TD_TRY(p11uri_parse(in, &u, ei));
    return put_key(p, &u, out, ei);
}

static enum td_err op_make(struct pkcs11 *p, struct span in, struct buf *out, struct errinfo *ei)
{
    struct p11uri u;
    TD_TRY(p11uri_parse(in, &u, ei));
    if (u.nid)
        return err_set(ei, TD_INVAL, "PKCS#11 URI: a new key gets an id of its own");
    if (!u.object[0])
        memcpy(u.object, LABEL, sizeof LABEL);
    u.nid = ID_SIZE;
    rng_fill(&rng_system, u.id, ID_SIZE);
    TD_TRY(pkcs11_make(p, &u, ei));
    TD_TRY(put_key(p, &u, out, ei));
    return p11uri_put(&u, out);
}

static enum td_err op_sign(struct pkcs11 *p, struct span in, struct buf *out, struct errinfo *ei)
{
    struct rd r = rd_init(in);
    uint32_t number = rd_u32(&r);
    struct span md = rd_span(&r, rd_left(&r));
    uint8_t rs[2 * 66];
    size_t n;
    TD_TRY(pkcs11_sign(p, number, md, rs, sizeof rs, &n, ei));
    return buf_add(out, rs, n);
}

static enum td_err answer(int fd, enum td_err e, const struct buf *body, const struct errinfo *ei)
{
    buf_auto b;
    buf_init(&b, HSMPROTO_MAX);
    buf_u8(&b, (uint8_t)e);
    if (e == TD_OK)
        buf_span(&b, buf_view(body));
    else
        buf_str(&b, err_msg(ei, e));
    return b.err == TD_OK ? hsmproto_send(fd, buf_view(&b)) : b.err;
}

/* One request; false when the process is of no more use. */
static bool serve_one(struct pkcs11 *p, int fd)
{
    static enum td_err (*const ops[])(struct pkcs11 *, struct span, struct buf *,
                                      struct errinfo *) = {
        [HSMPROTO_OPEN] = op_open, [HSMPROTO_MAKE] = op_make, [HSMPROTO_SIGN] = op_sign};
    uint8_t in[HSMPROTO_MAX];
    struct span s;
    struct errinfo ei = {0};
    buf_auto out;
    buf_init(&out, HSMPROTO_MAX - 1);
    if (hsmproto_recv(fd, -1, in, &s) != TD_OK)
        return false;
    enum td_err e = s.p[0] < TD_NITEMS(ops) && ops[s.p[0]]
                        ? ops[s.p[0]](p, span_sub(s, 1, SIZE_MAX), &out, &ei)
                        : TD_UNSUPPORTED;
    bool sent = answer(fd, e, &out, &ei) == TD_OK;
    return sent && e != TD_IO; /* a module that fails is loaded anew */
}

int module_serve(const struct hsm_conf *c, int fd)
{
    struct errinfo ei = {0};
    struct pkcs11 *p = NULL;
    secret_auto pin = {NULL, 0};
    buf_auto none;
    buf_init(&none, 1);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0 ||
        close_range((unsigned)fd + 1, ~0U, 0) != 0)
        return 1;
    enum td_err e = sandbox_no_dump(&ei);
    if (e == TD_OK)
        e = cadir_pass(c->pin_file && *c->pin_file ? c->pin_file : NULL, &pin, &ei);
    if (e == TD_OK)
        e = sandbox_module(&ei);
    if (e == TD_OK)
        e = pkcs11_open(c->module, &pin, &p, &ei);
    bool on = answer(fd, e, &none, &ei) == TD_OK && e == TD_OK;
    while (on && serve_one(p, fd))
        continue;
    pkcs11_close(p);
    return on ? 0 : 1;
}
