/* The lock of a database that is a file: PATH.lock beside it, two bytes of which stand for "the
 * server" and "anybody". The kernel drops the locks of a process that ends, however it ends; the
 * file stays and means nothing by itself. */
#ifndef TD_STORE_LOCK_H
#define TD_STORE_LOCK_H

#include "mdm/store/store.h"

/* Takes what the use wants, without waiting. TD_STATE, naming the process, when somebody else's
 * use stands against it. *ret is what lock_release takes; -1 for STORE_NOLOCK. */
TD_NODISCARD enum td_err lock_take(const char *path, enum store_use use, int *ret,
                                   struct errinfo *ei);
void lock_release(int fd);

#endif
