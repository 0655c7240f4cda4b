#include "acme/server/orders.h"

#include "acme/server/account.h"
#include "acme/server/call.h"
#include "acme/server/problem.h"
#include "acme/server/stmts.h"
#include "acme/server/url.h"
#include "mdm/base/num.h"

#define PAGE 50

struct list_job {
    const struct acme_call *c;
    int64_t after; /* created_at and id of the last one shown */
    const char *after_id;
    size_t n;
    bool more;
    const char *ids[PAGE];
    int64_t created[PAGE];
};

static enum td_err collect(struct list_job *j, struct cur *row, struct errinfo *ei)
{
    for (;;) {
        enum td_err e = cur_next(row, ei);
        if (e == TD_NOTFOUND)
            return TD_OK;
        if (e != TD_OK)
            return e;
        if (j->n == PAGE) {
            j->more = true;
            cur_end(row);
            return TD_OK;
        }
        j->created[j->n] = cur_int(row, 1);
        j->ids[j->n] = cur_dup(row, 0, j->c->arena);
        if (!j->ids[j->n++]) {
            cur_end(row);
            return err_set(ei, TD_NOMEM, "orders");
        }
    }
}

static enum td_err list_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct list_job *j = ctx;
    struct cur row;
    j->n = 0;
    j->more = false;
    TD_TRY(acme_account_check(tx, j->c, NULL, ei));
    TD_TRY(tx_query(tx, ACME_SQL(ORDERS_OF),
                    SV_LIST(SV_TEXT(j->c->account_id), SV_INT(j->after), SV_TEXT(j->after_id),
                            SV_INT(PAGE + 1)),
                    &row, ei));
    return collect(j, &row, ei);
}

/* "cursor" is <seconds>.<order id>. */
static enum td_err cursor(const struct req *r, struct list_job *j, struct errinfo *ei)
{
    bool found;
    struct span s = req_query(r, "cursor", &found);
    j->after = -1;
    j->after_id = "";
    if (!found)
        return TD_OK;
    const uint8_t *dot = s.n ? memchr(s.p, '.', s.n) : NULL;
    size_t at = dot ? (size_t)(dot - s.p) : 0;
    uint64_t t;
    if (!dot || num_u64(span_sub(s, 0, at), INT64_MAX, &t) != TD_OK ||
        !acme_id_valid(span_sub(s, at + 1, s.n)))
        return acme_refuse(ei, TD_PARSE, "malformed", "cursor-malformed",
                           "the cursor is malformed");
    j->after = (int64_t)t;
    j->after_id = arena_dup(r->arena, span_sub(s, at + 1, s.n));
    return j->after_id ? TD_OK : err_set(ei, TD_NOMEM, "request");
}

static enum td_err next_link(struct acme_call *c, const struct list_job *j, struct errinfo *ei)
{
    if (!j->more)
        return TD_OK;
    return acme_reply_url(c, "Link",
                          arena_printf(c->arena,
                                       "<%s/acme/acct/%s/orders?cursor=%lld.%s>;rel=\"next\"",
                                       c->acme->conf.base_url, c->account_id,
                                       (long long)j->created[PAGE - 1], j->ids[PAGE - 1]),
                          ei);
}

enum td_err acme_orders(const struct req *r, struct resp *resp, struct errinfo *ei)
{
    struct acme_call c;
    struct json_w w;
    const char *id;
    TD_TRY(acme_call_kid(r, resp, &c, ei));
    TD_TRY(acme_id_param(r, &id, ei));
    TD_TRY(acme_call_as_get(&c, ei));
    if (strcmp(id, c.account_id) != 0)
        return acme_not_found(ei);
    struct list_job *j = arena_alloc(c.arena, sizeof *j);
    if (!j)
        return err_set(ei, TD_NOMEM, "orders");
    j->c = &c;
    TD_TRY(cursor(r, j, ei));
    TD_TRY(store_read(c.acme->conf.store, list_job, j, ei));
    TD_TRY(next_link(&c, j, ei));
    acme_reply(&c, 200, &w);
    json_open(&w);
    json_array_key(&w, "orders");
    for (size_t i = 0; i < j->n; i++) {
        const char *url = acme_url(c.acme, c.arena, "/acme/order/%s", j->ids[i]);
        if (!url)
            return err_set(ei, TD_NOMEM, "orders");
        json_v_str(&w, url);
    }
    json_array_end(&w);
    json_close(&w);
    return acme_reply_end(&c, ei);
}
