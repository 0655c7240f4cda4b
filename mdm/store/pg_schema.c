/* What the tools ask of PostgreSQL: no header of the library is needed for it. */
#include "mdm/store/store_int.h"

#define OURS "(SELECT oid FROM pg_namespace WHERE nspname = current_schema())"
/* a column's letter, upper case where NULL may stand, by the OIDs of pg_type.dat */
#define LETTER(oid, not_null, nullable)                                                            \
    " WHEN a.atttypid = " oid " THEN CASE WHEN a.attnotnull THEN '" not_null "' ELSE '" nullable   \
    "' END"

static const struct store_stmt checks[] = {
    {"pg.invalid-index",
     "SELECT CAST(c.relname AS TEXT) || ' is not valid: REINDEX makes it anew' FROM pg_index i"
     " JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relnamespace = " OURS
     " AND NOT (i.indisvalid AND i.indisready AND i.indislive) ORDER BY 1",
     "", "t"},
    {"pg.invalid-constraint",
     "SELECT CAST(conname AS TEXT) || ' was never validated' FROM pg_constraint WHERE"
     " connamespace = " OURS " AND NOT convalidated ORDER BY 1",
     "", "t"},
    /* the order of text is part of what the queries mean */
    {"pg.collation",
     "SELECT CAST(c.relname AS TEXT) || '.' || CAST(a.attname AS TEXT) || ' is not compared"
     " bytewise' FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_collation o ON"
     " o.oid = a.attcollation WHERE c.relkind = 'r' AND c.relnamespace = " OURS
     " AND a.atttypid = 25 AND NOT a.attisdropped AND o.collname <> 'C' ORDER BY 1",
     "", "t"},
};

#define INDEX_NAME "quote_ident(CAST(c.relname AS TEXT))"
#define BT_CHECK "to_regprocedure('bt_index_check(regclass, boolean)')"

/* amcheck reads every index, and for each row of the table whether it is in there. */
static const struct store_stmt deep[DEEP_MAX] = {
    [DEEP_CANNOT] = {"pg.index_cannot",
                     "SELECT CASE WHEN " BT_CHECK " IS NULL THEN 'PostgreSQL''s extension amcheck"
                     " is not in this database (CREATE EXTENSION amcheck)'"
                     " WHEN has_function_privilege(" BT_CHECK ", 'EXECUTE') THEN ''"
                     " ELSE 'this role may not call amcheck (GRANT EXECUTE ON FUNCTION"
                     " bt_index_check(regclass, boolean) TO ' || quote_ident(CAST(current_user AS"
                     " TEXT)) || ')' END",
                     "", "t"},
    [DEEP_NEXT] = {"pg.index_next",
                   "SELECT " INDEX_NAME " FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
                   " JOIN pg_am a ON a.oid = c.relam WHERE c.relnamespace = " OURS
                   " AND a.amname = 'btree' AND i.indisvalid AND " INDEX_NAME
                   " COLLATE \"C\" > ?1 ORDER BY " INDEX_NAME " COLLATE \"C\" LIMIT 1",
                   "t", "t"},
    [DEEP_LOOK] = {"pg.index_look", "SELECT CAST(bt_index_check(to_regclass(?1), true) AS TEXT)",
                   "t", "T"},
};

const struct engine_admin pg_admin = {
    .columns =
        {"pg.columns",
         "SELECT CAST(c.relname AS TEXT), CAST(a.attname AS TEXT),"
         " CASE" LETTER("25", "t", "T") LETTER("20", "i", "I") LETTER("23", "i", "I") LETTER(
             "17", "b",
             "B") " ELSE '?' END,"
                  " COALESCE((SELECT k.n FROM unnest(i.indkey) WITH ORDINALITY k (num, n)"
                  " WHERE k.num = a.attnum), 0), CASE WHEN a.attidentity <> '' THEN 1 ELSE 0 END"
                  " FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
                  " LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary"
                  " WHERE c.relkind = 'r' AND c.relnamespace = " OURS
                  " AND a.attnum > 0 AND NOT a.attisdropped"
                  " AND c.relname NOT IN ('schema_migrations', 'store_commits')"
                  " ORDER BY c.relname, a.attname",
         "", "tttii"},
    .seq_get = {"pg.seq_get",
                "SELECT s.last_value FROM pg_sequences s WHERE s.schemaname = current_schema()"
                " AND quote_ident(s.schemaname) || '.' || quote_ident(s.sequencename)"
                " = pg_get_serial_sequence(?1, ?2)",
                "tt", "I"},
    .seq_set = "SELECT setval(pg_get_serial_sequence('@TABLE@', '@COLUMN@'), @VALUE@)",
    /* the other side of a copy may keep this one waiting */
    .patient = "SET LOCAL idle_in_transaction_session_timeout = 0",
    .checks = {checks, TD_NITEMS(checks)},
    .deep = {deep, TD_NITEMS(deep)},
};
