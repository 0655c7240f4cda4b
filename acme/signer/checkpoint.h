/* Signed checkpoints of an audit log: the number and hash of a line, signed by the audit key, one
 * JSON object per line in a file beside the log. The chain of hashes finds a line that was changed
 * or taken out; a checkpoint finds a log that was cut off, or written anew from some line on.
 * Checkpoints are logged too: a copy that left the machine finds what was done to both files. */
#ifndef TD_ACME_SIGNER_CHECKPOINT_H
#define TD_ACME_SIGNER_CHECKPOINT_H

#include "acme/signer/audit_log.h"
#include "mdm/base/secret.h"
#include "mdm/crypt/key.h"

#define CHECKPOINT_KEY_ID 8 /* octets of the SHA-256 of the audit key's SPKI that name it */

/* The audit key of the directory (audit.key, its public half in audit.pub), made when there is
 * none. */
TD_NODISCARD enum td_err checkpoint_key(const char *dir, const struct secret *pass,
                                        struct key **ret, struct errinfo *ei);

struct checkpoints {
    int fd;           /* appended to; -1 when closed */
    const char *name; /* of the log: "audit.log" */
    const struct key *key;
    char key_id[2 * CHECKPOINT_KEY_ID + 1];
    uint64_t seq; /* the line last signed */
    int64_t signed_ms, logged_ms;
};

/* Opens the file that belongs to a log (DIR/audit.log: DIR/audit.checkpoints); borrows the key and
 * the name. The oldest of very many checkpoints are dropped. */
TD_NODISCARD enum td_err checkpoints_open(const char *log_path, const char *name,
                                          const struct key *key, struct checkpoints *ret,
                                          struct errinfo *ei);
void checkpoints_close(struct checkpoints *c);

/* Whether lines are durable that no checkpoint covers. */
bool checkpoints_pending(const struct checkpoints *c, const struct audit_log *l);

/* Signs the end of the log when enough was added or a second passed; `now` signs it in any case.
 * Called when no line is held back. */
TD_NODISCARD enum td_err checkpoints_sign(struct checkpoints *c, const struct audit_log *l,
                                          bool now, struct errinfo *ei);

/* A line of the log that must be what a checkpoint says. */
struct checkpoint_mark {
    uint64_t seq;
    uint8_t head[SHA256_SIZE];
};

/* One line of the file, its signature verified; TD_PARSE, TD_CRYPTO. The name of the log and the
 * key's identifier must be those given. */
TD_NODISCARD enum td_err checkpoint_parse(struct span line, const char *name, const struct key *key,
                                          struct checkpoint_mark *ret, struct errinfo *ei);

/* The public key in a PEM file. */
TD_NODISCARD enum td_err checkpoint_public(const char *path, struct key **ret, struct errinfo *ei);

#endif
