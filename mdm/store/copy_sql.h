/* The statements of a copy, made from the schema, and the walk over a table in the order of its
 * primary key. */
#ifndef TD_STORE_COPY_SQL_H
#define TD_STORE_COPY_SQL_H

#include "mdm/crypt/digest.h"
#include "mdm/store/schema.h"

enum copy_stmt {
    COPY_FIRST, /* a page from the beginning: limit -> every column */
    COPY_NEXT,  /* a page behind a key: key, limit -> every column */
    COPY_COUNT,
    COPY_ANY,    /* a row when there is one */
    COPY_LAST,   /* the last key */
    COPY_INSERT, /* every column; nothing happens when the row is there */
    COPY_CLEAR,  /* deletes so many rows from the beginning */
    COPY_MAX
};

struct copy_table {
    const struct schema_table *t;
    const struct store_stmt *stmts; /* COPY_MAX */
};

/* Makes them for each table: ret[i] is that of schema->tables[i], and all statements stand in one
 * array of schema->n * COPY_MAX that begins at ret[0].stmts. In the arena. */
enum td_err copy_sql_make(const struct schema *s, struct arena *a, struct copy_table **ret,
                          struct errinfo *ei);

/* A primary key, owned. */
struct copy_key {
    bool set;
    struct sval v[SCHEMA_KEY];
    struct buf bytes;
};

void copy_key_init(struct copy_key *k);
void copy_key_free(struct copy_key *k);

/* The last key of the table; not set when it is empty. */
enum td_err copy_key_last(struct tx *tx, const struct copy_table *t, struct copy_key *ret,
                          struct errinfo *ei);

/* What a walk hands each row to; the values are good for the call. */
typedef enum td_err (*copy_row_fn)(void *ctx, const struct copy_table *t, const struct sval *row,
                                   struct errinfo *ei);

struct copy_page {
    int64_t limit, rows; /* at most, and got */
    size_t bytes;
};

/* One page behind the key `after` (from the beginning when it is not set); *last becomes the key of
 * its last row, and stays when there is none. */
enum td_err copy_page_walk(struct tx *tx, const struct copy_table *t, const struct copy_key *after,
                           struct copy_page *page, struct copy_key *last, copy_row_fn fn, void *ctx,
                           struct errinfo *ei);

/* The limit of the next page: many small rows, few large ones. */
int64_t copy_page_next(const struct copy_page *page);

/* The digest of a table: over its rows in key order, d' = SHA-256(d || row), beginning with zeros.
 * A row is its columns by name; a column is a byte (0 NULL, 1 integer, 2 text, 3 blob), then for an
 * integer 8 bytes, for text and blob the length in 8 bytes and the bytes; big-endian. */
struct copy_digest {
    uint8_t sum[SHA256_SIZE];
    int64_t rows;
    struct buf row;
};

void copy_digest_init(struct copy_digest *d);
void copy_digest_free(struct copy_digest *d);
enum td_err copy_digest_row(struct copy_digest *d, size_t ncols, const struct sval *row);

#endif
