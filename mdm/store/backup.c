#include "mdm/store/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "mdm/base/fs.h"
#include "mdm/base/hex.h"
#include "mdm/base/rng.h"
#include "mdm/store/lock.h"
#include "mdm/store/sqlite_file.h"
#include "mdm/store/tool.h"

/* The path of a database that is a file, else NULL. */
static const char *file_of(const struct store_conf *conf)
{
    size_t n = strlen(STORE_SQLITE_SCHEME);
    return strncmp(conf->url, STORE_SQLITE_SCHEME, n) == 0 ? conf->url + n : NULL;
}

/* The same conf for a file that nobody else works with. */
static enum td_err conf_of(const struct store_conf *like, const char *file, char url[PATH_MAX],
                           struct store_conf *ret, struct errinfo *ei)
{
    int n = snprintf(url, PATH_MAX, STORE_SQLITE_SCHEME "%s", file);
    if (n < 0 || n >= PATH_MAX)
        return err_set(ei, TD_INVAL, "%s: the name is too long", file);
    *ret = *like;
    ret->url = url;
    ret->use = STORE_NOLOCK;
    ret->sync_full = true;
    return TD_OK;
}

/* --- names ----------------------------------------------------------------------------------- */

/* An empty file beside `path`, ours alone. */
static enum td_err make_temp(const char *path, char out[PATH_MAX], struct errinfo *ei)
{
    uint8_t raw[6];
    char random[2 * sizeof raw + 1];
    rng_fill(&rng_system, raw, sizeof raw);
    hex_enc(SPAN_ARR(raw), random);
    int n = snprintf(out, PATH_MAX, "%s.%s.partial", path, random);
    if (n < 0 || n >= PATH_MAX)
        return err_set(ei, TD_INVAL, "%s: the name is too long", path);
    int fd = open(out, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_sys(ei, TD_IO, errno, "cannot write %s", path);
    close(fd);
    return TD_OK;
}

/* A temporary file and what its engine may have put beside it. */
static void drop_temp(const char *temp)
{
    static const char *const behind[] = {"", "-wal", "-shm", "-journal"};
    char path[PATH_MAX + 16];
    for (size_t i = 0; i < TD_NITEMS(behind); i++) {
        snprintf(path, sizeof path, "%s%s", temp, behind[i]);
        (void)unlink(path);
    }
}

/* Gives the temporary file its name. */
static enum td_err name_temp(const char *temp, const char *path, bool replace, struct errinfo *ei)
{
    /* link, unlike rename, never takes the place of a file that exists */
    int rc = replace ? rename(temp, path) : link(temp, path);
    if (rc != 0) {
        enum td_err e = errno == EEXIST ? TD_EXISTS : TD_IO;
        return err_sys(ei, e, errno, "cannot write %s", path);
    }
    if (!replace)
        (void)unlink(temp);
    return fs_sync_dir_of(path, ei);
}

/* --- looking at a file ----------------------------------------------------------------------- */

/* What is wrong with it, as the engine sees it; the first finding is the error. */
static enum td_err check_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct migrate_state st;
    (void)ctx;
    TD_TRY(migrate_look(tx, store_migrations, store_nmigrations, &st, ei));
    if (st.applied == 0)
        return err_set(ei, TD_STATE, "an empty database");
    if (st.copy[0])
        return err_set(ei, TD_STATE, "an unfinished copy");
    const struct store_stmts *checks = &tx->ops->admin->checks;
    for (size_t i = 0; i < checks->n; i++) {
        struct cur c;
        enum td_err e = tx_row(tx, &checks->stmts[i], NULL, 0, &c, ei);
        if (e == TD_NOTFOUND)
            continue;
        TD_TRY(e);
        struct span s = cur_span(&c, 0);
        e = err_set(ei, TD_STATE, "damaged: %.*s", (int)(s.n < 120 ? s.n : 120), (const char *)s.p);
        cur_end(&c);
        return e;
    }
    return TD_OK;
}

/* TD_STATE unless the file is a whole database of ours, of this version or an older one. */
static enum td_err check_file(const struct store_conf *like, const char *file, struct errinfo *ei)
{
    char url[PATH_MAX];
    struct store_conf conf;
    struct errinfo own = {0};
    tool_auto t = {0};
    TD_TRY(conf_of(like, file, url, &conf, ei));
    enum td_err e = tool_open(&t, &conf, CONN_CHECK, NULL, 0, &own);
    if (e == TD_OK)
        e = tool_read(&t, check_job, NULL, &own);
    if (e == TD_OK)
        return TD_OK;
    /* what a damaged file makes the library say is a finding, not a fault */
    if (e == TD_DB)
        e = TD_STATE;
    return err_set(ei, e, "%s: %s", file, err_msg(&own, e));
}

