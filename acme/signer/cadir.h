/* The CA directory: keys, certificates, ca.ini and the audit log. Read once by the worker before it
 * closes itself off.
 *
 * issuing.crt is the active issuing CA. Those that rotation replaced stand beside it until some
 * time behind their end, as issuing-ID.crt, where ID is the subject key identifier in hexadecimal;
 * those that are to become active as issuing-ID.standby. A key is issuing-ID.key, or issuing.key
 * where that does not exist. */
#ifndef TD_ACME_SIGNER_CADIR_H
#define TD_ACME_SIGNER_CADIR_H

#include "acme/signer/keyfile.h"
#include "acme/signer/proto/profile_set.h"
#include "acme/signer/proto/signer_msg.h"
#include "mdm/base/arena.h"
#include "mdm/base/secret.h"
#include "mdm/crypt/x509.h"

/* What ca.ini says. Strings live in the arena it was read into; durations are seconds. */
struct cadir_conf {
    const char *org;                /* O of every subject, 1..52 bytes */
    const char *ocsp_url, *aia_url; /* "" leaves the extension out */
    const char *crl_url;            /* what distribution points begin with; "" as above */
    int64_t crl_shards;             /* parts of a CRL, never to be lowered */
    int64_t management_life, access_life, tls_life, responder_life;
    const char *module, *pin_file; /* PKCS#11; "" for keys in files */
    const char *issuing_key;       /* URI of where new issuing keys are made, "" for files */
};

/* The longest life of a certificate: so long before an issuing CA ends it can issue no more. */
int64_t cadir_longest(const struct cadir_conf *c, const struct profile_set *profiles);

enum cadir_file {
    CADIR_ROOT_KEY,
    CADIR_ROOT_CERT,
    CADIR_ISSUING_KEY,
    CADIR_ISSUING_CERT,
    CADIR_INI,
    CADIR_AUDIT,
    CADIR_ROOT_CRL,    /* DER; may be missing */
    CADIR_AUDIT_TLS,   /* of words run by hand beside a serving signer: one writer a log */
    CADIR_PENDING_KEY, /* of an issuing CA to come, until its certificate is there */
    CADIR_AUDIT_KEY,   /* signs checkpoints of the logs (checkpoint.h) */
    CADIR_AUDIT_PUB,   /* its public half */
    CADIR_AUDIT_MARKS, /* checkpoints of audit.log */
    CADIR_AUDIT_TLS_MARKS,
    CADIR_FILE_MAX
};

#define CADIR_PATH_MAX 4096
#define CADIR_NAME_MAX 64

/* "DIR/issuing.key"; TD_LIMIT when longer than the buffer. */
TD_NODISCARD enum td_err cadir_path(const char *dir, enum cadir_file f,
                                    char out[static CADIR_PATH_MAX], struct errinfo *ei);
const char *cadir_name(enum cadir_file f);

/* How much of a CA is there. root.key may be missing: it may be kept offline. CADIR_WAITING is a CA
 * whose issuing certificate is still to be imported; CADIR_ROOT a root alone, on the offline
 * machine. The audit log does not count. */
enum cadir_state { CADIR_EMPTY, CADIR_PART, CADIR_WAITING, CADIR_ROOT, CADIR_COMPLETE };
enum cadir_state cadir_look(const char *dir);

/* One change of the directory at a time: the descriptor holds the lock until it is closed, and
 * fsync on it makes names durable. TD_BUSY when another holds it. */
TD_NODISCARD enum td_err cadir_lock(const char *dir, int *ret_fd, struct errinfo *ei);

/* Appends the names of the files that are there (or are not), separated by ", ". */
enum td_err cadir_list(const char *dir, bool there, struct buf *b);

/* ca.ini from text and to text. TD_INVAL names the key. */
TD_NODISCARD enum td_err cadir_conf_parse(struct span text, struct arena *a, struct cadir_conf *ret,
                                          struct errinfo *ei);
