/* This room's SQL (stmts.def). */
#ifndef TD_ACME_SERVER_STMTS_H
#define TD_ACME_SERVER_STMTS_H

#include "mdm/store/sweep.h"

enum acme_stmt {
#define STMT(id, in, out, sql) ACME_STMT_##id,
#include "acme/server/stmts.def"
#undef STMT
    ACME_STMT_MAX
};

extern const struct store_stmt acme_stmt_rows[];

#define ACME_SQL(id) (&acme_stmt_rows[ACME_STMT_##id])

#endif
