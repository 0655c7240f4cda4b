#include "acme/signer/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "acme/signer/checkpoint.h"
#include "acme/signer/crl.h"
#include "acme/signer/proto/issuer_life.h"
#include "acme/signer/responder.h"
#include "acme/signer/sandbox.h"
#include "mdm/base/limits.h"
#include "mdm/base/log.h"

#define BATCH 64
#define REQUEST_MAX LIMIT_SIGNER_MSG
#define ARENA_MAX (1 << 20)
#define LOCK_WAIT_MS 5000 /* the worker before this one may still be on its way out */
#define TAKEOVER_WAIT_MS 60000
#define RETRY_ROTATE 60
#define QUIET_MS 1100 /* a checkpoint a second is due by then */
#define WARN_EARLIER (30 * INT64_C(86400))

struct worker {
    const struct worker_opts *opts;
    struct cadir ca;
    struct audit_log audit;
    struct checkpoints marks;
    struct issuer issuer;
    struct responder responders[CADIR_ISSUING_MAX]; /* in the order of ca.issuing */
    struct crl_maker crls;
    struct arena arena;
    uint8_t *in; /* BATCH buffers of REQUEST_MAX + 1 bytes */
    struct mmsghdr msgs[BATCH], outs[BATCH];
    struct iovec iov[BATCH], out_iov[BATCH];
    struct buf reply[BATCH];
    uint64_t reply_id[BATCH];
    bool issued[BATCH];
    bool leaving;
};

