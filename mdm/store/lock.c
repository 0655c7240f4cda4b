#include "mdm/store/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BYTE_SERVER, BYTE_ANYBODY, BYTE_MAX, BYTE_STATUS = BYTE_MAX };
/* The file: the number of the server's process as text, zeros, and the word at the end. */
enum { PID_SIZE = 32, FILE_SIZE = 4096, WORD = FILE_SIZE / sizeof(uint64_t) - 1 };

/* What each use locks: 'w' against everybody, 'r' against the writers of that byte. */
static const char wants[][BYTE_MAX + 1] = {
    [STORE_SHARED] = "-r",
    [STORE_SERVE] = "wr",
    [STORE_ALONE] = "ww",
    [STORE_NOLOCK] = "--",
};

/* Root may run a tool on the database of a server that is not root. */
static enum td_err give_to_owner(int fd, const char *path, const char *lock, struct errinfo *ei)
{
    struct stat db;
    if (geteuid() != 0 || stat(path, &db) != 0)
        return TD_OK;
    return fchown(fd, db.st_uid, db.st_gid) == 0 ? TD_OK : err_sys(ei, TD_IO, errno, "%s", lock);
}

/* The number a holder of the server's byte wrote, "?" when there is none. */
static void read_pid(int fd, char *out, size_t n)
{
    ssize_t got = pread(fd, out, n - 1, 0);
    out[got > 0 ? got : 0] = '\0';
    out[strspn(out, "0123456789")] = '\0';
    if (!out[0])
        snprintf(out, n, "?");
}

/* For whoever comes later and finds the lock taken; of no other use, so that a full disk is no
 * failure: read_pid then finds no number. */
static void write_pid(int fd)
{
    char text[PID_SIZE] = {0};
    snprintf(text, sizeof text, "%lld\n", (long long)getpid());
    ssize_t put = pwrite(fd, text, sizeof text, 0);
    (void)put;
}

static enum td_err refuse(int fd, int byte, const char *path, enum store_use use,
                          struct errinfo *ei)
{
    char pid[24];
    read_pid(fd, pid, sizeof pid);
    if (byte == BYTE_SERVER)
        return err_set(ei, TD_STATE, "process %s serves %s or has it for itself", pid, path);
    return err_set(ei, TD_STATE, "%s is %s", path,
                   use == STORE_ALONE ? "in use by another process"
                                      : "being copied or replaced by another process");
}

static enum td_err take(int fd, const char *path, enum store_use use, struct errinfo *ei)
{
    for (int byte = 0; byte < BYTE_MAX; byte++) {
        if (wants[use][byte] == '-')
            continue;
        /* of the open file, not of the process: two stores in one process exclude one another */
        struct flock l = {.l_type = wants[use][byte] == 'w' ? F_WRLCK : F_RDLCK,
                          .l_whence = SEEK_SET,
                          .l_start = byte,
                          .l_len = 1};
        if (fcntl(fd, F_OFD_SETLK, &l) == 0)
            continue;
        if (errno == EAGAIN || errno == EACCES)
            return refuse(fd, byte, path, use, ei);
        return err_sys(ei, TD_IO, errno, "cannot lock %s.lock", path);
    }
    if (wants[use][BYTE_SERVER] == 'w')
        write_pid(fd);
    return TD_OK;
}

/* The file in memory. The room for it is taken now, as a write through the mapping could not tell
 * of a full disk. */
static enum td_err map_page(int fd, const char *lock, void **ret, struct errinfo *ei)
{
    int rc = posix_fallocate(fd, 0, FILE_SIZE);
    if (rc != 0)
        return err_sys(ei, TD_IO, rc, "%s", lock);
    void *p = mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return err_sys(ei, TD_NOMEM, errno, "%s", lock);
    *ret = p;
    return TD_OK;
}

enum td_err lock_take(const char *path, enum store_use use, struct lock *ret, struct errinfo *ei)
{
    char lock[PATH_MAX];
    *ret = (struct lock){.fd = -1};
    if (use == STORE_NOLOCK)
        return TD_OK;
    int n = snprintf(lock, sizeof lock, "%s.lock", path);
    if (n < 0 || (size_t)n >= sizeof lock)
        return err_set(ei, TD_INVAL, "%s: the name is too long", path);
    int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_sys(ei, TD_IO, errno, "%s", lock);
    enum td_err e = give_to_owner(fd, path, lock, ei);
    if (e == TD_OK)
        e = take(fd, path, use, ei);
    void *page = NULL;
    if (e == TD_OK)
        e = map_page(fd, lock, &page, ei);
    if (e != TD_OK) {
        close(fd);
        return e;
    }
    *ret = (struct lock){fd, page, (_Atomic uint64_t *)page + WORD};
    return TD_OK;
}

void lock_release(struct lock *l)
{
    if (l->page)
        munmap(l->page, FILE_SIZE);
    if (l->fd >= 0)
        close(l->fd);
    *l = (struct lock){.fd = -1};
}

static int status_lock(const struct lock *l, short type)
{
    struct flock f = {.l_type = type, .l_whence = SEEK_SET, .l_start = BYTE_STATUS, .l_len = 1};
    int rc;
    while ((rc = fcntl(l->fd, F_OFD_SETLKW, &f)) != 0 && errno == EINTR)
        ;
    return rc;
}

/* The word is odd meanwhile. A holder that was killed left it so, and it becomes even with us. */
enum td_err lock_status_begin(struct lock *l, struct errinfo *ei)
{
    if (!l->word)
        return TD_OK;
    if (status_lock(l, F_WRLCK) != 0)
        return err_sys(ei, TD_IO, errno, "cannot lock the database's status");
    atomic_fetch_or(l->word, 1);
    return TD_OK;
}

void lock_status_end(struct lock *l)
{
    if (!l->word)
        return;
    atomic_fetch_add(l->word, 1);
    (void)status_lock(l, F_UNLCK);
}

uint64_t lock_status_epoch(const struct lock *l)
{
    uint64_t v = l->word ? atomic_load(l->word) : 1;
    return v & 1 ? 0 : v + 2;
}
