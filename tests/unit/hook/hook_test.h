/* A store, a key that seals, an endpoint's receiver on a loopback port that answers as it is told.
 */
#ifndef TD_TESTS_HOOK_TEST_H
#define TD_TESTS_HOOK_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../engine.h"
#include "mdm/base/log.h"
#include "mdm/base/rng.h"
#include "mdm/crypt/digest.h"
#include "mdm/store/audit.h"
#include "web/hook/secrets.h"
#include "web/hook/sender.h"
#include "web/hook/turn.h"

#define assert_ok(expr) assert_int_equal((expr), TD_OK)
#define HOOK_NOW 1000000

struct receiver {
    int fd;
    unsigned port;
    pthread_t thread;
    const char *answer; /* the whole response */
    char last[8192];    /* request; to be read when it was answered */
    atomic_int requests;
};

/* One request at a time: reads until the body's closing brackets, answers, closes. */
static inline void *receiver_run(void *arg)
{
    struct receiver *r = arg;
    for (;;) {
        char in[8192];
        size_t n = 0;
        int fd = accept(r->fd, NULL, NULL);
        if (fd < 0)
            return NULL;
        for (;;) {
            ssize_t k = read(fd, in + n, sizeof in - 1 - n);
            if (k <= 0)
                break;
            n += (size_t)k;
            in[n] = 0;
            if (n > 2 && strcmp(in + n - 2, "}}") == 0)
                break;
        }
        if (n > 0) {
            memcpy(r->last, in, n + 1);
            atomic_fetch_add(&r->requests, 1);
            ssize_t k = write(fd, r->answer, strlen(r->answer));
            (void)k;
        }
        close(fd);
    }
}

static inline void receiver_start(struct receiver *r)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    union {
        struct sockaddr_in *in;
        struct sockaddr *any;
    } at = {.in = &sa};
    socklen_t len = sizeof sa;
    r->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(r->fd, at.any, sizeof sa), 0);
    assert_int_equal(listen(r->fd, 8), 0);
    assert_int_equal(getsockname(r->fd, at.any, &len), 0);
    r->port = ntohs(sa.sin_port);
    assert_int_equal(pthread_create(&r->thread, NULL, receiver_run, r), 0);
}

static inline void receiver_stop(struct receiver *r)
{
    shutdown(r->fd, SHUT_RDWR);
    pthread_join(r->thread, NULL);
    close(r->fd);
}

#define ANSWER(status) "HTTP/1.1 " status "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

struct world {
    char dir[64], url[TEST_URL_SIZE], hook_url[80];
    struct store *store;
    struct seal *seal;
    struct clock_fixed clock;
    struct receiver receiver;
    struct hook_sender_conf conf;
    struct arena a;
};

static struct world w;

struct hook_job {
    struct hook h;
    struct hook_cause cause;
    struct span sealed;
    struct outbox_event ev;
    int64_t if_match;
    enum { ADD, PUT, DROP, GET, EVENT, PING } what;
};

static inline enum td_err hook_job_fn(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct hook_job *j = ctx;
    switch (j->what) {
    case ADD:
        return hook_add(tx, &j->h, j->sealed, &j->cause, ei);
    case PUT:
        return hook_put(tx, &j->h, j->if_match, &j->cause, ei);
    case DROP:
        return hook_delete(tx, j->h.id, &j->cause, ei);
    case GET:
        return hook_get(tx, j->h.id, &w.a, &j->h, ei);
    case EVENT:
        return outbox_add(tx, &j->ev, ei);
    case PING:
        return hook_ping(tx, j->h.id, NULL, &j->cause, ei);
    }
    return TD_INTERNAL;
}

static inline struct hook_job hook_job(const char *id)
{
    return (struct hook_job){
        .h = {.id = id, .name = "n", .url = w.hook_url, .types = "", .enabled = true},
        .cause = {HOOK_NOW, "test", "T"},
        .if_match = HOOK_IF_ANY};
}

static inline enum td_err hook_do(struct hook_job *j)
{
    return j->what == GET ? store_read(w.store, hook_job_fn, j, NULL)
                          : store_write(w.store, hook_job_fn, j, NULL);
}

static inline void add_hook(const char *id, const char *types)
{
    uint8_t secret[HOOK_SECRET];
    struct hook_job j = hook_job(id);
    memset(secret, 7, sizeof secret);
    j.h.types = types;
    const struct span none = {NULL, 0};
    assert_ok(hook_seal(w.seal, id, secret, none, 0, &rng_system, &w.a, &j.sealed, NULL));
    assert_ok(hook_do(&j));
}

static inline struct hook view(const char *id)
{
    struct hook_job j = hook_job(id);
    j.what = GET;
    assert_ok(hook_do(&j));
    return j.h;
}

static inline void add_event(const char *device)
{
    struct hook_job j = hook_job("");
    j.what = EVENT;
    j.ev = (struct outbox_event){
        .type = OUTBOX_DEVICE_ADDED, .at = w.clock.at, .txn = "t", .device = device};
    assert_ok(hook_do(&j));
}

static inline int world_setup(void **state)
{
    (void)state;
    w = (struct world){0};
    arena_init(&w.a, 1 << 22);
    snprintf(w.dir, sizeof w.dir, "/tmp/td-hook-XXXXXX");
    assert_non_null(mkdtemp(w.dir));
    char path[96];
    snprintf(path, sizeof path, "%s/t.db", w.dir);
    test_store_url(path, w.url);
    const struct store_stmts sets[] = {audit_stmts, outbox_stmts, hook_stmts, hook_turn_stmts};
    const struct store_conf conf = {.twice = test_twice(),
                                    .url = w.url,
                                    .readers = 2,
                                    .batch = 64,
                                    .queue = 256,
                                    .writers = 2,
                                    .sets = sets,
                                    .nsets = TD_NITEMS(sets),
                                    .clock = &clock_system};
    struct errinfo ei = {0};
    if (store_open(&conf, &w.store, &ei) != TD_OK)
        fail_msg("store_open: %s", ei.msg);
    assert_ok(seal_parse(SPAN_LIT("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), &w.seal, NULL));
    clock_fixed_init(&w.clock, HOOK_NOW);
    w.receiver.answer = ANSWER("204 No Content");
    receiver_start(&w.receiver);
    snprintf(w.hook_url, sizeof w.hook_url, "http://127.0.0.1:%u/x", w.receiver.port);
    w.conf = (struct hook_sender_conf){.store = w.store,
                                       .seal = w.seal,
                                       .clock = &w.clock.clock,
                                       .rng = &rng_system,
                                       .timeout = 10,
                                       .connect = 5,
                                       .in_flight = 2,
                                       .give_up = 86400,
                                       .ca_file = ""};
    return 0;
}

static inline int world_teardown(void **state)
{
    (void)state;
    receiver_stop(&w.receiver);
    store_close(w.store);
    seal_free(w.seal);
    arena_free(&w.a);
    static const char *const names[] = {"t.db", "t.db-wal", "t.db-shm", "t.db.lock"};
    for (size_t i = 0; i < TD_NITEMS(names); i++) {
        char path[96];
        snprintf(path, sizeof path, "%s/%s", w.dir, names[i]);
        unlink(path);
    }
    rmdir(w.dir);
    return 0;
}

static inline int group_setup(void **state)
{
    (void)state;
    log_setup(LOG_ERROR, LOG_FORMAT_LOGFMT, 2);
    return crypt_init(NULL) == TD_OK && hook_post_init(NULL) == TD_OK ? 0 : -1;
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, world_setup, world_teardown)

#endif
