/* The CA as the server sees it: certificate records, revocation, and the client of testudo-signer,
 * which holds the keys. Nothing here holds a private key. */
#ifndef TD_ACME_CA_CA_H
#define TD_ACME_CA_CA_H

#include "acme/ca/profiles.h"
#include "acme/ca/revoke.h"
#include "acme/ca/signer_client.h"
#include "mdm/base/rng.h"
#include "mdm/base/route.h"
#include "mdm/store/store.h"

struct ca;

struct ca_conf {
    struct store *store;
    struct signer_client *signer;
    const struct clock *clock;
    struct rng *rng;
    struct ca_profiles *profiles; /* NULL: the built-in ones alone */
};

extern const struct store_stmts ca_stmts, ca_active_stmts;

TD_NODISCARD enum td_err ca_open(const struct ca_conf *conf, struct ca **ret, struct errinfo *ei);
void ca_close(struct ca *ca);

/* The right to one certificate: made by the room that verified the evidence (acme/server after
 * attestation), for one device and one key. Every issuing path takes one; none has a default. */
struct ca_grant {
    const char *profile;       /* certificate profile: "management" */
    const char *device_serial; /* verified and listed at this moment */
    struct span spki;          /* DER of the only key it may be issued for */
    const char *order_id, *evidence_id;
    uint8_t evidence_sha256[SHA256_SIZE];
    const struct profile_facts *facts; /* for the profile's templates; NULL for none */
    struct span renews; /* serial of the certificate it takes the place of, or empty */
};

/* A certificate row; spans live in the arena it was read into. */
struct ca_record {
    struct span serial; /* octets */
    const char *device_serial, *profile, *purpose;
    uint8_t sha256[SHA256_SIZE], spki_sha256[SHA256_SIZE];
    uint8_t issuer[CERT_SKI_SIZE]; /* subject key identifier of the CA that signed it */
    struct span der;
    int64_t not_before, not_after, created_at;
    int64_t renew_at;   /* when it is due to be renewed; written only */
    struct span renews; /* serial of the certificate it takes the place of, or empty */
    bool revoked;       /* or on hold */
    enum ca_state state;
    int64_t revoked_at; /* 0 when good */
    int reason;         /* -1 for none */
    int64_t shard, rev;
    unsigned holders; /* who holds it: bits of enum ca_holder (acme/ca/revoke.h) */
    const char *order_id, *evidence_id;
};

/* Takes down that the active issuing CA is active, unless some node did already; when another one
 * was before, ca.rotated is told in the same transaction. A CA becomes active once in its life, so
 * a node that is behind tells nothing. *ret_told may be NULL. */
TD_NODISCARD enum td_err ca_note_active(struct ca *ca, bool *ret_told, struct errinfo *ei);

/* Asks the signer for the certificate (blocking, no transaction open); *ret lives in the arena.
 * The certificate counts only once ca_record_add committed it: until then it is unknown to OCSP.
 * TD_BUSY or TD_TIMEOUT while the signer is away, TD_UNSUPPORTED for a profile or key type that is
 * not issued for; see signer_issue. */
TD_NODISCARD enum td_err ca_issue(struct ca *ca, const struct ca_grant *g, struct arena *a,
                                  struct ca_record *ret, struct errinfo *ei);
/* An access certificate of a device on hold (ca_hold_device) begins on hold. */
TD_NODISCARD enum td_err ca_record_add(struct tx *tx, const struct ca_record *r,
                                       struct errinfo *ei);

/* By serial number octets / by SHA-256 of the certificate / all of a device (newest first, at most
 * `max`). TD_NOTFOUND. */
TD_NODISCARD enum td_err ca_record_get(struct tx *tx, struct span serial, struct arena *a,
                                       struct ca_record *ret, struct errinfo *ei);
TD_NODISCARD enum td_err ca_record_by_hash(struct tx *tx, const uint8_t sha256[static SHA256_SIZE],
                                           struct arena *a, struct ca_record *ret,
                                           struct errinfo *ei);
TD_NODISCARD enum td_err ca_records_of(struct tx *tx, const char *device_serial, size_t max,
                                       struct arena *a, struct ca_record **ret, size_t *ret_n,
                                       struct errinfo *ei);

/* Certificates in the order of their serial numbers, behind `after` (octets; empty for the first),
 * at most `max`: all, those of a device, those in a state (-1 for any). */
struct ca_filter {
    const char *device_serial; /* NULL: any */
    int state;
    struct span after;
    size_t max;
};
TD_NODISCARD enum td_err ca_records_list(struct tx *tx, const struct ca_filter *f, struct arena *a,
                                         struct ca_record **ret, size_t *ret_n, struct errinfo *ei);

/* PEM chain leaf first (the record's certificate, the CA that issued it), appended. */
TD_NODISCARD enum td_err ca_chain_pem(struct ca *ca, const struct ca_record *r, struct buf *b,
                                      struct errinfo *ei);

/* The root and the issuing CAs; borrowed for the life of `ca`. There is at least one issuing CA;
 * number 0 is the active one (ca_issuing), which issues; the others were active before, or will
 * be: OCSP and CRL are served for all of them. */
const struct cert *ca_root(const struct ca *ca);
size_t ca_issuing_n(const struct ca *ca);
const struct cert *ca_issuing_at(const struct ca *ca, size_t i);
const struct cert *ca_issuing(const struct ca *ca);

/* Whether the active one lives: TD_INVAL with reason "issuer-expired" or "issuer-early" and words
 * for the administrator when it does not. Then nothing is issued; OCSP and CRLs go on. */
TD_NODISCARD enum td_err ca_can_issue(const struct ca *ca, struct errinfo *ei);

/* Takes over what the signer said last: after signer_client_reload. Any thread. */
TD_NODISCARD enum td_err ca_refresh(struct ca *ca, struct errinfo *ei);

/* Whether the certificate is one of a TLS client (cert_check_client) of any of the issuing CAs. */
TD_NODISCARD enum td_err ca_check_client(const struct ca *ca, const struct cert *leaf,
                                         struct errinfo *ei);

/* Answers one OCSP request (RFC 6960): DER response in the arena, always something to send.
 * *ret_max_age: seconds a cache may keep it, 0 when it must not. Reads the status in the database:
 * revoked from the commit on. A serial never issued is `unknown`, another issuer `unauthorized`. */
struct span ca_ocsp(struct ca *ca, struct span req_der, struct arena *a, int64_t *ret_max_age);

/* Routes of the status listener: /ocsp (POST), /ocsp/{*} (GET); of the public one too:
 * /ca/root.crt, /ca/issuing.crt (DER, the active one), /ca/ID.crt (any of them by its identifier in
 * hexadecimal), /ca/chain.pem (all issuing CAs, root). ctx is the struct ca. */
extern const struct route ca_routes[];
extern const size_t ca_nroutes;

#endif
