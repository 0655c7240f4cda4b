/* A database of SQLite as a file: copied while it is written, made one file without a log. */
#ifndef TD_STORE_SQLITE_FILE_H
#define TD_STORE_SQLITE_FILE_H

#include "mdm/store/copy.h"

/* Copies the database at `from` into the file `to`, which exists and is empty, in small steps out
 * of one snapshot: who writes meanwhile is not held up. The copy needs no log beside it and is on
 * the disk when this returns. TD_IO when the disk is full. */
enum td_err sqlite_file_copy(const char *from, const char *to,
                             const struct store_progress *progress, struct errinfo *ei);

/* Moves the log of a database that nobody uses into it, durably, so that the file alone is the
 * whole. TD_BUSY when somebody uses it after all. */
enum td_err sqlite_file_fold(const char *path, struct errinfo *ei);

#endif
