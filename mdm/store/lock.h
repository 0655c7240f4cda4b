/* The lock of a database that is a file: PATH.lock beside it, bytes of which stand for "the
 * server", "anybody", and "the status of certificates changes". The kernel drops the locks of a
 * process that ends, however it ends; the file stays, and what it says of the process means nothing
 * by itself.
 *
 * At its end is a word that every process with the lock has in memory: it counts the commits that
 * changed the status of certificates, for store_epoch. */
#ifndef TD_STORE_LOCK_H
#define TD_STORE_LOCK_H

#include <stdatomic.h>

#include "mdm/store/store.h"

struct lock {
    int fd;                 /* -1 for STORE_NOLOCK */
    void *page;             /* the file in memory; NULL for STORE_NOLOCK */
    _Atomic uint64_t *word; /* at its end */
};

/* Takes what the use wants, without waiting. TD_STATE, naming the process, when somebody else's
 * use stands against it; TD_IO also when the disk has no room for the file. */
TD_NODISCARD enum td_err lock_take(const char *path, enum store_use use, struct lock *ret,
                                   struct errinfo *ei);
void lock_release(struct lock *l);

/* Around a commit that changes the status of certificates, of one process at a time. */
TD_NODISCARD enum td_err lock_status_begin(struct lock *l, struct errinfo *ei);
void lock_status_end(struct lock *l);

/* As store_epoch. */
uint64_t lock_status_epoch(const struct lock *l);

#endif
