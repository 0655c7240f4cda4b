/* The audit lines of words that are run by hand, in audit-tls.log: the serving signer has
 * audit.log. */
#ifndef TD_ACME_SIGNER_HANDLOG_H
#define TD_ACME_SIGNER_HANDLOG_H

#include "acme/signer/audit_log.h"
#include "mdm/base/secret.h"
#include "mdm/crypt/x509.h"

/* One line, durable, under a checkpoint: what was done with a CA certificate. `what` takes the
 * place of the profile, the key identifier that of the subject. */
TD_NODISCARD enum td_err handlog_ca(const char *dir, const struct secret *pass, const char *what,
                                    const struct cert *c, struct errinfo *ei);

/* A checkpoint of the log at `path`, which was just flushed. */
TD_NODISCARD enum td_err handlog_sign(const char *path, const struct key *key,
                                      const struct audit_log *log, struct errinfo *ei);

#endif