TD_NODISCARD enum td_err cadir_conf_text(const struct cadir_conf *c, struct buf *b,
                                         struct errinfo *ei);

/* "DIR/issuing-ID.crt" or ".key", by the ending. */
TD_NODISCARD enum td_err cadir_issuing_path(const char *dir, const uint8_t id[static CERT_SKI_SIZE],
                                            const char *ending, char out[static CADIR_PATH_MAX],
                                            struct errinfo *ei);

/* One of the files, read. */
TD_NODISCARD enum td_err cadir_read_conf(const char *dir, struct arena *a, struct cadir_conf *ret,
                                         struct errinfo *ei);
TD_NODISCARD enum td_err cadir_read_cert(const char *dir, const char *name, struct cert **ret,
                                         struct errinfo *ei);

/* What opens the keys: the passphrase, and the module when ca.ini names one. */
struct cadir_access {
    struct secret pass;
    struct hsm *hsm;
};
TD_NODISCARD enum td_err cadir_access_open(const struct cadir_conf *c, const char *pass_file,
                                           struct cadir_access *ret, struct errinfo *ei);
void cadir_access_close(struct cadir_access *by);
struct keyfile_access cadir_access_view(const struct cadir_access *by);

#define CADIR_STANDBY ".standby"

/* Calls fn for each file "issuing-ID" with that ending (".crt", ".key" or CADIR_STANDBY), until one
 * fails. */
typedef enum td_err (*cadir_each_fn)(void *ctx, const char *name, struct errinfo *ei);
TD_NODISCARD enum td_err cadir_each(const char *dir, const char *ending, cadir_each_fn fn,
                                    void *ctx, struct errinfo *ei);

/* Whether the file of that name, "issuing-ID.standby", counts. It does not, as when a change was
 * cut short, when that CA is the active one (may be NULL) or was. */
bool cadir_stands_by(const char *dir, const char *name, const struct cert *active);

/* Where the key of that issuing CA is: under the CA's own name, or, of the first one, issuing.key.
 */
TD_NODISCARD enum td_err cadir_key_path(const char *dir, const uint8_t id[static CERT_SKI_SIZE],
                                        char out[static CADIR_PATH_MAX], struct errinfo *ei);

#define CADIR_ISSUING_MAX SIGNER_MSG_ISSUERS_MAX

struct cadir_issuing {
    struct cert *cert;
    struct key *key;
    uint8_t id[CERT_SKI_SIZE]; /* subject key identifier */
    char hex[2 * CERT_SKI_SIZE + 1];
};

/* What serving needs: not the root's key. */
struct cadir {
    struct arena arena; /* of the strings in conf */
    struct cadir_conf conf;
    struct profile_set profiles; /* what a device's certificate may be */
    struct cadir_access access;
    struct key *audit_key;
    struct cert *root;
    struct span root_crl; /* in the arena; empty when there is none */
    /* the active one, then the others, newest first: they sign OCSP answers and CRLs alone */
    struct cadir_issuing issuing[CADIR_ISSUING_MAX];
    size_t n; /* at least 1 */
};

/* Reads and checks: files private, keys and certificates belong together, the chains hold; of the
 * issuing CAs but the active one those that expired ISSUER_KEPT ago are left out. pass_file may be
 * NULL. A wrong or missing passphrase is TD_CRYPTO with words for the administrator. */
TD_NODISCARD enum td_err cadir_load(const char *dir, const char *pass_file, struct cadir *ret,
                                    struct errinfo *ei);
void cadir_free(struct cadir *c);

/* The issuing CA with that identifier; NULL when there is none. */
const struct cadir_issuing *cadir_find(const struct cadir *c,
                                       const uint8_t id[static CERT_SKI_SIZE]);
#define cadir_auto __attribute__((cleanup(cadir_free))) struct cadir

/* The passphrase, or an empty secret when pass_file is NULL. */
TD_NODISCARD enum td_err cadir_pass(const char *pass_file, struct secret *ret, struct errinfo *ei);

#endif
