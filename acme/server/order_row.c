#include "acme/server/order_row.h"

#include "acme/server/account.h"
#include "acme/server/call.h"
#include "acme/server/problem.h"
#include "acme/server/stmts.h"

enum {
    PROFILE,
    ID_TYPE,
    IDENTIFIER,
    SERIAL,
    STATUS,
    AUTHZ,
    CHAL,
    TOKEN,
    REPLACES,
    ERROR,
    VALIDATED,
    SPKI,
    EVIDENCE,
    CERT,
    EXPIRES,
    ACCOUNT_STATUS,
    ACCOUNT_KEY
};

/* Copies text and blobs; a column that may be NULL is NULL or empty then. False without memory. */
static bool copy_row(const struct cur *row, struct arena *a, struct acme_order *o)
{
    const struct {
        const char **to;
        int column;
    } texts[] = {{&o->profile, PROFILE},       {&o->id_type, ID_TYPE},  {&o->serial, SERIAL},
                 {&o->identifier, IDENTIFIER}, {&o->token, TOKEN},      {&o->error, ERROR},
                 {&o->evidence_id, EVIDENCE},  {&o->replaces, REPLACES}};
    const struct {
        struct span *to;
        int column;
    } blobs[] = {{&o->spki_sha256, SPKI}, {&o->cert_serial, CERT}};
    for (size_t i = 0; i < TD_NITEMS(texts); i++) {
        *texts[i].to = cur_dup(row, texts[i].column, a);
        if (!*texts[i].to && !cur_is_null(row, texts[i].column))
            return false;
    }
    for (size_t i = 0; i < TD_NITEMS(blobs); i++) {
        *blobs[i].to = cur_span_dup(row, blobs[i].column, a);
        if (!blobs[i].to->p && !cur_is_null(row, blobs[i].column))
            return false;
    }
    return true;
}

static enum td_err read_row(const struct cur *row, const struct acme_call *c, struct acme_order *o,
                            struct errinfo *ei)
{
    TD_TRY(acme_account_judge(c, cur_span(row, ACCOUNT_STATUS), cur_span(row, ACCOUNT_KEY), ei));
    if (!copy_row(row, c->arena, o))
        return err_set(ei, TD_NOMEM, "reading an order");
    o->validated_at = cur_is_null(row, VALIDATED) ? 0 : cur_int(row, VALIDATED);
    o->expires_at = cur_int(row, EXPIRES);
    if (acme_status_parse(cur_span(row, STATUS), &o->state.order) != TD_OK ||
        acme_status_parse(cur_span(row, AUTHZ), &o->state.authz) != TD_OK ||
        acme_status_parse(cur_span(row, CHAL), &o->state.chal) != TD_OK)
        return err_set(ei, TD_DB, "an order has an unknown status");
    return TD_OK;
}

enum td_err acme_order_get(struct tx *tx, const struct acme_call *c, const char *id,
                           struct acme_order *ret, struct errinfo *ei)
{
    struct cur row;
    enum td_err e =
        tx_row(tx, ACME_SQL(ORDER_GET), SV_LIST(SV_TEXT(id), SV_TEXT(c->account_id)), &row, ei);
    if (e == TD_NOTFOUND)
        return acme_not_found(ei);
    if (e != TD_OK)
        return e;
    struct acme_order o = {.id = id};
    e = read_row(&row, c, &o, ei);
    cur_end(&row);
    if (e == TD_OK)
        *ret = o;
    return e;
}

struct read_job {
    const struct acme_call *c;
    const char *id;
    struct acme_order *ret;
};

static enum td_err read_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct read_job *j = ctx;
    return acme_order_get(tx, j->c, j->id, j->ret, ei);
}

enum td_err acme_order_read(const struct acme_call *c, const char *id, struct acme_order *ret,
                            struct errinfo *ei)
{
    struct read_job j = {c, id, ret};
    return acme_call_read(c, read_job, &j, ei);
}

static enum td_err not_ready(struct errinfo *ei)
{
    return acme_refuse(ei, TD_STATE, "orderNotReady", "order-not-ready",
                       "the order is not in a state for this");
}

enum td_err acme_order_move(struct tx *tx, struct acme_order *o, enum acme_event ev,
                            struct errinfo *ei)
{
    struct acme_state to;
    int64_t changes;
    if (acme_state_next(o->state, ev, &to) != TD_OK)
        return not_ready(ei);
    TD_TRY(tx_exec(
        tx, ACME_SQL(ORDER_MOVE),
        SV_LIST(SV_TEXT(o->id), SV_TEXT(acme_status_name(o->state.order)),
                SV_TEXT(acme_status_name(o->state.authz)), SV_TEXT(acme_status_name(o->state.chal)),
                SV_TEXT(acme_status_name(to.order)), SV_TEXT(acme_status_name(to.authz)),
                SV_TEXT(acme_status_name(to.chal)), SV_TEXT0(o->error),
                o->validated_at ? SV_INT(o->validated_at) : SV_NULL, SV_BLOB0(o->spki_sha256),
                SV_TEXT0(o->evidence_id), SV_BLOB0(o->cert_serial)),
        &changes, ei));
    if (changes != 1)
        return not_ready(ei);
    o->state = to;
    return TD_OK;
}

bool acme_order_expired(const struct acme_order *o, int64_t now)
{
    return now >= o->expires_at;
}

struct acme_state acme_order_state(const struct acme_order *o, int64_t now)
{
    return acme_order_expired(o, now) ? acme_state_expired(o->state) : o->state;
}
