#include "acme/ca/signer_client.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "acme/ca/signer_spawn.h"
#include "acme/signer/proto/signer_msg.h"
#include "mdm/base/clock.h"
#include "mdm/base/limits.h"
#include "mdm/base/log.h"
#include "mdm/base/metrics.h"

#define SLOTS 256 /* requests in flight; more than there are worker threads */
#define SLOT_BITS 8
#define DEADLINE_MS 10000
#define START_MS 60000 /* keys are deciphered first, on purpose slowly, maybe on a busy machine */
#define LEAVE_MS 10000
#define RELOAD_MS START_MS
#define READ_BATCH 16
#define SEND_STEP_MS 100

_Static_assert(SIGNER_ISSUING_MAX == SIGNER_MSG_ISSUERS_MAX, "room for every issuing CA");
_Static_assert(CERT_SKI_SIZE == SIGNER_MSG_ISSUER_SIZE, "one size of identifiers");
_Static_assert(SLOTS == 1 << SLOT_BITS, "a slot number fits its bits");

enum slot_state { SLOT_FREE, SLOT_WAITING, SLOT_ANSWERED, SLOT_LOST };

/* How far a reload is. */
enum reload { RELOAD_NONE, RELOAD_ASKED, RELOAD_READY, RELOAD_REFUSED };

/* A request in flight. Its thread waits on `cond`; the reader fills `reply`. */
struct slot {
    enum slot_state state;
    uint64_t id;
    uint8_t *reply;
    size_t nreply;
    pthread_cond_t cond;
};

struct signer_client {
    int fd;
    pid_t pid;
    pthread_t reader;
    bool reading;
    atomic_bool up;

    pthread_mutex_t mu;  /* guards all below */
    pthread_cond_t news; /* up, fatal or closed changed */
    bool closed, hello_seen, failed;
    bool paused; /* new requests wait */
    enum reload reload;
    enum td_err fatal_code;
    char fatal_text[160];
    uint32_t generation;
    uint64_t sequence;
    struct signer_certs certs;
    struct slot slots[SLOTS];
    unsigned char free_slots[SLOTS];
    size_t nfree;
};

/* --- starting and stopping --- */

static void cond_init(pthread_cond_t *c)
{
    pthread_condattr_t at;
    pthread_condattr_init(&at);
    pthread_condattr_setclock(&at, CLOCK_MONOTONIC);
    pthread_cond_init(c, &at);
    pthread_condattr_destroy(&at);
}

enum td_err signer_client_start(const char *program, const char *dir, const char *pass_file,
                                struct signer_client **ret, struct errinfo *ei)
{
    return signer_client_start_as(program, dir, pass_file, NULL, ret, ei);
}

enum td_err signer_client_start_as(const char *program, const char *dir, const char *pass_file,
                                   const char *user, struct signer_client **ret, struct errinfo *ei)
{
    struct signer_client *c = calloc(1, sizeof *c);
    if (!c)
        return err_set(ei, TD_NOMEM, "no memory");
    struct signer_spawn s = {program, dir, pass_file, user};
    enum td_err e = signer_spawn(&s, &c->fd, &c->pid, ei);
    if (e != TD_OK) {
        free(c);
        return e;
    }
    pthread_mutex_init(&c->mu, NULL);
    cond_init(&c->news);
    for (size_t i = 0; i < SLOTS; i++) {
        cond_init(&c->slots[i].cond);
        c->free_slots[c->nfree++] = (unsigned char)(SLOTS - 1 - i);
    }
    *ret = c;
    return TD_OK;
}

void signer_client_stop(struct signer_client *c)
{
    if (!c)
        return;
    shutdown(c->fd, SHUT_RDWR);
    if (c->reading)
        pthread_join(c->reader, NULL);
    close(c->fd);
    signer_spawn_reap(c->pid, LEAVE_MS);
    for (size_t i = 0; i < SLOTS; i++) {
        free(c->slots[i].reply);
        pthread_cond_destroy(&c->slots[i].cond);
    }
    pthread_cond_destroy(&c->news);
    pthread_mutex_destroy(&c->mu);
    signer_certs_free(&c->certs);
    free(c);
}

/* --- what arrives (reader thread, mutex held) --- */

