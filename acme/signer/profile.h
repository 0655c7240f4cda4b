/* The certificates that this program makes for the server itself, by table, and the last look at
 * every specification. Nobody asks for these over the channel; devices' certificates are made in
 * profile_device.c. Pure functions. */
#ifndef TD_ACME_SIGNER_PROFILE_H
#define TD_ACME_SIGNER_PROFILE_H

#include "acme/signer/cadir.h"
#include "mdm/base/rng.h"
#include "mdm/crypt/x509_build.h"

struct profile {
    const char *name;
    bool nocheck; /* id-pkix-ocsp-nocheck */
    const char *const *eku;
    size_t life_offset; /* of the lifetime in struct cadir_conf */
    bool aia;
};

/* The row of that name, or NULL. */
const struct profile *profile_find(struct span name);

#define PROFILE_SERIAL_SIZE 16
#define PROFILE_BACKDATE 3600 /* devices' clocks are late or early by minutes */

struct profile_subject {
    const char *name;       /* common name; NULL for none */
    const char *const *dns; /* NULL-terminated */
    const struct key *public_key;
    struct span serial; /* of the certificate */
    int64_t now;
};

/* The specification of the certificate; borrows from everything it is given. */
void profile_spec(const struct profile *p, const struct cadir_conf *conf,
                  const struct profile_subject *s, struct x509_spec *ret);

/* Whether the text may stand in a SAN as dNSName (a leading "*." is allowed) or iPAddress. */
bool profile_host_valid(const char *s);

/* A random certificate serial number: 16 octets, positive, no leading zero. */
void profile_serial(struct rng *rng, uint8_t out[static PROFILE_SERIAL_SIZE]);

/* The last look before signing (RFC 5280 section 4.1.2): validity inside the issuer's, key type,
 * key usage, serial number, non-empty names. TD_INVAL or TD_UNSUPPORTED names the rule broken. */
TD_NODISCARD enum td_err profile_lint(const struct x509_spec *spec, const struct cert *issuer,
                                      struct errinfo *ei);

#endif
