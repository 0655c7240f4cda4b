#include "acme/ca/live.h"

enum { STMT_GOOD, STMT_LAST, STMT_MAX };

static const struct store_stmt stmts[STMT_MAX] = {
    [STMT_GOOD] = {"ca.live_good",
                   "SELECT COUNT(*) FROM certificates WHERE issuer = ?1 AND not_after > ?2 "
                   "AND status = 0",
                   "bi", "i"},
    [STMT_LAST] = {"ca.live_last", "SELECT MAX(not_after) FROM certificates WHERE issuer = ?1", "b",
                   "I"},
};

const struct store_stmts ca_live_stmts = {stmts, STMT_MAX};

enum td_err ca_live_count(struct tx *tx, const uint8_t issuer[static CERT_SKI_SIZE], int64_t now,
                          struct ca_live *ret, struct errinfo *ei)
{
    struct span id = span_of(issuer, CERT_SKI_SIZE);
    struct cur c;
    *ret = (struct ca_live){0};
    TD_TRY(tx_row(tx, &stmts[STMT_GOOD], SV_LIST(SV_BLOB(id), SV_INT(now)), &c, ei));
    ret->good = cur_int(&c, 0);
    cur_end(&c);
    TD_TRY(tx_row(tx, &stmts[STMT_LAST], SV_LIST(SV_BLOB(id)), &c, ei));
    if (!cur_is_null(&c, 0))
        ret->last = cur_int(&c, 0);
    cur_end(&c);
    return TD_OK;
}