static void lose_all(struct signer_client *c)
{
    for (size_t i = 0; i < SLOTS; i++) {
        struct slot *s = &c->slots[i];
        if (s->state != SLOT_WAITING)
            continue;
        s->state = SLOT_LOST;
        pthread_cond_signal(&s->cond);
    }
}

/* Takes what the hello says. The root never changes under a running server: a signer that comes
 * back with another is not used. */
static bool take_ca(struct signer_client *c, const struct signer_msg_hello *h)
{
    struct errinfo ei = {0};
    struct signer_certs fresh = {.n = h->n, .crl_shards = h->crl_shards};
    snprintf(fresh.crl_url, sizeof fresh.crl_url, "%.*s", (int)h->crl_url.n,
             (const char *)h->crl_url.p);
    buf_init(&fresh.root_crl, LIMIT_SIGNER_MSG);
    enum td_err e = cert_parse(h->root, &fresh.root, &ei);
    if (e == TD_OK)
        e = buf_span(&fresh.root_crl, h->root_crl);
    for (size_t i = 0; e == TD_OK && i < h->n; i++)
        e = cert_parse(h->issuers[i].cert, &fresh.issuing[i], &ei);
    if (e != TD_OK)
        log_ev(LOG_ERROR, "signer.hello", KV("error", err_msg(&ei, e)));
    bool ok = e == TD_OK && (!c->certs.n || span_eq(cert_der(c->certs.root), h->root));
    if (ok) {
        signer_certs_free(&c->certs);
        c->certs = fresh;
    } else {
        signer_certs_free(&fresh);
    }
    return ok;
}

/* Shown for the active CA's alone. */
static void responder_ends(const struct signer_client *c, const uint8_t issuer[CERT_SKI_SIZE],
                           int64_t not_after)
{
    uint8_t id[CERT_SKI_SIZE];
    if (c->certs.n && cert_ski(c->certs.issuing[0], id) && memcmp(id, issuer, sizeof id) == 0)
        metrics_set(METRIC_CA_RESPONDER_END, not_after);
}

static void on_responder(struct signer_client *c, const struct signer_msg *m, struct span raw)
{
    (void)raw;
    responder_ends(c, m->u.responder.issuer, m->u.responder.not_after);
}

static void hello_responder(const struct signer_client *c, const struct signer_msg_hello *h)
{
    cert_auto *responder = NULL;
    uint8_t id[CERT_SKI_SIZE];
    if (cert_parse(h->issuers[0].responder, &responder, NULL) == TD_OK &&
        cert_ski(c->certs.issuing[0], id))
        responder_ends(c, id, cert_not_after(responder));
}

static void on_hello(struct signer_client *c, const struct signer_msg *m, struct span raw)
{
    (void)raw;
    lose_all(c);
    bool again = c->hello_seen;
    bool ok = take_ca(c, &m->u.hello);
    c->hello_seen = c->hello_seen || ok;
    c->generation = m->generation;
    if (ok)
        hello_responder(c, &m->u.hello);
    if (again)
        metrics_add(METRIC_SIGNER_RESTARTS, 1);
    log_ev(ok ? LOG_INFO : LOG_ERROR, "signer.hello", KV_I64("generation", m->generation),
           KV("ca", ok ? "accepted" : "refused: not the CA this server started with"));
    atomic_store(&c->up, ok);
    pthread_cond_broadcast(&c->news);
}

static void on_gone(struct signer_client *c, const struct signer_msg *m, struct span raw)
{
    (void)raw;
    log_ev(LOG_ERROR, "signer.gone", KV_I64("generation", m->generation));
    atomic_store(&c->up, false);
    lose_all(c);
}

static void on_fatal(struct signer_client *c, const struct signer_msg *m, struct span raw)
{
    (void)raw;
    const struct signer_msg_refused *f = &m->u.refused;
    if (c->reload != RELOAD_NONE && m->generation != c->generation)
        c->reload = RELOAD_REFUSED; /* the one that serves goes on */
    else
        c->failed = true;
    c->fatal_code = f->code;
    snprintf(c->fatal_text, sizeof c->fatal_text, "%.*s", (int)f->text.n, (const char *)f->text.p);
    log_ev(LOG_ERROR, "signer.fatal", KV_SPAN("text", f->text));
    pthread_cond_broadcast(&c->news);
}

static void on_ready(struct signer_client *c, const struct signer_msg *m, struct span raw)
{
    (void)m, (void)raw;
    if (c->reload == RELOAD_ASKED)
        c->reload = RELOAD_READY;
    pthread_cond_broadcast(&c->news);
}

