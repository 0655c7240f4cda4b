/* testudo's end of the channel to testudo-signer: starts it (exec, before threads), sends typed
 * requests, matches answers. Requests of many threads are in flight at once; while the signer is
 * away they fail at once with TD_BUSY (503). */
#ifndef TD_ACME_CA_SIGNER_CLIENT_H
#define TD_ACME_CA_SIGNER_CLIENT_H

#include "acme/signer/proto/profile_fact.h"
#include "mdm/base/arena.h"
#include "mdm/base/err.h"
#include "mdm/crypt/crl.h"
#include "mdm/crypt/ocsp.h"
#include "mdm/crypt/x509.h"

struct signer_client;

/* Forks and executes `program` (the path of testudo-signer) for the CA directory `dir`; call on the
 * main thread before any other exists (the signer dies with the thread that started it). pass_file
 * may be NULL. TD_IO when it cannot be executed. */
TD_NODISCARD enum td_err signer_client_start(const char *program, const char *dir,
                                             const char *pass_file, struct signer_client **ret,
                                             struct errinfo *ei);

/* Starts the reader thread and waits (60 s) for the signer's hello: then the CA's certificates are
 * known. TD_TIMEOUT, or the signer's own refusal (wrong passphrase) in *ei. */
TD_NODISCARD enum td_err signer_client_ready(struct signer_client *c, struct errinfo *ei);

/* As signer_client_start; a signer started by root becomes `user` once it has read the keys. */
TD_NODISCARD enum td_err signer_client_start_as(const char *program, const char *dir,
                                                const char *pass_file, const char *user,
                                                struct signer_client **ret, struct errinfo *ei);

/* Has the signer read its directory anew, beside the worker that serves: requests wait for a moment
 * and none fails. When the directory is not right nothing changes, and *ei holds the signer's
 * words. One thread at a time, not one of the requests'. */
TD_NODISCARD enum td_err signer_client_reload(struct signer_client *c, struct errinfo *ei);

/* Closes the channel; the signer finishes what it read and exits. Requests of other threads must
 * have returned. NULL is fine. */
void signer_client_stop(struct signer_client *c);

/* Whether a request would be answered now: a worker said hello and has not died since. Any thread,
 * also signer_issue and signer_ocsp below. */
bool signer_client_alive(const struct signer_client *c);

/* The CA's certificates as the signer said last: the root, the issuing CAs, the active one first.
 * References of the caller's, for signer_certs_free; n is 0 before the first hello. */
#define SIGNER_ISSUING_MAX 8
struct signer_certs {
    struct cert *root, *issuing[SIGNER_ISSUING_MAX];
    size_t n;
    struct buf root_crl; /* DER, empty when there is none */
    char crl_url[256];   /* what CRL distribution points begin with, "" for none */
    unsigned crl_shards;
};
void signer_client_certs(struct signer_client *c, struct signer_certs *ret);
void signer_certs_free(struct signer_certs *c);

struct signer_issue {
    const char *profile; /* one of those in the CA directory */
    const char *device_serial;
    struct span spki;
    struct span evidence_sha256;
    const struct profile_facts *facts; /* NULL for none */
};

/* What was signed (DER in the arena) and by whom: the subject key identifier of the issuing CA. */
struct signer_signed {
    struct span der;
    uint8_t issuer[CERT_SKI_SIZE];
};

/* A certificate for that key by that profile. TD_BUSY while the signer is away or
 * over its rate, TD_TIMEOUT after 10 s; the signer's own refusals come as their code, with a reason
 * ("profile-unknown", "device-serial", "evidence-missing", "key-unsupported", "issuer-expires",
 * "issuer-expired", "issuer-early"). */
TD_NODISCARD enum td_err signer_issue(struct signer_client *c, const struct signer_issue *r,
                                      struct arena *a, struct signer_signed *ret,
                                      struct errinfo *ei);

/* A response signed by the OCSP responder of that issuing CA (the signer sets producedAt and checks
 * the window). Each single's CertID must be of that CA; revoked_at is 0 and reason -1 unless it is
 * OCSP_REVOKED. */
TD_NODISCARD enum td_err signer_ocsp(struct signer_client *c,
                                     const uint8_t issuer[static CERT_SKI_SIZE],
                                     const struct ocsp_single *singles, size_t n, struct span nonce,
                                     struct arena *a, struct span *ret_der, struct errinfo *ei);

/* The issuer's signature over the CRL that crl_tbs makes of `s` (whose uri is the one of the shard;
 * -1 is the complete CRL). The entries go over in parts; not for two threads at once. The signer's
 * refusals as above ("crl-number", "crl-order", "crl-shard", "rate", "window"). */
TD_NODISCARD enum td_err signer_crl(struct signer_client *c,
                                    const uint8_t issuer[static CERT_SKI_SIZE], int shard,
                                    const struct crl_spec *s, struct arena *a, struct span *ret_sig,
                                    struct errinfo *ei);

#endif
