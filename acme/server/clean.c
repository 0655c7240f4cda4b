#include "acme/ca/client_id.h"
#include "acme/server/acme.h"
#include "acme/server/server_int.h"
#include "acme/server/stmts.h"

/* Rows stay a while behind their end, so that a late client and an administrator are told what
 * happened to them. */
#define DAY 86400

/* Rows in one transaction, so that the writer is never held for long. */
#define STEP 500

struct job {
    int64_t now;
    size_t max;
    int64_t gone;
};

static enum td_err rows(struct tx *tx, const struct store_stmt *st, struct job *j,
                        struct errinfo *ei)
{
    return tx_exec(tx, st, SV_LIST(SV_INT(j->now - DAY), SV_INT(j->max)), &j->gone, ei);
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
    struct job *j = ctx;
    return client_id_clean(tx, j->now - 7 * DAY, j->max, &j->gone, ei);
}

static const store_fn steps[] = {orders, accounts, identifiers};

/* An account goes once its last order went and it is a day old. Strangers make accounts as fast as
 * they like: what piled up goes in one round, not 500 rows a minute. */
enum td_err acme_clean(struct acme *a, size_t max, struct errinfo *ei)
{
    for (size_t i = 0; i < TD_NITEMS(steps); i++)
        for (size_t left = max; left > 0;) {
            struct job j = {.now = clock_now(a->conf.clock), .max = left < STEP ? left : STEP};
            TD_TRY(store_write(a->conf.store, steps[i], &j, ei));
            if (j.gone < (int64_t)j.max)
                break;
            left -= j.max;
        }
    return TD_OK;
}