static void on_reply(struct signer_client *c, const struct signer_msg *m, struct span raw)
{
    struct slot *s = &c->slots[m->id % SLOTS];
    if (s->state != SLOT_WAITING || s->id != m->id)
        return; /* its asker gave up */
    s->reply = malloc(raw.n);
    s->nreply = raw.n;
    if (s->reply)
        memcpy(s->reply, raw.p, raw.n);
    s->state = s->reply ? SLOT_ANSWERED : SLOT_LOST;
    pthread_cond_signal(&s->cond);
}

static void (*const handlers[SIGNER_MSG_TYPE_MAX])(struct signer_client *,
                                                   const struct signer_msg *, struct span) = {
    [SIGNER_MSG_HELLO] = on_hello,   [SIGNER_MSG_FATAL] = on_fatal,
    [SIGNER_MSG_GONE] = on_gone,     [SIGNER_MSG_SIGNED] = on_reply,
    [SIGNER_MSG_REFUSED] = on_reply, [SIGNER_MSG_MORE] = on_reply,
    [SIGNER_MSG_READY] = on_ready,   [SIGNER_MSG_RESPONDER] = on_responder,
};

static void receive(struct signer_client *c, struct span raw)
{
    struct signer_msg m = {0};
    enum td_err e = signer_msg_get(raw, &m);
    if (e == TD_OK && handlers[m.type])
        handlers[m.type](c, &m, raw);
    else
        log_ev(LOG_ERROR, "signer.message", KV("error", err_name(e)));
}

static void *reader(void *arg)
{
    struct signer_client *c = arg;
    uint8_t *mem = malloc((size_t)READ_BATCH * LIMIT_SIGNER_MSG);
    struct iovec iov[READ_BATCH];
    struct mmsghdr msgs[READ_BATCH] = {0};
    for (size_t i = 0; mem && i < READ_BATCH; i++) {
        iov[i] = (struct iovec){mem + i * LIMIT_SIGNER_MSG, LIMIT_SIGNER_MSG};
        msgs[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i], .msg_iovlen = 1};
    }
    while (mem) {
        int n = recvmmsg(c->fd, msgs, READ_BATCH, MSG_WAITFORONE, NULL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || msgs[0].msg_len == 0)
            break; /* the signer is gone for good */
        pthread_mutex_lock(&c->mu);
        for (int i = 0; i < n; i++)
            if (msgs[i].msg_len > 0)
                receive(c, span_of(iov[i].iov_base, msgs[i].msg_len));
        pthread_mutex_unlock(&c->mu);
    }
    pthread_mutex_lock(&c->mu);
    c->closed = true;
    atomic_store(&c->up, false);
    lose_all(c);
    pthread_cond_broadcast(&c->news);
    pthread_mutex_unlock(&c->mu);
    free(mem);
    return NULL;
}

static struct timespec deadline_in(int ms)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

enum td_err signer_client_ready(struct signer_client *c, struct errinfo *ei)
{
    if (!c->reading && pthread_create(&c->reader, NULL, reader, c) != 0)
        return err_set(ei, TD_NOMEM, "cannot start the signer's reader thread");
    c->reading = true;
    struct timespec end = deadline_in(START_MS);
    enum td_err e = TD_OK;
    pthread_mutex_lock(&c->mu);
    int rc = 0;
    while (!atomic_load(&c->up) && !c->failed && !c->closed && rc == 0)
        rc = pthread_cond_timedwait(&c->news, &c->mu, &end);
    if (atomic_load(&c->up))
        e = TD_OK;
    else if (c->failed)
        e = err_set(ei, c->fatal_code, "testudo-signer: %s", c->fatal_text);
    else if (c->closed)
        e = err_set(ei, TD_IO, "testudo-signer ended before it was ready");
    else
        e = err_set(ei, TD_TIMEOUT, "testudo-signer did not answer in %d s", START_MS / 1000);
    pthread_mutex_unlock(&c->mu);
    return e;
}

bool signer_client_alive(const struct signer_client *c)
{
    return atomic_load(&c->up);
}

