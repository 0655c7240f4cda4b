/* Keys in a PKCS#11 module. The module is loaded by a process of its own (testudo-signer module),
 * started before the worker closes itself off: vendors' code needs files, sockets and threads that
 * the worker must not have. That process opens keys by URI, makes key pairs and signs digests for
 * the socket it was started with, nothing else. */
#ifndef TD_ACME_SIGNER_HSM_H
#define TD_ACME_SIGNER_HSM_H

#include "mdm/crypt/key.h"

#define HSM_URI_MAX 1024

struct hsm;

struct hsm_conf {
    const char *module;   /* path of the shared object */
    const char *pin_file; /* "" for a token without login */
};

/* Starts the process; it loads the module and says so. TD_NOTFOUND, TD_CRYPTO (wrong PIN) and
 * TD_STATE come with words for the administrator. */
TD_NODISCARD enum td_err hsm_start(const struct hsm_conf *c, struct hsm **ret, struct errinfo *ei);

/* Ends it; keys must be gone. NULL is fine. */
void hsm_stop(struct hsm *h);

/* From here on the process is not waited for: in a worker that may not. */
void hsm_detach(struct hsm *h);

/* True once the module did not answer: only a new process helps. NULL is never broken. */
bool hsm_broken(const struct hsm *h);

/* The key pair that the URI (RFC 7512: token, object, id) names: exactly one. Its private key signs
 * in the module; the key borrows `h`. */
TD_NODISCARD enum td_err hsm_open_key(struct hsm *h, const char *uri, struct key **ret,
                                      struct errinfo *ei);

/* Makes a key pair (P-256, never to leave the token) where the URI says (token, object), with a
 * fresh id; ret_uri names it. */
TD_NODISCARD enum td_err hsm_make_key(struct hsm *h, const char *uri,
                                      char ret_uri[static HSM_URI_MAX], struct key **ret,
                                      struct errinfo *ei);

#endif
