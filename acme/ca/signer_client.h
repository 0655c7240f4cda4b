/* testudo's end of the channel to testudo-signer: starts it (exec, before threads), sends typed
 * requests, matches answers. Requests of many threads are in flight at once; while the signer is
 * away they fail at once with TD_BUSY (503). */
#ifndef TD_ACME_CA_SIGNER_CLIENT_H
#define TD_ACME_CA_SIGNER_CLIENT_H

#include "mdm/base/arena.h"
#include "mdm/base/err.h"
#include "mdm/crypt/ocsp.h"
#include "mdm/crypt/x509.h"

struct signer_client;

/* Forks and executes `program` (testudo-signer) for the CA directory `dir`; call before any thread
 * exists. pass_file may be NULL. */
TD_NODISCARD enum td_err signer_client_start(const char *program, const char *dir,
                                             const char *pass_file, struct signer_client **ret,
                                             struct errinfo *ei);

/* Starts the reader thread and waits (10 s) for the signer's hello: then the CA's certificates are
 * known. TD_TIMEOUT, or the signer's own refusal (wrong passphrase) in *ei. */
TD_NODISCARD enum td_err signer_client_ready(struct signer_client *c, struct errinfo *ei);

void signer_client_stop(struct signer_client *c); /* closes the channel; the signer exits */

bool signer_client_alive(const struct signer_client *c);

/* Borrowed until stop. */
const struct cert *signer_client_root(const struct signer_client *c);
const struct cert *signer_client_issuing(const struct signer_client *c);

struct signer_issue {
    const char *profile;       /* one of the signer's own table */
    const char *device_serial;
    struct span spki;
    struct span evidence_sha256;
};

/* A certificate for that key by that profile: DER in the arena. */
TD_NODISCARD enum td_err signer_issue(struct signer_client *c, const struct signer_issue *r,
                                      struct arena *a, struct span *ret_der, struct errinfo *ei);

/* A signed OCSP response (the signer sets producedAt and checks the window). */
TD_NODISCARD enum td_err signer_ocsp(struct signer_client *c, const struct ocsp_single *singles,
                                     size_t n, struct span nonce, struct arena *a,
                                     struct span *ret_der, struct errinfo *ei);

#endif