void signer_client_certs(struct signer_client *c, struct signer_certs *ret)
{
    pthread_mutex_lock(&c->mu);
    *ret = c->certs;
    buf_init(&ret->root_crl, LIMIT_SIGNER_MSG);
    (void)buf_span(&ret->root_crl, buf_view(&c->certs.root_crl));
    cert_ref(ret->root);
    for (size_t i = 0; i < ret->n; i++)
        cert_ref(ret->issuing[i]);
    pthread_mutex_unlock(&c->mu);
}

void signer_certs_free(struct signer_certs *c)
{
    cert_free(c->root);
    for (size_t i = 0; i < c->n; i++)
        cert_free(c->issuing[i]);
    buf_free(&c->root_crl);
    *c = (struct signer_certs){0};
}

/* --- requests --- */

static enum td_err away(struct errinfo *ei)
{
    return err_reason(ei, TD_BUSY, "signer-away", "the signer is being started again");
}

/* Takes a slot and numbers the message; NULL while the signer is away or every slot is taken. */
static struct slot *begin(struct signer_client *c, struct signer_msg *m,
                          const struct timespec *until, bool *ret_up)
{
    struct slot *s = NULL;
    int rc = 0;
    pthread_mutex_lock(&c->mu);
    while (c->paused && rc == 0)
        rc = pthread_cond_timedwait(&c->news, &c->mu, until);
    *ret_up = atomic_load(&c->up);
    if (*ret_up && c->nfree > 0) {
        unsigned i = c->free_slots[--c->nfree];
        s = &c->slots[i];
        s->id = ++c->sequence << SLOT_BITS | i;
        s->state = SLOT_WAITING;
        m->id = s->id;
        m->generation = c->generation;
    }
    pthread_mutex_unlock(&c->mu);
    return s;
}

static void end(struct signer_client *c, struct slot *s)
{
    pthread_mutex_lock(&c->mu);
    free(s->reply);
    s->reply = NULL;
    s->state = SLOT_FREE;
    c->free_slots[c->nfree++] = (unsigned char)(s - c->slots);
    if (c->paused && c->nfree == SLOTS)
        pthread_cond_broadcast(&c->news);
    pthread_mutex_unlock(&c->mu);
}

static bool still_waiting(struct signer_client *c, const struct slot *s)
{
    pthread_mutex_lock(&c->mu);
    bool w = s->state == SLOT_WAITING;
    pthread_mutex_unlock(&c->mu);
    return w;
}

/* Puts the datagram on the channel. It may be full while the signer syncs or is started again; who
 * learns meanwhile that the request is lost stops trying. */
