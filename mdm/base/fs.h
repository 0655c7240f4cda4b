/* Files read and written whole. */
#ifndef TD_BASE_FS_H
#define TD_BASE_FS_H

#include "mdm/base/buf.h"

/* Reads a regular file of at most `max` bytes. The caller frees *ret (initialised here). */
enum td_err fs_read(const char *path, size_t max, struct buf *ret, struct errinfo *ei);

/* Writes a new file atomically and durably: temporary name, fsync, rename, fsync of the directory.
 * With `replace` false an existing file gives TD_EXISTS and is not touched. */
enum td_err fs_write(const char *path, struct span data, unsigned mode, bool replace,
                     struct errinfo *ei);

/* Syncs the directory of a file: only then its name, or its new name, is durable. */
TD_NODISCARD enum td_err fs_sync_dir_of(const char *path, struct errinfo *ei);

/* Makes a directory (parents must exist); an existing directory is fine. */
enum td_err fs_mkdir(const char *path, unsigned mode, struct errinfo *ei);

bool fs_exists(const char *path);

#endif
