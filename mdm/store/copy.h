/* A whole database copied into another, of whatever engine: rows in the order of their keys, out of
 * one snapshot of the source, in steps that a killed copy goes on behind; then every table compared
 * by its number of rows and a digest over all of them (copy_sql.h). */
#ifndef TD_STORE_COPY_H
#define TD_STORE_COPY_H

#include "mdm/store/store.h"

enum store_phase {
    STORE_PAGES,    /* of a file: done of total */
    STORE_COPYING,  /* rows of the table: done of total */
    STORE_COPIED,   /* the table is at its end */
    STORE_CHANGED,  /* the source changed since the run before: the table is copied again */
    STORE_CHECKING, /* rows of the table compared: done of total */
    STORE_SAME      /* the table is the same on both sides: done rows, this digest */
};

/* Progress; what it points to is good for the call. */
struct store_step {
    enum store_phase phase;
    const char *table;  /* NULL for STORE_PAGES */
    const char *digest; /* hexadecimal, for STORE_SAME */
    int64_t done, total;
};

/* `fn` is called on the way, often; false stops the work with TD_GONE, to go on another time. */
struct store_progress {
    bool (*fn)(void *ctx, const struct store_step *step);
    void *ctx;
};

/* Copies `from` into `to`, which must not exist, be empty, or be an unfinished copy of the same
 * database: else TD_STATE and it is not touched. Until the copy is complete and compared nobody can
 * open `to`. TD_CONFLICT, naming the table, when the comparison fails. The target gets the schema
 * version of the source. Of the conf, url, use, sync_full and clock count. */
TD_NODISCARD enum td_err store_copy(const struct store_conf *from, const struct store_conf *to,
                                    const struct store_progress *progress, struct errinfo *ei);

#endif