static enum td_err check_regular(const char *file, struct stat *ret, struct errinfo *ei)
{
    if (stat(file, ret) != 0)
        return err_sys(ei, errno == ENOENT ? TD_NOTFOUND : TD_IO, errno, "%s", file);
    if (!S_ISREG(ret->st_mode))
        return err_set(ei, TD_INVAL, "%s is not a file", file);
    return TD_OK;
}

/* --- backup ---------------------------------------------------------------------------------- */

/* Every refusal that needs no work. */
static enum td_err check_destination(const struct store_conf *conf, const char *file, bool replace,
                                     struct errinfo *ei)
{
    struct stat to, db;
    if (!file[0])
        return err_set(ei, TD_INVAL, "the name of the backup is empty");
    if (lstat(file, &to) != 0)
        return TD_OK;
    const char *path = file_of(conf);
    if (path && stat(path, &db) == 0 && db.st_dev == to.st_dev && db.st_ino == to.st_ino)
        return err_set(ei, TD_INVAL, "%s is the database itself", file);
    if (!S_ISREG(to.st_mode))
        return err_set(ei, TD_INVAL, "%s is not a file", file);
    return replace ? TD_OK : err_set(ei, TD_EXISTS, "%s exists", file);
}

/* The source must be whole enough to say what it is. */
static enum td_err look_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct migrate_state *st = ctx;
    TD_TRY(migrate_look(tx, store_migrations, store_nmigrations, st, ei));
    if (st->applied == 0)
        return err_set(ei, TD_STATE, "an empty database");
    return st->copy[0] ? err_set(ei, TD_STATE, "an unfinished copy") : TD_OK;
}

static enum td_err look_at(const struct store_conf *conf, struct errinfo *ei)
{
    struct migrate_state st;
    tool_auto t = {0};
    TD_TRY(tool_open(&t, conf, CONN_CHECK, NULL, 0, ei));
    return tool_read(&t, look_job, &st, ei);
}

/* Rows out of an engine without a file. */
static enum td_err rows_into(const struct store_conf *conf, const char *file,
                             const struct store_progress *progress, struct errinfo *ei)
{
    char url[PATH_MAX];
    struct store_conf to;
    TD_TRY(conf_of(conf, file, url, &to, ei));
    TD_TRY(store_copy(conf, &to, progress, ei));
    return sqlite_file_fold(file, ei);
}

static enum td_err fill(const struct store_conf *conf, const char *temp,
                        const struct store_progress *progress, struct errinfo *ei)
{
    const char *path = file_of(conf);
    TD_TRY(look_at(conf, ei));
    TD_TRY(path ? sqlite_file_copy(path, temp, progress, ei) : rows_into(conf, temp, progress, ei));
    return check_file(conf, temp, ei);
}

enum td_err store_backup(const struct store_conf *conf, const char *file, bool replace,
                         const struct store_progress *progress, struct errinfo *ei)
{
    char temp[PATH_MAX];
    struct store_conf look = *conf;
    look.use = STORE_NOLOCK;
    TD_TRY(check_destination(conf, file, replace, ei));
    TD_TRY(make_temp(file, temp, ei));
    enum td_err e = fill(&look, temp, progress, ei);
    if (e == TD_OK)
        e = name_temp(temp, file, replace, ei);
    if (e != TD_OK)
        drop_temp(temp);
    return e;
}

/* --- restore --------------------------------------------------------------------------------- */

/* The log of a database that cannot be opened goes where the database goes. */
static enum td_err move_log(const char *path, const char *kept, const char *behind,
                            struct errinfo *ei)
{
    char from[PATH_MAX + 16], to[PATH_MAX + 16];
    snprintf(from, sizeof from, "%s%s", path, behind);
    snprintf(to, sizeof to, "%s%s", kept, behind);
    if (rename(from, to) != 0 && errno != ENOENT)
        return err_sys(ei, TD_IO, errno, "cannot move %s", from);
    return TD_OK;
}

/* Folds the log into the database, when it is one: of a damaged file nothing is changed. */
static enum td_err fold_old(const struct store_conf *conf, const char *path, struct errinfo *ei)
{
    char url[PATH_MAX];
    struct store_conf look;
    tool_auto t = {0};
    TD_TRY(conf_of(conf, path, url, &look, ei));
    TD_TRY(tool_open(&t, &look, CONN_CHECK, NULL, 0, ei));
    tool_close(&t);
    return sqlite_file_fold(path, ei);
}

