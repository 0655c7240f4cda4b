/* A whole database into one file, and back. The file is a database of SQLite, whatever engine the
 * rows come from: testudo can open it, and so can everybody. */
#ifndef TD_STORE_BACKUP_H
#define TD_STORE_BACKUP_H

#include "mdm/store/copy.h"

/* Writes a backup while the database is served: one snapshot, that holds what was committed before
 * this was called. The file gets its name when it is whole, checked and on the disk, mode 0600;
 * until then, and after any error, `file` is what it was. An existing one is TD_EXISTS unless
 * `replace`. */
TD_NODISCARD enum td_err store_backup(const struct store_conf *conf, const char *file, bool replace,
                                      const struct store_progress *progress, struct errinfo *ei);

/* Puts a backup in the place of the database of `conf`, which nobody may have open (TD_STATE). The
 * file is checked first: TD_STATE when it is damaged, not ours, or newer than this program. A
 * database file that is there is TD_EXISTS unless `aside`, and is then kept beside it under the
 * name *ret_kept (of the arena; NULL when there was none). An engine without a file takes the rows
 * as store_copy does. */
TD_NODISCARD enum td_err store_restore(const struct store_conf *conf, const char *file, bool aside,
                                       const struct store_progress *progress, struct arena *a,
                                       const char **ret_kept, struct errinfo *ei);

#endif
