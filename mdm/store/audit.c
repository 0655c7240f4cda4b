#include "mdm/store/audit.h"

enum { AUDIT_ADD, AUDIT_CLEAN, AUDIT_MAX };

static const struct store_stmt stmts[AUDIT_MAX] = {
    [AUDIT_ADD] = {"audit.add",
                   "INSERT INTO audit (at, txn, actor, action, subject, detail)"
                   " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                   "ittttt", ""},
    [AUDIT_CLEAN] = {"audit.clean",
                     "DELETE FROM audit WHERE id IN"
                     " (SELECT id FROM audit WHERE at < ?1 ORDER BY at LIMIT ?2)",
                     "ii", ""},
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

enum td_err audit_clean(struct tx *tx, int64_t before, size_t max, int64_t *ret_gone,
                        struct errinfo *ei)
{
    return tx_exec(tx, &stmts[AUDIT_CLEAN], SV_LIST(SV_INT(before), SV_INT(max)), ret_gone, ei);
}
