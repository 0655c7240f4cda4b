#include "mdm/base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mdm/base/hex.h"
#include "mdm/base/rng.h"

static void close_fd(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}
#define fd_auto __attribute__((cleanup(close_fd))) int

static enum td_err read_all(int fd, struct buf *b)
{
    uint8_t chunk[4096];
    enum td_err e = TD_OK;
    while (e == TD_OK) {
        ssize_t got = read(fd, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            e = TD_IO;
        if (got <= 0)
            break;
        e = buf_add(b, chunk, (size_t)got);
    }
    explicit_bzero(chunk, sizeof chunk); /* it may have been a key */
    return e;
}

enum td_err fs_read(const char *path, size_t max, struct buf *ret, struct errinfo *ei)
{
    buf_init(ret, max);
    /* NONBLOCK: opening a FIFO must not wait for its writer; it means nothing to a file */
    fd_auto fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return err_sys(ei, errno == ENOENT ? TD_NOTFOUND : TD_IO, errno, "cannot open %s", path);
    struct stat st;
    if (fstat(fd, &st) != 0)
        return err_sys(ei, TD_IO, errno, "cannot look at %s", path);
    if (!S_ISREG(st.st_mode))
        return err_set(ei, TD_INVAL, "%s is not a regular file", path);
    enum td_err e = read_all(fd, ret);
    if (e == TD_LIMIT)
        e = err_set(ei, e, "%s holds more than %zu bytes", path, max);
    else if (e == TD_IO)
        e = err_sys(ei, e, errno, "cannot read %s", path);
    else if (e != TD_OK)
        e = err_set(ei, e, "no memory to read %s", path);
    if (e != TD_OK)
        buf_free(ret);
    return e;
}

static enum td_err write_all(int fd, struct span data)
{
    while (data.n > 0) {
        ssize_t put = write(fd, data.p, data.n);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return TD_IO;
        data = span_sub(data, (size_t)put, SIZE_MAX);
    }
    return TD_OK;
}

enum td_err fs_sync_dir_of(const char *path, struct errinfo *ei)
{
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - path + 1) : 1, slash ? path : ".");
    fd_auto fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 && fsync(fd) == 0 ? TD_OK : err_sys(ei, TD_IO, errno, "%.120s", dir);
}

static enum td_err write_temp(const char *temp, struct span data, unsigned mode)
{
    fd_auto fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return TD_IO;
    if (fchmod(fd, (mode_t)mode) != 0)
        return TD_IO;
    TD_TRY(write_all(fd, data));
    return fsync(fd) == 0 ? TD_OK : TD_IO;
}

enum td_err fs_write(const char *path, struct span data, unsigned mode, bool replace,
                     struct errinfo *ei)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    uint8_t raw[6];
    char random[2 * sizeof raw + 1], temp[PATH_MAX];
    rng_fill(&rng_system, raw, sizeof raw);
    hex_enc(SPAN_ARR(raw), random);
    int n = snprintf(temp, sizeof temp, "%.*s.%s.%s", (int)(base - path), path, base, random);
    if (*base == 0 || n < 0 || (size_t)n >= sizeof temp)
        return err_set(ei, TD_INVAL, "%s is no name for a file", path);

    enum td_err e = write_temp(temp, data, mode);
    int sys = errno;
    if (e == TD_OK && replace) {
        e = rename(temp, path) == 0 ? TD_OK : TD_IO;
        sys = errno;
    } else if (e == TD_OK) {
        /* link, unlike rename, never takes the place of a file that exists */
        if (link(temp, path) != 0) {
            sys = errno;
            e = sys == EEXIST ? TD_EXISTS : TD_IO;
        }
        unlink(temp);
    }
    if (e == TD_OK) {
        e = fs_sync_dir_of(path, NULL);
        sys = errno;
    } else {
        unlink(temp);
    }
    return e == TD_OK ? e : err_sys(ei, e, sys, "cannot write %s", path);
}

enum td_err fs_mkdir(const char *path, unsigned mode, struct errinfo *ei)
{
    struct stat st;
    if (mkdir(path, (mode_t)mode) == 0)
        return TD_OK;
    int sys = errno;
    if (sys == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return TD_OK;
    return err_sys(ei, TD_IO, sys, "cannot make the directory %s", path);
}

bool fs_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}
