#include "mdm/posture/sql.h"

#include "mdm/posture/posture.h"

const struct store_stmt posture_sql[POSTURE_SQL_MAX] = {
#define STMT(id, pin, pout, text)                                                                  \
    [POSTURE_SQL_##id] = {.name = "posture." #id, .sql = text, .in = pin, .out = pout},
#include "mdm/posture/sql.def"
#undef STMT
};

const struct store_stmts posture_stmts = {.stmts = posture_sql, .n = POSTURE_SQL_MAX};
