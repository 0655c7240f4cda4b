/* The statements of this room (sql.def) by name. Internal to mdm/posture. */
#ifndef TD_POSTURE_SQL_H
#define TD_POSTURE_SQL_H

#include "mdm/store/store.h"

enum posture_sql_id {
#define STMT(id, in, out, sql) POSTURE_SQL_##id,
#include "mdm/posture/sql.def"
#undef STMT
    POSTURE_SQL_MAX
};

extern const struct store_stmt posture_sql[POSTURE_SQL_MAX];

#define POSTURE_SQL(id) (&posture_sql[POSTURE_SQL_##id])

#endif
