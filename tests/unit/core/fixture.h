/* A core on a real temporary database, with certificates and a push service that tests steer. */
#ifndef TD_TESTS_CORE_FIXTURE_H
#define TD_TESTS_CORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "../clock.h"
#include "../engine.h"
#include "mdm/core/command.h"
#include "mdm/core/core.h"
#include "mdm/store/attempts.h"
#include "mdm/store/audit.h"

#define FX_TOPIC "com.apple.mgmt.External.test"
#define FX_PROFILE "org.example.enrollment"
#define FX_NOW 1800000000
#define FX_UNUSED __attribute__((unused))

/* One certificate is one byte: its hash is that byte 32 times, or the SHA-256 of `der`. */
struct fx_cert {
    uint8_t byte;
    const char *serial, *purpose;
    bool revoked;
    struct span der;
    uint8_t renews; /* the byte of another, 0 for none */
};

struct fx_push {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    enum td_err answer;
    _Atomic unsigned sent, tried;
    char last_id[80], last_topic[80], last_magic[80];
    size_t last_token;
};

struct fx {
    char dir[64], url[TEST_URL_SIZE];
    struct store *store;
    struct core *core;
    struct test_clock clock;
    struct fx_cert certs[8];
    const char *listed[8];
    enum td_err cert_fault, list_fault; /* TD_OK: none */
    struct fx_push push;
    struct arena a;
    struct buf reply;
    struct errinfo ei;
};

static FX_UNUSED enum td_err fx_cert_lookup(void *ctx, struct tx *tx,
                                            const uint8_t sha256[static SHA256_SIZE],
                                            struct core_cert *ret, struct errinfo *ei)
{
    struct fx *f = ctx;
    (void)tx;
    if (f->cert_fault != TD_OK)
        return err_set(ei, f->cert_fault, "no database");
    for (size_t i = 0; i < TD_NITEMS(f->certs) && f->certs[i].serial; i++) {
        uint8_t hash[SHA256_SIZE];
        memset(hash, f->certs[i].byte, sizeof hash);
        if (f->certs[i].der.n)
            digest_sha256(f->certs[i].der, hash);
        if (memcmp(hash, sha256, sizeof hash) != 0)
            continue;
        *ret =
            (struct core_cert){.revoked = f->certs[i].revoked, .renews = f->certs[i].renews != 0};
        memset(ret->renews_sha256, f->certs[i].renews, SHA256_SIZE);
        snprintf(ret->device_serial, sizeof ret->device_serial, "%s", f->certs[i].serial);
        snprintf(ret->purpose, sizeof ret->purpose, "%s", f->certs[i].purpose);
        return TD_OK;
    }
    return err_set(ei, TD_NOTFOUND, "no such certificate");
}

/* The certificate of byte 0x77 is of a device that attested the UDID "ATTESTED". */
static FX_UNUSED enum td_err fx_udid(void *ctx, struct tx *tx,
                                     const uint8_t sha256[static SHA256_SIZE], const char *udid,
                                     struct errinfo *ei)
{
    (void)ctx, (void)tx;
    if (sha256[0] == 0x77 && strcmp(udid, "ATTESTED") != 0)
        return err_reason(ei, TD_FORBIDDEN, "attested-udid-mismatch", "another UDID");
    return TD_OK;
}

static FX_UNUSED enum td_err fx_supersede(void *ctx, struct tx *tx,
                                          const uint8_t sha256[static SHA256_SIZE], int64_t now,
                                          const char *txn, struct errinfo *ei)
{
    struct fx *f = ctx;
    (void)tx, (void)now, (void)txn, (void)ei;
    for (size_t i = 0; i < TD_NITEMS(f->certs) && f->certs[i].serial; i++)
        if (f->certs[i].byte == sha256[0])
            f->certs[i].revoked = true;
    return TD_OK;
}

static FX_UNUSED enum td_err fx_renewed(void *ctx, struct tx *tx,
                                        const uint8_t old[static SHA256_SIZE],
                                        const uint8_t renewed[static SHA256_SIZE], int64_t now,
                                        const char *txn, struct errinfo *ei)
{
    (void)renewed;
    return fx_supersede(ctx, tx, old, now, txn, ei);
}

