#include "acme/server/stmts.h"

#include "acme/server/acme.h"

const struct store_stmt acme_stmt_rows[] = {
#define STMT(id, in, out, sql) [ACME_STMT_##id] = {"acme." #id, sql, in, out},
#include "acme/server/stmts.def"
#undef STMT
};

const struct store_stmts acme_stmts = {acme_stmt_rows, ACME_STMT_MAX};
