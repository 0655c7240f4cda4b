#include "acme/server/evidence.h"

#include "acme/server/stmts.h"

enum td_err acme_evidence_facts(struct tx *tx, const char *id, struct arena *a, const char **ret,
                                struct errinfo *ei)
{
    struct cur row;
    TD_TRY(tx_row(tx, ACME_SQL(EVIDENCE_HASH), SV_LIST(SV_TEXT(id)), &row, ei));
    *ret = cur_dup(&row, 1, a);
    cur_end(&row);
    return *ret ? TD_OK : err_set(ei, TD_NOMEM, "reading evidence");
}
