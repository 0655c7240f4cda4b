/* The statements of this room (sql.def) by name. Internal to mdm/core. */
#ifndef TD_CORE_SQL_H
#define TD_CORE_SQL_H

#include "mdm/store/sweep.h"

enum core_sql_id {
#define STMT(id, in, out, sql) CORE_SQL_##id,
#include "mdm/core/sql.def"
#undef STMT
    CORE_SQL_MAX
};

extern const struct store_stmt core_sql[CORE_SQL_MAX];

#define CORE_SQL(id) (&core_sql[CORE_SQL_##id])

#endif
