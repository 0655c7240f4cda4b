#include "acme/server/limit.h"

#include "acme/server/problem.h"
#include "acme/server/stmts.h"

#define HOUR 3600

/* The next order may come when the oldest of the last `limit` ones is an hour old. */
static enum td_err check(struct tx *tx, const struct acme_call *c, const struct store_stmt *st,
                         const char *subject, int64_t limit, const char *reason, struct errinfo *ei)
{
    struct cur row;
    if (limit <= 0)
        return TD_OK;
    enum td_err e = tx_row(
        tx, st, SV_LIST(SV_TEXT(subject), SV_INT(c->now - HOUR), SV_INT(limit - 1)), &row, ei);
    if (e == TD_NOTFOUND)
        return TD_OK;
    if (e != TD_OK)
        return e;
    int64_t wait = cur_int(&row, 0) + HOUR - c->now;
    cur_end(&row);
    (void)acme_refuse(ei, TD_LIMIT, "rateLimited", reason,
                      "no more than %lld in one hour; try again later", (long long)limit);
    if (ei)
        ei->retry_after = (int)(wait > 0 ? wait : 1);
    return TD_LIMIT;
}

enum td_err acme_limit_account(struct tx *tx, const struct acme_call *c, struct errinfo *ei)
{
    return check(tx, c, ACME_SQL(LIMIT_ACCOUNT), c->account_id, c->acme->conf.limits.account_orders,
                 "limit-account-orders", ei);
}

enum td_err acme_limit_device(struct tx *tx, const struct acme_call *c, const char *serial,
                              struct errinfo *ei)
{
    const struct acme_limits *l = &c->acme->conf.limits;
    TD_TRY(
        check(tx, c, ACME_SQL(LIMIT_DEVICE), serial, l->device_orders, "limit-device-orders", ei));
    return check(tx, c, ACME_SQL(LIMIT_FAILED), serial, l->device_failures, "limit-device-failures",
                 ei);
}
