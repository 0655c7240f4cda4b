#include "web/api/api_sql.h"

static const struct store_stmt stmts[] = {
    [API_ST_EVIDENCE] = {"api.evidence",
                         "SELECT id, format, facts, sha256, created_at FROM evidence"
                         " WHERE serial = ?1 ORDER BY created_at DESC LIMIT ?2",
                         "ti", "tttbi"},
    [API_ST_AUDIT] = {"api.audit",
                      "SELECT id, at, txn, actor, action, subject, detail FROM audit"
                      " WHERE id < ?1 ORDER BY id DESC LIMIT ?2",
                      "ii", "iittttt"},
};
_Static_assert(TD_NITEMS(stmts) == API_ST_MAX, "one statement each");

const struct store_stmts api_stmts = {stmts, TD_NITEMS(stmts)};
