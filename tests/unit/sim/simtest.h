/* What the simulator's tests share. */
#ifndef TD_UNIT_SIMTEST_H
#define TD_UNIT_SIMTEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* keep cmocka's headers in this order */
#include <cmocka.h>

#include <stdlib.h>
#include <unistd.h>

/* A fresh directory below the system's temporary one; `out` is the template's buffer. */
static inline void simtest_dir(char out[static 64])
{
    memcpy(out, "/tmp/testudo-sim-test-XXXXXX", sizeof("/tmp/testudo-sim-test-XXXXXX"));
    assert_non_null(mkdtemp(out));
}

/* Removes the known files of a test directory and the directory. */
static inline void simtest_rmdir(const char *dir, const char *const *names, size_t n)
{
    char path[256];
    for (size_t i = 0; i < n; i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        unlink(path);
        rmdir(path);
    }
    assert_int_equal(rmdir(dir), 0);
}

#endif
