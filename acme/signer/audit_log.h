/* The signer's own record of what it signed: audit.log, one JSON object per line, each with the
 * SHA-256 of the line before it (newline included; 64 zeros on the first), so that a line that is
 * changed or taken out is found. Lines are collected, then made durable together: a certificate
 * leaves only after its line is on disk. */
#ifndef TD_ACME_SIGNER_AUDIT_LOG_H
#define TD_ACME_SIGNER_AUDIT_LOG_H

#include "mdm/base/buf.h"
#include "mdm/crypt/digest.h"

struct audit_log {
    int fd;
    int64_t size;              /* durable bytes */
    uint64_t seq;              /* of the last durable line */
    uint8_t last[SHA256_SIZE]; /* its hash */
    struct buf pending;        /* lines not yet written */
    uint64_t pending_seq;
    uint8_t pending_last[SHA256_SIZE];
};

struct audit_entry {
    int64_t at;
    const char *profile;
    const char *subject; /* device serial or host name: checked characters only */
    struct span serial;  /* of the certificate */
    uint8_t spki_sha256[SHA256_SIZE];
    struct span evidence_sha256; /* empty for none */
};

/* Opens (creating it, 0600), takes the lock that allows one writer, waiting up to `wait_ms` for
 * it (TD_BUSY), and finds the end of the chain. A last line without its newline was never
 * acknowledged (the write was cut short): it is removed. TD_STATE when the last line is not ours.
 */
TD_NODISCARD enum td_err audit_log_open(const char *path, int wait_ms, struct audit_log *ret,
                                        struct errinfo *ei);
void audit_log_close(struct audit_log *l);

/* Collects one line. */
TD_NODISCARD enum td_err audit_log_add(struct audit_log *l, const struct audit_entry *e,
                                       struct errinfo *ei);

/* Writes what was collected and waits until it is durable (one fdatasync); nothing to do is fine.
 * TD_IO: nothing of it counts and the file is as before; TD_STATE: that could not be made sure,
 * the process must end. */
TD_NODISCARD enum td_err audit_log_flush(struct audit_log *l, struct errinfo *ei);

/* Reads the whole file and checks numbers and hashes; *ret_lines lines held. TD_STATE names the
 * first that does not. `each` (may be NULL) is told the hash of every line that held and may
 * object. */
typedef enum td_err (*audit_log_each)(void *ctx, uint64_t seq,
                                      const uint8_t hash[static SHA256_SIZE], struct errinfo *ei);
TD_NODISCARD enum td_err audit_log_verify(const char *path, audit_log_each each, void *ctx,
                                          uint64_t *ret_lines, uint8_t ret_last[static SHA256_SIZE],
                                          struct errinfo *ei);

#endif
