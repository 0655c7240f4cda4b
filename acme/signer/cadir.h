/* The CA directory: keys, certificates, ca.ini and the audit log. Read once by the worker before it
 * closes itself off.
 *
 * issuing.crt is the active issuing CA. Those that rotation replaced stand beside it until they
 * expire, as issuing-ID.crt, where ID is the subject key identifier in hexadecimal. A key is
 * issuing-ID.key, or issuing.key where that does not exist. */
#ifndef TD_ACME_SIGNER_CADIR_H
#define TD_ACME_SIGNER_CADIR_H

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
};

enum cadir_file {
    CADIR_ROOT_KEY,
    CADIR_ROOT_CERT,
    CADIR_ISSUING_KEY,
    CADIR_ISSUING_CERT,
    CADIR_INI,
    CADIR_AUDIT,
    CADIR_ROOT_CRL,  /* DER; may be missing */
    CADIR_AUDIT_TLS, /* of `tls`, which works beside a serving signer: one writer a log */
    CADIR_FILE_MAX
};

#define CADIR_PATH_MAX 4096
#define CADIR_NAME_MAX 64

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

/* "DIR/issuing-ID.crt" or ".key", by the ending. */
TD_NODISCARD enum td_err cadir_issuing_path(const char *dir, const uint8_t id[static CERT_SKI_SIZE],
                                            const char *ending, char out[static CADIR_PATH_MAX],
                                            struct errinfo *ei);

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
    struct cert *root;
    struct span root_crl;                            /* in the arena; empty when there is none */
    struct cadir_issuing issuing[CADIR_ISSUING_MAX]; /* the active one, then newest first */
    size_t n;                                        /* at least 1 */
};

/* Reads and checks: files private, keys and certificates belong together, the chains hold; older
 * issuing CAs that expired are left out. pass_file may be NULL. A wrong or missing passphrase is
 * TD_CRYPTO with words for the administrator. */
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
