#include "mdm/core/sql.h"

#include "mdm/core/core.h"

const struct store_stmt core_sql[CORE_SQL_MAX] = {
#define STMT(id, pin, pout, text)                                                                  \
    [CORE_SQL_##id] = {.name = "core." #id, .sql = text, .in = pin, .out = pout},
#include "mdm/core/sql.def"
#undef STMT
};

const struct store_stmts core_stmts = {.stmts = core_sql, .n = CORE_SQL_MAX};
