/* Certificate revocation lists (RFC 5280 section 5): strictly our own kind, built from typed
 * entries. Who signs and who publishes may be two processes: both make the same bytes from the same
 * specification, one signs them, the other checks the signature and puts the list together. */
#ifndef TD_CRYPT_CRL_H
#define TD_CRYPT_CRL_H

#include "mdm/crypt/x509.h"

#define CRL_SERIAL_MAX 20
#define CRL_ENTRIES_MAX 200000 /* some 10 MB; who needs more raises the number of shards */
#define CRL_REASON_NONE (-1)

struct crl_entry {
    int64_t revoked_at;
    uint8_t serial[CRL_SERIAL_MAX]; /* content octets of the INTEGER */
    uint8_t nserial;
    int8_t reason; /* RFC 5280 CRLReason, CRL_REASON_NONE for none */
};

struct crl_spec {
    uint64_t number; /* 1 and up */
    int64_t this_update, next_update;
    const char *uri; /* distribution point of a partial list; NULL: all certificates of the CA */
    const struct crl_entry *entries;
    size_t n;
};

/* Fills an entry; false when the serial is not 1 to CRL_SERIAL_MAX octets. */
bool crl_entry_set(struct crl_entry *e, struct span serial, int64_t revoked_at, int reason);

/* Puts entries into the order of crl_tbs. */
void crl_sort(struct crl_entry *entries, size_t n);

/* Appends the TBSCertList. The extensions are the authority key identifier, the CRL number and,
 * with a uri, a critical issuing distribution point that names it and says onlyContainsUserCerts
 * (RFC 5280 section 5.2.5). Without entries revokedCertificates is left out. TD_INVAL: number 0, a
 * nextUpdate that is not later, entries out of order or twice, an entry that is later than
 * thisUpdate or whose reason is not one of section 5.3.1 (unspecified is written as none, as that
 * section asks); TD_LIMIT over CRL_ENTRIES_MAX. */
TD_NODISCARD enum td_err crl_tbs(const struct crl_spec *s, const struct cert *issuer, struct buf *b,
                                 struct errinfo *ei);

/* Signs a TBSCertList with the issuer's key (SHA-256 for P-256 and RSA, SHA-384 for P-384). */
TD_NODISCARD enum td_err crl_sign(struct span tbs, const struct key *key, struct arena *a,
                                  struct span *ret_sig, struct errinfo *ei);

/* The whole list, DER, appended: TD_CRYPTO when the signature is not the issuer's. */
TD_NODISCARD enum td_err crl_finish(struct span tbs, struct span sig, const struct cert *issuer,
                                    struct buf *b, struct errinfo *ei);

/* The same as PEM ("X509 CRL"), appended. */
TD_NODISCARD enum td_err crl_to_pem(struct span der, struct buf *b);

#endif