static enum td_err put(struct signer_client *c, const struct slot *s, struct span raw,
                       int64_t until_ms, struct errinfo *ei)
{
    for (;;) {
        if (send(c->fd, raw.p, raw.n, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
            return TD_OK;
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != ENOBUFS)
            return away(ei);
        if (!still_waiting(c, s))
            return away(ei);
        if (clock_mono(&clock_system) >= until_ms)
            return err_set(ei, TD_TIMEOUT, "the signer takes no requests");
        struct pollfd p = {.fd = c->fd, .events = POLLOUT};
        poll(&p, 1, SEND_STEP_MS);
    }
}

static enum td_err await(struct signer_client *c, struct slot *s, const struct timespec *until,
                         struct errinfo *ei)
{
    int rc = 0;
    pthread_mutex_lock(&c->mu);
    while (s->state == SLOT_WAITING && rc == 0)
        rc = pthread_cond_timedwait(&s->cond, &c->mu, until);
    enum slot_state state = s->state;
    pthread_mutex_unlock(&c->mu);
    if (state == SLOT_ANSWERED)
        return TD_OK;
    if (state == SLOT_LOST)
        return away(ei);
    return err_set(ei, TD_TIMEOUT, "the signer did not answer in time");
}

/* The reasons a signer gives, as this process's own constants. */
static const char *reason_of(struct span s)
{
    static const char *const known[] = {
        "profile-unknown",
        "device-serial",
        "evidence-missing",
        "key-unsupported",
        "key-of-ca",
        "issuer-expires",
        "issuer-expired",
        "issuer-early",
        "rate",
        "window",
        "certid-malformed",
        "certid-hash",
        "certid-issuer",
        "stale",
        "message",
        "crl-shard",
        "crl-number",
        "crl-order",
        "fact-missing",
        "fact-unfit",
        "lint",
    };
    for (size_t i = 0; i < TD_NITEMS(known); i++)
        if (span_eq_str(s, known[i]))
            return known[i];
    return NULL;
}

/* The answer's bytes are the slot's, which is ours alone now. */
static enum td_err judge(const struct slot *s, struct arena *a, struct signer_signed *ret,
                         struct errinfo *ei)
{
    struct signer_msg m;
    if (signer_msg_get(span_of(s->reply, s->nreply), &m) != TD_OK)
        return err_set(ei, TD_INTERNAL, "the signer's answer is not readable");
    if (m.type == SIGNER_MSG_REFUSED)
        return err_reason(ei, m.u.refused.code, reason_of(m.u.refused.reason), "%.*s",
                          (int)m.u.refused.text.n, (const char *)m.u.refused.text.p);
    if (m.type == SIGNER_MSG_MORE) {
        *ret = (struct signer_signed){0};
        return TD_OK;
    }
    struct span der = arena_span(a, m.u.signed_.der);
    if (!der.p)
        return err_set(ei, TD_NOMEM, "no memory for the signer's answer");
    ret->der = der;
    memcpy(ret->issuer, m.u.signed_.issuer, sizeof ret->issuer);
    return TD_OK;
}

static enum td_err exchange(struct signer_client *c, struct signer_msg *m, struct arena *a,
                            struct signer_signed *ret, struct errinfo *ei)
{
    struct timespec until = deadline_in(DEADLINE_MS);
    int64_t until_ms = clock_mono(&clock_system) + DEADLINE_MS;
    bool up;
    struct slot *s = begin(c, m, &until, &up);
    if (!s && !up)
        return away(ei);
    if (!s)
        return err_reason(ei, TD_BUSY, "signer-busy", "too many requests wait for the signer");
    buf_auto raw;
    buf_init(&raw, LIMIT_SIGNER_MSG);
    enum td_err e = signer_msg_put(&raw, m);
    if (e != TD_OK)
        e = err_set(ei, e, "not a request the signer could take");
    if (e == TD_OK)
        e = put(c, s, buf_view(&raw), until_ms, ei);
    if (e == TD_OK)
        e = await(c, s, &until, ei);
    if (e == TD_OK)
        e = judge(s, a, ret, ei);
    end(c, s);
    return e;
}

static enum td_err call(struct signer_client *c, struct signer_msg *m, struct arena *a,
                        struct signer_signed *ret, struct errinfo *ei)
{
    metrics_add(METRIC_SIGNER_REQUESTS, 1);
    enum td_err e = exchange(c, m, a, ret, ei);
    if (e != TD_OK)
        metrics_add(METRIC_SIGNER_FAILED, 1);
    return e;
}

enum td_err signer_issue(struct signer_client *c, const struct signer_issue *r, struct arena *a,
                         struct signer_signed *ret, struct errinfo *ei)
{
    struct signer_msg m = {.type = SIGNER_MSG_ISSUE};
    if (r->evidence_sha256.n != 0 && r->evidence_sha256.n != SHA256_SIZE)
        return err_set(ei, TD_INVAL, "not a SHA-256 of evidence");
    m.u.issue.profile = span_str(r->profile);
    m.u.issue.device_serial = span_str(r->device_serial);
    m.u.issue.spki = r->spki;
    if (r->evidence_sha256.n)
        memcpy(m.u.issue.evidence_sha256, r->evidence_sha256.p, SHA256_SIZE);
    if (r->facts)
        m.u.issue.facts = *r->facts;
    return call(c, &m, a, ret, ei);
}

enum td_err signer_ocsp(struct signer_client *c, const uint8_t issuer[static CERT_SKI_SIZE],
                        const struct ocsp_single *singles, size_t n, struct span nonce,
                        struct arena *a, struct span *ret_der, struct errinfo *ei)
{
    struct signer_signed made;
    struct signer_msg m = {.type = SIGNER_MSG_OCSP};
    if (n == 0 || n > OCSP_IDS_MAX)
        return err_set(ei, TD_INVAL, "0 or over %d certificates", OCSP_IDS_MAX);
    memcpy(m.u.ocsp.singles, singles, n * sizeof *singles);
    m.u.ocsp.n = n;
    memcpy(m.u.ocsp.issuer, issuer, CERT_SKI_SIZE);
    m.u.ocsp.nonce = nonce;
    TD_TRY(call(c, &m, a, &made, ei));
    *ret_der = made.der;
    return TD_OK;
}

enum td_err signer_crl(struct signer_client *c, const uint8_t issuer[static CERT_SKI_SIZE],
                       int shard, const struct crl_spec *s, struct arena *a, struct span *ret_sig,
                       struct errinfo *ei)
{
    struct signer_signed made = {0};
    size_t at = 0;
    do {
        size_t n = s->n - at < SIGNER_MSG_CRL_STEP ? s->n - at : SIGNER_MSG_CRL_STEP;
        struct signer_msg m = {.type = SIGNER_MSG_CRL};
        m.u.crl = (struct signer_msg_crl){.shard = shard,
                                          .number = s->number,
                                          .this_update = s->this_update,
                                          .next_update = s->next_update,
                                          .total = (uint32_t)s->n,
                                          .first = (uint32_t)at,
                                          .n = n,
                                          .entries = s->entries + at};
        memcpy(m.u.crl.issuer, issuer, CERT_SKI_SIZE);
        TD_TRY(call(c, &m, a, &made, ei));
        at += n;
    } while (at < s->n);
    if (made.der.n == 0)
        return err_set(ei, TD_INTERNAL, "the signer did not sign the CRL");
    *ret_sig = made.der;
    return TD_OK;
}

/* --- reload --- */

static enum td_err tell(struct signer_client *c, enum signer_msg_type type, uint32_t generation,
                        struct errinfo *ei)
{
    struct signer_msg m = {.type = type, .generation = generation};
    buf_auto raw;
    buf_init(&raw, LIMIT_SIGNER_MSG);
    TD_TRY(signer_msg_put(&raw, &m));
    if (send(c->fd, raw.p, raw.n, MSG_NOSIGNAL) < 0)
        return away(ei);
    return TD_OK;
}

typedef bool (*waiting_fn)(const struct signer_client *c, uint32_t generation);

static bool not_ready(const struct signer_client *c, uint32_t generation)
{
    return c->reload == RELOAD_ASKED && c->generation == generation;
}

static bool under_way(const struct signer_client *c, uint32_t generation)
{
    return c->nfree < SLOTS && c->generation == generation;
}

static bool no_hello(const struct signer_client *c, uint32_t generation)
{
    return c->generation == generation || !atomic_load(&c->up);
}

/* Waits (mutex held) as long as fn holds; false at the deadline or when the channel closed. */
static bool wait_while(struct signer_client *c, waiting_fn fn, uint32_t generation, int ms)
{
    struct timespec until = deadline_in(ms);
    int rc = 0;
    while (fn(c, generation) && !c->closed && rc == 0)
        rc = pthread_cond_timedwait(&c->news, &c->mu, &until);
    return !fn(c, generation);
}

/* Mutex held, requests held back. */
static enum td_err change_worker(struct signer_client *c, uint32_t generation, struct errinfo *ei)
{
    if (!wait_while(c, under_way, generation, DEADLINE_MS))
        return err_set(ei, TD_TIMEOUT, "requests to the signer do not end");
    TD_TRY(tell(c, SIGNER_MSG_LEAVE, generation, ei));
    if (!wait_while(c, no_hello, generation, DEADLINE_MS))
        return err_set(ei, TD_TIMEOUT, "the signer that takes over does not answer");
    return TD_OK;
}

static enum td_err reload_locked(struct signer_client *c, struct errinfo *ei)
{
    uint32_t generation = c->generation;
    if (!atomic_load(&c->up))
        return away(ei);
    c->reload = RELOAD_ASKED;
    TD_TRY(tell(c, SIGNER_MSG_RELOAD, generation, ei));
    bool done = wait_while(c, not_ready, generation, RELOAD_MS);
    if (c->reload == RELOAD_REFUSED)
        return err_set(ei, c->fatal_code, "testudo-signer: %s", c->fatal_text);
    if (!done)
        return err_set(ei, TD_TIMEOUT, "the signer did not read its directory in %d s",
                       RELOAD_MS / 1000);
    c->paused = true;
    enum td_err e = change_worker(c, generation, ei);
    c->paused = false;
    pthread_cond_broadcast(&c->news);
    return e;
}

enum td_err signer_client_reload(struct signer_client *c, struct errinfo *ei)
{
    pthread_mutex_lock(&c->mu);
    enum td_err e = reload_locked(c, ei);
    c->reload = RELOAD_NONE;
    pthread_mutex_unlock(&c->mu);
    return e;
}
