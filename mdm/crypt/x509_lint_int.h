/* A TBSCertificate taken apart for the lint, and its rules. Internal to mdm/crypt. */
#ifndef TD_CRYPT_X509_LINT_INT_H
#define TD_CRYPT_X509_LINT_INT_H

#include "mdm/crypt/der_int.h"
#include "mdm/crypt/x509_int.h"

struct lint_ext {
    struct span oid, val; /* content octets; inside the OCTET STRING */
    bool critical;
    bool flag;     /* the BOOLEAN is written */
    uint8_t octet; /* and is this */
};

/* Spans are borrowed from the TBS. */
struct lint_tbs {
    const struct cert *issuer; /* NULL: signs itself */
    const struct key *known;   /* judged before, NULL for none */
    struct span version, serial, sigalg, issuer_name, subject, spki;
    struct der_item not_before, not_after;
    struct span key_oid, key_params, key_bits; /* key_bits with the octet of unused bits */
    bool unique_ids;
    struct lint_ext exts[CERT_EXTS_MAX];
    size_t nexts;
};

/* True when the rule holds or does not concern this certificate. */
struct lint_rule {
    const char *name, *clause;
    bool (*holds)(const struct lint_tbs *t);
};

extern const struct lint_rule x509_lint_fields[], x509_lint_exts[], x509_lint_names[];
extern const size_t x509_lint_nfields, x509_lint_nexts, x509_lint_nnames;

/* The first extension with these content octets, NULL when absent. */
const struct lint_ext *x509_lint_ext(const struct lint_tbs *t, struct span oid);

/* basicConstraints says CA:TRUE. */
bool x509_lint_ca(const struct lint_tbs *t);

/* Names that are made of host labels, as a dNSName or the host of a URI or mailbox may be. */
bool x509_lint_host(struct span s);

#endif
