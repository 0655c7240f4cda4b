/* The content of a certificate profile: what is in its certificates and for how long. It stands in
 * the CA directory, in profiles/NAME.ini: the signer enforces it, the server only shows it. Who may
 * have such a certificate is the server's business (acme/ca/profiles.h). */
#ifndef TD_ACME_SIGNER_PROTO_PROFILE_CONF_H
#define TD_ACME_SIGNER_PROTO_PROFILE_CONF_H

#include "acme/signer/proto/profile_text.h"
#include "mdm/base/buf.h"

#define PROFILE_NAME_MAX 32
#define PROFILE_EKU_MAX 8
#define PROFILE_OID_MAX 64 /* of a dotted OID, with its NUL */

/* Strings live in the arena it was read into, those of a built-in one are static. */
struct profile_conf {
    const char *name;    /* of the file: a-z, 0-9, '-', begins with a letter */
    const char *purpose; /* "management" or "access" */
    int64_t life;        /* seconds; 0: ca.ini's for the purpose */
    int64_t renew;       /* percent of the life behind which it is renewed */
    bool attestation;    /* evidence is needed */
    const char *keys;    /* "p256 p384" or one of them */
    const char *text[PROFILE_FIELDS];
    const char *hardware; /* hwType of the HardwareModuleName with the attested serial number; "" */
    const char *eku_text;
    const char *eku[PROFILE_EKU_MAX + 1]; /* dotted OIDs, NULL-terminated */
    bool serial;                          /* serial number and UDID may stand in the certificate */
    const char *facts_oid;                /* of the extension with attested facts; "" for none */
    const char *facts_text;
    unsigned facts; /* 1 << enum profile_fact_id, of evidence alone */
    bool testing;   /* lifetimes of seconds are allowed */
    bool built_in;
};

/* The built-in profiles, "management" and "access": 0 and 1, NULL behind. */
const struct profile_conf *profile_conf_builtin(size_t i);

/* The text of one file. TD_INVAL names the key that is wrong. */
TD_NODISCARD enum td_err profile_conf_parse(const char *name, struct span text, struct arena *a,
                                            struct profile_conf *ret, struct errinfo *ei);

/* Appends the profile as such a file, with its documentation. */
enum td_err profile_conf_show(const struct profile_conf *p, struct buf *b);

bool profile_conf_name_valid(struct span name);

#endif
