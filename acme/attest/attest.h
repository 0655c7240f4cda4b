/* Device attestation: one strict verifier, shared by ACME (freshness = SHA-256 of the token) and,
 * later, DeviceInformation (freshness = the nonce). Every refusal has a reason code of its own. */
#ifndef TD_ACME_ATTEST_ATTEST_H
#define TD_ACME_ATTEST_ATTEST_H

#include "mdm/crypt/x509.h"

/* Trust anchors: Apple's pinned root (compiled in) and such others as were configured. */
struct attest_roots;

/* extra_pem: PEM text of further roots for tests, NULL for none. */
TD_NODISCARD enum td_err attest_roots_new(const struct span *extra_pem, size_t n,
                                          struct attest_roots **ret, struct errinfo *ei);
void attest_roots_free(struct attest_roots *r);

/* For the log and the API: subject and SHA-256 (hex) of anchor i, and whether it is Apple's. False
 * behind the end. */
bool attest_roots_at(const struct attest_roots *r, size_t i, const char **ret_subject,
                     const char **ret_sha256, bool *ret_pinned);

/* What the leaf says, spans borrowed from *leaf. An absent or undecodable fact is empty / -1:
 * "unknown", never "good". */
struct attest_facts {
    struct span serial, udid, sw_update_id, os_version, sepos_version, llb_version, secure_boot;
    int sip;   /* 0 enabled, 1 disabled, -1 unknown */
    int kexts; /* 0 no third-party kexts, 1 allowed, -1 unknown */
};

struct attest_result {
    struct cert *leaf;     /* owned: attest_result_free */
    struct span chain_der; /* the other certificates, concatenated, in the arena */
    struct attest_facts facts;
    uint8_t spki_sha256[SHA256_SIZE];
    uint8_t sha256[SHA256_SIZE]; /* of the attestation object */
};
void attest_result_free(struct attest_result *r);

struct attest_expect {
    struct span freshness; /* exactly these bytes in 1.2.840.113635.100.8.11.1 */
    const char *serial;    /* the listed serial bound to the order */
    int64_t now;
    unsigned formats_off; /* those the configuration switched off (attest_formats_parse) */
};

/* Verifies an attestation object (CBOR, format `apple`) by the steps of the reference. *ret is
 * filled as far as the steps went even on failure (leaf may be NULL), so that the attempt can be
 * recorded. On refusal ei->reason is the code: "cbor-malformed", "format-not-enabled",
 * "attestation-missing" (empty x5c), "x5c-malformed", "chain-untrusted", "leaf-expired",
 * "leaf-is-ca", "freshness-missing", "freshness-mismatch", "serial-missing", "serial-mismatch",
 * "key-unsupported"; ei->acme is "badAttestationStatement" for a refusal and NULL for a fault of
 * ours (memory), which must not end a challenge. The freshness and serial in *want must not be
 * empty (TD_INVAL). Any thread. */
TD_NODISCARD enum td_err attest_verify(const struct attest_roots *roots, struct span att_obj,
                                       const struct attest_expect *want, struct arena *a,
                                       struct attest_result *ret, struct errinfo *ei);

/* Apple's certificates alone, leaf first, as DeviceInformation has them
 * (DevicePropertiesAttestation). The steps and refusals are those of attest_verify but for the
 * object around them; ret->sha256 is of the leaf. */
TD_NODISCARD enum td_err attest_verify_chain(const struct attest_roots *roots,
                                             const struct span *x5c, size_t n,
                                             const struct attest_expect *want, struct arena *a,
                                             struct attest_result *ret, struct errinfo *ei);

/* What attest_verify would say about a format name: true when it is switched on; *ret_known (may be
 * NULL) tells whether the name is known at all. */
bool attest_format_enabled(struct span fmt, bool *ret_known);

/* A list of format names with spaces between, as it is configured: *ret_off is a bit for each
 * format that is not in it. TD_INVAL for a name that is unknown, and for a format that is known and
 * that this version cannot verify. */
TD_NODISCARD enum td_err attest_formats_parse(const char *list, unsigned *ret_off,
                                              struct errinfo *ei);

/* The facts as a JSON object for storage and display, appended. */
TD_NODISCARD enum td_err attest_facts_json(const struct attest_facts *f, struct buf *b);

#endif
