#include "acme/server/record.h"

#include <pthread.h>
#include <stdlib.h>

#include "acme/server/problem.h"
#include "mdm/base/log.h"

#define GATE_SLOTS 1024
#define GATE_MS 60000

/* A slot counts one key's refusals since `since_ms`; a colliding key takes it over. */
struct record_gate {
    const struct clock *clock;
    pthread_mutex_t lock;
    struct {
        uint64_t key;
        int64_t since_ms;
        unsigned n;
    } slots[GATE_SLOTS];
};

enum td_err record_gate_new(const struct clock *clock, struct record_gate **ret, struct errinfo *ei)
{
    struct record_gate *g = calloc(1, sizeof *g);
    if (!g)
        return err_set(ei, TD_NOMEM, "records of refusals");
    g->clock = clock;
    pthread_mutex_init(&g->lock, NULL);
    *ret = g;
    return TD_OK;
}

void record_gate_free(struct record_gate *g)
{
    if (!g)
        return;
    pthread_mutex_destroy(&g->lock);
    free(g);
}

static uint64_t fnv(uint64_t h, const char *s)
{
    for (; *s; s++)
        h = (h ^ (uint8_t)*s) * UINT64_C(0x100000001b3);
    return (h ^ 0xff) * UINT64_C(0x100000001b3); /* "ab","c" is not "a","bc" */
}

bool record_gate_pass(struct record_gate *g, const char *serial, const char *order_id,
                      const char *reason)
{
    uint64_t key = fnv(fnv(fnv(UINT64_C(0xcbf29ce484222325), serial), order_id), reason);
    int64_t now = clock_mono(g->clock);
    size_t i = (key ^ key >> 32) % GATE_SLOTS;
    pthread_mutex_lock(&g->lock);
    if (g->slots[i].key != key || now - g->slots[i].since_ms >= GATE_MS) {
        g->slots[i].key = key;
        g->slots[i].since_ms = now;
        g->slots[i].n = 0;
    }
    bool pass = g->slots[i].n < RECORD_GATE_MAX;
    g->slots[i].n += pass;
    pthread_mutex_unlock(&g->lock);
    return pass;
}

struct attempt acme_attempt(const struct acme_call *c, const char *serial, const char *order_id,
                            const char *outcome, const struct errinfo *ei)
{
    return (struct attempt){
        .at = c->now,
        .serial = serial ? serial : "",
        .source = "acme",
        .outcome = outcome,
        .reason = ei && ei->reason ? ei->reason : "",
        .detail = ei ? ei->msg : "",
        .order_id = order_id ? order_id : "",
        .peer = c->req->peer_addr,
    };
}

static enum td_err add(struct tx *tx, void *ctx, struct errinfo *ei)
{
    return attempt_add(tx, ctx, ei);
}

enum td_err acme_record_refusal(const struct acme_call *c, const char *serial, const char *order_id,
                                enum td_err e, const struct errinfo *ei)
{
    if (!ei || !ei->reason || acme_problem_status(e, ei) >= 500)
        return e;
    struct attempt t = acme_attempt(c, serial, order_id, "refused", ei);
    if (!record_gate_pass(c->acme->gate, t.serial, t.order_id, t.reason))
        return e;
    struct errinfo why = {0};
    if (store_write(c->acme->conf.store, add, &t, &why) != TD_OK)
        log_ev(LOG_ERROR, "acme.attempt_lost", KV("reason", t.reason), KV("error", why.msg));
    return e;
}

enum td_err acme_record_ours(const struct acme_call *c, const char *serial, const char *order_id,
                             enum td_err e, struct errinfo *ei)
{
    if (!ei || acme_problem_status(e, ei) >= 500)
        return e;
    (void)acme_record_refusal(c, serial, order_id, e, ei);
    log_ev(LOG_ERROR, "acme.not_issued", KV("order", order_id ? order_id : ""),
           KV("serial", serial ? serial : ""), KV("reason", ei->reason ? ei->reason : ""),
           KV("detail", err_msg(ei, e)));
    ei->http = 500;
    ei->acme = "serverInternal";
    return TD_INTERNAL;
}

enum td_err acme_check_listed(const struct acme *a, struct tx *tx, const char *serial,
                              struct errinfo *ei)
{
    enum td_err e = a->conf.ops.device_listed(a->conf.ops.ctx, tx, serial, ei);
    if (e != TD_NOTFOUND)
        return e;
    (void)acme_refuse(ei, TD_FORBIDDEN, "rejectedIdentifier", "device-not-listed",
                      "the device is not listed in the inventory");
    if (ei)
        ei->http = 403;
    return TD_FORBIDDEN;
}
