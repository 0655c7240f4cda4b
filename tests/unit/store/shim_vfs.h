/* A layer over SQLite's own file access, for tests. It can fail the n-th operation of a kind, once
 * or from then on, as a full or a broken disk does. And it can tell what a loss of power leaves: of
 * each file it keeps a second one with what was synced, and shim_power_cut makes of the two what a
 * disk may hold behind the cut: of every sector that was written and not synced the old or the new
 * content. Files are made by whoever opens them first. */
#ifndef TD_TESTS_UNIT_STORE_SHIM_VFS_H
#define TD_TESTS_UNIT_STORE_SHIM_VFS_H

#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mdm/base/rng.h"

enum shim_op { SHIM_OPEN, SHIM_READ, SHIM_WRITE, SHIM_SYNC, SHIM_TRUNCATE };

/* The fault: its operation and result, how many of them go well before, whether it stays. */
static struct {
    enum shim_op op;
    int rc;
    bool stays;
    _Atomic bool armed;
    _Atomic long left, hits;
} shim_fault;

static bool shim_power; /* files opened from now on have their synced twin */

static inline void shim_arm(enum shim_op op, int rc, long after, bool stays)
{
    shim_fault.op = op;
    shim_fault.rc = rc;
    shim_fault.stays = stays;
    atomic_store(&shim_fault.left, after);
    atomic_store(&shim_fault.hits, 0);
    atomic_store(&shim_fault.armed, true);
}

/* The fault is gone; how often it struck. */
static inline long shim_disarm(void)
{
    atomic_store(&shim_fault.armed, false);
    return atomic_load(&shim_fault.hits);
}

static inline int shim_check(enum shim_op op)
{
    if (!atomic_load(&shim_fault.armed) || op != shim_fault.op)
        return SQLITE_OK;
    long left = atomic_fetch_sub(&shim_fault.left, 1);
    if (left > 0 || (left < 0 && !shim_fault.stays))
        return SQLITE_OK;
    atomic_fetch_add(&shim_fault.hits, 1);
    return shim_fault.rc;
}

/* --- files ------------------------------------------------------------------------------------ */

struct shim_range {
    sqlite3_int64 at;
    int n;
};

struct shim_file {
    sqlite3_file base;
    sqlite3_file *real;
    int twin; /* -1: none */
    struct shim_range *dirty;
    size_t ndirty, cap;
};

static sqlite3_vfs *shim_below;

#define SHIM_REAL(f) (((struct shim_file *)(f))->real)

static inline int shim_close(sqlite3_file *f)
{
    struct shim_file *s = (struct shim_file *)f;
    if (s->twin >= 0)
        close(s->twin);
    free(s->dirty);
    return s->real->pMethods ? s->real->pMethods->xClose(s->real) : SQLITE_OK;
}

static inline int shim_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
    int rc = shim_check(SHIM_READ);
    return rc ? rc : SHIM_REAL(f)->pMethods->xRead(SHIM_REAL(f), p, n, at);
}

static inline int shim_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
    struct shim_file *s = (struct shim_file *)f;
    int rc = shim_check(SHIM_WRITE);
    if (rc)
        return rc;
    if (s->twin >= 0) {
        if (s->ndirty == s->cap) {
            s->cap = s->cap ? s->cap * 2 : 64;
            s->dirty = realloc(s->dirty, s->cap * sizeof *s->dirty);
            if (!s->dirty)
                abort();
        }
        s->dirty[s->ndirty++] = (struct shim_range){at, n};
    }
    return s->real->pMethods->xWrite(s->real, p, n, at);
}

static inline int shim_truncate(sqlite3_file *f, sqlite3_int64 n)
{
    int rc = shim_check(SHIM_TRUNCATE);
    return rc ? rc : SHIM_REAL(f)->pMethods->xTruncate(SHIM_REAL(f), n);
}

