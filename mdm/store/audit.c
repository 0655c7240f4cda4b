#include "mdm/store/audit.h"

enum { AUDIT_ADD, AUDIT_PAGE, AUDIT_CLEAN, AUDIT_MAX };

static const struct store_stmt stmts[AUDIT_MAX] = {
    [AUDIT_ADD] = {"audit.add",
                   "INSERT INTO audit (at, txn, actor, action, subject, detail)"
                   " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                   "ittttt", ""},
    [AUDIT_PAGE] = {"audit.page", SWEEP_PAGE("audit", "at", "id"), SWEEP_PAGE_IN("i"),
                    SWEEP_PAGE_OUT("i")},
    [AUDIT_CLEAN] = {"audit.clean", SWEEP_DROP("audit", "at", "id"), SWEEP_DROP_IN("i"), ""},
};

const struct store_stmts audit_stmts = {stmts, AUDIT_MAX};

enum td_err audit_add(struct tx *tx, int64_t now, const char *txn, const char *actor,
                      const char *action, const char *subject, const char *detail,
                      struct errinfo *ei)
{
    return tx_exec(tx, &stmts[AUDIT_ADD],
                   SV_LIST(SV_INT(now), SV_TEXT(txn), SV_TEXT(actor), SV_TEXT(action),
                           SV_TEXT(subject), SV_TEXT(detail)),
                   NULL, ei);
}

enum td_err audit_clean(struct tx *tx, struct sweep *s, struct errinfo *ei)
{
    return sweep_step(tx, &stmts[AUDIT_PAGE], &stmts[AUDIT_CLEAN], s, ei);
}
