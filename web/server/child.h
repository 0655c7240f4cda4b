/* Programs run to their end: testudo-signer, by the words that look after the CA. Never from the
 * serving process. */
#ifndef TD_WEB_SERVER_CHILD_H
#define TD_WEB_SERVER_CHILD_H

#include "mdm/base/buf.h"

/* Runs the program (a path) and waits; input and output are ours. *ret_status is its exit status,
 * or 128 and the signal that ended it. TD_IO when it cannot be run. */
TD_NODISCARD enum td_err child_run(const char *const *argv, int *ret_status, struct errinfo *ei);

/* The same with its standard output appended to `out` (TD_LIMIT when it holds no more). */
TD_NODISCARD enum td_err child_read(const char *const *argv, struct buf *out, int *ret_status,
                                    struct errinfo *ei);

#endif