/* Gives the present database a second name, behind which it stays. The first is never without a
 * database; its log, which would be taken for that of the new one, is folded into it before. */
static enum td_err keep_old(const struct store_conf *conf, const char *path, struct arena *a,
                            const char **ret_kept, struct errinfo *ei)
{
    int64_t now = clock_now(conf->clock);
    time_t t = (time_t)now;
    struct tm tm;
    char when[32];
    gmtime_r(&t, &tm);
    strftime(when, sizeof when, "%Y%m%dT%H%M%SZ", &tm);
    char *kept = arena_printf(a, "%s.before-restore-%s", path, when);
    if (!kept)
        return TD_NOMEM;
    enum td_err e = fold_old(conf, path, ei);
    if (e == TD_BUSY)
        return e;
    if (link(path, kept) != 0)
        return err_sys(ei, TD_IO, errno, "cannot keep the present database as %s", kept);
    if (e != TD_OK) { /* damaged: all of it is kept as it is */
        TD_TRY(move_log(path, kept, "-wal", ei));
        TD_TRY(move_log(path, kept, "-shm", ei));
        TD_TRY(move_log(path, kept, "-journal", ei));
    }
    *ret_kept = kept;
    return fs_sync_dir_of(path, ei);
}

/* Root may restore for a server that is not root. */
static enum td_err give_to(const char *temp, const struct stat *old, const char *path,
                           struct errinfo *ei)
{
    struct stat dir;
    char name[PATH_MAX];
    if (geteuid() != 0)
        return TD_OK;
    if (!old) {
        const char *slash = strrchr(path, '/');
        snprintf(name, sizeof name, "%.*s", slash ? (int)(slash - path + 1) : 1,
                 slash ? path : ".");
        if (stat(name, &dir) != 0)
            return err_sys(ei, TD_IO, errno, "%s", name);
        old = &dir;
    }
    return chown(temp, old->st_uid, old->st_gid) == 0 ? TD_OK
                                                      : err_sys(ei, TD_IO, errno, "%s", temp);
}

static enum td_err put_in_place(const struct store_conf *conf, const char *file, const char *path,
                                const struct stat *old, const char *temp,
                                const struct store_progress *progress, struct arena *a,
                                const char **ret_kept, struct errinfo *ei)
{
    TD_TRY(sqlite_file_copy(file, temp, progress, ei));
    TD_TRY(check_file(conf, temp, ei));
    TD_TRY(give_to(temp, old, path, ei));
    if (old && old->st_size)
        TD_TRY(keep_old(conf, path, a, ret_kept, ei));
    return name_temp(temp, path, old != NULL, ei);
}

static enum td_err restore_file(const struct store_conf *conf, const char *file,
                                const struct stat *st, const char *path, bool aside,
                                const struct store_progress *progress, struct arena *a,
                                const char **ret_kept, struct errinfo *ei)
{
    struct stat old;
    char temp[PATH_MAX];
    bool there = lstat(path, &old) == 0;
    if (there && !S_ISREG(old.st_mode))
        return err_set(ei, TD_INVAL, "%s is not a file", path);
    if (there && old.st_dev == st->st_dev && old.st_ino == st->st_ino)
        return err_set(ei, TD_INVAL, "%s is the database itself", file);
    if (there && old.st_size && !aside)
        return err_set(ei, TD_EXISTS, "%s exists", path);
    TD_TRY(make_temp(path, temp, ei));
    enum td_err e =
        put_in_place(conf, file, path, there ? &old : NULL, temp, progress, a, ret_kept, ei);
    if (e != TD_OK)
        drop_temp(temp);
    return e;
}

enum td_err store_restore(const struct store_conf *conf, const char *file, bool aside,
                          const struct store_progress *progress, struct arena *a,
                          const char **ret_kept, struct errinfo *ei)
{
    struct stat st;
    char url[PATH_MAX];
    struct store_conf from;
    const char *path = file_of(conf);
    *ret_kept = NULL;
    TD_TRY(check_regular(file, &st, ei));
    TD_TRY(check_file(conf, file, ei));
    if (path && (!path[0] || path[0] == ':'))
        return err_set(ei, TD_INVAL, "sqlite: needs the path of a file");
    if (!path) {
        TD_TRY(conf_of(conf, file, url, &from, ei));
        return store_copy(&from, conf, progress, ei);
    }
    struct lock lock;
    TD_TRY(lock_take(path, STORE_ALONE, &lock, ei));
    enum td_err e = restore_file(conf, file, &st, path, aside, progress, a, ret_kept, ei);
    lock_release(&lock);
    return e;
}
