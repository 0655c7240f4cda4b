#include "acme/ca/client_id.h"
#include "acme/server/acme.h"
#include "acme/server/server_int.h"
#include "acme/server/stmts.h"

/* Rows stay a while behind their end, so that a late client and an administrator are told what
 * happened to them. */
#define DAY 86400

struct job {
    int64_t now;
    size_t max;
};

static enum td_err rows(struct tx *tx, const struct store_stmt *st, const struct job *j,
                        struct errinfo *ei)
{
    return tx_exec(tx, st, SV_LIST(SV_INT(j->now - DAY), SV_INT(j->max)), NULL, ei);
}

static enum td_err orders(struct tx *tx, void *ctx, struct errinfo *ei)
{
    return rows(tx, ACME_SQL(CLEAN_ORDERS), ctx, ei);
}

static enum td_err accounts(struct tx *tx, void *ctx, struct errinfo *ei)
{
    return rows(tx, ACME_SQL(CLEAN_ACCOUNTS), ctx, ei);
}

static enum td_err identifiers(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct job *j = ctx;
    return client_id_clean(tx, j->now - 7 * DAY, j->max, ei);
}

static const store_fn steps[] = {orders, accounts, identifiers};

/* Each kind in a job of its own, so that the writer is never held for long. An account goes once
 * its last order went and it is a day old. */
enum td_err acme_clean(struct acme *a, size_t max, struct errinfo *ei)
{
    struct job j = {clock_now(a->conf.clock), max};
    for (size_t i = 0; i < TD_NITEMS(steps); i++)
        TD_TRY(store_write(a->conf.store, steps[i], &j, ei));
    return TD_OK;
}
