/* The words of testudo-signer that look after the CA: each is one function from its arguments to an
 * exit status. */
#ifndef TD_ACME_SIGNER_WORDS_H
#define TD_ACME_SIGNER_WORDS_H

#include <stdbool.h>

#include "mdm/base/err.h"

/* What the command line said; NULL where it did not. */
struct args {
    const char *dir, *pass_file, *org, *ocsp_url, *aia_url, *crl_url, *revoke, *name;
    const char *key_out, *cert_out, *user;
    const char *fd, *generation, *control;
    const char *root, *root_key, *key_uri, *module, *pin_file, *issuing_key, *in, *out, *new_pass;
    const char *since, *pub, *id;
    bool replace, root_only, takeover, standby;
};

int words_fail(enum td_err e, const struct errinfo *ei);
int words_misuse(const char *what);

int words_status(const struct args *a);
int words_export(const struct args *a);
int words_rotate(const struct args *a);
int words_activate(const struct args *a);
int words_csr(const struct args *a);
int words_sign(const struct args *a);
int words_import(const struct args *a);
int words_passphrase(const struct args *a);

#endif