/* What was written reaches the twin. No disk is asked: the test is of what depends on it. */
static inline int shim_sync(sqlite3_file *f, int flags)
{
    struct shim_file *s = (struct shim_file *)f;
    int rc = shim_check(SHIM_SYNC);
    (void)flags;
    if (rc || s->twin < 0)
        return rc;
    sqlite3_int64 size = 0;
    rc = s->real->pMethods->xFileSize(s->real, &size);
    for (size_t i = 0; i < s->ndirty && rc == SQLITE_OK; i++) {
        char buf[65536 + 64];
        struct shim_range *d = &s->dirty[i];
        if (d->n > (int)sizeof buf)
            abort();
        if (d->at + d->n > size)
            continue; /* truncated since */
        rc = s->real->pMethods->xRead(s->real, buf, d->n, d->at);
        if (rc == SQLITE_OK && pwrite(s->twin, buf, (size_t)d->n, d->at) != d->n)
            abort();
    }
    if (rc == SQLITE_OK && ftruncate(s->twin, size) != 0)
        abort();
    s->ndirty = 0;
    return rc;
}

static inline int shim_size(sqlite3_file *f, sqlite3_int64 *n)
{
    return SHIM_REAL(f)->pMethods->xFileSize(SHIM_REAL(f), n);
}

static inline int shim_lock(sqlite3_file *f, int kind)
{
    return SHIM_REAL(f)->pMethods->xLock(SHIM_REAL(f), kind);
}

static inline int shim_unlock(sqlite3_file *f, int kind)
{
    return SHIM_REAL(f)->pMethods->xUnlock(SHIM_REAL(f), kind);
}

static inline int shim_reserved(sqlite3_file *f, int *ret)
{
    return SHIM_REAL(f)->pMethods->xCheckReservedLock(SHIM_REAL(f), ret);
}

static inline int shim_control(sqlite3_file *f, int op, void *arg)
{
    return SHIM_REAL(f)->pMethods->xFileControl(SHIM_REAL(f), op, arg);
}

static inline int shim_sector(sqlite3_file *f)
{
    return SHIM_REAL(f)->pMethods->xSectorSize(SHIM_REAL(f));
}

static inline int shim_device(sqlite3_file *f)
{
    return SHIM_REAL(f)->pMethods->xDeviceCharacteristics(SHIM_REAL(f));
}

static inline int shim_shm_map(sqlite3_file *f, int i, int n, int extend, void volatile **ret)
{
    return SHIM_REAL(f)->pMethods->xShmMap(SHIM_REAL(f), i, n, extend, ret);
}

static inline int shim_shm_lock(sqlite3_file *f, int at, int n, int flags)
{
    return SHIM_REAL(f)->pMethods->xShmLock(SHIM_REAL(f), at, n, flags);
}

static inline void shim_shm_barrier(sqlite3_file *f)
{
    SHIM_REAL(f)->pMethods->xShmBarrier(SHIM_REAL(f));
}

static inline int shim_shm_unmap(sqlite3_file *f, int del)
{
    return SHIM_REAL(f)->pMethods->xShmUnmap(SHIM_REAL(f), del);
}

static const sqlite3_io_methods shim_methods = {
    .iVersion = 2,
    .xClose = shim_close,
    .xRead = shim_read,
    .xWrite = shim_write,
    .xTruncate = shim_truncate,
    .xSync = shim_sync,
    .xFileSize = shim_size,
    .xLock = shim_lock,
    .xUnlock = shim_unlock,
    .xCheckReservedLock = shim_reserved,
    .xFileControl = shim_control,
    .xSectorSize = shim_sector,
    .xDeviceCharacteristics = shim_device,
    .xShmMap = shim_shm_map,
    .xShmLock = shim_shm_lock,
    .xShmBarrier = shim_shm_barrier,
    .xShmUnmap = shim_shm_unmap,
};

/* --- the twin --------------------------------------------------------------------------------- */

static inline void shim_twin_path(const char *path, char out[static PATH_MAX])
{
    if (snprintf(out, PATH_MAX, "%s-synced", path) >= PATH_MAX)
        abort();
}