static FX_UNUSED enum td_err fx_listed(void *ctx, struct tx *tx, const char *serial,
                                       struct errinfo *ei)
{
    struct fx *f = ctx;
    (void)tx;
    if (f->list_fault != TD_OK)
        return err_set(ei, f->list_fault, "no database");
    for (size_t i = 0; i < TD_NITEMS(f->listed) && f->listed[i]; i++)
        if (strcmp(f->listed[i], serial) == 0)
            return TD_OK;
    return err_set(ei, TD_NOTFOUND, "not listed");
}

static FX_UNUSED enum td_err fx_push_send(void *ctx, const struct push_target *t,
                                          struct errinfo *ei)
{
    struct fx_push *p = ctx;
    pthread_mutex_lock(&p->mutex);
    p->tried++;
    enum td_err e = p->answer;
    if (e == TD_OK)
        p->sent++;
    snprintf(p->last_id, sizeof p->last_id, "%s", t->enrollment_id);
    snprintf(p->last_topic, sizeof p->last_topic, "%s", t->topic);
    snprintf(p->last_magic, sizeof p->last_magic, "%s", t->push_magic);
    p->last_token = t->token.n;
    pthread_cond_broadcast(&p->cond);
    pthread_mutex_unlock(&p->mutex);
    return e == TD_OK ? TD_OK : err_set(ei, e, "push service says no");
}

/* Waits until the counter reaches n; fails the test after 10 s. */
static FX_UNUSED void fx_wait(struct fx *f, const _Atomic unsigned *counter, unsigned n)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 10;
    int err = 0;
    pthread_mutex_lock(&f->push.mutex);
    while (*counter < n && !err)
        err = pthread_cond_timedwait(&f->push.cond, &f->push.mutex, &until);
    pthread_mutex_unlock(&f->push.mutex);
    assert_int_equal(err, 0);
}

static FX_UNUSED void fx_open_core(struct fx *f)
{
    struct core_conf conf = {
        .store = f->store,
        .clock = &f->clock.clock,
        .rng = &rng_system,
        .ops = {.ctx = f,
                .cert_lookup = fx_cert_lookup,
                .device_listed = fx_listed,
                .udid_allowed = fx_udid,
                .cert_renewed = fx_renewed,
                .cert_supersede = fx_supersede},
        .push = {.ctx = &f->push, .send = fx_push_send},
        .topic = FX_TOPIC,
        .enrollment_profile = FX_PROFILE,
    };
    struct errinfo ei = {0};
    if (core_open(&conf, &f->core, &ei) != TD_OK)
        fail_msg("core_open: %s", ei.msg);
}

static FX_UNUSED void fx_open_store(struct fx *f)
{
    const struct store_stmts sets[] = {core_stmts, attempt_stmts, audit_stmts, outbox_stmts};
    struct store_conf conf = {.twice = test_twice(),
                              .url = f->url,
                              .readers = 2,
                              .batch = 64,
                              .queue = 256,
                              .sets = sets,
                              .nsets = TD_NITEMS(sets),
                              .clock = &f->clock.clock};
    struct errinfo ei = {0};
    if (store_open(&conf, &f->store, &ei) != TD_OK)
        fail_msg("store_open: %s", ei.msg);
}

