/* testudo ca audit verify: the logs against their chains of hashes, their checkpoints, and what
 * left the machine. */
#ifndef TD_ACME_SIGNER_AUDITCHECK_H
#define TD_ACME_SIGNER_AUDITCHECK_H

#include "mdm/base/buf.h"

struct auditcheck_opts {
    const char *dir;
    const char *since;    /* "NUMBER:HASH", or a file of checkpoints; of audit.log; NULL */
    const char *pub_file; /* the audit key's public half as kept elsewhere; NULL: DIR/audit.pub */
};

/* Checks both logs; a line about each into `out`. TD_STATE names the first thing that is wrong. */
TD_NODISCARD enum td_err auditcheck_run(const struct auditcheck_opts *o, struct buf *out,
                                        struct errinfo *ei);

#endif
