/* The CA directory: two keys, two certificates, ca.ini and the audit log. Read once by the worker
 * before it closes itself off. */
#ifndef TD_ACME_SIGNER_CADIR_H
#define TD_ACME_SIGNER_CADIR_H

#include "mdm/base/arena.h"
#include "mdm/base/secret.h"
#include "mdm/crypt/x509.h"

/* What ca.ini says. Strings live in the arena it was read into; durations are seconds. */
struct cadir_conf {
    const char *org;                /* O of every subject, 1..52 bytes */
    const char *ocsp_url, *aia_url; /* "" leaves the extension out */
    int64_t management_life, access_life, tls_life, responder_life;
};

enum cadir_file {
    CADIR_ROOT_KEY,
    CADIR_ROOT_CERT,
    CADIR_ISSUING_KEY,
    CADIR_ISSUING_CERT,
    CADIR_INI,
    CADIR_AUDIT,
    CADIR_AUDIT_TLS, /* of `tls`, which works beside a serving signer: one writer a log */
    CADIR_FILE_MAX
};

#define CADIR_PATH_MAX 4096

/* "DIR/issuing.key"; TD_LIMIT when longer than the buffer. */
TD_NODISCARD enum td_err cadir_path(const char *dir, enum cadir_file f,
                                    char out[static CADIR_PATH_MAX], struct errinfo *ei);
const char *cadir_name(enum cadir_file f);

/* How much of a CA is there. root.key alone may be missing: it is used by `init` only and may be
 * kept offline. The audit log does not count. */
enum cadir_state { CADIR_EMPTY, CADIR_PART, CADIR_COMPLETE };
enum cadir_state cadir_look(const char *dir);

/* Appends the names of the files that are there (or are not), separated by ", ". */
enum td_err cadir_list(const char *dir, bool there, struct buf *b);

/* ca.ini from text and to text. TD_INVAL names the key. */
TD_NODISCARD enum td_err cadir_conf_parse(struct span text, struct arena *a, struct cadir_conf *ret,
                                          struct errinfo *ei);
TD_NODISCARD enum td_err cadir_conf_text(const struct cadir_conf *c, struct buf *b,
                                         struct errinfo *ei);

/* What serving needs: not the root's key. */
struct cadir {
    struct arena arena; /* of the strings in conf */
    struct cadir_conf conf;
    struct cert *root, *issuing;
    struct key *issuing_key;
};

/* Reads and checks: files private, key and certificate belong together, the chain holds. pass_file
 * may be NULL. A wrong or missing passphrase is TD_CRYPTO with words for the administrator. */
TD_NODISCARD enum td_err cadir_load(const char *dir, const char *pass_file, struct cadir *ret,
                                    struct errinfo *ei);
void cadir_free(struct cadir *c);
#define cadir_auto __attribute__((cleanup(cadir_free))) struct cadir

/* The passphrase, or an empty secret when pass_file is NULL. */
TD_NODISCARD enum td_err cadir_pass(const char *pass_file, struct secret *ret, struct errinfo *ei);

#endif