static FX_UNUSED int fx_setup(void **state)
{
    static bool ready;
    struct fx *f = calloc(1, sizeof *f);
    assert_non_null(f);
    if (!ready && crypt_init(NULL) != TD_OK)
        return -1;
    ready = true;
    snprintf(f->dir, sizeof f->dir, "/tmp/td-core-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    char file[100];
    snprintf(file, sizeof file, "%s/db", f->dir);
    test_store_url(file, f->url);
    test_clock_init(&f->clock, FX_NOW);
    f->certs[0] = (struct fx_cert){.byte = 'a', .serial = "SERIALA", .purpose = "management"};
    f->certs[1] = (struct fx_cert){.byte = 'b', .serial = "SERIALB", .purpose = "management"};
    f->certs[2] = (struct fx_cert){.byte = 'c', .serial = "SERIALA", .purpose = "management"};
    f->certs[3] = (struct fx_cert){.byte = 'w', .serial = "SERIALA", .purpose = "access"};
    f->certs[4] = (struct fx_cert){.byte = 'g', .serial = "SERIALG", .purpose = "management"};
    f->listed[0] = "SERIALA";
    f->listed[1] = "SERIALB";
    pthread_mutex_init(&f->push.mutex, NULL);
    pthread_cond_init(&f->push.cond, NULL);
    arena_init(&f->a, 256 << 20);
    buf_init(&f->reply, 32 << 20);
    fx_open_store(f);
    fx_open_core(f);
    *state = f;
    return 0;
}

static FX_UNUSED int fx_teardown(void **state)
{
    struct fx *f = *state;
    core_close(f->core);
    store_close(f->store);
    static const char *const tails[] = {"/db", "/db-wal", "/db-shm"};
    for (size_t i = 0; i < TD_NITEMS(tails); i++) {
        char path[96];
        snprintf(path, sizeof path, "%s%s", f->dir, tails[i]);
        unlink(path);
    }
    rmdir(f->dir);
    pthread_mutex_destroy(&f->push.mutex);
    pthread_cond_destroy(&f->push.cond);
    arena_free(&f->a);
    buf_free(&f->reply);
    free(f);
    return 0;
}

/* Everything but the file ends and begins again, as after a crash or an upgrade. */
static FX_UNUSED void fx_restart(struct fx *f)
{
    core_close(f->core);
    store_close(f->store);
    fx_open_store(f);
    fx_open_core(f);
}

static FX_UNUSED struct core_ident fx_ident(char cert)
{
    struct core_ident id = {.how = "mtls", .peer = "192.0.2.1"};
    memset(id.cert_sha256, cert, sizeof id.cert_sha256);
    return id;
}

#define FX_HEAD "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<plist version=\"1.0\"><dict>"
#define FX_TAIL "</dict></plist>\n"
#define FX_S(k, v) "<key>" k "</key><string>" v "</string>"

/* A check-in message of the device with certificate `cert`; `members` is XML inside the dict. */
static FX_UNUSED enum td_err fx_checkin(struct fx *f, char cert, const char *type,
                                        const char *members)
{
    struct core_ident id = fx_ident(cert);
    char *xml = arena_printf(&f->a, FX_HEAD "<key>MessageType</key><string>%s</string>%s" FX_TAIL,
                             type, members);
    f->ei = (struct errinfo){0};
    return core_checkin(f->core, &id, span_str(xml), &f->a, &f->reply, &f->ei);
}

static FX_UNUSED enum td_err fx_connect_raw(struct fx *f, char cert, const char *body)
{
    struct core_ident id = fx_ident(cert);
    f->ei = (struct errinfo){0};
    return core_connect(f->core, &id, span_str(body), &f->a, &f->reply, &f->ei);
}

static FX_UNUSED enum td_err fx_connect(struct fx *f, char cert, const char *udid,
                                        const char *status, const char *uuid)
{
    char *xml = arena_printf(&f->a,
                             FX_HEAD "<key>UDID</key><string>%s</string><key>Status</key>"
                                     "<string>%s</string>%s%s%s" FX_TAIL,
                             udid, status, uuid ? "<key>CommandUUID</key><string>" : "",
                             uuid ? uuid : "", uuid ? "</string>" : "");
    return fx_connect_raw(f, cert, xml);
}

#define FX_UDID_A "00008030-00000000000000AA"
#define FX_UDID_B "00008030-00000000000000BB"
#define FX_AUTH(udid) FX_S("UDID", udid) FX_S("Topic", FX_TOPIC)
#define FX_TOKEN(udid)                                                                             \
    FX_S("UDID", udid)                                                                             \
    FX_S("Topic", FX_TOPIC)                                                                        \
    FX_S("PushMagic", "magic-" udid) "<key>Token</key><data>AAECAwQFBgc=</data>"

/* Device A with certificate 'a', enrolled; the push of its TokenUpdate is over. */
static FX_UNUSED void fx_enrol_a(struct fx *f)
{
    unsigned before = f->push.sent;
    assert_int_equal(fx_checkin(f, 'a', "Authenticate", FX_AUTH(FX_UDID_A)), TD_OK);
    assert_int_equal(fx_checkin(f, 'a', "TokenUpdate", FX_TOKEN(FX_UDID_A)), TD_OK);
    if (f->push.answer == TD_OK)
        fx_wait(f, &f->push.sent, before + 1);
}

/* --- looking at the database through the public interface --- */

struct fx_look {
    struct fx *f;
    const char *serial, *uuid;
    struct core_enrollment enrollment;
    struct core_command command;
    struct core_command *commands;
    struct attempt *attempts;
    size_t n;
};

static FX_UNUSED enum td_err fx_enrollment_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct fx_look *l = ctx;
    return core_enrollment_get(tx, l->serial, &l->f->a, &l->enrollment, ei);
}