static enum td_err send_one(int fd, const struct signer_msg *m)
{
    buf_auto b;
    buf_init(&b, LIMIT_SIGNER_MSG);
    TD_TRY(signer_msg_put(&b, m));
    ssize_t n;
    do
        n = send(fd, b.p, b.n, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? TD_IO : TD_OK;
}

static void say_fatal(const struct worker_opts *o, enum td_err e, const struct errinfo *ei)
{
    struct signer_msg m;
    signer_msg_refusal(&m, 0, e, ei);
    m.type = SIGNER_MSG_FATAL;
    m.generation = o->generation;
    log_ev(LOG_ERROR, "signer.start", KV("error", err_name(e)), KV("text", err_msg(ei, e)));
    if (send_one(o->fd, &m) != TD_OK)
        log_ev(LOG_WARN, "signer.channel", KV("state", "closed"));
}

static enum td_err say_hello(struct worker *w, struct errinfo *ei)
{
    struct signer_msg m = {.type = SIGNER_MSG_HELLO, .generation = w->opts->generation};
    m.u.hello = (struct signer_msg_hello){.root = cert_der(w->ca.root),
                                          .n = w->ca.n,
                                          .root_crl = w->ca.root_crl,
                                          .crl_url = span_str(w->ca.conf.crl_url),
                                          .crl_shards = (uint32_t)w->ca.conf.crl_shards};
    for (size_t i = 0; i < w->ca.n; i++)
        m.u.hello.issuers[i] = (struct signer_msg_issuer){
            cert_der(w->ca.issuing[i].cert), cert_der(responder_cert(&w->responders[i]))};
    if (send_one(w->opts->fd, &m) != TD_OK)
        return err_sys(ei, TD_IO, errno, "cannot send on the channel");
    return TD_OK;
}

static enum td_err say_ready(struct worker *w, struct errinfo *ei)
{
    struct signer_msg m = {.type = SIGNER_MSG_READY, .generation = w->opts->generation};
    if (send_one(w->opts->fd, &m) != TD_OK)
        return err_sys(ei, TD_IO, errno, "cannot send on the channel");
    return TD_OK;
}

/* Everything that takes memory later is taken now. */
static enum td_err make_room(struct worker *w, struct errinfo *ei)
{
    w->in = calloc(BATCH, REQUEST_MAX + 1);
    if (!w->in)
        return err_set(ei, TD_NOMEM, "no memory");
    for (size_t i = 0; i < BATCH; i++) {
        w->iov[i] = (struct iovec){w->in + i * (REQUEST_MAX + 1), REQUEST_MAX + 1};
        w->msgs[i].msg_hdr = (struct msghdr){.msg_iov = &w->iov[i], .msg_iovlen = 1};
        w->outs[i].msg_hdr = (struct msghdr){.msg_iov = &w->out_iov[i], .msg_iovlen = 1};
        buf_init(&w->reply[i], LIMIT_SIGNER_MSG);
    }
    arena_init(&w->arena, BATCH * ARENA_MAX);
    return TD_OK;
}

/* From here on the worker can answer and append, nothing else. */
static enum td_err close_off(const struct worker_opts *o, struct errinfo *ei)
{
    char now[CLOCK_TEXT_SIZE];
    int dir = -1;
    clock_text(clock_now(&clock_system), now); /* the C library reads its time zone now */
    TD_TRY(sandbox_dir(o->dir, &dir, ei));
    enum td_err e = o->user ? sandbox_drop(o->user, ei) : TD_OK;
    if (e == TD_OK)
        e = sandbox_enter(dir, ei);
    close(dir);
    return e;
}

/* An issuing CA that is about to end can issue nothing: the longest certificate would outlive it.
 * Outside its life it issues nothing at all; OCSP and CRLs go on. */
static void warn_life(const struct worker *w)
{
    const struct cadir_issuing *active = &w->ca.issuing[0];
    int64_t now = clock_now(&clock_system), left = cert_not_after(active->cert) - now;
    struct errinfo ei = {0};
    if (issuer_life(active->cert, now, &ei) != TD_OK)
        log_ev(LOG_ERROR, "signer.issues_nothing", KV("reason", ei.reason), KV("text", ei.msg));
    else if (left < cadir_longest(&w->ca.conf, &w->ca.profiles) + WARN_EARLIER)
        log_ev(LOG_WARN, "signer.issuer_ends", KV("issuer", active->hex),
               KV_I64("days_left", left / 86400), KV("do", "testudo ca rotate"));
}

static enum td_err start(struct worker *w, struct errinfo *ei)
{
    const struct worker_opts *o = w->opts;
    char log_path[CADIR_PATH_MAX];
    TD_TRY(sandbox_no_dump(ei));
    /* a module's process must not have them */
    if (fcntl(o->fd, F_SETFD, FD_CLOEXEC) != 0 ||
        (o->control >= 0 && fcntl(o->control, F_SETFD, FD_CLOEXEC) != 0))
        return err_sys(ei, TD_IO, errno, "cannot use the channel");
    TD_TRY(crypt_init(ei));
    TD_TRY(make_room(w, ei));
    TD_TRY(cadir_load(o->dir, o->pass_file, &w->ca, ei));
    hsm_detach(w->ca.access.hsm);
    warn_life(w);
    TD_TRY(cadir_path(o->dir, CADIR_AUDIT, log_path, ei));
    if (o->takeover)
        TD_TRY(say_ready(w, ei));
    int wait_ms = o->takeover ? TAKEOVER_WAIT_MS : LOCK_WAIT_MS;
    TD_TRY(audit_log_open(log_path, wait_ms, &w->audit, ei));
    issuer_init(&w->issuer, &w->ca, &w->audit, &clock_system, &rng_system);
    crl_maker_init(&w->crls, &clock_system);
    for (size_t i = 0; i < w->ca.n; i++)
        TD_TRY(responder_init(&w->responders[i], &w->ca.issuing[i], &w->issuer, ei));
    TD_TRY(checkpoints_open(log_path, cadir_name(CADIR_AUDIT), w->ca.audit_key, &w->marks, ei));
    TD_TRY(checkpoints_sign(&w->marks, &w->audit, true, ei));
    TD_TRY(close_off(o, ei));
    return say_hello(w, ei);
}

static void stop(struct worker *w)
{
    for (size_t i = 0; i < w->ca.n; i++)
        responder_free(&w->responders[i]);
    crl_maker_free(&w->crls);
    cadir_free(&w->ca);
    checkpoints_close(&w->marks);
    audit_log_close(&w->audit);
    for (size_t i = 0; i < BATCH; i++)
        buf_free(&w->reply[i]);
    arena_free(&w->arena);
    free(w->in);
}

static enum td_err ask_issue(struct worker *w, const struct signer_msg *m,
                             struct signer_msg_signed *ret, struct errinfo *ei)
{
    return issue_handle(&w->issuer, &m->u.issue, &w->arena, ret, ei);
}

static enum td_err ask_ocsp(struct worker *w, const struct signer_msg *m,
                            struct signer_msg_signed *ret, struct errinfo *ei)
{
    const struct cadir_issuing *by = cadir_find(&w->ca, m->u.ocsp.issuer);
    if (!by)
        return err_reason(ei, TD_FORBIDDEN, "certid-issuer", "no issuing CA of ours");
    struct responder *r = &w->responders[by - w->ca.issuing];
    return responder_handle(r, &m->u.ocsp, clock_now(&clock_system), &w->arena, ret, ei);
}

static enum td_err ask_crl(struct worker *w, const struct signer_msg *m,
                           struct signer_msg_signed *ret, struct errinfo *ei)
{
    return crl_handle(&w->crls, &w->issuer, &m->u.crl, &w->arena, ret, ei);
}

/* The requests there are. A type without a row is refused. */
static enum td_err (*const requests[SIGNER_MSG_TYPE_MAX])(struct worker *,
                                                          const struct signer_msg *,
                                                          struct signer_msg_signed *,
                                                          struct errinfo *) = {
    [SIGNER_MSG_ISSUE] = ask_issue,
    [SIGNER_MSG_OCSP] = ask_ocsp,
    [SIGNER_MSG_CRL] = ask_crl,
};

static enum td_err answer(struct worker *w, const struct signer_msg *m, enum td_err parsed,
                          struct signer_msg_signed *ret, struct errinfo *ei)
{
    if (parsed != TD_OK)
        return err_reason(ei, parsed, "message", "the signer does not know this message");
    if (m->generation != w->opts->generation)
        return err_reason(ei, TD_BUSY, "stale", "meant for an earlier signer");
    if (!requests[m->type])
        return err_reason(ei, TD_UNSUPPORTED, "message", "this message is not a request");
    return requests[m->type](w, m, ret, ei);
}

static void want_other(struct worker *w)
{
    if (w->opts->control >= 0 && write(w->opts->control, "R", 1) != 1)
        log_ev(LOG_ERROR, "signer.reload", KV("state", "the supervisor cannot be told"));
}

static void want_end(struct worker *w)
{
    w->leaving = true;
}

/* Messages that get no answer, true when this was one. */
static bool notice(struct worker *w, const struct signer_msg *m)
{
    static void (*const notices[SIGNER_MSG_TYPE_MAX])(struct worker *) = {
        [SIGNER_MSG_RELOAD] = want_other, [SIGNER_MSG_LEAVE] = want_end};
    if (!notices[m->type])
        return false;
    if (m->generation == w->opts->generation)
        notices[m->type](w);
    return true;
}

static enum td_err put_reply(struct worker *w, size_t i, enum td_err e,
                             const struct signer_msg_signed *made, const struct errinfo *ei)
{
    struct signer_msg out = {.type = SIGNER_MSG_SIGNED, .id = w->reply_id[i]};
    if (e == TD_OK && made->der.n == 0)
        out.type = SIGNER_MSG_MORE;
    else if (e == TD_OK)
        out.u.signed_ = *made;
    else
        signer_msg_refusal(&out, w->reply_id[i], e, ei);
    out.generation = w->opts->generation;
    buf_reset(&w->reply[i]);
    TD_TRY(signer_msg_put(&w->reply[i], &out));
    w->out_iov[i] = (struct iovec){w->reply[i].p, w->reply[i].n};
    return TD_OK;
}

static enum td_err handle(struct worker *w, size_t i)
{
    struct signer_msg m = {0};
    struct errinfo ei = {0};
    struct signer_msg_signed made = {0};
    enum td_err parsed = signer_msg_get(span_of(w->iov[i].iov_base, w->msgs[i].msg_len), &m);
    enum td_err e = answer(w, &m, parsed, &made, &ei);
    w->out_iov[i] = (struct iovec){NULL, 0};
    w->issued[i] = false;
    if (parsed == TD_OK && notice(w, &m))
        return TD_OK;
    w->reply_id[i] = m.id;
    w->issued[i] = e == TD_OK && (m.type == SIGNER_MSG_ISSUE || m.type == SIGNER_MSG_CRL);
    if (e != TD_OK)
        log_ev(LOG_WARN, "signer.refused", KV("error", err_name(e)), KV("text", err_msg(&ei, e)));
    return put_reply(w, i, e, &made, &ei);
}

/* Group commit: one sync for every certificate of the batch, before any of them leaves. */
static enum td_err commit(struct worker *w, size_t n)
{
    struct errinfo ei = {0};
    enum td_err e = audit_log_flush(&w->audit, &ei);
    if (e == TD_OK)
        return TD_OK;
    log_ev(LOG_ERROR, "signer.audit", KV("error", err_name(e)), KV("text", err_msg(&ei, e)));
    for (size_t i = 0; i < n; i++)
        if (w->issued[i])
            TD_TRY(put_reply(w, i, TD_IO, NULL, &ei));
    return e == TD_IO ? TD_OK : e;
}

/* Sends the answers there are, in order: a message without one leaves a gap. */
static enum td_err send_all(struct worker *w, size_t n)
{
    size_t have = 0;
    for (size_t i = 0; i < n; i++)
        if (w->out_iov[i].iov_len)
            w->outs[have++].msg_hdr.msg_iov = &w->out_iov[i];
    for (size_t sent = 0; sent < have;) {
        int k = sendmmsg(w->opts->fd, w->outs + sent, (unsigned)(have - sent), MSG_NOSIGNAL);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return TD_IO;
        sent += (size_t)k;
    }
    return TD_OK;
}

/* Whole datagrams with a header, or the two ends do not understand each other at all. */
static bool framed(const struct worker *w, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((w->msgs[i].msg_hdr.msg_flags & MSG_TRUNC) || w->msgs[i].msg_len > REQUEST_MAX ||
            w->msgs[i].msg_len < SIGNER_MSG_HEAD_SIZE)
            return false;
    return true;
}

/* The server shows when it ends. */
static void say_responder(struct worker *w, size_t i)
{
    struct signer_msg m = {.type = SIGNER_MSG_RESPONDER, .generation = w->opts->generation};
    memcpy(m.u.responder.issuer, w->ca.issuing[i].id, sizeof m.u.responder.issuer);
    m.u.responder.not_after = cert_not_after(responder_cert(&w->responders[i]));
    if (send_one(w->opts->fd, &m) != TD_OK)
        log_ev(LOG_WARN, "signer.channel", KV("state", "closed"));
    if (i == 0)
        warn_life(w); /* about once a week, in a server that runs for years */
}

/* False when the audit log is in an unknown state: only a new worker can read it anew. */
static bool rotate(struct worker *w)
{
    for (size_t i = 0; i < w->ca.n; i++) {
        struct errinfo ei = {0};
        int64_t before = w->responders[i].renew_at;
        enum td_err e = responder_rotate(&w->responders[i], &w->issuer, &ei);
        if (e == TD_OK && w->responders[i].renew_at != before)
            say_responder(w, i);
        if (e == TD_OK)
            continue;
        log_ev(LOG_ERROR, "signer.responder", KV("error", err_name(e)),
               KV("text", err_msg(&ei, e)));
        w->responders[i].renew_at = clock_now(&clock_system) + RETRY_ROTATE;
        if (e == TD_STATE)
            return false;
    }
    return true;
}

/* A checkpoint that cannot be written is missed by the next check, and said now; certificates are
 * recorded all the same. */
static void sign_mark(struct worker *w, bool now)
{
    struct errinfo ei = {0};
    enum td_err e = checkpoints_sign(&w->marks, &w->audit, now, &ei);
    if (e != TD_OK)
        log_ev(LOG_ERROR, "signer.checkpoint", KV("error", err_name(e)),
               KV("text", err_msg(&ei, e)));
}

/* When it becomes quiet, the last lines get their checkpoint. */
static void wait_quiet(struct worker *w)
{
    struct pollfd p = {.fd = w->opts->fd, .events = POLLIN};
    if (checkpoints_pending(&w->marks, &w->audit) && poll(&p, 1, QUIET_MS) == 0)
        sign_mark(w, false);
}

/* Receives what there is; 0 when the channel closed. */
static size_t receive(struct worker *w)
{
    int got;
    do
        got = recvmmsg(w->opts->fd, w->msgs, BATCH, MSG_WAITFORONE, NULL);
    while (got < 0 && errno == EINTR);
    size_t n = got > 0 && w->msgs[0].msg_len > 0 ? (size_t)got : 0;
    while (n > 0 && w->msgs[n - 1].msg_len == 0)
        n--; /* the channel closed behind these */
    return n;
}

static enum td_err serve(struct worker *w, size_t n)
{
    for (size_t i = 0; i < n; i++)
        TD_TRY(handle(w, i));
    TD_TRY(commit(w, n));
    return send_all(w, n);
}

static int loop(struct worker *w)
{
    while (!w->leaving) {
        wait_quiet(w);
        size_t n = receive(w);
        if (n == 0)
            return WORKER_EXIT_CLOSED;
        if (!framed(w, n)) {
            log_ev(LOG_ERROR, "signer.channel", KV("state", "framing error"));
            return WORKER_EXIT_BROKEN;
        }
        if (!rotate(w) || serve(w, n) != TD_OK || hsm_broken(w->ca.access.hsm))
            return WORKER_EXIT_BROKEN;
        sign_mark(w, false);
        arena_free(&w->arena);
    }
    return WORKER_EXIT_LEFT;
}

static int serve_all(struct worker *w)
{
    int status = loop(w);
    if (status != WORKER_EXIT_BROKEN)
        sign_mark(w, true);
    return status;
}

int worker_run(const struct worker_opts *o)
{
    struct errinfo ei = {0};
    struct worker *w = calloc(1, sizeof *w);
    if (!w || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) {
        free(w);
        return WORKER_EXIT_BROKEN;
    }
    w->opts = o;
    w->audit.fd = -1;
    w->marks.fd = -1;
    enum td_err e = start(w, &ei);
    int status = WORKER_EXIT_CONFIG;
    if (e != TD_OK)
        say_fatal(o, e, &ei);
    else
        status = serve_all(w);
    stop(w);
    free(w);
    return status;
}
