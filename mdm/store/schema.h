/* The tables of a database as they stand in it: what a tool needs that works on all of them. */
#ifndef TD_STORE_SCHEMA_H
#define TD_STORE_SCHEMA_H

#include "mdm/store/store_int.h"

#define SCHEMA_COLUMNS 64 /* of one table, at most */
#define SCHEMA_KEY 4      /* columns of a primary key, at most */

struct schema_table {
    const char *name;
    const char *cols[SCHEMA_COLUMNS]; /* ordered by name */
    char letters[SCHEMA_COLUMNS + 1]; /* of the columns, as in struct store_stmt */
    size_t ncols;
    size_t key[SCHEMA_KEY]; /* the columns of the primary key, in its order */
    size_t nkey;
    const char *identity; /* the @ID@ column, or NULL */
};

struct schema {
    struct schema_table *tables; /* ordered by name */
    size_t n;
};

/* Reads it; engine_admin's `columns` must be registered. Everything lives in the arena. TD_STATE
 * for a table that none of our migrations makes: no key, a foreign type, an odd name. */
enum td_err schema_read(struct tx *tx, struct arena *a, struct schema *ret, struct errinfo *ei);

/* TD_OK when both have the same tables with the same columns and keys; TD_STATE names the first
 * table that differs. */
enum td_err schema_same(const struct schema *a, const struct schema *b, struct errinfo *ei);

#endif