/* All of a file, malloc'd; NULL when there is none. */
static inline uint8_t *shim_slurp(const char *path, size_t *ret_n)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    *ret_n = (size_t)st.st_size;
    uint8_t *p = malloc(*ret_n + 1);
    if (!p || read(fd, p, *ret_n) != (ssize_t)*ret_n)
        abort();
    close(fd);
    return p;
}

static inline void shim_spill(const char *path, const uint8_t *p, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, p, n) != (ssize_t)n)
        abort();
    close(fd);
}

/* Opens the twin; the first to do so makes it, of what is there now. It is there whole or not at
 * all: whoever makes it may be killed. */
static inline int shim_twin_open(const char *path)
{
    char twin[PATH_MAX], half[PATH_MAX];
    size_t n = 0;
    shim_twin_path(path, twin);
    if (snprintf(half, sizeof half, "%s.half", path) >= PATH_MAX)
        abort();
    if (access(twin, F_OK) != 0) {
        uint8_t *p = shim_slurp(path, &n);
        shim_spill(half, p, p ? n : 0);
        free(p);
        if (rename(half, twin) != 0)
            abort();
    }
    int fd = open(twin, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        abort();
    return fd;
}

/* Makes of a file and its twin what may be there when the power comes back. */
static inline void shim_power_cut(const char *path, struct rng *r)
{
    enum { SECTOR = 512 };
    char twin[PATH_MAX];
    size_t nnew = 0, nold = 0;
    shim_twin_path(path, twin);
    uint8_t *new = shim_slurp(path, &nnew), *old = shim_slurp(twin, &nold), coin[3];
    if (new &&old) {
        rng_fill(r, coin, sizeof coin);
        size_t n = coin[0] & 1 ? nnew : nold;
        uint8_t odds = coin[1] % 4 == 0 ? 0 : coin[1] % 4 == 1 ? 250 : 128;
        uint8_t *mix = calloc(1, n + 1);
        if (!mix)
            abort();
        for (size_t at = 0; at < n; at += SECTOR) {
            size_t len = n - at < SECTOR ? n - at : SECTOR;
            rng_fill(r, coin, sizeof coin);
            /* where one of the two ends, the other */
            bool take_new = at + len <= nnew && (at + len > nold || coin[2] < odds);
            if (take_new || at + len <= nold)
                memcpy(mix + at, (take_new ? new : old) + at, len);
        }
        shim_spill(path, mix, n);
        free(mix);
    }
    unlink(twin);
    free(new);
    free(old);
}

/* --- the layer -------------------------------------------------------------------------------- */

static inline int shim_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *out)
{
    struct shim_file *s = (struct shim_file *)f;
    (void)v;
    *s = (struct shim_file){.real = (sqlite3_file *)(s + 1), .twin = -1};
    s->real->pMethods = NULL;
    int rc = shim_check(SHIM_OPEN);
    if (rc)
        return rc;
    if (shim_power && name && (flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL)))
        s->twin = shim_twin_open(name);
    rc = shim_below->xOpen(shim_below, name, s->real, flags, out);
    if (rc == SQLITE_OK)
        s->base.pMethods = &shim_methods;
    else if (s->twin >= 0)
        close(s->twin);
    return rc;
}

static inline int shim_delete(sqlite3_vfs *v, const char *name, int sync)
{
    (void)v;
    return shim_below->xDelete(shim_below, name, sync);
}

/* Puts the layer under every database opened from now on. */
static inline void shim_register(void)
{
    static sqlite3_vfs shim;
    shim_below = sqlite3_vfs_find(NULL);
    shim = *shim_below;
    shim.zName = "shim";
    shim.szOsFile = (int)sizeof(struct shim_file) + shim_below->szOsFile;
    shim.xOpen = shim_open;
    shim.xDelete = shim_delete;
    if (sqlite3_vfs_register(&shim, 1) != SQLITE_OK)
        abort();
}

#endif
