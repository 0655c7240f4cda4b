#include "mdm/core/refusal.h"

#include <pthread.h>
#include <stdlib.h>

#include "mdm/base/log.h"
#include "mdm/base/metrics.h"
#include "mdm/store/attempts.h"

enum {
    SLOTS = 1024,  /* direct-mapped: a collision costs a row, no more */
    RATION = 1000, /* attempt rows a minute, whoever asks */
    WINDOW_MS = 60000,
};

struct core_refusals {
    pthread_mutex_t mutex;
    struct {
        uint64_t key;
        int64_t at_ms;
    } slots[SLOTS];
    int64_t window_ms;
    unsigned used;
};

enum td_err core_refusals_new(struct core_refusals **ret, struct errinfo *ei)
{
    struct core_refusals *r = calloc(1, sizeof *r);
    if (!r)
        return err_set(ei, TD_NOMEM, "no memory for the refusals");
    pthread_mutex_init(&r->mutex, NULL);
    *ret = r;
    return TD_OK;
}

void core_refusals_free(struct core_refusals *r)
{
    if (!r)
        return;
    pthread_mutex_destroy(&r->mutex);
    free(r);
}

/* FNV-1a; never 0, which marks a free slot. */
static uint64_t mix(uint64_t h, const void *p, size_t n)
{
    const uint8_t *b = p;
    for (size_t i = 0; i < n; i++)
        h = (h ^ b[i]) * 0x100000001b3u;
    return h ? h : 1;
}

/* True when this refusal is to be written. */
static bool admit(struct core_refusals *r, uint64_t key, int64_t now_ms)
{
    bool yes = false;
    pthread_mutex_lock(&r->mutex);
    if (!r->window_ms || now_ms - r->window_ms >= WINDOW_MS) {
        r->window_ms = now_ms ? now_ms : 1;
        r->used = 0;
    }
    size_t i = key % SLOTS;
    bool repeated = r->slots[i].key == key && now_ms - r->slots[i].at_ms < WINDOW_MS;
    if (!repeated && r->used < RATION) {
        r->slots[i].key = key;
        r->slots[i].at_ms = now_ms;
        r->used++;
        yes = true;
    }
    pthread_mutex_unlock(&r->mutex);
    return yes;
}

struct record {
    struct core *c;
    const struct core_ident *id;
    struct attempt t;
};

static enum td_err record_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct record *r = ctx;
    struct core_cert cert = {0};
    const struct core_ops *ops = &r->c->conf.ops;
    enum td_err e = ops->cert_lookup(ops->ctx, tx, r->id->cert_sha256, &cert, ei);
    if (e != TD_OK && e != TD_NOTFOUND)
        return e;
    r->t.serial = e == TD_OK ? cert.device_serial : "";
    return attempt_add(tx, &r->t, ei);
}

static bool is_refusal(enum td_err e)
{
    static const enum td_err refusals[] = {TD_FORBIDDEN, TD_UNSUPPORTED, TD_PARSE, TD_INVAL,
                                           TD_LIMIT};
    for (size_t i = 0; i < TD_NITEMS(refusals); i++)
        if (e == refusals[i])
            return true;
    return false;
}

void core_refused(struct core *c, const char *source, const struct core_ident *id, enum td_err e,
                  const struct errinfo *ei)
{
    if (!is_refusal(e))
        return;
    metrics_add(METRIC_MDM_REFUSED, 1);
    const char *reason = ei->reason ? ei->reason : err_name(e);
    uint64_t key = mix(0xcbf29ce484222325u, source, strlen(source));
    key = mix(key, reason, strlen(reason));
    if (strcmp(reason, "cert-unknown") != 0) /* anyone can make new certificates */
        key = mix(key, id->cert_sha256, SHA256_SIZE);
    if (!admit(c->refusals, key, clock_mono(c->conf.clock)))
        return;
    struct record r = {.c = c, .id = id};
    r.t = (struct attempt){.at = clock_now(c->conf.clock),
                           .source = source,
                           .outcome = "refused",
                           .reason = reason,
                           .detail = err_msg(ei, e),
                           .peer = id->peer};
    struct errinfo why = {0};
    enum td_err failed = store_write(c->conf.store, record_job, &r, &why);
    if (failed != TD_OK)
        log_ev(LOG_WARN, "core.attempt_lost", KV("reason", reason),
               KV("error", err_msg(&why, failed)));
}
