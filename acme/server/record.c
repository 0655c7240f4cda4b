#include "acme/server/record.h"

#include "acme/server/problem.h"
#include "mdm/base/log.h"

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
    struct errinfo why = {0};
    if (store_write(c->acme->conf.store, add, &t, &why) != TD_OK)
        log_ev(LOG_ERROR, "acme.attempt_lost", KV("reason", t.reason), KV("error", why.msg));
    return e;
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
