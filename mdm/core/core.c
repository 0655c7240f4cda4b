#include "mdm/core/core.h"

#include <stdlib.h>

#include "mdm/base/metrics.h"
#include "mdm/core/checkin.h"
#include "mdm/core/connect.h"
#include "mdm/core/enrollment.h"
#include "mdm/core/pump.h"
#include "mdm/core/refusal.h"
#include "mdm/core/seen.h"

enum td_err core_open(const struct core_conf *conf, struct core **ret, struct errinfo *ei)
{
    if (!conf->topic || !*conf->topic || !conf->enrollment_profile || !*conf->enrollment_profile)
        return err_set(ei, TD_INVAL, "the push topic and the enrolment profile must be named");
    if (!conf->ops.cert_lookup || !conf->ops.device_listed || !conf->ops.cert_supersede ||
        !conf->push.send)
        return err_set(ei, TD_INVAL, "an operation of the core is not bound");
    struct core *c = calloc(1, sizeof *c);
    if (!c)
        return err_set(ei, TD_NOMEM, "no memory for the core");
    c->conf = *conf;
    enum td_err e = core_refusals_new(&c->refusals, ei);
    if (e == TD_OK)
        e = core_pump_start(c, ei);
    if (e == TD_OK)
        e = core_seen_start(c, &c->seen, ei); /* behind the pump, which its sweep kicks */
    if (e != TD_OK) {
        core_close(c);
        return e;
    }
    *ret = c;
    return TD_OK;
}

void core_close(struct core *c)
{
    if (!c)
        return;
    core_seen_stop(c->seen);
    core_pump_stop(c);
    core_refusals_free(c->refusals);
    free(c);
}

void core_wake(struct core *c)
{
    core_pump_kick(c);
}

struct known {
    const struct core_ops *ops;
    const struct core_ident *id;
};

static enum td_err known_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct known *k = ctx;
    struct core_cert cert;
    enum td_err e = k->ops->cert_lookup(k->ops->ctx, tx, k->id->cert_sha256, &cert, ei);
    return e == TD_NOTFOUND ? core_cert_unknown(ei) : e;
}

/* A certificate of the transport leads to our root, but anyone can make one and sign with it:
 * before a body of that sender is parsed (or its refusal recorded) the CA must know it (MB-26). */
static enum td_err admit(struct core *c, const struct core_ident *id, struct errinfo *ei)
{
    if (strcmp(id->how, "signature") != 0)
        return TD_OK;
    struct known k = {&c->conf.ops, id};
    return store_read(c->conf.store, known_job, &k, ei);
}

enum td_err core_checkin(struct core *c, const struct core_ident *id, struct span body,
                         struct arena *a, struct buf *reply, struct errinfo *ei)
{
    struct errinfo own = {0};
    struct core_msg m;
    if (!ei)
        ei = &own;
    buf_reset(reply);
    enum td_err e = admit(c, id, ei);
    if (e == TD_OK)
        e = core_msg_parse(body, a, &m, ei);
    if (e == TD_OK)
        e = core_checkin_run(c, id, &m, body, a, reply, ei);
    if (e == TD_OK)
        metrics_add(METRIC_MDM_CHECKINS, 1);
    else
        core_refused(c, "checkin", id, e, ei);
    return e;
}

enum td_err core_connect(struct core *c, const struct core_ident *id, struct span body,
                         struct arena *a, struct buf *reply, struct errinfo *ei)
{
    struct errinfo own = {0};
    struct core_report r;
    if (!ei)
        ei = &own;
    buf_reset(reply);
    /* a hint that saves parsing the other reports twice */
    if (id->no_wait && (body.n == 0 || !memmem(body.p, body.n, "Idle", 4)))
        return err_set(ei, TD_AGAIN, "what is not an idle report needs a commit");
    enum td_err e = admit(c, id, ei);
    if (e == TD_OK)
        e = core_report_parse(body, a, &r, ei);
    if (e == TD_OK)
        e = core_connect_run(c, id, &r, body, a, reply, ei);
    if (e != TD_OK && id->no_wait)
        return err_set(ei, TD_AGAIN, "what is not an idle report needs a commit");
    if (e == TD_OK)
        metrics_add(METRIC_MDM_CONNECTS, 1);
    else
        core_refused(c, "connect", id, e, ei);
    return e;
}
