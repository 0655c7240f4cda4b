/* Certificates, built from a specification of ours alone and signed. */
#ifndef TD_CRYPT_X509_BUILD_H
#define TD_CRYPT_X509_BUILD_H

#include "mdm/crypt/x509.h"

enum x509_ku {
    X509_KU_DIGITAL_SIGNATURE = 1,
    X509_KU_KEY_ENCIPHERMENT = 4,
    X509_KU_CERT_SIGN = 32,
    X509_KU_CRL_SIGN = 64
};

/* One value of an extension of our own: [tag] IMPLICIT UTF8String, tag 0..30. */
struct x509_tagged {
    uint8_t tag;
    struct span value;
};

struct x509_spec {
    struct span serial;          /* big-endian, positive, 1..20 octets as encoded */
    const char *cn, *ou, *o, *c; /* subject; NULL or "" leaves the attribute out */
    int64_t not_before, not_after;
    const struct key *public_key; /* of the subject */
    unsigned key_usage;           /* X509_KU_*, critical */
    const char *const *eku;       /* dotted OIDs, NULL-terminated, or NULL */
    bool ca;                      /* basicConstraints (critical) CA:TRUE */
    int path_len;                 /* with ca; -1 for none */
    const char *san_permanent_id; /* RFC 4043 PermanentIdentifier, identifierValue only */
    const char *san_hw_type; /* RFC 4108 HardwareModuleName: dotted hwType, and hwSerialNum; NULL */
    struct span san_hw_serial;
    const char *const
        *san_dns; /* NULL-terminated; an entry that is an IP address becomes iPAddress */
    const char *san_email, *san_uri; /* rfc822Name, uniformResourceIdentifier; NULL or "" */
    const char *aia_ocsp, *aia_ca_issuers, *crl_dp; /* URIs or NULL */
    bool ocsp_nocheck;
    const char *tagged_oid; /* dotted; NULL or "" leaves the extension out */
    const struct x509_tagged *tagged;
    size_t ntagged;
};

/* Builds and signs (SHA-256 for P-256 and RSA issuers, SHA-384 for P-384). issuer NULL makes a
 * self-signed certificate. SKI and AKI are always present (RFC 5280 section 4.2.1.1-2), by RFC 7093
 * section 2 method 1 (leftmost 160 bits of SHA-256 over the key's BIT STRING); AKI repeats the
 * issuer's own SKI. The subject is written C, O, OU, CN, PrintableString where the characters allow
 * it, else UTF8String. A serial whose first octet has its top bit set gets a zero octet in front:
 * keep that bit clear and the octet not zero where it is compared with cert_serial. DER in the
 * arena. TD_INVAL for a specification that cannot be written: serial, validity, names over their
 * bounds (64 characters, C exactly 2), empty subject of a CA or without SAN, foreign issuer key;
 * and for one that x509_lint refuses before it is signed. */
TD_NODISCARD enum td_err x509_build(const struct x509_spec *spec, const struct cert *issuer,
                                    const struct key *issuer_key, struct arena *a, struct span *ret,
                                    struct errinfo *ei);

/* A certificate request (RFC 2986) of that subject, key and those extensions (all but the AKI),
 * signed with the key itself. serial and validity are not looked at. DER in the arena. */
TD_NODISCARD enum td_err csr_build(const struct x509_spec *spec, struct arena *a, struct span *ret,
                                   struct errinfo *ei);

#endif
