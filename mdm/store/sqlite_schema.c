/* What the tools ask of SQLite: no header of the library is needed for it. */
#include "mdm/store/store_int.h"

/* The table functions of the pragmas, which may stand in a query. */
static const struct store_stmt checks[] = {
    {"sqlite.integrity",
     "SELECT integrity_check FROM pragma_integrity_check WHERE integrity_check <> 'ok'", "", "t"},
    {"sqlite.foreign-keys",
     "SELECT f.\"table\" || ' row ' || COALESCE(f.rowid, '?') || ' names no row of ' || f.parent"
     " FROM pragma_foreign_key_check f",
     "", "t"},
};

const struct engine_admin sqlite_admin = {
    .columns = {"sqlite.columns",
                "SELECT m.name, p.name, CASE p.type"
                " WHEN 'TEXT' THEN CASE WHEN p.\"notnull\" THEN 't' ELSE 'T' END"
                " WHEN 'INTEGER' THEN CASE WHEN p.\"notnull\" THEN 'i' ELSE 'I' END"
                " WHEN 'BLOB' THEN CASE WHEN p.\"notnull\" THEN 'b' ELSE 'B' END"
                " ELSE '?' END,"
                " p.pk, p.pk = 1 AND instr(m.sql, 'AUTOINCREMENT') > 0"
                " FROM sqlite_schema m JOIN pragma_table_info(m.name) p"
                " WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
                " AND m.name <> 'schema_migrations' ORDER BY m.name, p.name",
                "", "tttii"},
    .seq_get = {"sqlite.seq_get",
                "SELECT MAX(seq) FROM sqlite_sequence WHERE name = ?1 AND ?2 <> ''", "tt", "I"},
    .seq_set = "DELETE FROM sqlite_sequence WHERE name = '@TABLE@';"
               "INSERT INTO sqlite_sequence (name, seq) VALUES ('@TABLE@', @VALUE@);",
    .checks = {checks, TD_NITEMS(checks)},
};
