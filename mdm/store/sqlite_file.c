#include "mdm/store/sqlite_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUSY_MS 5000
#define STEP_PAGES 256 /* a megabyte */

static enum td_err fail(sqlite3 *db, int rc, const char *path, struct errinfo *ei)
{
    enum td_err e = TD_DB;
    if ((rc & 0xff) == SQLITE_FULL || (rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_CANTOPEN)
        e = TD_IO;
    if ((rc & 0xff) == SQLITE_BUSY || (rc & 0xff) == SQLITE_LOCKED)
        e = TD_BUSY;
    return err_set(ei, e, "%s: %s", path, db ? sqlite3_errmsg(db) : sqlite3_errstr(rc));
}

static void close_db(sqlite3 **db)
{
    sqlite3_close(*db);
}

#define db_auto __attribute__((cleanup(close_db))) sqlite3

static enum td_err open_db(const char *path, int flags, sqlite3 **ret, struct errinfo *ei)
{
    *ret = NULL;
    int rc = sqlite3_open_v2(path, ret, flags | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK)
        return fail(*ret, rc, path, ei);
    sqlite3_extended_result_codes(*ret, 1);
    sqlite3_busy_timeout(*ret, BUSY_MS);
    return TD_OK;
}

static enum td_err run(sqlite3 *db, const char *path, const char *sql, struct errinfo *ei)
{
    int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? TD_OK : fail(db, rc, path, ei);
}

static enum td_err tell(const struct store_progress *p, sqlite3_backup *b, struct errinfo *ei)
{
    int64_t total = sqlite3_backup_pagecount(b), left = sqlite3_backup_remaining(b);
    const struct store_step step = {STORE_PAGES, NULL, NULL, total - left, total};
    if (!p || !p->fn || p->fn(p->ctx, &step))
        return TD_OK;
    return err_set(ei, TD_GONE, "stopped");
}

/* All pages. The read transaction that is open on `from` stands for the whole copy: without it the
 * library would begin again whenever somebody writes. */
static enum td_err pages(sqlite3 *from, sqlite3 *to, const char *path,
                         const struct store_progress *progress, struct errinfo *ei)
{
    sqlite3_backup *b = sqlite3_backup_init(to, "main", from, "main");
    if (!b)
        return fail(to, sqlite3_errcode(to), path, ei);
    enum td_err e = TD_OK;
    int rc = SQLITE_OK;
    while (e == TD_OK && rc == SQLITE_OK) {
        rc = sqlite3_backup_step(b, STEP_PAGES);
        if (rc == SQLITE_OK || rc == SQLITE_DONE)
            e = tell(progress, b, ei);
    }
    int end = sqlite3_backup_finish(b);
    if (e != TD_OK)
        return e;
    if (rc == SQLITE_DONE && end == SQLITE_OK)
        return TD_OK;
    return fail(NULL, rc == SQLITE_DONE ? end : rc, path, ei);
}

static enum td_err sync_file(const char *path, struct errinfo *ei)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc = fd < 0 ? -1 : fsync(fd);
    int sys = errno;
    if (fd >= 0)
        close(fd);
    return rc == 0 ? TD_OK : err_sys(ei, TD_IO, sys, "%s", path);
}

/* The header of the copy says that it has a log, as the original's does; here it says no more. */
static enum td_err settle(const char *path, struct errinfo *ei)
{
    db_auto *db = NULL;
    TD_TRY(open_db(path, SQLITE_OPEN_READWRITE, &db, ei));
    TD_TRY(run(db, path, "PRAGMA synchronous = FULL; PRAGMA journal_mode = DELETE", ei));
    return TD_OK;
}

enum td_err sqlite_file_copy(const char *from, const char *to,
                             const struct store_progress *progress, struct errinfo *ei)
{
    {
        db_auto *in = NULL, *out = NULL;
        TD_TRY(open_db(from, SQLITE_OPEN_READONLY, &in, ei));
        TD_TRY(open_db(to, SQLITE_OPEN_READWRITE, &out, ei));
        /* a torn copy is thrown away whole, so it needs no journal of its own */
        TD_TRY(run(out, to, "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF", ei));
        TD_TRY(run(in, from, "BEGIN; SELECT count(*) FROM sqlite_schema", ei));
        TD_TRY(pages(in, out, to, progress, ei));
    }
    TD_TRY(settle(to, ei));
    return sync_file(to, ei);
}

enum td_err sqlite_file_fold(const char *path, struct errinfo *ei)
{
    db_auto *db = NULL;
    TD_TRY(open_db(path, SQLITE_OPEN_READWRITE, &db, ei));
    /* leaving the log needs the file for oneself, and says so when it is not to be had */
    sqlite3_stmt *h = NULL;
    int rc = sqlite3_exec(db, "PRAGMA synchronous = FULL", NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v2(db, "PRAGMA journal_mode = DELETE", -1, &h, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(h);
    bool done = rc == SQLITE_ROW && sqlite3_column_bytes(h, 0) == 6 &&
                memcmp(sqlite3_column_text(h, 0), "delete", 6) == 0;
    sqlite3_finalize(h);
    if (rc != SQLITE_ROW)
        return fail(db, rc, path, ei);
    if (!done)
        return err_set(ei, TD_BUSY, "%s is in use", path);
    return TD_OK;
}
