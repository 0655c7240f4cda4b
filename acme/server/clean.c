#include "acme/server/acme.h"
#include "acme/server/stmts.h"

enum td_err acme_clean_orders(struct tx *tx, int64_t before, size_t max, int64_t *ret_gone,
                              struct errinfo *ei)
{
    return tx_exec(tx, ACME_SQL(CLEAN_ORDERS), SV_LIST(SV_INT(before), SV_INT(max)), ret_gone, ei);
}

enum td_err acme_clean_accounts(struct tx *tx, int64_t before, size_t max, struct sweep *pos,
                                int64_t *ret_gone, bool *ret_more, struct errinfo *ei)
{
    const struct sweep_sql sql = {ACME_SQL(PAGE_ACCOUNTS), ACME_SQL(CLEAN_ACCOUNTS)};
    return sweep_step(tx, &sql, before, max, pos, ret_gone, ret_more, ei);
}

enum td_err acme_clean_evidence(struct tx *tx, int64_t before, size_t max, struct sweep *pos,
                                int64_t *ret_gone, bool *ret_more, struct errinfo *ei)
{
    const struct sweep_sql sql = {ACME_SQL(PAGE_EVIDENCE), ACME_SQL(CLEAN_EVIDENCE)};
    return sweep_step(tx, &sql, before, max, pos, ret_gone, ret_more, ei);
}
