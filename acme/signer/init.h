/* Commands that run by hand or from `testudo init`, never over the channel: a new CA, the server's
 * TLS certificate, the check of the audit log. */
#ifndef TD_ACME_SIGNER_INIT_H
#define TD_ACME_SIGNER_INIT_H

#include <stdbool.h>

#include "mdm/base/err.h"

struct init_opts {
    const char *dir, *pass_file; /* pass_file may be NULL: keys are not encrypted */
    const char *org, *ocsp_url, *aia_url, *crl_url; /* NULL: the default, or not named */
    bool root_only;                                 /* the offline machine: no issuing CA */
    const char *root_file; /* certificate of a root that is elsewhere, or NULL */
    const char *module, *pin_file, *issuing_key; /* of PKCS#11, or NULL */
};

/* Makes the directory and a fresh CA in it: root (20 years, path length 1), issuing CA (10 years,
 * path length 0), both P-256. With root_file there is no issuing CA yet: a key waits for the
 * certificate that rotate_csr asks for. Nothing that exists is touched. *ret_made is false when a
 * complete CA was there already; TD_EXISTS when a part of one is. */
TD_NODISCARD enum td_err init_ca(const struct init_opts *o, bool *ret_made, struct errinfo *ei);

struct init_tls_opts {
    const char *dir, *pass_file;
    const char *names; /* "mdm.example.com,10.0.0.5": the first becomes the CN */
    const char *key_out, *cert_out;
    bool replace; /* renewal: both files may exist */
};

/* A TLS server certificate for a fresh P-256 key: key (0600), then certificate and issuing CA. The
 * audit log gets its line. */
TD_NODISCARD enum td_err init_tls(const struct init_tls_opts *o, struct errinfo *ei);

#endif