static FX_UNUSED struct core_enrollment fx_enrollment(struct fx *f, const char *serial)
{
    struct fx_look l = {.f = f, .serial = serial};
    assert_int_equal(store_read(f->store, fx_enrollment_job, &l, NULL), TD_OK);
    return l.enrollment;
}

static FX_UNUSED enum td_err fx_command_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct fx_look *l = ctx;
    return core_command_get(tx, l->serial, l->uuid, &l->f->a, &l->command, ei);
}

static FX_UNUSED struct core_command fx_command(struct fx *f, const char *serial, const char *uuid)
{
    struct fx_look l = {.f = f, .serial = serial, .uuid = uuid};
    assert_int_equal(store_read(f->store, fx_command_job, &l, NULL), TD_OK);
    return l.command;
}

static FX_UNUSED enum td_err fx_commands_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct fx_look *l = ctx;
    return core_command_list(tx, l->serial, INT64_MAX, 100, &l->f->a, &l->commands, &l->n, ei);
}

static FX_UNUSED size_t fx_commands(struct fx *f, const char *serial, struct core_command **ret)
{
    struct fx_look l = {.f = f, .serial = serial};
    assert_int_equal(store_read(f->store, fx_commands_job, &l, NULL), TD_OK);
    *ret = l.commands;
    return l.n;
}

static FX_UNUSED enum td_err fx_attempts_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct fx_look *l = ctx;
    return attempt_list(tx, l->serial, INT64_MAX, 100, &l->f->a, &l->attempts, &l->n, ei);
}

/* The attempts of a serial, newest first. */
static FX_UNUSED size_t fx_attempts(struct fx *f, const char *serial, struct attempt **ret)
{
    struct fx_look l = {.f = f, .serial = serial};
    assert_int_equal(store_read(f->store, fx_attempts_job, &l, NULL), TD_OK);
    *ret = l.attempts;
    return l.n;
}

/* Queues a command for SERIALA; its CommandUUID in the arena. */
static FX_UNUSED const char *fx_queue(struct fx *f, const char *type)
{
    char uuid[37];
    struct plist *cmd = plist_new_dict(&f->a);
    assert_non_null(cmd);
    assert_int_equal(plist_set_str(cmd, "RequestType", type), TD_OK);
    f->ei = (struct errinfo){0};
    enum td_err e = core_enqueue(f->core, "SERIALA", cmd, NULL, "tester", uuid, &f->ei);
    if (e != TD_OK)
        fail_msg("core_enqueue: %s: %s", err_name(e), f->ei.msg);
    return arena_strdup(&f->a, uuid);
}

/* The CommandUUID and RequestType of the reply; NULL when it has zero bytes. */
static FX_UNUSED const char *fx_reply(struct fx *f, const char **ret_type)
{
    struct plist *cmd = NULL;
    const char *uuid = NULL;
    if (f->reply.n == 0)
        return NULL;
    assert_int_equal(command_from_plist(buf_view(&f->reply), &f->a, &cmd, &uuid, &f->ei), TD_OK);
    if (ret_type)
        assert_int_equal(plist_str(cmd, "RequestType", &f->a, ret_type), TD_OK);
    assert_non_null(uuid);
    return uuid;
}

static FX_UNUSED enum td_err fx_leave_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct fx *f = ctx;
    return core_leave(tx, "SERIALA", f->clock.at, ei);
}

/* SERIALA leaves the inventory: its certificates revoked, its enrolment leaving. */
static FX_UNUSED void fx_leave_a(struct fx *f)
{
    assert_int_equal(store_write(f->store, fx_leave_job, f, NULL), TD_OK);
    f->certs[0].revoked = f->certs[2].revoked = true;
    f->listed[0] = "NOBODY";
}

#endif
