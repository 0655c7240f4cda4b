#include "acme/server/acme.h"
#include "acme/server/stmts.h"

enum td_err acme_clean_orders(struct tx *tx, struct sweep *s, struct errinfo *ei)
{
    return sweep_step(tx, ACME_SQL(PAGE_ORDERS), ACME_SQL(CLEAN_ORDERS), s, ei);
}

enum td_err acme_clean_accounts(struct tx *tx, struct sweep *s, struct errinfo *ei)
{
    return sweep_step(tx, ACME_SQL(PAGE_ACCOUNTS), ACME_SQL(CLEAN_ACCOUNTS), s, ei);
}

enum td_err acme_clean_eab(struct tx *tx, struct sweep *s, struct errinfo *ei)
{
    return sweep_step(tx, ACME_SQL(PAGE_EAB), ACME_SQL(CLEAN_EAB), s, ei);
}

enum td_err acme_clean_evidence(struct tx *tx, struct sweep *s, struct errinfo *ei)
{
    return sweep_step(tx, ACME_SQL(PAGE_EVIDENCE), ACME_SQL(CLEAN_EVIDENCE), s, ei);
}
