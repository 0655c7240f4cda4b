#include "acme/signer/hsm.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "acme/signer/hsmproto.h"

#define SELF "/proc/self/exe"
#define CHILD_FD 3
#define START_MS 15000 /* modules that talk to a machine far away take their time */
#define SIGN_MS 5000   /* less than testudo waits for a signature */

struct hsm {
    int fd;
    pid_t pid; /* 0: not ours to wait for any more */
    bool broken;
};

struct module_key {
    struct hsm *hsm;
    uint32_t number;
};

static enum td_err spawn(const struct hsm_conf *c, int theirs, pid_t *ret, struct errinfo *ei)
{
    const char *argv[] = {"testudo-signer", "module",  "--dir",      "/",         "--fd", "3",
                          "--module",       c->module, "--pin-file", c->pin_file, NULL};
    union {
        const char **in;
        char *const *out;
    } deconst = {.in = argv}; /* posix_spawn's prototype predates const */
    posix_spawn_file_actions_t fa;
    if (posix_spawn_file_actions_init(&fa) != 0)
        return err_set(ei, TD_NOMEM, "no memory");
    int rc = posix_spawn_file_actions_adddup2(&fa, theirs, CHILD_FD);
    if (rc == 0)
        rc = posix_spawn(ret, SELF, &fa, NULL, deconst.out, environ);
    posix_spawn_file_actions_destroy(&fa);
    return rc == 0 ? TD_OK : err_sys(ei, TD_IO, rc, "cannot start the module's process");
}

/* Sends (when there is something) and waits for the answer; its bytes behind the code in *ret. */
static enum td_err ask(struct hsm *h, struct span request, int ms, uint8_t in[static HSMPROTO_MAX],
                       struct span *ret, struct errinfo *ei)
{
    struct span s = {NULL, 0};
    enum td_err e = h->broken ? TD_IO : TD_OK;
    if (e == TD_OK && request.n)
        e = hsmproto_send(h->fd, request);
    if (e == TD_OK)
        e = hsmproto_recv(h->fd, ms, in, &s);
    if (e != TD_OK) {
        h->broken = true; /* an answer that comes late would be taken for the next one's */
        return err_set(ei, e,
                       e == TD_TIMEOUT ? "the PKCS#11 module does not answer"
                                       : "the PKCS#11 module's process is gone");
    }
    return hsmproto_answer(s, ret, ei);
}

enum td_err hsm_start(const struct hsm_conf *c, struct hsm **ret, struct errinfo *ei)
{
    int pair[2];
    struct hsm *h = calloc(1, sizeof *h);
    if (!h)
        return err_set(ei, TD_NOMEM, "no memory");
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        free(h);
        return err_sys(ei, TD_IO, errno, "cannot make a socket for the PKCS#11 module");
    }
    h->fd = pair[0];
    enum td_err e = TD_OK;
    if (pair[1] == CHILD_FD) { /* dup2 onto itself would leave close-on-exec set */
        int up = fcntl(pair[1], F_DUPFD_CLOEXEC, CHILD_FD + 1);
        close(pair[1]);
        pair[1] = up;
        if (up < 0)
            e = err_sys(ei, TD_IO, errno, "cannot start the module's process");
    }
    if (e == TD_OK)
        e = spawn(c, pair[1], &h->pid, ei);
    if (pair[1] >= 0)
        close(pair[1]);
    uint8_t in[HSMPROTO_MAX];
    struct span hello;
    if (e == TD_OK)
        e = ask(h, (struct span){NULL, 0}, START_MS, in, &hello, ei);
    if (e != TD_OK) {
        hsm_stop(h);
        return e;
    }
    *ret = h;
    return TD_OK;
}

void hsm_detach(struct hsm *h)
{
    if (h)
        h->pid = 0;
}

bool hsm_broken(const struct hsm *h)
{
    return h && h->broken;
}

void hsm_stop(struct hsm *h)
{
    if (!h)
        return;
    close(h->fd);
    if (h->pid > 0 && h->broken)
        kill(h->pid, SIGKILL); /* our own child, not yet waited for */
    while (h->pid > 0 && waitpid(h->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    free(h);
}

static enum td_err sign(void *ctx, struct span md, uint8_t *rs, size_t nrs, struct errinfo *ei)
{
    struct module_key *k = ctx;
    uint8_t in[HSMPROTO_MAX];
    struct span got = {NULL, 0};
    buf_auto b;
    buf_init(&b, HSMPROTO_MAX);
    buf_u8(&b, HSMPROTO_SIGN);
    buf_u32(&b, k->number);
    TD_TRY(buf_span(&b, md));
    TD_TRY(ask(k->hsm, buf_view(&b), SIGN_MS, in, &got, ei));
    if (!got.p || got.n != nrs)
        return err_set(ei, TD_CRYPTO, "the module's signature has %zu bytes", got.n);
    memcpy(rs, got.p, nrs);
    return TD_OK;
}

static enum td_err key_of(struct hsm *h, struct span body, struct key **ret, struct span *ret_rest,
                          struct errinfo *ei)
{
    uint32_t number;
    key_auto *pub = NULL;
    TD_TRY(hsmproto_key(body, &number, &pub, ret_rest, ei));
    struct module_key *k = calloc(1, sizeof *k);
    if (!k)
        return err_set(ei, TD_NOMEM, "no memory");
    *k = (struct module_key){h, number};
    const struct key_module m = {sign, free, k};
    return key_from_module(pub, &m, ret, ei);
}

static enum td_err by_uri(struct hsm *h, enum hsmproto_op op, const char *uri,
                          uint8_t in[static HSMPROTO_MAX], struct span *ret, struct errinfo *ei)
{
    buf_auto b;
    buf_init(&b, HSMPROTO_MAX);
    buf_u8(&b, (uint8_t)op);
    if (buf_str(&b, uri) != TD_OK || strlen(uri) >= HSM_URI_MAX)
        return err_set(ei, TD_LIMIT, "the PKCS#11 URI is too long");
    return ask(h, buf_view(&b), START_MS, in, ret, ei);
}

enum td_err hsm_open_key(struct hsm *h, const char *uri, struct key **ret, struct errinfo *ei)
{
    uint8_t in[HSMPROTO_MAX];
    struct span got = {NULL, 0}, rest;
    TD_TRY(by_uri(h, HSMPROTO_OPEN, uri, in, &got, ei));
    return key_of(h, got, ret, &rest, ei);
}

enum td_err hsm_make_key(struct hsm *h, const char *uri, char ret_uri[static HSM_URI_MAX],
                         struct key **ret, struct errinfo *ei)
{
    uint8_t in[HSMPROTO_MAX];
    struct span got = {NULL, 0}, text;
    TD_TRY(by_uri(h, HSMPROTO_MAKE, uri, in, &got, ei));
    TD_TRY(key_of(h, got, ret, &text, ei));
    if (text.n == 0 || text.n >= HSM_URI_MAX) {
        key_free(*ret);
        *ret = NULL;
        return err_set(ei, TD_INTERNAL, "the module's answer is not readable");
    }
    memcpy(ret_uri, text.p, text.n);
    ret_uri[text.n] = 0;
    return TD_OK;
}
