#include "acme/ca/census.h"

enum { STMT_STEP, STMT_MAX };

static const struct store_stmt stmts[STMT_MAX] = {
    [STMT_STEP] = {"ca.census",
                   "SELECT serial, status, purpose, not_after, renew_at, renew_tries FROM "
                   "certificates WHERE serial > ?1 ORDER BY serial LIMIT ?2",
                   "bi", "bitiIi"},
};

const struct store_stmts ca_census_stmts = {stmts, STMT_MAX};

static void count(struct ca_census *c, const struct cur *row, int64_t now)
{
    enum ca_state state = ca_state_of(cur_int(row, 1));
    unsigned s = cur_int(row, 3) <= now ? CENSUS_EXPIRED : (unsigned)state;
    c->n[s][span_eq_str(cur_span(row, 2), "access") ? CENSUS_ACCESS : CENSUS_MANAGEMENT]++;
    if (state == CA_REVOKED || cur_is_null(row, 4))
        return; /* the next look at a revoked one ends its renewal */
    c->due += cur_int(row, 4) <= now;
    c->waiting += cur_int(row, 4) > now && cur_int(row, 5) > 0;
}

enum td_err ca_census_step(struct tx *tx, int64_t now, size_t max, struct ca_census *c,
                           struct errinfo *ei)
{
    struct cur row;
    size_t n = 0;
    struct span after = span_of(c->after, c->nafter);
    TD_TRY(
        tx_query(tx, &stmts[STMT_STEP], SV_LIST(SV_BLOB(after), SV_INT((int64_t)max)), &row, ei));
    enum td_err e;
    while ((e = cur_next(&row, ei)) == TD_OK) {
        struct span serial = cur_span(&row, 0);
        if (serial.n > sizeof c->after) {
            e = err_set(ei, TD_DB, "a certificate's serial number is damaged");
            break;
        }
        count(c, &row, now);
        memcpy(c->after, serial.p, serial.n);
        c->nafter = serial.n;
        n++;
    }
    cur_end(&row);
    c->done = e == TD_NOTFOUND && n < max;
    return e == TD_NOTFOUND ? TD_OK : e;
}
