#include "mdm/base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Whole pages, so that the lock and the dump exclusion cover this secret alone. */
static size_t pages(size_t n)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (n + page - 1) / page * page;
}

enum td_err secret_new(struct secret *ret, size_t n)
{
    if (n == 0 || n > SIZE_MAX / 2)
        return TD_INVAL;
    void *p = mmap(NULL, pages(n), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return TD_NOMEM;
    (void)mlock(p, pages(n)); /* best effort: RLIMIT_MEMLOCK may forbid it */
    (void)madvise(p, pages(n), MADV_DONTDUMP);
    *ret = (struct secret){p, n};
    return TD_OK;
}

void secret_free(struct secret *s)
{
    if (!s || !s->p)
        return;
    explicit_bzero(s->p, s->n);
    munmap(s->p, pages(s->n));
    *s = (struct secret){NULL, 0};
}

bool secret_eq(struct span a, struct span b)
{
    if (a.n != b.n)
        return false;
    volatile uint8_t diff = 0;
    for (size_t i = 0; i < a.n; i++)
        diff = (uint8_t)(diff | (a.p[i] ^ b.p[i]));
    return diff == 0;
}

enum td_err secret_read_file(const char *path, size_t max, struct secret *ret, struct errinfo *ei)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return err_sys(ei, TD_IO, errno, "cannot open %s", path);
    secret_auto s = {NULL, 0};
    enum td_err e = secret_new(&s, max + 1);
    size_t n = 0;
    while (e == TD_OK && n < s.n) {
        ssize_t got = read(fd, s.p + n, s.n - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            e = err_sys(ei, TD_IO, errno, "cannot read %s", path);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    close(fd);
    TD_TRY(e);
    if (n > max)
        return err_set(ei, TD_LIMIT, "%s holds more than %zu bytes", path, max);
    if (n > 0 && s.p[n - 1] == '\n')
        n--;
    if (n == 0)
        return err_set(ei, TD_INVAL, "%s is empty", path);
    TD_TRY(secret_new(ret, n));
    memcpy(ret->p, s.p, n);
    return TD_OK;
}
